//! The keys: when they went, under which epochs copies of them hang, and when those go.

use super::*;

/// Records a request, and gives the payload of its completion: epoch 4 changed to 5, and nothing was retired.
fn asked_for(ledger: &mut TestLedger) -> serde_json::Value {
    use serde_json::json;
    let (handle, request) = (crate::spec::testing::ADA, crate::spec::testing::REQUEST);
    let asked =
        json!({"request": request, "subjects": [{"handle": handle}], "basis": "art17_1_a", "reason": "request"});
    ledger.system("erasure.requested", &asked);
    json!({
        "request": request,
        "subjects": [{"handle": handle, "keys_destroyed": 1, "identity_destroyed": true, "blocks": 3}],
        "keys_destroyed_at": Timestamp(2_000_000_000_000_000), "epochs": {"from": 4, "to": 5},
        "algorithms": ["AES-256-GCM"], "key_bits": 256, "pending": ["ciphertext"],
    })
}

/// A ledger with an erasure that changed epoch 4 to 5 and retired the old key until `due`, and what came of it.
fn with_epochs(due: Option<Timestamp>, destroyed: Option<u32>) -> (TestLedger, Certificate) {
    use serde_json::json;
    let mut ledger = TestLedger::new();
    let mut completed = asked_for(&mut ledger);
    if let Some(due) = due {
        completed["epoch_key_due_at"] = json!(due);
        completed["retired_epochs"] = json!([4]);
        completed["pending"] = json!(["ciphertext", "epoch_key"]);
    }
    ledger.system("erasure.completed", &completed);
    let gone = destroyed.map(|epoch| {
        let data = json!({"epoch": epoch, "retired_at": Timestamp(2_000_000_000_000_000), "due_at": due,
            "destroyed_at": Timestamp(3_000_000_000_000_000)});
        ledger.system("epoch.destroyed", &data)
    });
    let mut certificate = ledger.certificate();
    let residue = |code: &str| Residue {
        code: code.into(),
        text: "".into(),
    };
    certificate.residues = vec![residue("ciphertext")];
    certificate.times.t2 = Some(Timestamp(2_000_000_000_000_000));
    certificate.times.t5 = certificate.times.t2;
    certificate.epochs = Some(Epochs { from: 4, to: 5 });
    certificate.epoch_key_due_at = due;
    certificate.verification.epoch = Some(5);
    (certificate.algorithms, certificate.key_bits) = (vec!["AES-256-GCM".into()], Some(256));
    if due.is_some() {
        certificate.residues.push(residue("epoch_key"));
        certificate.key_copies = vec![copies(4, None)];
        certificate.times.t5 = None;
    }
    certificate.evidence.extend(gone.map(|index| ledger.evidence(index)));
    (ledger, certificate)
}

fn copies(epoch: u32, destroyed_at: Option<Timestamp>) -> KeyCopies {
    KeyCopies { epoch, destroyed_at }
}

const DUE: Option<Timestamp> = Some(Timestamp(2_500_000_000_000_000));

/// The old epoch key is gone, as `epoch.destroyed` says.
fn without_epoch_key(certificate: &mut Certificate) {
    certificate.times.t5 = Some(Timestamp(3_000_000_000_000_000));
    certificate.key_copies = vec![copies(4, certificate.times.t5)];
    certificate.residues.truncate(1);
}

#[test]
fn the_times_and_epochs_of_the_keys_are_those_of_the_events() {
    for (due, destroyed) in [(None, None), (DUE, None), (DUE, Some(4))] {
        let (ledger, mut certificate) = with_epochs(due, destroyed);
        if destroyed.is_some() {
            without_epoch_key(&mut certificate);
        }
        let report = verify(&ledger.sign_certificate(&certificate));
        assert_eq!(report.verdict, Verdict::Valid, "{report}");
        let tweaks: [Tweak; 13] = [
            ("another epoch in use", |c| c.verification.epoch = Some(4)),
            ("no epoch in use", |c| c.verification.epoch = None),
            ("more copies", |c| c.key_copies.push(copies(3, None))),
            ("copies that are gone", |c| match c.key_copies.as_mut_slice() {
                [] => c.key_copies.push(copies(4, c.times.t2)),
                [first, ..] => first.destroyed_at = Some(Timestamp(1)),
            }),
            ("t2", |c| c.times.t2 = Some(Timestamp(2_000_000_000_000_001))),
            ("no t2", |c| c.times.t2 = None),
            ("t5", |c| c.times.t5 = Some(Timestamp(9_000_000_000_000_000))),
            ("epochs", |c| c.epochs = Some(Epochs { from: 4, to: 6 })),
            ("no epochs", |c| c.epochs = None),
            ("due", |c| c.epoch_key_due_at = Some(Timestamp(7))),
            ("algorithms", |c| c.algorithms.push("AES-128-GCM".into())),
            ("key_bits", |c| c.key_bits = Some(512)),
            ("residues", |c| c.residues.clear()),
        ];
        for (what, tweak) in tweaks {
            let mut certificate = certificate.clone();
            tweak(&mut certificate);
            let report = verify(&ledger.sign_certificate(&certificate));
            assert_eq!(report.verdict, Verdict::Tampered, "{what}: {report}");
        }
    }
}

#[test]
fn a_retired_epoch_key_is_gone_only_if_an_event_of_that_epoch_says_so() {
    for destroyed in [None, Some(3)] {
        let (ledger, mut certificate) = with_epochs(DUE, destroyed);
        without_epoch_key(&mut certificate);
        let report = verify(&ledger.sign_certificate(&certificate));
        assert_eq!(report.verdict, Verdict::Tampered, "{destroyed:?}: {report}");
    }
    let (ledger, mut certificate) = with_epochs(DUE, Some(4));
    without_epoch_key(&mut certificate);
    certificate.evidence.truncate(2);
    assert_eq!(
        verify(&ledger.sign_certificate(&certificate)).verdict,
        Verdict::Tampered
    );
}

