//! The real server beside the reference.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use oubliette::spec::hash::Hash;
use serde_json::{Value, json};

use super::reference::{Bar, Block, Erasure, Log, Person, Reference};
use super::{CATEGORIES, Op, PEOPLE, Scope};
use crate::support::receipts::Keys;
use crate::support::{Answer, Client, Data, Server, eventually, run};

/// Longer than the short horizon, with the tick that acts on it.
const BEYOND: Duration = Duration::from_millis(2_500);

/// A backup, and what was so when it was taken.
struct Saved {
    folder: PathBuf,
    reference: Reference,
    acts: u64,
    changes: u64,
}

/// A server with its directories, and what should be so.
pub(super) struct Real {
    /// Made by `init`; vault and signing keys stay in it.
    first: Data,
    /// The directory in use after a restore.
    place: Option<Data>,
    server: Option<Server>,
    short_horizon: bool,
    settings: Vec<(&'static str, String)>,
    reference: Reference,
    backups: Vec<Saved>,
    /// Every erasure that was carried out, with the number of its log.
    carried_out: Vec<(u32, Erasure)>,
    /// The newest log of the family.
    newest: u32,
    /// Acts that are on record, and changes of epoch among them.
    acts: u64,
    changes: u64,
    texts: u64,
    /// The leaves of every log that was seen, by origin.
    leaves: HashMap<String, Vec<Hash>>,
}

impl Real {
    pub(super) fn new(short_horizon: bool, purge: bool) -> Self {
        let first = Data::new();
        let beside = first.path().parent().unwrap().display().to_string();
        let vault = first.path().join("vault");
        let settings = vec![
            (
                "OUBLIETTE_VAULT_DIRS",
                format!("[{:?}, {:?}]", vault.join("a"), vault.join("b")),
            ),
            ("OUBLIETTE_KEYS_DIR", first.path().join("keys").display().to_string()),
            ("OUBLIETTE_BACKUP_DIR", beside),
            (
                "OUBLIETTE_ERASURE_HORIZON_SECONDS",
                if short_horizon { "1" } else { "86400" }.to_owned(),
            ),
            (
                "OUBLIETTE_ERASURE_PURGE",
                if purge { "prompt" } else { "never" }.to_owned(),
            ),
        ];
        let log = Log {
            number: 1,
            name: "main".to_owned(),
            vkey: first.vkey().to_owned(),
            ..Log::default()
        };
        let mut real = Self {
            first,
            place: None,
            server: None,
            short_horizon,
            settings,
            reference: Reference { logs: vec![log] },
            backups: Vec::new(),
            carried_out: Vec::new(),
            newest: 1,
            acts: 0,
            changes: 0,
            texts: 0,
            leaves: HashMap::new(),
        };
        real.serve();
        real
    }

    fn serve(&mut self) {
        let environment: Vec<_> = self
            .settings
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        self.server = Some(self.place.as_ref().unwrap_or(&self.first).serve_with(&environment));
    }

    fn client(&self) -> Client {
        self.server.as_ref().unwrap().client()
    }

    fn stop(&mut self, crash: bool) {
        let server = self.server.take().unwrap();
        if crash { server.kill() } else { server.stop() }
    }

    /// One of the logs, whatever the number.
    fn at(&self, log: usize) -> usize {
        log % self.reference.logs.len()
    }

    fn path(&self, log: usize, rest: &str) -> String {
        format!("/v1/ledgers/{}/{rest}", self.reference.logs[log].name)
    }

    fn post(&self, log: usize, rest: &str, body: &Value) -> Answer {
        self.client().post(&self.path(log, rest), body)
    }

    pub(super) fn run(&mut self, op: &Op) {
        println!("{op:?}");
        match op {
            Op::Append(blocks) => self.append(blocks),
            Op::Erase { log, scope, wait } => self.erase(self.at(*log), *scope, *wait),
            Op::EraseAndKill { person, micros } => self.erase_and_kill(*person, *micros),
            Op::Reopen(scope) => self.reopen(*scope),
            Op::Hold { log, scope } => self.bar(self.at(*log), *scope, true),
            Op::Restrict { log, scope } => self.bar(self.at(*log), *scope, false),
            Op::Release(which) => self.unbar(*which, true),
            Op::Lift(which) => self.unbar(*which, false),
            Op::Rotate => {
                let answer = self.client().send("POST", &self.path(0, "epochs"), &[], b"");
                assert!(answer.status < 300, "{answer:?}");
                self.changed();
            }
            Op::Renew(person) => self.renew(*person),
            Op::BackUp => self.back_up(),
            Op::Restore { backup, crash } => self.restore(*backup, *crash),
            Op::Stop | Op::Kill => {
                self.stop(matches!(op, Op::Kill));
                self.serve();
                self.verify();
            }
            Op::Wait => std::thread::sleep(if self.short_horizon { BEYOND } else { Duration::ZERO }),
        }
        for log in &self.reference.logs {
            for erasure in &log.done {
                let one = (log.number, erasure.clone());
                if !self.carried_out.contains(&one) {
                    self.carried_out.push(one);
                }
            }
        }
        self.check();
    }

