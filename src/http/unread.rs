//! Request bodies in chunks that nobody reads to their end.
//!
//! Once its payload is dropped, actix-http would go on reading such a body for as long as a client cares to send it, without
//! a timer. While the payload lives until the answer is sent, it closes the connection instead. A body with a length is
//! treated so anyway.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_web::HttpMessage;
use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::{Payload, ServiceRequest};
use actix_web::http::header::TRANSFER_ENCODING;
use actix_web::web::Bytes;
use futures_util::Stream;

/// Keeps a request's payload alive, if it comes in chunks.
pub(super) struct Kept(Option<Rc<RefCell<Payload>>>);

impl Kept {
    /// Takes the payload and gives the request a reader of it.
    pub(super) fn of(request: &mut ServiceRequest) -> Self {
        if !request.headers().contains_key(TRANSFER_ENCODING) {
            return Self(None);
        }
        let shared = Rc::new(RefCell::new(request.take_payload()));
        let read = Rc::clone(&shared);
        let reader = futures_util::stream::poll_fn(move |cx| Pin::new(&mut *read.borrow_mut()).poll_next(cx));
        request.set_payload(Payload::Stream {
            payload: Box::pin(reader),
        });
        Self(Some(shared))
    }

    /// The answer's body, with the payload for as long as it is being sent.
    pub(super) fn until_sent<B>(self, body: B) -> Sent<B> {
        Sent { body, kept: self }
    }
}

/// An answer's body.
pub(super) struct Sent<B> {
    body: B,
    kept: Kept,
}

impl<B: MessageBody + Unpin> MessageBody for Sent<B> {
    type Error = B::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(cx)
    }

    fn try_into_bytes(self) -> Result<Bytes, Self> {
        let Self { body, kept } = self;
        if kept.0.is_some() {
            return Err(Self { body, kept });
        }
        body.try_into_bytes().map_err(|body| Self { body, kept })
    }
}
