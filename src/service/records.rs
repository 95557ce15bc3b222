//! Records beside the events: finished jobs, kept as JSON under their ids.

use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::access::internal;
use super::{Code, Error, Ledger, Service};
use crate::store::RecordWrite;

impl Service {
    pub(super) fn keep_record(
        &self,
        ledger: &Ledger,
        kind: &'static str,
        id: Uuid,
        value: &impl Serialize,
    ) -> Result<(), Error> {
        let value = Some(serde_json::to_vec(value).map_err(internal)?);
        let record = RecordWrite {
            ledger: Some(ledger.record.number),
            kind,
            id: id.to_string(),
            value,
        };
        Ok(self.store.put_records(&[record])?)
    }

    pub(super) fn kept_record<T: DeserializeOwned>(&self, ledger: &Ledger, kind: &str, id: Uuid) -> Result<T, Error> {
        let bytes = self.store.record(Some(ledger.record.number), kind, &id.to_string())?;
        let bytes = bytes.ok_or_else(|| Error::new(Code::NotFound, format!("there is no {kind} of this id")))?;
        serde_json::from_slice(&bytes).map_err(|error| Error::new(Code::Damaged, format!("a {kind}")).caused_by(error))
    }

    /// All records of a kind, oldest first (ids are UUIDv7).
    pub(super) fn kept_records<T: DeserializeOwned>(&self, ledger: &Ledger, kind: &str) -> Result<Vec<T>, Error> {
        let rows = self.store.records(Some(ledger.record.number), kind)?;
        let parse = |(_, bytes): (String, Vec<u8>)| {
            serde_json::from_slice(&bytes)
                .map_err(|error| Error::new(Code::Damaged, format!("a {kind}")).caused_by(error))
        };
        rows.into_iter().map(parse).collect()
    }
}
