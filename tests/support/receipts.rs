//! Checks receipts and whole ledgers as a stranger would: from the public keys and the answers alone.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oubliette::spec::checkpoint::{self, Checkpoint};
use oubliette::spec::event::{Body, BodyKind, Header, Meta};
use oubliette::spec::hash::{Hash, leaf_hash};
use oubliette::spec::keys::AnnouncedKey;
use oubliette::spec::merkle::{verify_inclusion, verify_range};
use oubliette::spec::note::VerifierKey;
use oubliette::spec::signature::{Kind, PublicKey, Verifier};
use oubliette::spec::tiles::{BundleId, TileId, TilePath, decode_bundle, subtree_root};
use serde_json::Value;

use super::Client;

/// The public half of a ledger's keys.
pub(crate) struct Keys {
    event: Verifier,
    checkpoint: VerifierKey,
    pub(crate) origin: String,
}

impl Keys {
    /// From `/keys`; the checkpoint key must be the pinned one.
    pub(crate) fn of(client: &Client, ledger: &str, pinned: &str) -> Self {
        let answer = client.get(&format!("/v1/ledgers/{ledger}/keys")).expect(200);
        let of = |role: &str| {
            let key = answer["keys"]
                .as_array()
                .unwrap()
                .iter()
                .find(|key| key["role"] == role)
                .unwrap();
            let field = |name: &str| key[name].as_str().unwrap().to_owned();
            let announced: AnnouncedKey = serde_json::from_value(serde_json::json!({
                "role": role, "algorithm": key["algorithm"], "public_key": key["public_key"], "key_id": key["key_id"],
            }))
            .unwrap();
            (announced.public().unwrap(), field("vkey"))
        };
        let (event, _): (PublicKey, _) = of("event");
        let (_, vkey) = of("checkpoint");
        assert_eq!(vkey, pinned, "the checkpoint key is not the one that was pinned");
        Self {
            event: Verifier::new(Kind::Header, event),
            checkpoint: vkey.parse().unwrap(),
            origin: answer["origin"].as_str().unwrap().to_owned(),
        }
    }

    /// A checkpoint under the pinned key.
    pub(crate) fn open(&self, note: &str) -> Checkpoint {
        let opened = checkpoint::open(
            note,
            &self.origin.parse().unwrap(),
            std::slice::from_ref(&self.checkpoint),
        );
        opened.unwrap_or_else(|error| panic!("{error}: {note}")).checkpoint
    }

    /// A header with its signature: decoded, verified, and its leaf hash.
    pub(crate) fn header(&self, part: &Value) -> (Header, Hash) {
        let bytes = binary(&part["header"]);
        let header = Header::decode(&bytes).unwrap();
        assert_eq!(header.encode(), bytes, "the header is not canonical");
        self.event.verify_detached(&binary(&part["signature"]), &bytes).unwrap();
        assert_eq!(part["key_id"], self.event.public().id().to_string());
        assert_eq!(part["leaf_hash"], leaf_hash(&bytes).to_string());
        assert_eq!(header.origin.as_str(), self.origin);
        (header, leaf_hash(&bytes))
    }

    /// Everything that a receipt claims of its own event; `data` is the text that was sent.
    pub(crate) fn receipt(&self, receipt: &Value, data: Option<&str>) -> (Header, Meta, Hash) {
        let (header, leaf) = self.header(receipt);
        assert_eq!(receipt["index"], header.index);
        assert_eq!(receipt["stream_version"], header.stream_version);
        assert_eq!(receipt["recorded_at"], header.recorded_at.to_string());
        let commits = |ordinal: usize, kind, salt: &Value, bytes: Vec<u8>| {
            let body = Body {
                kind,
                salt: binary(salt).try_into().unwrap(),
                bytes,
            };
            assert_eq!(
                header.bodies[ordinal],
                body.commitment(),
                "the commitment {ordinal} is not to what was sent"
            );
        };
        let meta = binary(&receipt["meta"]);
        commits(0, BodyKind::Meta, &receipt["salts"]["meta"], meta.clone());
        let meta = Meta::decode(&meta).unwrap();
        assert_eq!(receipt["id"], meta.id.to_string());
        assert_eq!(receipt["stream"], meta.stream.as_str());
        match data {
            Some(data) => commits(1, BodyKind::Data, &receipt["salts"]["data"], data.as_bytes().to_vec()),
            None => assert!(
                receipt["salts"]["data"].is_null() && header.bodies.iter().all(|body| body.kind != BodyKind::Data)
            ),
        }
        let sealed: Vec<_> = header
            .bodies
            .iter()
            .enumerate()
            .filter(|(_, body)| body.kind == BodyKind::Sealed)
            .map(|(at, _)| at)
            .collect();
        let named: Vec<_> = receipt["personal"]
            .as_array()
            .unwrap()
            .iter()
            .map(|block| block["ordinal"].as_u64().unwrap())
            .collect();
        assert_eq!(named, sealed.iter().map(|at| *at as u64).collect::<Vec<_>>());
        (header, meta, leaf)
    }

