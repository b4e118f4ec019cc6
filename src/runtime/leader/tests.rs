//! Tests of the lease against an in-memory API server with one object.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::*;

/// The object of the API server, and whether its answers to writes get lost.
#[derive(Default)]
struct Store {
    lease: Option<Value>,
    version: u64,
    loses_answers: bool,
}

type Shared = Arc<Mutex<Store>>;

async fn answer(State(store): State<Shared>, method: Method, body: String) -> Response {
    let mut store = store.lock().unwrap();
    if method == Method::GET {
        return store
            .lease
            .clone()
            .map_or_else(|| failure(StatusCode::NOT_FOUND), |lease| axum::Json(lease).into_response());
    }
    let mut sent: Value = serde_json::from_str(&body).unwrap();
    match &store.lease {
        None if method == Method::PUT => return failure(StatusCode::NOT_FOUND),
        Some(lease) if lease["metadata"]["resourceVersion"] != sent["metadata"]["resourceVersion"] => {
            return failure(StatusCode::CONFLICT);
        }
        _ => {}
    }
    store.version += 1;
    sent["metadata"]["resourceVersion"] = json!(store.version.to_string());
    store.lease = Some(sent.clone());
    if store.loses_answers { failure(StatusCode::GATEWAY_TIMEOUT) } else { axum::Json(sent).into_response() }
}

fn failure(code: StatusCode) -> Response {
    let reason = if code == StatusCode::NOT_FOUND { "NotFound" } else { "" };
    let status = json!({"kind": "Status", "status": "Failure", "reason": reason, "code": code.as_u16()});
    (code, axum::Json(status)).into_response()
}

fn store() -> Shared {
    Shared::default()
}

/// The lease as the process `me` sees it.
fn lease(store: &Shared, me: &str) -> Lease {
    let server = Router::new().fallback(answer).with_state(store.clone());
    Lease::new(Client::new(server, "default"), "default", "usher", me)
}

async fn taken(store: &Shared, me: &str) -> Held {
    lease(store, me).attempt(&mut nothing_seen()).await.unwrap().unwrap()
}

fn nothing_seen() -> Seen {
    Seen { holder: None, version: None, since: Instant::now() }
}

#[tokio::test]
async fn a_released_lease_is_taken_at_once() {
    let store = store();
    taken(&store, "a").await.release().await;
    assert_eq!(taken(&store, "b").await.object.spec.unwrap().holder_identity.as_deref(), Some("b"));
}

#[tokio::test]
async fn a_lease_is_released_although_the_last_answer_was_lost() {
    let store = store();
    let mut held = taken(&store, "a").await;
    store.lock().unwrap().loses_answers = true;
    held.renew().await.unwrap_err();
    store.lock().unwrap().loses_answers = false;
    held.release().await;
    taken(&store, "b").await;
}

#[tokio::test]
async fn a_holder_that_stopped_renewing_is_replaced_and_learns_it() {
    let store = store();
    let mut held = taken(&store, "a").await;
    let (next, mut seen) = (lease(&store, "b"), nothing_seen());
    assert!(next.attempt(&mut seen).await.unwrap().is_none());
    seen.since -= Duration::from_secs(rules::DURATION.into());
    assert!(next.attempt(&mut seen).await.unwrap().is_some());
    assert!(!held.renew().await.unwrap());
}

#[tokio::test]
async fn a_renewal_makes_others_wait_again() {
    let store = store();
    let mut held = taken(&store, "a").await;
    let (next, mut seen) = (lease(&store, "b"), nothing_seen());
    assert!(next.attempt(&mut seen).await.unwrap().is_none());
    seen.since -= Duration::from_secs(rules::DURATION.into());
    assert!(held.renew().await.unwrap());
    assert!(next.attempt(&mut seen).await.unwrap().is_none());
}

#[tokio::test]
async fn a_lost_answer_does_not_depose_the_holder() {
    let store = store();
    let mut held = taken(&store, "a").await;
    store.lock().unwrap().loses_answers = true;
    held.renew().await.unwrap_err();
    store.lock().unwrap().loses_answers = false;
    let before = held.renewed;
    assert!(held.renew().await.unwrap());
    assert!(held.renewed > before, "the retry renews the lease, because the deadline may be near");
}

#[tokio::test]
async fn a_deleted_lease_is_lost() {
    let store = store();
    let mut held = taken(&store, "a").await;
    store.lock().unwrap().lease = None;
    assert!(!held.renew().await.unwrap());
}

#[tokio::test]
async fn a_lease_not_renewed_until_the_deadline_is_lost() {
    let store = store();
    let mut held = taken(&store, "a").await;
    store.lock().unwrap().loses_answers = true;
    held.renewed -= DEADLINE;
    timeout(PAUSE / 2, held.lost()).await.unwrap();
}

#[tokio::test]
async fn waiting_ends_on_stop() {
    let store = store();
    let _held = taken(&store, "a").await;
    let stop = CancellationToken::new();
    stop.cancel();
    assert!(lease(&store, "b").acquire(&stop).await.unwrap().is_none());
}
