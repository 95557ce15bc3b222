//! As of: the ledger and the state of streams at past moments.

use std::str::FromStr;

use actix_web::http::header::ContentType;
use actix_web::web::{Path, Query};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;

use super::auth::{On, Reader};
use super::events::{json, reveal, stream_name};
use super::problem::Problem;
use crate::service::as_of::Moment;
use crate::service::{Code, Error, FieldError};
use crate::spec::ids::{InvalidId, Timestamp};

/// A parameter that a moment can stand in: its name and its text.
type Given<'a> = (&'static str, Option<&'a str>);

/// A moment's time. The last hours of the year 9999 (a usual word for "never") are beyond what [`Timestamp`] parses, and in
/// the future all the same.
struct Time(Timestamp);

impl FromStr for Time {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let late = ["9999-12-30", "9999-12-31"]
            .iter()
            .find_map(|day| text.strip_prefix(day));
        let is_late = |rest: &str| format!("9999-12-29{rest}").parse::<Timestamp>().is_ok();
        match text.parse() {
            Err(_) if late.is_some_and(is_late) => Ok(Self(Timestamp::MAX)),
            parsed => parsed.map(Self),
        }
    }
}

/// The moment that at most one of three parameters names.
fn moment(time: Given<'_>, index: Given<'_>, version: Given<'_>) -> Result<Option<Moment>, Problem> {
    let given: Vec<_> = [time, index, version]
        .into_iter()
        .filter(|(_, text)| text.is_some())
        .collect();
    if given.len() > 1 {
        let names: Vec<_> = given.iter().map(|(name, _)| *name).collect();
        let detail = format!("only one of {} can be given", names.join(", "));
        let error = |name: &&str| FieldError {
            pointer: (*name).into(),
            detail: detail.clone(),
        };
        return Err(Problem(Error::fields(
            Code::InvalidField,
            names.iter().map(error).collect(),
        )));
    }
    let time = parsed::<Time>(
        time,
        "must be an RFC 3339 time since 1970, such as 2026-01-31T12:00:00Z (in a URL + is %2B)",
    )?;
    let index = parsed(index, "must be a whole number from 0 to 18446744073709551615")?;
    let version = parsed(version, "must be a whole number from 0 to 18446744073709551615")?;
    Ok(time
        .map(|Time(time)| Moment::Time(time))
        .or(index.map(Moment::Index))
        .or(version.map(Moment::Version)))
}

fn parsed<T: FromStr>((name, text): Given<'_>, rule: &str) -> Result<Option<T>, Problem> {
    let parse = |text: &str| text.parse().map_err(|_| Problem(Error::field(name, rule)));
    text.map(parse).transpose()
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct LedgerQuery {
    /// Up to and at this time.
    #[param(value_type = Option<crate::spec::ids::Timestamp>)]
    time: Option<String>,
    /// Up to and with this index; not beside `time`.
    #[param(value_type = Option<u64>)]
    index: Option<String>,
    /// Whether `streams` and `types` are counted; true by default.
    counts: Option<bool>,
}

pub(super) async fn ledger(on: On<Reader>, query: Query<LedgerQuery>) -> Result<HttpResponse, Problem> {
    let at = moment(
        ("time", query.time.as_deref()),
        ("index", query.index.as_deref()),
        ("version", None),
    )?;
    let counts = query.counts.unwrap_or(true);
    let answer = on
        .blocking(move |service, ledger| service.ledger_as_of(ledger, at.unwrap_or(Moment::Now), counts))
        .await?;
    Ok(HttpResponse::Ok().json(answer))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct StateQuery {
    /// Up to and at this time; at most one of the three.
    #[param(value_type = Option<crate::spec::ids::Timestamp>)]
    as_of_time: Option<String>,
    /// Up to and with this index.
    #[param(value_type = Option<u64>)]
    as_of_index: Option<String>,
    /// Up to and with this version of the stream.
    #[param(value_type = Option<u64>)]
    as_of_version: Option<String>,
    /// Whether personal data is opened; needs the role `revealer` too, and is recorded.
    reveal: Option<bool>,
}

pub(super) async fn state(
    on: On<Reader>,
    query: Query<StateQuery>,
    path: Path<(String, String)>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let stream = stream_name(&path.1)?;
    on.service.refuse_personal("stream", stream.as_str())?;
    let reveal = reveal(&on, &request, query.reveal)?;
    let at = moment(
        ("as_of_time", query.as_of_time.as_deref()),
        ("as_of_index", query.as_of_index.as_deref()),
        ("as_of_version", query.as_of_version.as_deref()),
    )?;
    let at = at.unwrap_or(Moment::Now);
    let mut state = on
        .blocking(move |service, ledger| service.stream_state(ledger, &stream, at, reveal))
        .await?;
    on.service.record_opened(&on.ledger, &on.caller, &state.opened).await?;
    let answer = on.blocking(move |service, ledger| {
        ledger.unfenced(|| {
            service.withdraw_fenced_state(ledger, &mut state.personal)?;
            json(&state)
        })
    });
    Ok(HttpResponse::Ok().content_type(ContentType::json()).body(answer.await?))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct DiffQuery {
    /// The earlier moment, a time; at most one of the three, by default before the first event.
    #[param(value_type = Option<crate::spec::ids::Timestamp>)]
    from_time: Option<String>,
    /// The earlier moment, an index.
    #[param(value_type = Option<u64>)]
    from_index: Option<String>,
    /// The earlier moment, a version of the stream.
    #[param(value_type = Option<u64>)]
    from_version: Option<String>,
    /// The later moment, a time; at most one of the three, by default now.
    #[param(value_type = Option<crate::spec::ids::Timestamp>)]
    to_time: Option<String>,
    /// The later moment, an index.
    #[param(value_type = Option<u64>)]
    to_index: Option<String>,
    /// The later moment, a version of the stream.
    #[param(value_type = Option<u64>)]
    to_version: Option<String>,
    /// Whether personal data is opened; needs the role `revealer` too, and is recorded.
    reveal: Option<bool>,
}

pub(super) async fn diff(
    on: On<Reader>,
    query: Query<DiffQuery>,
    path: Path<(String, String)>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let stream = stream_name(&path.1)?;
    on.service.refuse_personal("stream", stream.as_str())?;
    let reveal = reveal(&on, &request, query.reveal)?;
    let from = moment(
        ("from_time", query.from_time.as_deref()),
        ("from_index", query.from_index.as_deref()),
        ("from_version", query.from_version.as_deref()),
    )?;
    let to = moment(
        ("to_time", query.to_time.as_deref()),
        ("to_index", query.to_index.as_deref()),
        ("to_version", query.to_version.as_deref()),
    )?;
    let moments = (from.unwrap_or(Moment::Version(0)), to.unwrap_or(Moment::Now));
    let mut states = on
        .blocking(move |service, ledger| service.stream_states(ledger, &stream, moments, reveal))
        .await?;
    on.service.record_opened(&on.ledger, &on.caller, &states.opened).await?;
    let answer = on.blocking(move |service, ledger| {
        ledger.unfenced(|| {
            service.withdraw_fenced_state(ledger, states.personal_mut())?;
            json(&states.difference()?)
        })
    });
    Ok(HttpResponse::Ok().content_type(ContentType::json()).body(answer.await?))
}
