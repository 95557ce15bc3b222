//! The chapters of the tour, in the order in which they are told.

use std::path::Path;

use serde_json::Value;

use super::excerpt::{about, first_lines, headline, in_state, one_of, places};
use super::sample;
use super::stage::{self, Line, Stage};
use crate::cli::failure::{Exit, Failure};

/// The question that is asked before and after the erasure, of a directory.
pub(super) fn opened<'a>(data: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut question = vec!["export", "--data", data];
    question.extend(more);
    question.extend(["--format", "ndjson", "--tag", "cloudtrail", "--reveal", "--out", "-"]);
    question
}

/// The tour under way.
pub(super) struct Tour {
    pub(super) stage: Stage,
    pub(super) vkey: String,
    /// Who is erased.
    pub(super) person: String,
}

impl Tour {
    fn oubliette<'a>(arguments: &'a [&'a str]) -> Line<'a> {
        Line {
            program: "oubliette",
            arguments,
            stdin: None,
        }
    }

    pub(super) fn found(&mut self) -> Result<(), Failure> {
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

    pub(super) fn append(&mut self) -> Result<(), Failure> {
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

    pub(super) fn import(&mut self, sample: &Path) -> Result<(), Failure> {
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

    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        let path = self.stage.path(name);
        std::fs::write(&path, bytes).map_err(|error| Failure::file(&path, &error))
    }

    /// Reads everything with personal data opened and shows one event about the person, and how many there are.
    pub(super) fn look(&mut self, title: &str, words: &str) -> Result<(), Failure> {
        self.stage.chapter(
            title,
            &format!("   {words} Reading it like this is recorded in the ledger itself."),
        );
        let person = self.person.clone();
        self.stage
            .expect(0, &Self::oubliette(&opened("data", &[])), |out| about(out, &person))?;
        let (with, all) = sample::files_with(&self.stage.path("data"), &self.person)?;
        let person = &self.person;
        self.stage.say(&format!(
            "   Even now none of it lies open: `{person}` stands in {with} of the directory's {all} files."
        ));
        Ok(())
    }

    pub(super) fn erase(&mut self) -> Result<(), Failure> {
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
        self.look_again()?;
        self.travel_again()?;
        self.check_certificate()
    }

    fn look_again(&mut self) -> Result<(), Failure> {
        self.stage
            .say("   After: the same question. The events are all there; what they said about the person is not.");
        self.ask_for(&Self::oubliette(&opened("data", &[])), "erased")
    }

    /// Asks, and shows an event whose personal data is in this state. There must be one.
    pub(super) fn ask_for(&mut self, line: &Line<'_>, state: &str) -> Result<(), Failure> {
        let printed = self.stage.expect(0, line, |out| one_of(out, state))?;
        if in_state(&printed.out, state).is_empty() {
            let detail = format!("no event came out with its personal data {state}");
            return Err(Failure::new(Exit::Io, "demo_failed", detail));
        }
        Ok(())
    }

    pub(super) fn check_certificate(&mut self) -> Result<(), Failure> {
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

    pub(super) fn verify(&mut self) -> Result<(), Failure> {
        self.stage.chapter(
            "Nothing else changed",
            "   Every signature, link, hash and body, from the first event on: the erasure broke none of it.",
        );
        let arguments = ["verify", "--data", "data", "--key", &self.vkey.clone()];
        self.stage.expect(0, &Self::oubliette(&arguments), headline).map(drop)
    }

    pub(super) fn bundle(&mut self) -> Result<(), Failure> {
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

    pub(super) fn tamper(&mut self) -> Result<(), Failure> {
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

    /// The last chapter: what a data protection officer takes home.
    pub(super) fn report(&mut self, kept: bool) -> Result<(), Failure> {
        self.stage.chapter(
            "The report",
            "   History, erasures against their month, who opened and exported what: one signed page to read and to print.\n   \
             The verifier makes the page anew from the signed data and compares every byte.",
        );
        let (from, to) = sample::this_month();
        let arguments = [
            "report",
            "--data",
            "data",
            "--from",
            &from,
            "--to",
            &to,
            "--verify",
            "--out",
            "report.html",
        ];
        self.stage
            .expect(0, &Self::oubliette(&arguments), |out| first_lines(out, 1))?;
        self.check("report.html", 0, headline)?;
        if kept {
            let path = self.stage.path("report.html");
            self.stage.say(&format!("   Open it: file://{}", path.display()));
        } else {
            self.stage.say(
                "   To open it, keep the folder: `oubliette demo --data tour`, then tour/report.html in a browser.",
            );
        }
        Ok(())
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
