//! Key slots: 512 bytes each (see `slot`), preallocated, overwritten in place on every mirror.
//!
//! Where a device keeps the keys, the place of an epoch key holds zeros: the slot tells that the device has it. The places of
//! kinds 2 and 3 are used there for keys that another vault kept before, masked: see `keys`.
//!
//! What becomes of an epoch is noted in slots of its own, so that the slot of a living key is never rewritten: a write
//! that tears could cost the key.
//!
//! A slot lies in one sector of the disk and is never moved, so destroying a key is one overwrite of its only place.
//! The sequence grows with every write of a slot: where mirrors differ, the higher one is newer, so a mirror put back
//! from an old copy loses against the tombstone and is overwritten. A slot that no mirror can give back is *lost*, and
//! while one is, no ledger is created: the lost key may have been its own.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use super::mirror::{Mirror, vault_error, vault_refusal};
use super::slot::{Bytes, Content, Place, decode, encode};
use super::stamp::Stamp;
use crate::keystore::KeyStoreError;
use crate::keystore::vault::{Epoch, Secret};
use crate::spec::ids::LedgerId;

pub(super) use super::slot::{Kind, Name, SIZE, Times};

/// Slots written at once when there is no free one.
const CHUNK: u64 = 1024;

const FILE: &str = "slots";

/// Where each key stands. Keys themselves are read from disk when asked for.
#[derive(Debug, Default)]
pub(super) struct Slots {
    stamp: Arc<Stamp>,
    files: Vec<File>,
    places: BTreeMap<Name, Place>,
    /// Slot → its last sequence.
    free: BTreeMap<u64, u64>,
    lost: Vec<u64>,
    count: u64,
}

impl Slots {
    /// Preallocates the slots of a new vault.
    pub(super) fn create(stamp: Arc<Stamp>, mirrors: &[Mirror]) -> Result<Self, KeyStoreError> {
        let files = mirrors
            .iter()
            .map(|mirror| mirror.edit(Path::new(FILE)))
            .collect::<Result<_, _>>()?;
        let mut slots = Self {
            stamp,
            files,
            ..Self::default()
        };
        slots.grow(mirrors, CHUNK)?;
        slots.free.extend((0..CHUNK).map(|slot| (slot, 0)));
        Ok(slots)
    }

    /// Surveys all mirrors and repairs what another mirror can give back.
    pub(super) fn open(stamp: Arc<Stamp>, mirrors: &mut [Mirror]) -> Result<Self, KeyStoreError> {
        if !mirrors.iter().any(|mirror| mirror.path.join(FILE).exists()) {
            return Err(vault_refusal(
                "the slots file is missing on every mirror; put the vault's copy back",
            ));
        }
        let files = mirrors
            .iter()
            .map(|mirror| mirror.edit(Path::new(FILE)))
            .collect::<Result<_, _>>()?;
        let mut slots = Self {
            stamp,
            files,
            ..Self::default()
        };
        let longest = slots
            .files
            .iter()
            .filter_map(|file| file.metadata().ok())
            .map(|m| m.len())
            .max()
            .unwrap_or(0);
        slots.grow(mirrors, longest / SIZE as u64)?;
        for slot in 0..slots.count {
            slots.survey(mirrors, slot)?;
        }
        Ok(slots)
    }

    /// Keys that no mirror can give back.
    pub(super) fn lost(&self) -> usize {
        self.lost.len()
    }

    /// Every epoch of a ledger whose key is there, with the times of its slot, in order.
    pub(super) fn epochs(&self, ledger: LedgerId) -> impl Iterator<Item = (Epoch, Times)> {
        let name = |epoch| Name {
            ledger,
            kind: Kind::Epoch,
            epoch,
        };
        let range = self.places.range(name(0)..=name(Epoch::MAX));
        range.map(|(name, place)| (name.epoch, place.times))
    }

    /// Every epoch of every ledger.
    pub(super) fn all_epochs(&self) -> impl Iterator<Item = (LedgerId, Epoch)> {
        let epochs = self.places.keys().filter(|name| name.kind == Kind::Epoch);
        epochs.map(|name| (name.ledger, name.epoch))
    }

    /// The times of a key's or note's slot.
    pub(super) fn times(&self, name: Name) -> Option<Times> {
        self.places.get(&name).map(|place| place.times)
    }

    pub(super) fn holds(&self, name: Name) -> bool {
        self.places.contains_key(&name)
    }

