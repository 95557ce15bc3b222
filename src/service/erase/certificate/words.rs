//! What certificates say in words.

/// What may still be where, by the codes that `erasure.completed` lists.
pub(super) const RESIDUES: [(&str, &str); 3] = [
    (
        "key_store_files",
        "Old copies of the deleted key rows may still lie in the key store's files (log and sorted files) until they are \
         rewritten. They are wrapped under the old epoch key: nothing opens them once that is destroyed.",
    ),
    (
        "epoch_key",
        "A backup of the key store was taken under the old epoch key or an earlier one, which is therefore kept until the \
         time that this certificate names. Until then whoever holds such a backup and the vault can open the data in it; the vault's \
         journal keeps this system from doing so.",
    ),
    (
        "ciphertext",
        "The sealed blocks, or old copies of them, still lie in the files of the ledger's store.",
    ),
];

const LIMITS: [&str; 7] = [
    "It covers the one ledger that it names; other ledgers were not examined.",
    "It covers sealed personal data. Whether callers wrote personal data into fields that stay in clear was not examined.",
    "What a file system or a device keeps of files that were overwritten or deleted is beyond it.",
    "Copies that were revealed or exported in clear before the erasure are outside this system.",
    "Copies of key store and vault together that were made outside this system before the erasure (machine snapshots) are \
     not known to it.",
    "Keys that were in memory before the erasure are overwritten when they are dropped; that memory was never copied \
     elsewhere (swap, machine snapshots) cannot be shown.",
    "The history keeps that events of certain types happened at certain times, and which of them share a stream.",
];

/// Where one person's blocks were listed without those of others.
pub(super) const LISTED_ALONE: &str = "The ledger lists the positions of the removed blocks of this person together, without those \
                            of others: which events they belonged to can be seen for ever.";

/// The people erased are those of a frozen log.
pub(super) const FROZEN: &str = "The people were those of a frozen log (`covers`), which takes no event that could authorise a removal: \
                      its sealed blocks stay in the files of the ledger's store, without their keys, for as long as it is kept.";

/// How the destruction was checked, and with which keys.
pub(super) const CHECK: &str = "It was tried to open the newest sealed blocks of each person: past the fence, which refuses their keys to everybody, \
                     and past all caches, the rows of their keys were looked for in the key store's database, and what was found was \
                     to be unwrapped under the epoch in use. The database was also searched for other rows of their keys and for \
                     the row that leads to the identity. Epoch keys that are kept for backups open backups alone, and were not tried.";

/// What stays in clear.
pub(super) const CLEAR: &str = "Types, times, stream names, tags, actors and the payloads of events (data) stay in clear and were not read for this \
                     certificate. What officers reported of personal data there is told here; what nobody reported is not known.";

/// The limits that every certificate has, and that of the identifiers that were given.
pub(super) fn limits(identifiers: u64) -> Vec<Box<str>> {
    let given = format!(
        "Identifiers given: {identifiers}. Whether the people whom they name are known to this ledger by other identifiers, too, \
         was not examined."
    );
    LIMITS.into_iter().map(Into::into).chain([given.into()]).collect()
}
