//! One cell of the matrix: an operation, a fault, and everything that must and must not come of it.

use std::fmt::Debug;
use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use kube::runtime::wait::await_condition;
use kube::{Api, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use usher::api::{PlatformGroup, PlatformUser, ProviderCredential};
use usher_sandbox::vendors::Vendor;

use super::act::{Act, Target};
use super::expected::{WELL, reasons};
use super::stage::Stage;
use super::strike::Strike;
use crate::scene::PATIENCE;

/// Longest time until it is over: the back-off of several attempts.
const UNTIL_OVER: Duration = Duration::from_mins(2);

/// Plays it; what went wrong, if something did.
pub async fn play(stage: &Stage, operation: &str, strike: &Strike, name: &str) -> Result<(), String> {
    let (act, vendor) = (Act::of(operation), &stage.scene.vendor);
    act.prepare(stage, name).await;
    if strike.name == "repeated page" {
        crowd(stage, operation, act).await;
    }
    let (bystanders, untouched) = (stage.bystanders().await, stage.untouched());
    // A sweep of the credential's own may meet the fault before it is counted, or be let through before it is there.
    let before = vendor.count(operation);
    strike.begin(vendor, operation).await;
    let calls = if strike.lets_calls_through() { before } else { vendor.count(operation) };
    let violations = vendor.violations().len();
    act.begin(stage, name, strike).await;
    let reasons = reasons(vendor.vendor(), operation, strike);
    wait(stage, act, name, name, &reasons, PATIENCE).await.map_err(|was| format!("not {reasons:?} but {was}"))?;
    if strike.lets_calls_through() {
        // A slow machine may let a call before it run out of time, which is said alike: then it comes with the next try. What
        // was said of the call itself is not waited for again: the next try may have put it right.
        if vendor.count(operation) <= calls {
            stage.scene.vendor_until("the call", |vendor| vendor.count(operation) > calls).await;
            wait(stage, act, name, name, &reasons, PATIENCE)
                .await
                .map_err(|was| format!("not {reasons:?} but {was}"))?;
        }
    } else if vendor.count(operation) > calls {
        return Err(format!("it was called {} times", vendor.count(operation) - calls));
    }
    same("those in sync during the outage", &bystanders, &stage.bystanders().await)?;
    strike.end(vendor).await;
    let after = format!("{name}-after");
    if act.is_about_credential() || is_only_told_by_creates(stage, &reasons) {
        stage.touch_secret(&after).await;
    }
    act.nudge(stage, if act.is_about_credential() { "main" } else { name }, &after).await;
    wait(stage, act, name, &after, WELL, UNTIL_OVER).await.map_err(|was| format!("never recovered: {was}"))?;
    same("those in sync", &bystanders, &stage.bystanders().await)?;
    same("the accounts of others", &untouched, &stage.untouched())?;
    let (twins, violations) = (stage.twins(), vendor.violations().split_off(violations));
    let needless = stage.needless_calls();
    if !twins.is_empty() || !violations.is_empty() || !needless.is_empty() {
        return Err(format!("twins {twins:?}, violations {violations:?}, needless calls {needless:?}"));
    }
    act.shortfall(stage, name).map_or(Ok(()), Err)
}

/// Whether a credential that was refused stays so until the next slow probe: the vendor has no call that checks it.
fn is_only_told_by_creates(stage: &Stage, reasons: &[&str]) -> bool {
    stage.scene.vendor.vendor() == Vendor::Industrility && reasons.contains(&"WaitingForCredential")
}

/// More users or groups than fit on a page; they come between two listings, not while one is made.
async fn crowd(stage: &Stage, operation: &str, act: Act) {
    let more_than_a_page = match stage.scene.vendor.vendor() {
        Vendor::Pegasus => 1001,
        Vendor::Ozmap => 501,
        // The stage's Amani has pages of two; the others have none.
        Vendor::Amani | Vendor::Plaspy | Vendor::Industrility => 8,
    };
    for number in 0..more_than_a_page {
        let email = format!("crowd{number}@example.com");
        if operation.starts_with("groups.") {
            stage.scene.vendor.put_group(json!({"name": format!("Crowd {number}")}));
        } else {
            stage.scene.vendor.put_user(json!({"email": email, "username": email}));
        }
    }
    if act == Act::Sweep {
        stage.scene.sweep("crowd").await;
        stage.scene.credential_says("Synced").await;
    }
}

fn same(what: &str, before: &Value, after: &Value) -> Result<(), String> {
    if before == after { Ok(()) } else { Err(format!("{what} were {before} and are {after}")) }
}

/// Waits until the object in question says one of `reasons`, for its present spec; `handled` is the credential's annotation.
/// What it said instead.
async fn wait(
    stage: &Stage,
    act: Act,
    name: &str,
    handled: &str,
    reasons: &[&str],
    within: Duration,
) -> Result<(), String> {
    let scene = &stage.scene;
    let is_well = |reason: &str| WELL.contains(&reason);
    let wanted = |object: Option<&Value>| {
        let Some(object) = object else { return act.is_removal() && reasons.iter().any(|reason| is_well(reason)) };
        let reason = reason(object);
        let seen = match act.target() {
            Target::Credential => object["status"]["lastHandledReconcileAt"] == handled || !is_well(reason),
            Target::User | Target::Group => object["status"]["observedGeneration"] == object["metadata"]["generation"],
        };
        seen && reasons.contains(&reason)
    };
    match act.target() {
        Target::Credential => until::<ProviderCredential>(scene.api(), "main", wanted, within).await,
        Target::User => until::<PlatformUser>(scene.api(), name, wanted, within).await,
        Target::Group => until::<PlatformGroup>(scene.api(), name, wanted, within).await,
    }
}

fn reason(object: &Value) -> &str {
    let conditions = object["status"]["conditions"].as_array();
    let ready = conditions.into_iter().flatten().find(|condition| condition["type"] == "Ready");
    ready.and_then(|ready| ready["reason"].as_str()).unwrap_or_default()
}

async fn until<K>(
    api: Api<K>,
    name: &str,
    wanted: impl Fn(Option<&Value>) -> bool,
    within: Duration,
) -> Result<(), String>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Serialize
        + Send
        + 'static,
{
    let condition = |object: Option<&K>| wanted(object.map(|object| json!(object)).as_ref());
    match tokio::time::timeout(within, await_condition(api.clone(), name, condition)).await {
        Ok(ended) => ended.map(drop).map_err(|error| error.to_string()),
        Err(_) => Err(api.get_opt(name).await.map_or_else(
            |error| error.to_string(),
            |object| object.map_or("nothing".into(), |object| json!(object)["status"].to_string()),
        )),
    }
}
