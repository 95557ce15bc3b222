//! TLS and mutual TLS: a real server, certificates made for the test, the real command line as the client.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rcgen::{CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, date_time_ymd};

use crate::support::{Data, OUBLIETTE, Server, eventually};

/// An authority and the folder that its files are written to.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

impl Authority {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        change(&mut params);
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, folder }
    }

    fn ca(&self) -> String {
        self.file("ca.pem")
    }

    fn file(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// Issues a certificate for 127.0.0.1; gives the paths of certificate and key.
    fn issue(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let (chain, private) = (self.file(&format!("{name}.pem")), self.file(&format!("{name}.key")));
        std::fs::write(&chain, certificate.pem()).unwrap();
        std::fs::write(&private, key.serialize_pem()).unwrap();
        (chain, private)
    }
}

fn with_tls(data: &Data, (chain, key): &(String, String), more: &[(&str, &str)]) -> Server {
    let mut environment = vec![
        ("OUBLIETTE_TLS_CERTIFICATE", chain.as_str()),
        ("OUBLIETTE_TLS_KEY", key.as_str()),
    ];
    environment.extend(more);
    data.serve_with(&environment)
}

/// The command line against a server.
fn ask(data: &Data, server: &Server, arguments: &[&str]) -> Output {
    Command::new(OUBLIETTE)
        .args(arguments)
        .args(["--url", &server.url])
        .env("OUBLIETTE_API_KEY", data.key())
        .output()
        .unwrap()
}

#[track_caller]
fn ends(output: &Output, exit: i32, word: &str) {
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert_eq!(output.status.code(), Some(exit), "{out}{err}");
    assert!(out.contains(word) || err.contains(word), "no `{word}` in {out}{err}");
}

#[test]
fn the_command_line_speaks_tls_and_trusts_only_whom_it_is_told_to() {
    let (data, authority) = (Data::new(), Authority::new());
    let server = with_tls(&data, &authority.issue("server", |_| {}), &[]);
    assert!(server.url.starts_with("https://127.0.0.1:"), "{}", server.url);
    let ca = authority.ca();
    let append = ["append", "--stream", "s", "--type", "order.placed", "--ca", &ca];
    ends(&ask(&data, &server, &append), 0, "Appended");
    ends(&ask(&data, &server, &["verify", "--ca", &ca]), 0, "VALID");
    ends(&ask(&data, &server, &["key", "list"]), 3, "server_unreachable");
    let no_pem = authority.file("none.pem");
    std::fs::write(&no_pem, "nothing of use").unwrap();
    ends(&ask(&data, &server, &["key", "list", "--ca", &no_pem]), 2, "PEM");
    let other = Authority::new();
    ends(
        &ask(&data, &server, &["key", "list", "--ca", &other.ca()]),
        3,
        "server_unreachable",
    );
    // In clear there is no answer.
    let plain = ureq::get(format!("http://{}/healthz", server.address())).call();
    assert!(plain.is_err(), "{plain:?}");
    server.stop();
}

#[test]
fn with_client_authorities_every_client_shows_a_certificate() {
    let (data, authority, clients) = (Data::new(), Authority::new(), Authority::new());
    let server = with_tls(
        &data,
        &authority.issue("server", |_| {}),
        &[("OUBLIETTE_TLS_CLIENT_CA", &clients.ca())],
    );
    let ca = authority.ca();
    let list = |certificate: &(String, String)| {
        let arguments = [
            "key",
            "list",
            "--ca",
            &ca,
            "--client-cert",
            &certificate.0,
            "--client-key",
            &certificate.1,
        ];
        ask(&data, &server, &arguments)
    };
    ends(&list(&clients.issue("client", |_| {})), 0, data.vkey());
    ends(&list(&authority.issue("foreign", |_| {})), 3, "server_unreachable");
    let expired = clients.issue("expired", |params| params.not_after = date_time_ymd(2020, 1, 1));
    ends(&list(&expired), 3, "server_unreachable");
    ends(
        &ask(&data, &server, &["key", "list", "--ca", &ca]),
        3,
        "server_unreachable",
    );
    let half = ["key", "list", "--ca", &ca, "--client-cert", &ca];
    ends(&ask(&data, &server, &half), 2, "--client-key");
}

