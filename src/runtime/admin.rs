//! The admin server with `/livez`, `/readyz` and `/metrics`. It shows the readiness that other rooms set and decides none.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
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

/// The number of the error by which Linux refuses a socket of a family that the kernel lacks (EAFNOSUPPORT); std has no kind for it.
const AF_NOT_SUPPORTED: i32 = 97;

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Where the admin server listens unless told otherwise: on all addresses, because a cluster may have IPv6 alone.
pub const DEFAULT_ADDRESS: &str = "[::]:8080";

/// The start-up tasks that the process waits for before it is ready; cheap to clone.
#[derive(Clone)]
pub struct Readiness(Arc<Mutex<Vec<(&'static str, String)>>>);

impl Readiness {
    /// Ready once each of `names` is done.
    #[must_use]
    pub fn new(names: &[&'static str]) -> Self {
        Self(Arc::new(Mutex::new(names.iter().map(|name| (*name, String::new())).collect())))
    }

    /// Says why `name` is not done yet.
    pub fn explain(&self, name: &'static str, why: &str) {
        self.0.lock().iter_mut().filter(|(missing, _)| *missing == name).for_each(|(_, known)| why.clone_into(known));
    }

    /// Marks `name` as done.
    pub fn done(&self, name: &'static str) {
        self.0.lock().retain(|(missing, _)| *missing != name);
    }

    /// The tasks that are not done yet, each with what is known of the cause.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let missing = self.0.lock();
        missing
            .iter()
            .map(|(name, why)| if why.is_empty() { (*name).to_owned() } else { format!("{name} ({why})") })
            .collect()
    }
}

/// Listens on `address` (port 0: any) and returns the address and the server, which runs until `stop`. `[::]` takes connections of both
/// families, and stands for `0.0.0.0` on a host without IPv6.
///
/// Errors: the address is in use, or is no address of this host.
pub async fn serve(
    address: SocketAddr,
    metrics: MetricsRegistry,
    readiness: Readiness,
    stop: CancellationToken,
) -> io::Result<(SocketAddr, impl Future<Output = ()> + Send + 'static)> {
    let listener = match TcpListener::bind(address).await {
        Err(error) => TcpListener::bind(without_ipv6(address, &error).ok_or(error)?).await?,
        Ok(listener) => listener,
    };
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

/// The address in place of `[::]` where `error` says that the host has no IPv6.
fn without_ipv6(address: SocketAddr, error: &io::Error) -> Option<SocketAddr> {
    let is_absent = matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported)
        || error.raw_os_error() == Some(AF_NOT_SUPPORTED);
    let is_any = address.is_ipv6() && address.ip().is_unspecified();
    (is_any && is_absent).then_some(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), address.port()))
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
    use rstest::rstest;

    use super::*;

    #[test]
    fn ready_once_everything_is_done() {
        let readiness = Readiness::new(&["a", "b"]);
        readiness.done("b");
        readiness.explain("b", "it is done already");
        assert_eq!(readiness.missing(), ["a"]);
        readiness.explain("a", "a key is missing");
        assert_eq!(readiness.missing(), ["a (a key is missing)"]);
        readiness.done("a");
        assert!(readiness.missing().is_empty());
    }

    #[rstest]
    #[case::no_address("[::]:8080", io::Error::from(io::ErrorKind::AddrNotAvailable), Some("0.0.0.0:8080"))]
    #[case::no_family("[::]:8080", io::Error::from_raw_os_error(AF_NOT_SUPPORTED), Some("0.0.0.0:8080"))]
    #[case::occupied("[::]:8080", io::Error::from(io::ErrorKind::AddrInUse), None)]
    #[case::one_address("[2001:db8::1]:8080", io::Error::from(io::ErrorKind::AddrNotAvailable), None)]
    #[case::the_other_family("0.0.0.0:8080", io::Error::from(io::ErrorKind::AddrNotAvailable), None)]
    fn a_host_without_ipv6_is_listened_to_by_ipv4(
        #[case] address: SocketAddr,
        #[case] error: io::Error,
        #[case] instead: Option<&str>,
    ) {
        assert_eq!(without_ipv6(address, &error), instead.map(|instead| instead.parse().unwrap()));
    }

    #[tokio::test]
    async fn both_families_reach_the_default_address() {
        let stop = CancellationToken::new();
        let default: SocketAddr = DEFAULT_ADDRESS.parse().unwrap();
        let any = SocketAddr::new(default.ip(), 0);
        let (address, serving) = serve(any, MetricsRegistry::new(), Readiness::new(&[]), stop.clone()).await.unwrap();
        let server = tokio::spawn(serving);
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let families = if address.is_ipv6() { &["127.0.0.1", "[::1]"][..] } else { &["127.0.0.1"] };
        for host in families {
            let answer = client.get(format!("http://{host}:{}/livez", address.port())).send().await.unwrap();
            assert_eq!(answer.status(), 200, "{host}");
        }
        stop.cancel();
        server.await.unwrap();
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
