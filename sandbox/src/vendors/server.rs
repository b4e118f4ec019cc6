//! Serves one vendor over HTTP and records every call. It knows no single vendor.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{ConnectInfo, Query, Request as HttpRequest, State as SharedState};
use axum::http::header::DATE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response as HttpResponse};
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::api::Api;
use super::delivery::Delivery;
use super::fake;
use super::fault::{self, Fault, FaultKind};
use super::http::{Refusal, Request, Response};
use super::intercept::{Gatekeeper, Ruling};
use super::listener::{CutListener, Door, Switch};
use super::replica::Replica;
use super::state::State;
use super::{Vendor, control, operation};

const LARGEST_BODY: usize = 4 << 20;

/// How long a stop waits for answers in progress.
const GRACE: Duration = Duration::from_secs(1);

/// One call a client made.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// When it arrived.
    pub at: Timestamp,
    /// Verb in capitals.
    pub method: String,
    /// Path without the query.
    pub path: String,
    /// Query parameters, decoded.
    pub query: BTreeMap<String, String>,
    /// Which of [`super::operation`] it is.
    pub operation: &'static str,
    /// Status that was answered; 0 when there was no answer.
    pub status: u16,
    /// The body, if it was JSON.
    pub body: Option<Value>,
}

/// One vendor with its faults and the record of its calls.
pub struct Desk {
    /// The vendor's state.
    pub state: State,
    /// Calls made.
    pub calls: Vec<Call>,
    /// Requests that no well-made client sends.
    pub violations: Vec<String>,
    /// The active faults.
    pub faults: Vec<Fault>,
    /// What reads showed before recent writes.
    pub replica: Replica,
}

impl Desk {
    fn operation(&self, api: &dyn Api, request: &Request) -> &'static str {
        let slash = request.path.len() > 1 && request.path.ends_with('/');
        let operation = api
            .operation(&self.state, request)
            .filter(|operation| api.operations().contains(operation))
            .filter(|_| !slash || api.slash_may_end());
        operation.unwrap_or(operation::UNKNOWN)
    }

    fn serve(&mut self, api: &dyn Api, mut request: Request) -> Delivery {
        let operation = self.operation(api, &request);
        request.operation = operation;
        let delivery = match fault::take(&mut self.faults, operation, &request.body) {
            None => Delivery::Plain(self.work(api, &request)),
            Some(fault) => self.suffer(api, request.clone(), fault),
        };
        self.calls.push(Call {
            at: Timestamp::now(),
            operation,
            status: delivery.status(),
            body: serde_json::from_slice(&request.body).ok(),
            method: request.method,
            path: request.path,
            query: request.query,
        });
        delivery
    }

    fn work(&mut self, api: &dyn Api, request: &Request) -> Response {
        let answered = if request.operation == operation::UNKNOWN {
            Err(Refusal::malformed_as(404, "no such route"))
        } else if matches!(request.method.as_str(), "GET" | "DELETE") && !request.body.is_empty() {
            Err(Refusal::malformed_as(400, "this call takes no body"))
        } else if operation::is_write(request.operation) {
            self.replica.keep(&self.state);
            api.answer(&mut self.state, request)
        } else {
            let shown = self.replica.swap_in(&mut self.state);
            let answered = api.answer(&mut self.state, request);
            Replica::swap_back(&mut self.state, shown);
            answered
        };
        answered.unwrap_or_else(|refusal| {
            if refusal.malformed {
                self.violations.push(format!("{} {}: {}", request.method, request.path, refusal.message));
            }
            api.refuse(&self.state, &refusal)
        })
    }

    fn suffer(&mut self, api: &dyn Api, mut request: Request, fault: FaultKind) -> Delivery {
        match fault {
            FaultKind::Status(status, Some(body)) => Delivery::Plain(Response::new(status, body)),
            FaultKind::Status(status, None) => {
                let refusal = Refusal::new(status, "simulated failure");
                Delivery::Plain(api.refuse(&self.state, &refusal))
            }
            FaultKind::RateLimited(after) => Delivery::Plain(api.throttle(&self.state, after)),
            FaultKind::LostBeforeCommit => Delivery::Cut,
            FaultKind::LostAfterCommit => {
                self.work(api, &request);
                Delivery::Cut
            }
            FaultKind::Hang => Delivery::Silence,
            FaultKind::SlowDrip => Delivery::Dripping(self.work(api, &request)),
            FaultKind::Html => Delivery::Html,
            FaultKind::TruncatedJson => Delivery::Torn(self.work(api, &request)),
            FaultKind::NoBody => Delivery::Plain(Response { body: None, ..self.work(api, &request) }),
            FaultKind::WrongTypes => Delivery::Plain(fault::with_wrong_types(self.work(api, &request))),
            FaultKind::HugeBody => Delivery::Huge(self.work(api, &request)),
            FaultKind::Flood(flood) => {
                // A list shows the row to repeat; nothing else takes effect.
                let is_list = operation::is_list(request.operation);
                let usual = if is_list { self.work(api, &request) } else { Response::new(200, Value::Null) };
                Delivery::Flood(usual, flood)
            }
            FaultKind::Marked => Delivery::Marked(self.work(api, &request)),
            FaultKind::Redirect(location) => {
                let moved = Response { status: 307, headers: vec![("location", location)], body: None };
                Delivery::Plain(moved)
            }
            FaultKind::Rewritten(field, value) => {
                request.body = fault::rewritten(&request.body, &field, value.as_ref());
                Delivery::Plain(self.work(api, &request))
            }
            FaultKind::ShortList => Delivery::Plain(fault::with_half_the_rows(self.work(api, &request))),
            FaultKind::EmptyList => Delivery::Plain(fault::without_rows(self.work(api, &request))),
            FaultKind::EndlessList => {
                request.query.remove("page");
                Delivery::Plain(fault::without_end(self.work(api, &request), &request.path))
            }
            FaultKind::RepeatedPage => {
                request.query.remove("page");
                Delivery::Plain(self.work(api, &request))
            }
        }
    }
}

