//! Rollback: what a restore of an older ledger store has lost, and how a new log goes on from what is left
//! (docs/spec/13-backup.md).
//!
//! The old log never grows again: two roots for one size would be equivocation. It stays readable under its origin, and a
//! new one begins at index 0 under another. The new log's first event names the old origin, its last checkpoint that the
//! vault knows, and what was restored; its next events put the erasures on record that the old log lost
//! (`erasure.recovered`). That a log is frozen is told by the first event of its heir alone, which is signed. Origins of one
//! family: `o`, `o/r2`, `o/r3`, …

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use uuid::Uuid;

use super::erase::{COMPLETED, RECOVERED, STREAM};
use super::ledger::RecoveryKey;
use super::own::{Fold, Unreadable, recorded};
use super::read::StoredEvent;
use super::verify::read_records;
use super::{Code, Error, Ledger, Service};
use crate::keystore::vault::{JournalEntry, Vault};
use crate::spec::checkpoint::Checkpoint;
use crate::spec::event::{BodyKind, Header};
use crate::spec::hash::{Hash, empty_root};
use crate::spec::ids::{InvalidId, LedgerId, LedgerName, Origin};
use crate::spec::keys::{Continued, LedgerCreated, Restored, Role};
use crate::spec::note::Note;
use crate::spec::signature::PublicKey;
use crate::spec::system::{ErasedSubject, ErasureRecovered};
use crate::store::{LedgerNumber, LedgerRecord, LedgerStore};

/// Events that are appended at once.
const AT_ONCE: usize = 200;

/// What must be done for one family of logs of which something was lost.
#[derive(Debug, Clone)]
pub struct Rollback {
    /// The name under which the new log is reached: the old one's.
    pub name: LedgerName,
    /// The new log.
    pub origin: Origin,
    /// The log that is frozen now, and the name under which it is reached from now on; `None`: nothing of it is left.
    pub frozen: Option<(LedgerNumber, LedgerName)>,
    /// What the new log's first event says.
    pub continues: Vec<Continued>,
    /// The vault's ids of all logs of the family, with their origins.
    family: Vec<(LedgerId, Origin)>,
    recovery_key_hash: Option<Hash>,
}

impl Rollback {
    /// The fewest events that are lost, as far as the vault knows.
    pub fn lost(&self) -> u64 {
        let lost = |continued: &Continued| {
            let known = continued.checkpoint().map_or(0, |known| known.size);
            known.saturating_sub(continued.restored.tree_size)
        };
        self.continues.iter().map(lost).sum()
    }
}

/// A log as the store holds it.
struct Held {
    record: LedgerRecord,
    created: LedgerCreated,
    head: Checkpoint,
    note: String,
}

/// A log as the vault remembers it.
struct Known {
    id: LedgerId,
    origin: Origin,
    head: Checkpoint,
    note: String,
}

/// The origin that a family of logs began with, and which of them this is, from 1.
pub(super) fn family_of(origin: &Origin) -> (&str, u32) {
    let text = origin.as_str();
    let numbered = text.rsplit_once("/r").and_then(|(base, digits)| {
        let number: u32 = digits.parse().ok()?;
        (number > 1 && number.to_string() == digits).then_some((base, number))
    });
    numbered.unwrap_or((text, 1))
}

/// Compares the store with the vault: one entry for every family of logs of which the vault remembers more. A vault that was
/// not closed may have missed the last events of any: then every log that still grows counts.
///
/// # Errors
/// If either cannot be read, or a new name is none.
pub fn find(store: &dyn LedgerStore, vault: &dyn Vault, is_closed: bool) -> Result<Vec<Rollback>, Error> {
    let records = store.ledgers()?.into_iter();
    let held: Vec<_> = records.map(|record| hold(store, record)).collect::<Result<_, _>>()?;
    let known = remembered(vault)?;
    let lost = |known: &&Known| match held.iter().find(|held| held.record.id == known.id) {
        _ if is_continued(&held, &known.origin) => false,
        Some(held) => !is_closed || known.head.size > held.head.size,
        None => true,
    };
    let bases: BTreeSet<_> = known
        .iter()
        .filter(lost)
        .map(|known| family_of(&known.origin).0)
        .collect();
    bases.into_iter().map(|base| plan(base, &held, &known)).collect()
}

