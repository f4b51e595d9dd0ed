//! The port.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use crate::observe::{Observe, text};

/// Answers until the listener fails.
pub async fn serve(listener: TcpListener, observe: Arc<Observe>) -> std::io::Result<()> {
    let routes = Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(observe);
    axum::serve(listener, routes).await
}

async fn readyz(State(observe): State<Arc<Observe>>) -> Response {
    match observe.readiness() {
        Ok(part) => format!("ok: {part}\n").into_response(),
        Err(missing) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {missing}\n")).into_response(),
    }
}

async fn metrics(State(observe): State<Arc<Observe>>) -> Response {
    // A fleet makes a page of megabytes: not on a thread that serves exchanges.
    match tokio::task::spawn_blocking(move || observe.metrics()).await {
        Ok(page) => ([(CONTENT_TYPE, text::CONTENT_TYPE)], page).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
