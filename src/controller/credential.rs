//! The reconcile of a ProviderCredential: resolve → validate → connect → sweep → report.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use aws_lc_rs::digest::{Context as Context256, SHA256};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::runtime::controller::Action;
use tracing::{info, warn};

use super::connection::{Connection, Down, Link, Trouble};
use super::context::Context;
use super::{credential_report, password, requeue, salvage, sweep};
use crate::api::conditions::{ConditionType, Verdict, find};
use crate::api::names::PAUSED;
use crate::api::user::Mode;
use crate::api::{Kind, ObjectKey, ProviderCredential, Reason};
use crate::plan::Limits;
use crate::providers::{self, Access, ErrorKind, Gate, Lane, Provider, ProviderError, SecretData};

/// How often vendor and cluster are compared unless the credential says otherwise.
const RESYNC: SignedDuration = SignedDuration::from_mins(10);
/// First and longest wait before a refused login is tried again.
const PROBE: (SignedDuration, SignedDuration) = (SignedDuration::from_mins(1), SignedDuration::from_mins(15));

/// Checks one credential, keeps its connection and its index, and wakes its objects when there is news for them.
///
/// Errors: Kubernetes failed us.
pub async fn reconcile(credential: Arc<ProviderCredential>, context: &Context) -> Result<Action, kube::Error> {
    let credential = context.credentials.newest(credential);
    let key = key(&credential);
    if credential_report::is_released(context, &credential).await? {
        return Ok(Action::await_change());
    }
    let credential = context.credentials.newest(credential);
    let by_operator = || (context.settings.mode == Mode::Paused).then(|| "usher's own --mode Paused".to_owned());
    if let Some(by) = paused_by(&credential).or_else(by_operator) {
        context.wake_users_of(&key);
        return credential_report::paused(context, &credential, &by).await;
    }
    let before = context.connections.get(&key);
    let status = credential.status.as_ref();
    let was_paused = status.is_some_and(|status| find(&status.conditions, ConditionType::Paused).is_some());
    let link = attempt(&credential, context, before.clone()).await?;
    let news = match &link {
        Link::Up(connection) => sweep::sweep(context, connection, is_forced(&credential)).await,
        Link::Down(_) => false,
    };
    context.connections.set(&key, link.clone());
    let is_other = match (&before, &link) {
        // Merely checked after a refusal: who was refused comes back by himself, and slower each time.
        (Some(Link::Up(before)), Link::Up(now)) if before.content == now.content => before.closing != now.closing,
        (Some(Link::Down(_)), Link::Down(_)) => false,
        (_, Link::Up(_) | Link::Down(_)) => true,
    };
    // Where users are never listed, this is the only regular look.
    let is_blind = matches!(&link, Link::Up(connection) if !connection.provider.capabilities().listable);
    let action = credential_report::report(context, &credential, &link).await?;
    if is_other || was_paused || is_blind || news {
        context.wake_users_of(&key);
    }
    Ok(action)
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

/// How often vendor and cluster are compared.
pub fn resync(credential: &crate::api::ProviderCredentialSpec) -> SignedDuration {
    let written = credential.resync_interval.as_deref().and_then(|text| text.parse::<SignedDuration>().ok());
    // The schema asks for a minute; what was stored before that rule must not sweep without pause.
    written.unwrap_or(RESYNC).max(SignedDuration::from_mins(1))
}

fn is_forced(credential: &ProviderCredential) -> bool {
    let handled = credential.status.as_ref().and_then(|status| status.last_handled_reconcile_at.as_ref());
    credential.annotations().get(crate::api::names::RECONCILE_AT).is_some_and(|asked| Some(asked) != handled)
}

/// The link as it is now: the one before if neither spec nor Secret changed and nothing is suspect.
pub(super) async fn attempt(
    credential: &ProviderCredential,
    context: &Context,
    before: Option<Link>,
) -> Result<Link, kube::Error> {
    if let Some(message) = salvage::unreadable(credential) {
        let verdict = Verdict::new(Reason::Invalid, message);
        return Ok(Link::Down(Down { verdict, stamp: String::new(), not_before: None }));
    }
    // resolve (client required)
    let namespace = credential.namespace().unwrap_or_default();
    let name = &credential.spec.secret_ref.name;
    let Some(seen) = context.secret(&namespace, name) else {
        return Ok(without_secret(credential, before, &namespace));
    };
    let stamp = format!(
        "{}/{}/{}",
        credential.metadata.generation.unwrap_or_default(),
        seen.uid().unwrap_or_default(),
        seen.resource_version().unwrap_or_default()
    );
    match &before {
        Some(Link::Up(connection)) if connection.fits(&stamp) && is_sound(credential, connection) => {
            return Ok(Link::Up(connection.clone()));
        }
        Some(Link::Down(down)) if down.stamp == stamp && down.not_before.is_some_and(|at| at > Timestamp::now()) => {
            return Ok(Link::Down(down.clone()));
        }
        _ => {}
    }
    let Some(secret) = context.api::<Secret>(&namespace).get_opt(name).await? else {
        return Ok(without_secret(credential, before, &namespace));
    };
    if let Some(Link::Up(connection)) = &before
        && connection.content == content(credential, &secret)
        && is_sound(credential, connection)
    {
        // Labels or finalizers changed, ours perhaps: no reason to log in again.
        connection.refit(stamp);
        return Ok(Link::Up(connection.clone()));
    }
    // validate (no client required)
    if let Some(verdict) = password::wrong_type(&secret, "spec.secretRef") {
        return Ok(Link::Down(Down { verdict, stamp, not_before: None }));
    }
    // connect (client required)
    Ok(connect(credential, context, &secret, before, stamp).await)
}

/// A digest of all that a connection is made from.
fn content(credential: &ProviderCredential, secret: &Secret) -> String {
    let mut context = Context256::new(&SHA256);
    context.update(&credential.metadata.generation.unwrap_or_default().to_be_bytes());
    for (key, ByteString(value)) in secret.data.iter().flatten() {
        for part in [key.as_bytes(), value] {
            context.update(&part.len().to_be_bytes());
            context.update(part);
        }
    }
    password::hex(context.finish().as_ref())
}

fn is_sound(credential: &ProviderCredential, connection: &Connection) -> bool {
    !connection.suspect.load(Ordering::Relaxed)
        && connection.closing == credential.metadata.deletion_timestamp.is_some()
}

/// A Secret that is away takes nothing from a session that works: rotation by delete and create passes unnoticed.
fn without_secret(credential: &ProviderCredential, before: Option<Link>, namespace: &str) -> Link {
    if let Some(Link::Up(connection)) = before {
        return Link::Up(connection);
    }
    let name = &credential.spec.secret_ref.name;
    let message =
        format!("spec.secretRef: Secret {namespace}/{name} is not there; create it, and work goes on by itself");
    Link::Down(Down {
        verdict: Verdict::new(Reason::WaitingForSecret, message),
        stamp: String::new(),
        not_before: None,
    })
}

async fn connect(
    credential: &ProviderCredential,
    context: &Context,
    secret: &Secret,
    before: Option<Link>,
    stamp: String,
) -> Link {
    let previous = match before {
        Some(Link::Up(connection)) => Some(connection),
        Some(Link::Down(_)) | None => None,
    };
    let gate = gate(credential, context);
    let provider = match provider(credential, context, secret, gate.clone()) {
        Ok(provider) => provider,
        Err(verdict) => return Link::Down(Down { verdict, stamp, not_before: None }),
    };
    let login = match whoami(&*provider, &gate).await {
        Ok(login) => login,
        Err(error) => return Link::Down(refused(credential, context, &error, stamp)),
    };
    context.backoff.reset(&key(credential));
    let vendor = credential.spec.provider.vendor();
    let account = format!("{vendor} {} {login}", provider.host());
    info!(credential = %key(credential), account, "connected");
    let same = previous.filter(|previous| previous.account == account);
    // A new log-in does not mend a listing that failed: that one is due at once.
    let trouble = same.as_ref().and_then(|previous| previous.trouble());
    let trouble = trouble.map(|trouble| Trouble { until: Timestamp::now(), ..trouble });
    let kept = same.map(|previous| previous.index.clone());
    Link::Up(Arc::new(Connection {
        key: key(credential),
        vendor,
        provider,
        gate,
        account,
        login,
        spec: credential.spec.clone(),
        stamp: Mutex::new(stamp),
        content: content(credential, secret),
        suspect: AtomicBool::new(false),
        closing: credential.metadata.deletion_timestamp.is_some(),
        index: kept.unwrap_or_default(),
        trouble: Mutex::new(trouble),
    }))
}

/// The gate of the credential, with the bounds of its present spec: neither a rotation nor an outage nor an edit resets what
/// a vendor counts.
fn gate(credential: &ProviderCredential, context: &Context) -> Gate {
    let requests = credential.spec.requests.clone().unwrap_or_default();
    let vendor = credential.spec.provider.vendor();
    let usual = providers::capabilities(vendor).default_limits;
    let limits = Limits {
        per_minute: requests.per_minute.unwrap_or(usual.per_minute),
        burst: requests.burst.unwrap_or(usual.burst),
        concurrency: requests.concurrency.unwrap_or(usual.concurrency),
    };
    let make = || Gate::new(vendor, limits, context.wake.clone(), context.tally.clone());
    let gate = context.connections.gate(&key(credential), make);
    gate.limit(limits);
    gate
}

fn provider(
    credential: &ProviderCredential,
    context: &Context,
    secret: &Secret,
    gate: Gate,
) -> Result<Arc<dyn Provider>, Verdict> {
    let spec = &credential.spec;
    let entries = secret.data.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone()));
    let secret = SecretData::new(secret.name_any(), entries);
    let access = Access {
        provider: &spec.provider,
        secret: &secret,
        gate,
        observer: context.tally.clone(),
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
async fn whoami(provider: &dyn Provider, gate: &Gate) -> Result<String, ProviderError> {
    if !provider.capabilities().checkable {
        return Ok("token".into());
    }
    let _place = gate.enter(Lane::Background).await;
    provider.whoami().await
}

/// A refused login is probed slowly, an absent vendor with the usual back-off.
fn refused(credential: &ProviderCredential, context: &Context, error: &ProviderError, stamp: String) -> Down {
    let key = key(credential);
    warn!(credential = %key, "not connected: {error}");
    let backoff = SignedDuration::try_from(context.backoff.next(&key)).unwrap_or(PROBE.0);
    let (reason, wait) = match error.kind {
        ErrorKind::Unauthenticated => (Reason::Unauthenticated, (backoff * 60).clamp(PROBE.0, PROBE.1)),
        ErrorKind::PermissionDenied => (Reason::PermissionDenied, resync(&credential.spec)),
        ErrorKind::RateLimited => (Reason::RateLimited, backoff),
        ErrorKind::Invalid | ErrorKind::NotFound | ErrorKind::Unsupported | ErrorKind::Conflict => {
            (Reason::Invalid, resync(&credential.spec))
        }
        ErrorKind::Unavailable => (Reason::ProviderUnavailable, backoff),
    };
    let not_before = error.retry_at.unwrap_or(Timestamp::now() + wait);
    let help = match reason {
        Reason::Unauthenticated => "; correct the Secret, and it is tried at once",
        _ => "",
    };
    Down { verdict: Verdict::new(reason, format!("{error}{help}")), stamp, not_before: Some(not_before) }
}

/// When a credential that does not work is tried again.
pub fn retry(down: &Down) -> Action {
    down.not_before.map_or_else(Action::await_change, requeue::at)
}
