//! The admin server with `/livez`, `/readyz` and `/metrics`. It shows the readiness that other rooms set and decides none.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::metrics::MetricsRegistry;

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The start-up tasks that the process waits for before it is ready; cheap to clone.
#[derive(Clone)]
pub struct Readiness(Arc<Mutex<Vec<&'static str>>>);

impl Readiness {
    /// Ready once each of `names` is done.
    #[must_use]
    pub fn new(names: &[&'static str]) -> Self {
        Self(Arc::new(Mutex::new(names.to_vec())))
    }

    /// Marks `name` as done.
    pub fn done(&self, name: &'static str) {
        self.0.lock().retain(|missing| *missing != name);
    }

    /// The tasks that are not done yet.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        self.0.lock().clone()
    }
}

/// Listens on `address` (port 0: any) and returns the address and the server, which runs until `stop`.
///
/// Errors: the address is in use, or is no address of this host.
pub async fn serve(
    address: SocketAddr,
    metrics: MetricsRegistry,
    readiness: Readiness,
    stop: CancellationToken,
) -> io::Result<(SocketAddr, impl Future<Output = ()> + Send + 'static)> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    let router = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready).with_state(readiness))
        .route("/metrics", get(render).with_state(metrics));
    let serving = async move {
        let served = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await;
        if let Err(error) = served {
            tracing::error!("the admin server ended: {error}");
        }
    };
    Ok((address, serving))
}

async fn ready(State(readiness): State<Readiness>) -> impl IntoResponse {
    match readiness.missing().as_slice() {
        [] => (StatusCode::OK, "ok\n".to_owned()),
        missing => (StatusCode::SERVICE_UNAVAILABLE, format!("waiting for: {}\n", missing.join(", "))),
    }
}

async fn render(State(metrics): State<MetricsRegistry>) -> impl IntoResponse {
    match metrics.render() {
        Ok(text) => ([(header::CONTENT_TYPE, OPENMETRICS)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_once_everything_is_done() {
        let readiness = Readiness::new(&["a", "b"]);
        readiness.done("b");
        assert_eq!(readiness.missing(), ["a"]);
        readiness.done("a");
        assert!(readiness.missing().is_empty());
    }

    #[tokio::test]
    async fn health_and_metrics_are_served_until_stopped() {
        let (readiness, stop) = (Readiness::new(&["crds", "users"]), CancellationToken::new());
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let (address, serving) = serve(any, MetricsRegistry::new(), readiness.clone(), stop.clone()).await.unwrap();
        let server = tokio::spawn(serving);
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let get = async |path: &str| client.get(format!("http://{address}{path}")).send().await.unwrap();

        assert_eq!(get("/livez").await.status(), 200);
        let unready = get("/readyz").await;
        assert_eq!(unready.status(), 503);
        assert_eq!(unready.text().await.unwrap(), "waiting for: crds, users\n");
        readiness.done("crds");
        readiness.done("users");
        assert_eq!(get("/readyz").await.status(), 200);
        let metrics = get("/metrics").await;
        assert_eq!(metrics.headers()["content-type"], OPENMETRICS);
        assert!(metrics.text().await.unwrap().ends_with("# EOF\n"));

        stop.cancel();
        server.await.unwrap();
    }
}
