//! Acts that break off between what the ledger records and what the key store does, while the server runs on: a commit
//! fails, with all written or nothing. The tick brings both together, without a new start.

use std::sync::Arc;
use std::time::{Duration, Instant};

use oubliette::env::System;
use oubliette::keystore::rocksdb::RocksKeyStore;
use oubliette::keystore::vault::file::FileVault;
use oubliette::sequencer::{Limits, Publish, Sequencer, View};
use oubliette::service::access::NewApiKey;
use oubliette::service::append::{AppendCall, Proof};
use oubliette::service::erase::Purging;
use oubliette::service::ledger::{SigningKeyStore, SigningKeys};
use oubliette::service::policy::Policy;
use oubliette::service::read::Reveal;
use oubliette::service::{Caller, Code, Components, Error, Ledger, Role, Service, backup, request};
use oubliette::spec::ids::LedgerName;
use oubliette::store::rocksdb::RocksStore;
use serde_json::{Value, json};

use crate::faulty::{Failing, Faulty};
use crate::forgetful::Forgetful;

/// Until a writer that failed takes events again and a tick came by.
const PATIENCE: Duration = Duration::from_secs(20);

struct Nobody;

impl Publish for Nobody {
    fn published(&self, _: &Arc<View>) {}
}

struct Fixed;

impl SigningKeyStore for Fixed {
    fn load(&self, _: &LedgerName) -> Result<SigningKeys, Error> {
        let key = |byte| ed25519_dalek::SigningKey::from_bytes(&[byte; 32]);
        Ok(SigningKeys {
            event: key(1),
            checkpoint: key(2),
            certificate: key(3),
        })
    }

    fn create(&self, ledger: &LedgerName) -> Result<SigningKeys, Error> {
        self.load(ledger)
    }
}

/// The service over real stores, in this process.
struct Scene {
    runtime: tokio::runtime::Runtime,
    service: Arc<Service>,
    ledger: Arc<Ledger>,
    caller: Caller,
    store: Arc<Faulty>,
    keys: Arc<Forgetful>,
    _folder: tempfile::TempDir,
}

