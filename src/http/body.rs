//! Request bodies: whole, bounded, and with a problem document where they are too large or break off.

use std::future::Future;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use actix_web::web::Bytes;
use actix_web::{FromRequest, HttpRequest};

use super::limits::BodyTimeout;
use super::problem::Problem;
use crate::service::{Code, Error};

/// A request's body.
pub(super) struct Body(Bytes);

impl std::ops::Deref for Body {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl FromRequest for Body {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, mut payload) = (request.clone(), payload.take());
        Box::pin(async move {
            let arriving = Bytes::from_request(&request, &mut payload);
            let bytes = match request.app_data::<BodyTimeout>() {
                Some(BodyTimeout(limit)) => tokio::time::timeout(*limit, arriving).await.map_err(|_| late())?,
                None => arriving.await,
            };
            bytes.map(Self).map_err(|error| Problem(explain(&error)))
        })
    }
}

fn late() -> Problem {
    Problem(Error::new(
        Code::RequestTimeout,
        "the request's body did not arrive in time (body_timeout_seconds); nothing was done. Send it again, in smaller \
         batches over a slow line",
    ))
}

fn explain(error: &actix_web::Error) -> Error {
    match error.as_error::<PayloadError>() {
        Some(PayloadError::Overflow) => Error::new(
            Code::TooLarge,
            "the request is larger than the limit of a batch (16 MiB); send several",
        ),
        _ if error.as_response_error().status_code() == actix_web::http::StatusCode::PAYLOAD_TOO_LARGE => Error::new(
            Code::TooLarge,
            "the request is larger than the limit of a batch (16 MiB); send several",
        ),
        _ => Error::new(Code::MalformedJson, format!("the body could not be read: {error}")),
    }
}
