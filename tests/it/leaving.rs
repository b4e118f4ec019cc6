//! Every deletion policy in every state an object can be in when it is deleted: what becomes of the account, and the way out where it cannot go on.

use futures::StreamExt;
use serde_json::{Value, json};
use usher::api::conditions::{ConditionType, find};
use usher::api::user::Mode;
use usher::api::{PlatformUser, ProviderCredential};
use usher_sandbox::vendors::{Fault, FaultKind, Vendor};

use crate::contract::message;
use crate::scene::{Scene, merge};

/// What an object may be in when it is deleted.
#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    InSync,
    NeverCreated,
    InDoubt,
    Adopted,
    Duplicate,
    CredentialGone,
    SecretGone,
    TokenRevoked,
    VendorDown,
    AlreadyGone,
    SpecInvalid,
    Paused,
    Planned,
}

const STATES: [State; 13] = [
    State::InSync,
    State::NeverCreated,
    State::InDoubt,
    State::Adopted,
    State::Duplicate,
    State::CredentialGone,
    State::SecretGone,
    State::TokenRevoked,
    State::VendorDown,
    State::AlreadyGone,
    State::SpecInvalid,
    State::Paused,
    State::Planned,
];

/// What becomes of the account.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    /// There is none afterwards.
    Absent,
    /// It is there and may not log in.
    Disabled,
    /// It is there as it was.
    Untouched,
    /// The deletion says why it waits, and ends by the command it prints.
    Blocked,
}

/// As behaviour.md says.
fn expected(policy: Option<&str>, state: State) -> End {
    let asked = match policy {
        Some("Orphan") => End::Untouched,
        Some("Disable") => End::Disabled,
        _ => End::Absent,
    };
    match state {
        State::NeverCreated | State::AlreadyGone => End::Absent,
        State::Duplicate => End::Untouched,
        State::Adopted if policy.is_none() => End::Untouched,
        State::CredentialGone | State::TokenRevoked | State::VendorDown | State::Paused | State::Planned
            if asked != End::Untouched =>
        {
            End::Blocked
        }
        State::InSync
        | State::InDoubt
        | State::Adopted
        | State::CredentialGone
        | State::SecretGone
        | State::TokenRevoked
        | State::VendorDown
        | State::SpecInvalid
        | State::Paused
        | State::Planned => asked,
    }
}

fn ada(policy: Option<&str>, further: Value) -> Value {
    let mut spec = json!({"email": "ada@example.com", "provider": {"pegasus": {"sendEmail": true}}});
    if let Some(policy) = policy {
        merge(&mut spec, json!({"deletionPolicy": policy}));
    }
    merge(&mut spec, further);
    spec
}

fn merged(mut spec: Value, further: Value) -> Value {
    merge(&mut spec, further);
    spec
}

/// Brings the object `ada` into the state.
async fn bring(scene: &Scene, policy: Option<&str>, state: State) {
    match state {
        State::NeverCreated => {
            scene.user("ada", ada(policy, json!({"groups": [{"groupRef": {"name": "nowhere"}}]}))).await;
            scene.user_says("ada", "WaitingForGroup").await;
        }
        State::InDoubt => {
            scene.credential_says("Synced").await;
            scene.vendor.fault(Fault::once("users.create", FaultKind::LostAfterCommit));
            scene.user("ada", ada(policy, json!({}))).await;
            let doubted =
                |user: &PlatformUser| user.status.as_ref().is_some_and(|status| status.identity.creating.is_some());
            scene.until("ada", doubted).await;
            scene.vendor_until("the account", |vendor| vendor.user("ada@example.com").is_some()).await;
        }
        State::Adopted => {
            scene.vendor.put_user(json!({"email": "ada@example.com", "username": "ada@example.com"}));
            scene.user("ada", ada(policy, json!({"adoptionPolicy": "Adopt"}))).await;
            scene.user_ready("ada").await;
        }
        State::Duplicate => {
            scene.user("first", ada(None, json!({}))).await;
            scene.user_ready("first").await;
            scene.user("ada", ada(policy, json!({}))).await;
            scene.user_says("ada", "Duplicate").await;
        }
        _ => {
            scene.user("ada", ada(policy, json!({}))).await;
            scene.user_ready("ada").await;
            spoil(scene, policy, state).await;
        }
    }
}

/// Spoils the state of an object that is in sync.
async fn spoil(scene: &Scene, policy: Option<&str>, state: State) {
    match state {
        State::CredentialGone => {
            scene.delete::<ProviderCredential>("main").await;
            scene.credential_says("DeletionBlocked").await;
            scene.patch::<ProviderCredential>("main", json!({"metadata": {"finalizers": null}})).await;
            scene.until_gone::<ProviderCredential>("main").await;
        }
        State::SecretGone => {
            scene.delete::<k8s_openapi::api::core::v1::Secret>("main").await;
            scene.credential_says("WaitingForSecret").await;
        }
        State::TokenRevoked => scene.vendor.fault(Fault::always("*", FaultKind::Status(401, None))),
        State::VendorDown => scene.vendor.fault(Fault::always("*", FaultKind::Status(503, None))),
        State::AlreadyGone => assert!(scene.vendor.remove_user("ada@example.com")),
        State::SpecInvalid => {
            scene.user("ada", ada(policy, json!({"provider": {"pegasus": {"isStaff": true}}}))).await;
            scene.user_says("ada", "Privileged").await;
        }
        State::Paused => {
            scene.annotate::<PlatformUser>("ada", "usher.dev/paused", "true").await;
            let paused = |user: &PlatformUser| {
                let conditions = &user.status.as_ref().unwrap().report.conditions;
                find(conditions, ConditionType::Paused).is_some()
            };
            scene.until("ada", paused).await;
        }
        State::Planned => {
            scene.apply_credential(json!({"mode": "Plan"})).await;
            let planned = |credential: &ProviderCredential| {
                credential.status.as_ref().is_some_and(|status| status.mode == Some(Mode::Plan))
            };
            scene.until("main", planned).await;
        }
        _ => {}
    }
}

