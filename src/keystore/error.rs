//! What can go wrong in the key store and its vault.

/// A failure of the key store. A refused key is not one: see `Refusal`.
#[derive(Debug, thiserror::Error)]
pub enum KeyStoreError {
    /// The database failed.
    #[error("the key store cannot be read or written")]
    Store(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The vault failed or is missing.
    #[error("the vault cannot be used: {reason}")]
    Vault {
        /// What is wrong and how to mend it.
        reason: String,
        /// The cause.
        #[source]
        source: Option<std::io::Error>,
    },
    /// Store, vault and ledger do not belong together, or one is missing.
    #[error("the key store does not fit: {0}")]
    Foreign(String),
    /// A row does not unwrap: damaged, swapped, or wrapped by another vault.
    #[error("a key row is damaged or belongs elsewhere: {0}")]
    Damaged(&'static str),
    /// An erasure order that was never fenced.
    #[error("the subject is not fenced")]
    NotFenced,
    /// Another process has the store open.
    #[error("the key store is in use by another process")]
    InUse,
    /// Written by a newer version.
    #[error("the key store has format {found}; this version knows up to {known}")]
    NewerFormat {
        /// The format found.
        found: u32,
        /// The newest format known.
        known: u32,
    },
}

impl KeyStoreError {
    /// Whether rows of single people are at fault: others can be erased without them.
    pub fn is_of_one_person(&self) -> bool {
        matches!(self, Self::Damaged("identity" | "subject key"))
    }
}
