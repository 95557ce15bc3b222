//! The service over real stores in this process, whose commits fail when they are told to.

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
use oubliette::service::{Caller, Components, Error, Ledger, Role, Service, backup, request};
use oubliette::spec::ids::LedgerName;
use oubliette::store::rocksdb::RocksStore;
use serde_json::{Value, json};

use crate::faulty::{Failing, Faulty};
use crate::forgetful::Forgetful;

/// Until a writer that failed takes events again and a tick came by.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

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
pub(crate) struct Scene {
    pub(crate) runtime: tokio::runtime::Runtime,
    pub(crate) service: Arc<Service>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) caller: Caller,
    pub(crate) store: Arc<Faulty>,
    pub(crate) keys: Arc<Forgetful>,
    _folder: tempfile::TempDir,
}

impl Scene {
    pub(crate) fn new(policy: Policy) -> Self {
        Self::purging(policy, Purging::default())
    }

    pub(crate) fn purging(policy: Policy, purging: Purging) -> Self {
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
            purging,
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

    pub(crate) fn parsed<T: serde::de::DeserializeOwned>(value: &Value) -> T {
        request::parse(value.to_string().as_bytes()).unwrap()
    }

    pub(crate) fn append(&self, subject: &str, category: &str) -> Result<Value, Error> {
        let event = json!({"type": "t", "personal": [{"subject": subject, "category": category, "data": subject}]});
        let request = Self::parsed(&json!({"events": [event]}));
        let call = AppendCall::to_stream("s".parse().unwrap(), request, Proof::None);
        let answer = self.runtime.block_on(self.service.append(&self.ledger, call))?;
        Ok(serde_json::to_value(answer).unwrap()["events"][0].take())
    }

    pub(crate) fn restrict(&self, subject: &str) -> Result<String, Error> {
        let request = Self::parsed(&json!({"subject": subject, "reason": "objection"}));
        let restrict = self.service.restrict(&self.ledger, &self.caller, request);
        Ok(self.runtime.block_on(restrict)?.id.to_string())
    }

    pub(crate) fn erase(&self, subject: &str, categories: Option<&[&str]>) {
        self.try_erase(subject, categories).unwrap();
    }

    pub(crate) fn try_erase(&self, subject: &str, categories: Option<&[&str]>) -> Result<Value, Error> {
        let mut request = json!({"subjects": [subject], "basis": "art17_1_b", "reason": "request"});
        if let Some(categories) = categories {
            request["categories"] = json!(categories);
        }
        let erase = self.service.erase(&self.ledger, &self.caller, Self::parsed(&request));
        Ok(serde_json::to_value(self.runtime.block_on(erase)?).unwrap())
    }

    /// The events of a type.
    pub(crate) fn events(&self, event_type: &str) -> Vec<Value> {
        let read = |index| self.service.event(&self.ledger, index, Reveal::Sealed).ok();
        let all = (0..).map_while(read).map(|event| serde_json::to_value(event).unwrap());
        all.filter(|event| event["type"] == event_type).collect()
    }

    pub(crate) fn reopen(&self, subject: &str, categories: Option<&[&str]>) -> Result<(), Error> {
        let mut request = json!({"subject": subject, "reason": "consent"});
        if let Some(categories) = categories {
            request["categories"] = json!(categories);
        }
        let reopen = self.service.reopen(&self.ledger, &self.caller, Self::parsed(&request));
        self.runtime.block_on(reopen).map(drop)
    }

    /// The state of the first block of an event, opened where it opens.
    pub(crate) fn state(&self, index: u64) -> String {
        let event = self.service.event(&self.ledger, index, Reveal::Open).unwrap();
        let event = serde_json::to_value(event).unwrap();
        event["personal"][0]["state"].as_str().unwrap().to_owned()
    }

    /// Ticks as the server does until it is so.
    pub(crate) fn ticks_until(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let started = Instant::now();
        loop {
            self.runtime.block_on(async {
                self.service.retry_erasures().await;
                self.service.tick().await;
                self.service.expire_epochs().await;
                self.service.remove_residues().await;
                self.service.complete_redactions().await;
            });
            if self.service.is_ready() && is_so() {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "never so: {what}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
