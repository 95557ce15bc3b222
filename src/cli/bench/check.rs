//! Every receipt, once the clock has stopped: header, signature, commitment to the caller's own words, proof, checkpoint.

use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::super::Failure;
use super::client::{Connection, block_on};
use super::failed;
use super::load::Answered;
use super::payload::event_id;
use super::server::Server;
use crate::spec::bundle::verify_bundle;
use crate::spec::checkpoint::{self, Checkpoint};
use crate::spec::event::{Header, Meta};
use crate::spec::hash::{Hash, commitment, leaf_hash};
use crate::spec::keys::Role;
use crate::spec::merkle::{verify_inclusion, verify_range};
use crate::spec::note::{KeyName, VerifierKey};
use crate::spec::report::Verdict;
use crate::spec::signature::{Kind, PublicKey, Verifier};
use crate::spec::tlog_proof::TlogProof;
use crate::spec::verify::{Options, Trust};

/// The public keys that receipts are checked with.
pub(super) struct Keys {
    event: Verifier,
    checkpoint: VerifierKey,
    origin: KeyName,
}

/// What was checked.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Checked {
    pub(super) receipts: u64,
    pub(super) receipts_per_second: f64,
    /// The smallest size of the tree that holds them all.
    pub(super) tree_size: u64,
}

#[derive(Deserialize)]
struct Published {
    keys: Vec<PublishedKey>,
}

#[derive(Deserialize)]
struct PublishedKey {
    role: Role,
    public_key: Hash,
}

#[derive(Deserialize)]
struct Answer {
    events: Vec<Receipt>,
    range: Option<Range>,
    checkpoint: String,
}

#[derive(Deserialize)]
struct Receipt {
    id: Uuid,
    index: u64,
    leaf_hash: Hash,
    header: String,
    signature: String,
    meta: String,
    salts: Salts,
    inclusion: Option<Inclusion>,
}

/// An event as reads give it.
#[derive(Deserialize)]
struct Read {
    id: Uuid,
    index: u64,
    verification: ReadVerification,
}

#[derive(Deserialize)]
struct ReadVerification {
    header: String,
    signature: String,
    leaf_hash: Hash,
}

#[derive(Deserialize)]
struct Salts {
    meta: String,
}

#[derive(Deserialize)]
struct Inclusion {
    leaf_index: u64,
    tree_size: u64,
    hashes: Vec<Hash>,
}

#[derive(Deserialize)]
struct Range {
    first: u64,
    count: u64,
    tree_size: u64,
    hashes: Vec<Hash>,
}

impl Keys {
    pub(super) fn fetch(server: &Server) -> Result<Self, Failure> {
        let body = block_on(async {
            Connection::open(server)
                .await?
                .get("/v1/ledgers/main/keys")
                .await?
                .success()
        })?;
        let published: Published = serde_json::from_slice(&body).map_err(failed)?;
        let event = published
            .keys
            .iter()
            .find(|key| key.role == Role::Event)
            .ok_or_else(|| failed("no event key"))?;
        let event = PublicKey::new(event.public_key.as_bytes()).map_err(failed)?;
        Ok(Self {
            event: Verifier::new(Kind::Header, event),
            checkpoint: server.made.vkey.parse().map_err(failed)?,
            origin: server.made.origin.parse().map_err(failed)?,
        })
    }

    fn open(&self, note: &str) -> Result<Checkpoint, Failure> {
        let opened = checkpoint::open(note, &self.origin, std::slice::from_ref(&self.checkpoint));
        opened.map(|opened| opened.checkpoint).map_err(failed)
    }

    /// Checks a `.tlog-proof` of the event at `index`.
    pub(super) fn check_proof(&self, index: u64, body: &[u8]) -> Result<(), Failure> {
        let proof: TlogProof = std::str::from_utf8(body).map_err(failed)?.parse().map_err(failed)?;
        if proof.index != index {
            return Err(failed(format!(
                "asked for the proof of {index}, got that of {}",
                proof.index
            )));
        }
        let keys = std::slice::from_ref(&self.checkpoint);
        proof
            .verify(&leaf_hash(&proof.extra), &self.origin, keys)
            .map(drop)
            .map_err(failed)
    }

    /// Opens the checkpoint of now.
    pub(super) fn checkpoint(&self, server: &Server) -> Result<Checkpoint, Failure> {
        let note = block_on(async {
            let mut connection = Connection::open(server).await?;
            connection.get("/v1/ledgers/main/log/checkpoint").await?.success()
        })?;
        self.open(&String::from_utf8(note).map_err(failed)?)
    }

    /// Checks an event as it was read, by its header, signed by the event key; gives its id, index and leaf hash.
    pub(super) fn check_event(&self, body: &[u8]) -> Result<(Uuid, u64, Hash), Failure> {
        let read: Read = serde_json::from_slice(body).map_err(failed)?;
        let header = decode(&read.verification.header)?;
        self.event
            .verify_detached(&decode(&read.verification.signature)?, &header)
            .map_err(failed)?;
        let leaf = leaf_hash(&header);
        if Header::decode(&header).map_err(failed)?.index != read.index || leaf != read.verification.leaf_hash {
            return Err(failed(format!("the event {} does not fit its header", read.id)));
        }
        Ok((read.id, read.index, leaf))
    }

