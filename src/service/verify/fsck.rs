//! The store's own affair, beyond what any proof rests on: that every index finds the events it should. Finds, names,
//! repairs nothing.

use crate::spec::event::{Actor, Header, Meta};
use crate::spec::ids::{Handle, StreamName};
use crate::spec::report::{Finding, FindingCode};
use crate::spec::seal::SealedBlock;
use crate::spec::verify::{Entry, Record};
use crate::store::{Direction, LedgerNumber, LedgerStore, Lookup, StoreError};

/// Checks the index rows of some events.
pub(super) fn check_indexes(
    store: &dyn LedgerStore,
    ledger: LedgerNumber,
    entries: &[Entry],
) -> Result<Vec<Finding>, StoreError> {
    let mut findings = Vec::new();
    for record in entries.iter().filter_map(Entry::event) {
        check_event(store, ledger, record, &mut findings)?;
    }
    Ok(findings)
}

fn check_event(
    store: &dyn LedgerStore,
    ledger: LedgerNumber,
    record: &Record,
    findings: &mut Vec<Finding>,
) -> Result<(), StoreError> {
    // What does not decode is a finding of the verification already.
    let Ok(header) = Header::decode(&record.header) else {
        return Ok(());
    };
    let mut expect = |place: &str, holds: bool| {
        if !holds {
            let index = Some(record.index);
            findings.push(Finding::new(
                index,
                place,
                FindingCode::FactMismatch,
                "a row that leads to this event",
                "none, or another",
            ));
        }
    };
    let version = header.stream_version;
    let found = store.stream_events(ledger, header.stream_ref, version..version + 1, Direction::Forward, 1)?;
    expect("index/stream", found == [record.index]);
    let mut lookups = vec![("index/type", Lookup::Type(header.event_type.clone()))];
    let meta = record
        .bodies
        .first()
        .filter(|body| body.ordinal == 0)
        .and_then(|body| Meta::decode(&body.bytes).ok());
    if let Some(meta) = meta {
        expect(
            "index/id",
            store.indexes_of(ledger, &[meta.id])? == [Some(record.index)],
        );
        expect("index/stream_name", is_named(store, ledger, &meta.stream, &header)?);
        if let Some(Actor::Subject(handle)) = meta.actor {
            lookups.push(("index/handle", Lookup::Handle(handle)));
        }
        lookups.extend(
            meta.correlation_id
                .map(|id| ("index/correlation_id", Lookup::Correlation(id))),
        );
        lookups.extend(meta.tags.into_iter().map(|tag| ("index/tag", Lookup::Tag(tag))));
    }
    lookups.extend(handles(record).map(|handle| ("index/handle", Lookup::Handle(handle))));
    for (place, lookup) in lookups {
        let found = store.find(ledger, &lookup, record.index..record.index + 1, Direction::Forward, 1)?;
        expect(place, found == [record.index]);
    }
    Ok(())
}

fn is_named(
    store: &dyn LedgerStore,
    ledger: LedgerNumber,
    name: &StreamName,
    header: &Header,
) -> Result<bool, StoreError> {
    let row = store.stream_rows(ledger, std::slice::from_ref(name))?.pop().flatten();
    Ok(row.is_some_and(|row| row.stream_ref == header.stream_ref && row.version >= header.stream_version))
}

fn handles(record: &Record) -> impl Iterator<Item = Handle> {
    record
        .bodies
        .iter()
        .filter(|body| body.ordinal > 0)
        .filter_map(|body| SealedBlock::decode(&body.bytes).ok())
        .map(|block| block.handle)
}
