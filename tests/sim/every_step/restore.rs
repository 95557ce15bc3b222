//! A restore, of a backup that is up to date and of an older one: finished, or refused to be served and made again.

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use super::{Break, Played, Scene, Stage, at_every_step, verifies};
use crate::support::backups::{Place, beside, serve, two_people_backed_up};
use crate::support::people::{erase, opened, payloads, sealed};
use crate::support::{Data, OUBLIETTE, copy_folder};

struct Restoring {
    before: Data,
    backup: PathBuf,
    /// Whether the backup is older than an erasure and a newcomer.
    is_old: bool,
}

impl Restoring {
    fn new(is_old: bool) -> Self {
        let (before, backup) = two_people_backed_up();
        if is_old {
            let server = serve(&before);
            erase(&server.client(), "ada");
            server.client().append("s", sealed("eve", "lost"));
            server.stop();
        }
        Self { before, backup, is_old }
    }

    fn arguments(&self) -> &[&str] {
        if self.is_old { &["--accept-rollback"] } else { &[] }
    }

    /// What the finished restore must have brought back, under `ledger` and under the log that goes on, if one does.
    fn is_back(&self, place: &Place, went_on: bool) {
        let server = place.serve();
        let client = server.client();
        if went_on {
            let ada = if self.is_old {
                json!({"state": "erased"})
            } else {
                json!("Ada")
            };
            assert_eq!(opened(&client, "main-r1"), [ada, json!("Bob")]);
            let recovered = payloads(&client, "main", "erasure.recovered");
            assert_eq!(recovered.len(), usize::from(self.is_old), "{recovered:?}");
            client.append("s", sealed("bob", "again"));
            let opened = opened(&client, "main");
            assert_eq!(opened, [json!("again")]);
        } else {
            assert_eq!(opened(&client, "main"), [json!("Ada"), json!("Bob")]);
            client.append("s", sealed("bob", "again"));
        }
        let ledgers: &[&str] = if went_on { &["main", "main-r1"] } else { &["main"] };
        verifies(&place.data, server, ledgers);
    }
}

impl Scene for Restoring {
    fn play(&self, how: Break, at: u64) -> Played {
        let stage = Stage::new(&self.before, &["target"], how);
        let from = beside(&stage.data, "backup");
        copy_folder(&self.backup, &from);
        let place = Place::within(&stage.data, "target");
        stage.steps.arm(at);
        let output = Command::new(OUBLIETTE)
            .args(place.arguments(&stage.data, &from, self.arguments()))
            .envs(stage.steps.environment())
            .output()
            .unwrap();
        stage.steps.disarm();
        let played = stage.played();
        let target = place.data.path();
        if output.status.success() {
            let said: Value = serde_json::from_slice(&output.stdout).unwrap();
            self.is_back(&place, !said["rollbacks"].as_array().unwrap().is_empty());
            return played;
        }
        assert!(
            !String::from_utf8_lossy(&output.stderr).contains("panicked"),
            "{output:?}"
        );
        if let Err(refused) = place.try_serve() {
            assert!(
                ["restore_unfinished", "not_a_data_dir"].contains(&refused.code.as_str()),
                "{refused:?}"
            );
        } else {
            // Its mark was removed: the last step of all was done, and nobody was told.
            self.is_back(&place, self.is_old);
            return played;
        }
        if target.exists() {
            std::fs::remove_dir_all(&target).unwrap();
        }
        let (exit, said) = place.restore(&stage.data, &from, self.arguments());
        if exit == 0 {
            self.is_back(&place, !said["rollbacks"].as_array().unwrap().is_empty());
            return played;
        }
        // The vault was open when it broke off: what it was not told of must be accepted as lost.
        assert_eq!(
            (&said["code"], self.is_old),
            (&json!("rollback_not_accepted"), false),
            "{said}"
        );
        let (exit, said) = place.restore(&stage.data, &from, &["--accept-rollback"]);
        assert_eq!(exit, 0, "{said}");
        self.is_back(&place, true);
        played
    }
}

#[test]
fn a_restore_killed_at_any_step_is_refused_and_made_again() {
    at_every_step(&Restoring::new(false), Break::Kill);
}

#[test]
fn a_rollback_killed_at_any_step_is_refused_and_made_again() {
    at_every_step(&Restoring::new(true), Break::Kill);
}

#[test]
fn a_restore_survives_power_cuts_and_failing_devices_at_any_step() {
    for how in [Break::Power, Break::Fail] {
        at_every_step(&Restoring::new(false), how);
    }
}

#[test]
fn a_rollback_survives_power_cuts_and_failing_devices_at_any_step() {
    for how in [Break::Power, Break::Fail] {
        at_every_step(&Restoring::new(true), how);
    }
}
