//! The CA on a TCP port: CMP over HTTP (RFC 9811) on every path, and pages for tests and people under `/-/`.
//!
//! | Request | Answer |
//! | --- | --- |
//! | `POST /`, `/pkix/`, `/.well-known/cmp`, `/.well-known/cmp/p/NAME`, any other path | CMP |
//! | `GET /-/ledger?since=N` | what was issued, JSON |
//! | `GET /-/stats` | counters, JSON |
//! | `GET /-/ca.pem`, `/-/chain.pem`, `/-/signer.pem`, `/-/crl` | root; issuing CA and root; CMP signer; CRL (DER) |
//! | `GET`, `POST`, `DELETE /-/faults` | faults: list, arm one or a list of them, disarm all |
//! | `GET`, `PUT /-/policy` | what can be changed at run time |
//!
//! There is no access control of any kind: whoever reaches the port gets what they ask for.

use std::{
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Json, Router,
    body::{Body, to_bytes},
    extract::{ConnectInfo, Query, Request, State, connect_info::Connected},
    http::{HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
    serve::{IncomingStream, Listener},
};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    time::MissedTickBehavior,
};

use crate::{
    Delivery, DevCa, Fault, Policy, Reply,
    ledger::{Entry, Stats},
};

/// Largest request body.
pub const MAX_REQUEST_BYTES: usize = 1024 * 1024;

/// May other machines reach the CA?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exposure {
    /// Loopback addresses only.
    Loopback,
    /// Any address: for a test network that is shut off otherwise.
    Anywhere,
}

/// Opens a port. An address that others can reach is refused unless `exposure` allows it.
pub async fn bind(address: SocketAddr, exposure: Exposure) -> io::Result<TcpListener> {
    if exposure == Exposure::Loopback && !address.ip().is_loopback() {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "a CA that signs what it is asked to sign listens on loopback addresses only unless told otherwise",
        ));
    }
    TcpListener::bind(address).await
}

/// Serves until `shutdown` is ready and open requests are answered. Once a second, certificates that were not confirmed
/// in time are revoked.
///
/// Cancelled: stops accepting at once; connections that are being served end by themselves.
pub async fn serve(
    ca: Arc<DevCa>,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let door = Door { listener };
    let service = router(Arc::clone(&ca)).into_make_service_with_connect_info::<Wire>();
    let mut serving = pin!(
        axum::serve(door, service)
            .with_graceful_shutdown(shutdown)
            .into_future()
    );
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            ended = &mut serving => return ended,
            _ = tick.tick() => drop(ca.ledger().expire(Timestamp::now())),
        }
    }
}

fn router(ca: Arc<DevCa>) -> Router {
    Router::new()
        .route("/-/ledger", get(ledger))
        .route("/-/stats", get(stats))
        .route("/-/ca.pem", get(root_pem))
        .route("/-/chain.pem", get(chain_pem))
        .route("/-/signer.pem", get(signer_pem))
        .route("/-/crl", get(crl))
        .route(
            "/-/faults",
            get(list_faults).post(arm_faults).delete(clear_faults),
        )
        .route("/-/policy", get(policy).put(set_policy))
        .fallback(cmp)
        .with_state(ca)
}

// -- CMP ----------------------------------------------------------------------------------------------------------

/// The content type is not looked at: what is no CMP message is refused anyway.
async fn cmp(
    State(ca): State<Arc<DevCa>>,
    ConnectInfo(wire): ConnectInfo<Wire>,
    request: Request,
) -> Response {
    if request.method() != Method::POST {
        let note =
            "this is a CMP server for development and tests, NOT FOR PRODUCTION: POST application/pkixcmp\n";
        return (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "POST")], note).into_response();
    }
    let Ok(body) = to_bytes(request.into_body(), MAX_REQUEST_BYTES).await else {
        return (
            StatusCode::PAYLOAD_TOO_LARGE,
            "the request is longer than 1 MiB\n",
        )
            .into_response();
    };
    let Reply {
        delivery,
        delay,
        date_skew,
    } = ca.respond(&body, Timestamp::now());
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    match delivery {
        Delivery::Answer {
            status,
            content_type,
            body,
        } => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
            let mut response = (status, [(header::CONTENT_TYPE, content_type)], body).into_response();
            if date_skew != 0
                && let Some(date) = http_date(date_skew)
            {
                response.headers_mut().insert(header::DATE, date);
            }
            response.headers_mut().insert(
                header::SERVER,
                HeaderValue::from_static("occm-devca (not for production)"),
            );
            response
        }
        Delivery::Dropped | Delivery::Down => {
            wire.cut();
            Response::new(Body::empty())
        }
    }
}

