//! Exports, streamed as they are made.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix_web::HttpResponse;
use actix_web::web::{Bytes, Path, Query};
use tokio::sync::mpsc;

use super::auth::{Auditor, On};
use super::body::Body;
use super::page::PageQuery;
use super::problem::Problem;
use crate::service::export::{ExportView, Format};
use crate::service::{Code, Error, Role, request};

/// Bytes that are gathered before they go out.
const PIECE: usize = 256 * 1024;
/// Pieces that may wait for a slow reader; the export waits with them.
const WAITING: usize = 4;
/// Downloads that may run at once.
const MAX_DOWNLOADS: usize = 8;

pub(super) async fn create(on: On<Auditor>, body: Body) -> Result<HttpResponse, Problem> {
    let view = on
        .service
        .create_export(&on.ledger, &on.caller, request::parse(&body)?)
        .await?;
    Ok(HttpResponse::Created().json(view))
}

pub(super) async fn list(on: On<Auditor>, query: Query<PageQuery>) -> Result<HttpResponse, Problem> {
    let views = on.blocking(|service, ledger| service.exports(ledger)).await?;
    Ok(HttpResponse::Ok().json(query.page("exports", &views, |view| view.id.to_string())?))
}

pub(super) async fn one(on: On<Auditor>, path: Path<(String, String)>) -> Result<HttpResponse, Problem> {
    Ok(HttpResponse::Ok().json(find(&on, &path.1)?))
}

pub(super) async fn content(on: On<Auditor>, path: Path<(String, String)>) -> Result<HttpResponse, Problem> {
    let export = find(&on, &path.1)?;
    if export.request.reveal {
        on.also(Role::Revealer)?;
    }
    let (content_type, ending) = match export.request.format {
        Format::Bundle => ("application/vnd.oubliette.bundle", "oubliette"),
        Format::Ndjson => ("application/x-ndjson", "ndjson"),
    };
    let disposition = format!(
        "attachment; filename=\"{}-{}.{ending}\"",
        on.ledger.record.name, export.tree_size
    );
    on.service.record_download(&on.ledger, &on.caller, &export).await?;
    let place = Place::take()?;
    let (sender, receiver) = mpsc::channel(WAITING);
    let (service, ledger) = (Arc::clone(&on.service), Arc::clone(&on.ledger));
    // The writer thread is on its own: the answer begins before the content is complete.
    let started = std::thread::Builder::new().name("export".into()).spawn(move || {
        let mut pieces = Pieces::new(sender, place);
        let written = service.write_export(&ledger, &export, &mut pieces);
        match written.map_err(io::Error::other).and_then(|()| pieces.flush()) {
            Ok(()) => pieces.whole = true,
            Err(error) => tracing::error!(error = %error, "an export could not be written to its end"),
        }
    });
    started.map_err(|error| Error::new(Code::Internal, error.to_string()))?;
    let stream = futures_util::stream::unfold(receiver, |mut receiver| async {
        let piece: Option<io::Result<Bytes>> = receiver.recv().await;
        piece.map(|piece| (piece, receiver))
    });
    Ok(HttpResponse::Ok()
        .content_type(content_type)
        .insert_header(("content-disposition", disposition))
        .streaming(stream))
}

fn find(on: &On<Auditor>, id: &str) -> Result<ExportView, Problem> {
    let unknown = |_| Error::new(Code::NotFound, "there is no export of this id");
    Ok(on.service.export(&on.ledger, id.parse().map_err(unknown)?)?)
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
    whole: bool,
    _place: Place,
}

impl Pieces {
    fn new(sender: mpsc::Sender<io::Result<Bytes>>, place: Place) -> Self {
        Self {
            sender,
            piece: Vec::with_capacity(PIECE),
            whole: false,
            _place: place,
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
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        let gone = |_| io::Error::new(io::ErrorKind::BrokenPipe, "the reader is gone");
        self.sender.blocking_send(Ok(piece.into())).map_err(gone)
    }
}
