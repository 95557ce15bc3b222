//! The period of a report: half-open on recorded time.

use jiff::ToSpan;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::super::Error;
use super::super::access::internal;
use crate::spec::compliance::Period;
use crate::spec::ids::Timestamp;

/// The bounds as they were given: RFC 3339 times or dates (UTC), both or neither.
#[derive(Debug, Clone, Default)]
pub struct PeriodRequest {
    /// The first moment in it.
    pub from: Option<String>,
    /// The first moment after it.
    pub to: Option<String>,
}

impl PeriodRequest {
    /// The period; without bounds the last full calendar month (UTC) before `now`.
    ///
    /// # Errors
    /// `invalid_field`: only one bound, a bound that is no time, or an end before the beginning.
    pub(super) fn resolve(&self, now: Timestamp) -> Result<Period, Error> {
        let (from, to) = match (&self.from, &self.to) {
            (None, None) => last_month(now)?,
            (Some(from), Some(to)) => (time("from", from)?, time("to", to)?),
            (Some(_), None) => {
                return Err(Error::field(
                    "to",
                    "is missing: give both `from` and `to`, or neither for the last full month",
                ));
            }
            (None, Some(_)) => {
                return Err(Error::field(
                    "from",
                    "is missing: give both `from` and `to`, or neither for the last full month",
                ));
            }
        };
        if to < from {
            return Err(Error::field(
                "to",
                format!("the period ends before it starts: `to` must not lie before {from}"),
            ));
        }
        Ok(Period {
            from,
            to,
            ended: to <= now,
        })
    }
}

fn time(name: &str, text: &str) -> Result<Timestamp, Error> {
    let rule =
        "must be an RFC 3339 time such as 2026-10-01T00:00:00Z, or a date (UTC) such as 2026-10-01, from 1970 on";
    let refused = || Error::field(name, rule);
    match text.parse::<Date>() {
        // A time parses as a date too, its clock dropped.
        Ok(date) if text.len() == 10 => midnight(date).map_err(|_| refused()),
        _ => text.parse().map_err(|_| refused()),
    }
}

fn midnight(date: Date) -> Result<Timestamp, Error> {
    let moment = date.to_zoned(TimeZone::UTC).map_err(internal)?.timestamp();
    u64::try_from(moment.as_microsecond()).map(Timestamp).map_err(internal)
}

fn last_month(now: Timestamp) -> Result<(Timestamp, Timestamp), Error> {
    let micros = i64::try_from(now.0).map_err(internal)?;
    let today = jiff::Timestamp::from_microsecond(micros)
        .map_err(internal)?
        .to_zoned(TimeZone::UTC)
        .date();
    let this = today.first_of_month();
    let last = this.checked_sub(1.month()).map_err(internal)?;
    Ok((midnight(last)?, midnight(this)?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn resolve(from: Option<&str>, to: Option<&str>) -> Result<(String, String, bool), String> {
        let request = PeriodRequest {
            from: from.map(Into::into),
            to: to.map(Into::into),
        };
        let period = request.resolve("2026-03-15T12:00:00Z".parse().unwrap());
        let period = period.map_err(|error| {
            error
                .errors
                .first()
                .map(|field| format!("{}: {}", field.pointer, field.detail))
                .unwrap_or_default()
        })?;
        Ok((period.from.to_string(), period.to.to_string(), period.ended))
    }

    #[test]
    fn without_bounds_it_is_the_last_full_month() {
        let (from, to, ended) = resolve(None, None).unwrap();
        assert_eq!(
            (from.as_str(), to.as_str(), ended),
            ("2026-02-01T00:00:00.000000Z", "2026-03-01T00:00:00.000000Z", true)
        );
    }

    #[test]
    fn bounds_are_times_or_dates_and_an_empty_period_is_one() {
        let (from, to, ended) = resolve(Some("2026-03-01"), Some("2026-04-01T00:00:00+02:00")).unwrap();
        assert_eq!(
            (from.as_str(), to.as_str(), ended),
            ("2026-03-01T00:00:00.000000Z", "2026-03-31T22:00:00.000000Z", false)
        );
        assert!(resolve(Some("2026-03-01"), Some("2026-03-01")).is_ok());
    }

    #[test]
    fn a_wrong_bound_is_named_with_its_mend() {
        for (from, to, words) in [
            (
                Some("2026-03-02"),
                Some("2026-03-01"),
                "to: the period ends before it starts",
            ),
            (Some("2026-03-02"), None, "to: is missing"),
            (None, Some("2026-03-02"), "from: is missing"),
            (Some("yesterday"), Some("2026-03-02"), "from: must be"),
            (Some("2026-03-02"), Some("2026-02-30"), "to: must be"),
            (Some("1969-01-01"), Some("2026-02-03"), "from: must be"),
            (Some(""), Some("2026-02-03"), "from: must be"),
        ] {
            let refused = resolve(from, to).unwrap_err();
            assert!(refused.starts_with(words), "{refused}");
        }
    }
}
