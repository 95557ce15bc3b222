//! Whom the erased data went to, as far as the ledger knows (GDPR Art. 19).
//!
//! Callers are API keys, by their ids; the requester adds words for groups of recipients. Nobody is named.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::spec::ids::{Category, Timestamp};

/// Who is to be notified of an erasure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipients {
    /// Groups of recipients that the requester named: words, never people.
    pub named: Vec<Category>,
    /// To which API keys the data was opened before access was fenced, by what and key.
    pub disclosed: Vec<Disclosure>,
    /// Such keys that are not listed.
    pub omitted: u64,
    /// Records of reveals and exports that are damaged: what they say is missing here.
    pub unreadable: u64,
    /// What that means, for people.
    pub text: Box<str>,
}

/// What one API key got.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disclosure {
    /// How.
    pub what: Disclosed,
    /// The key's id.
    pub key: Box<str>,
    /// Its roles, the last time.
    pub roles: Vec<Box<str>>,
    /// How often.
    pub times: u64,
    /// The first time.
    pub first_at: Timestamp,
    /// The last time.
    pub last_at: Timestamp,
}

/// How data left in clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Disclosed {
    /// A read, a state or an answer to a person opened data of these people.
    Revealed,
    /// An export with personal data opened left: whose data was in it is not recorded.
    Exported,
}

impl fmt::Display for Disclosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Revealed => "revealed",
            Self::Exported => "exported",
        })
    }
}