    /// A whole answer to an append: every receipt, and every proof up to the signed checkpoint. Gives the receipts.
    pub(crate) fn answer(&self, answer: &Value, data: &[Option<&str>]) -> Vec<(Header, Meta, Hash)> {
        let receipts = answer["events"].as_array().unwrap();
        assert_eq!(receipts.len(), data.len());
        let tree = self.open(answer["checkpoint"].as_str().unwrap());
        let mut checked = Vec::new();
        for (receipt, data) in receipts.iter().zip(data) {
            let (header, meta, leaf) = self.receipt(receipt, *data);
            if !receipt["inclusion"].is_null() {
                let proof = &receipt["inclusion"];
                assert_eq!(proof["leaf_index"], header.index);
                assert_eq!(proof["tree_size"], tree.size);
                verify_inclusion(&leaf, header.index, tree.size, &hashes(&proof["hashes"]), &tree.root).unwrap();
            }
            checked.push((header, meta, leaf));
        }
        if !answer["range"].is_null() {
            let proof = &answer["range"];
            assert_eq!(proof["first"], checked[0].0.index);
            assert_eq!(proof["count"], checked.len());
            assert_eq!(proof["tree_size"], tree.size);
            let leaves: Vec<_> = checked.iter().map(|(_, _, leaf)| *leaf).collect();
            verify_range(
                &leaves,
                checked[0].0.index,
                tree.size,
                &hashes(&proof["hashes"]),
                &tree.root,
            )
            .unwrap();
        }
        checked
    }

    /// A whole ledger from its reads: signatures, chain, positions, times, and the root of its own checkpoint. Gives
    /// the leaf hashes by index.
    pub(crate) fn ledger(&self, client: &Client, ledger: &str) -> Vec<Hash> {
        let note = client.get(&format!("/v1/ledgers/{ledger}/log/checkpoint"));
        assert_eq!(note.status, 200);
        let tree = self.open(&note.text());
        let events = client.read_all(&format!("/v1/ledgers/{ledger}/events"), 1_000);
        assert!(
            events.len() as u64 >= tree.size,
            "{} events under a checkpoint of {}",
            events.len(),
            tree.size
        );
        let (mut leaves, mut before, mut versions) = (Vec::new(), None, std::collections::HashMap::new());
        for (index, event) in events.iter().enumerate() {
            let (header, leaf) = self.header(&event["verification"]);
            assert_eq!(
                (header.index, &event["index"]),
                (index as u64, &Value::from(index)),
                "positions have a gap"
            );
            let (previous, time) = before.unzip();
            assert_eq!(header.previous, previous, "the chain is broken at {index}");
            assert!(
                time.is_none_or(|time| header.recorded_at >= time),
                "time runs backward at {index}"
            );
            let version = versions.entry(header.stream_ref).or_insert(0);
            *version += 1;
            assert_eq!(
                (header.stream_version, &event["stream_version"]),
                (*version, &Value::from(*version))
            );
            assert_eq!(
                event["type"],
                header.event_type.as_str(),
                "the type shown is not the one that is signed"
            );
            before = Some((leaf, header.recorded_at));
            leaves.push(leaf);
        }
        let size = usize::try_from(tree.size).unwrap();
        assert_eq!(
            root_of(&leaves[..size]),
            tree.root,
            "the checkpoint's root is not that of the events"
        );
        leaves
    }
}

/// The root over leaf hashes, the plain recursive way of RFC 9162 §2.1.1.
pub(crate) fn root_of(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => oubliette::spec::hash::empty_root(),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            oubliette::spec::hash::node_hash(&root_of(left), &root_of(right))
        }
    }
}

/// Reads a log as tiles and gives its leaf hashes; every level must agree with the one below.
pub(crate) fn leaves_from_tiles(client: &Client, size: u64) -> Vec<Hash> {
    let (mut below, mut level, mut leaves) = (Vec::new(), 0, Vec::new());
    while size >> (8 * u32::from(level)) > 0 {
        let mut hashes: Vec<Hash> = Vec::new();
        let mut index = 0;
        while let Some(tile) = TileId::at(level, index, size) {
            let answer = client.get(&format!("log/{}", TilePath::Tile(tile)));
            assert_eq!(answer.status, 200, "{tile}");
            assert_eq!(answer.header("content-type"), "application/octet-stream");
            let caching = if tile.is_full() {
                "max-age=31536000, immutable"
            } else {
                "max-age=60"
            };
            assert_eq!(answer.header("cache-control"), format!("private, {caching}"), "{tile}");
            assert_eq!(answer.body.len(), 32 * usize::from(tile.width()), "{tile}");
            hashes.extend(answer.body.chunks_exact(32).map(|hash| Hash::try_from(hash).unwrap()));
            index += 1;
        }
        if level == 0 {
            leaves.clone_from(&hashes);
            let mut first = 0;
            while let Some(bundle) = BundleId::at(first, size) {
                let answer = client.get(&format!("log/{}", TilePath::Entries(bundle)));
                assert_eq!(answer.status, 200, "{bundle:?}");
                for (at, entry) in decode_bundle(bundle, &answer.body).unwrap().into_iter().enumerate() {
                    assert_eq!(leaf_hash(entry), leaves[usize::try_from(first).unwrap() * 256 + at]);
                }
                first += 1;
            }
        } else {
            let roots: Vec<_> = below
                .chunks_exact(256)
                .map(|tile| subtree_root(tile).unwrap())
                .collect();
            assert_eq!(hashes, roots, "level {level} is not made of the tiles below");
        }
        below = hashes;
        level += 1;
    }
    leaves
}

/// Base64 in JSON.
pub(crate) fn binary(value: &Value) -> Vec<u8> {
    STANDARD.decode(value.as_str().unwrap()).unwrap()
}

/// A list of hashes in hex.
pub(crate) fn hashes(value: &Value) -> Vec<Hash> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|hash| hash.as_str().unwrap().parse().unwrap())
        .collect()
}