    /// Reads a key from the first mirror that has it, and repairs the others if they let it.
    pub(super) fn read(&self, mirrors: &mut [Mirror], name: Name) -> Result<Secret, KeyStoreError> {
        let place = *self.places.get(&name).ok_or_else(|| self.absent())?;
        let current = |file| match self.load(file, place.slot) {
            Content::Valid(n, sequence, _, key) if n == name && sequence == place.sequence => Some(key),
            _ => None,
        };
        let key = self.files.iter().find_map(current).ok_or_else(|| {
            vault_refusal(format!(
                "slot {} is damaged on every mirror; put the vault's copy back",
                place.slot
            ))
        })?;
        // The key is whole: a mirror that takes no repair must not keep it from whoever needs it.
        if let Err(error) = self.mend(mirrors, place.slot, &encode(&self.stamp, place, name, &key)) {
            tracing::error!(slot = place.slot, error = %error, "a damaged slot of the vault could not be repaired");
        }
        Ok(key)
    }

    /// Writes a new key or note into a free slot, on every mirror.
    pub(super) fn add(
        &mut self,
        mirrors: &[Mirror],
        name: Name,
        times: Times,
        key: &Secret,
    ) -> Result<(), KeyStoreError> {
        if !self.lost.is_empty() {
            return Err(vault_refusal(format!(
                "{} slots are damaged on every mirror, so no key is made that might replace a lost one",
                self.lost.len()
            )));
        }
        if self.free.is_empty() {
            let fresh = self.count..self.count + CHUNK;
            self.grow(mirrors, fresh.end)?;
            self.free.extend(fresh.map(|slot| (slot, 0)));
        }
        let mut free = self
            .free
            .first_entry()
            .ok_or_else(|| vault_refusal("there is no free slot"))?;
        // The sequence is used up even if the write fails on some mirror: no two writes may ever share one.
        *free.get_mut() += 1;
        let place = Place {
            slot: *free.key(),
            sequence: *free.get(),
            times,
        };
        self.write(mirrors, place.slot, &encode(&self.stamp, place, name, key))?;
        self.free.remove(&place.slot);
        self.places.insert(name, place);
        Ok(())
    }

    /// Overwrites a key's only place with a tombstone, on every mirror. Repeating it changes nothing.
    pub(super) fn destroy(&mut self, mirrors: &[Mirror], name: Name) -> Result<(), KeyStoreError> {
        let Some(place) = self.places.get_mut(&name) else {
            return Ok(());
        };
        place.sequence += 1;
        let place = Place {
            times: Times::default(),
            ..*place
        };
        let tombstone = Name {
            kind: Kind::Destroyed,
            ..name
        };
        // On failure the key stays listed, and destroying it again overwrites it again.
        self.write(
            mirrors,
            place.slot,
            &encode(&self.stamp, place, tombstone, &Secret::default()),
        )?;
        self.places.remove(&name);
        self.free.insert(place.slot, place.sequence);
        Ok(())
    }

    /// Overwrites every slot of a vault that is never written to again, on every mirror: also those that are lost, or that
    /// another of the same name hides. Repeating it changes nothing.
    pub(super) fn destroy_all(&mut self, mirrors: &[Mirror]) -> Result<(), KeyStoreError> {
        let none = Name {
            ledger: LedgerId([0; 16]),
            kind: Kind::Destroyed,
            epoch: 0,
        };
        for slot in 0..self.count {
            // Newer than whatever an old copy of a mirror holds.
            let (sequence, times) = (u64::MAX, Times::default());
            let place = Place { slot, sequence, times };
            self.write(mirrors, slot, &encode(&self.stamp, place, none, &Secret::default()))?;
        }
        self.places.clear();
        self.lost.clear();
        Ok(())
    }

    pub(super) fn absent(&self) -> KeyStoreError {
        match self.lost.len() {
            0 => vault_refusal("it holds no such key of this ledger"),
            n => vault_refusal(format!(
                "{n} slots are damaged on every mirror; put the vault's copy back"
            )),
        }
    }

