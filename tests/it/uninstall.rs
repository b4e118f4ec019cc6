//! Ends: a whole namespace, and usher itself, go without hanging and without costing an account nobody meant to lose.

use std::fmt::Debug;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::runtime::wait::await_condition;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use usher::api::PlatformUser;
use usher_sandbox::controlplane::{self, ControlPlane, Options};
use usher_sandbox::vendors::{Simulator, Vendor};

use crate::contract::sample;
use crate::scene::{PATIENCE, merge};
use crate::world::{Uncounted, install, settings};

/// A control plane of its own, with the real namespace controller, an operator, and a user that is in sync.
struct Stage {
    admin: Client,
    vendor: Simulator,
    plane: ControlPlane,
    operator: JoinHandle<()>,
}

impl Stage {
    async fn new() -> Self {
        let vendor = Simulator::start(Vendor::Pegasus).await.unwrap();
        let plane = ControlPlane::start(Options { controllers: true }).await.unwrap();
        let admin = install(&plane).await;
        let client = plane.service_account_client("usher-system", "usher").await.unwrap();
        let operator = tokio::spawn(usher::controller::run(
            client,
            settings(),
            Arc::new(Uncounted),
            CancellationToken::new(),
            Box::new(|_| {}),
        ));
        let stage = Self { admin, vendor, plane, operator };
        stage.populate().await;
        stage
    }

    async fn populate(&self) {
        let metadata = |name: &str| json!({"name": name, "namespace": "team"});
        let credential = json!({"provider": {"pegasus": {"url": self.vendor.url()}}, "secretRef": {"name": "main"},
            "allowInsecureHttp": true, "removals": {"after": "0s"}});
        let user = json!({"credentialRef": {"name": "main"}, "email": "ada@example.com", "provider": {"pegasus": {"sendEmail": true}},
            "groups": [{"groupRef": {"name": "north"}}]});
        let kind = |kind: &str, name: &str, spec: Value| json!({"apiVersion": "usher.dev/v1alpha1", "kind": kind, "metadata": metadata(name), "spec": spec});
        for document in [
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}}),
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata("main"), "stringData": self.vendor.secret()}),
            kind("ProviderCredential", "main", credential),
            kind("PlatformGroup", "north", json!({"credentialRef": {"name": "main"}})),
            kind("PlatformUser", "ada", user),
        ] {
            controlplane::apply(&self.admin, &document.to_string()).await.unwrap();
        }
        self.until_bound("ada").await;
    }

    async fn until_bound(&self, name: &str) {
        let users: Api<PlatformUser> = Api::namespaced(self.admin.clone(), "team");
        let bound = |user: Option<&PlatformUser>| {
            user.and_then(|user| user.status.as_ref()).is_some_and(|status| status.identity.external_id.is_some())
        };
        let came = tokio::time::timeout(PATIENCE, await_condition(users.clone(), name, bound)).await;
        assert!(came.is_ok(), "{:#?}", users.get(name).await);
    }

    async fn until_gone<K>(&self, api: Api<K>, name: &str)
    where
        K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
    {
        let gone = await_condition(api.clone(), name, |object: Option<&K>| object.is_none());
        let went = tokio::time::timeout(PATIENCE, gone).await.is_ok();
        assert!(went, "{name} never went: {:#?}", api.get(name).await);
    }
}

