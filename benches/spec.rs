//! Micro-benchmarks of the pure layer: what one event costs, step by step.
//!
//! `cargo bench --profile dev`, which shares its artifacts with every other build; add `-- seal` for a part.

#![allow(clippy::unwrap_used, reason = "a benchmark may panic")]

use divan::{Bencher, black_box};
use ed25519_dalek::SigningKey;
use oubliette::spec::checkpoint::{self, Checkpoint};
use oubliette::spec::edge::Edge;
use oubliette::spec::event::{BodyKind, Commitment, Header};
use oubliette::spec::hash::{Hash, commitment, leaf_hash};
use oubliette::spec::ids::{Category, EventRef, Handle, Origin, StreamRef, Timestamp};
use oubliette::spec::merkle::verify_inclusion;
use oubliette::spec::note::SignerKey;
use oubliette::spec::seal::{self, BlockContext, SubjectKey};
use oubliette::spec::signature::{Kind, Signer, Verifier};

fn main() {
    divan::main();
}

fn header() -> Header {
    let commit = |kind| Commitment {
        kind,
        hash: leaf_hash(b"body"),
    };
    Header {
        origin: "bench.example/main".parse().unwrap(),
        index: 1_000_000,
        previous: Some(leaf_hash(b"before")),
        event_ref: EventRef([1; 16]),
        stream_ref: StreamRef([2; 16]),
        stream_version: 1_000,
        event_type: "order.placed".parse().unwrap(),
        schema_version: 1,
        recorded_at: Timestamp(1_800_000_000_000_000),
        bodies: vec![commit(BodyKind::Meta), commit(BodyKind::Sealed)],
    }
}

fn signer() -> Signer {
    Signer::new(Kind::Header, SigningKey::from_bytes(&[7; 32])).unwrap()
}

/// An edge in the middle of its life.
fn edge(size: u64) -> Edge {
    let mut edge = Edge::new();
    for index in 0..size {
        edge.append(leaf_hash(&index.to_be_bytes()));
        if index % 1_024 == 0 {
            edge.drain_full_tiles();
            edge.retire(index);
        }
    }
    edge
}

mod block {
    use super::*;

    struct Place {
        origin: Origin,
        category: Category,
        key: SubjectKey,
    }

    fn place() -> Place {
        Place {
            origin: "bench.example/main".parse().unwrap(),
            category: Category::default(),
            key: SubjectKey::new([7; 32]),
        }
    }

    fn context(place: &Place) -> BlockContext<'_> {
        BlockContext {
            origin: &place.origin,
            event_ref: EventRef([1; 16]),
            ordinal: 1,
            handle: Handle([2; 16]),
            category: &place.category,
            generation: 1,
        }
    }

    #[divan::bench]
    fn seal_256_bytes(bencher: Bencher<'_, '_>) {
        let place = place();
        bencher.bench(|| seal::seal(&place.key, &context(&place), [9; 32], black_box(&[b'x'; 256])).encode());
    }

    #[divan::bench]
    fn open_256_bytes(bencher: Bencher<'_, '_>) {
        let place = place();
        let block = seal::seal(&place.key, &context(&place), [9; 32], &[b'x'; 256]);
        bencher.bench(|| seal::open(&place.key, &context(&place), black_box(&block)).unwrap());
    }
}

mod event {
    use super::*;

    #[divan::bench]
    fn encode_header(bencher: Bencher<'_, '_>) {
        let header = header();
        bencher.bench(|| black_box(&header).encode());
    }

    #[divan::bench]
    fn decode_header(bencher: Bencher<'_, '_>) {
        let bytes = header().encode();
        bencher.bench(|| Header::decode(black_box(&bytes)).unwrap());
    }

    #[divan::bench]
    fn hash_leaf(bencher: Bencher<'_, '_>) {
        let bytes = header().encode();
        bencher.bench(|| leaf_hash(black_box(&bytes)));
    }

    #[divan::bench]
    fn commit_to_400_bytes(bencher: Bencher<'_, '_>) {
        bencher.bench(|| commitment("sealed", &[7; 32], black_box(&[b'x'; 400])));
    }

    #[divan::bench]
    fn sign_header(bencher: Bencher<'_, '_>) {
        let (signer, bytes) = (signer(), header().encode());
        bencher.bench(|| signer.sign_detached(black_box(&bytes)));
    }

    #[divan::bench]
    fn verify_header_strictly(bencher: Bencher<'_, '_>) {
        let (signer, bytes) = (signer(), header().encode());
        let (verifier, signature) = (
            Verifier::new(Kind::Header, signer.public().clone()),
            signer.sign_detached(&bytes),
        );
        bencher.bench(|| {
            verifier
                .verify_detached(black_box(&signature), black_box(&bytes))
                .unwrap()
        });
    }
}

mod tree {
    use super::*;

    const SIZE: u64 = 100_300;

    #[divan::bench]
    fn append_256_leaves(bencher: Bencher<'_, '_>) {
        let leaves: Vec<Hash> = (0..256_u64).map(|index| leaf_hash(&index.to_be_bytes())).collect();
        bencher.with_inputs(|| edge(SIZE)).bench_values(|mut edge| {
            leaves.iter().for_each(|leaf| edge.append(*leaf));
            edge
        });
    }

