//! Append and read.

use actix_web::http::Method;
use actix_web::http::header::{ACCEPT, CONTENT_TYPE, IF_MATCH};
use actix_web::web::{Path, Query};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};

use super::auth::{On, Reader, Writer};
use super::body::Body;
use super::page::limit;
use super::problem::Problem;
use crate::service::append::{AppendCall, Proof};
use crate::service::cloudevents;
use crate::service::read::Direction;
use crate::service::read::{Filter, Page, Reveal};
use crate::service::request::ExpectedVersion;
use crate::service::request::{self, AppendRequest, BatchRequest, Expected};
use crate::service::{Code, Error, Role};
use crate::spec::ids::{EventType, Handle, StreamName, StreamRef, Timestamp};

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct AppendQuery {
    /// Which proofs the receipt carries.
    #[param(inline, required = false)]
    #[serde(default)]
    proof: Proof,
}

pub(super) async fn append(
    on: On<Writer>,
    query: Query<AppendQuery>,
    path: Path<(String, String)>,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let stream = stream_name(&path.1)?;
    let mut parsed: AppendRequest = request::parse(&body)?;
    if let Some(version) = if_match(&request)? {
        if parsed.expected_version.is_some() {
            return Err(Problem(Error::field(
                "/expected_version",
                "stands in If-Match too; send one of the two",
            )));
        }
        parsed.expected_version = Some(version);
    }
    respond(&on, AppendCall::to_stream(stream, parsed, query.proof), &request).await
}

pub(super) async fn append_batch(
    on: On<Writer>,
    query: Query<AppendQuery>,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    if request.headers().contains_key(IF_MATCH) {
        return Err(Problem(Error::field(
            "If-Match",
            "has no meaning for several streams; give each stream's first event an expected_version",
        )));
    }
    let call = match content_type(&request) {
        Some(cloudevents::STRUCTURED) => on.service.cloud_events(&body, false, query.proof)?,
        Some(cloudevents::BATCH) => on.service.cloud_events(&body, true, query.proof)?,
        media if request.headers().contains_key("ce-specversion") => {
            let attributes = super::cloudevents::attributes(request.headers())?;
            on.service.binary_cloud_event(attributes, media, &body, query.proof)?
        }
        _ => AppendCall::batch(request::parse::<BatchRequest>(&body)?, query.proof)?,
    };
    respond(&on, call, &request).await
}

fn content_type(request: &HttpRequest) -> Option<&str> {
    let value = request.headers().get(CONTENT_TYPE)?.to_str().ok()?;
    value.split(';').next().map(str::trim)
}

async fn respond(on: &On<Writer>, call: AppendCall, request: &HttpRequest) -> Result<HttpResponse, Problem> {
    let trace_parent = request
        .headers()
        .get("traceparent")
        .and_then(|value| value.to_str().ok());
    let answer = on
        .service
        .append(&on.ledger, call.with_trace_parent(trace_parent))
        .await?;
    let mut response = if answer.repeated {
        HttpResponse::Ok()
    } else {
        HttpResponse::Created()
    };
    // Receipts are long: a buffer that grows on the way would copy them several times.
    let mut body = Vec::with_capacity(answer.json_size());
    serde_json::to_writer(&mut body, &answer).map_err(unwritable)?;
    Ok(response.content_type("application/json").body(body))
}

/// `If-Match: "3"`.
fn if_match(request: &HttpRequest) -> Result<Option<Expected>, Problem> {
    let Some(value) = request.headers().get(IF_MATCH) else {
        return Ok(None);
    };
    let version = value
        .to_str()
        .ok()
        .and_then(|text| text.strip_prefix('"')?.strip_suffix('"')?.parse::<u64>().ok());
    let version =
        version.ok_or_else(|| Error::field("If-Match", "must be a stream version in quotes, such as \"3\""))?;
    Ok(Some(Expected(if version == 0 {
        ExpectedVersion::NoStream
    } else {
        ExpectedVersion::Exactly(version)
    })))
}

pub(super) fn stream_name(text: &str) -> Result<StreamName, Problem> {
    text.parse()
        .map_err(|error: crate::spec::ids::InvalidId| Problem(Error::field("stream", error.to_string())))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    /// Only this stream.
    stream: Option<StreamName>,
    /// Only the stream of this reference.
    stream_ref: Option<StreamRef>,
    /// Only this type.
    #[serde(rename = "type")]
    event_type: Option<EventType>,
    /// Only with this tag.
    #[param(value_type = Option<String>)]
    tag: Option<Box<str>>,
    /// Only about this person.
    handle: Option<Handle>,
    /// Only with this correlation id.
    #[param(value_type = Option<String>)]
    correlation_id: Option<Box<str>>,
    /// Recorded at or after.
    from: Option<Timestamp>,
    /// Recorded before.
    to: Option<Timestamp>,
    /// After this index.
    after: Option<u64>,
    /// `next` of the page before.
    cursor: Option<u64>,
    /// The longest page; 100 by default.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// The order.
    #[param(inline)]
    direction: Option<Direction>,
    /// Whether the ledger's own events are shown; true by default.
    system: Option<bool>,
    /// Whether personal data is opened; needs the role `revealer` too, and is recorded.
    reveal: Option<bool>,
}

impl ListQuery {
    /// What stands in the URL in clear, and so passes the PII guard.
    fn words(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let stream = self.stream.as_ref().map(|stream| ("stream", stream.as_str()));
        let tag = self.tag.as_deref().map(|tag| ("tag", tag));
        let correlation = self.correlation_id.as_deref().map(|id| ("correlation_id", id));
        [stream, tag, correlation].into_iter().flatten()
    }

