//! The strictest of flag, credential, object and annotation wins.

use std::process::Stdio;

use kube::api::{Patch, PatchParams};
use kube::runtime::wait::await_condition;
use kube::{Api, Client};
use rstest::rstest;
use serde_json::{Value, json};
use tokio::process::{Child, Command};
use usher::api::conditions::{ConditionType, find};
use usher::api::user::Mode;
use usher::api::{PlatformUser, ProviderCredential};
use usher_sandbox::controlplane::{self, ControlPlane};
use usher_sandbox::vendors::{Options, Simulator, Vendor};

use crate::scene::{PATIENCE, Scene, merge};
use crate::world::own_plane;

fn ada(further: Value) -> Value {
    let mut spec = json!({"email": "ada@example.com", "provider": {"pegasus": {"sendEmail": true}}});
    merge(&mut spec, further);
    spec
}

/// The mode in effect, once usher has said it.
fn said(user: &PlatformUser) -> Option<Mode> {
    user.status.as_ref().and_then(|status| status.report.mode)
}

fn paused_by(user: &PlatformUser) -> Option<String> {
    let conditions = &user.status.as_ref()?.report.conditions;
    find(conditions, ConditionType::Paused).map(|condition| condition.message.clone())
}

fn is_pending(user: &PlatformUser) -> bool {
    user.status.as_ref().is_some_and(|status| status.report.pending.is_some())
}

#[rstest]
#[case::credential_plans("Plan", "Enforce", Mode::Plan)]
#[case::object_plans("Enforce", "Plan", Mode::Plan)]
#[case::credential_pauses_a_plan("Paused", "Plan", Mode::Paused)]
#[case::object_pauses_a_plan("Plan", "Paused", Mode::Paused)]
#[case::object_pauses("Enforce", "Paused", Mode::Paused)]
#[tokio::test]
async fn the_stricter_of_credential_and_object_wins(
    #[case] credential: &str,
    #[case] object: &str,
    #[case] effective: Mode,
) {
    let scene = Scene::with(Vendor::Pegasus, Options::default(), json!({"mode": credential})).await;
    scene.user("ada", ada(json!({"mode": object}))).await;
    let user = scene.until("ada", move |user: &PlatformUser| said(user) == Some(effective)).await;
    assert_eq!(paused_by(&user).is_some(), effective == Mode::Paused);
    assert_eq!(is_pending(&user), effective == Mode::Plan);
    assert!(scene.vendor.writes().is_empty(), "{:#?}", scene.vendor.writes());
    scene.apply_credential(json!({"mode": "Enforce"})).await;
    scene.user("ada", ada(json!({"mode": "Enforce"}))).await;
    scene.user_ready("ada").await;
}

#[tokio::test]
async fn an_annotation_pauses_what_else_would_plan() {
    let scene = Scene::with(Vendor::Pegasus, Options::default(), json!({"mode": "Plan"})).await;
    scene.user("ada", ada(json!({}))).await;
    scene.until("ada", is_pending).await;
    scene.annotate::<PlatformUser>("ada", "usher.dev/paused", "true").await;
    let user = scene.until("ada", |user: &PlatformUser| said(user) == Some(Mode::Paused)).await;
    assert!(paused_by(&user).unwrap().contains("annotation usher.dev/paused"));
    assert!(scene.vendor.writes().is_empty());
}

/// A cluster whose operator runs with a mode of its own.
struct Flagged {
    plane: ControlPlane,
    vendor: Simulator,
    process: Child,
}