    fn changed(&mut self) {
        self.acts += 1;
        self.changes += 1;
    }

    fn append(&mut self, blocks: &[(usize, usize)]) {
        let mut personal = Vec::new();
        for (person, category) in blocks {
            self.texts += 1;
            personal.push(json!({"subject": PEOPLE[*person], "category": CATEGORIES[*category], "data": format!("text {}", self.texts)}));
        }
        let event = json!({"events": [{"type": "t", "data": 1, "personal": personal}]});
        let answer = self.post(0, "streams/s/events", &event);
        let log = &mut self.reference.logs[0];
        if let Some(code) = blocks
            .iter()
            .find_map(|(person, category)| log.refuses(*person, *category))
        {
            answer.problem(409, code);
            return;
        }
        let receipt = answer.expect(201);
        for (at, (person, category)) in blocks.iter().enumerate() {
            let handle = receipt["events"][0]["personal"][at]["handle"]
                .as_str()
                .unwrap()
                .to_owned();
            let known = log
                .people
                .entry(*person)
                .or_insert_with(|| Person::Known(handle.clone()));
            assert_eq!(*known, Person::Known(handle.clone()), "another handle");
            log.blocks.push(Block {
                handle,
                category: *category,
                text: personal[at]["data"].as_str().unwrap().to_owned(),
                erased: false,
            });
        }
        self.acts += 1;
    }

    fn erase(&mut self, at: usize, scope: Scope, wait: bool) {
        let mut request =
            json!({"subjects": [PEOPLE[scope.person]], "basis": "art17_1_b", "reason": "request", "wait": wait});
        if let Some(category) = scope.category {
            request["categories"] = json!([CATEGORIES[category]]);
        }
        let answer = self.post(at, "erasures", &request);
        let log = &mut self.reference.logs[at];
        let handle = match log.person(scope.person) {
            None => return drop(answer.problem(404, "subject_not_found")),
            Some(Person::Erased) => {
                assert_eq!(answer.expect(202)["subjects"][0]["state"], "already_erased");
                self.acts += 1;
                return;
            }
            Some(Person::Known(handle)) => handle.clone(),
        };
        let bar = log.barred(&handle, scope.category).map(|bar| bar.is_hold);
        if let (Some(is_hold), false) = (bar, wait) {
            answer.problem(409, if is_hold { "legal_hold" } else { "subject_restricted" });
            return;
        }
        let view = answer.expect(202);
        let erasure = Erasure {
            id: view["id"].as_str().unwrap().to_owned(),
            handle,
            category: scope.category,
        };
        if bar.is_some() {
            assert_eq!(view["state"], "held");
            log.waiting.push(erasure);
        } else {
            assert!(is_done(&view), "{view}");
            log.erase(erasure);
        }
        self.changed();
    }

    /// Either it is carried out at the next start, or nothing of it ever was.
    fn erase_and_kill(&mut self, person: usize, micros: u64) {
        let log = &self.reference.logs[0];
        let Some(handle) = log
            .handle(person)
            .filter(|handle| log.barred(handle, None).is_none())
            .cloned()
        else {
            return;
        };
        let (client, path) = (self.client(), self.path(0, "erasures"));
        let request = json!({"subjects": [PEOPLE[person]], "basis": "art17_1_b", "reason": "request"}).to_string();
        let answered = std::thread::scope(|scope| {
            let asking = scope.spawn(|| client.try_send("POST", &path, &[], request.as_bytes()).is_ok());
            std::thread::sleep(Duration::from_micros(micros));
            self.stop(true);
            asking.join().unwrap()
        });
        self.serve();
        let listed = self.client().get(&path).expect(200);
        let known: Vec<_> = self.reference.logs[0]
            .done
            .iter()
            .map(|erasure| erasure.id.clone())
            .collect();
        let mut new = listed["erasures"].as_array().unwrap().iter().filter(|view| {
            let is_known = known.iter().any(|id| view["id"] == **id);
            view["subjects"][0]["handle"] == handle && view["state"] != "held" && !is_known
        });
        match new.next() {
            Some(view) => {
                assert!(is_done(view), "{view}");
                let id = view["id"].as_str().unwrap().to_owned();
                let category = None;
                self.reference.logs[0].erase(Erasure { id, handle, category });
            }
            None => assert!(!answered, "an erasure that was answered is gone"),
        }
        self.changed();
    }