    fn filter(self) -> Result<Filter, Problem> {
        if let (Some(from), Some(to)) = (self.from, self.to)
            && from > to
        {
            return Err(Problem(Error::field("from", "lies after `to`")));
        }
        Ok(Filter {
            stream: self.stream,
            stream_ref: self.stream_ref,
            event_type: self.event_type,
            tag: self.tag,
            handle: self.handle,
            correlation_id: self.correlation_id,
            from: self.from,
            to: self.to,
            after: self.cursor.or(self.after),
            system: self.system.unwrap_or(true),
            direction: self.direction.unwrap_or_default(),
        })
    }
}

pub(super) async fn list(
    on: On<Reader>,
    query: Query<ListQuery>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    page(on, query.into_inner(), &request).await
}

pub(super) async fn of_stream(
    on: On<Reader>,
    query: Query<ListQuery>,
    path: Path<(String, String)>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let query = ListQuery {
        stream: Some(stream_name(&path.1)?),
        ..query.into_inner()
    };
    page(on, query, &request).await
}

async fn page(on: On<Reader>, query: ListQuery, request: &HttpRequest) -> Result<HttpResponse, Problem> {
    for (name, text) in query.words() {
        on.service.refuse_personal(name, text)?;
    }
    let reveal = reveal(&on, request, query.reveal)?;
    let limit = limit(query.limit)?;
    let filter = query.filter()?;
    let accept = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok());
    let as_lines = accept.is_some_and(|accept| accept.contains("application/x-ndjson"));
    let page = on.blocking(move |service, ledger| service.page(ledger, &filter, limit, reveal));
    let mut page = page.await?;
    on.service.record_reveal(&on.ledger, &on.caller, &page.events).await?;
    let written = on.blocking(move |service, ledger| {
        let body = ledger.unfenced(|| {
            service.withdraw_fenced(ledger, &mut page.events)?;
            if as_lines { lines(&page) } else { json(&page) }
        });
        Ok((body?, page.next))
    });
    let (body, next) = written.await?;
    let mut response = HttpResponse::Ok();
    if !as_lines {
        return Ok(response.content_type("application/json").body(body));
    }
    if let Some(next) = &next {
        response.insert_header(("oubliette-next", next.as_str()));
    }
    Ok(response.content_type("application/x-ndjson").body(body))
}

fn lines(page: &Page) -> Result<Vec<u8>, Error> {
    let mut lines = Vec::new();
    for event in &page.events {
        serde_json::to_writer(&mut lines, event).map_err(unwritable)?;
        lines.push(b'\n');
    }
    Ok(lines)
}

/// An answer as bytes, to be made off the server's threads.
pub(super) fn json(value: &impl Serialize) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value).map_err(unwritable)
}

fn unwritable(error: serde_json::Error) -> Error {
    Error::new(Code::Internal, error.to_string())
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct OneQuery {
    /// Whether personal data is opened; needs the role `revealer` too, and is recorded.
    reveal: Option<bool>,
}

pub(super) async fn one(
    on: On<Reader>,
    query: Query<OneQuery>,
    path: Path<(String, String)>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let body = match reveal(&on, &request, query.reveal)? {
        // Read where it was asked: to hand over one event costs as much as to read it.
        Reveal::Sealed => json(&on.service.event(
            &on.ledger,
            on.service.index_of(&on.ledger, &path.1)?,
            Reveal::Sealed,
        )?)?,
        Reveal::Open => revealed(&on, path.into_inner().1).await?,
    };
    Ok(HttpResponse::Ok().content_type("application/json").body(body))
}

async fn revealed(on: &On<Reader>, name: String) -> Result<Vec<u8>, Problem> {
    let read =
        on.blocking(move |service, ledger| service.event(ledger, service.index_of(ledger, &name)?, Reveal::Open));
    let mut event = read.await?;
    on.service
        .record_reveal(&on.ledger, &on.caller, std::slice::from_ref(&event))
        .await?;
    on.blocking(move |service, ledger| {
        ledger.unfenced(|| {
            service.withdraw_fenced(ledger, std::slice::from_mut(&mut event))?;
            json(&event)
        })
    })
    .await
}

/// Whether personal data is to be opened. Not for HEAD: a reveal of which nothing leaves would be recorded.
pub(super) fn reveal(on: &On<Reader>, request: &HttpRequest, asked: Option<bool>) -> Result<Reveal, Problem> {
    if asked != Some(true) {
        return Ok(Reveal::Sealed);
    }
    on.also(Role::Revealer)?;
    if request.method() == Method::HEAD {
        let detail = "has no meaning for HEAD, whose answer carries no data; use GET";
        return Err(Problem(Error::field("reveal", detail)));
    }
    Ok(Reveal::Open)
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct StreamsQuery {
    /// `next` of the page before.
    cursor: Option<StreamName>,
    /// The longest page; 100 by default.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// Whether the ledger's own streams are shown; true by default.
    system: Option<bool>,
}

pub(super) async fn streams(on: On<Reader>, query: Query<StreamsQuery>) -> Result<HttpResponse, Problem> {
    let limit = limit(query.limit)?;
    let system = query.system.unwrap_or(true);
    let page = on.blocking(move |service, ledger| service.streams(ledger, query.cursor.as_ref(), limit, system));
    let page = page.await?;
    Ok(HttpResponse::Ok().json(page))
}