/// How often a client that keeps sessions is asked for its certificate in two connections.
fn full_handshakes(server: &Server, authority: &Authority, (chain, key): &(String, String)) -> usize {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.issuer.der().clone()).unwrap();
    let chain = vec![CertificateDer::from_pem_file(chain).unwrap()];
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(key).unwrap())
        .unwrap();
    let config = std::sync::Arc::new(config);
    let connect = || {
        let name = "127.0.0.1".try_into().unwrap();
        let mut tls = rustls::ClientConnection::new(config.clone(), name).unwrap();
        let mut socket = std::net::TcpStream::connect(server.address()).unwrap();
        let mut stream = rustls::Stream::new(&mut tls, &mut socket);
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200"));
        tls.handshake_kind().unwrap()
    };
    let kinds = [connect(), connect()];
    kinds
        .iter()
        .filter(|kind| **kind == rustls::HandshakeKind::Full)
        .count()
}

#[test]
fn a_client_shows_its_certificate_at_every_connection() {
    let (data, authority) = (Data::new(), Authority::new());
    let (server, client) = (authority.issue("server", |_| {}), authority.issue("client", |_| {}));
    let resumes = with_tls(&data, &server, &[]);
    assert_eq!(
        full_handshakes(&resumes, &authority, &client),
        1,
        "the client does resume"
    );
    resumes.stop();
    let mutual = with_tls(&data, &server, &[("OUBLIETTE_TLS_CLIENT_CA", &authority.ca())]);
    assert_eq!(full_handshakes(&mutual, &authority, &client), 2);
}

#[test]
fn an_expired_authority_among_others_is_left_out() {
    let (data, authority, good) = (Data::new(), Authority::new(), Authority::new());
    let old = Authority::with(|params| params.not_after = date_time_ymd(2020, 2, 3));
    let both = good.file("both.pem");
    std::fs::write(&both, old.issuer.pem() + &good.issuer.pem()).unwrap();
    let chain = authority.issue("server", |_| {});
    std::fs::set_permissions(&chain.1, std::os::unix::fs::PermissionsExt::from_mode(0o604)).unwrap();
    let server = with_tls(&data, &chain, &[("OUBLIETTE_TLS_CLIENT_CA", &both)]);
    let (certificate, key) = good.issue("client", |_| {});
    let ca = authority.ca();
    let arguments = [
        "key",
        "list",
        "--ca",
        &ca,
        "--client-cert",
        &certificate,
        "--client-key",
        &key,
    ];
    ends(&ask(&data, &server, &arguments), 0, data.vkey());
    for told in [
        "left out: it expired at 2020-02-03",
        "every user of this machine may use the TLS key",
    ] {
        assert!(data.log().contains(told), "{}", data.log());
    }
}