fn http_date(skew_seconds: i64) -> Option<HeaderValue> {
    let at = Timestamp::now()
        .saturating_add(SignedDuration::from_secs(skew_seconds))
        .ok()?;
    HeaderValue::from_str(&at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()).ok()
}

// -- Pages for tests and people -----------------------------------------------------------------------------------

#[derive(Deserialize)]
struct Since {
    #[serde(default)]
    since: u64,
}

async fn ledger(State(ca): State<Arc<DevCa>>, Query(Since { since }): Query<Since>) -> Json<Vec<Entry>> {
    Json(ca.ledger().entries(since, Timestamp::now()))
}

async fn stats(State(ca): State<Arc<DevCa>>) -> Json<Stats> {
    Json(ca.ledger().stats(Timestamp::now()))
}

async fn root_pem(State(ca): State<Arc<DevCa>>) -> Response {
    pem(ca.root().to_pem())
}

async fn chain_pem(State(ca): State<Arc<DevCa>>) -> Response {
    pem(format!("{}{}", ca.issuing().to_pem(), ca.root().to_pem()))
}

async fn signer_pem(State(ca): State<Arc<DevCa>>) -> Response {
    pem(ca.signer().to_pem())
}

fn pem(text: String) -> Response {
    ([(header::CONTENT_TYPE, "application/x-pem-file")], text).into_response()
}

async fn crl(State(ca): State<Arc<DevCa>>) -> Response {
    match ca.crl(Timestamp::now()) {
        Ok(der) => ([(header::CONTENT_TYPE, "application/pkix-crl")], der.to_vec()).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn list_faults(State(ca): State<Arc<DevCa>>) -> Response {
    Json(ca.faults().list()).into_response()
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(Fault),
    Many(Vec<Fault>),
}

async fn arm_faults(State(ca): State<Arc<DevCa>>, Json(faults): Json<OneOrMany>) -> StatusCode {
    match faults {
        OneOrMany::One(fault) => ca.faults().arm(fault),
        OneOrMany::Many(faults) => faults.into_iter().for_each(|fault| ca.faults().arm(fault)),
    }
    StatusCode::NO_CONTENT
}

async fn clear_faults(State(ca): State<Arc<DevCa>>) -> StatusCode {
    ca.faults().clear();
    StatusCode::NO_CONTENT
}

async fn policy(State(ca): State<Arc<DevCa>>) -> Json<Policy> {
    Json(Policy::clone(&ca.policy()))
}

async fn set_policy(State(ca): State<Arc<DevCa>>, Json(policy): Json<Policy>) -> StatusCode {
    ca.set_policy(policy);
    StatusCode::NO_CONTENT
}

// -- The wire -----------------------------------------------------------------------------------------------------

/// A listener that sets TCP_NODELAY and makes connections that can be cut.
struct Door {
    listener: TcpListener,
}

impl Listener for Door {
    type Io = Stream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Stream, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, address)) => {
                    let _ = stream.set_nodelay(true);
                    return (
                        Stream {
                            stream,
                            wire: Wire::default(),
                        },
                        address,
                    );
                }
                // Out of file descriptors, or the client is gone again.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// Cuts a connection from inside a handler: nothing more is written to it.
#[derive(Debug, Clone, Default)]
struct Wire(Arc<AtomicBool>);

impl Wire {
    fn cut(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn is_cut(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl Connected<IncomingStream<'_, Door>> for Wire {
    fn connect_info(stream: IncomingStream<'_, Door>) -> Self {
        stream.io().wire.clone()
    }
}

struct Stream {
    stream: TcpStream,
    wire: Wire,
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.wire.is_cut() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Pin::new(&mut this.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.wire.is_cut() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Pin::new(&mut this.stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
