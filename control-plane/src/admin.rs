//! The admin address: `/healthz` (the process lives), `/readyz` (it takes work, or why not) and `/metrics`.
//!
//! It answers from what the handles say at the moment it is asked, waits for nothing, and so stays live when everything
//! else is busy.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use mainstay_store::{Status, Store};

use crate::metrics::Metrics;
use crate::{engine, registry};

/// What the admin address answers from.
#[derive(Debug, Clone)]
pub struct Admin {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The engine.
    pub engine: engine::Handle,
    /// The registry.
    pub registry: registry::Handle,
    /// Counters.
    pub metrics: Metrics,
}

impl Admin {
    /// The routes.
    pub fn routes(self) -> Router {
        Router::new()
            .route("/healthz", get(|| async { "ok\n" }))
            .route("/readyz", get(ready))
            .route("/metrics", get(metrics))
            .with_state(self)
    }

    /// Why the server takes no work, if it does not.
    #[must_use]
    pub fn not_ready(&self) -> Option<String> {
        if let Status::ReadOnly { reason, .. } = self.store.status() {
            return Some(format!("the store is read-only: {reason}"));
        }
        (!self.engine.is_ready()).then(|| "open runs are being taken up, or the server stops".to_owned())
    }
}

async fn ready(State(admin): State<Admin>) -> impl IntoResponse {
    match admin.not_ready() {
        None => (StatusCode::OK, "ready\n".to_owned()),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")),
    }
}

async fn metrics(State(admin): State<Admin>) -> impl IntoResponse {
    let text = admin.metrics.text(&*admin.store, &admin.engine, &admin.registry);
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
}
