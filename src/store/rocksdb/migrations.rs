//! Numbered, forward-only steps from one store format to the next; `migrations/ledger/` describes each.

use super::super::StoreError;
use super::{RocksStore, classify, schema, synced};
use crate::spec::ids::LedgerId;

/// A step: its number is its place in [`STEPS`], from 1.
struct Step {
    /// What it does, for people.
    #[allow(dead_code, reason = "embedded so that the binary documents its own formats")]
    description: &'static str,
    run: fn(&RocksStore) -> Result<(), StoreError>,
}

const STEPS: &[Step] = &[Step {
    description: include_str!("../../../migrations/ledger/0001_initial.md"),
    run: |_| Ok(()),
}];

fn known() -> u32 {
    u32::try_from(STEPS.len()).unwrap_or(u32::MAX)
}

/// Writes id and current format into an empty store.
pub(super) fn initialise(store: &RocksStore) -> Result<(), StoreError> {
    let system = store.table(schema::SYSTEM)?;
    store
        .db
        .put_cf_opt(system, schema::STORE_ID_KEY, store.id.as_bytes(), &synced())
        .map_err(classify)?;
    run(store)
}

/// Runs the steps that the store has not seen, each followed by its number.
pub(super) fn run(store: &RocksStore) -> Result<(), StoreError> {
    let found = refuse_newer(store)?;
    let system = store.table(schema::SYSTEM)?;
    for (number, step) in (1_u32..).zip(STEPS).skip_while(|(number, _)| *number <= found) {
        (step.run)(store)?;
        store
            .db
            .put_cf_opt(system, schema::FORMAT_KEY, number.to_be_bytes(), &synced())
            .map_err(classify)?;
    }
    Ok(())
}

/// The store's format, unless it is newer than this program.
pub(super) fn refuse_newer(store: &RocksStore) -> Result<u32, StoreError> {
    let row = store
        .db
        .get_cf(store.table(schema::SYSTEM)?, schema::FORMAT_KEY)
        .map_err(classify)?;
    let found = match row.as_deref().map(<[u8; 4]>::try_from) {
        None => 0,
        Some(Ok(bytes)) => u32::from_be_bytes(bytes),
        Some(Err(_)) => {
            return Err(StoreError::Damaged {
                table: schema::SYSTEM,
                what: "format".into(),
            });
        }
    };
    if found > known() {
        Err(StoreError::NewerFormat { found, known: known() })
    } else {
        Ok(found)
    }
}

/// The store's id.
pub(super) fn store_id(store: &RocksStore) -> Result<LedgerId, StoreError> {
    let row = store
        .db
        .get_cf(store.table(schema::SYSTEM)?, schema::STORE_ID_KEY)
        .map_err(classify)?;
    row.and_then(|bytes| LedgerId::try_from(bytes.as_slice()).ok())
        .ok_or(StoreError::Damaged {
            table: schema::SYSTEM,
            what: "store-id".into(),
        })
}
