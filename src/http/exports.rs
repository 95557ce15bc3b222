//! Exports, streamed as they are made.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix_web::http::{Method, header};
use actix_web::web::{Bytes, Path, Query};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, ResponseError};
use tokio::sync::mpsc;

use super::auth::{Auditor, NoQuery, On};
use super::body::Body;
use super::page::{ExportPage, PageQuery};
use super::problem::Problem;
use super::range::{self, Window};
use crate::service::export::{ExportView, Format};
use crate::service::fencing::Stamp;
use crate::service::{Code, Error, Ledger, Role, Service, request};

/// Bytes that are gathered before they go out.
const PIECE: usize = 256 * 1024;
/// Pieces that may wait for a slow reader; the export waits with them.
const WAITING: usize = 4;
/// Downloads that may run at once.
const MAX_DOWNLOADS: usize = 8;

pub(super) async fn create(on: On<Auditor>, _: NoQuery, body: Body) -> Result<HttpResponse, Problem> {
    let view = on
        .service
        .create_export(&on.ledger, &on.caller, request::parse(&body)?)
        .await?;
    Ok(HttpResponse::Created().json(view))
}

pub(super) async fn list(on: On<Auditor>, query: Query<PageQuery>) -> Result<HttpResponse, Problem> {
    let views = on.blocking(|service, ledger| service.exports(ledger)).await?;
    Ok(HttpResponse::Ok().json(ExportPage::from(query.page(&views, |view| view.id.to_string())?)))
}

pub(super) async fn one(on: On<Auditor>, _: NoQuery, path: Path<(String, String)>) -> Result<HttpResponse, Problem> {
    Ok(HttpResponse::Ok().json(find(&on, &path.1).await?.0))
}

pub(super) async fn content(
    on: On<Auditor>,
    _: NoQuery,
    path: Path<(String, String)>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    // Before the tag: what moves in between shows in one of the two.
    let stamp = on.ledger.stamp();
    let (export, tag) = find(&on, &path.1).await?;
    if export.request.reveal {
        on.also(Role::Revealer)?;
    }
    if request.method() == Method::HEAD {
        // A stream without length, as the content is; `finish` would say that it has none.
        let nothing = futures_util::stream::empty::<io::Result<Bytes>>();
        return Ok(head(&on, &export, &tag, HttpResponse::Ok()).streaming(nothing));
    }
    let place = Place::take()?;
    let until = Until::new(&on.ledger, stamp, &export);
    let Some(range) = range::asked(&request, &tag) else {
        return whole(&on, export, Download::new(place, Window::WHOLE, until, tag)).await;
    };
    let (place, length) = match range::known_length(&tag) {
        Some(length) => (place, Some(length)),
        None => measure(&on, &export, &tag, place).await?,
    };
    let Some(length) = length else {
        // The content moved while it was measured: there is nothing to have a part of.
        let stamp = on.ledger.stamp();
        let (export, tag) = find(&on, &path.1).await?;
        let until = Until::new(&on.ledger, stamp, &export);
        return whole(&on, export, Download::new(place, Window::WHOLE, until, tag)).await;
    };
    let Some((first, last)) = range.to_satisfiable_range(length) else {
        return Ok(unsatisfiable(length));
    };
    on.service
        .record_download(&on.ledger, &on.caller, &export, Some((first, last)))
        .await?;
    let mut answer = head(&on, &export, &tag, HttpResponse::PartialContent());
    answer.insert_header((header::CONTENT_RANGE, format!("bytes {first}-{last}/{length}")));
    answer.no_chunking(last - first + 1);
    let until = Until { part: true, ..until };
    stream(
        &on,
        export,
        Download::new(place, Window::of((first, last)), until, tag),
        answer,
    )
}

async fn whole(on: &On<Auditor>, export: ExportView, download: Download) -> Result<HttpResponse, Problem> {
    on.service
        .record_download(&on.ledger, &on.caller, &export, None)
        .await?;
    let answer = head(on, &export, &download.tag, HttpResponse::Ok());
    stream(on, export, download, answer)
}

/// The headers of every answer with content.
fn head(on: &On<Auditor>, export: &ExportView, tag: &str, mut answer: HttpResponseBuilder) -> HttpResponseBuilder {
    let (content_type, ending) = match export.request.format {
        Format::Bundle => ("application/vnd.oubliette.bundle", "oubliette"),
        Format::Ndjson => ("application/x-ndjson", "ndjson"),
        Format::Csv => ("text/csv; charset=utf-8; header=present", "csv"),
    };
    let name = &on.ledger.record.name;
    let disposition = format!("attachment; filename=\"{name}-{}.{ending}\"", export.tree_size);
    answer
        .content_type(content_type)
        .insert_header((header::CONTENT_DISPOSITION, disposition))
        .insert_header((header::ETAG, tag))
        .insert_header((header::ACCEPT_RANGES, "bytes"));
    answer
}

fn unsatisfiable(length: u64) -> HttpResponse {
    let detail = format!("the content has {length} bytes; ask for a range within it");
    let mut answer = Problem(Error::new(Code::RangeNotSatisfiable, detail)).error_response();
    if let Ok(value) = format!("bytes */{length}").parse() {
        answer.headers_mut().insert(header::CONTENT_RANGE, value);
    }
    answer
}

/// Writes the content once to learn how long it is; `None` if it has another tag by then. Nothing leaves. The place goes with
/// the work: it runs on when the caller has gone.
async fn measure(
    on: &On<Auditor>,
    export: &ExportView,
    tag: &str,
    place: Place,
) -> Result<(Place, Option<u64>), Problem> {
    let (export, tag) = (export.clone(), tag.to_owned());
    let measured = on.blocking(move |service, ledger| {
        let mut count = Count(0);
        service.write_export(ledger, &export, &mut count)?;
        let same = tag_of(service, ledger, &export)? == tag;
        if same {
            range::remember_length(&tag, count.0);
        }
        Ok((place, same.then_some(count.0)))
    });
    measured.await
}