impl Flagged {
    async fn start(mode: &str) -> Self {
        let plane = own_plane().await;
        let admin = plane.client().unwrap();
        let vendor = Simulator::start(Vendor::Pegasus).await.unwrap();
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "main", "namespace": "default"}, "stringData": vendor.secret()});
        let login = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login", "namespace": "default"}, "stringData": {"password": "Fake-Passw0rd"}});
        let credential = json!({"apiVersion": "usher.dev/v1alpha1", "kind": "ProviderCredential", "metadata": {"name": "main", "namespace": "default"}, "spec": {
            "provider": {"pegasus": {"url": vendor.url()}}, "secretRef": {"name": "main"}, "allowInsecureHttp": true,
        }});
        let user = json!({"apiVersion": "usher.dev/v1alpha1", "kind": "PlatformUser", "metadata": {"name": "ada", "namespace": "default"}, "spec": {
            "credentialRef": {"name": "main"}, "email": "ada@example.com", "passwordSecretRef": {"name": "login"}, "mode": "Enforce",
        }});
        for document in [secret, login, credential, user] {
            controlplane::apply(&admin, &document.to_string()).await.unwrap();
        }
        let process = Self::operator(&plane, mode).await;
        Self { plane, vendor, process }
    }

    async fn operator(plane: &ControlPlane, mode: &str) -> Child {
        let token = plane.service_account_token("usher-system", "usher").await.unwrap();
        let kubeconfig = plane.dir().join("operator.kubeconfig");
        plane.write_kubeconfig(&kubeconfig, &token).unwrap();
        Command::new(env!("CARGO_BIN_EXE_usher"))
            .args(["run", "--allow-insecure-http", "--admin-address=127.0.0.1:0", "--mode", mode])
            .env("KUBECONFIG", kubeconfig)
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap()
    }

    fn client(&self) -> Client {
        self.plane.client().unwrap()
    }

    async fn until(&self, wanted: impl Fn(&PlatformUser) -> bool) -> PlatformUser {
        let api: Api<PlatformUser> = Api::default_namespaced(self.client());
        let condition = |user: Option<&PlatformUser>| user.is_some_and(&wanted);
        let found = tokio::time::timeout(PATIENCE, await_condition(api.clone(), "ada", condition)).await;
        let Ok(found) = found else { panic!("never: {:#?}", api.get("ada").await) };
        found.unwrap().unwrap()
    }
}

#[tokio::test]
async fn the_flag_plan_shows_all_and_writes_nothing_but_status_and_the_strictest_still_wins() {
    let mut world = Flagged::start("Plan").await;
    let user = world.until(is_pending).await;
    assert_eq!(said(&user), Some(Mode::Plan));
    let pending = user.status.unwrap().report.pending.unwrap();
    assert!(pending[0].operation == "create" && pending[0].fields.contains(&"password".to_owned()), "{pending:#?}");
    assert!(world.vendor.writes().is_empty(), "{:#?}", world.vendor.writes());
    let secrets: Api<k8s_openapi::api::core::v1::Secret> = Api::namespaced(world.client(), "usher-system");
    assert!(secrets.get_opt("usher-password-digest").await.unwrap().is_none(), "Plan makes no key");

    let credentials: Api<ProviderCredential> = Api::default_namespaced(world.client());
    let pause = Patch::Merge(json!({"spec": {"mode": "Paused"}}));
    credentials.patch("main", &PatchParams::default(), &pause).await.unwrap();
    let user = world.until(|user| said(user) == Some(Mode::Paused)).await;
    assert!(paused_by(&user).unwrap().contains("credential main"));

    let lift = Patch::Merge(json!({"spec": {"mode": null}}));
    credentials.patch("main", &PatchParams::default(), &lift).await.unwrap();
    world.until(|user| said(user) == Some(Mode::Plan)).await;
    world.process.kill().await.unwrap();
    world.process = Flagged::operator(&world.plane, "Enforce").await;
    world.until(|user| said(user) == Some(Mode::Enforce)).await;
    assert_eq!(world.vendor.writes().iter().map(|call| call.operation).collect::<Vec<_>>(), ["users.create"]);
}

#[tokio::test]
async fn the_flag_paused_makes_no_call() {
    let world = Flagged::start("Paused").await;
    let user = world.until(|user| said(user) == Some(Mode::Paused)).await;
    assert!(paused_by(&user).unwrap().contains("--mode Paused"));
    assert!(world.vendor.calls().is_empty(), "{:#?}", world.vendor.calls());
}

#[rstest]
#[case::object("Enforce", "Plan", "spec.mode asks")]
#[case::credential("Plan", "Enforce", "the credential main asks")]
#[tokio::test]
async fn a_deletion_that_is_only_planned_says_by_whom(
    #[case] credential: &str,
    #[case] object: &str,
    #[case] words: &str,
) {
    let scene = Scene::new(Vendor::Pegasus).await;
    scene.user("ada", ada(json!({}))).await;
    scene.user_ready("ada").await;
    scene.apply_credential(json!({"mode": credential})).await;
    scene.user("ada", ada(json!({"mode": object}))).await;
    scene.until("ada", move |user: &PlatformUser| said(user) == Some(Mode::Plan)).await;
    scene.delete::<PlatformUser>("ada").await;
    let blocked = scene.user_says("ada", "DeletionBlocked").await;
    assert!(crate::contract::message(&blocked).contains(words), "{}", crate::contract::message(&blocked));
}