    /// Decides what a slot holds: the valid copy with the highest sequence, which then goes to every mirror.
    fn survey(&mut self, mirrors: &mut [Mirror], slot: u64) -> Result<(), KeyStoreError> {
        let mut best: Option<(Name, u64, Times, Secret)> = None;
        let (mut damaged, mut contested) = (false, false);
        for file in &self.files {
            match self.load(file, slot) {
                Content::Empty => {}
                Content::Damaged => damaged = true,
                Content::Valid(name, sequence, times, key) => match &best {
                    Some((_, known, ..)) if *known > sequence => {}
                    Some((n, known, t, k)) if *known == sequence => {
                        contested |= (n, t, k) != (&name, &times, &key);
                    }
                    _ => (best, contested) = (Some((name, sequence, times, key)), false),
                },
            }
        }
        let Some((name, sequence, times, key)) = best.filter(|_| !contested) else {
            if damaged || contested {
                self.lost.push(slot);
            } else {
                self.free.insert(slot, 0);
            }
            return Ok(());
        };
        let place = Place { slot, sequence, times };
        self.mend(mirrors, slot, &encode(&self.stamp, place, name, &key))?;
        if name.kind == Kind::Destroyed {
            self.free.insert(slot, sequence);
        } else {
            self.places.insert(name, place);
        }
        Ok(())
    }

    fn load(&self, file: &File, slot: u64) -> Content {
        let mut bytes = Bytes::new([0; SIZE]);
        match file.read_exact_at(bytes.as_mut_slice(), slot * SIZE as u64) {
            Ok(()) => decode(&self.stamp, slot, &bytes),
            Err(_) => Content::Damaged,
        }
    }

    /// Rewrites the slot on the mirrors whose copy differs.
    fn mend(&self, mirrors: &mut [Mirror], slot: u64, bytes: &Bytes) -> Result<(), KeyStoreError> {
        for (file, mirror) in self.files.iter().zip(mirrors) {
            if mirror.is_to_read() {
                continue;
            }
            let mut there = Bytes::new([0; SIZE]);
            let read = file.read_exact_at(there.as_mut_slice(), slot * SIZE as u64);
            if read.is_err() || there != *bytes {
                put(file, mirror, slot, bytes.as_slice())?;
                mirror.repaired += 1;
                tracing::warn!(
                    slot,
                    "a damaged or old slot of the vault was repaired from another mirror"
                );
            }
        }
        Ok(())
    }

    fn write(&self, mirrors: &[Mirror], slot: u64, bytes: &Bytes) -> Result<(), KeyStoreError> {
        self.files
            .iter()
            .zip(mirrors)
            .try_for_each(|(file, mirror)| put(file, mirror, slot, bytes.as_slice()))
    }

    /// Makes every mirror's file `count` slots long; real zeros, so that later writes allocate nothing.
    fn grow(&mut self, mirrors: &[Mirror], count: u64) -> Result<(), KeyStoreError> {
        for (file, mirror) in self
            .files
            .iter()
            .zip(mirrors)
            .filter(|(_, mirror)| !mirror.is_to_read())
        {
            let failed = |e| vault_error(format!("cannot grow {}", mirror.context(Path::new(FILE))), e);
            let length = file.metadata().map_err(failed)?.len() / SIZE as u64;
            for slot in length..count {
                file.write_all_at(&[0; SIZE], slot * SIZE as u64).map_err(failed)?;
            }
            file.sync_all().map_err(failed)?;
        }
        self.count = count;
        Ok(())
    }
}

/// Overwrites the slots of a mirror of a vault that never came into use, if they are there: what they hold is not to lie in free
/// sectors.
pub(super) fn blank(mirror: &Path) -> Result<(), KeyStoreError> {
    let path = mirror.join(FILE);
    let failed = |e| vault_error(format!("cannot overwrite {}", path.display()), e);
    let file = match File::options().write(true).open(&path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        file => file.map_err(failed)?,
    };
    for slot in 0..file.metadata().map_err(failed)?.len().div_ceil(SIZE as u64) {
        file.write_all_at(&[0; SIZE], slot * SIZE as u64).map_err(failed)?;
    }
    file.sync_all().map_err(failed)
}

/// Writes in place, syncs and reads back.
fn put(file: &File, mirror: &Mirror, slot: u64, bytes: &[u8]) -> Result<(), KeyStoreError> {
    let failed = |e| {
        vault_error(
            format!("cannot write slot {slot} of {}", mirror.context(Path::new(FILE))),
            e,
        )
    };
    let mut back = Bytes::new([0; SIZE]);
    let offset = slot * SIZE as u64;
    file.write_all_at(bytes, offset).map_err(failed)?;
    file.sync_data().map_err(failed)?;
    file.read_exact_at(back.as_mut_slice(), offset).map_err(failed)?;
    if back.as_slice() == bytes {
        Ok(())
    } else {
        Err(vault_refusal(format!(
            "slot {slot} of {} does not read back as written",
            mirror.path.display()
        )))
    }
}