/// Whether a log that is there goes on from this one.
fn is_continued(held: &[Held], origin: &Origin) -> bool {
    let names = |held: &Held| {
        held.created
            .continues
            .iter()
            .any(|continued| continued.origin == *origin)
    };
    held.iter().any(names)
}

fn plan(base: &str, held: &[Held], known: &[Known]) -> Result<Rollback, Error> {
    let held_here: Vec<_> = held
        .iter()
        .filter(|held| family_of(&held.record.origin).0 == base)
        .collect();
    let known_here: Vec<_> = known
        .iter()
        .filter(|known| family_of(&known.origin).0 == base)
        .collect();
    // At most one log of a family may still grow.
    let live = held_here.iter().find(|log| !is_continued(held, &log.record.origin));
    let origins = held_here.iter().map(|log| &log.record.origin);
    let origins: Vec<_> = origins.chain(known_here.iter().map(|known| &known.origin)).collect();
    let newest = origins.iter().map(|origin| family_of(origin).1).max().unwrap_or(1);
    let origin: Origin = format!("{base}/r{}", newest + 1).parse().map_err(|error: InvalidId| {
        Error::field(
            "origin",
            format!("the new log's origin, {base}/r{}, is none: {error}", newest + 1),
        )
    })?;
    let mut continues: Vec<_> = live.map(|live| restored(live, &known_here)).into_iter().collect();
    let gone = known_here.iter().filter(|known| {
        let is_held = held_here.iter().any(|held| held.record.id == known.id);
        !is_held && !is_continued(held, &known.origin)
    });
    continues.extend(gone.map(|known| Continued {
        origin: known.origin.clone(),
        last_known: known.note.clone(),
        restored: Restored {
            tree_size: 0,
            root: empty_root(),
        },
    }));
    let (name, frozen) = match live {
        Some(live) => {
            let name = live.record.name.clone();
            let frozen = free_name(held, &format!("{name}-r{}", family_of(&live.record.origin).1))?;
            (name, Some((live.record.number, frozen)))
        }
        None => (free_name(held, base.rsplit('/').next().unwrap_or_default())?, None),
    };
    let ids = known_here.iter().map(|known| (known.id, known.origin.clone()));
    Ok(Rollback {
        name,
        origin,
        frozen,
        continues,
        family: ids.collect(),
        recovery_key_hash: live.map(|live| live.created.recovery_key_hash),
    })
}

/// What is left of a log, beside what is known of it.
fn restored(live: &Held, known: &[&Known]) -> Continued {
    let known = known.iter().find(|known| known.id == live.record.id);
    let last_known = match known.filter(|known| known.head.size > live.head.size) {
        Some(known) => known.note.clone(),
        None => live.note.clone(),
    };
    Continued {
        origin: live.record.origin.clone(),
        last_known,
        restored: Restored {
            tree_size: live.head.size,
            root: live.head.root,
        },
    }
}

/// The name, or one like it that no ledger has.
fn free_name(held: &[Held], wanted: &str) -> Result<LedgerName, Error> {
    let taken = |name: &LedgerName| held.iter().any(|held| held.record.name == *name);
    let candidates = std::iter::once(wanted.to_owned()).chain((2..1_000).map(|n| format!("restored-{n}")));
    let mut free = candidates
        .filter_map(|name| name.parse().ok())
        .filter(|name| !taken(name));
    free.next()
        .ok_or_else(|| Error::new(Code::Internal, "there is no free name for a ledger"))
}

