//! One operator of a run: confined to the run's namespace, behind its fuse, and mortal.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use http::{Method, Request, Response};
use kube::Client;
use kube::client::Body;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use usher::api::{ObjectKey, Reason, Vendor};
use usher::controller::{Metrics, Settings};
use usher::providers::Observer;
use usher_sandbox::vendors::{Ruling, Simulator};

use super::fuse::Fuse;
use crate::world::settings;

/// How long one vendor call of a crashing operator may take: its create is pending for as long.
pub const CALL_TIMEOUT: Duration = Duration::from_millis(1500);

/// How many parts of an answer may be on their way at a time.
const UNDER_WAY: usize = 1000;

/// A running operator.
pub struct Operator {
    task: JoinHandle<()>,
    /// Between it and the world.
    pub fuse: Fuse,
    /// What it did.
    pub counts: Arc<Counts>,
}

impl Operator {
    /// Starts one that sees its own namespace alone, and users and groups in that of `people`; calls to `vendor` pass its fuse
    /// too. What it watches it is told `lag` late.
    pub fn start(client: &Client, (own, people): (&str, &str), vendor: &Simulator, lag: Duration) -> Self {
        let (fuse, counts) = (Fuse::default(), Arc::new(Counts::default()));
        let client = confined(client.clone(), [own.to_owned(), people.to_owned()], fuse.clone(), lag);
        let at_vendor = fuse.clone();
        vendor.intercept(Some(Arc::new(move |method, operation| {
            let ruling = at_vendor.rule(&format!("vendor {operation}"), method != "GET");
            if matches!(ruling, Ruling::Mute) {
                // The call is done before anyone else gets a turn.
                at_vendor.blown.cancel();
            }
            ruling
        })));
        let settings = Settings {
            call_timeout: CALL_TIMEOUT,
            grace: Duration::from_millis(300),
            read_lag: Duration::ZERO,
            namespace: own.to_owned(),
            ..settings()
        };
        let run = usher::controller::run(client, settings, counts.clone(), CancellationToken::new(), Box::new(|_| {}));
        Self { task: tokio::spawn(run), fuse, counts }
    }

    /// Ends it in the middle of whatever it does.
    pub async fn kill(self) {
        self.task.abort();
        // It ends by being aborted, which is no news.
        let _ = self.task.await;
    }
}

/// A client that shows our own namespace and that of users and groups as if they were the cluster, watches them `lag` late, and
/// passes every request by the fuse.
fn confined(client: Client, namespaces: [String; 2], fuse: Fuse, lag: Duration) -> Client {
    let default_namespace = namespaces[0].clone();
    let service = tower::service_fn(move |mut request: Request<Body>| {
        let (client, fuse) = (client.clone(), fuse.clone());
        confine(&mut request, &namespaces);
        let lag = if request.uri().query().unwrap_or_default().contains("watch=true") { lag } else { Duration::ZERO };
        async move {
            let answer = match rule(&fuse, &request, &namespace_free(request.uri().path())) {
                Ruling::Serve => client.send(request).await,
                Ruling::Hold(token) => {
                    token.cancelled().await;
                    client.send(request).await
                }
                Ruling::Withhold(token) => {
                    let answer = client.send(request).await;
                    token.cancelled().await;
                    answer
                }
                Ruling::Swallow => pending().await,
                Ruling::Mute => lost(client, request, now(), fuse.blown.clone()).await,
                Ruling::Detach(released) => lost(client, request, released, CancellationToken::new()).await,
            };
            answer.map(|answer| answer.map(|body| late(body, lag)))
        }
    });
    Client::new(service, default_namespace)
}

/// The same body, each part of it `lag` later.
fn late(body: Body, lag: Duration) -> axum::body::Body {
    let body = axum::body::Body::new(body);
    if lag.is_zero() {
        return body;
    }
    let parts = body.into_data_stream().map(move |part| tokio::time::sleep(lag).map(|()| part));
    axum::body::Body::from_stream(parts.buffered(UNDER_WAY))
}

/// Carries a request out after `start` although nobody may be there any more to hear the answer, and cancels `done`.
async fn lost(
    client: Client,
    request: Request<Body>,
    start: CancellationToken,
    done: CancellationToken,
) -> Result<Response<Body>, kube::Error> {
    tokio::spawn(async move {
        start.cancelled().await;
        let answered = client.send(request).await;
        done.cancel();
        drop(answered);
    });
    pending().await
}

fn now() -> CancellationToken {
    let token = CancellationToken::new();
    token.cancel();
    token
}

fn rule(fuse: &Fuse, request: &Request<Body>, path: &str) -> Ruling {
    let query = request.uri().query().unwrap_or_default();
    let manager = query.split('&').find_map(|pair| pair.strip_prefix("fieldManager=")).unwrap_or_default();
    let is_event = path.starts_with("events");
    let is_dry = query.contains("dryRun=");
    let is_effect = request.method() != Method::GET && !is_event && !is_dry;
    fuse.rule(format!("{} {path} {manager}", request.method()).trim_end(), is_effect)
}

/// Lists and watches of the whole cluster become those of one namespace, and those of namespaces show no others: the control plane has
/// thousands, and each operator would read all of them.
fn confine(request: &mut Request<Body>, [own, people]: &[String; 2]) {
    let uri = request.uri().clone();
    let Some((group, plural)) = uri.path().rsplit_once('/') else { return };
    if !matches!(group, "/apis/usher.dev/v1alpha1" | "/api/v1") {
        return;
    }
    if plural == "namespaces" {
        let query = uri.query().unwrap_or_default();
        let selector = format!("labelSelector=kubernetes.io%2Fmetadata.name+in+%28{own}%2C{people}%29");
        *request.uri_mut() = format!("{}?{query}&{selector}", uri.path()).parse().unwrap();
        return;
    }
    let namespace = if matches!(plural, "platformusers" | "platformgroups") { people } else { own };
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    *request.uri_mut() = format!("{group}/namespaces/{namespace}/{plural}{query}").parse().unwrap();
}

/// `platformusers/ada/status` from the whole path.
fn namespace_free(path: &str) -> String {
    let below = path.split_once("/namespaces/").map_or(path, |(_, below)| below);
    below.split_once('/').map_or(below, |(_, below)| below).to_owned()
}

/// Counts reconciles.
#[derive(Default)]
pub struct Counts {
    /// Of users.
    pub users: AtomicUsize,
    /// Of groups.
    pub groups: AtomicUsize,
}

impl Observer for Counts {
    fn provider_request(&self, _: Vendor, _: &'static str, _: &str, _: Duration) {}
    fn limiter_waited(&self, _: Vendor, _: &'static str, _: Duration) {}
}

impl Metrics for Counts {
    fn reconciled(&self, kind: &'static str, _: &'static str, _: Duration) {
        match kind {
            "PlatformUser" => drop(self.users.fetch_add(1, Ordering::Relaxed)),
            "PlatformGroup" => drop(self.groups.fetch_add(1, Ordering::Relaxed)),
            _ => {}
        }
    }
    fn object_state(&self, _: &ObjectKey, _: Option<Reason>) {}
    fn drift_repaired(&self, _: &'static str, _: Vendor) {}
    fn credential_ready(&self, _: Vendor, _: &ObjectKey, _: Option<bool>) {}
}
