//! Small requests to other servers, an OpenID Connect provider or another occm: bounded, with a time limit, never redirected.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use axum::http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Longest time for one request.
const LIMIT: Duration = Duration::from_secs(10);
/// Largest answer, in bytes.
const MAX_ANSWER: usize = 4 * 1024 * 1024;

/// Makes requests with these anchors.
#[derive(Clone)]
pub(crate) struct Web {
    tls: TlsConnector,
}

impl Web {
    /// Trusts the certificates in a file, or those of the operating system.
    pub(crate) fn new(anchors: Option<&Path>) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        match anchors {
            Some(file) => {
                let shown = file.display();
                let bytes = std::fs::read(file).with_context(|| shown.to_string())?;
                let certificates =
                    pki::encoding::parse_certificates(&bytes).with_context(|| shown.to_string())?;
                for certificate in certificates {
                    roots
                        .add(CertificateDer::from(certificate.der().to_vec()))
                        .with_context(|| shown.to_string())?;
                }
            }
            None => {
                let found = rustls_native_certs::load_native_certs();
                roots.add_parsable_certificates(found.certs);
            }
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .context("TLS settings")?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            tls: TlsConnector::from(Arc::new(config)),
        })
    }

    /// Whether an address may be asked: https, or http on this host for tests.
    pub(crate) fn check(url: &str) -> anyhow::Result<Uri> {
        let uri: Uri = url.parse().with_context(|| format!("{url:?} is no address"))?;
        let host = uri.host().with_context(|| format!("{url:?} has no host"))?;
        let local = matches!(host, "localhost" | "127.0.0.1" | "[::1]");
        match uri.scheme_str() {
            Some("https") => Ok(uri),
            Some("http") if local => Ok(uri),
            _ => bail!("{url:?} cannot be used; allowed: https, or http on this host"),
        }
    }

    pub(crate) async fn get(&self, url: &str) -> anyhow::Result<(StatusCode, Vec<u8>)> {
        self.send(url, Method::GET, HeaderMap::new(), String::new()).await
    }

    /// Sends a form; `authorization` is the header of that name.
    pub(crate) async fn form(
        &self,
        url: &str,
        authorization: Option<HeaderValue>,
        fields: &[(&str, &str)],
    ) -> anyhow::Result<(StatusCode, Vec<u8>)> {
        let pairs: Vec<String> = fields
            .iter()
            .map(|(name, value)| format!("{name}={}", encode(value)))
            .collect();
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        let mut headers = HeaderMap::from_iter([(header::CONTENT_TYPE, form)]);
        if let Some(authorization) = authorization {
            headers.insert(header::AUTHORIZATION, authorization);
        }
        self.send(url, Method::POST, headers, pairs.join("&")).await
    }

    /// Sends any request.
    pub(crate) async fn send(
        &self,
        url: &str,
        method: Method,
        headers: HeaderMap,
        body: String,
    ) -> anyhow::Result<(StatusCode, Vec<u8>)> {
        let uri = Self::check(url)?;
        let work = self.exchange(&uri, method, headers, body);
        match tokio::time::timeout(LIMIT, work).await {
            Ok(done) => {
                done.with_context(|| format!("{}{}", uri.authority().map_or("", |a| a.as_str()), uri.path()))
            }
            Err(_) => bail!(
                "{}: no answer within {LIMIT:?}",
                uri.authority().map_or("", |a| a.as_str())
            ),
        }
    }

    async fn exchange(
        &self,
        uri: &Uri,
        method: Method,
        headers: HeaderMap,
        body: String,
    ) -> anyhow::Result<(StatusCode, Vec<u8>)> {
        let host = uri.host().context("no host")?.trim_matches(['[', ']']).to_owned();
        let https = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, uri.authority().context("no host")?.as_str())
            .header(header::ACCEPT, "application/json")
            .body(Full::new(Bytes::from(body)))?;
        request.headers_mut().extend(headers);
        let stream = TcpStream::connect((host.as_str(), port)).await?;
        if https {
            let name = ServerName::try_from(host).context("the host cannot be checked")?;
            let stream = self.tls.connect(name, stream).await?;
            answer(stream, request).await
        } else {
            answer(stream, request).await
        }
    }
}

async fn answer(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> anyhow::Result<(StatusCode, Vec<u8>)> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let running = tokio::spawn(connection);
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = Limited::new(response.into_body(), MAX_ANSWER)
        .collect()
        .await
        .map_err(|error| anyhow::anyhow!("the answer cannot be read: {error}"))?;
    running.abort();
    let bytes = body.to_bytes().to_vec();
    ensure!(bytes.len() <= MAX_ANSWER, "the answer is too large");
    Ok((status, bytes))
}

/// A value as a form or a query carries it.
pub(crate) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