impl Scene {
    fn new(policy: Policy) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let system = Arc::new(System);
        let vault = FileVault::create(&[folder.path().join("vault")], system.clone()).unwrap();
        let keystore = RocksKeyStore::create(&folder.path().join("keys"), Arc::new(vault), system.clone()).unwrap();
        let keys = Forgetful::new(keystore);
        let store = Faulty::new(&folder.path().join("ledger"), 0, Failing::Lost);
        let limits = Limits::default();
        let sequencer = Sequencer::start(store.clone(), system.clone(), system.clone(), Arc::new(Nobody), limits);
        let service = Service::new(Components {
            store: store.clone(),
            keystore: keys.clone(),
            sequencer,
            signing_keys: Arc::new(Fixed),
            clock: system.clone(),
            entropy: system,
            limits: oubliette::service::Limits::default(),
            guard: true,
            policy,
            backup_places: backup::Places {
                root: None,
                apart_from: Vec::new(),
                open: Box::new(|path| Ok(Arc::new(RocksStore::open_read_only(path)?))),
            },
            horizon: Duration::ZERO,
            purging: Purging::default(),
        });
        let service = Arc::new(service.unwrap());
        let (name, origin) = ("main".parse().unwrap(), "o.example/main".parse().unwrap());
        let caller = runtime.block_on(async {
            service.found_ledger(name, origin, None).await.unwrap();
            let key = NewApiKey {
                name: "test".into(),
                roles: Role::ALL.into_iter().collect(),
                ledgers: None,
            };
            let shown = service.create_api_key("test", key).await.unwrap();
            service.authenticate(&shown.api_key).unwrap()
        });
        let ledger = service.ledger(&"main".parse().unwrap()).unwrap();
        Self {
            runtime,
            service,
            ledger,
            caller,
            store,
            keys,
            _folder: folder,
        }
    }

    fn parsed<T: serde::de::DeserializeOwned>(value: &Value) -> T {
        request::parse(value.to_string().as_bytes()).unwrap()
    }

    fn append(&self, subject: &str, category: &str) -> Result<Value, Error> {
        let event = json!({"type": "t", "personal": [{"subject": subject, "category": category, "data": subject}]});
        let request = Self::parsed(&json!({"events": [event]}));
        let call = AppendCall::to_stream("s".parse().unwrap(), request, Proof::None);
        let answer = self.runtime.block_on(self.service.append(&self.ledger, call))?;
        Ok(serde_json::to_value(answer).unwrap()["events"][0].take())
    }

    fn restrict(&self, subject: &str) -> Result<String, Error> {
        let request = Self::parsed(&json!({"subject": subject, "reason": "objection"}));
        let restrict = self.service.restrict(&self.ledger, &self.caller, request);
        Ok(self.runtime.block_on(restrict)?.id.to_string())
    }

    fn erase(&self, subject: &str, categories: Option<&[&str]>) {
        self.try_to_erase(subject, categories).unwrap();
    }

    fn try_to_erase(&self, subject: &str, categories: Option<&[&str]>) -> Result<(), Error> {
        let mut request = json!({"subjects": [subject], "basis": "art17_1_b", "reason": "request"});
        if let Some(categories) = categories {
            request["categories"] = json!(categories);
        }
        let erase = self.service.erase(&self.ledger, &self.caller, Self::parsed(&request));
        self.runtime.block_on(erase).map(drop)
    }

    fn reopen(&self, subject: &str, categories: Option<&[&str]>) -> Result<(), Error> {
        let mut request = json!({"subject": subject, "reason": "consent"});
        if let Some(categories) = categories {
            request["categories"] = json!(categories);
        }
        let reopen = self.service.reopen(&self.ledger, &self.caller, Self::parsed(&request));
        self.runtime.block_on(reopen).map(drop)
    }

    /// The state of the first block of an event, opened where it opens.
    fn state(&self, index: u64) -> String {
        let event = self.service.event(&self.ledger, index, Reveal::Open).unwrap();
        let event = serde_json::to_value(event).unwrap();
        event["personal"][0]["state"].as_str().unwrap().to_owned()
    }

    /// Ticks as the server does until it is so.
    fn ticks_until(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let started = Instant::now();
        loop {
            self.runtime.block_on(async {
                self.service.retry_erasures().await;
                self.service.tick().await;
            });
            if self.service.is_ready() && is_so() {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "never so: {what}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// What the ledger says of restrictions.
    fn restrictions(&self) -> usize {
        self.service.restrictions(&self.ledger).unwrap().len()
    }
}

#[test]
fn a_restriction_whose_record_is_durable_although_it_failed_is_withheld_without_a_new_start() {
    let scene = Scene::new(Policy::default());
    let index = scene.append("ada", "billing").unwrap()["index"].as_u64().unwrap();
    scene.store.fail(1, Failing::Persisted);
    assert_eq!(scene.restrict("ada").unwrap_err().code, Code::NotReady);
    scene.ticks_until("restricted", || scene.state(index) == "restricted");
    assert_eq!(scene.restrictions(), 1);
    // The same for its end.
    let restrictions = serde_json::to_value(scene.service.restrictions(&scene.ledger).unwrap()).unwrap();
    let id = restrictions[0]["id"].as_str().unwrap().parse().unwrap();
    scene.store.fail(1, Failing::Persisted);
    let lift = scene.service.lift_restriction(&scene.ledger, &scene.caller, id);
    assert_eq!(scene.runtime.block_on(lift).unwrap_err().code, Code::NotReady);
    scene.ticks_until("lifted", || scene.state(index) == "clear");
}

#[test]
fn a_restriction_whose_record_is_lost_restricts_nobody() {
    let scene = Scene::new(Policy::default());
    let index = scene.append("ada", "billing").unwrap()["index"].as_u64().unwrap();
    scene.store.fail(1, Failing::Lost);
    assert_eq!(scene.restrict("ada").unwrap_err().code, Code::NotReady);
    scene.ticks_until("ready", || true);
    assert_eq!((scene.state(index).as_str(), scene.restrictions()), ("clear", 0));
    scene.restrict("ada").unwrap();
    assert_eq!(scene.state(index), "restricted");
}

#[test]
fn a_reopening_that_failed_is_carried_out_if_its_record_is_there_and_dropped_if_not() {
    for (failing, is_open) in [(Failing::Persisted, true), (Failing::Lost, false)] {
        let scene = Scene::new(Policy::default());
        for person in ["whole", "part"] {
            scene.append(person, "billing").unwrap();
        }
        scene.erase("whole", None);
        scene.erase("part", Some(&["billing"]));
        for (person, categories) in [("whole", None), ("part", Some(&["billing"][..]))] {
            scene.store.fail(1, failing);
            assert_eq!(scene.reopen(person, categories).unwrap_err().code, Code::NotReady);
            scene.ticks_until("ready", || scene.append("somebody", "else").is_ok());
            scene.ticks_until("settled", || scene.append(person, "billing").is_ok() == is_open);
            if !is_open {
                // Its note is dropped: a later failure lifts nothing either, and a reopening that succeeds does.
                assert_eq!(scene.append(person, "billing").unwrap_err().code, Code::SubjectErased);
                scene.reopen(person, categories).unwrap();
                scene.append(person, "billing").unwrap();
            }
        }
    }
}

/// The commits of a run: its start, `erasure.requested`, `erasure.completed`, `subject.reopened`, its end.
#[test]
fn a_category_that_retention_erased_is_open_again_whichever_commit_of_the_run_failed() {
    let rule = json!({"name": "short", "category": "marketing", "keep": "1s"});
    let policy = Policy {
        retention: vec![serde_json::from_value(rule).unwrap()],
        ..Policy::default()
    };
    let run = |(commit, failing): (u64, Failing)| {
        let scene = Scene::new(policy.clone());
        let old = scene.append("ada", "marketing").unwrap()["index"].as_u64().unwrap();
        // Whom somebody erased asked for it: nothing is opened again by itself.
        scene.append("bob", "marketing").unwrap();
        scene.erase("bob", Some(&["marketing"]));
        std::thread::sleep(Duration::from_millis(1_200));
        scene.store.fail(commit, failing);
        let request = Scene::parsed(&json!({"dry_run": false}));
        let ran = scene.service.run_retention(&scene.ledger, &scene.caller, request);
        assert_eq!(scene.runtime.block_on(ran).unwrap_err().code, Code::NotReady);
        let is_erased = (commit, failing) > (2, Failing::Lost);
        scene.ticks_until(&format!("ready after {commit}, {failing:?}"), || true);
        scene.ticks_until(&format!("open after {commit}, {failing:?}"), || {
            let expected = if is_erased { 2 } else { 1 };
            let new = scene.append("ada", "marketing");
            new.is_ok_and(|new| new["personal"][0]["generation"] == expected)
        });
        assert_eq!(scene.state(old), if is_erased { "erased" } else { "clear" });
        assert_eq!(scene.append("bob", "marketing").unwrap_err().code, Code::SubjectErased);
    };
    std::thread::scope(|scope| {
        for commit in 1..=5 {
            for failing in [Failing::Lost, Failing::Persisted] {
                scope.spawn(move || run((commit, failing)));
            }
        }
    });
}

/// Nothing is certified on the word of a fence: what it hides is tried.
#[test]
fn a_destruction_that_destroyed_nothing_is_found_and_made_good() {
    for categories in [None, Some(&["billing"][..])] {
        let scene = Scene::new(Policy::default());
        let index = scene.append("ada", "billing").unwrap()["index"].as_u64().unwrap();
        scene.append("bob", "billing").unwrap();
        scene.keys.forget_once();
        assert_eq!(scene.try_to_erase("ada", categories).unwrap_err().code, Code::Damaged);
        let erasures = || scene.service.erasures(&scene.ledger).unwrap();
        assert_eq!((erasures().len(), erasures()[0].state), (1, "erasing"));
        assert_eq!(scene.state(index), "erasing");
        scene.ticks_until("erased", || erasures()[0].state != "erasing");
        assert_eq!(scene.state(index), "erased");
    }
}