/// The state that the server's tasks and the handles share.
pub struct Shared {
    /// Which vendor it is.
    pub vendor: Vendor,
    /// The address that it listens on.
    pub address: SocketAddr,
    /// Cancelled to stop it.
    pub stop: CancellationToken,
    /// Decides the fate of single calls.
    pub gatekeeper: Gatekeeper,
    /// Opens and shuts the port.
    pub door: Door,
    latency: Duration,
    clock_behind: Duration,
    desk: Mutex<Desk>,
    changes: watch::Sender<u64>,
}

impl Shared {
    /// The state of a vendor before it is served.
    pub fn new(vendor: Vendor, listener: &CutListener, state: State) -> Self {
        Self {
            vendor,
            address: listener.address(),
            stop: CancellationToken::new(),
            gatekeeper: Gatekeeper::default(),
            door: listener.door(),
            latency: state.options.latency,
            clock_behind: state.options.clock_behind,
            desk: Mutex::new(Desk {
                state,
                calls: Vec::new(),
                violations: Vec::new(),
                faults: Vec::new(),
                replica: Replica::default(),
            }),
            changes: watch::Sender::new(0),
        }
    }

    /// The vendor's interface.
    pub fn api(&self) -> &'static dyn Api {
        self.vendor.api()
    }

    /// The desk, for reading.
    pub fn look(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the desk and notifies all waiters.
    pub fn change<T>(&self, change: impl FnOnce(&mut Desk) -> T) -> T {
        let result = change(&mut self.look());
        self.changes.send_modify(|number| *number += 1);
        result
    }

    /// A receiver of every change from now on.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

/// Serves until it is stopped, and then until calls in progress end, at most [`GRACE`].
pub async fn run(listener: CutListener, shared: Arc<Shared>) {
    let stop = shared.stop.clone();
    let app = Router::new().fallback(handle).with_state(shared);
    let service = app.into_make_service_with_connect_info::<Switch>();
    let serving = axum::serve(listener, service).with_graceful_shutdown(stop.clone().cancelled_owned());
    tokio::select! {
        _ = serving => {}
        () = async { stop.cancelled().await; tokio::time::sleep(GRACE).await } => {}
    }
}

async fn handle(
    SharedState(shared): SharedState<Arc<Shared>>,
    ConnectInfo(switch): ConnectInfo<Switch>,
    request: HttpRequest,
) -> HttpResponse {
    let Some(request) = read(request).await else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    if request.path.starts_with(control::PREFIX) {
        let answer = control::answer(&shared, &request);
        return Delivery::Plain(answer).send(&switch).await;
    }
    let work = async {
        // Even a sleep of no time at all takes a tick of the clock.
        if !shared.latency.is_zero() {
            tokio::time::sleep(shared.latency).await;
        }
        rule(&shared, request).await.send(&switch).await
    };
    let mut response = tokio::select! {
        response = work => response,
        () = shared.stop.cancelled() => Delivery::Cut.send(&switch).await,
    };
    let date = fake::http_date(SystemTime::now() - shared.clock_behind);
    if let Ok(date) = HeaderValue::from_str(&date) {
        response.headers_mut().insert(DATE, date);
    }
    response
}

/// Serves a call as the interceptor decides.
async fn rule(shared: &Arc<Shared>, request: Request) -> Delivery {
    let operation = shared.look().operation(shared.api(), &request);
    let serve = |shared: &Shared, request| shared.change(|desk| desk.serve(shared.api(), request));
    match shared.gatekeeper.rule(&request.method, operation) {
        Ruling::Serve => serve(shared, request),
        Ruling::Hold(token) => {
            token.cancelled().await;
            serve(shared, request)
        }
        Ruling::Withhold(token) => {
            let delivery = serve(shared, request);
            token.cancelled().await;
            delivery
        }
        Ruling::Swallow => Delivery::Silence,
        Ruling::Mute => {
            serve(shared, request);
            Delivery::Silence
        }
        Ruling::Detach(token) => {
            let shared = shared.clone();
            tokio::spawn(async move {
                tokio::select! {
                    () = token.cancelled() => drop(serve(&shared, request)),
                    () = shared.stop.cancelled() => {}
                }
            });
            Delivery::Silence
        }
    }
}

async fn read(request: HttpRequest) -> Option<Request> {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, LARGEST_BODY).await.ok()?;
    let Query(query) = Query::try_from_uri(&parts.uri).ok()?;
    let headers = parts
        .headers
        .iter()
        .filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())))
        .collect();
    Some(Request {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query,
        headers,
        body: body.to_vec(),
        operation: operation::UNKNOWN,
    })
}
