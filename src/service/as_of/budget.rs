//! What a fold may hold in memory, estimated from above.

use serde_json::Value;

use super::super::{Code, Error};

/// Bytes of a folded state; while folding it may be twice as much.
pub(super) const MAX_STATE: u64 = 32 << 20;
/// Bytes of the paths that a patch could be made of.
const MAX_PATHS: u64 = 64 << 20;
/// A value itself.
const VALUE: u64 = 32;
/// A member beside its name and value: its part of a map's nodes, the first one more.
const MEMBER: u64 = 128;
const FIRST_MEMBER: u64 = 640;

/// Bytes that a value takes.
pub(super) fn weight(value: &Value) -> u64 {
    let inner = match value {
        Value::String(text) => text.len() as u64,
        Value::Array(items) => items.iter().map(weight).fold(0, u64::saturating_add),
        Value::Object(members) if members.is_empty() => 0,
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| MEMBER + name.len() as u64 + weight(value))
            .fold(FIRST_MEMBER, u64::saturating_add),
        _ => 0,
    };
    VALUE.saturating_add(inner)
}

/// Refuses a difference whose paths would not fit: each operation of a patch names its whole path.
pub(super) fn check_paths(before: &Value, after: &Value) -> Result<(), Error> {
    if paths(before, 0).saturating_add(paths(after, 0)) <= MAX_PATHS {
        return Ok(());
    }
    let detail = format!("the paths of the difference would take more than {MAX_PATHS} bytes; ask for the two states");
    Err(Error::new(Code::TooLarge, detail))
}

fn paths(value: &Value, prefix: u64) -> u64 {
    let below = match value {
        Value::Array(items) => items
            .iter()
            .map(|item| paths(item, prefix.saturating_add(8)))
            .fold(0, u64::saturating_add),
        Value::Object(members) => members
            .iter()
            .map(|(name, item)| paths(item, prefix.saturating_add(name.len() as u64 + 1)))
            .fold(0, u64::saturating_add),
        _ => 0,
    };
    prefix.saturating_add(below)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn many_members_under_a_long_name_make_no_patch() {
        let members: serde_json::Map<_, _> = (0..1_000).map(|at| (at.to_string(), json!(1))).collect();
        let state = |name: usize| json!({ "n".repeat(name): members });
        assert!(check_paths(&Value::Null, &state(10)).is_ok());
        assert!(check_paths(&Value::Null, &state(100_000)).is_err());
        assert!(weight(&state(10)) > 1_000 * MEMBER);
    }
}
