//! `oubliette demo`: the whole promise in two minutes, on a ledger of its own. Every command that it shows is really run,
//! as the program of its own that it is.

mod excerpt;
mod old_backup;
mod sample;
mod stage;
mod tour;
mod travel;

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::Context;
use super::failure::{Exit, Failure};
use super::output::say;
use stage::Stage;
use tour::Tour;

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
        tour.travel()?;
        tour.back_up()?;
        tour.erase()?;
        tour.put_back()?;
        tour.verify()?;
        tour.bundle()?;
        tour.tamper()?;
        tour.report(self.data.is_some())?;
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
