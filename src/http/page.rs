//! Pages of lists that are read as a whole: jobs, erasures, ledgers, keys.

use serde::Deserialize;
use serde_json::{Value, json};

use super::problem::Problem;
use crate::service::Error;

/// The longest page.
pub(super) const MAX_LIMIT: usize = 1_000;
/// The page without a `limit`.
pub(super) const DEFAULT_LIMIT: usize = 100;

/// The `limit` of a page, 1 to [`MAX_LIMIT`].
pub(super) fn limit(asked: Option<usize>) -> Result<usize, Problem> {
    match asked.unwrap_or(DEFAULT_LIMIT) {
        limit @ 1..=MAX_LIMIT => Ok(limit),
        _ => Err(Problem(Error::field("limit", format!("must be 1 to {MAX_LIMIT}")))),
    }
}

/// `?limit=&cursor=`; the cursor is the id of the last item that was seen.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PageQuery {
    cursor: Option<String>,
    limit: Option<usize>,
}

impl PageQuery {
    /// `{"<name>": [...], "next": cursor or null}`.
    pub(super) fn page<T: serde::Serialize>(
        &self,
        name: &str,
        items: &[T],
        id: impl Fn(&T) -> String,
    ) -> Result<Value, Problem> {
        let limit = limit(self.limit)?;
        let start = match &self.cursor {
            None => 0,
            Some(cursor) => {
                let last = items.iter().position(|item| id(item) == *cursor);
                last.ok_or_else(|| Error::field("cursor", "is none that this list gave; begin without it"))? + 1
            }
        };
        let rest = items.get(start..).unwrap_or_default();
        let page = rest.get(..limit).unwrap_or(rest);
        let next = page.last().filter(|_| page.len() < rest.len()).map(&id);
        Ok(json!({name: page, "next": next}))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn query(cursor: Option<&str>, limit: usize) -> PageQuery {
        PageQuery {
            cursor: cursor.map(Into::into),
            limit: Some(limit),
        }
    }

    #[test]
    fn pages_follow_each_other_and_the_last_has_no_next() {
        let items: Vec<u32> = (0..5).collect();
        let (mut seen, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let page = query(cursor.as_deref(), 2).page("n", &items, u32::to_string).unwrap();
            seen.extend(page["n"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()));
            match page["next"].as_str() {
                Some(next) => cursor = Some(next.into()),
                None => break,
            }
        }
        assert_eq!(seen, [0, 1, 2, 3, 4]);
        assert_eq!(
            query(Some("4"), 2).page("n", &items, u32::to_string).unwrap()["n"],
            json!([])
        );
    }

    #[test]
    fn a_strange_cursor_and_a_limit_out_of_bounds_are_refused() {
        for query in [query(Some("9"), 2), query(None, 0), query(None, MAX_LIMIT + 1)] {
            assert!(query.page("n", &[1], u32::to_string).is_err());
        }
    }
}
