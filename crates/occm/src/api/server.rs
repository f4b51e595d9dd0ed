//! Connections: HTTP/1.1 with bounds on everything that a stranger could drag out.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ConnectInfo;
use axum::{Extension, Router};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::api::table;
use crate::api::{Api, tls};

/// Longest time for the head of a request, and for a TLS handshake.
const HEAD: Duration = Duration::from_secs(15);
/// How long open requests may take when the process stops.
const GOODBYE: Duration = Duration::from_secs(3);
/// Largest head of a request, in bytes.
const MAX_HEAD: usize = 32 * 1024;

/// Serves until `stop` says so and open requests are answered.
pub(crate) async fn serve(
    api: Arc<Api>,
    listener: TcpListener,
    tls: Option<tls::Serving>,
    mut stop: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(api.limits.connections));
    let router = table::router(Arc::clone(&api));
    let tls = tls.map(Arc::new);
    let mut tasks = tokio::task::JoinSet::new();
    let told = stop.clone();
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            _ = tick.tick() => crate::telemetry::settle(api.clock.now()),
            Some(_) = tasks.join_next() => {}
            accepted = accept(&listener, &places) => {
                let Some((stream, peer, place)) = accepted else { continue };
                let connection = Connection { router: router.clone(), tls: tls.clone(), peer, stop: told.clone(), _place: place };
                tasks.spawn(connection.run(stream));
            }
        }
    }
    drop(listener);
    let done = async {
        while tasks.join_next().await.is_some() {}
        api.rates.writes_done().await;
    };
    let _ = tokio::time::timeout(GOODBYE, done).await;
}

/// The next connection for which there is a place. A full house lets others wait in the kernel's queue.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => {
            let _ = stream.set_nodelay(true);
            Some((stream, peer, place))
        }
        Err(error) => {
            tracing::debug!(%error, "a connection was not accepted");
            if !matches!(
                error.kind(),
                io::ErrorKind::ConnectionAborted
                    | io::ErrorKind::ConnectionReset
                    | io::ErrorKind::Interrupted
            ) {
                // No more file descriptors: some may come back.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            None
        }
    }
}

struct Connection {
    router: Router,
    tls: Option<Arc<tls::Serving>>,
    peer: SocketAddr,
    stop: watch::Receiver<bool>,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    async fn run(self, stream: TcpStream) {
        let Some(tls) = self.tls.clone() else {
            return self.http(stream).await;
        };
        match tokio::time::timeout(HEAD, tls.accept(stream)).await {
            Ok(Ok(stream)) => self.http(stream).await,
            Ok(Err(error)) => tracing::debug!(%error, peer = %self.peer, "no TLS connection"),
            Err(_) => tracing::debug!(peer = %self.peer, "no TLS connection in time"),
        }
    }

    async fn http(mut self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let router = self.router.clone().layer(Extension(ConnectInfo(self.peer)));
        let service = TowerToHyperService::new(router);
        let mut builder = hyper::server::conn::http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .max_buf_size(MAX_HEAD);
        let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, peer = %self.peer, "connection ended");
                }
                return;
            }
            _ = self.stop.wait_for(|stop| *stop) => connection.as_mut().graceful_shutdown(),
        }
        let _ = tokio::time::timeout(GOODBYE, connection).await;
    }
}
