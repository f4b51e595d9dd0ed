//! TLS below CMP: the server is always checked, against our anchors and the name that was asked for.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail the test"
)]

use std::sync::Arc;

use cmp::http::{
    HttpConfig, HttpConfigError, HttpProxy, HttpTransport, TlsAnchors, TlsCipher, TlsConfig, TlsGroup,
    TlsIdentity, TlsVersion,
};
use cmp::{Class, Reached, Transport, TransportError, TransportErrorKind};
use peer::{MESSAGE, Peer, Reaction, good, serve, serve_tls};
use pki::{Anchors, Certificate, PrivateKey};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{RootCertStore, ServerConfig, pki_types::PrivatePkcs8KeyDer, server::WebPkiClientVerifier};

#[path = "http/peer.rs"]
mod peer;

type Root = CertifiedIssuer<'static, KeyPair>;

fn root() -> Root {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn anchors(root: &Root) -> TlsAnchors {
    let certificate = Certificate::from_der(root.der()).unwrap();
    TlsAnchors::Certificates(Anchors::new([certificate]).unwrap())
}

/// A certificate for these names from this root, with its key.
fn leaf(
    root: &Root,
    names: &[&str],
    change: impl FnOnce(&mut CertificateParams),
) -> (rcgen::Certificate, KeyPair) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    (params.signed_by(&key, root).unwrap(), key)
}

struct Server {
    root: Root,
    versions: Vec<&'static rustls::SupportedProtocolVersion>,
    clients: Option<RootCertStore>,
    names: Vec<&'static str>,
    expired: bool,
    /// Empty: the library's.
    ciphers: Vec<rustls::CipherSuite>,
    groups: Vec<rustls::NamedGroup>,
}

impl Server {
    fn new() -> Self {
        Self {
            root: root(),
            versions: vec![],
            clients: None,
            names: vec!["127.0.0.1"],
            expired: false,
            ciphers: vec![],
            groups: vec![],
        }
    }

    fn config(&self) -> ServerConfig {
        let (certificate, key) = leaf(&self.root, &self.names, |params| {
            if self.expired {
                params.not_before = rcgen::date_time_ymd(2020, 1, 1);
                params.not_after = rcgen::date_time_ymd(2021, 1, 1);
            }
        });
        let mut provider = rustls::crypto::aws_lc_rs::default_provider();
        if !self.ciphers.is_empty() {
            provider
                .cipher_suites
                .retain(|suite| self.ciphers.contains(&suite.suite()));
        }
        if !self.groups.is_empty() {
            provider
                .kx_groups
                .retain(|group| self.groups.contains(&group.name()));
        }
        let provider = Arc::new(provider);
        let versions = if self.versions.is_empty() {
            rustls::ALL_VERSIONS.to_vec()
        } else {
            self.versions.clone()
        };
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&versions)
            .unwrap();
        let builder = match &self.clients {
            None => builder.with_no_client_auth(),
            Some(roots) => builder.with_client_cert_verifier(
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots.clone()), provider)
                    .build()
                    .unwrap(),
            ),
        };
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        builder
            .with_single_cert(vec![certificate.der().clone()], key.into())
            .unwrap()
    }

    async fn start(&self) -> Peer {
        serve_tls(self.config(), |_| Reaction::Answer(good())).await
    }
}

fn config(peer: &Peer, tls: TlsConfig) -> HttpConfig {
    let mut config = HttpConfig::new(format!("https://{}/cmp", peer.address).parse().unwrap());
    config.tls = Some(tls);
    config
}

async fn post(peer: &Peer, tls: TlsConfig) -> Result<Vec<u8>, TransportError> {
    let transport = HttpTransport::new(config(peer, tls)).unwrap();
    transport.post(MESSAGE).await.map(|answer| answer.body)
}

#[track_caller]
fn has(error: &TransportError, kind: TransportErrorKind) {
    assert_eq!((error.reached, error.kind), (Reached::No, kind), "{error}");
}

#[tokio::test]
async fn a_server_with_the_right_name_under_our_anchor_is_spoken_to_on_a_kept_connection() {
    let server = Server::new();
    let peer = server.start().await;
    let transport = HttpTransport::new(config(&peer, TlsConfig::new(anchors(&server.root)))).unwrap();
    for _ in 0..2 {
        assert_eq!(transport.post(MESSAGE).await.unwrap().body, MESSAGE);
    }
    assert_eq!(
        peer.seen().iter().map(|seen| seen.connection).collect::<Vec<_>>(),
        [0, 0]
    );
}