    /// Checks a whole bundle.
    pub(super) fn check_bundle(&self, bundle: &[u8]) -> Result<(), Failure> {
        let trust = Trust {
            keys: vec![self.checkpoint.clone()],
            ..Trust::default()
        };
        let report = verify_bundle(bundle, trust, Options::default(), &mut |_| {}).map_err(failed)?;
        if report.verdict == Verdict::Valid {
            return Ok(());
        }
        Err(failed(format!("an exported bundle is {:?}", report.verdict)))
    }

    /// Checks one answer and gives the indexes of its events.
    fn check(&self, answered: &Answered) -> Result<Vec<u64>, Failure> {
        let answer: Answer = serde_json::from_slice(&answered.reply.success()?).map_err(failed)?;
        if answer.events.len() != usize::from(answered.count) {
            return Err(failed(format!(
                "{} receipts for {} events",
                answer.events.len(),
                answered.count
            )));
        }
        let checkpoint = self.open(&answer.checkpoint)?;
        let mut leaves = Vec::with_capacity(answer.events.len());
        for (number, receipt) in (answered.first..).zip(&answer.events) {
            leaves.push(self.check_receipt(number, receipt)?);
            if let Some(inclusion) = &receipt.inclusion {
                check_inclusion(receipt, inclusion, &checkpoint)?;
            } else if answer.range.is_none() {
                return Err(failed("a receipt came without any proof"));
            }
        }
        if let Some(range) = &answer.range {
            check_range(&answer.events, &leaves, range, &checkpoint)?;
        }
        Ok(answer.events.iter().map(|receipt| receipt.index).collect())
    }

    /// The header is signed by the event key and commits to the id that was sent.
    fn check_receipt(&self, number: u64, receipt: &Receipt) -> Result<Hash, Failure> {
        let header = decode(&receipt.header)?;
        self.event
            .verify_detached(&decode(&receipt.signature)?, &header)
            .map_err(failed)?;
        let (leaf, parsed) = (leaf_hash(&header), Header::decode(&header).map_err(failed)?);
        let (meta, salt) = (decode(&receipt.meta)?, decode(&receipt.salts.meta)?);
        let salt: [u8; 32] = salt.try_into().map_err(|_| failed("a salt is not 32 bytes"))?;
        let committed = parsed.bodies.first().map(|body| body.hash) == Some(commitment("meta", &salt, &meta));
        let same_id = receipt.id == event_id(number) && Meta::decode(&meta).map_err(failed)?.id == receipt.id;
        if committed && same_id && parsed.index == receipt.index && leaf == receipt.leaf_hash {
            Ok(leaf)
        } else {
            Err(failed(format!("the receipt of {} does not fit its header", receipt.id)))
        }
    }
}

fn check_inclusion(receipt: &Receipt, inclusion: &Inclusion, checkpoint: &Checkpoint) -> Result<(), Failure> {
    if inclusion.leaf_index != receipt.index || inclusion.tree_size != checkpoint.size {
        return Err(failed("an inclusion proof is not of this receipt"));
    }
    verify_inclusion(
        &receipt.leaf_hash,
        receipt.index,
        checkpoint.size,
        &inclusion.hashes,
        &checkpoint.root,
    )
    .map_err(failed)
}

fn check_range(receipts: &[Receipt], leaves: &[Hash], range: &Range, checkpoint: &Checkpoint) -> Result<(), Failure> {
    let in_a_row = receipts
        .iter()
        .zip(range.first..)
        .all(|(receipt, index)| receipt.index == index);
    if !in_a_row || range.count != leaves.len() as u64 || range.tree_size != checkpoint.size {
        return Err(failed("a range proof is not of these receipts"));
    }
    verify_range(leaves, range.first, checkpoint.size, &range.hashes, &checkpoint.root).map_err(failed)
}

fn decode(text: &str) -> Result<Vec<u8>, Failure> {
    STANDARD.decode(text).map_err(failed)
}

/// Checks every receipt on all cores, and that no index was given twice.
pub(super) fn receipts(keys: &Keys, answers: &[Answered]) -> Result<Checked, Failure> {
    let start = Instant::now();
    let indexes: Vec<Vec<u64>> = answers
        .par_iter()
        .map(|answered| keys.check(answered))
        .collect::<Result<_, _>>()?;
    let mut indexes = indexes.concat();
    indexes.par_sort_unstable();
    if indexes.windows(2).any(|pair| pair.first() == pair.last()) {
        return Err(failed("two events have the same index"));
    }
    let receipts = indexes.len() as u64;
    Ok(Checked {
        receipts,
        receipts_per_second: receipts as f64 / start.elapsed().as_secs_f64(),
        tree_size: indexes.last().map_or(0, |last| last + 1),
    })
}