/// At what a log of a store is frozen, if one that goes on from it says so. What cannot be read says nothing.
///
/// # Errors
/// If the store cannot be read.
pub fn frozen(store: &dyn LedgerStore, origin: &Origin) -> Result<Option<Restored>, Error> {
    let held = store
        .ledgers()?
        .into_iter()
        .filter_map(|record| hold(store, record).ok());
    let mut continued = held.flat_map(|held| held.created.continues);
    let found = continued.find(|continued| continued.origin == *origin);
    Ok(found.map(|continued| continued.restored))
}

/// The certificate keys that the ledgers of a store announce.
///
/// # Errors
/// If the store cannot be read.
pub fn certificate_keys(store: &dyn LedgerStore) -> Result<Vec<PublicKey>, Error> {
    let ledgers = store.ledgers()?.into_iter();
    let key = |record| Ok(hold(store, record)?.created.key(Role::Certificate));
    let keys: Vec<_> = ledgers.map(key).collect::<Result<_, Error>>()?;
    Ok(keys.into_iter().flatten().collect())
}

fn hold(store: &dyn LedgerStore, record: LedgerRecord) -> Result<Held, Error> {
    let damaged = |what: &str| Error::new(Code::Damaged, format!("ledger {}: {what}", record.name));
    let head = store.head(record.number)?.ok_or_else(|| damaged("no head"))?;
    let (_, note) = store
        .checkpoint(record.number, head.size)?
        .ok_or_else(|| damaged("no checkpoint"))?;
    let head = parse(&note).ok_or_else(|| damaged("its checkpoint"))?;
    let first = read_records(store, record.number, 0..1)?.pop();
    let created = first.and_then(|first| {
        let header = Header::decode(&first.header).ok()?;
        let place = header.bodies.iter().position(|body| body.kind == BodyKind::Data)?;
        let data = first.bodies.iter().find(|body| usize::from(body.ordinal) == place)?;
        LedgerCreated::read(&data.bytes).ok()
    });
    let created = created.ok_or_else(|| damaged("the event at index 0"))?;
    Ok(Held {
        record,
        created,
        head,
        note,
    })
}

fn parse(note: &str) -> Option<Checkpoint> {
    note.parse::<Note>().ok()?.text().parse().ok()
}

fn remembered(vault: &dyn Vault) -> Result<Vec<Known>, Error> {
    let mut known = Vec::new();
    for id in vault.ledgers()? {
        let Some((_, note)) = vault.checkpoint(id)? else {
            continue;
        };
        let damaged = || {
            Error::new(
                Code::Damaged,
                format!("the vault's checkpoint of ledger {id} is damaged"),
            )
        };
        let head = parse(&note).ok_or_else(damaged)?;
        let origin = head.origin.as_str().parse().map_err(|_| damaged())?;
        known.push(Known { id, origin, head, note });
    }
    Ok(known)
}

impl Service {
    /// What an open log says of a log that it goes on from.
    pub fn continued(&self, origin: &Origin) -> Option<Continued> {
        let heir = self.heir_of(origin)?;
        heir.continues
            .iter()
            .find(|continued| continued.origin == *origin)
            .cloned()
    }

    /// Begins the log that goes on. The old one, if there is one, has its new name already and is not open yet. Gives the
    /// private recovery key if one had to be minted: shown once.
    ///
    /// # Errors
    /// Whatever appending may answer.
    pub async fn go_on(&self, rollback: &Rollback) -> Result<Option<RecoveryKey>, Error> {
        let (hash, minted) = match rollback.recovery_key_hash {
            Some(hash) => (hash, None),
            None => self.mint_recovery_key()?,
        };
        let continues = rollback.continues.clone();
        self.found(&rollback.name, &rollback.origin, hash, continues).await?;
        Ok(minted)
    }