/// Counts what is written.
struct Count(u64);

impl Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Until when what was made may leave.
#[derive(Clone)]
struct Until {
    ledger: Arc<Ledger>,
    stamp: Stamp,
    opened: bool,
    part: bool,
}

impl Until {
    fn new(ledger: &Arc<Ledger>, stamp: Stamp, export: &ExportView) -> Self {
        Self {
            ledger: Arc::clone(ledger),
            stamp,
            opened: export.request.reveal,
            part: false,
        }
    }

    /// Opened data leaves until a key is taken away; a part, while the content is the one that it is a part of.
    fn check(&self) -> io::Result<()> {
        let now = self.ledger.stamp();
        let fenced = self.opened && now.steps != self.stamp.steps;
        if fenced || self.part && now != self.stamp {
            return Err(io::Error::other("keys were taken away meanwhile; ask again"));
        }
        Ok(())
    }
}

/// A download about to start.
struct Download {
    _place: Place,
    window: Window,
    until: Until,
    tag: String,
}

impl Download {
    fn new(place: Place, window: Window, until: Until, tag: String) -> Self {
        Self {
            _place: place,
            window,
            until,
            tag,
        }
    }
}

fn stream(
    on: &On<Auditor>,
    export: ExportView,
    download: Download,
    mut answer: HttpResponseBuilder,
) -> Result<HttpResponse, Problem> {
    let (sender, receiver) = mpsc::channel(WAITING);
    let (service, ledger) = (Arc::clone(&on.service), Arc::clone(&on.ledger));
    let until = download.until.clone();
    // The writer thread is on its own: the answer begins before the content is complete.
    let started = std::thread::Builder::new().name("export".into()).spawn(move || {
        let pieces_tag = download.tag.clone();
        let mut pieces = Pieces::new(sender, download);
        let written = service.write_export(&ledger, &export, &mut pieces);
        let same = || tag_of(&service, &ledger, &export).is_ok_and(|tag| tag == pieces_tag);
        match written.map_err(io::Error::other).and_then(|()| pieces.end(same)) {
            Ok(()) => {}
            Err(_) if pieces.whole => {}
            Err(error) => tracing::error!(error = %error, "an export could not be written to its end"),
        }
    });
    started.map_err(|error| Error::new(Code::Internal, error.to_string()))?;
    let stream = futures_util::stream::unfold((receiver, until), |(mut receiver, until)| async {
        let piece: io::Result<Bytes> = receiver.recv().await?;
        // It may have waited long for its reader.
        let piece = piece.and_then(|piece| until.check().map(|()| piece));
        Some((piece, (receiver, until)))
    });
    Ok(answer.streaming(stream))
}

/// An export and the tag that its content has now.
async fn find(on: &On<Auditor>, id: &str) -> Result<(ExportView, String), Problem> {
    let id = super::path::id(id, "export")?;
    on.blocking(move |service, ledger| {
        let export = service.export(ledger, id)?;
        let tag = tag_of(service, ledger, &export)?;
        Ok((export, tag))
    })
    .await
}

fn tag_of(service: &Service, ledger: &Ledger, export: &ExportView) -> Result<String, Error> {
    Ok(format!("\"{}\"", service.export_tag(ledger, export)?))
}

/// One of the few downloads that may run at once.
struct Place;

static DOWNLOADS: AtomicUsize = AtomicUsize::new(0);

impl Place {
    fn take() -> Result<Self, Problem> {
        let place = Self;
        if DOWNLOADS.fetch_add(1, Ordering::AcqRel) < MAX_DOWNLOADS {
            return Ok(place);
        }
        let detail = format!("{MAX_DOWNLOADS} exports are being downloaded; wait for one to end");
        Err(Problem(Error::new(Code::Overloaded, detail)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        DOWNLOADS.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Cuts what is written into pieces and hands them to the answer; waits while the reader is slow. Dropped before the
/// content is whole, by an error or a panic, it breaks the answer: never a short one that looks whole.
struct Pieces {
    sender: mpsc::Sender<io::Result<Bytes>>,
    piece: Vec<u8>,
    download: Download,
    written: u64,
    whole: bool,
}

impl Pieces {
    fn new(sender: mpsc::Sender<io::Result<Bytes>>, download: Download) -> Self {
        Self {
            sender,
            piece: Vec::with_capacity(PIECE),
            download,
            written: 0,
            whole: false,
        }
    }

    /// The content was written to its end. A range that is not full by then is broken off.
    fn end(&mut self, same: impl FnOnce() -> bool) -> io::Result<()> {
        self.flush()?;
        if same() {
            range::remember_length(&self.download.tag, self.written);
        }
        self.whole |= self.download.window.is_whole();
        if self.whole {
            Ok(())
        } else {
            Err(io::Error::other("the content became shorter"))
        }
    }
}

impl Drop for Pieces {
    fn drop(&mut self) {
        if !self.whole {
            let _ = self.sender.blocking_send(Err(io::Error::other("the export broke off")));
        }
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.written += bytes.len() as u64;
        self.piece.extend_from_slice(self.download.window.cut(bytes));
        if self.piece.len() >= PIECE {
            self.flush()?;
        }
        if self.download.window.is_done() {
            self.flush()?;
            self.whole = true;
            // The rest of the content need not be made.
            return Err(io::Error::other("the range is complete"));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        self.download.until.check()?;
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        let gone = |_| io::Error::new(io::ErrorKind::BrokenPipe, "the reader is gone");
        self.sender.blocking_send(Ok(piece.into())).map_err(gone)
    }
}