    #[divan::bench]
    fn root(bencher: Bencher<'_, '_>) {
        // A clone without its border: the root is folded anew at every size.
        bencher
            .with_inputs(|| {
                let mut edge = edge(300);
                edge.append(leaf_hash(b"last"));
                edge
            })
            .bench_refs(|edge| edge.root());
    }

    #[divan::bench]
    fn prove_inclusion(bencher: Bencher<'_, '_>) {
        let edge = edge(SIZE);
        bencher.bench(|| edge.inclusion_proof(black_box(SIZE - 50)).unwrap());
    }

    #[divan::bench]
    fn verify_a_proof(bencher: Bencher<'_, '_>) {
        let (edge, index) = (edge(SIZE), SIZE - 50);
        let (leaf, root) = (leaf_hash(&index.to_be_bytes()), edge.root());
        let proof = edge.inclusion_proof(index).unwrap();
        bencher.bench(|| verify_inclusion(black_box(&leaf), index, SIZE, &proof, &root).unwrap());
    }
}

/// The tree as it grows, by leaves: memory for the edge and for the tiles of one path. Building the largest takes seconds.
mod tree_growth {
    use std::collections::HashMap;
    use std::convert::Infallible;
    use std::sync::{Arc, Mutex};

    use oubliette::spec::merkle::inclusion_proof;
    use oubliette::spec::tiles::{TileId, TileReader, TiledHashes};

    use super::*;

    const SIZES: [u64; 5] = [10_000, 100_000, 1_000_000, 10_000_000, 30_000_000];

    /// An edge, and the stored tiles of the path from the first leaf.
    struct Tree {
        edge: Edge,
        path: HashMap<u8, Vec<Hash>>,
    }

    impl TileReader for &Tree {
        type Error = Infallible;

        fn tiles(&self, tiles: &[TileId]) -> Result<Vec<Vec<Hash>>, Infallible> {
            let stored = |id: &TileId| (id.index() == 0).then(|| self.path.get(&id.level()).cloned()).flatten();
            let tile = |id: &TileId| stored(id).or_else(|| self.edge.tile(*id)).unwrap();
            Ok(tiles.iter().map(tile).collect())
        }
    }

    /// Each size is built once.
    fn tree(size: u64) -> Arc<Tree> {
        static BUILT: Mutex<Option<(u64, Arc<Tree>)>> = Mutex::new(None);
        let mut built = BUILT.lock().unwrap();
        match &*built {
            Some((of, tree)) if *of == size => Arc::clone(tree),
            _ => {
                let tree = Arc::new(grow(size));
                *built = Some((size, Arc::clone(&tree)));
                tree
            }
        }
    }

    fn grow(size: u64) -> Tree {
        let (mut edge, mut path) = (Edge::new(), HashMap::new());
        for index in 0..size {
            edge.append(leaf_hash(&index.to_be_bytes()));
            if index % 1_024 == 0 {
                let first = edge.drain_full_tiles().into_iter().filter(|tile| tile.id.index() == 0);
                path.extend(first.map(|tile| (tile.id.level(), tile.hashes)));
                edge.retire(index);
            }
        }
        Tree { edge, path }
    }

    #[divan::bench(args = SIZES)]
    fn append_256_leaves(bencher: Bencher<'_, '_>, size: u64) {
        let leaves: Vec<Hash> = (0..256_u64).map(|index| leaf_hash(&index.to_be_bytes())).collect();
        let tree = tree(size);
        bencher.with_inputs(|| tree.edge.clone()).bench_values(|mut edge| {
            leaves.iter().for_each(|leaf| edge.append(*leaf));
            edge.root();
            edge
        });
    }

    #[divan::bench(args = SIZES)]
    fn prove_a_new_leaf(bencher: Bencher<'_, '_>, size: u64) {
        let tree = tree(size);
        bencher.bench(|| tree.edge.inclusion_proof(black_box(size - 5)).unwrap());
    }

    /// From stored tiles, read from memory, and the edge.
    #[divan::bench(args = SIZES)]
    fn prove_the_first_leaf(bencher: Bencher<'_, '_>, size: u64) {
        let tree = tree(size);
        let stored = TiledHashes::new(&*tree, size);
        let prove = || inclusion_proof(black_box(0), size, &tree.edge.or(&stored)).unwrap();
        verify_inclusion(&leaf_hash(&0_u64.to_be_bytes()), 0, size, &prove(), &tree.edge.root()).unwrap();
        bencher.bench(prove);
    }
}

mod note {
    use super::*;

    fn pair() -> (SignerKey, Checkpoint) {
        let origin = "bench.example/main";
        let key = SignerKey::new(origin.parse().unwrap(), SigningKey::from_bytes(&[8; 32]));
        let checkpoint = Checkpoint {
            origin: origin.parse().unwrap(),
            size: 1_000_000,
            root: leaf_hash(b"root"),
        };
        (key, checkpoint)
    }

    #[divan::bench]
    fn sign_checkpoint(bencher: Bencher<'_, '_>) {
        let (key, checkpoint) = pair();
        bencher.bench(|| black_box(&checkpoint).sign(&[&key]).unwrap().to_string());
    }

    #[divan::bench]
    fn open_checkpoint(bencher: Bencher<'_, '_>) {
        let (key, checkpoint) = pair();
        let (note, keys) = (checkpoint.sign(&[&key]).unwrap().to_string(), [key.verifier().clone()]);
        bencher.bench(|| checkpoint::open(black_box(&note), &checkpoint.origin, &keys).unwrap());
    }
}
