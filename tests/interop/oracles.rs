//! Oracles in Rust: the crates `ct-merkle`, `tlog_tiles` and `signed_note` over random trees, and over a log that a static
//! file server serves.

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use ct_merkle::{ConsistencyProof, InclusionProof, RootHash};
use oubliette::spec::hash::Hash;
use oubliette::spec::merkle::{NodeId, consistency_proof, inclusion_proof, root};
use oubliette::spec::tiles::TileId;
use sha2::Sha256;
use signed_note::{Note, StandardVerifier, VerifierList};
use tlog_tiles::{
    Checkpoint, Hash as TlogHash, HashReader, Tile, TileHashReader, TileReader, check_record, check_tree, prove_record,
    prove_tree, split_stored_hash_index, tree_hash,
};

use crate::export::export;
use crate::support::receipts::hashes;
use crate::support::{Data, Dice};
use crate::tools::static_server;
use crate::trees::{Tree, grow_to};

fn bytes(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| *hash.as_bytes()).collect()
}

fn tlog(hashes: &[Hash]) -> Vec<TlogHash> {
    hashes.iter().copied().map(theirs).collect()
}

fn theirs(hash: Hash) -> TlogHash {
    TlogHash(*hash.as_bytes())
}

impl HashReader for Tree {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<TlogHash>, tlog_tiles::Error> {
        let node = |index: &u64| {
            let (level, at) = split_stored_hash_index(*index);
            theirs(self.node(NodeId::new(level, at)))
        };
        Ok(indexes.iter().map(node).collect())
    }
}

#[test]
fn ct_merkle_has_our_roots_and_proofs_over_random_trees() {
    let mut dice = Dice::new(3);
    for size in (1..=70).chain([127, 128, 129, 255, 256, 257, 300]) {
        let tree = Tree::random(&mut dice, size);
        let mut oracle = MemoryBackedTree::<Sha256, Vec<u8>>::new();
        let mut roots = vec![oracle.root()];
        for entry in &tree.entries {
            oracle.push(entry.clone());
            roots.push(oracle.root());
        }
        let ours = root(size, &tree).unwrap();
        assert_eq!(oracle.root().as_bytes().as_slice(), ours.as_bytes());
        let signed = RootHash::<Sha256>::new((*ours.as_bytes()).into(), size);
        for index in 0..size {
            let at = usize::try_from(index).unwrap();
            let path = bytes(&inclusion_proof(index, size, &tree).unwrap());
            assert_eq!(oracle.prove_inclusion(at).as_bytes(), path, "{index} in {size}");
            let proof = InclusionProof::try_from_bytes(path.clone()).unwrap();
            signed.verify_inclusion(&tree.entries[at], index, &proof).unwrap();
            if !path.is_empty() {
                let mut bad = path;
                let bit = usize::try_from(dice.below(bad.len() as u64 * 8)).unwrap();
                bad[bit / 8] ^= 1 << (bit % 8);
                let bad = InclusionProof::try_from_bytes(bad).unwrap();
                assert!(signed.verify_inclusion(&tree.entries[at], index, &bad).is_err());
            }
            let from = index + 1;
            let path = bytes(&consistency_proof(from, size, &tree).unwrap());
            let additions = usize::try_from(size - from).unwrap();
            assert_eq!(oracle.prove_consistency(additions).as_bytes(), path, "{from} to {size}");
            let proof = ConsistencyProof::try_from_bytes(path).unwrap();
            signed.verify_consistency(&roots[at + 1], &proof).unwrap();
        }
    }
}

