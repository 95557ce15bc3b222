//! Acts that the ledger records of itself: keys, reveals, exports.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::By;
use crate::spec::hash::Hash;
use crate::spec::ids::Timestamp;

/// Signing keys and API keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema), schema(as = ReportKeys))]
pub struct Keys {
    /// The ledger's signing keys, each with the range of indexes in which it signs.
    pub signing: Vec<SigningKeyLine>,
    /// Live API keys for this ledger when the report was made, by role (a key may have several).
    pub live_by_role: Vec<RoleCount>,
    /// Whether acts on API keys are recorded in this ledger: only in the first one of a store.
    pub recorded_here: bool,
    /// API keys created in the period, by role.
    pub created_by_role: Vec<RoleCount>,
    /// API keys revoked in the period, by role.
    pub revoked_by_role: Vec<RoleCount>,
    /// The acts, in order.
    pub acts: Vec<KeyAct>,
    /// Not listed.
    pub omitted: u64,
}

/// A signing key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct SigningKeyLine {
    /// What it signs.
    pub role: crate::spec::keys::Role,
    /// Its id.
    pub key_id: Hash,
    /// First index in its range.
    pub from: u64,
    /// First index after its range; absent: still in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<u64>,
}

/// API keys with a role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct RoleCount {
    /// The role.
    pub role: Box<str>,
    /// How many.
    pub count: u64,
}

/// An API key was made or revoked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct KeyAct {
    /// When.
    pub at: Timestamp,
    /// The event.
    pub index: u64,
    /// `created` or `revoked`.
    pub act: Box<str>,
    /// The key's id.
    pub key: Box<str>,
    /// Its roles, as far as the ledger says.
    pub roles: Vec<Box<str>>,
    /// The key that acted, or `init`.
    pub by: Box<str>,
}

/// Personal data that was opened by reads. Opened exports stand among the exports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema), schema(as = ReportReveals))]
pub struct Reveals {
    /// Requests that opened something.
    pub requests: u64,
    /// Blocks that they opened.
    pub blocks: u64,
    /// In order.
    pub list: Vec<Reveal>,
    /// Not listed.
    pub omitted: u64,
}

/// A request that opened personal data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema), schema(as = ReportReveal))]
pub struct Reveal {
    /// When.
    pub at: Timestamp,
    /// The event that records it.
    pub index: u64,
    /// Who.
    pub by: By,
    /// Events with opened blocks.
    pub events: u64,
    /// Opened blocks.
    pub blocks: u64,
    /// People whom they are about.
    pub people: u64,
}

/// Exports and their downloads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema), schema(as = ReportExports))]
pub struct Exports {
    /// Asked for.
    pub created: u64,
    /// Times that a content left as a whole.
    pub downloaded: u64,
    /// Times that a part of a content left.
    pub parts: u64,
    /// Exports whose content left, as a whole or in part.
    pub left: u64,
    /// Of the downloads, those with personal data opened.
    pub opened: u64,
    /// In order.
    pub list: Vec<ExportAct>,
    /// Not listed.
    pub omitted: u64,
}

/// An export was asked for, or its content left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct ExportAct {
    /// When.
    pub at: Timestamp,
    /// The event that records it.
    pub index: u64,
    /// `created`, `downloaded` or `part`.
    pub act: Box<str>,
    /// Which export.
    pub export: Uuid,
    /// Who.
    pub by: By,
    /// Whether personal data was opened.
    pub opened: bool,
    /// What was asked for; absent for a download.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub what: Option<Box<str>>,
}