    /// Puts every erasure on record that the family's logs do not tell to the end. Their keys are destroyed before, by
    /// [`Service::apply_erasures`]. Gives how many there were.
    ///
    /// # Errors
    /// If a key could not be destroyed; whatever appending may answer.
    pub async fn recover_erasures(self: &Arc<Self>, rollback: &Rollback) -> Result<u64, Error> {
        let ledger = self.ledger(&rollback.name)?;
        let of = rollback.clone();
        let missing = self
            .blocking(&ledger, move |service, _| service.unrecorded(&of))
            .await?;
        let events = missing
            .iter()
            .map(|erasure| self.system_event(STREAM, RECOVERED, erasure, Some(erasure.request.to_string())))
            .collect::<Result<Vec<_>, _>>()?;
        for events in events.chunks(AT_ONCE) {
            self.append_system(&ledger, Vec::new(), events.to_vec(), Vec::new(), Vec::new())
                .await?;
        }
        Ok(missing.len() as u64)
    }

    fn unrecorded(&self, rollback: &Rollback) -> Result<Vec<ErasureRecovered>, Error> {
        let base = family_of(&rollback.origin).0;
        let open = self.all_ledgers().into_iter();
        let logs: Vec<_> = open
            .filter(|ledger| family_of(&ledger.record.origin).0 == base)
            .collect();
        if let Some(log) = logs.iter().find(|log| log.unfinished.load(Ordering::Acquire)) {
            let detail = format!(
                "ledger {}: keys of erased people could not be destroyed; see the log",
                log.record.name
            );
            return Err(Error::new(Code::KeyUnavailable, detail));
        }
        let told = logs
            .iter()
            .map(|log| self.told_to_the_end(log))
            .collect::<Result<Vec<_>, _>>()?;
        let told: HashSet<_> = told.into_iter().flatten().collect();
        let mut missing: BTreeMap<(Origin, Uuid), ErasureRecovered> = BTreeMap::new();
        for (id, origin) in &rollback.family {
            let mut entries = self.keystore.vault().journaled(*id)?;
            if let Some(log) = logs.iter().find(|log| log.record.id == *id) {
                entries.extend(self.recorded_orders(log)?);
            }
            for JournalEntry { order, index } in entries {
                if told.contains(&order.request) {
                    continue;
                }
                let recovered = missing
                    .entry((origin.clone(), order.request))
                    .or_insert_with(|| ErasureRecovered {
                        origin: origin.clone(),
                        index,
                        request: order.request,
                        subjects: Vec::new(),
                        categories: order.categories,
                    });
                let subject = ErasedSubject { handle: order.handle };
                if !recovered.subjects.contains(&subject) {
                    recovered.subjects.push(subject);
                }
            }
        }
        Ok(missing.into_values().collect())
    }

    /// The requests whose erasures a log tells to the end.
    fn told_to_the_end(&self, ledger: &Ledger) -> Result<HashSet<Uuid>, Error> {
        Ok(self.fold_own(ledger, Ended::default())?.0)
    }
}

/// Erasures that came to their end.
#[derive(Default)]
struct Ended(HashSet<Uuid>);

impl Fold for Ended {
    const STREAM: &'static str = STREAM;
    const OF_OTHER_LOGS: bool = true;

    fn add(&mut self, event: &StoredEvent) -> Result<(), Error> {
        #[derive(serde::Deserialize)]
        struct Named {
            request: Uuid,
        }
        if matches!(event.header.event_type.as_str(), RECOVERED | COMPLETED) {
            self.0.insert(recorded::<Named>(event)?.payload.request);
        }
        Ok(())
    }

    /// It is put on record again.
    fn unreadable(&mut self, _: Unreadable) {}
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_the_origin_without_its_number() {
        for (text, base, number) in [
            ("o.example/main", "o.example/main", 1),
            ("o.example/main/r2", "o.example/main", 2),
            ("o.example/main/r10", "o.example/main", 10),
            ("o.example/main/r1", "o.example/main/r1", 1),
            ("o.example/main/r02", "o.example/main/r02", 1),
            ("o.example/raw", "o.example/raw", 1),
        ] {
            assert_eq!(family_of(&text.parse().unwrap()), (base, number), "{text}");
        }
    }
}