/// A ledger whose erasure left residues and the keys of two epochs, all of which went, and its final certificate. What came of
/// it is recorded before the completion if `early`.
fn ended(early: bool) -> (TestLedger, Certificate) {
    use serde_json::json;
    let mut ledger = TestLedger::new();
    let (handle, request) = (crate::spec::testing::ADA, crate::spec::testing::REQUEST);
    let t2 = Timestamp(2_000_000_000_000_000);
    let asked =
        json!({"request": request, "subjects": [{"handle": handle}], "basis": "art17_1_a", "reason": "request"});
    ledger.system("erasure.requested", &asked);
    let completed = json!({
        "request": request,
        "subjects": [{"handle": handle, "keys_destroyed": 1, "identity_destroyed": true, "blocks": 3}],
        "keys_destroyed_at": t2, "epochs": {"from": 4, "to": 5}, "epoch_key_due_at": DUE, "retired_epochs": [2, 3],
        "algorithms": ["AES-256-GCM"], "key_bits": 256, "pending": ["key_store_files", "ciphertext", "epoch_key"],
    });
    let mut later = vec![
        (
            "erasure.residue_removed",
            json!({"request": request, "residue": "key_store_files", "at": t2}),
        ),
        (
            "erasure.residue_removed",
            json!({"request": request, "residue": "ciphertext", "at": t2}),
        ),
        (
            "epoch.destroyed",
            json!({"epoch": 3, "retired_at": t2, "due_at": DUE, "destroyed_at": t2}),
        ),
        (
            "epoch.destroyed",
            json!({"epoch": 2, "retired_at": t2, "due_at": DUE, "destroyed_at": DUE}),
        ),
    ];
    later.insert(if early { 4 } else { 0 }, ("erasure.completed", completed));
    let indexes: Vec<_> = later
        .iter()
        .map(|(kind, data)| (*kind, ledger.system(kind, data)))
        .collect();
    let mut certificate = ledger.certificate();
    let done = if early { 6 } else { 2 };
    let header = crate::spec::event::Header::decode(&ledger.evidence(done).record().header).unwrap();
    certificate.completed_at = Some(header.recorded_at);
    certificate.evidence = vec![ledger.evidence(1), ledger.evidence(done)];
    let others = indexes.iter().filter(|(kind, _)| *kind != "erasure.completed");
    certificate
        .evidence
        .extend(others.map(|(_, index)| ledger.evidence(*index)));
    certificate.residues.clear();
    certificate.status = Status::Final;
    let times = &mut certificate.times;
    (times.t2, times.t3, times.t4, times.t5) = (Some(t2), Some(t2), Some(t2), DUE);
    certificate.epochs = Some(Epochs { from: 4, to: 5 });
    certificate.epoch_key_due_at = DUE;
    certificate.verification.epoch = Some(5);
    certificate.key_copies = vec![copies(2, DUE), copies(3, Some(t2))];
    (certificate.algorithms, certificate.key_bits) = (vec!["AES-256-GCM".into()], Some(256));
    (ledger, certificate)
}

#[test]
fn a_final_certificate_shows_the_end_of_all_that_was_pending_by_later_events() {
    let (ledger, certificate) = ended(false);
    let report = verify(&ledger.sign_certificate(&certificate));
    assert_eq!(report.verdict, Verdict::Valid, "{report}");
    let tweaks: [Tweak; 5] = [
        ("t3 without an event", |c| drop(c.evidence.remove(2))),
        ("t4 without an event", |c| drop(c.evidence.remove(3))),
        ("one retired key without an event", |c| drop(c.evidence.remove(4))),
        ("the other without an event", |c| drop(c.evidence.remove(5))),
        ("t5 of the first that went", |c| c.times.t5 = c.times.t2),
    ];
    for (what, tweak) in tweaks {
        let mut certificate = certificate.clone();
        tweak(&mut certificate);
        let report = verify(&ledger.sign_certificate(&certificate));
        assert_eq!(report.verdict, Verdict::Tampered, "{what}: {report}");
    }
    let (ledger, certificate) = ended(true);
    let report = verify(&ledger.sign_certificate(&certificate));
    assert_eq!(report.verdict, Verdict::Tampered, "before the completion: {report}");
}

/// A retired epoch has an end, and an end is that of retired epochs: an event with one of the two contradicts itself.
#[test]
fn retired_epochs_and_their_end_come_together() {
    use serde_json::json;
    for (member, value) in [("retired_epochs", json!([4])), ("epoch_key_due_at", json!(DUE))] {
        let (_, mut certificate) = with_epochs(None, None);
        let mut ledger = TestLedger::new();
        let mut completed = asked_for(&mut ledger);
        completed[member] = value;
        ledger.system("erasure.completed", &completed);
        let base = ledger.certificate();
        (certificate.evidence, certificate.anchors) = (base.evidence, base.anchors);
        (certificate.checkpoint, certificate.completed_at) = (base.checkpoint, base.completed_at);
        if member == "retired_epochs" {
            certificate.key_copies = vec![copies(4, None)];
        } else {
            certificate.epoch_key_due_at = DUE;
        }
        for t5 in [None, certificate.times.t2] {
            certificate.times.t5 = t5;
            let report = verify(&ledger.sign_certificate(&certificate));
            assert_eq!(report.verdict, Verdict::Tampered, "{member}: {report}");
            assert!(
                codes(&report).contains(&FindingCode::AuthorityInvalid),
                "{member}: {report}"
            );
        }
    }
}
