//! Opening sealed blocks.

use zeroize::Zeroizing;

use super::super::{Error, Ledger, Service};
use crate::keystore::{KeyRef, Refusal};
use crate::spec::event::Header;
use crate::spec::seal::{self, BlockContext, OpenError, SealedBlock, SubjectKey};

impl Service {
    /// Opens a block under its subject's key.
    pub(crate) fn open_block(
        &self,
        ledger: &Ledger,
        header: &Header,
        ordinal: u16,
        block: &SealedBlock,
    ) -> Result<Result<Zeroizing<Vec<u8>>, Refusal>, Error> {
        let lease = match self.keystore.key(ledger.record.id, &key_of(block))? {
            Ok(lease) => lease,
            Err(refusal) => return Ok(Err(refusal)),
        };
        Ok(open_under(&lease, header, ordinal, block).map_err(|error| {
            tracing::warn!(index = header.index, ordinal, error = %error, "a sealed block does not open under its key");
            Refusal::Unavailable
        }))
    }
}

/// The name of the key under which a block is sealed.
pub(in crate::service) fn key_of(block: &SealedBlock) -> KeyRef {
    KeyRef {
        handle: block.handle,
        category: block.category.clone(),
        generation: block.generation,
    }
}

/// Opens a block under a key, whoever gave it.
pub(in crate::service) fn open_under(
    key: &SubjectKey,
    header: &Header,
    ordinal: u16,
    block: &SealedBlock,
) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    let context = BlockContext {
        origin: &header.origin,
        event_ref: header.event_ref,
        ordinal,
        handle: block.handle,
        category: &block.category,
        generation: block.generation,
    };
    seal::open(key, &context, block)
}