#[tokio::test]
async fn deleting_a_namespace_completes_by_itself_and_takes_the_accounts_along() {
    let stage = Stage::new().await;
    let namespaces: Api<Namespace> = Api::all(stage.admin.clone());
    namespaces.delete("team", &DeleteParams::default()).await.unwrap();
    stage.until_gone(namespaces, "team").await;
    assert!(stage.vendor.user("ada@example.com").is_none(), "{:#?}", stage.vendor.calls());
    assert!(stage.vendor.group("north").is_none());
    assert_eq!(stage.vendor.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn uninstalling_does_not_wait_for_a_policy_that_the_vendor_cannot_carry_out() {
    let stage = Stage::new().await;
    let vendor = Simulator::start(Vendor::Industrility).await.unwrap();
    let metadata = |name: &str| json!({"name": name, "namespace": "team"});
    let credential = json!({"provider": {"industrility": {"url": vendor.url()}}, "secretRef": {"name": "other"}, "allowInsecureHttp": true});
    let mut user = sample(Vendor::Industrility).user;
    merge(&mut user, json!({"credentialRef": {"name": "other"}}));
    for document in [
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata("other"), "stringData": vendor.secret()}),
        json!({"apiVersion": "usher.dev/v1alpha1", "kind": "ProviderCredential", "metadata": metadata("other"), "spec": credential}),
        json!({"apiVersion": "usher.dev/v1alpha1", "kind": "PlatformUser", "metadata": metadata("eve"), "spec": user}),
    ] {
        controlplane::apply(&stage.admin, &document.to_string()).await.unwrap();
    }
    stage.until_bound("eve").await;
    let users: Api<PlatformUser> = Api::namespaced(stage.admin.clone(), "team");
    let impossible = Patch::Merge(json!({"spec": {"deletionPolicy": "Delete"}}));
    users.patch("eve", &PatchParams::default(), &impossible).await.unwrap();
    let definitions: Api<CustomResourceDefinition> = Api::all(stage.admin.clone());
    definitions.delete("platformusers.usher.dev", &DeleteParams::default()).await.unwrap();
    stage.until_gone(definitions, "platformusers.usher.dev").await;
    assert!(vendor.user("ada@example.com").is_some());
}

#[tokio::test]
async fn uninstalling_with_the_definitions_first_leaves_every_account() {
    let stage = Stage::new().await;
    stage.vendor.clear_calls();
    let definitions: Api<CustomResourceDefinition> = Api::all(stage.admin.clone());
    let names = ["providercredentials.usher.dev", "platformusers.usher.dev", "platformgroups.usher.dev"];
    for name in names {
        definitions.delete(name, &DeleteParams::default()).await.unwrap();
    }
    for name in names {
        stage.until_gone(definitions.clone(), name).await;
    }
    assert!(stage.vendor.user("ada@example.com").is_some());
    assert!(stage.vendor.group("north").is_some());
    assert!(stage.vendor.writes().is_empty(), "{:#?}", stage.vendor.writes());
}

/// The commands of README.md that remove usher's finalizers.
fn way_out() -> Vec<String> {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let commands = readme.lines().filter_map(|line| line.strip_prefix("    kubectl get "));
    commands.filter(|line| line.contains("xargs")).map(|line| format!("kubectl get {line}")).collect()
}

#[tokio::test]
async fn an_operator_that_was_removed_first_leaves_a_way_out() {
    let stage = Stage::new().await;
    stage.operator.abort();
    stage.vendor.clear_calls();
    let definitions: Api<CustomResourceDefinition> = Api::all(stage.admin.clone());
    let names = ["providercredentials.usher.dev", "platformusers.usher.dev", "platformgroups.usher.dev"];
    for name in names {
        definitions.delete(name, &DeleteParams::default()).await.unwrap();
    }
    let namespaces: Api<Namespace> = Api::all(stage.admin.clone());
    namespaces.delete("team", &DeleteParams::default()).await.unwrap();
    let kubeconfig = stage.plane.dir().join("admin.kubeconfig");
    stage.plane.write_kubeconfig(&kubeconfig, stage.plane.admin_token()).unwrap();
    let commands = way_out();
    assert_eq!(commands.len(), 2, "one for the kinds and one for Secrets: {commands:?}");
    for command in commands {
        let said = Command::new("sh").args(["-c", &command]).env("KUBECONFIG", &kubeconfig).output().await.unwrap();
        assert!(said.status.success(), "{command}: {}", String::from_utf8_lossy(&said.stderr));
    }
    for name in names {
        stage.until_gone(definitions.clone(), name).await;
    }
    stage.until_gone(namespaces, "team").await;
    assert!(stage.vendor.user("ada@example.com").is_some() && stage.vendor.group("north").is_some());
    assert_eq!(stage.vendor.writes(), Vec::new(), "{:#?}", stage.vendor.writes());
}
