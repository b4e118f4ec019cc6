//! The reconcile of a ProviderCredential: resolve → validate → connect → sweep → report.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use aws_lc_rs::digest::{Context as Context256, SHA256};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::runtime::controller::Action;
use serde_json::{Value, json};
use tracing::{info, warn};

use super::{resync as sweep, status as credential_report};
use crate::api::conditions::{ConditionType, Verdict, find};
use crate::api::names::{PAUSED, RECONCILE_AT};
use crate::api::user::{Mode, UserDeletionPolicy};
use crate::api::{Kind, ObjectKey, ProviderCredential, ProviderCredentialSpec, Reason};
use crate::controller::backoff as requeue;
use crate::controller::cluster::lenient;
use crate::controller::connection::link::{Connection, Down, Failure, Link};
use crate::controller::connection::{breaker as trial, retry};
use crate::controller::context::Context;
use crate::controller::resolve::password;
use crate::plan::{AccountKind, Limits};
use crate::providers::{self, Access, Limiter, Priority, Provider, ProviderError, SecretData};

/// How often vendor and cluster are compared unless the credential says otherwise.
const RESYNC: SignedDuration = SignedDuration::from_mins(10);

/// Checks one credential, keeps its connection and its index, and wakes its objects when there is news for them.
///
/// Errors: Kubernetes failed us.
pub async fn reconcile(credential: Arc<ProviderCredential>, context: &Context) -> Result<Action, kube::Error> {
    let credential = context.credentials.latest(credential);
    let key = key(&credential);
    if credential_report::is_released(context, &credential).await? {
        return Ok(Action::await_change());
    }
    let credential = context.credentials.latest(credential);
    let by_operator = || (context.settings.mode == Mode::Paused).then(|| "usher's own --mode Paused".to_owned());
    if let Some(by) = paused_by(&credential).or_else(by_operator) {
        context.enqueue_users_of(&key);
        return credential_report::paused(context, &credential, &by).await;
    }
    let before = context.connections.get(&key);
    let status = credential.status.as_ref();
    let was_paused = status.is_some_and(|status| find(&status.conditions, ConditionType::Paused).is_some());
    let link = attempt(&credential, context, before.clone()).await?;
    // Known before the listing, which may take long: edits and removals need none.
    context.connections.set(&key, link.clone());
    let is_other = is_other(before.as_ref(), &link);
    if is_other || was_paused {
        context.enqueue_deleting(&key);
    }
    if status.is_none_or(|status| status.conditions.is_empty()) {
        credential_report::report(context, &credential, &link, None).await?;
    }
    // What is asked for while the listing goes on is not answered by it.
    let asked = credential.annotations().get(RECONCILE_AT).cloned();
    let news = match &link {
        Link::Up(connection) => look(context, connection, is_forced(&credential)).await,
        Link::Down(_) => false,
    };
    let credential = context.credentials.latest(credential);
    let action = credential_report::report(context, &credential, &link, asked).await?;
    let is_mended = !is_well(&credential) && is_well(&context.credentials.latest(credential.clone()));
    if is_other || was_paused || is_mended || news {
        context.enqueue_users_of(&key);
    }
    Ok(action)
}

/// Whether the credential says that all is well.
fn is_well(credential: &ProviderCredential) -> bool {
    let ready = credential.status.as_ref().and_then(|status| find(&status.conditions, ConditionType::Ready));
    ready.is_some_and(|ready| ready.status == "True")
}

/// Looks at what the vendor has; whether there is news for the objects. Where users are never listed, that it is time is news.
async fn look(context: &Context, connection: &Connection, forced: bool) -> bool {
    let reopened = trial::reopen(context, connection, forced);
    let swept = sweep::sweep(context, connection, forced).await;
    let is_blind = !connection.provider.capabilities().lists(AccountKind::User);
    let is_time = is_blind && connection.index().is_look_due(resync(&connection.spec), Timestamp::now());
    reopened || swept || is_time || (is_blind && forced)
}

/// Whether objects have to look again because of what became of their credential.
fn is_other(before: Option<&Link>, now: &Link) -> bool {
    match (before, now) {
        // Merely checked after a refusal: who was refused comes back by himself, and slower each time.
        (Some(Link::Up(before)), Link::Up(now)) if before.content == now.content => before.generation != now.generation,
        (Some(Link::Down(before)), Link::Down(now)) => before.verdict.reason != now.verdict.reason,
        (_, Link::Up(_) | Link::Down(_)) => true,
    }
}

/// The credential's kind, namespace and name.
pub fn key(credential: &ProviderCredential) -> ObjectKey {
    ObjectKey::new(Kind::Credential, credential.namespace().unwrap_or_default(), credential.name_any())
}

