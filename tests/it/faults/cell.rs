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

use super::act::{Act, Target};
use super::expected::{WELL, reasons};
use super::stage::Stage;
use super::strike::Strike;

/// Longest time until the fault is said.
const UNTIL_SAID: Duration = Duration::from_secs(25);
/// Longest time until it is over; a create in doubt alone takes 12 s.
const UNTIL_OVER: Duration = Duration::from_secs(50);

/// Plays it; what went wrong, if something did.
pub async fn play(stage: &Stage, operation: &str, strike: &Strike, name: &str) -> Result<(), String> {
    let (act, vendor) = (Act::of(operation), &stage.scene.vendor);
    act.prepare(stage, name).await;
    if strike.name == "repeated page" {
        crowd(stage);
    }
    let (bystanders, untouched) = (stage.bystanders().await, stage.untouched());
    let (calls, violations) = (vendor.count(operation), vendor.violations().len());
    vendor.fault(strike.on(operation));
    act.begin(stage, name).await;
    let reasons = reasons(vendor.vendor(), operation, strike);
    wait(stage, act, name, name, &reasons, UNTIL_SAID).await.map_err(|was| format!("not {reasons:?} but {was}"))?;
    if vendor.count(operation) == calls {
        return Err("it was never called".into());
    }
    same("those in sync during the outage", &bystanders, &stage.bystanders().await)?;
    vendor.heal();
    let after = format!("{name}-after");
    if act.is_about_credential() {
        stage.touch_secret(&after).await;
        act.nudge(stage, "main", &after).await;
    } else {
        act.nudge(stage, name, &after).await;
    }
    wait(stage, act, name, &after, WELL, UNTIL_OVER).await.map_err(|was| format!("never recovered: {was}"))?;
    same("those in sync", &bystanders, &stage.bystanders().await)?;
    same("the accounts of others", &untouched, &stage.untouched())?;
    let (twins, violations) = (stage.twins(), vendor.violations().split_off(violations));
    if !twins.is_empty() || !violations.is_empty() {
        return Err(format!("twins {twins:?}, violations {violations:?}"));
    }
    act.shortfall(stage, name).map_or(Ok(()), Err)
}

/// More accounts than fit on a page.
fn crowd(stage: &Stage) {
    for number in 0..1001 {
        let email = format!("crowd{number}@example.com");
        stage.scene.vendor.put_user(json!({"email": email, "username": email}));
        stage.scene.vendor.put_group(json!({"name": format!("Crowd {number}")}));
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
