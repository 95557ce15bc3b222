//! Pages of lists that are read as a whole: jobs, erasures, ledgers, keys.

use serde::{Deserialize, Serialize};

use super::ledgers::LedgerView;
use super::problem::Problem;
use crate::service::Error;
use crate::service::access::ApiKey;
use crate::service::backup::BackupView;
use crate::service::erase::ErasureView;
use crate::service::export::ExportView;
use crate::service::hold::HoldView;
use crate::service::leak::LeakView;
use crate::service::redact::RedactionView;
use crate::service::restrict::RestrictionView;
use crate::service::retention::RetentionRunView;
use crate::service::verify::VerificationView;

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
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct PageQuery {
    /// `next` of the page before.
    cursor: Option<String>,
    /// The longest page; 100 by default.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

impl PageQuery {
    /// The items of the page, and the cursor of the next one.
    pub(super) fn page<'a, T>(
        &self,
        items: &'a [T],
        id: impl Fn(&T) -> String,
    ) -> Result<(&'a [T], Option<String>), Problem> {
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
        Ok((page, next))
    }
}

macro_rules! pages {
    ($($(#[$doc:meta])* $name:ident { $items:ident: $item:ty })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Serialize, utoipa::ToSchema)]
        pub(super) struct $name<'a> {
            $items: &'a [$item],
            /// Where the next page begins; null at the end.
            next: Option<String>,
        }

        impl<'a> From<(&'a [$item], Option<String>)> for $name<'a> {
            fn from(($items, next): (&'a [$item], Option<String>)) -> Self {
                Self { $items, next }
            }
        }
    )*};
}

pages! {
    /// A page of ledgers.
    LedgerPage { ledgers: LedgerView }
    /// A page of API keys.
    ApiKeyPage { api_keys: ApiKey }
    /// A page of backups.
    BackupPage { backups: BackupView }
    /// A page of erasures.
    ErasurePage { erasures: ErasureView }
    /// A page of legal holds.
    HoldPage { holds: HoldView }
    /// A page of restrictions.
    RestrictionPage { restrictions: RestrictionView }
    /// A page of retention runs.
    RetentionRunPage { runs: RetentionRunView }
    /// A page of leaks.
    LeakPage { leaks: LeakView }
    /// A page of redactions.
    RedactionPage { redactions: RedactionView }
    /// A page of verifications.
    VerificationPage { verifications: VerificationView }
    /// A page of exports.
    ExportPage { exports: ExportView }
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
        let (mut seen, mut cursor) = (Vec::<u32>::new(), None::<String>);
        loop {
            let page = query(cursor.as_deref(), 2).page(&items, u32::to_string).unwrap();
            seen.extend(page.0.iter().copied());
            match page.1 {
                Some(next) => cursor = Some(next),
                None => break,
            }
        }
        assert_eq!(seen, [0, 1, 2, 3, 4]);
        assert_eq!(
            query(Some("4"), 2).page(&items, u32::to_string).unwrap(),
            (&[][..], None)
        );
    }

    #[test]
    fn a_strange_cursor_and_a_limit_out_of_bounds_are_refused() {
        for query in [query(Some("9"), 2), query(None, 0), query(None, MAX_LIMIT + 1)] {
            assert!(query.page(&[1], u32::to_string).is_err());
        }
    }
}
