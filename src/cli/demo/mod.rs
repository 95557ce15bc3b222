//! `oubliette demo`: the whole promise in two minutes, on a ledger of its own. Every command that it shows is really run,
//! as the program of its own that it is.

mod sample;
mod stage;

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::Context;
use super::failure::{Exit, Failure};
use super::output::say;
use stage::{Line, Stage};

/// A guided tour on a throw-away ledger.
#[derive(Debug, Args)]
pub(super) struct Demo {
    /// Keep everything in this new folder; by default a temporary one that is removed.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// A folder with cloudtrail.ndjson and s3-access.csv to import; without it, a few records are made up.
    #[arg(long, value_name = "DIR", default_value = "../shared/data")]
    sample: PathBuf,
}

impl Demo {
    pub(super) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let (folder, _removed) = self.folder()?;
        let mut tour = Tour {
            stage: Stage::new(folder, context.json),
            vkey: String::new(),
            person: String::new(),
        };
        tour.stage.say(
            "Oubliette is an audit ledger that never loses an event and can prove that it forgot a person.\n\
             This tour shows both on a ledger of its own. Every command below is really run.",
        );
        tour.found()?;
        tour.append()?;
        tour.import(&self.sample)?;
        tour.look(
            "Before: whoever may can read the person's data",
            "What comes out says `clear`.",
        )?;
        tour.erase()?;
        tour.verify()?;
        tour.bundle()?;
        tour.tamper()?;
        self.close(&tour.stage);
        if context.json {
            say(&json!({"folder": self.data, "steps": tour.stage.steps}).to_string())?;
        }
        tour.stage.unheard.take().map_or(Ok(Exit::Fine), Err)
    }

    /// A new folder; with a guard that removes it if nobody asked to keep it.
    fn folder(&self) -> Result<(PathBuf, Option<Removed>), Failure> {
        let unusable = |path: &Path, error: std::io::Error| Failure::file(path, &error);
        if let Some(folder) = &self.data {
            if std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) {
                let detail = format!(
                    "{} is not empty; nothing was changed. Name a new folder",
                    folder.display()
                );
                return Err(Failure::new(Exit::Io, "data_dir_used", detail));
            }
            std::fs::create_dir_all(folder).map_err(|error| unusable(folder, error))?;
            let folder = folder.canonicalize().map_err(|error| unusable(folder, error))?;
            return Ok((folder, None));
        }
        for number in 0..1_000 {
            let folder = std::env::temp_dir().join(format!("oubliette-demo-{}-{number}", std::process::id()));
            match std::fs::create_dir(&folder) {
                Ok(()) => return Ok((folder.clone(), Some(Removed(folder)))),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(unusable(&folder, error)),
            }
        }
        Err(Failure::new(
            Exit::Io,
            "demo_failed",
            "no free name for a temporary folder",
        ))
    }

    fn close(&self, stage: &Stage) {
        let (kept, data) = match &self.data {
            Some(folder) => (String::new(), folder.join("data").display().to_string()),
            None => (
                "   oubliette demo --data tour                      the same tour, kept in a folder\n".into(),
                "tour/data".into(),
            ),
        };
        stage.say(&format!(
            "\nThat was all of it: one program, one directory, and proofs that anybody can check. Next:\n\n\
             {kept}   oubliette serve --data {data:<24} the HTTP API of that ledger\n\
             \x20  oubliette api-key create --data {data:<15} a key for it: --name NAME --role writer\n\
             \x20  oubliette import --help                         your own logs, with a mapping\n\
             \x20  oubliette --help                                everything else"
        ));
    }
}

/// Removes the temporary folder at the end.
struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

struct Tour {
    stage: Stage,
    vkey: String,
    person: String,
}

