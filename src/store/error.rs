//! What can go wrong in the ledger's store.

/// A failure of the ledger's store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The head moved: the batch was planned on another one. Nothing was written.
    #[error("the ledger's head is not where the batch expects it")]
    HeadMoved,
    /// Reading or writing failed. After a failed write nothing is known of what was persisted.
    #[error("the ledger's store cannot be read or written")]
    Io(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A row cannot be what this program wrote.
    #[error("damaged row in {table}: {what}")]
    Damaged {
        /// The column family.
        table: &'static str,
        /// What is wrong with it.
        what: String,
    },
    /// There is no store here.
    #[error("no ledger store in {0}; make one with `oubliette init`")]
    Missing(std::path::PathBuf),
    /// There is something here already.
    #[error("{0} already holds a ledger store")]
    Exists(std::path::PathBuf),
    /// Another process has the store open.
    #[error("the ledger store is in use by another process")]
    InUse,
    /// Written by a newer version.
    #[error("the ledger store has format {found}; this version knows up to {known}. Use the newer program")]
    NewerFormat {
        /// The format found.
        found: u32,
        /// The newest format known.
        known: u32,
    },
}
