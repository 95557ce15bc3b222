//! Erasures whose blocks leave together.

use serde_json::{Value, json};

use crate::purge::{certificate, erase, purged, purges, verification};
use crate::support::Data;
use crate::support::people::{sealed, verified};

#[test]
fn several_people_share_a_list_and_one_category_leaves_alone() {
    let data = Data::new();
    let server = data.serve_with(&[("OUBLIETTE_ERASURE_PURGE_DELAY_SECONDS", "4")]);
    let client = server.client();
    for person in ["ada", "bob", "eve"] {
        client.append("s", sealed(person, person));
    }
    let two = json!({"type": "t", "personal": [{"subject": "dora", "category": "marketing", "data": 1}, {"subject": "dora", "category": "invoice", "data": 2}]});
    let receipt = client.append("s", two);
    let (index, dora) = (
        receipt["index"].clone(),
        receipt["personal"][0]["handle"].as_str().unwrap().to_owned(),
    );
    let requests = [
        json!({"subjects": ["ada"]}),
        json!({"subjects": ["bob"]}),
        json!({"subjects": ["dora"], "categories": ["marketing"]}),
    ];
    let erasures: Vec<_> = requests.iter().map(|request| erase(&client, request)).collect();
    erasures.iter().for_each(|erasure| purged(&client, erasure));
    let lists = purges(&client);
    assert_eq!(lists.len(), 1, "{lists:?}");
    let mut ids: Vec<_> = erasures.iter().map(|erasure| erasure["id"].as_str().unwrap()).collect();
    ids.sort_unstable();
    assert_eq!(lists[0]["data"]["requests"], json!(ids));
    assert_eq!(lists[0]["data"]["positions"].as_array().unwrap().len(), 3);
    assert!(
        !verified(&certificate(&client, &erasures[0]))
            .to_string()
            .contains("of this person together")
    );
    let event = client.get(&format!("events/{index}?reveal=true")).expect(200);
    let blocks = event["personal"].as_array().unwrap();
    assert_eq!(
        (&blocks[0]["state"], &blocks[1]["state"], &blocks[1]["data"]),
        (&json!("erased"), &json!("clear"), &json!(2))
    );
    // The living category is still found by the handle, and goes with the person.
    assert!(
        client
            .read_all(&format!("events?handle={dora}"), 10)
            .iter()
            .any(|event| event["index"] == index)
    );
    let rest = erase(&client, &json!({"subjects": ["dora"]}));
    purged(&client, &rest);
    let event = client.get(&format!("events/{index}")).expect(200);
    assert!(
        event["personal"]
            .as_array()
            .unwrap()
            .iter()
            .all(|block| block["state"] == "erased" && block["authority"].is_u64())
    );
    assert_eq!(verification(&client)["verdict"], "valid");
}

/// Each erasure alone would let the row stay, for the other's block.
#[test]
fn what_leads_to_an_event_goes_with_the_last_block_of_somebody_whoever_covers_it() {
    let data = Data::new();
    let server = data.serve_with(&[("OUBLIETTE_ERASURE_PURGE_DELAY_SECONDS", "2")]);
    let client = server.client();
    let block = |category: &str| json!({"subject": "ada", "category": category, "data": 1});
    let both = json!({"type": "t", "personal": [block("one"), block("two"), {"subject": "bob", "data": 1}]});
    let receipt = client.append("s", both);
    client.append("s", json!({"type": "t", "personal": [block("three")]}));
    let named = |person: usize| receipt["personal"][person]["handle"].as_str().unwrap().to_owned();
    let found = |handle: &str| -> Vec<Value> {
        let events = client.read_all(&format!("events?handle={handle}&type=t"), 10);
        events.iter().map(|event| event["index"].clone()).collect()
    };
    let category = |category: &str| erase(&client, &json!({"subjects": ["ada"], "categories": [category]}));
    let erased = ["two", "one"].map(category);
    assert_eq!(found(&named(0)).len(), 2);
    erased.iter().for_each(|erasure| purged(&client, erasure));
    assert_eq!(purges(&client).len(), 1);
    assert!(!found(&named(0)).contains(&receipt["index"]));
    assert_eq!((found(&named(0)).len(), found(&named(2)).len()), (1, 1));
    assert_eq!(verification(&client)["verdict"], "valid");
}