impl Tour {
    fn oubliette<'a>(arguments: &'a [&'a str]) -> Line<'a> {
        Line {
            program: "oubliette",
            arguments,
            stdin: None,
        }
    }

    fn found(&mut self) -> Result<(), Failure> {
        self.stage.chapter(
            "A ledger",
            "   A directory with the events, a key store apart from them, and a vault for the key that all others hang under.",
        );
        let line = Self::oubliette(&["init", "--data", "data", "--json"]);
        let printed = self.stage.expect(0, &line, |_| String::new())?;
        let made: Value = serde_json::from_str(&printed.out).unwrap_or_default();
        self.vkey = made.get("vkey").and_then(Value::as_str).unwrap_or_default().to_owned();
        self.stage.say(&format!(
            "     auditors pin this key: {}\n     (an API key and a recovery key came with it, shown once)",
            self.vkey
        ));
        Ok(())
    }

    fn append(&mut self) -> Result<(), Failure> {
        self.stage.chapter(
            "An event, and a receipt for it",
            "   The order stays in clear. The name is sealed under a key that belongs to this one customer.",
        );
        let arguments = [
            "append",
            "--data",
            "data",
            "--stream",
            "order-7",
            "--type",
            "order.placed",
            "--payload",
            r#"{"total": 41}"#,
            "--personal",
            r#"customer-41={"name": "Ada Example"}"#,
            "--receipt-out",
            "receipt.json",
        ];
        self.stage.expect(0, &Self::oubliette(&arguments), str::to_owned)?;
        if stage::has_verifier() {
            self.stage
                .say("   The receipt proves the event's place. It is checked offline, against the pinned key:");
            let arguments = ["receipt.json", "--key", &self.vkey.clone()];
            let line = Line {
                program: "oubliette-verify",
                arguments: &arguments,
                stdin: None,
            };
            self.stage.expect(0, &line, headline)?;
        }
        Ok(())
    }

    fn import(&mut self, sample: &Path) -> Result<(), Failure> {
        let logs = ["cloudtrail.ndjson", "s3-access.csv"].map(|name| sample.join(name));
        let real = logs.iter().all(|path| path.is_file());
        let records = match logs.first().filter(|_| real) {
            Some(path) => std::fs::read_to_string(path).map_err(|error| Failure::file(path, &error))?,
            None => sample::made_up(),
        };
        self.person = sample::busiest_person(&records).unwrap_or_else(|| "nobody".into());
        let what = if real {
            "Real audit logs"
        } else {
            "Audit logs (made up for this tour)"
        };
        self.stage.chapter(
            &format!("{what}, imported"),
            "   A mapping says which fields name a person. Those are sealed, the rest stays in clear.",
        );
        self.write("cloudtrail.ndjson", records.as_bytes())?;
        self.write("cloudtrail.mapping.toml", sample::CLOUDTRAIL.as_bytes())?;
        self.import_one("cloudtrail.ndjson", "cloudtrail.mapping.toml")?;
        if let Some(path) = logs.get(1).filter(|_| real) {
            let rows = std::fs::read(path).map_err(|error| Failure::file(path, &error))?;
            self.write("s3-access.csv", &rows)?;
            self.write("s3-access.mapping.toml", sample::S3_ACCESS.as_bytes())?;
            self.import_one("s3-access.csv", "s3-access.mapping.toml")?;
        }
        self.stage
            .say("   Once more, as after a crash: nothing is there twice.");
        self.import_one("cloudtrail.ndjson", "cloudtrail.mapping.toml")
    }

    fn import_one(&mut self, file: &str, mapping: &str) -> Result<(), Failure> {
        let arguments = ["import", file, "--data", "data", "--mapping", mapping];
        self.stage
            .expect(0, &Self::oubliette(&arguments), str::to_owned)
            .map(drop)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        let path = self.stage.path(name);
        std::fs::write(&path, bytes).map_err(|error| Failure::file(&path, &error))
    }

    /// Reads everything with personal data opened and shows one event about the person, and how many there are.
    fn look(&mut self, title: &str, words: &str) -> Result<(), Failure> {
        self.stage.chapter(
            title,
            &format!("   {words} Reading it like this is recorded in the ledger itself."),
        );
        let arguments = [
            "export",
            "--data",
            "data",
            "--format",
            "ndjson",
            "--tag",
            "cloudtrail",
            "--reveal",
            "--out",
            "-",
        ];
        let person = self.person.clone();
        self.stage
            .expect(0, &Self::oubliette(&arguments), |out| about(out, &person))?;
        let (with, all) = sample::files_with(&self.stage.path("data"), &self.person)?;
        let person = &self.person;
        self.stage.say(&format!(
            "   Even now none of it lies open: `{person}` stands in {with} of the directory's {all} files."
        ));
        Ok(())
    }

    fn erase(&mut self) -> Result<(), Failure> {
        self.stage.chapter(
            &format!("`{}` asks to be forgotten", self.person),
            "   The person's keys are destroyed, that is checked by trying to open the data, and a certificate is signed.\n   \
             The id comes from standard input, so that it stands in no process list.",
        );
        let arguments = [
            "erase",
            "--data",
            "data",
            "--subject",
            "-",
            "--basis",
            "art17_1_a",
            "--reason",
            "request",
            "--certificate-out",
            "certificate.cose",
        ];
        let input = format!("{}\n", self.person);
        let line = Line {
            program: "oubliette",
            arguments: &arguments,
            stdin: Some(&input),
        };
        self.stage.expect(0, &line, str::to_owned)?;
        self.stage
            .say("   After: the same question. The events are all there; what they said about the person is not.");
        let arguments = [
            "export",
            "--data",
            "data",
            "--format",
            "ndjson",
            "--tag",
            "cloudtrail",
            "--reveal",
            "--out",
            "-",
        ];
        self.stage.expect(0, &Self::oubliette(&arguments), erased)?;
        if stage::has_verifier() {
            self.stage.say("   The certificate, checked offline:");
            let arguments = ["certificate.cose", "--key", &self.vkey.clone()];
            let line = Line {
                program: "oubliette-verify",
                arguments: &arguments,
                stdin: None,
            };
            self.stage.expect(0, &line, headline)?;
        }
        Ok(())
    }

    fn verify(&mut self) -> Result<(), Failure> {
        self.stage.chapter(
            "Nothing else changed",
            "   Every signature, link, hash and body, from the first event on: the erasure broke none of it.",
        );
        let arguments = ["verify", "--data", "data", "--key", &self.vkey.clone()];
        self.stage.expect(0, &Self::oubliette(&arguments), headline).map(drop)
    }

    fn bundle(&mut self) -> Result<(), Failure> {
        self.stage.chapter(
            "Evidence to take away",
            "   One file for an auditor, who needs neither this machine nor our word for it.",
        );
        let arguments = [
            "export",
            "--data",
            "data",
            "--format",
            "bundle",
            "--out",
            "ledger.oubliette",
        ];
        self.stage
            .expect(0, &Self::oubliette(&arguments), |out| first_lines(out, 1))?;
        self.check("ledger.oubliette", 0, headline)
    }

    fn tamper(&mut self) -> Result<(), Failure> {
        self.stage.chapter(
            "And if somebody changes it?",
            "   One bit of a copy is flipped. The verifier names the place, and what should be there.",
        );
        let path = self.stage.path("ledger.oubliette");
        let mut bytes = std::fs::read(&path).map_err(|error| Failure::file(&path, &error))?;
        let middle = bytes.len() / 2;
        if let Some(byte) = bytes.get_mut(middle) {
            *byte ^= 1;
        }
        self.write("forged.oubliette", &bytes)?;
        self.stage
            .say(&format!("     (byte {middle} of {} in forged.oubliette)", bytes.len()));
        self.check("forged.oubliette", 1, places)
    }

    /// By the verifier that trusts nobody, if it was built; else by the same code in this program.
    fn check(&mut self, file: &str, exit: i32, keep: fn(&str) -> String) -> Result<(), Failure> {
        let vkey = self.vkey.clone();
        if stage::has_verifier() {
            let line = Line {
                program: "oubliette-verify",
                arguments: &[file, "--key", &vkey],
                stdin: None,
            };
            return self.stage.expect(exit, &line, keep).map(drop);
        }
        self.stage
            .expect(exit, &Self::oubliette(&["verify", file, "--key", &vkey]), keep)
            .map(drop)
    }
}

fn first_lines(text: &str, count: usize) -> String {
    text.lines().take(count).collect::<Vec<_>>().join("\n")
}

/// The verdict and what was checked.
fn headline(report: &str) -> String {
    let checked = report
        .lines()
        .filter(|line| line.starts_with("Checked") || line.starts_with("Bodies"));
    report.lines().take(1).chain(checked).collect::<Vec<_>>().join("\n")
}

/// The verdict and the first finding.
fn places(report: &str) -> String {
    let findings = report
        .lines()
        .skip_while(|line| !line.starts_with("Findings"))
        .skip(1)
        .take(3);
    report.lines().take(1).chain(findings).collect::<Vec<_>>().join("\n")
}

/// One revealed event about the person, and the number of them.
fn about(lines: &str, person: &str) -> String {
    let events: Vec<Value> = lines
        .lines()
        .filter(|line| line.contains(person))
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let first = events.first().map(|event| brief(event, person)).unwrap_or_default();
    format!("{first}\n({} events like this one about {person})", events.len())
}

/// One event whose personal data is gone, and the number of them.
fn erased(lines: &str) -> String {
    let is_erased = |event: &Value| {
        event
            .pointer("/personal/0/state")
            .is_some_and(|state| state == "erased")
    };
    let events: Vec<Value> = lines
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .filter(is_erased)
        .collect();
    format!(
        "{}\n({} events like this one)",
        events.first().map(|event| brief(event, "")).unwrap_or_default(),
        events.len()
    )
}

/// What matters of an event, on three lines.
fn brief(event: &Value, person: &str) -> String {
    let text = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or_default();
    let blocks = event.get("personal").and_then(Value::as_array).into_iter().flatten();
    let personal = blocks.map(|block| {
        let field = |name: &str| block.get(name).and_then(Value::as_str).unwrap_or_default();
        let data = block
            .get("data")
            .map(|data| format!(": {}", around(&data.to_string(), person)));
        format!(
            "\n  personal, {:<9}{}{}",
            field("category"),
            field("state"),
            data.unwrap_or_default()
        )
    });
    format!(
        "{} at {}{}",
        text("type"),
        text("occurred_at"),
        personal.collect::<String>()
    )
}

/// The part of a long text where a word stands.
fn around(text: &str, word: &str) -> String {
    const BEFORE: usize = 50;
    const LENGTH: usize = 100;
    let at = text
        .find(word)
        .and_then(|at| text.get(..at))
        .map_or(0, |before| before.chars().count());
    let skipped = at.saturating_sub(BEFORE);
    let part: String = text.chars().skip(skipped).take(LENGTH).collect();
    let dots = |cut: bool| if cut { "…" } else { "" };
    format!(
        "{}{part}{}",
        dots(skipped > 0),
        dots(text.chars().count() > skipped + LENGTH)
    )
}
