//! Compares docs/states.md with the messages of every state that waits. `USHER_BLESS=1` writes the page again.

mod others;

use futures::StreamExt;
use futures::future::{BoxFuture, FutureExt};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use usher::api::conditions::{ConditionType, find};
use usher::api::{PlatformGroup, PlatformUser, ProviderCredential};
use usher_sandbox::vendors::{Fault, FaultKind, Flood, Options, Simulator, Vendor};

use crate::conflicts::adopted_and_gone;
use crate::scene::{Scene, merge};

/// Where the page is.
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/states.md");

const INTRODUCTION: &str = "# States that wait, and their messages

Each row is a state in which an object is not Ready, with the exact message of its Ready condition. A test brings about every state on a real API
server and compares the message with this page. Names, addresses and times are examples.

| kind | reason | when | message |
|---|---|---|---|
";

/// One state: kind, reason, when it occurs, message.
type Row = (&'static str, &'static str, &'static str, String);

fn ada(further: Value) -> Value {
    let mut spec = json!({"email": "ada@example.com", "provider": {"pegasus": {"sendEmail": true}}});
    merge(&mut spec, further);
    spec
}

/// The message with everything that differs from run to run replaced.
fn general(scene: &Scene, message: &str) -> String {
    let address = scene.vendor.url().trim_start_matches("http://").split('/').next().unwrap().to_owned();
    let text = message.replace(&address, "vendor.example.com").replace(&format!("{}/", scene.namespace), "identity/");
    let text = text.replace(&format!("-n {} ", scene.namespace), "-n identity ");
    let text = text.replace(&format!(" {} ", scene.namespace), " identity ");
    text.split(' ').map(timeless).collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

fn timeless(word: &str) -> String {
    let bare = word.trim_end_matches([',', ';', ':', '.']);
    if bare.parse::<jiff::Timestamp>().is_ok() {
        return word.replace(bare, "2026-01-31T12:00:00Z");
    }
    match bare.split_once("release-removals=") {
        Some((_, token)) => word.replace(token, "1769860800-0a1b2c3d"),
        None => without_id(word),
    }
}

/// The simulated vendor counts its ids from 5000, in the order in which log-ins and accounts come.
fn without_id(word: &str) -> String {
    let (start, last) = word.split_at(word.rfind('/').map_or(0, |at| at + 1));
    let bare = last.trim_end_matches([',', ';', ':', '.']);
    let is_id = bare.len() == 4 && bare.starts_with("500");
    if is_id { format!("{start}{}", last.replace(bare, "5001")) } else { word.to_owned() }
}

async fn user_says(scene: &Scene, name: &str, reason: &'static str) -> String {
    let user: PlatformUser = scene.user_says(name, reason).await;
    let conditions = &user.status.as_ref().unwrap().report.conditions;
    general(scene, &find(conditions, ConditionType::Ready).unwrap().message)
}

async fn group_says(scene: &Scene, name: &str, reason: &'static str) -> String {
    let group: PlatformGroup = scene.group_says(name, reason).await;
    let conditions = &group.status.as_ref().unwrap().report.conditions;
    general(scene, &find(conditions, ConditionType::Ready).unwrap().message)
}

async fn credential_says(scene: &Scene, reason: &'static str) -> String {
    let credential: ProviderCredential = scene.credential_says(reason).await;
    let conditions = &credential.status.as_ref().unwrap().conditions;
    general(scene, &find(conditions, ConditionType::Ready).unwrap().message)
}

/// States that a user's manifest brings about by itself.
fn by_manifest() -> Vec<(&'static str, &'static str, Value)> {
    vec![
        ("WaitingForCredential", "the credential does not exist", json!({"credentialRef": {"name": "nowhere"}})),
        ("WaitingForGroup", "a group has no manifest yet", json!({"groups": [{"groupRef": {"name": "north"}}]})),
        (
            "WaitingForSecret",
            "the password's Secret is missing",
            json!({"provider": {"pegasus": {"sendEmail": false}}, "passwordSecretRef": {"name": "login"}}),
        ),
        ("ChangesPending", "mode Plan, and there is something to do", json!({"mode": "Plan"})),
        ("NotFound", "no account has this id", json!({"externalId": "4711"})),
        ("NotFound", "no group has this id", json!({"groups": [{"externalId": "17"}]})),
        ("NotFound", "no group has this name", json!({"groups": [{"externalName": "Nobody"}]})),
        ("AmbiguousMatch", "two groups have this name", json!({"groups": [{"externalName": "Twins"}]})),
        ("AlreadyExists", "the account was there before", json!({"email": "stranger@example.com"})),
        ("Invalid", "the vendor needs a password", json!({"provider": {"pegasus": {"sendEmail": false}}})),
        ("Invalid", "externalId belongs to another account", json!({"externalId": "STRANGER"})),
        (
            "NamespaceNotAllowed",
            "a credential elsewhere that may not be used",
            json!({"credentialRef": {"namespace": "elsewhere"}}),
        ),
        ("Privileged", "administrator rights", json!({"provider": {"pegasus": {"isStaff": true}}})),
        ("Protected", "the credential protects the account", json!({"email": "root@example.com"})),
        ("Protected", "it is the account usher logs in with", json!({"email": "usher@example.com"})),
    ]
}

async fn from_manifest(reason: &'static str, when: &'static str, mut further: Value) -> Row {
    let scene = Scene::with(Vendor::Pegasus, Options::default(), json!({"protected": ["root@example.com"]})).await;
    let stranger = scene.vendor.put_user(json!({"email": "stranger@example.com", "username": "stranger@example.com"}));
    scene.vendor.put_group(json!({"name": "Twins"}));
    scene.vendor.put_group(json!({"name": "Twins"}));
    if further["externalId"] == "STRANGER" {
        further["externalId"] = json!(stranger);
    }
    scene.credential_says("Synced").await;
    scene.user_as_is("ada", ada(further)).await;
    ("PlatformUser", reason, when, user_says(&scene, "ada", reason).await)
}

/// States that the vendor's answer to a create brings about.
async fn from_answer(reason: &'static str, when: &'static str, fault: FaultKind) -> Row {
    let scene = Scene::new(Vendor::Pegasus).await;
    scene.vendor.fault(Fault::always("users.create", fault));
    scene.user("ada", ada(json!({}))).await;
    ("PlatformUser", reason, when, user_says(&scene, "ada", reason).await)
}

async fn made(credential: Value) -> Scene {
    let scene = Scene::with(Vendor::Pegasus, Options::default(), credential).await;
    scene.user("ada", ada(json!({}))).await;
    scene.user_ready("ada").await;
    scene
}

async fn duplicate() -> Row {
    let scene = made(json!({})).await;
    scene.user("ada-2", ada(json!({}))).await;
    (
        "PlatformUser",
        "Duplicate",
        "another object is bound to the account",
        user_says(&scene, "ada-2", "Duplicate").await,
    )
}

async fn renamed_by_someone() -> Row {
    let scene = made(json!({})).await;
    scene.vendor.edit_user("ada@example.com", json!({"email": "eve@example.com", "username": "eve@example.com"}));
    scene.user("ada", ada(json!({"phone": "1"}))).await;
    let said = user_says(&scene, "ada", "ProviderMismatch").await;
    ("PlatformUser", "ProviderMismatch", "the bound account has another e-mail address", said)
}

async fn unsealed() -> Row {
    let scene = made(json!({})).await;
    let forged = Patch::Merge(json!({"status": {"key": "eve@example.com"}}));
    scene.api::<PlatformUser>().patch_status("ada", &PatchParams::default(), &forged).await.unwrap();
    scene.user("ada", ada(json!({"phone": "1"}))).await;
    let said = user_says(&scene, "ada", "AlreadyExists").await;
    ("PlatformUser", "AlreadyExists", "the status that names the account was not written by usher", said)
}

async fn other_vendor() -> Row {
    let scene = Scene::new(Vendor::Pegasus).await;
    scene.user("ada", json!({"email": "ada@example.com", "provider": {"amani": {}}})).await;
    let said = user_says(&scene, "ada", "ProviderMismatch").await;
    ("PlatformUser", "ProviderMismatch", "the provider block is for another vendor", said)
}

async fn missing() -> Row {
    let scene = adopted_and_gone().await;
    ("PlatformUser", "NotFound", "an adopted account is gone", user_says(&scene, "ada", "NotFound").await)
}

/// An account that the vendor neither shows nor lets be made anew.
async fn hide_ada(scene: &Scene) {
    scene.vendor.fault(Fault::always("users.read", FaultKind::Status(404, None)));
    scene.vendor.fault(Fault::always("users.list", FaultKind::EmptyList));
    scene.vendor.fault(Fault::always("users.find", FaultKind::EmptyList));
    scene.user("ada", ada(json!({"phone": "1"}))).await;
    scene.user_says("ada", "PermissionDenied").await;
}

async fn hidden() -> Row {
    let scene = made(json!({})).await;
    hide_ada(&scene).await;
    let said = user_says(&scene, "ada", "PermissionDenied").await;
    ("PlatformUser", "PermissionDenied", "the vendor hides the account", said)
}

async fn masked() -> Row {
    let scene = made(json!({})).await;
    scene.vendor.fault(Fault::always("users.read", FaultKind::Status(404, None)));
    scene.user("ada", ada(json!({"phone": "1"}))).await;
    let said = user_says(&scene, "ada", "PermissionDenied").await;
    ("PlatformUser", "PermissionDenied", "the vendor lists the account but does not show it", said)
}

async fn led_elsewhere() -> Row {
    let scene = made(json!({})).await;
    let other = Simulator::start(Vendor::Pegasus).await.unwrap();
    scene.apply_credential(json!({"provider": {"pegasus": {"url": other.url()}}})).await;
    let said = user_says(&scene, "ada", "ProviderMismatch").await;
    let address = other.url().trim_start_matches("http://").split('/').next().unwrap().to_owned();
    let said = said.replace(&address, "elsewhere.example.com");
    ("PlatformUser", "ProviderMismatch", "the credential leads to another tenant", said)
}

async fn not_kept() -> Row {
    let scene = made(json!({})).await;
    scene.vendor.fault(Fault::always("users.update", FaultKind::Rewritten("phone".into(), None)));
    scene.user("ada", ada(json!({"phone": "1"}))).await;
    scene.user_ready("ada").await;
    scene.sweep("1").await;
    ("PlatformUser", "NotKept", "the vendor ignores a value", user_says(&scene, "ada", "NotKept").await)
}

async fn owned_elsewhere() -> Row {
    let scene = made(json!({})).await;
    let elsewhere = json!({"status": {"cluster": "0b5cde7e-0000-4000-8000-00000000000b"}});
    scene.api::<PlatformUser>().patch_status("ada", &PatchParams::default(), &Patch::Merge(elsewhere)).await.unwrap();
    scene.user("ada", ada(json!({"phone": "1"}))).await;
    let own = Api::<Namespace>::all(scene.client.clone()).get("kube-system").await.unwrap().uid().unwrap();
    let said = user_says(&scene, "ada", "OwnedElsewhere").await.replace(&own, "5f0c0000-0000-4000-8000-00000000000a");
    ("PlatformUser", "OwnedElsewhere", "the account was bound in another cluster", said)
}

async fn deleting() -> Row {
    let scene = made(json!({"removals": {"after": "10m"}})).await;
    scene.delete::<PlatformUser>("ada").await;
    ("PlatformUser", "Deleting", "a removal waits for a hand-over", user_says(&scene, "ada", "Deleting").await)
}

async fn held() -> Row {
    let scene = made(json!({"removals": {"after": "0s", "atMost": 0}})).await;
    scene.delete::<PlatformUser>("ada").await;
    ("PlatformUser", "RemovalHeld", "the removal budget is exceeded", user_says(&scene, "ada", "RemovalHeld").await)
}

async fn deletion_while(when: &'static str, credential: Value, spoil: impl AsyncFnOnce(&Scene)) -> Row {
    let scene = made(credential).await;
    spoil(&scene).await;
    scene.delete::<PlatformUser>("ada").await;
    ("PlatformUser", "DeletionBlocked", when, user_says(&scene, "ada", "DeletionBlocked").await)
}

fn ada_at_industrility() -> Value {
    json!({"email": "ada@example.com", "firstName": "Ada", "lastName": "Lovelace", "provider": {"industrility": {
        "orgName": "Example", "userType": "Customer", "userLoginType": "COGNITO", "parentUser": "US-root@example.com", "role": "UR-customer"}}})
}

/// Industrility, which has no call that checks a token, refuses a create.
async fn refused_by_industrility() -> Scene {
    let scene = Scene::new(Vendor::Industrility).await;
    scene.credential_says("Unverified").await;
    scene.vendor.fault(Fault::always("users.create", FaultKind::Status(401, None)));
    scene.user("ada", ada_at_industrility()).await;
    scene
}

async fn user_refused_by_industrility() -> Row {
    let said = user_says(&refused_by_industrility().await, "ada", "WaitingForCredential").await;
    ("PlatformUser", "WaitingForCredential", "the vendor refuses the credential", said)
}

async fn industrility_user(spec: Value, reason: &'static str, when: &'static str) -> Row {
    let scene = Scene::new(Vendor::Industrility).await;
    let mut whole = ada_at_industrility();
    scene.user("ada", whole.clone()).await;
    scene.user_says("ada", "Created").await;
    merge(&mut whole, spec);
    scene.user("ada", whole).await;
    ("PlatformUser", reason, when, user_says(&scene, "ada", reason).await)
}

fn users() -> Vec<BoxFuture<'static, Row>> {
    let slow_down = FaultKind::RateLimited(Some(std::time::Duration::from_mins(10)));
    vec![
        from_answer("RateLimited", "the vendor asks to slow down", slow_down).boxed(),
        from_answer("ProviderUnavailable", "the vendor fails", FaultKind::Status(503, None)).boxed(),
        from_answer("ProviderUnavailable", "the vendor's answer cannot be read", FaultKind::Html).boxed(),
        from_answer("ProviderUnavailable", "the vendor's answer is too large", FaultKind::Flood(Flood::Text)).boxed(),
        from_answer("PermissionDenied", "the login may not do this", FaultKind::Status(403, None)).boxed(),
        from_answer(
            "AlreadyExists",
            "the account exists, and the vendor does not show it",
            FaultKind::Status(409, None),
        )
        .boxed(),
        from_answer("Invalid", "the vendor rejects a value", FaultKind::Status(422, None)).boxed(),
        duplicate().boxed(),
        renamed_by_someone().boxed(),
        unsealed().boxed(),
        other_vendor().boxed(),
        missing().boxed(),
        hidden().boxed(),
        masked().boxed(),
        led_elsewhere().boxed(),
        not_kept().boxed(),
        owned_elsewhere().boxed(),
        user_refused_by_industrility().boxed(),
        industrility_user(json!({"lastName": "Byron"}), "Unsupported", "the vendor cannot change a user").boxed(),
        industrility_user(json!({"deletionPolicy": "Delete"}), "Unsupported", "the vendor cannot remove a user")
            .boxed(),
        deleting().boxed(),
        held().boxed(),
        deletion_while("the object is paused", json!({}), async |scene: &Scene| {
            scene.annotate::<PlatformUser>("ada", "usher.dev/paused", "true").await;
        })
        .boxed(),
        deletion_while("the vendor refuses", json!({}), async |scene: &Scene| {
            scene.vendor.fault(Fault::always("users.delete", FaultKind::Status(403, None)));
        })
        .boxed(),
        deletion_while("the vendor hides the account", json!({}), hide_ada).boxed(),
        deletion_while("the account is protected", json!({}), async |scene: &Scene| {
            scene.apply_credential(json!({"protected": ["ada@example.com"]})).await;
            scene.user_says("ada", "Protected").await;
        })
        .boxed(),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_state_that_waits_is_in_the_docs_with_what_it_really_says() {
    let manifests = by_manifest().into_iter().map(|(reason, when, spec)| from_manifest(reason, when, spec).boxed());
    let all = manifests.chain(users()).chain(others::rows());
    let rows: Vec<Row> = futures::stream::iter(all).buffered(8).collect().await;
    let lines = rows.iter().map(|(kind, reason, when, said)| format!("| {kind} | {reason} | {when} | {said} |\n"));
    let page: String = std::iter::once(INTRODUCTION.to_owned()).chain(lines).collect();
    for (kind, reason, when, said) in &rows {
        assert!(said.len() > 20 && !said.contains("PlatformUser {"), "{kind} {reason} {when}: {said}");
    }
    if std::env::var_os("USHER_BLESS").is_some() {
        std::fs::write(PAGE, &page).unwrap();
    }
    let kept = std::fs::read_to_string(PAGE).unwrap_or_default();
    let differs: Vec<(&str, &str)> = kept.lines().zip(page.lines()).filter(|(kept, said)| kept != said).collect();
    assert!(
        differs.is_empty() && kept.len() == page.len(),
        "docs/states.md (left) is not what is said (right); run with USHER_BLESS=1 and read the difference: {differs:#?}"
    );
}
