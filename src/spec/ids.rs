//! Identifiers and names (docs/spec/01-conventions.md).
//!
//! Each is a newtype that can only be made from a valid value, so the rest of the code never checks twice. Random
//! references are 16 bytes and written as lower-case hex; names have closed character sets. A subject id is the only
//! identifier that names a person: it is zeroized on drop, never printed, and lives in request bodies and the key
//! store alone.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroize;

/// Why a value is not a valid identifier; the text names the rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidId(pub &'static str);

macro_rules! reference {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 16]);

        impl $name {
            /// The 16 bytes.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl TryFrom<&[u8]> for $name {
            type Error = InvalidId;
            fn try_from(bytes: &[u8]) -> Result<Self, InvalidId> {
                bytes.try_into().map(Self).map_err(|_| InvalidId("must be 16 bytes"))
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                const RULE: InvalidId = InvalidId("must be 32 lower-case hex digits");
                if text.bytes().any(|b| b.is_ascii_uppercase()) {
                    return Err(RULE);
                }
                let mut bytes = [0; 16];
                hex::decode_to_slice(text, &mut bytes).map_err(|_| RULE)?;
                Ok(Self(bytes))
            }
        }

        text_serde!($name);
    };
}

macro_rules! text_serde {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $rule:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Box<str>);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) { Ok(Self(text.into())) } else { Err(InvalidId($rule)) }
            }
        }

        text_serde!($name);
    };
}

reference!(
    /// A data subject within one ledger: random, found only in bodies and indexes, leads to nobody after an erasure.
    Handle
);
reference!(
    /// An event's own random reference. It blinds the header's leaf hash and binds sealed blocks to their event.
    EventRef
);
reference!(
    /// A stream's random reference, minted with its first event. It links the events of a stream in the headers.
    StreamRef
);
reference!(
    /// A ledger within a store and its key store: random, minted once, independent of name and origin.
    LedgerId
);

name!(
    /// A ledger's name in paths.
    LedgerName,
    "must match [a-z0-9][a-z0-9-]{0,62}",
    |t| matches!(t.len(), 1..=63)
        && !t.starts_with('-')
        && t.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
);
name!(
    /// The ledger's global name: a schema-less URL, also the checkpoint key's name (C2SP tlog-checkpoint).
    Origin,
    "must be 1 to 200 printable ASCII characters without space, '+' or '://', such as audit.example.com/main",
    |t| matches!(t.len(), 1..=200) && t.bytes().all(|b| b.is_ascii_graphic() && b != b'+') && !t.contains("://")
);
name!(
    /// What happened: a vocabulary word, never a person.
    EventType,
    "must match [A-Za-z0-9._:/-]{1,128}",
    |t| matches!(t.len(), 1..=128) && t.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:/-".contains(&b))
);
name!(
    /// A purpose under which a subject's data is sealed, and can be erased apart from the others.
    Category,
    "must match [a-z0-9][a-z0-9._-]{0,63}",
    |t| matches!(t.len(), 1..=64)
        && t.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
        && t.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
);
name!(
    /// A stream's name as the caller chose it; `$...` is Oubliette's own.
    StreamName,
    "must be 1 to 256 bytes without control characters",
    |t| matches!(t.len(), 1..=256) && !t.chars().any(char::is_control)
);

impl StreamName {
    /// Whether the stream is Oubliette's own.
    pub fn is_system(&self) -> bool {
        self.0.starts_with('$')
    }
}

impl Category {
    /// The category of personal data for which the caller named none.
    pub const DEFAULT: &'static str = "default";
}

impl Default for Category {
    fn default() -> Self {
        Self(Self::DEFAULT.into())
    }
}

/// The caller's name for a person: 1 to 256 bytes of UTF-8. Zeroized on drop; prints as `SubjectId(..)`.
#[derive(Clone, PartialEq, Eq, Hash, Zeroize, zeroize::ZeroizeOnDrop)]
pub struct SubjectId(String);

impl SubjectId {
    /// The id in clear: for the key store's tags and sealed identity rows only.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl FromStr for SubjectId {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        match text.len() {
            1..=256 => Ok(Self(text.to_owned())),
            _ => Err(InvalidId("must be 1 to 256 bytes")),
        }
    }
}

impl fmt::Debug for SubjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SubjectId(..)")
    }
}

impl<'de> Deserialize<'de> for SubjectId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = zeroize::Zeroizing::new(String::deserialize(deserializer)?);
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Microseconds since 1970-01-01T00:00:00Z, leap seconds ignored; written as RFC 3339 with six digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The last moment that can be written: 9999-12-30T21:59:59.999999Z, in every time zone still a time of the year 9999
    /// (and the last one that the `jiff` library knows).
    pub const MAX: Self = Self(253_402_207_199_999_999);
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = i64::try_from(self.0).unwrap_or(i64::MAX);
        match jiff::Timestamp::from_microsecond(micros) {
            Ok(time) => write!(f, "{time:.6}"),
            Err(_) => write!(f, "{}us", self.0),
        }
    }
}

impl FromStr for Timestamp {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        const RULE: InvalidId = InvalidId("must be an RFC 3339 time since 1970, such as 2026-01-31T12:00:00Z");
        let time: jiff::Timestamp = text.parse().map_err(|_| RULE)?;
        let time = Self(time.as_microsecond().try_into().map_err(|_| RULE)?);
        if time > Self::MAX { Err(RULE) } else { Ok(time) }
    }
}

text_serde!(Timestamp);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_with_six_digits_and_read_back() {
        let time: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        assert_eq!(time.to_string(), "2026-01-31T12:00:00.000000Z");
        assert_eq!(time.to_string().parse::<Timestamp>().unwrap(), time);
        assert!("1969-12-31T23:59:59Z".parse::<Timestamp>().is_err());
        assert!("yesterday".parse::<Timestamp>().is_err());
    }

    #[test]
    fn the_last_moment_is_written_and_read_back() {
        assert_eq!(Timestamp::MAX.to_string(), "9999-12-30T21:59:59.999999Z");
        assert_eq!(Timestamp::MAX.to_string().parse::<Timestamp>().unwrap(), Timestamp::MAX);
        assert!("9999-12-31T00:00:00Z".parse::<Timestamp>().is_err());
        assert!("9999-12-30T22:00:00Z".parse::<Timestamp>().is_err());
    }

    #[test]
    fn a_subject_id_does_not_print_itself() {
        let id: SubjectId = "ada@example.com".parse().unwrap();
        assert_eq!(format!("{id:?}"), "SubjectId(..)");
    }

    #[test]
    fn names_outside_their_character_set_are_refused() {
        assert!("Main".parse::<LedgerName>().is_err());
        assert!("-main".parse::<LedgerName>().is_err());
        assert!("order placed".parse::<EventType>().is_err());
        assert!("a\u{7}".parse::<StreamName>().is_err());
        assert!("https://x".parse::<Origin>().is_err());
        assert!("Default".parse::<Category>().is_err());
        assert!("ABCDEF00112233445566778899aabbcc".parse::<Handle>().is_err());
    }
}
