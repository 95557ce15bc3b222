//! Every byte of every file, before and after: what an erasure or a redaction says is gone is nowhere in ledger, key store,
//! vault and logs, and in a backup of before it is what no living key opens. The same search finds each of it before.

use std::path::Path;
use std::sync::Arc;

use oubliette::env::{Clock, System};
use oubliette::keystore::rocksdb::RocksKeyStore;
use oubliette::keystore::vault::Vault;
use oubliette::keystore::vault::file::FileVault;
use oubliette::keystore::{KeyStore, KeyStoreError, Wanted};
use oubliette::store::rocksdb::RocksStore;
use oubliette::store::{LedgerNumber, LedgerStore};
use rocksdb::{DB, IteratorMode, Options};
use serde_json::json;

use crate::support::backups::{Place, back_up, beside, drill};
use crate::support::people::{erase, found_in, opened, purged, sealed, verified};
use crate::support::softhsm::SoftToken;
use crate::support::{Client, Data, Server, copy_folder, eventually};

const SUBJECT: &str = "forensic-subject-61f0ce";
const SECRET: &str = "forensic-secret-a97d42";

/// What must be gone, by name.
type Needles = Vec<(&'static str, Vec<u8>)>;

fn mirrors(folder: &Path) -> [std::path::PathBuf; 2] {
    ["a", "b"].map(|name| folder.join(name))
}

/// All pairs of a stopped key store.
fn rows(folder: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let db = DB::open_for_read_only(&Options::default(), folder, false).unwrap();
    let pairs = db.iterator(IteratorMode::Start).map(Result::unwrap);
    pairs.map(|(row, value)| (row.to_vec(), value.to_vec())).collect()
}

/// The sealed blocks of the person's two events, as they lie in the ledger store.
fn ciphertext(data: &Data) -> Needles {
    let store = RocksStore::open_read_only(&data.path().join("ledger")).unwrap();
    let bodies = store.bodies(LedgerNumber(1), 0..1_000).unwrap();
    let hers = bodies
        .into_iter()
        .filter(|body| body.ordinal == 2 && [2, 4].contains(&body.index));
    let hers: Needles = hers.map(|body| ("ciphertext", body.bytes)).collect();
    assert_eq!(hers.len(), 2);
    hers
}

/// The rows of the key store that lead to a handle's keys: what is found by the handle, and all that wraps it.
fn wrapped(keystore: &Path, handle: &[u8]) -> Needles {
    let of_handle = |(row, _): &(Vec<u8>, Vec<u8>)| memchr::memmem::find(row, handle).is_some();
    let key = |(row, value): (Vec<u8>, Vec<u8>)| (row[0] == b'k').then_some(("wrapped key", value));
    let hers: Needles = rows(keystore).into_iter().filter(of_handle).filter_map(key).collect();
    assert!(!hers.is_empty());
    hers
}

/// The subject key itself, as the program has it in memory; on a copy, so that nothing here leaves a trace there.
fn raw(data: &Data, handle: &str) -> Needles {
    let copy = data.copy();
    let vault: Arc<dyn Vault> =
        Arc::new(FileVault::open(&mirrors(&copy.path().join("vault")), Arc::new(System)).unwrap());
    let ledger = vault.ledgers().unwrap()[0];
    let store = RocksKeyStore::open(&copy.path().join("keystore"), vault, Arc::new(System)).unwrap();
    let wanted = Wanted {
        subject: SUBJECT.parse().unwrap(),
        category: "default".parse().unwrap(),
    };
    let key = store.provision(ledger, &[wanted]).unwrap().pop().unwrap().unwrap();
    assert_eq!(key.handle.to_string(), handle);
    let lease = store.key(ledger, &key).unwrap().unwrap();
    vec![("subject key", lease.expose().to_vec())]
}

/// The bytes of the old epoch's slot that an erasure overwrote, of each mirror: 32 of them are its key.
fn overwritten(before: &Path, after: &Path) -> Needles {
    let mut needles = Vec::new();
    for mirror in ["a", "b"] {
        let read = |folder: &Path| std::fs::read(folder.join(mirror).join("slots")).unwrap();
        let (before, after) = (read(before), read(after));
        let differs = |at: &usize| before[*at] != after[*at];
        let places: Vec<_> = (0..before.len().min(after.len())).filter(differs).collect();
        // What was a key before: runs of bytes that all are other ones now.
        for run in places.chunk_by(|a, b| b - a <= 2) {
            let bytes = &before[run[0]..=run[run.len() - 1]];
            if bytes.len() >= 24 && bytes.iter().any(|byte| *byte != 0) {
                needles.push(("epoch key", bytes.to_vec()));
            }
        }
    }
    assert!(!needles.is_empty(), "no slot was overwritten");
    needles
}

/// Where any of this stands below a folder, in bytes or as hexadecimal digits.
fn found(folder: &Path, needles: &Needles) -> Vec<String> {
    let mut places = Vec::new();
    for (name, needle) in needles {
        for form in [needle.clone(), hex::encode(needle).into_bytes()] {
            let files = found_in(folder, &form).into_iter();
            places.extend(files.map(|file| format!("{name} in {}", file.display())));
        }
    }
    places
}

fn append_all(client: &Client) -> String {
    let receipt = client.append("s", sealed(SUBJECT, SECRET));
    client.append("s", sealed("bob", "Bob"));
    client.append("s", sealed(SUBJECT, SECRET));
    receipt["personal"][0]["handle"].as_str().unwrap().to_owned()
}

/// Starts it with the most talkative log, purging at once.
fn serve(data: &Data, more: &[(&str, &str)]) -> Server {
    let root = data.path().parent().unwrap().to_str().unwrap().to_owned();
    let settings = [
        ("OUBLIETTE_LOG", "trace"),
        ("OUBLIETTE_ERASURE_PURGE", "prompt"),
        ("OUBLIETTE_BACKUP_DIR", root.as_str()),
    ];
    data.serve_with(&[&settings[..], more].concat())
}

/// Plaintext and the subject's id are in no file even before; that the search would find them is shown by a file that has
/// them.
fn never_in_a_file(folder: &Path) {
    let needles: Needles = vec![("plaintext", SECRET.into()), ("subject id", SUBJECT.into())];
    assert!(found(folder, &needles).is_empty(), "{:?}", found(folder, &needles));
    let control = folder.join("control");
    std::fs::write(&control, format!("..{SECRET}..{}..", hex::encode(SUBJECT))).unwrap();
    assert_eq!(found(folder, &needles).len(), 2);
    std::fs::remove_file(control).unwrap();
}

#[test]
fn after_an_erasure_no_file_holds_what_was_erased_and_an_expired_backup_holds_what_nothing_opens() {
    let data = Data::new();
    let root = data.path().parent().unwrap().to_owned();
    let horizon = [("OUBLIETTE_ERASURE_HORIZON_SECONDS", "6")];
    let server = serve(&data, &horizon);
    let handle = append_all(&server.client());
    let backup = beside(&data, "backup");
    assert_eq!(back_up(&server.client(), &backup)["state"], "completed");
    assert_eq!(opened(&server.client(), "main")[0], json!(SECRET));
    server.stop();

    let hers = [
        ciphertext(&data),
        wrapped(&data.path().join("keystore"), &hex::decode(&handle).unwrap()),
    ]
    .concat();
    let key = raw(&data, &handle);
    for needle in &hers {
        let one = vec![needle.clone()];
        for part in [data.path(), backup.clone()] {
            assert!(
                !found(&part, &one).is_empty(),
                "{} is not found before in {}",
                needle.0,
                part.display()
            );
        }
    }
    // The key itself is in no file at any time; the search would find it.
    assert!(found(&root, &key).is_empty());
    std::fs::write(root.join("control"), &key[0].1).unwrap();
    assert_eq!(found(&root, &key).len(), 1);
    std::fs::remove_file(root.join("control")).unwrap();
    never_in_a_file(&root);
    let slots = tempfile::tempdir().unwrap();
    copy_folder(&data.path().join("vault"), slots.path());

    let server = serve(&data, &horizon);
    let client = server.client();
    let erasure = erase(&client, SUBJECT);
    purged(&client, &erasure);
    eventually("the horizon has passed", || {
        client.get("erasures").expect(200)["erasures"][0]["state"] == "final"
    });
    let gone = [hers.clone(), key, overwritten(slots.path(), &data.path().join("vault"))].concat();
    assert!(
        found(slots.path(), &gone)
            .iter()
            .any(|place| place.starts_with("epoch key")),
        "the search finds the old epoch key in the old slots"
    );
    assert!(
        found(&data.path(), &gone).is_empty(),
        "{:?}",
        found(&data.path(), &gone)
    );
    never_in_a_file(&data.path());
    let younger = beside(&data, "younger");
    assert_eq!(back_up(&client, &younger)["state"], "completed");
    assert!(found(&younger, &gone).is_empty());
    let listed = client.get("/v1/backups").expect(200);
    let expired: Vec<_> = listed["backups"].as_array().unwrap().iter().collect();
    let expired: Vec<_> = expired.iter().map(|backup| &backup["ledgers"][0]["expired"]).collect();
    assert_eq!(expired, [&json!(false), &json!(true)], "newest first: {listed}");
    let certificate = client.get(erasure["certificate"].as_str().unwrap());
    let notes = verified(&certificate.body)["notes"].to_string();
    assert!(!notes.contains("Possible residue"), "{notes}");
    server.stop();
    assert!(
        found(&data.path(), &gone).is_empty(),
        "{:?}",
        found(&data.path(), &gone)
    );
    let log = root.join("data.log");
    assert!(found(&root, &gone).iter().all(|place| place.contains("/backup/")) && log.exists());

    // The expired backup still holds ciphertext and wrapped key, and no key that lives unwraps it.
    let left = found(&backup, &hers);
    assert!(left.iter().any(|place| place.starts_with("wrapped key")), "{left:?}");
    let place = Place::of(&data);
    let refusals = [&[][..], &["--accept-rollback"]].map(|arguments| place.restore(&data, &backup, arguments));
    for (exit, said) in refusals.into_iter().chain([drill(&data, &backup)]) {
        assert_eq!((exit, &said["code"]), (3, &json!("backup_expired")), "{said}");
    }
    let copy = data.copy();
    copy_folder(&backup.join("keystore"), &copy.path().join("old"));
    let vault = FileVault::open(&mirrors(&copy.path().join("vault")), Arc::new(System)).unwrap();
    let old = RocksKeyStore::adopt(&copy.path().join("old"), &vault, &System, System.now());
    assert!(matches!(old, Err(KeyStoreError::Foreign(_))), "{:?}", old.err());
}

#[test]
fn with_the_epoch_keys_in_an_hsm_no_file_holds_what_was_erased() {
    let hsm = SoftToken::new();
    let data = Data::made_with(&hsm.environment());
    let server = serve(&data, &hsm.environment());
    let handle = append_all(&server.client());
    server.stop();
    let gone = [
        ciphertext(&data),
        wrapped(&data.path().join("keystore"), &hex::decode(&handle).unwrap()),
    ]
    .concat();
    for needle in &gone {
        assert!(
            !found(&data.path(), &vec![needle.clone()]).is_empty(),
            "{} is not found before",
            needle.0
        );
    }
    never_in_a_file(&data.path());
    let server = serve(&data, &hsm.environment());
    purged(&server.client(), &erase(&server.client(), SUBJECT));
    server.stop();
    // The folders beside the token, the token's own files, and the log.
    for folder in [data.path().parent().unwrap().to_owned(), hsm.tokens()] {
        assert!(found(&folder, &gone).is_empty(), "{:?}", found(&folder, &gone));
        never_in_a_file(&folder);
    }
}

#[test]
fn a_redacted_leak_is_in_no_file_and_in_the_backups_that_its_certificate_names() {
    const LEAK: &str = "forensic-leak-3be11f";
    let needles: Needles = vec![("leak", LEAK.into())];
    let data = Data::new();
    let server = serve(&data, &[]);
    let client = server.client();
    let leaked = client.append(
        "s",
        json!({"type": "t", "data": {"iban": LEAK}, "correlation_id": LEAK}),
    );
    client.append("s", json!({"type": "t", "data": "stays"}));
    let before = beside(&data, "before");
    let backup = back_up(&client, &before);
    assert_eq!(backup["state"], "completed");
    assert!(!found(&data.path(), &needles).is_empty() && !found(&before, &needles).is_empty());
    let request =
        json!({"reason": "personal_data", "events": [{"index": leaked["index"], "bodies": ["meta", "data"]}]});
    let redaction = client.post("redactions", &request).expect(202);
    let path = format!("redactions/{}", redaction["id"].as_str().unwrap());
    eventually("the redaction is completed", || {
        client.get(&path).expect(200)["state"] == "completed"
    });
    assert!(
        found(&data.path(), &needles).is_empty(),
        "{:?}",
        found(&data.path(), &needles)
    );
    let after = beside(&data, "after");
    assert_eq!(back_up(&client, &after)["state"], "completed");
    assert!(found(&after, &needles).is_empty());
    // The backup of before still has it in clear, and the certificate says so; the one of after is not among those.
    assert!(!found(&before, &needles).is_empty());
    let view = client.get(&path).expect(200);
    let named: Vec<_> = view["backups"]
        .as_array()
        .unwrap()
        .iter()
        .map(|backup| &backup["id"])
        .collect();
    assert_eq!(named, [&backup["id"]], "{view}");
    let certificate = client.get(view["certificate"].as_str().unwrap());
    verified(&certificate.body);
    assert!(String::from_utf8_lossy(&certificate.body).contains(backup["id"].as_str().unwrap()));
    server.stop();
    assert!(found(&data.path(), &needles).is_empty());
    let log = data.path().parent().unwrap().join("data.log");
    assert!(memchr::memmem::find(&std::fs::read(log).unwrap(), LEAK.as_bytes()).is_none());
}