/// Waits until the deletion says that it cannot go on, and takes the way out that is printed.
async fn leave_by_the_way_out(scene: &Scene) {
    let waits = |user: &PlatformUser| {
        let conditions = &user.status.as_ref().unwrap().report.conditions;
        let ready = find(conditions, ConditionType::Ready);
        user.metadata.deletion_timestamp.is_some()
            && ready.is_some_and(|ready| ready.status == "False" && ready.message.contains("--type merge -p '"))
    };
    let told = message(&scene.until("ada", waits).await);
    let command = told.split_once("--type merge -p '").unwrap().1;
    scene.patch::<PlatformUser>("ada", serde_json::from_str(command.split('\'').next().unwrap()).unwrap()).await;
}

/// What is wrong with one policy in one state; nothing if all is as expected.
async fn try_one(policy: Option<&'static str>, state: State) -> Result<(), String> {
    let scene = Scene::new(Vendor::Pegasus).await;
    bring(&scene, policy, state).await;
    let before = scene.vendor.user("ada@example.com");
    scene.delete::<PlatformUser>("ada").await;
    let wanted = expected(policy, state);
    if wanted == End::Blocked {
        leave_by_the_way_out(&scene).await;
    }
    scene.until_gone::<PlatformUser>("ada").await;
    let after = scene.vendor.user("ada@example.com");
    let got = match &after {
        None => End::Absent,
        Some(account) if Some(account) == before.as_ref() => End::Untouched,
        Some(account) if account["is_active"] == false => End::Disabled,
        Some(_) => return Err(format!("{policy:?} {state:?}: changed from {before:?} to {after:?}")),
    };
    let fine = got == wanted || (wanted == End::Blocked && got == End::Untouched);
    let violations = scene.vendor.violations();
    if fine && violations.is_empty() {
        return Ok(());
    }
    Err(format!("{policy:?} {state:?}: expected {wanted:?}, got {got:?} {violations:?}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_policy_in_every_state_ends_as_promised() {
    let policies = [None, Some("Delete"), Some("Disable"), Some("Orphan")];
    let cases = policies.into_iter().flat_map(|policy| STATES.map(|state| (policy, state)));
    let runs = cases.map(|(policy, state)| {
        let run = tokio::spawn(try_one(policy, state));
        async move { run.await.unwrap_or_else(|failure| Err(format!("{policy:?} {state:?}: {failure}"))) }
    });
    let results: Vec<_> = futures::stream::iter(runs).buffer_unordered(8).collect().await;
    let failures: Vec<String> = results.into_iter().filter_map(Result::err).collect();
    assert!(failures.is_empty(), "{failures:#?}");
}

/// The object `ada` with a pending create whose answer was lost, and its e-mail changed meanwhile.
async fn doubted_and_renamed(scene: &Scene, fault: FaultKind, spec: impl Fn(&str) -> Value) {
    scene.credential_says("Synced").await;
    scene.vendor.fault(Fault::once("users.create", fault));
    scene.user("ada", spec("ada@example.com")).await;
    let doubted = |user: &PlatformUser| user.status.as_ref().is_some_and(|status| status.identity.creating.is_some());
    scene.until("ada", doubted).await;
    scene.user_says("ada", "ProviderUnavailable").await;
    scene.user("ada", spec("bob@example.com")).await;
}

#[tokio::test]
async fn a_pending_create_is_removed_by_the_key_it_was_made_with() {
    let scene = Scene::new(Vendor::Pegasus).await;
    let spec = |email: &str| merged(ada(Some("Delete"), json!({})), json!({"email": email}));
    doubted_and_renamed(&scene, FaultKind::LostAfterCommit, spec).await;
    scene.delete::<PlatformUser>("ada").await;
    scene.until_gone::<PlatformUser>("ada").await;
    assert!(scene.vendor.user("ada@example.com").is_none(), "{:#?}", scene.vendor.users());
}

#[tokio::test]
async fn a_pending_create_that_made_nothing_costs_no_other_object_its_account() {
    let scene = Scene::new(Vendor::Amani).await;
    scene.secret("login", &json!({"password": "Fake-Passw0rd"})).await;
    scene.vendor.put_user(json!({"email": "bob@example.com", "username": "bob@example.com"}));
    let before = scene.vendor.user("bob@example.com");
    let spec =
        |email: &str| json!({"email": email, "passwordSecretRef": {"name": "login"}, "deletionPolicy": "Disable"});
    doubted_and_renamed(&scene, FaultKind::LostBeforeCommit, spec).await;
    scene.delete::<PlatformUser>("ada").await;
    scene.until_gone::<PlatformUser>("ada").await;
    assert_eq!(scene.vendor.user("bob@example.com"), before);
}

#[tokio::test]
async fn an_object_whose_finalizer_was_taken_away_is_held_again() {
    let scene = Scene::new(Vendor::Pegasus).await;
    scene.user("ada", ada(None, json!({}))).await;
    scene.user_ready("ada").await;
    scene.patch::<PlatformUser>("ada", json!({"metadata": {"finalizers": null}})).await;
    let held =
        |user: &PlatformUser| user.metadata.finalizers.iter().flatten().any(|name| name == "usher.dev/finalizer");
    scene.until("ada", held).await;
    scene.delete::<PlatformUser>("ada").await;
    scene.until_gone::<PlatformUser>("ada").await;
    assert!(scene.vendor.user("ada@example.com").is_none());
}