#[tokio::test]
async fn a_server_under_another_anchor_is_refused_before_anything_leaves() {
    let peer = Server::new().start().await;
    let error = post(&peer, TlsConfig::new(anchors(&root()))).await.unwrap_err();
    has(&error, TransportErrorKind::TlsTrust);
    assert_eq!(error.kind.class(), Class::Untrusted);
    assert!(peer.seen().is_empty());
}

#[tokio::test]
async fn an_expired_server_certificate_is_refused() {
    let mut server = Server::new();
    server.expired = true;
    let peer = server.start().await;
    let error = post(&peer, TlsConfig::new(anchors(&server.root)))
        .await
        .unwrap_err();
    has(&error, TransportErrorKind::TlsTrust);
    assert!(error.message.contains("xpired"), "{error}");
}

#[tokio::test]
async fn a_server_with_another_name_is_refused_unless_that_name_was_asked_for() {
    let mut server = Server::new();
    server.names = vec!["ca.example"];
    let peer = server.start().await;
    let mut tls = TlsConfig::new(anchors(&server.root));
    has(
        &post(&peer, tls.clone()).await.unwrap_err(),
        TransportErrorKind::TlsTrust,
    );
    tls.server_name = Some("ca.example".to_owned());
    assert_eq!(post(&peer, tls).await.unwrap(), MESSAGE);
}

fn client_roots(root: &Root) -> Option<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(root.der().clone()).unwrap();
    Some(roots)
}

#[tokio::test]
async fn a_server_that_wants_a_client_certificate_gets_ours() {
    let mut server = Server::new();
    server.clients = client_roots(&server.root);
    let peer = server.start().await;
    let (certificate, key) = leaf(&server.root, &["client.example"], |_| ());
    let mut tls = TlsConfig::new(anchors(&server.root));
    tls.identity = Some(TlsIdentity {
        key: PrivateKey::from_bytes(&key.serialize_der()).unwrap(),
        chain: vec![Certificate::from_der(certificate.der()).unwrap()],
    });
    assert_eq!(post(&peer, tls).await.unwrap(), MESSAGE);
}

#[tokio::test]
async fn a_missing_client_certificate_is_told_and_counts_as_not_sent_in_every_version() {
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let mut server = Server::new();
        server.clients = client_roots(&server.root);
        server.versions = vec![version];
        let peer = server.start().await;
        let error = post(&peer, TlsConfig::new(anchors(&server.root)))
            .await
            .unwrap_err();
        has(&error, TransportErrorKind::TlsSettings);
        assert_eq!(error.kind.class(), Class::Misconfigured);
        assert!(peer.seen().is_empty());
    }
}

#[tokio::test]
async fn a_client_key_that_does_not_fit_its_certificate_is_refused_at_the_start() {
    let server = Server::new();
    let (certificate, _) = leaf(&server.root, &["client.example"], |_| ());
    let mut tls = TlsConfig::new(anchors(&server.root));
    tls.identity = Some(TlsIdentity {
        key: PrivateKey::from_bytes(&KeyPair::generate().unwrap().serialize_der()).unwrap(),
        chain: vec![Certificate::from_der(certificate.der()).unwrap()],
    });
    let mut config = HttpConfig::new("https://ca.example/".parse().unwrap());
    config.tls = Some(tls);
    let error = HttpTransport::new(config).unwrap_err();
    assert!(
        matches!(&error, HttpConfigError::Tls(text) if text.contains("client certificate")),
        "{error}"
    );
}

#[tokio::test]
async fn a_server_that_speaks_only_an_old_version_is_refused() {
    let mut server = Server::new();
    server.versions = vec![&rustls::version::TLS12];
    let peer = server.start().await;
    let mut tls = TlsConfig::new(anchors(&server.root));
    assert_eq!(post(&peer, tls.clone()).await.unwrap(), MESSAGE);
    tls.min_version = TlsVersion::Tls13;
    has(
        &post(&peer, tls).await.unwrap_err(),
        TransportErrorKind::TlsSettings,
    );
}

#[tokio::test]
async fn a_client_certificate_from_another_root_is_told_and_counts_as_not_sent_in_every_version() {
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let mut server = Server::new();
        server.clients = client_roots(&server.root);
        server.versions = vec![version];
        let peer = server.start().await;
        let (certificate, key) = leaf(&root(), &["client.example"], |_| ());
        let mut tls = TlsConfig::new(anchors(&server.root));
        tls.identity = Some(TlsIdentity {
            key: PrivateKey::from_bytes(&key.serialize_der()).unwrap(),
            chain: vec![Certificate::from_der(certificate.der()).unwrap()],
        });
        has(
            &post(&peer, tls).await.unwrap_err(),
            TransportErrorKind::TlsSettings,
        );
        assert!(peer.seen().is_empty());
    }
}