/// What pauses a credential and so all its objects.
pub fn paused_by(credential: &ProviderCredential) -> Option<String> {
    let name = credential.name_any();
    if credential.spec.mode == Some(Mode::Paused) {
        return Some(format!("spec.mode: Paused of the credential {name}"));
    }
    let annotated = credential.annotations().get(PAUSED).is_some_and(|value| value == "true");
    annotated.then(|| format!("the annotation {PAUSED} of the credential {name}"))
}

/// Whether a credential is being deleted and lets all its objects keep their accounts.
pub fn releases_all(credential: &ProviderCredential) -> bool {
    credential.metadata.deletion_timestamp.is_some()
        && credential.spec.deletion_policy == Some(UserDeletionPolicy::Orphan)
}

/// How often vendor and cluster are compared.
pub fn resync(credential: &crate::api::ProviderCredentialSpec) -> SignedDuration {
    let written = credential.resync_interval.as_deref().and_then(|text| text.parse::<SignedDuration>().ok());
    // The schema asks for a minute; what was stored before that rule must not sweep without pause.
    written.unwrap_or(RESYNC).max(SignedDuration::from_mins(1))
}

fn is_forced(credential: &ProviderCredential) -> bool {
    let handled = credential.status.as_ref().and_then(|status| status.last_handled_reconcile_at.as_ref());
    credential.annotations().get(RECONCILE_AT).is_some_and(|asked| Some(asked) != handled)
}

/// The link as it is now: the one before if neither spec nor Secret changed and nothing is suspect.
pub async fn attempt(
    credential: &ProviderCredential,
    context: &Context,
    before: Option<Link>,
) -> Result<Link, kube::Error> {
    if let Some(message) = lenient::unreadable(credential) {
        let verdict = Verdict::new(Reason::Invalid, message);
        return Ok(Link::Down(Down::until_changed(verdict)));
    }
    // resolve (client required)
    let kept = kept(credential, before.as_ref());
    let namespace = credential.namespace().unwrap_or_default();
    let name = &credential.spec.secret_ref.name;
    let Some(seen) = context.secret(&namespace, name) else {
        return Ok(without_secret(credential, kept, &namespace));
    };
    let stamp = format!(
        "{}/{}/{}",
        credential.metadata.generation.unwrap_or_default(),
        seen.uid().unwrap_or_default(),
        seen.resource_version().unwrap_or_default()
    );
    let sound = kept.clone().filter(|connection| !connection.needs_check.load(Ordering::Relaxed));
    match (&sound, &before) {
        (Some(connection), _) if connection.fits(&stamp) => return Ok(Link::Up(connection.clone())),
        (_, Some(Link::Down(down))) if down.stamp == stamp && down.is_fresh() => return Ok(Link::Down(down.clone())),
        _ => {}
    }
    let Some(secret) = context.secret_reader.read(&namespace, name).await? else {
        return Ok(without_secret(credential, kept, &namespace));
    };
    let content = content(credential, &secret);
    match (sound, &before) {
        // Labels or finalizers changed, ours perhaps: no reason to log in again.
        (Some(connection), _) if connection.content == content => {
            connection.refit(stamp);
            return Ok(Link::Up(connection));
        }
        (_, Some(Link::Down(down))) if down.content == content && down.is_fresh() => {
            return Ok(Link::Down(Down { stamp, ..down.clone() }));
        }
        _ => {}
    }
    // validate (no client required)
    if let Some(verdict) = password::wrong_type(&secret, "spec.secretRef") {
        return Ok(Link::Down(Down::until_changed(verdict)));
    }
    // connect (client required)
    Ok(connect(credential, context, &secret, before, Made { stamp, content }).await)
}

/// The connection before, under what the credential says of its objects now; `None` if it has to log in in another way.
fn kept(credential: &ProviderCredential, before: Option<&Link>) -> Option<Arc<Connection>> {
    let Some(Link::Up(connection)) = before else { return None };
    (login(&connection.spec) == login(&credential.spec)).then(|| connection.under(credential))
}

/// Those fields of a credential that a connection is made from, as JSON.
fn login(spec: &ProviderCredentialSpec) -> Value {
    json!([spec.provider, spec.secret_ref, spec.allow_insecure_http, spec.ca_bundle, spec.requests])
}

/// A digest of all that a connection is made from.
fn content(credential: &ProviderCredential, secret: &Secret) -> String {
    let mut context = Context256::new(&SHA256);
    context.update(login(&credential.spec).to_string().as_bytes());
    for (key, ByteString(value)) in secret.data.iter().flatten() {
        for part in [key.as_bytes(), value] {
            context.update(&part.len().to_be_bytes());
            context.update(part);
        }
    }
    password::hex(context.finish().as_ref())
}