#[test]
fn tlog_tiles_has_our_roots_and_proofs_over_random_trees() {
    let mut dice = Dice::new(4);
    for size in (1..=70).chain([127, 128, 129, 255, 256, 257, 300, 1_000, 5_000]) {
        let tree = Tree::random(&mut dice, size);
        let ours = theirs(root(size, &tree).unwrap());
        assert_eq!(tree_hash(size, &tree).unwrap(), ours);
        for _ in 0..size.min(100) {
            let index = dice.below(size);
            let leaf = theirs(tree.leaves[usize::try_from(index).unwrap()]);
            let path = tlog(&inclusion_proof(index, size, &tree).unwrap());
            assert_eq!(prove_record(size, index, &tree).unwrap(), path, "{index} in {size}");
            check_record(&path, size, ours, index, leaf).unwrap();
            assert!(check_record(&path, size, leaf, index, ours).is_err() || size == 1);
            let from = index + 1;
            let path = tlog(&consistency_proof(from, size, &tree).unwrap());
            assert_eq!(prove_tree(size, from, &tree).unwrap(), path, "{from} to {size}");
            let old = theirs(root(from, &tree).unwrap());
            check_tree(&path, size, ours, from, old).unwrap();
        }
    }
}

/// A log at a URL: checkpoint and tiles, as any client fetches them.
struct Remote(String);

impl Remote {
    fn get(&self, name: &str) -> Vec<u8> {
        let mut answer = ureq::get(format!("{}{name}", self.0)).call().unwrap();
        answer.body_mut().read_to_vec().unwrap()
    }
}

impl TileReader for Remote {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[Tile]) -> Result<Vec<Vec<u8>>, tlog_tiles::Error> {
        // The crate writes the height too, as the checksum database of Go does.
        let fetch = |tile: &Tile| self.get(&tile.path().replace("tile/8/", "tile/"));
        Ok(tiles.iter().map(fetch).collect())
    }

    fn save_tiles(&self, _: &[Tile], _: &[Vec<u8>]) {}
}

#[test]
fn a_client_of_others_reads_an_exported_log_from_a_static_server() {
    let (folder, data) = (tempfile::tempdir().unwrap(), Data::new());
    let server = data.serve();
    let client = server.client();
    let mut dice = Dice::new(8);
    for size in [5, 255, 256, 257, 777] {
        grow_to(&client, size);
        export(&server, &data, folder.path(), &[]);
        let Some((_server, url)) = static_server(folder.path()) else {
            return;
        };
        let remote = Remote(url);
        let note = Note::from_bytes(&remote.get("checkpoint")).unwrap();
        let key = StandardVerifier::new(data.vkey()).unwrap();
        let (by, unknown) = note.verify(&VerifierList::new(vec![Box::new(key)])).unwrap();
        assert_eq!((by.len(), unknown.len()), (1, 0));
        let checkpoint = Checkpoint::from_bytes(note.text()).unwrap();
        assert_eq!((checkpoint.size(), checkpoint.extension()), (size, ""));
        let reader = TileHashReader::new(size, *checkpoint.hash(), &remote);
        for _ in 0..20 {
            let to = 1 + dice.below(size);
            let (index, from) = (dice.below(to), 1 + dice.below(to));
            let answer = client
                .get(&format!("proofs/inclusion?index={index}&tree_size={to}"))
                .expect(200);
            assert_eq!(
                prove_record(to, index, &reader).unwrap(),
                tlog(&hashes(&answer["hashes"]))
            );
            assert_eq!(tree_hash(to, &reader).unwrap().to_string(), {
                let root: Hash = answer["root"].as_str().unwrap().parse().unwrap();
                root.to_base64()
            });
            let answer = client
                .get(&format!("proofs/consistency?from={from}&to={to}"))
                .expect(200);
            assert_eq!(prove_tree(to, from, &reader).unwrap(), tlog(&hashes(&answer["hashes"])));
        }
    }
}

#[test]
fn tiles_and_their_paths_are_those_of_tlog_tiles() {
    let mut dice = Dice::new(9);
    let near = |base: u64, dice: &mut Dice| base + dice.below(3) - 1;
    for base in [256, 512, 65_536, 70_000, 1 << 24, 1 << 40] {
        for _ in 0..20 {
            let size = near(base, &mut dice);
            for level in 0..6 {
                let index = dice.below((size >> (8 * (u32::from(level) + 1))) + 2);
                let ours = TileId::at(level, index, size);
                let whole = Tile::new(8, level, index, 256, false).parent(0, size);
                assert_eq!(
                    ours.map(|tile| tile.to_string()),
                    whole.map(|tile| tile.path().replace("tile/8/", "tile/"))
                );
            }
        }
    }
}
