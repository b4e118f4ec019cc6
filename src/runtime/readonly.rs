//! A Kubernetes client that reads: whatever else is asked of it is refused before it leaves the process.

use kube::client::{Body, ClientBuilder};
use kube::{Client, Config};
use tower::BoxError;
use tower::filter::FilterLayer;

/// A request that would have written.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("refused to {method} {path}: this command only reads, and sends nothing else to Kubernetes")]
pub struct Refused {
    method: String,
    path: String,
}

/// A client that lets nothing but reads through.
///
/// Errors: the configuration leads to no client.
pub fn client(config: Config) -> kube::Result<Client> {
    Ok(ClientBuilder::try_from(config)?.with_layer(&FilterLayer::new(only_reads)).build())
}

fn only_reads(request: http::Request<Body>) -> Result<http::Request<Body>, BoxError> {
    if matches!(*request.method(), http::Method::GET | http::Method::HEAD) {
        return Ok(request);
    }
    Err(Refused { method: request.method().to_string(), path: request.uri().path().to_owned() }.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(method: &str) -> Result<http::Request<Body>, BoxError> {
        only_reads(http::Request::builder().method(method).uri("/api/v1/secrets").body(Body::empty()).unwrap())
    }

    #[test]
    fn reads_pass_and_every_write_is_refused_with_a_clear_error() {
        assert!(ask("GET").is_ok());
        for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            let error = ask(method).unwrap_err().to_string();
            assert!(error.starts_with(&format!("refused to {method} /api/v1/secrets")), "{error}");
        }
    }
}
