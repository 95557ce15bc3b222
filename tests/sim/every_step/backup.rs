//! A backup: whole, and known as such, or none.

use serde_json::json;

use super::{Break, Played, Scene, Stage, asked, at_every_step, awaited, verifies};
use crate::support::Data;
use crate::support::backups::{back_up, beside, restore, serve, two_people_backed_up};
use crate::support::people::{opened, payloads};

/// With an earlier backup on record.
struct BackingUp(Data);

impl Scene for BackingUp {
    fn play(&self, how: Break, at: u64) -> Played {
        let stage = Stage::new(&self.0, &["new"], how);
        let data = &stage.data;
        let (to, root) = (beside(data, "new"), data.path().parent().unwrap().to_owned());
        let settings = [("OUBLIETTE_BACKUP_DIR", root.to_str().unwrap())];
        let played = stage.serve(&settings, at, |client| {
            if asked(client, "/v1/backups", &json!({"to": to}), 202).is_some() {
                awaited(client, "/v1/backups", |listed| {
                    listed["backups"][0]["state"] != "running"
                });
            }
        });
        let server = serve(data);
        let client = server.client();
        let listed = client.get("/v1/backups").expect(200);
        let listed = listed["backups"].as_array().unwrap();
        let known = listed.iter().find(|backup| backup["to"] == json!(to));
        let state = known.map_or("unknown", |known| known["state"].as_str().unwrap());
        let vault = data.path().join("vault");
        let (exit, said) = restore(&["--drill"], &[("--from", &to), ("--vault", &vault)]);
        if to.join("manifest.cose").exists() {
            assert_eq!((exit, &said["proven"]), (0, &json!(true)), "{said}");
            assert_eq!(said["ledgers"][0]["sample"]["opened"], 2, "{said}");
            assert_eq!(state, "completed", "a whole backup is not taken for one that broke off");
        } else {
            assert_eq!((exit, &said["code"]), (3, &json!("backup_incomplete")), "{said}");
            assert!(["unknown", "broken_off", "failed"].contains(&state), "{state}");
        }
        // No copy can exist of which the ledger does not know.
        let started = payloads(&client, "main", "backup.started");
        assert!(started.len() == 2 || !to.join("ledger").exists(), "{started:?}");
        assert_eq!(back_up(&client, &beside(data, "again"))["state"], "completed");
        assert_eq!(opened(&client, "main"), [json!("Ada"), json!("Bob")]);
        verifies(data, server, &["main"]);
        played
    }
}

#[test]
fn a_backup_killed_at_any_step_is_whole_or_none() {
    at_every_step(&BackingUp(two_people_backed_up().0), Break::Kill);
}

#[test]
fn a_backup_survives_power_cuts_and_failing_devices_at_any_step() {
    let scene = BackingUp(two_people_backed_up().0);
    for how in [Break::Power, Break::Fail] {
        at_every_step(&scene, how);
    }
}
