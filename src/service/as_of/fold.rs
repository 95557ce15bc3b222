//! The fold, pure: public data by JSON merge patch (RFC 7396), personal data beside it by handle and category.
//!
//! `state(0) = null`, `state(v) = merge(state(v - 1), data(v))`. An event without `data` changes nothing. Personal data
//! folds in the same way, within its handle and category. What cannot be folded is listed, never left out in silence.
//! Numbers are read as 64-bit integers or doubles, and of members with the same name the last one counts.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use super::super::read::PersonalState;
use crate::spec::ids::{Category, Handle};

/// The personal part of a state.
pub type Personal = BTreeMap<Handle, BTreeMap<Category, Field>>;

/// A stream folded up to a version.
#[derive(Debug, Clone, Default)]
pub(super) struct Folded {
    /// The version.
    pub(super) version: u64,
    /// The public data.
    pub(super) public: Value,
    /// The personal data.
    pub(super) personal: Personal,
    /// Bodies that could not be folded.
    pub(super) not_folded: Vec<NotFolded>,
}

/// What is known of one person in one category.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[schema(as = PersonalField)]
pub struct Field {
    /// The state of the last block.
    pub state: PersonalState,
    /// The folded data, where `state` is `clear`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
    /// Where the certificate of its erasure is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// How many blocks the field is made of.
    pub blocks: usize,
    /// Blocks whose state is another than the field's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_folded: Vec<OtherBlock>,
    /// Every block: stream version, generation of its key, state.
    #[serde(skip)]
    pub(super) seen: Vec<(u64, u32, PersonalState)>,
}

/// A block that shares a field with blocks in another state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct OtherBlock {
    /// Of its event.
    pub stream_version: u64,
    /// Its state.
    pub state: PersonalState,
}

/// A body that is not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct NotFolded {
    /// Version of its event in the stream.
    pub stream_version: u64,
    /// Index of its event.
    pub index: u64,
    /// Position in the event's list of bodies.
    pub ordinal: u16,
    /// `data` or `personal`.
    #[schema(pattern = "^(data|personal)$")]
    pub body: &'static str,
    /// Why.
    pub state: &'static str,
}

/// A sealed block, opened or not.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) handle: Handle,
    pub(super) category: Category,
    pub(super) generation: u32,
    pub(super) state: PersonalState,
    pub(super) data: Option<Value>,
    pub(super) certificate: Option<String>,
}

impl Folded {
    /// Folds an event's public data.
    pub(super) fn merge(&mut self, data: &Value) {
        json_patch::merge(&mut self.public, data);
    }

    /// Folds a block of the event with this stream version.
    pub(super) fn block(&mut self, stream_version: u64, block: Block) {
        let fields = self.personal.entry(block.handle).or_default();
        let field = fields.entry(block.category).or_insert_with(|| Field {
            state: block.state,
            data: None,
            certificate: None,
            blocks: 0,
            not_folded: Vec::new(),
            seen: Vec::new(),
        });
        field.state = block.state;
        field.blocks += 1;
        field.seen.push((stream_version, block.generation, block.state));
        field.certificate = block.certificate;
        if let Some(data) = block.data {
            json_patch::merge(field.data.get_or_insert(Value::Null), &data);
        }
    }

    /// Makes the fields ready to be shown: data only where it is clear, and every block that is in another state.
    pub(super) fn settle(&mut self) {
        self.personal
            .values_mut()
            .flat_map(BTreeMap::values_mut)
            .for_each(Field::settle);
    }
}

impl Field {
    fn settle(&mut self) {
        if self.state != PersonalState::Clear {
            self.data = None;
        }
        let others = self.seen.iter().filter(|(_, _, state)| *state != self.state);
        let other = |(stream_version, _, state): &(u64, u32, PersonalState)| OtherBlock {
            stream_version: *stream_version,
            state: *state,
        };
        self.not_folded = others.map(other).collect();
    }

    /// Takes the data back: its key refuses now.
    pub(super) fn withdraw(&mut self, state: PersonalState, certificate: Option<String>) {
        (self.state, self.certificate, self.data) = (state, certificate, None);
        self.not_folded.clear();
    }

    /// The generations of the keys that opened its data.
    pub(super) fn generations(&self) -> BTreeSet<u32> {
        let opened = self.seen.iter().filter(|(_, _, state)| *state == PersonalState::Clear);
        opened.map(|(_, generation, _)| *generation).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use serde_json::json;

    use super::*;

    fn block(state: PersonalState, generation: u32, data: Option<Value>) -> Block {
        Block {
            handle: "00112233445566778899aabbccddeeff".parse().unwrap(),
            category: Category::default(),
            generation,
            state,
            data,
            certificate: None,
        }
    }

    fn only(folded: &Folded) -> &Field {
        folded.personal.values().next().unwrap().values().next().unwrap()
    }

    /// RFC 7396, appendix A, and what a ledger adds to it: a first value of any kind, replaced as a whole by no object.
    #[test]
    fn public_data_is_merged_as_rfc_7396_says() {
        let cases = [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (
                json!({"a": {"b": "c"}}),
                json!({"a": {"b": "d", "c": null}}),
                json!({"a": {"b": "d"}}),
            ),
            (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
            (json!({"a": "b"}), json!(["c"]), json!(["c"])),
            (json!({"e": null}), json!({"a": 1}), json!({"a": 1})),
            (json!([1, 2]), json!({"a": "b", "c": null}), json!({"a": "b"})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
            (json!({"a": "foo"}), Value::Null, Value::Null),
        ];
        for (first, second, merged) in cases {
            let mut folded = Folded::default();
            assert_eq!(folded.public, Value::Null);
            folded.merge(&first);
            folded.merge(&second);
            assert_eq!(folded.public, merged, "{first} then {second}");
        }
    }

    #[test]
    fn a_field_is_as_clear_as_its_last_block_and_names_the_others() {
        let mut folded = Folded::default();
        folded.block(1, block(PersonalState::Erased, 1, None));
        folded.block(4, block(PersonalState::Clear, 2, Some(json!({"a": 1, "b": 1}))));
        folded.block(5, block(PersonalState::Clear, 2, Some(json!({"b": null}))));
        folded.settle();
        let field = only(&folded);
        assert_eq!(
            (field.state, &field.data, field.blocks),
            (PersonalState::Clear, &Some(json!({"a": 1})), 3)
        );
        let first = OtherBlock {
            stream_version: 1,
            state: PersonalState::Erased,
        };
        assert_eq!(field.not_folded, [first]);
        assert_eq!(field.generations(), BTreeSet::from([2]));

        folded.block(6, block(PersonalState::KeyUnavailable, 3, None));
        folded.settle();
        let field = only(&folded);
        assert_eq!((field.state, &field.data), (PersonalState::KeyUnavailable, &None));
        assert_eq!(
            field.not_folded.len(),
            3,
            "all that is known of the field is in another state"
        );
    }
}
