//! Whether the process lives, and whether it takes events.

use actix_web::HttpResponse;

use super::auth::Public;
use super::problem::Problem;
use crate::service::{Code, Error};

pub(super) async fn alive(_: Public) -> HttpResponse {
    HttpResponse::Ok().json(serde_json::json!({"status": "alive"}))
}

pub(super) async fn ready(public: Public) -> Result<HttpResponse, Problem> {
    if public.service.is_ready() {
        return Ok(HttpResponse::Ok().json(serde_json::json!({"status": "ready"})));
    }
    Err(Problem(Error::new(
        Code::NotReady,
        "the last commit failed; see the server's log",
    )))
}
