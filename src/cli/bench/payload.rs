//! Request bodies, serialised before the clock starts; while it runs only the ids in them change.

use hyper::body::Bytes;
use uuid::Uuid;

/// Data subjects that events are drawn from.
pub(super) const SUBJECTS: u64 = 1_000;
/// Streams that events go to.
pub(super) const STREAMS: u64 = 1_000;
/// Bytes of one personal block, as JSON.
const BLOCK: usize = 256;
/// Length of an id as text.
const ID: usize = 36;

/// The id of the `number`th event: unique, and in no order, as ids of the version 4 are.
pub(super) fn event_id(number: u64) -> Uuid {
    let (high, low) = (mix(number), mix(!number));
    uuid::Builder::from_u128(u128::from(high) << 64 | u128::from(low))
        .with_version(uuid::Version::Random)
        .into_uuid()
}

/// SplitMix64: a bijection that looks random. It spreads load and guards nothing.
pub(super) const fn mix(number: u64) -> u64 {
    let mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// A body with places for ids.
pub(super) struct Template {
    text: Vec<u8>,
    ids: Vec<usize>,
}

impl Template {
    /// `count` events of one sealed block each; `seed` draws the subjects.
    pub(super) fn new(count: u16, seed: u64) -> Self {
        Self::of((0..u64::from(count)).map(|at| mix(seed.wrapping_mul(1_000).wrapping_add(at))))
    }

    /// `count` events, one for each subject from `first` on.
    pub(super) fn warming(first: u64, count: u64) -> Self {
        Self::of(first..first + count)
    }

    fn of(draws: impl Iterator<Item = u64>) -> Self {
        let (mut text, mut ids) = (b"{\"events\":[".to_vec(), Vec::new());
        for draw in draws {
            if !ids.is_empty() {
                text.push(b',');
            }
            text.extend_from_slice(b"{\"id\":\"");
            ids.push(text.len());
            text.extend_from_slice(&[b'0'; ID]);
            let subject = draw % SUBJECTS;
            text.extend_from_slice(
                format!("\",\"type\":\"order.placed\",\"personal\":[{{\"subject\":\"customer-{subject}\",\"data\":")
                    .as_bytes(),
            );
            text.extend_from_slice(&block(draw));
            text.extend_from_slice(b"}]}");
        }
        text.extend_from_slice(b"]}");
        Self { text, ids }
    }

    /// The body with the ids from `first` on.
    pub(super) fn with_ids(&self, first: u64) -> Bytes {
        let mut text = self.text.clone();
        for (number, at) in (first..).zip(&self.ids) {
            if let Some(place) = text.get_mut(*at..*at + ID) {
                event_id(number).hyphenated().encode_lower(place);
            }
        }
        text.into()
    }
}

/// 256 bytes of JSON.
fn block(draw: u64) -> Vec<u8> {
    let mut text = format!("{{\"name\":\"Customer {draw:016x}\",\"address\":\"").into_bytes();
    text.resize(BLOCK - 2, b'x');
    text.extend_from_slice(b"\"}");
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_json_with_the_ids_asked_for_and_blocks_of_256_bytes() {
        let body = Template::new(3, 7).with_ids(40);
        let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
        for (at, event) in json["events"].as_array().unwrap().iter().enumerate() {
            assert_eq!(event["id"], event_id(40 + at as u64).to_string());
            assert_eq!(event["personal"][0]["data"].to_string().len(), 256);
        }
    }
}
