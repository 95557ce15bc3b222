//! CloudEvents attributes from headers: the binary content mode of the HTTP protocol binding, section 3.1.
//!
//! A value may stand in double quotes and is percent-decoded once. What would be dropped or could be read in two ways is
//! refused: an attribute that stands twice, a value that is not UTF-8 or not decodable, and attributes whose place is the
//! body or `Content-Type`.

use actix_web::http::header::HeaderMap;

use crate::service::Error;

/// The headers that begin with `ce-`, as names and decoded values.
///
/// # Errors
/// `invalid_field`, naming the header.
pub(super) fn attributes(headers: &HeaderMap) -> Result<Vec<(String, String)>, Error> {
    let mut attributes: Vec<(String, String)> = Vec::new();
    for (header, value) in headers {
        let Some(name) = header.as_str().strip_prefix("ce-") else {
            continue;
        };
        let refused = |detail: &str| Error::field(header.as_str(), detail);
        match name {
            "data" | "data_base64" => return Err(refused("the body is the data; leave this header out")),
            "datacontenttype" => return Err(refused("Content-Type says it; leave this header out")),
            _ if attributes.iter().any(|(known, _)| known == name) => {
                return Err(refused("stands twice; send one of the two"));
            }
            _ => {}
        }
        let value = decoded(value.as_bytes())
            .ok_or_else(|| refused("must be text in UTF-8, percent-encoded as CloudEvents over HTTP has it"))?;
        attributes.push((name.to_owned(), value));
    }
    Ok(attributes)
}

/// Undoes double quotes (RFC 9110, 5.6.4), then percent-encoding (RFC 3986, 2.1), once.
fn decoded(value: &[u8]) -> Option<String> {
    let unquoted = match value {
        [b'"', quoted @ ..] => unescaped(quoted)?,
        plain => plain.to_vec(),
    };
    let (mut bytes, mut rest) = (Vec::with_capacity(unquoted.len()), unquoted.as_slice());
    while let Some((first, after)) = rest.split_first() {
        if *first == b'%' {
            let (code, after) = after.split_at_checked(2)?;
            let mut byte = [0];
            hex::decode_to_slice(code, &mut byte).ok()?;
            bytes.extend(byte);
            rest = after;
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok()
}

/// What stands before the closing quote, which must be the end.
fn unescaped(quoted: &[u8]) -> Option<Vec<u8>> {
    let (mut text, mut bytes) = (Vec::with_capacity(quoted.len()), quoted.iter());
    loop {
        match bytes.next()? {
            b'"' => return bytes.next().is_none().then_some(text),
            b'\\' => text.push(*bytes.next()?),
            byte => text.push(*byte),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    fn of(headers: &[(&'static str, &[u8])]) -> Result<Vec<(String, String)>, Error> {
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_bytes(value).unwrap()));
        attributes(&headers.collect())
    }

    #[test]
    fn values_are_decoded_once() {
        for (sent, meant) in [
            ("plain-7", "plain-7"),
            ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
            ("Euro%20%e2%82%ac", "Euro €"),
            ("raw €", "raw €"),
            ("100%2525", "100%25"),
            (r#""quoted \"text\" %2541""#, r#"quoted "text" %41"#),
            ("%22", "\""),
            ("", ""),
        ] {
            assert_eq!(decoded(sent.as_bytes()).as_deref(), Some(meant), "{sent}");
        }
        for wrong in [
            &b"%"[..],
            b"%4",
            b"%zz",
            b"%FF",
            b"\xff",
            b"\"open",
            b"\"a\"b",
            b"\"a\\",
        ] {
            assert_eq!(decoded(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn what_cannot_be_kept_is_refused_by_the_headers_name() {
        assert_eq!(
            of(&[("ce-id", b"1"), ("accept", b"x"), ("ce-source", b"%2Fa")])
                .unwrap()
                .len(),
            2
        );
        for (headers, name) in [
            (&[("ce-id", &b"1"[..]), ("ce-id", b"2")][..], "ce-id"),
            (&[("ce-id", b"1"), ("ce-id", b"1")], "ce-id"),
            (&[("ce-source", b"\xff")], "ce-source"),
            (&[("ce-source", b"%ff")], "ce-source"),
            (&[("ce-data", b"{}")], "ce-data"),
            (&[("ce-data_base64", b"AA==")], "ce-data_base64"),
            (&[("ce-datacontenttype", b"text/plain")], "ce-datacontenttype"),
        ] {
            assert_eq!(of(headers).unwrap_err().errors[0].pointer, name);
        }
    }
}