/// A Secret that is away takes nothing from a session that works: rotation by delete and create passes unnoticed.
fn without_secret(credential: &ProviderCredential, kept: Option<Arc<Connection>>, namespace: &str) -> Link {
    if let Some(connection) = kept {
        return Link::Up(connection);
    }
    let name = &credential.spec.secret_ref.name;
    let message =
        format!("spec.secretRef: Secret {namespace}/{name} is not there; create it, and work goes on by itself");
    Link::Down(Down::until_changed(Verdict::new(Reason::WaitingForSecret, message)))
}

/// What a connection is made from: versions of spec and Secret, and a digest of what matters in them.
struct Made {
    stamp: String,
    content: String,
}

async fn connect(
    credential: &ProviderCredential,
    context: &Context,
    secret: &Secret,
    before: Option<Link>,
    made: Made,
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
        Err(error) => return Link::Down(refused(credential, context, &error, made)),
    };
    let vendor = credential.spec.provider.vendor();
    let account = format!("{vendor} {} {login}", provider.place());
    info!(credential = %key(credential), account, "connected");
    let Made { stamp, content } = made;
    let same = previous.filter(|previous| previous.account == account);
    let last_failure = same.as_ref().and_then(|previous| inherited(previous, &content));
    if last_failure.is_none() {
        context.backoff.reset(&key(credential));
    }
    let kept = same.map(|previous| previous.index.clone());
    Link::Up(Arc::new(Connection {
        key: key(credential),
        vendor,
        provider,
        limiter,
        account,
        login,
        spec: credential.spec.clone(),
        generation: credential.metadata.generation.unwrap_or_default(),
        stamp: Mutex::new(stamp),
        content,
        needs_check: AtomicBool::new(false),
        is_deleting: credential.metadata.deletion_timestamp.is_some(),
        index: kept.unwrap_or_default(),
        last_failure: Mutex::new(last_failure),
        probe_allowed: AtomicBool::new(false),
    }))
}

/// The trouble that a new log-in does not mend. With another Secret a listing that failed is due at once; where nothing is
/// listed, what the one before was refused says nothing of this one.
fn inherited(previous: &Connection, content: &str) -> Option<Failure> {
    let last_failure = previous.last_failure()?;
    if previous.content == content {
        return Some(last_failure);
    }
    let is_due = previous.provider.capabilities().checkable;
    is_due.then(|| Failure { until: Timestamp::now(), ..last_failure })
}

/// The gate of the credential, with the bounds of its present spec: neither a rotation nor an outage nor an edit resets what
/// a vendor counts, and a restart does not make us come before the time that it named.
fn limiter(credential: &ProviderCredential, context: &Context) -> Limiter {
    let requests = credential.spec.requests.clone().unwrap_or_default();
    let vendor = credential.spec.provider.vendor();
    let usual = providers::capabilities(vendor).default_limits;
    let limits = Limits {
        per_minute: requests.per_minute.unwrap_or(usual.per_minute),
        burst: requests.burst.unwrap_or(usual.burst),
        concurrency: requests.concurrency.unwrap_or(usual.concurrency),
    };
    let key = key(credential);
    let make = || {
        let limiter = Limiter::new(key.clone(), vendor, limits, context.queue.clone(), context.metrics.clone());
        limiter.resume(credential.status.as_ref().and_then(|status| status.rate_limited_until));
        limiter
    };
    let limiter = context.connections.limiter(&key, make);
    limiter.limit(limits);
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
        insecure: spec.allow_insecure_http.unwrap_or(false),
        ca_bundle: spec.ca_bundle.as_deref().map(pem).transpose()?,
    };
    providers::connect(&access).map_err(|rejection| Verdict::new(rejection.reason, rejection.message))
}

/// The PEM behind `spec.caBundle`.
fn pem(base64: &str) -> Result<Vec<u8>, Verdict> {
    let text: String = base64.split_whitespace().collect();
    let decoded: Result<ByteString, _> = serde_json::from_value(text.into());
    let invalid = |_| Verdict::new(Reason::Invalid, "spec.caBundle is not base64: encode the PEM file with base64");
    decoded.map(|ByteString(pem)| pem).map_err(invalid)
}

/// Who the vendor says we are; the host alone where it cannot be asked.
async fn whoami(provider: &dyn Provider, limiter: &Limiter) -> Result<String, ProviderError> {
    if !provider.capabilities().checkable {
        return Ok("token".into());
    }
    let _place = limiter.enter(Priority::Background).await;
    provider.whoami().await
}

/// A credential that the vendor does not take.
fn refused(credential: &ProviderCredential, context: &Context, error: &ProviderError, made: Made) -> Down {
    let key = key(credential);
    warn!(credential = %key, "not connected: {error}");
    let not_before = retry::retry_at(context, &key, &credential.spec, error);
    let Made { stamp, content } = made;
    Down { verdict: retry::verdict(error), stamp, content, not_before: Some(not_before) }
}

/// When a credential that does not work is tried again.
pub fn retry_action(down: &Down) -> Action {
    down.not_before.map_or_else(Action::await_change, requeue::at)
}
