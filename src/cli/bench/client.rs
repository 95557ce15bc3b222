//! A cheap client: one HTTP/1.1 connection, one request in flight, answers kept as the bytes that came.

use std::net::SocketAddr;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, HOST, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::super::Failure;
use super::failed;
use super::server::Server;

/// One connection.
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    host: HeaderValue,
    key: HeaderValue,
}

/// An answer, not yet looked at. The body is a copy: a frame would keep the connection's whole read buffer.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) body: Vec<u8>,
}

impl Reply {
    /// The body, if the answer is a success.
    pub(super) fn success(&self) -> Result<Vec<u8>, Failure> {
        if self.status.is_success() {
            return Ok(self.body.clone());
        }
        Err(failed(format!(
            "the server answered {}: {}",
            self.status,
            String::from_utf8_lossy(&self.body)
        )))
    }
}

impl Connection {
    pub(super) async fn open(server: &Server) -> Result<Self, Failure> {
        let stream = TcpStream::connect(server.address).await?;
        stream.set_nodelay(true)?;
        let (sender, driver) = handshake(TokioIo::new(stream)).await.map_err(failed)?;
        tokio::spawn(driver);
        let host = host(server.address)?;
        let key = HeaderValue::from_str(&format!("Bearer {}", server.made.api_key)).map_err(failed)?;
        Ok(Self { sender, host, key })
    }

    pub(super) async fn get(&mut self, path: &str) -> Result<Reply, Failure> {
        self.send(Method::GET, path, Bytes::new()).await
    }

    pub(super) async fn post(&mut self, path: &str, body: Bytes) -> Result<Reply, Failure> {
        self.send(Method::POST, path, body).await
    }

    async fn send(&mut self, method: Method, path: &str, body: Bytes) -> Result<Reply, Failure> {
        let mut bytes = Vec::new();
        let status = self
            .pass(method, path, body, |data| bytes.extend_from_slice(data))
            .await?;
        Ok(Reply { status, body: bytes })
    }

    /// Gets what is too long to be kept: each part of the body goes to `take` as it comes.
    pub(super) async fn drain(&mut self, path: &str, take: impl FnMut(&[u8])) -> Result<StatusCode, Failure> {
        self.pass(Method::GET, path, Bytes::new(), take).await
    }

    async fn pass(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
        mut take: impl FnMut(&[u8]),
    ) -> Result<StatusCode, Failure> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.host.clone())
            .header(AUTHORIZATION, self.key.clone())
            .body(Full::new(body))
            .map_err(failed)?;
        let response = self.sender.send_request(request).await.map_err(failed)?;
        let (status, mut body) = (response.status(), response.into_body());
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame.map_err(failed)?.into_data() {
                take(&data);
            }
        }
        Ok(status)
    }
}

fn host(address: SocketAddr) -> Result<HeaderValue, Failure> {
    HeaderValue::from_str(&address.to_string()).map_err(failed)
}

/// Runs the load on one thread: on a small machine the server needs the rest.
pub(super) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(work)
}
