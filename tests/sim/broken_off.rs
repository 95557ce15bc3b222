//! Acts that break off between what the ledger records and what the key store does, while the server runs on: a commit
//! fails, with all written or nothing. The tick brings both together, without a new start.

use std::time::Duration;

use oubliette::service::Code;
use oubliette::service::append::{AppendCall, Proof};
use oubliette::service::epochs::RenewRequest;
use oubliette::service::erase::Purging;
use oubliette::service::policy::Policy;
use serde_json::{Value, json};

use crate::faulty::Failing;
use crate::scene::Scene;

/// What the ledger says of restrictions.
fn restrictions(scene: &Scene) -> usize {
    scene.service.restrictions(&scene.ledger).unwrap().len()
}

#[test]
fn a_restriction_whose_record_is_durable_although_it_failed_is_withheld_without_a_new_start() {
    let scene = Scene::new(Policy::default());
    let index = scene.append("ada", "billing").unwrap()["index"].as_u64().unwrap();
    scene.store.fail(1, Failing::Persisted);
    assert_eq!(scene.restrict("ada").unwrap_err().code, Code::NotReady);
    scene.ticks_until("restricted", || scene.state(index) == "restricted");
    assert_eq!(restrictions(&scene), 1);
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
    assert_eq!((scene.state(index).as_str(), restrictions(&scene)), ("clear", 0));
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

#[test]
fn an_erasure_that_waits_goes_on_if_its_record_is_durable_although_it_failed() {
    let policy = Policy {
        grace_seconds: 1,
        ..Policy::default()
    };
    for failing in [Failing::Persisted, Failing::Lost] {
        let scene = Scene::new(policy.clone());
        let index = scene.append("ada", "billing").unwrap()["index"].as_u64().unwrap();
        scene.store.fail(1, failing);
        assert_eq!(scene.try_erase("ada", None).unwrap_err().code, Code::NotReady);
        match failing {
            Failing::Persisted => scene.ticks_until("erased", || scene.state(index) == "erased"),
            Failing::Lost => {
                std::thread::sleep(Duration::from_secs(2));
                scene.ticks_until("ready", || true);
                assert_eq!(scene.state(index), "clear");
            }
        }
    }
}

#[test]
fn residues_leave_the_files_whether_or_not_the_record_of_the_completion_failed() {
    let purging = Purging {
        delay: Duration::ZERO,
        ..Purging::default()
    };
    for failing in [Failing::Persisted, Failing::Lost] {
        let scene = Scene::purging(Policy::default(), purging);
        scene.append("ada", "billing").unwrap();
        scene.store.fail(2, failing); // `erasure.requested` comes first
        assert_eq!(scene.try_erase("ada", None).unwrap_err().code, Code::NotReady);
        scene.ticks_until("the residues are gone", || {
            scene.events("erasure.residue_removed").len() == 2
        });
        assert_eq!(scene.events("erasure.completed").len(), 1);
    }
}

#[test]
fn a_redaction_whose_record_is_durable_although_it_failed_is_completed_without_a_new_start() {
    let scene = Scene::new(Policy::default());
    let request = Scene::parsed(&json!({"events": [{"type": "t", "data": "by mistake"}]}));
    let call = AppendCall::to_stream("s".parse().unwrap(), request, Proof::None);
    let appended = scene
        .runtime
        .block_on(scene.service.append(&scene.ledger, call))
        .unwrap();
    let index = serde_json::to_value(appended).unwrap()["events"][0]["index"].clone();
    let request = json!({"events": [{"index": index, "bodies": ["data"]}], "reason": "personal_data"});
    let redact = |scene: &Scene| {
        let request = Scene::parsed(&request);
        let redact = scene.service.redact(&scene.ledger, &scene.caller, request);
        scene.runtime.block_on(redact).map(drop)
    };
    scene.store.fail(1, Failing::Persisted);
    assert_eq!(redact(&scene).unwrap_err().code, Code::NotReady);
    scene.ticks_until("the files are written anew", || {
        scene.events("redaction.completed").len() == 1
    });
}

/// The changes of epoch on record that were asked for.
fn rotations(scene: &Scene) -> Vec<(u64, u64)> {
    let events = scene.events("epoch.changed");
    let epoch = |event: &Value, name: &str| event["data"][name].as_u64().unwrap();
    let change = |event: &Value| (epoch(event, "from"), epoch(event, "to"));
    events.iter().map(change).collect()
}

#[test]
fn a_change_of_epoch_whose_record_failed_is_told_whatever_comes_after_it() {
    for failing in [Failing::Persisted, Failing::Lost] {
        for then in ["nothing", "another", "an erasure"] {
            let scene = Scene::new(Policy::default());
            scene.append("ada", "billing").unwrap();
            let rotate = || {
                let rotate = scene.service.rotate_epoch(&scene.ledger, &scene.caller);
                scene
                    .runtime
                    .block_on(rotate)
                    .map(|changed| (u64::from(changed.from), u64::from(changed.to)))
            };
            let first = rotate().unwrap();
            scene.store.fail(1, failing);
            assert_eq!(rotate().unwrap_err().code, Code::NotReady);
            let mut expected = vec![first, (first.1, first.1 + 1)];
            // Whoever is quicker than the tick.
            while !scene.service.is_ready() {
                std::thread::sleep(Duration::from_millis(20));
            }
            match then {
                "another" => expected.push(rotate().unwrap()),
                "an erasure" => scene.erase("ada", None),
                _ => {}
            }
            scene.ticks_until("it is told", || rotations(&scene).len() == expected.len());
            assert_eq!(rotations(&scene), expected, "{failing:?}, then {then}");
        }
    }
}

#[test]
fn new_keys_of_a_person_whose_record_failed_are_told() {
    for failing in [Failing::Persisted, Failing::Lost] {
        let scene = Scene::new(Policy::default());
        let handle = scene.append("ada", "billing").unwrap()["personal"][0]["handle"].clone();
        let renew = || {
            let (handle, request) = (handle.as_str().unwrap().parse().unwrap(), RenewRequest::default());
            let renew = scene.service.renew_keys(&scene.ledger, &scene.caller, handle, request);
            scene.runtime.block_on(renew).map(drop)
        };
        scene.store.fail(1, failing);
        assert_eq!(renew().unwrap_err().code, Code::NotReady);
        scene.ticks_until("it is told", || scene.events("subject.keys_renewed").len() == 1);
        renew().unwrap();
        let keys = |event: &Value| event["data"]["keys"].clone();
        let told: Vec<_> = scene.events("subject.keys_renewed").iter().map(keys).collect();
        let generation = |generation: u32| json!([{"category": "billing", "generation": generation}]);
        assert_eq!(told, [generation(2), generation(3)]);
    }
}

/// Nothing is certified on the word of a fence: what it hides is tried.
#[test]
fn a_destruction_that_destroyed_nothing_is_found_and_made_good() {
    for categories in [None, Some(&["billing"][..])] {
        let scene = Scene::new(Policy::default());
        let index = scene.append("ada", "billing").unwrap()["index"].as_u64().unwrap();
        scene.append("bob", "billing").unwrap();
        scene.keys.forget_once();
        assert_eq!(scene.try_erase("ada", categories).unwrap_err().code, Code::Damaged);
        let erasures = || scene.service.erasures(&scene.ledger).unwrap();
        assert_eq!((erasures().len(), erasures()[0].state), (1, "erasing"));
        assert_eq!(scene.state(index), "erasing");
        scene.ticks_until("erased", || erasures()[0].state != "erasing");
        assert_eq!(scene.state(index), "erased");
    }
}
