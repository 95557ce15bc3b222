//! Compliance reports.

use actix_web::http::Method;
use actix_web::web::Query;
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;

use super::auth::{ErasureReader, On};
use super::certificates::page;
use super::openapi::TimeOrDate;
use super::problem::Problem;
use crate::service::report::{Form, PeriodRequest};
use crate::service::{Code, Error};

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct ReportQuery {
    /// The first moment: a time (RFC 3339) or a date (UTC). Both bounds, or neither for the last full month.
    #[param(value_type = Option<TimeOrDate>)]
    from: Option<String>,
    /// The first moment after: a time or a date.
    #[param(value_type = Option<TimeOrDate>)]
    to: Option<String>,
    /// In which form.
    #[param(inline, required = false)]
    #[serde(default)]
    format: Form,
}

pub(super) async fn compliance(
    on: On<ErasureReader>,
    query: Query<ReportQuery>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    if request.method() == Method::HEAD {
        // Each report is recorded, so none is made for its headers.
        let detail = "a report is made by GET alone";
        return Err(Problem(Error::new(Code::MethodNotAllowed, detail)));
    }
    let ReportQuery { from, to, format } = query.into_inner();
    let period = PeriodRequest { from, to };
    let body = on
        .service
        .compliance_report(&on.ledger, &on.caller, &period, format)
        .await?;
    let name = |ending: &str| format!("{}-compliance.{ending}", on.ledger.record.name);
    let (content_type, ending) = match format {
        Form::Html => return Ok(page(&name("html"), body)),
        Form::Json => ("application/json", "json"),
        Form::Csv => ("text/csv; charset=utf-8", "csv"),
    };
    Ok(HttpResponse::Ok()
        .content_type(content_type)
        .insert_header((
            "content-disposition",
            format!("attachment; filename=\"{}\"", name(ending)),
        ))
        .insert_header(("x-content-type-options", "nosniff"))
        .body(body))
}