    fn reopen(&mut self, scope: Scope) {
        let mut request = json!({"subject": PEOPLE[scope.person], "reason": "consent"});
        if let Some(category) = scope.category {
            request["categories"] = json!([CATEGORIES[category]]);
        }
        let answer = self.post(0, "reopenings", &request);
        let log = &mut self.reference.logs[0];
        match log.scope(scope) {
            (None, _) => drop(answer.problem(404, "subject_not_found")),
            (Some(Person::Erased), Some(_)) => drop(answer.problem(409, "subject_erased")),
            (Some(Person::Erased), None) => {
                let handle = answer.expect(201)["handle"].as_str().unwrap().to_owned();
                assert!(log.blocks.iter().all(|block| block.handle != handle), "an old handle");
                log.people.insert(scope.person, Person::Known(handle));
                self.acts += 1;
            }
            (Some(Person::Known(handle)), Some(category)) if log.is_closed(handle, category) => {
                let handle = handle.clone();
                assert_eq!(answer.expect(201)["handle"], handle);
                log.closed.retain(|closed| *closed != (handle.clone(), category));
                self.acts += 1;
            }
            (Some(Person::Known(_)), _) => drop(answer.problem(409, "not_erased")),
        }
    }

    fn bar(&mut self, at: usize, scope: Scope, is_hold: bool) {
        let person = PEOPLE[scope.person];
        let (path, mut request) = if is_hold {
            ("holds", json!({"subjects": [person], "ground": "case-1"}))
        } else {
            (
                "restrictions",
                json!({"subject": person, "reason": "accuracy_contested"}),
            )
        };
        if let Some(category) = scope.category {
            request["categories"] = json!([CATEGORIES[category]]);
        }
        let answer = self.post(at, path, &request);
        let log = &mut self.reference.logs[at];
        let handle = match log.person(scope.person) {
            None => return drop(answer.problem(404, "subject_not_found")),
            Some(Person::Erased) => return drop(answer.problem(409, "subject_erased")),
            Some(Person::Known(handle)) => handle.clone(),
        };
        let is_closed = scope.category.is_some_and(|category| log.is_closed(&handle, category));
        if answer.status == 409 && is_closed {
            return; // nothing is there to keep
        }
        log.bars.push(Bar {
            id: answer.expect(201)["id"].as_str().unwrap().to_owned(),
            handle,
            category: scope.category,
            is_hold,
        });
        self.acts += 1;
    }

    fn unbar(&mut self, which: usize, is_hold: bool) {
        let all = self.reference.logs.iter().enumerate().flat_map(|(at, log)| {
            let own = log.bars.iter().filter(|bar| bar.is_hold == is_hold);
            own.map(move |bar| (at, bar.id.clone()))
        });
        let all: Vec<_> = all.collect();
        let Some((at, id)) = all.get(which % all.len().max(1)).cloned() else {
            return;
        };
        let kind = if is_hold { "holds" } else { "restrictions" };
        self.client()
            .delete(&self.path(at, &format!("{kind}/{id}")))
            .expect(200);
        let log = &mut self.reference.logs[at];
        log.bars.retain(|bar| bar.id != id);
        log.advance();
        self.changed();
    }

    fn renew(&mut self, person: usize) {
        let Some(handle) = self.reference.logs[0].handle(person).cloned() else {
            return;
        };
        let answer = self.post(0, &format!("subjects/{handle}/rotations"), &json!({}));
        if self.reference.logs[0].is_restricted(&handle, None) {
            answer.problem(409, "subject_restricted");
        } else {
            assert!(answer.status < 300, "{answer:?}");
            self.acts += 1;
        }
    }

    fn back_up(&mut self) {
        let folder = self
            .first
            .path()
            .with_file_name(format!("backup-{}", self.backups.len()));
        let client = self.client();
        let started = client.post("/v1/backups", &json!({"to": folder})).expect(202);
        let path = format!("/v1/backups/{}", started["id"].as_str().unwrap());
        eventually("the backup ends", || {
            client.get(&path).expect(200)["state"] != "running"
        });
        assert_eq!(client.get(&path).expect(200)["state"], "completed");
        self.backups.push(Saved {
            folder,
            reference: self.reference.clone(),
            acts: self.acts,
            changes: self.changes,
        });
    }

