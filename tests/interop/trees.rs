//! Trees of random leaves, and ledgers of a size.

use oubliette::spec::hash::{Hash, leaf_hash};
use oubliette::spec::merkle::{HashReader, NodeId};
use oubliette::spec::tiles::subtree_root;
use serde_json::{Value, json};

use crate::support::{Client, Dice};

/// A tree, node by node from its leaves.
pub(crate) struct Tree {
    pub(crate) entries: Vec<Vec<u8>>,
    pub(crate) leaves: Vec<Hash>,
}

impl Tree {
    pub(crate) fn random(dice: &mut Dice, size: u64) -> Self {
        let byte = |dice: &mut Dice| u8::try_from(dice.below(256)).unwrap();
        let mut entry = |_| (0..dice.below(40)).map(|_| byte(dice)).collect();
        let entries: Vec<Vec<u8>> = (0..size).map(&mut entry).collect();
        Self {
            leaves: entries.iter().map(|entry| leaf_hash(entry)).collect(),
            entries,
        }
    }

    pub(crate) fn node(&self, id: NodeId) -> Hash {
        let first = usize::try_from(id.index).unwrap() << id.level;
        subtree_root(&self.leaves[first..first + (1 << id.level)]).unwrap()
    }
}

impl HashReader for Tree {
    type Error = std::convert::Infallible;

    fn nodes(&self, ids: &[NodeId]) -> Result<Vec<Hash>, Self::Error> {
        Ok(ids.iter().map(|id| self.node(*id)).collect())
    }
}

/// Appends until the ledger has `size` events.
pub(crate) fn grow_to(client: &Client, size: u64) {
    loop {
        let note = client.get("log/checkpoint").text();
        let now: u64 = note.lines().nth(1).unwrap().parse().unwrap();
        assert!(now <= size, "there are {now} events already");
        if now == size {
            return;
        }
        let events: Vec<Value> = (now..size.min(now + 1_000))
            .map(|n| json!({"type": "t", "data": n}))
            .collect();
        client
            .post("streams/s/events?proof=none", &json!({"events": events}))
            .expect(201);
    }
}
