//! How a certificate is given: as the signed document, or as a page that carries it.

use actix_web::HttpResponse;
use serde::Deserialize;

use crate::service::erase::CertificateForm;

#[derive(Debug, Clone, Copy, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct CertificateQuery {
    /// In which form.
    #[param(inline, required = false)]
    #[serde(default)]
    pub(super) format: CertificateForm,
}

/// A signed document (RFC 9052), or a page.
pub(super) fn certificate(form: CertificateForm, bytes: Vec<u8>) -> HttpResponse {
    match form {
        CertificateForm::Cose => HttpResponse::Ok()
            .content_type("application/cose; cose-type=\"cose-sign1\"")
            .body(bytes),
        CertificateForm::Html => page("certificate.html", bytes),
    }
}

/// A page without scripts or other resources.
pub(super) fn page(name: &str, bytes: Vec<u8>) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header(("content-disposition", format!("inline; filename=\"{name}\"")))
        .insert_header(("x-content-type-options", "nosniff"))
        .insert_header((
            "content-security-policy",
            "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
        ))
        .body(bytes)
}
