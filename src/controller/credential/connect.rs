//! From a credential and its Secret to a session with the vendor. It lists no accounts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_lc_rs::digest::{Context as Context256, SHA256};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tracing::{info, warn};

use super::refusal;
use crate::api::conditions::Verdict;
use crate::api::{ProviderCredential, ProviderCredentialSpec, Reason};
use crate::controller::backoff::{self, Action};
use crate::controller::cluster::lenient;
use crate::controller::cluster::object::Object as _;
use crate::controller::connection::inventory::Inventory;
use crate::controller::connection::link::{Connection, Down, Link};
use crate::controller::connection::retry;
use crate::controller::connection::session::{Failure, Health, Session};
use crate::controller::context::Context;
use crate::controller::resolve::password;
use crate::plan::{CredentialAccount, Limits};
use crate::providers;
use crate::providers::{Access, Limiter, Priority, Provider, ProviderError, SecretData};
use data_encoding::HEXLOWER;

/// The link of `credential`. It is `before` if neither spec nor Secret changed and the vendor has not refused the credential since.
///
/// Errors: Kubernetes did not answer.
pub async fn link(
    credential: &ProviderCredential,
    context: &Context,
    before: Option<Link>,
) -> Result<Link, kube::Error> {
    if let Some(message) = lenient::unreadable(credential) {
        let verdict = Verdict::new(Reason::Invalid, message);
        return Ok(Link::Down(Down::until_changed(verdict)));
    }
    // resolve (client required)
    let previous = reusable(credential, before.as_ref());
    let namespace = credential.namespace().unwrap_or_default();
    let name = &credential.spec.secret_ref.name;
    let Some(metadata) = context.cluster.secret(&namespace, name) else {
        return Ok(without_secret(credential, previous, &namespace));
    };
    let stamp = format!(
        "{}/{}/{}",
        credential.metadata.generation.unwrap_or_default(),
        metadata.uid().unwrap_or_default(),
        metadata.resource_version().unwrap_or_default()
    );
    let accepted = previous.clone().filter(|connection| !connection.needs_check.load(Ordering::Relaxed));
    match (&accepted, &before) {
        (Some(connection), _) if connection.fits(&stamp) => return Ok(Link::Up(connection.clone())),
        (_, Some(Link::Down(down))) if down.stamp == stamp && down.is_too_early() => {
            return Ok(Link::Down(down.clone()));
        }
        _ => {}
    }
    let Some(secret) = context.cluster.secret_reader.read(&namespace, name).await? else {
        return Ok(without_secret(credential, previous, &namespace));
    };
    let content = content(credential, &secret);
    match (accepted, &before) {
        // The session stays, because only labels or finalizers of the Secret changed.
        (Some(connection), _) if connection.content == content => {
            connection.refit(stamp);
            return Ok(Link::Up(connection));
        }
        (_, Some(Link::Down(down))) if down.content == content && down.is_too_early() => {
            return Ok(Link::Down(Down { stamp, ..down.clone() }));
        }
        _ => {}
    }
    // validate (no client required)
    if let Some(verdict) = password::wrong_type(&secret, "spec.secretRef") {
        return Ok(Link::Down(Down::until_changed(verdict)));
    }
    // connect (client required)
    Ok(connect(credential, context, &secret, before, Source { stamp, content }).await)
}

/// The session before, with the credential's spec; `None` if an edit of the spec concerns the log-in.
fn reusable(credential: &ProviderCredential, before: Option<&Link>) -> Option<Arc<Connection>> {
    let Some(Link::Up(connection)) = before else { return None };
    (login(&connection.spec) == login(&credential.spec)).then(|| connection.under(credential))
}

/// The fields of a credential from which a session is made, as JSON.
fn login(spec: &ProviderCredentialSpec) -> Value {
    json!([destination(spec), spec.requests])
}

/// The fields of a credential that say which Secret is sent where and how, as JSON.
pub fn destination(spec: &ProviderCredentialSpec) -> Value {
    json!([spec.provider, spec.secret_ref, spec.allow_insecure_http, spec.ca_bundle])
}

/// A digest of everything from which a session is made.
fn content(credential: &ProviderCredential, secret: &Secret) -> String {
    let mut context = Context256::new(&SHA256);
    context.update(login(&credential.spec).to_string().as_bytes());
    for (key, ByteString(value)) in secret.data.iter().flatten() {
        for part in [key.as_bytes(), value] {
            context.update(&part.len().to_be_bytes());
            context.update(part);
        }
    }
    HEXLOWER.encode(context.finish().as_ref())
}

/// The link while the Secret is absent. The session before stays, because a rotation may delete the Secret and create it again.
fn without_secret(credential: &ProviderCredential, previous: Option<Arc<Connection>>, namespace: &str) -> Link {
    if let Some(connection) = previous {
        return Link::Up(connection);
    }
    let name = &credential.spec.secret_ref.name;
    let message =
        format!("spec.secretRef: Secret {namespace}/{name} is not there; create it, and usher connects by itself");
    Link::Down(Down::until_changed(Verdict::new(Reason::WaitingForSecret, message)))
}

/// The source of a session: the versions of spec and Secret, and a digest of their data.
struct Source {
    stamp: String,
    content: String,
}

