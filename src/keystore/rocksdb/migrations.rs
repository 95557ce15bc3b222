//! Numbered steps of the store's format, forward only, each with its page in `migrations/keystore/`.
//!
//! A step changes rows and moves the format row in one atomic, synced write, so a crash leaves the store before or
//! after it. A store with a higher number than the last step is refused.

use rocksdb::WriteBatch;

use super::database::Database;
use super::rows;
use crate::keystore::KeyStoreError;

/// One step.
pub(super) struct Step {
    /// The format after the step; consecutive, from 1.
    pub(super) number: u32,
    /// What changes and why.
    pub(super) description: &'static str,
    apply: fn(&Database, &mut WriteBatch) -> Result<(), KeyStoreError>,
}

/// All steps, in order.
pub(super) const STEPS: &[Step] = &[Step {
    number: 1,
    description: include_str!("../../../migrations/keystore/0001_initial.md"),
    // An empty store has no rows to change.
    apply: |_, _| Ok(()),
}];

fn format_row() -> Vec<u8> {
    rows::store_row("format")
}

/// The store's format; `None` if it was never made.
pub(super) fn format(db: &Database) -> Result<Option<u32>, KeyStoreError> {
    let Some(bytes) = db.get(&format_row())? else {
        return Ok(None);
    };
    let bytes = bytes
        .as_slice()
        .try_into()
        .map_err(|_| KeyStoreError::Damaged("format"))?;
    Ok(Some(u32::from_be_bytes(bytes)))
}

/// Refuses a store of a newer format.
pub(super) fn check(found: u32) -> Result<(), KeyStoreError> {
    let known = STEPS.last().map_or(0, |step| step.number);
    if found > known {
        Err(KeyStoreError::NewerFormat { found, known })
    } else {
        Ok(())
    }
}

/// Brings the store from `found` to the newest format. `first` goes into the first step's write.
pub(super) fn migrate(db: &Database, found: u32, first: WriteBatch) -> Result<(), KeyStoreError> {
    check(found)?;
    let mut batch = first;
    for step in STEPS.iter().filter(|step| step.number > found) {
        let title = step.description.lines().next().unwrap_or_default();
        tracing::info!(step = step.number, title, "changing the key store's format");
        (step.apply)(db, &mut batch)?;
        batch.put(format_row(), step.number.to_be_bytes());
        db.write(std::mem::take(&mut batch))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_numbered_from_one_without_gaps_and_described() {
        for (number, step) in (1..).zip(STEPS) {
            assert_eq!(step.number, number);
            assert!(
                step.description.starts_with(&format!("# {number:04} ")),
                "{}",
                step.description
            );
        }
    }
}