    fn restore(&mut self, backup: usize, crash: bool) {
        let Some(saved) = self.backups.get(backup % self.backups.len().max(1)) else {
            return;
        };
        let (folder, before) = (saved.folder.clone(), saved.reference.clone());
        let (is_newest, may_be_expired) = (
            saved.acts == self.acts,
            self.short_horizon && saved.changes < self.changes,
        );
        self.stop(crash);
        let target = self.first.elsewhere();
        let (vault, keys) = (self.first.path().join("vault"), self.first.path().join("keys"));
        let mut arguments = vec!["restore", "--json", "--keep-api-keys", "--accept-rollback"];
        let (from, to) = (folder.display().to_string(), target.path().display().to_string());
        let (vault, keys) = (vault.display().to_string(), keys.display().to_string());
        arguments.extend(["--from", &from, "--data", &to, "--vault", &vault, "--keys", &keys]);
        let output = run(&arguments);
        let said: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
        if !output.status.success() {
            assert!(may_be_expired && said["code"] == "backup_expired", "{said}");
            return self.serve();
        }
        match said["rollbacks"].as_array().unwrap().as_slice() {
            [] => assert!(is_newest && !crash, "nothing is told of what is lost: {said}"),
            [one] => {
                self.newest += 1;
                let vkey = one["vkey"].as_str().unwrap();
                self.reference = before.rolled_back(self.newest, vkey, &self.carried_out);
            }
            more => panic!("{more:?}"),
        }
        self.place = Some(target);
        self.changed();
        self.serve();
        self.verify();
    }

    /// Everything that the server tells is what the reference says.
    fn check(&self) {
        let client = self.client();
        for (at, log) in self.reference.logs.iter().enumerate() {
            let events = client.read_all(&self.path(at, "events?type=t&reveal=true"), 1_000);
            let told = events
                .iter()
                .flat_map(|event| event["personal"].as_array().unwrap().clone());
            let told: Vec<_> = told
                .map(|block| (block["state"].clone(), block["data"].clone()))
                .collect();
            let should = log.blocks.iter().map(|block| {
                let (state, text) = log.reads(block);
                (json!(state), json!(text))
            });
            assert_eq!(told, should.collect::<Vec<_>>(), "blocks of {}", log.name);
            for (person, name) in PEOPLE.iter().enumerate() {
                let answer = self.post(at, "subjects/lookup", &json!({"subject": name}));
                match log.person(person) {
                    None => drop(answer.problem(404, "subject_not_found")),
                    Some(Person::Erased) => drop(answer.problem(410, "erased")),
                    Some(Person::Known(handle)) => {
                        let state = if log.is_restricted(handle, None) {
                            "restricted"
                        } else {
                            "active"
                        };
                        let found = answer.expect(200);
                        assert_eq!(
                            (&found["handle"], &found["state"]),
                            (&json!(handle), &json!(state)),
                            "{name}"
                        );
                    }
                }
            }
            self.check_acts(&client, at, log);
        }
    }

    fn check_acts(&self, client: &Client, at: usize, log: &Log) {
        let listed = client.get(&self.path(at, "erasures")).expect(200);
        for view in listed["erasures"].as_array().unwrap() {
            if log.waiting.iter().any(|waiting| view["id"] == *waiting.id) {
                assert_eq!(view["state"], "held", "{view}");
            } else {
                assert!(is_done(view), "{view}");
            }
        }
        for (kind, is_hold) in [("holds", true), ("restrictions", false)] {
            let listed = client.get(&self.path(at, kind)).expect(200);
            let active = listed[kind]
                .as_array()
                .unwrap()
                .iter()
                .filter(|one| one["state"] == "active");
            let mut active: Vec<_> = active.map(|one| one["id"].as_str().unwrap().to_owned()).collect();
            let mut should: Vec<_> = log
                .bars
                .iter()
                .filter(|bar| bar.is_hold == is_hold)
                .map(|bar| bar.id.clone())
                .collect();
            active.sort();
            should.sort();
            assert_eq!(active, should, "{kind} of {}", log.name);
        }
    }

    /// Every log verifies, strictly, and grew out of what it was.
    fn verify(&mut self) {
        let client = self.client();
        for at in 0..self.reference.logs.len() {
            let job = client.post(&self.path(at, "verifications"), &json!({})).expect(202);
            let path = self.path(at, &format!("verifications/{}", job["id"].as_str().unwrap()));
            eventually("the verification ends", || {
                client.get(&path).expect(200)["report"].is_object()
            });
            let job = client.get(&path).expect(200);
            assert_eq!(job["report"]["verdict"], "valid", "{job}");
            let log = &self.reference.logs[at];
            let keys = Keys::of(&client, &log.name, &log.vkey);
            let leaves = keys.ledger(&client, &log.name);
            let known = self.leaves.entry(keys.origin).or_default();
            let both = known.len().min(leaves.len());
            assert_eq!(known[..both], leaves[..both], "{} has two roots", log.name);
            assert!(at > 0 || leaves.len() >= known.len(), "{} was cut", log.name);
            if leaves.len() > known.len() {
                *known = leaves;
            }
        }
    }

    pub(super) fn end(mut self) {
        self.stop(false);
        self.serve();
        self.check();
        self.verify();
        self.stop(false);
    }
}

fn is_done(view: &Value) -> bool {
    view["state"] == "completed" || view["state"] == "final"
}