async fn connect(
    credential: &ProviderCredential,
    context: &Context,
    secret: &Secret,
    before: Option<Link>,
    source: Source,
) -> Link {
    let previous = match before {
        Some(Link::Up(connection)) => Some(connection),
        Some(Link::Down(_)) | None => None,
    };
    let limiter = limiter(credential, context);
    let provider = match provider(credential, context, secret, limiter.clone()) {
        Ok(provider) => provider,
        Err(verdict) => return Link::Down(Down::until_changed(verdict)),
    };
    let login = match whoami(&*provider, &limiter).await {
        Ok(login) => login,
        Err(error) => return Link::Down(refused(credential, context, &error, source)),
    };
    let vendor = credential.spec.provider.vendor();
    let credential_account = CredentialAccount::new(format!("{vendor} {}", provider.place()), login, provider.login());
    let account = credential_account.text();
    info!(credential = %credential.key(), account, "connected");
    let Source { stamp, content } = source;
    let same = previous.filter(|previous| credential_account.is(&previous.account));
    let last_failure = same.as_ref().and_then(|previous| lasting_failure(previous, &content));
    if last_failure.is_none() {
        context.backoff.reset(&credential.key());
    }
    let session = Session {
        key: credential.key(),
        vendor,
        provider,
        limiter,
        account,
        credential_account,
        stamp: Mutex::new(stamp),
        content,
        needs_check: AtomicBool::new(false),
        inventory: same.as_ref().map_or_else(|| inventory(context), |previous| previous.inventory.clone()),
        health: Mutex::new(Health { last_failure, probe_allowed: false }),
        object_memory: same.map(|previous| previous.object_memory.clone()).unwrap_or_default(),
        queue: context.cluster.queue.clone(),
        backoff: context.backoff.clone(),
        listing_timeout: context.settings.longest_listing(),
    };
    Link::Up(Arc::new(Connection::new(Arc::new(session), credential)))
}

/// An empty inventory. What an earlier process wrote may have been a moment ago.
fn inventory(context: &Context) -> Arc<Mutex<Inventory>> {
    let lag = SignedDuration::try_from(context.settings.read_lag).unwrap_or(SignedDuration::MAX);
    Arc::new(Mutex::new(Inventory::since(Timestamp::now(), lag)))
}

/// The failure of the session before that lasts after a new log-in. With another Secret a failed sweep is repeated at once. A refused create
/// is forgotten then, because the vendor refused the Secret before.
fn lasting_failure(previous: &Connection, content: &str) -> Option<Failure> {
    let last_failure = previous.last_failure()?;
    if previous.content == content {
        return Some(last_failure);
    }
    let is_sweep = previous.provider.capabilities().checkable;
    is_sweep.then(|| Failure { until: Timestamp::now(), ..last_failure })
}

/// The limiter of the credential with the bounds of its spec. It outlives rotations, outages and edits, because the vendor counts calls
/// across them, and it starts with the time that the vendor named to an earlier process.
fn limiter(credential: &ProviderCredential, context: &Context) -> Limiter {
    let requests = credential.spec.requests.clone().unwrap_or_default();
    let vendor = credential.spec.provider.vendor();
    let defaults = providers::capabilities(vendor).default_limits;
    let limits = Limits {
        per_minute: requests.per_minute.unwrap_or(defaults.per_minute),
        burst: requests.burst.unwrap_or(defaults.burst),
        concurrency: requests.concurrency.unwrap_or(defaults.concurrency),
    };
    let key = credential.key();
    let make = || {
        let limiter =
            Limiter::new(key.clone(), vendor, limits, context.cluster.queue.admitted(), context.metrics.clone());
        limiter.restore(credential.status.as_ref().and_then(|status| status.rate_limited_until));
        limiter
    };
    let limiter = context.connections.limiter(&key, make);
    limiter.set_limits(limits);
    limiter
}

fn provider(
    credential: &ProviderCredential,
    context: &Context,
    secret: &Secret,
    limiter: Limiter,
) -> Result<Arc<dyn Provider>, Verdict> {
    let spec = &credential.spec;
    let entries = secret.data.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone()));
    let secret = SecretData::new(secret.name_any(), entries);
    let access = Access {
        provider: &spec.provider,
        secret: &secret,
        limiter,
        observer: context.metrics.clone(),
        timeout: context.settings.call_timeout,
        addresses: context.settings.addresses.for_credential(spec.allow_insecure_http.unwrap_or(false)),
        ca_bundle: spec.ca_bundle.as_deref().map(pem).transpose()?,
    };
    providers::connect(&access).map_err(|rejection| Verdict::new(rejection.reason, rejection.message))
}

/// The PEM in `spec.caBundle`.
fn pem(base64: &str) -> Result<Vec<u8>, Verdict> {
    let text: String = base64.split_whitespace().collect();
    let decoded: Result<ByteString, _> = serde_json::from_value(text.into());
    let invalid = |_| Verdict::new(Reason::Invalid, "spec.caBundle is not base64: encode the PEM file with base64");
    decoded.map(|ByteString(pem)| pem).map_err(invalid)
}

/// The login as the vendor names it; `None` if the vendor names none.
async fn whoami(provider: &dyn Provider, limiter: &Limiter) -> Result<Option<String>, ProviderError> {
    if !provider.capabilities().checkable {
        return Ok(None);
    }
    // Edits and removals wait for the log-in, so it goes before them.
    let _permit = limiter.acquire(Priority::Edit).await;
    provider.whoami().await
}

/// The link of a credential that the vendor does not accept.
fn refused(credential: &ProviderCredential, context: &Context, error: &ProviderError, source: Source) -> Down {
    let key = credential.key();
    warn!(credential = %key, "not connected: {error}");
    let not_before = retry::retry_at(&context.backoff, &key, &credential.spec, error);
    let Source { stamp, content } = source;
    Down { verdict: refusal::verdict(error), stamp, content, not_before: Some(not_before) }
}

/// When the next attempt is due while the link is down.
pub fn retry_action(down: &Down) -> Action {
    down.not_before.map_or_else(Action::await_change, backoff::at)
}