#[tokio::test]
async fn a_server_without_a_common_cipher_suite_or_group_is_a_matter_of_settings() {
    let mut server = Server::new();
    server.versions = vec![&rustls::version::TLS12];
    server.ciphers = vec![rustls::CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256];
    let peer = server.start().await;
    let mut tls = TlsConfig::new(anchors(&server.root));
    tls.ciphers = vec!["ECDHE-ECDSA-AES256-GCM-SHA384".parse::<TlsCipher>().unwrap()];
    has(
        &post(&peer, tls.clone()).await.unwrap_err(),
        TransportErrorKind::TlsSettings,
    );
    tls.ciphers = vec!["ECDHE-ECDSA-AES128-GCM-SHA256".parse::<TlsCipher>().unwrap()];
    assert_eq!(post(&peer, tls).await.unwrap(), MESSAGE);

    let mut server = Server::new();
    server.groups = vec![rustls::NamedGroup::secp384r1];
    let peer = server.start().await;
    let mut tls = TlsConfig::new(anchors(&server.root));
    tls.groups = vec!["P-256".parse::<TlsGroup>().unwrap()];
    has(
        &post(&peer, tls.clone()).await.unwrap_err(),
        TransportErrorKind::TlsSettings,
    );
    tls.groups = vec![
        "P-256".parse::<TlsGroup>().unwrap(),
        "P-384".parse::<TlsGroup>().unwrap(),
    ];
    assert_eq!(post(&peer, tls).await.unwrap(), MESSAGE);
}

#[tokio::test]
async fn a_server_without_tls_is_told_apart_from_a_bad_certificate() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        let (mut client, _) = listener.accept().await.unwrap();
        client
            .write_all(b"HTTP/1.1 400 This is not HTTPS\r\n\r\n")
            .await
            .unwrap();
    });
    let mut config = HttpConfig::new(url.parse().unwrap());
    config.tls = Some(TlsConfig::new(anchors(&root())));
    let error = HttpTransport::new(config)
        .unwrap()
        .post(MESSAGE)
        .await
        .unwrap_err();
    has(&error, TransportErrorKind::TlsSettings);
}

#[test]
fn an_empty_set_of_anchors_is_refused() {
    let mut config = HttpConfig::new("https://ca.example/".parse().unwrap());
    config.tls = Some(TlsConfig::new(TlsAnchors::Certificates(Anchors::default())));
    assert_eq!(
        HttpTransport::new(config).unwrap_err(),
        HttpConfigError::NoAnchors
    );
}

#[tokio::test]
async fn a_tunnel_through_a_proxy_hides_the_message_from_it() {
    // The proxy of this test answers CONNECT and nothing more; the server behind it is never there.
    for (line, text) in [
        ("HTTP/1.1 407 Who are you", "407"),
        ("HTTP/1.1 302 Found", "302"),
        ("nonsense", "nonsense"),
    ] {
        let proxy = serve(move |_| Reaction::Last(format!("{line}\r\n\r\n").into_bytes())).await;
        let mut config = HttpConfig::new("https://ca.invalid/cmp".parse().unwrap());
        config.tls = Some(TlsConfig::new(anchors(&root())));
        config.proxy = Some(HttpProxy {
            url: format!("http://{}", proxy.address).parse().unwrap(),
            credentials: None,
        });
        let error = HttpTransport::new(config)
            .unwrap()
            .post(MESSAGE)
            .await
            .unwrap_err();
        has(&error, TransportErrorKind::Proxy);
        assert!(error.message.contains(text), "{error}");
        let seen = proxy.seen().remove(0);
        assert!(
            seen.head.starts_with("CONNECT ca.invalid:443 HTTP/1.1\r\n"),
            "{}",
            seen.head
        );
        assert!(seen.body.is_empty());
    }
}

#[tokio::test]
async fn a_tunnel_ends_at_the_server_with_its_own_name() {
    let mut server = Server::new();
    server.names = vec!["ca.invalid"];
    let peer = server.start().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (mut client, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            client.read_buf(&mut head).await.unwrap();
        }
        let mut server = tokio::net::TcpStream::connect(peer.address).await.unwrap();
        client.write_all(b"HTTP/1.1 200 Go on\r\n\r\n").await.unwrap();
        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
    });
    let mut config = HttpConfig::new("https://ca.invalid/cmp".parse().unwrap());
    config.tls = Some(TlsConfig::new(anchors(&server.root)));
    config.proxy = Some(HttpProxy {
        url: format!("http://{address}").parse().unwrap(),
        credentials: None,
    });
    let answer = HttpTransport::new(config).unwrap().post(MESSAGE).await.unwrap();
    assert_eq!(answer.body, MESSAGE);
}
