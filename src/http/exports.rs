//! Exports, streamed as they are made.

use std::io::{self, Write};
use std::sync::Arc;

use actix_web::web::{Bytes, Path};
use actix_web::{HttpResponse, web};
use tokio::sync::mpsc;

use super::auth::{Auditor, On};
use super::body::Body;
use super::problem::Problem;
use crate::service::export::{ExportView, Format};
use crate::service::{Code, Error, Role, request};

/// Bytes that are gathered before they go out.
const PIECE: usize = 256 * 1024;
/// Pieces that may wait for a slow reader; the export waits with them.
const WAITING: usize = 4;

pub(super) async fn create(on: On<Auditor>, body: Body) -> Result<HttpResponse, Problem> {
    let view = on
        .service
        .create_export(&on.ledger, &on.caller, request::parse(&body)?)
        .await?;
    Ok(HttpResponse::Created().json(view))
}

pub(super) async fn list(on: On<Auditor>) -> Result<HttpResponse, Problem> {
    let views = on.service.exports(&on.ledger)?;
    Ok(HttpResponse::Ok().json(serde_json::json!({"exports": views, "next": null})))
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
    let (sender, receiver) = mpsc::channel(WAITING);
    let (service, ledger) = (Arc::clone(&on.service), Arc::clone(&on.ledger));
    web::block(move || {
        // The writer thread is on its own: the answer begins before the content is complete.
        std::thread::Builder::new().name("export".into()).spawn(move || {
            let mut pieces = Pieces {
                sender,
                piece: Vec::with_capacity(PIECE),
            };
            let written = service
                .write_export(&ledger, &export, &mut pieces)
                .map_err(io::Error::other);
            if let Err(error) = written.and_then(|()| pieces.flush()) {
                tracing::error!(error = %error, "an export could not be written to its end");
                // The reader sees a broken answer, never a short one that looks whole.
                let _ = pieces
                    .sender
                    .blocking_send(Err(io::Error::other("the export broke off")));
            }
        })
    })
    .await
    .map_err(|error| Error::new(Code::Internal, error.to_string()))?
    .map_err(|error| Error::new(Code::Internal, error.to_string()))?;
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

/// Cuts what is written into pieces and hands them to the answer; waits while the reader is slow.
struct Pieces {
    sender: mpsc::Sender<io::Result<Bytes>>,
    piece: Vec<u8>,
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
