//! The HTTP client of every command.

use std::io::Read;
use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use ureq::http::Response;
use ureq::tls::TlsConfig;
use ureq::{Agent, Body};
use zeroize::Zeroizing;

use super::failure::{Exit, Failure};
use super::tls::TlsFiles;

/// The longest answer that is held in memory.
const MAX_ANSWER: u64 = 1 << 30;

/// Speaks to one server with one key.
#[derive(Clone)]
pub(super) struct Client {
    agent: Agent,
    base: String,
    key: Zeroizing<String>,
}

/// An answer with a status 2xx.
#[derive(Debug)]
pub(super) struct Answer {
    /// The status.
    pub(super) status: u16,
    /// The body.
    pub(super) text: String,
}

impl Answer {
    pub(super) fn parse<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_str(&self.text).map_err(|error| {
            let detail =
                format!("the server's answer is not understood ({error}): do client and server differ in version?");
            Failure::new(Exit::Io, "unexpected_answer", detail)
        })
    }
}

impl Client {
    /// For the server of this process.
    pub(super) fn local(address: SocketAddr, key: Zeroizing<String>) -> Self {
        Self {
            agent: agent(true, None),
            base: format!("http://{address}"),
            key,
        }
    }

    /// For a server elsewhere. With http its key and all data travel in clear, so beyond loopback that needs a word.
    pub(super) fn remote(
        url: &str,
        key: Zeroizing<String>,
        tls: &TlsFiles,
        allow_plaintext: bool,
    ) -> Result<Self, Failure> {
        let base = url.trim_end_matches('/');
        let unusable = |detail: &str| Failure::usage(format!("--url {base}: {detail}"));
        let uri: ureq::http::Uri = base
            .parse()
            .map_err(|_| unusable("is not a URL such as http://127.0.0.1:7171"))?;
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let loopback = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        let tls = match uri.scheme_str() {
            Some("http") if loopback || allow_plaintext => None,
            Some("http") => {
                return Err(unusable(
                    "the API key and all data would travel in clear. Use https, or a tunnel to 127.0.0.1, or set \
                     OUBLIETTE_ALLOW_PLAINTEXT=true if the network is protected otherwise",
                ));
            }
            Some("https") => Some(tls.config()?),
            _ => return Err(unusable("is not a URL such as http://127.0.0.1:7171")),
        };
        Ok(Self {
            agent: agent(loopback, tls),
            base: base.to_owned(),
            key,
        })
    }

    pub(super) fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Answer, Failure> {
        let request = self
            .agent
            .get(format!("{}{path}", self.base))
            .header("authorization", self.bearer());
        self.finish(request.query_pairs(query.iter().copied()).call())
    }

    /// The body as it comes, for what may be large.
    pub(super) fn download(&self, path: &str) -> Result<Download, Failure> {
        let response = self.checked(self.ask_for(path, &[]))?;
        Ok(Download {
            length: response.body().content_length(),
            tag: header(&response, "etag"),
            reader: unlimited(response),
        })
    }

    /// What of a body is missing, if it is still the one of this tag; `None` if it has become another.
    pub(super) fn download_rest(&self, path: &str, tag: &str, from: u64) -> Result<Option<Download>, Failure> {
        let range = format!("bytes={from}-");
        let response = self.checked(self.ask_for(path, &[("range", &range), ("if-range", tag)]))?;
        let begins = format!("bytes {from}-");
        let is_rest = response.status().as_u16() == 206
            && header(&response, "content-range").is_some_and(|range| range.starts_with(&begins));
        Ok(is_rest.then(|| Download {
            length: response.body().content_length(),
            tag: Some(tag.to_owned()),
            reader: unlimited(response),
        }))
    }

    fn ask_for(&self, path: &str, headers: &[(&str, &str)]) -> Result<Response<Body>, ureq::Error> {
        let mut request = self
            .agent
            .get(format!("{}{path}", self.base))
            .header("authorization", self.bearer());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.call()
    }

    pub(super) fn post(&self, path: &str, query: &[(&str, &str)], body: &impl Serialize) -> Result<Answer, Failure> {
        let body = serde_json::to_vec(body).map_err(|error| Failure::usage(error.to_string()))?;
        self.post_raw(path, query, &body)
    }

    pub(super) fn post_raw(&self, path: &str, query: &[(&str, &str)], body: &[u8]) -> Result<Answer, Failure> {
        let request = self
            .agent
            .post(format!("{}{path}", self.base))
            .header("authorization", self.bearer());
        let request = request
            .query_pairs(query.iter().copied())
            .content_type("application/json");
        self.finish(request.send(body))
    }

    pub(super) fn delete(&self, path: &str) -> Result<Answer, Failure> {
        let request = self
            .agent
            .delete(format!("{}{path}", self.base))
            .header("authorization", self.bearer());
        self.finish(request.call())
    }

    fn bearer(&self) -> String {
        format!("Bearer {}", *self.key)
    }

    fn finish(&self, outcome: Result<Response<Body>, ureq::Error>) -> Result<Answer, Failure> {
        let mut response = self.checked(outcome)?;
        let text = response.body_mut().with_config().limit(MAX_ANSWER).read_to_string();
        let text = text.map_err(|error| self.unreachable(&error))?;
        Ok(Answer {
            status: response.status().as_u16(),
            text,
        })
    }

    fn checked(&self, outcome: Result<Response<Body>, ureq::Error>) -> Result<Response<Body>, Failure> {
        let mut response = outcome.map_err(|error| self.unreachable(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let text = response.body_mut().read_to_string().unwrap_or_default();
        Err(Failure::from_answer(response.status().as_u16(), &text))
    }

    fn unreachable(&self, error: &ureq::Error) -> Failure {
        Failure::new(Exit::Io, "server_unreachable", format!("{}: {error}", self.base))
    }
}

/// A body on its way.
pub(super) struct Download {
    /// In bytes, if the server says so.
    pub(super) length: Option<u64>,
    /// Which content it is (RFC 9110 §8.8.3).
    pub(super) tag: Option<String>,
    /// The bytes.
    pub(super) reader: Box<dyn Read + Send>,
}

fn header(response: &Response<Body>, name: &str) -> Option<String> {
    Some(response.headers().get(name)?.to_str().ok()?.to_owned())
}

fn unlimited(response: Response<Body>) -> Box<dyn Read + Send> {
    Box::new(response.into_body().into_with_config().limit(u64::MAX).reader())
}

/// Answers may take as long as an erasure or an export takes: only connecting is timed.
fn agent(direct: bool, tls: Option<TlsConfig>) -> Agent {
    let mut config = Agent::config_builder()
        .http_status_as_error(false)
        .https_only(tls.is_some())
        .timeout_connect(Some(Duration::from_secs(10)));
    if direct {
        config = config.proxy(None);
    }
    if let Some(tls) = tls {
        config = config.tls_config(tls);
    }
    config
        .max_redirects(0)
        .user_agent(concat!("oubliette/", env!("CARGO_PKG_VERSION")))
        .build()
        .new_agent()
}