#[test]
fn files_that_cannot_serve_are_refused_with_the_mend() {
    let (data, authority) = (Data::new(), Authority::new());
    let (chain, key) = authority.issue("server", |_| {});
    let (other_chain, other_key) = authority.issue("other", |_| {});
    let expired = authority.issue("expired", |params| params.not_after = date_time_ymd(2020, 2, 3));
    let future = authority.issue("future", |params| params.not_before = date_time_ymd(3000, 1, 1));
    let old = Authority::with(|params| params.not_after = date_time_ymd(2020, 2, 3));
    let (missing, folder) = (authority.file("missing.pem"), authority.folder.path().to_str().unwrap());
    let empty = authority.file("empty.pem");
    std::fs::write(&empty, "nothing of use\n").unwrap();
    let broken = authority.file("broken.pem");
    std::fs::write(
        &broken,
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    )
    .unwrap();
    for (chain, key, client_ca, setting, file, mend) in [
        (&missing, &key, &chain, "tls_certificate", &missing, "no such file"),
        (&chain, &missing, &chain, "tls_key", &missing, "no such file"),
        (&empty, &key, &chain, "tls_certificate", &empty, "BEGIN CERTIFICATE"),
        (&chain, &empty, &chain, "tls_key", &empty, "BEGIN PRIVATE KEY"),
        (&chain, &chain, &chain, "tls_key", &chain, "BEGIN PRIVATE KEY"),
        (&broken, &key, &chain, "tls_certificate", &broken, "damaged"),
        (
            &folder.to_owned(),
            &key,
            &chain,
            "tls_certificate",
            &folder.to_owned(),
            "cannot be read",
        ),
        (
            &chain,
            &other_key,
            &chain,
            "tls_key",
            &other_key,
            "not the key of the certificate",
        ),
        (
            &other_chain,
            &key,
            &chain,
            "tls_key",
            &key,
            "not the key of the certificate",
        ),
        (
            &expired.0,
            &expired.1,
            &chain,
            "tls_certificate",
            &expired.0,
            "expired at 2020-02-03",
        ),
        (
            &future.0,
            &future.1,
            &chain,
            "tls_certificate",
            &future.0,
            "not valid before 3000-01-01",
        ),
        (&chain, &key, &missing, "tls_client_ca", &missing, "no such file"),
        (&chain, &key, &empty, "tls_client_ca", &empty, "BEGIN CERTIFICATE"),
        (&chain, &key, &old.ca(), "tls_client_ca", &old.ca(), "expired"),
        (&chain, &key, &chain, "tls_client_ca", &chain, "not an authority"),
    ] {
        let environment = [
            ("OUBLIETTE_TLS_CERTIFICATE", chain.as_str()),
            ("OUBLIETTE_TLS_KEY", key),
            ("OUBLIETTE_TLS_CLIENT_CA", client_ca),
        ];
        let refused = data.refused_with(&environment);
        assert_eq!(refused.exit, Some(2), "{}", refused.log);
        assert_eq!(refused.code, "invalid_configuration");
        for part in [setting, file.as_str(), mend] {
            assert!(refused.log.contains(part), "no `{part}` in {}", refused.log);
        }
        let checked = Command::new(OUBLIETTE)
            .args(["serve", "--check-config", "--data"])
            .arg(data.path())
            .envs(environment)
            .output()
            .unwrap();
        ends(&checked, 2, mend);
    }
    // With both, it may listen for everybody.
    let checked = Command::new(OUBLIETTE)
        .args(["serve", "--check-config", "--listen", "0.0.0.0:0", "--data"])
        .arg(data.path())
        .envs([("OUBLIETTE_TLS_CERTIFICATE", &chain), ("OUBLIETTE_TLS_KEY", &key)])
        .output()
        .unwrap();
    ends(&checked, 0, "The configuration is valid.");
}

#[test]
fn a_new_certificate_is_taken_up_and_a_bad_one_is_not() {
    let (data, first, second) = (Data::new(), Authority::new(), Authority::new());
    let (chain, key) = first.issue("server", |_| {});
    let server = with_tls(&data, &(chain.clone(), key.clone()), &[]);
    let reaches = |ca: &str| ask(&data, &server, &["key", "list", "--ca", ca]).status.code() == Some(0);
    assert!(reaches(&first.ca()) && !reaches(&second.ca()));
    let good = std::fs::read(&chain).unwrap();
    std::fs::write(&chain, "gone").unwrap();
    server.signal("HUP");
    eventually("the bad file is told", || data.log().contains("stays as it was"));
    assert!(reaches(&first.ca()));
    std::fs::write(&chain, good).unwrap();
    let renewed = second.issue("server", |_| {});
    copy(&renewed.0, &chain);
    copy(&renewed.1, &key);
    server.signal("HUP");
    eventually("the new certificate is shown", || reaches(&second.ca()));
    assert!(!reaches(&first.ca()));
}

#[test]
#[allow(
    clippy::disallowed_methods,
    reason = "a certificate that ends tomorrow needs to know today"
)]
fn a_certificate_that_expires_soon_is_told() {
    let (data, authority) = (Data::new(), Authority::new());
    let soon = std::time::SystemTime::now() + std::time::Duration::from_secs(86_400);
    let issued = authority.issue("server", |params| params.not_after = soon.into());
    let server = with_tls(&data, &issued, &[("OUBLIETTE_METRICS_PUBLIC", "true")]);
    assert!(data.log().contains("expires soon"), "{}", data.log());
    drop(server);
}

fn copy(from: impl AsRef<Path>, to: impl Into<PathBuf>) {
    std::fs::copy(from, to.into()).unwrap();
}
