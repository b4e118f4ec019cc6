//! Plan: what is shown is what Enforce then does, and showing it writes to nobody.

use std::fmt::Debug;
use std::path::Path;
use std::process::Stdio;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::events::v1::Event;
use kube::api::ListParams;
use kube::{Resource, ResourceExt};
use rstest::rstest;
use rstest_reuse::apply;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use usher::api::{PlatformGroup, PlatformUser, ProviderCredential};
use usher_sandbox::vendors::{Fault, FaultKind, Options, Vendor};

use crate::contract::{PASSWORD, Sample, sample};
use crate::scene::{Scene, merge};
use crate::vendors::{every_vendor, every_vendor_that_shows_accounts};
use crate::world::world;

/// What a command said.
pub struct Said {
    /// Its exit code.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

/// `usher plan` with these arguments, as the administrator.
pub async fn usher_plan(arguments: &[&str], input: &str) -> Said {
    usher_plan_as(world().plane.admin_token(), arguments, input).await
}

/// `usher plan` with these arguments, as the bearer of a token.
pub async fn usher_plan_as(token: &str, arguments: &[&str], input: &str) -> Said {
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = folder.path().join("kubeconfig");
    world().plane.write_kubeconfig(&kubeconfig, token).unwrap();
    run(&kubeconfig, arguments, input).await
}

async fn run(kubeconfig: &Path, arguments: &[&str], input: &str) -> Said {
    let mut process = Command::new(env!("CARGO_BIN_EXE_usher"))
        .arg("plan")
        .args(arguments)
        .env("KUBECONFIG", kubeconfig)
        .env("USHER_ALLOW_INSECURE_HTTP", "true")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that fails early reads nothing.
    let _ = process.stdin.take().unwrap().write_all(input.as_bytes()).await;
    let output = process.wait_with_output().await.unwrap();
    Said {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

impl Said {
    /// The entry of an object in the JSON answer.
    pub fn entry(&self, name: &str) -> Value {
        let all: Value = serde_json::from_str(&self.out).unwrap_or_else(|_| panic!("{} {}", self.out, self.err));
        let found = all.as_array().unwrap().iter().find(|entry| entry["name"] == name);
        found.unwrap_or_else(|| panic!("no {name} in {}", self.out)).clone()
    }

    /// The calls of an object in the JSON answer.
    pub fn calls(&self, name: &str) -> Value {
        self.entry(name)["calls"].clone()
    }
}

/// What usher itself says it would do, in status.
async fn pending_user(scene: &Scene) -> Value {
    let user = scene.user_says("ada", "ChangesPending").await;
    json!(user.status.unwrap().report.pending)
}

/// The vendor's operations that calls stand for; adopt and bind write to the object alone.
pub fn operations(plural: &str, calls: &Value) -> Vec<String> {
    let operation = |call: &Value| match call["operation"].as_str().unwrap() {
        "adopt" | "bind" => None,
        "grant" => Some("apps.write".to_owned()),
        operation => Some(format!("{plural}.{operation}")),
    };
    calls.as_array().unwrap().iter().filter_map(operation).collect()
}

/// The writes that the vendor saw.
pub fn written(scene: &Scene) -> Vec<String> {
    scene.vendor.writes().iter().map(|call| call.operation.to_owned()).collect()
}

fn user_spec(sample: &Sample, further: Value) -> Value {
    let mut spec = sample.user.clone();
    merge(&mut spec, json!({"groups": [{"groupRef": {"name": "team"}}]}));
    merge(&mut spec, further);
    spec
}

fn applications(vendor: Vendor) -> Value {
    if vendor == Vendor::Pegasus {
        json!({"provider": {"pegasus": {"applications": {"pegasus2.0": {"tracking": true}}}}})
    } else {
        json!({})
    }
}

/// The documents of a group and a user in it, without a namespace.
fn documents(sample: &Sample) -> String {
    let document = |kind: &str, name: &str, mut spec: Value| {
        merge(&mut spec, json!({"credentialRef": {"name": "main"}}));
        json!({"apiVersion": "usher.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}).to_string()
    };
    let group = document("PlatformGroup", "team", sample.group.0.clone());
    let user = document("PlatformUser", "ada", user_spec(sample, applications(sample.vendor)));
    let other = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "other"}});
    [group, user, other.to_string()].join("\n---\n")
}

#[apply(every_vendor)]
#[tokio::test]
async fn files_not_applied_show_what_enforce_then_does_and_nothing_is_written(vendor: Vendor) {
    let sample = sample(vendor);
    let scene = Scene::new(vendor).await;
    scene.secret("login", &json!({"password": PASSWORD})).await;
    scene.credential_says(if vendor == Vendor::Industrility { "Unverified" } else { "Synced" }).await;
    let before = versions(&scene).await;
    let said = usher_plan(&["-f", "-", "-n", &scene.namespace, "-o", "json"], &documents(&sample)).await;
    assert_eq!(said.code, 2, "{}{}", said.out, said.err);
    assert!(said.err.contains("skipped other kinds: ConfigMap"), "{}", said.err);
    let (group, user) = (said.calls("team"), said.calls("ada"));
    assert_eq!(user[0]["operation"], "create");
    assert!(user[0]["fields"].to_string().contains("groups"), "{user:#}");
    assert!(said.entry("ada")["message"].as_str().unwrap().contains("after group team"), "{}", said.out);
    assert!(scene.vendor.writes().is_empty(), "{:#?}", scene.vendor.writes());
    assert_eq!(versions(&scene).await, before);
    no_secret(&scene, &said);

    scene.group("team", sample.group.0.clone()).await;
    scene.user("ada", user_spec(&sample, applications(vendor))).await;
    scene.user_says("ada", if vendor == Vendor::Industrility { "Created" } else { "Synced" }).await;
    assert_eq!(written(&scene), [operations("groups", &group), operations("users", &user)].concat());
    let said = usher_plan(&["--all", "-n", &scene.namespace, "-o", "json"], "").await;
    assert_eq!((said.code, said.calls("ada"), said.calls("team")), (0, json!([]), json!([])), "{}", said.out);
}

/// Every object of the namespace that a command could touch, with its version.
pub async fn versions(scene: &Scene) -> Vec<String> {
    async fn of<K>(scene: &Scene) -> Vec<String>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let all = scene.api::<K>().list(&ListParams::default()).await.unwrap().items;
        all.iter().map(|one| format!("{} {} {:?}", K::kind(&()), one.name_any(), one.resource_version())).collect()
    }
    [
        of::<PlatformUser>(scene).await,
        of::<PlatformGroup>(scene).await,
        of::<ProviderCredential>(scene).await,
        of::<Secret>(scene).await,
        of::<Event>(scene).await,
    ]
    .concat()
}

/// Neither output has a value of a Secret.
pub fn no_secret(scene: &Scene, said: &Said) {
    // The name of a login is no secret and is shown; its password is one.
    let secrets = scene.vendor.secret().into_iter().filter(|(key, _)| key != "username").map(|(_, value)| value);
    for secret in secrets.chain([PASSWORD.to_owned()]) {
        assert!(!said.out.contains(&secret) && !said.err.contains(&secret), "{secret} leaked into\n{}", said.out);
    }
}

/// Ready with his group; then the credential plans only.
async fn settled_then_planning(sample: &Sample) -> Scene {
    let scene = Scene::new(sample.vendor).await;
    scene.secret("login", &json!({"password": PASSWORD})).await;
    scene.group("team", sample.group.0.clone()).await;
    scene.user("ada", user_spec(sample, json!({}))).await;
    scene.user_ready("ada").await;
    scene.apply_credential(json!({"mode": "Plan"})).await;
    scene.sweep("planning").await;
    scene.vendor.clear_calls();
    scene
}

/// Mode Plan and `usher plan` say the same, and once it is lifted that is what happens.
async fn shown_then_done(scene: &Scene, expected: &[&str]) {
    let shown = pending_user(scene).await;
    let said = usher_plan(&["--all", "-n", &scene.namespace, "-o", "json"], "").await;
    assert_eq!((said.code, said.calls("ada")), (2, shown.clone()), "{}", said.out);
    assert_eq!(operations("users", &shown), expected);
    assert!(scene.vendor.writes().is_empty(), "{:#?}", scene.vendor.writes());
    no_secret(scene, &said);
    scene.apply_credential(json!({"mode": "Enforce"})).await;
    scene.user_ready("ada").await;
    assert_eq!(written(scene), expected);
}

#[apply(every_vendor_that_shows_accounts)]
#[tokio::test]
async fn an_edit_is_shown_and_then_done(vendor: Vendor) {
    let sample = sample(vendor);
    let scene = settled_then_planning(&sample).await;
    scene.user("ada", user_spec(&sample, sample.edit.0.clone())).await;
    shown_then_done(&scene, &["users.update"]).await;
}

#[apply(every_vendor_that_shows_accounts)]
#[tokio::test]
async fn a_new_password_is_shown_and_then_sent(vendor: Vendor) {
    let scene = settled_then_planning(&sample(vendor)).await;
    scene.secret("login", &json!({"password": "Fake-Passw0rd-2"})).await;
    assert_eq!(pending_user(&scene).await[0]["fields"], json!(["password"]));
    shown_then_done(&scene, &["users.update"]).await;
    assert_eq!(scene.vendor.user("ada@example.com").unwrap()["password"], "Fake-Passw0rd-2");
}

#[apply(every_vendor_that_shows_accounts)]
#[tokio::test]
async fn taking_a_group_away_is_shown_and_then_done(vendor: Vendor) {
    let sample = sample(vendor);
    let scene = settled_then_planning(&sample).await;
    scene.user("ada", user_spec(&sample, json!({"groups": []}))).await;
    assert_eq!(pending_user(&scene).await[0]["fields"], json!(["groups"]));
    shown_then_done(&scene, &["users.update"]).await;
}

#[apply(every_vendor_that_shows_accounts)]
#[tokio::test]
async fn an_adoption_is_shown_binds_nothing_and_is_then_done(vendor: Vendor) {
    let scene = Scene::with(vendor, Options::default(), json!({"mode": "Plan"})).await;
    scene.secret("login", &json!({"password": PASSWORD})).await;
    let mut account = json!({"email": "ada@example.com"});
    if vendor == Vendor::Pegasus {
        account["username"] = account["email"].clone();
    }
    let id = scene.vendor.put_user(account);
    let mut spec = sample(vendor).user;
    merge(&mut spec, json!({"adoptionPolicy": "Adopt"}));
    scene.user("ada", spec).await;
    let shown = pending_user(&scene).await;
    assert_eq!((&shown[0]["operation"], &shown[0]["target"]), (&json!("adopt"), &json!(id)));
    let said = usher_plan(&["--all", "-n", &scene.namespace, "-o", "json"], "").await;
    assert_eq!(said.calls("ada"), shown);
    let user: PlatformUser = scene.api().get("ada").await.unwrap();
    assert_eq!(user.status.unwrap().identity.external_id, None, "Plan binds nothing");
    scene.apply_credential(json!({"mode": "Enforce"})).await;
    let user = scene.user_ready("ada").await;
    assert_eq!(user.status.unwrap().identity.external_id, Some(id));
    assert_eq!(written(&scene), operations("users", &shown));
    assert!(written(&scene).iter().all(|operation| operation == "users.update"), "{:#?}", written(&scene));
}

#[tokio::test]
async fn a_missing_account_is_shown_as_made_again_with_its_password() {
    let scene = settled_then_planning(&sample(Vendor::Pegasus)).await;
    scene.vendor.remove_user("ada@example.com");
    scene.sweep("gone").await;
    let shown = pending_user(&scene).await;
    assert!(shown[0]["fields"].as_array().unwrap().contains(&json!("password")), "{shown:#}");
    shown_then_done(&scene, &["users.create"]).await;
    assert_eq!(scene.vendor.user("ada@example.com").unwrap()["password"], PASSWORD);
}

#[rstest]
#[case::pegasus(Vendor::Pegasus, "delete")]
#[case::amani(Vendor::Amani, "disable")]
#[case::plaspy(Vendor::Plaspy, "delete")]
#[case::ozmap(Vendor::Ozmap, "delete")]
#[tokio::test]
async fn a_removal_under_way_is_shown(#[case] vendor: Vendor, #[case] operation: &str) {
    let scene = Scene::new(vendor).await;
    scene.secret("login", &json!({"password": PASSWORD})).await;
    scene.user("ada", sample(vendor).user).await;
    let id = scene.user_ready("ada").await.status.unwrap().identity.external_id;
    let call = if operation == "delete" { "users.delete" } else { "users.update" };
    scene.vendor.fault(Fault::always(call, FaultKind::Status(500, None)));
    scene.delete::<PlatformUser>("ada").await;
    scene.user_says("ada", "ProviderUnavailable").await;
    let said = usher_plan(&["--all", "-n", &scene.namespace, "-o", "json"], "").await;
    let shown = said.calls("ada");
    assert_eq!((&shown[0]["operation"], &shown[0]["target"]), (&json!(operation), &json!(id)), "{}", said.out);
    assert_eq!(said.code, 2);
    scene.vendor.heal();
    scene.until_gone::<PlatformUser>("ada").await;
}

#[tokio::test]
async fn an_account_that_is_given_up_is_shown_as_orphaned() {
    let scene = settled_then_planning(&sample(Vendor::Pegasus)).await;
    scene.delete::<PlatformUser>("ada").await;
    scene.user_says("ada", "DeletionBlocked").await;
    let said = usher_plan(&["--all", "-n", &scene.namespace], "").await;
    assert_eq!(said.code, 1, "{}", said.out);
    assert!(said.out.contains("BLOCKED DeletionBlocked: mode Plan removes nothing"), "{}", said.out);
    let mut orphan = user_spec(&sample(Vendor::Pegasus), json!({"deletionPolicy": "Orphan"}));
    merge(&mut orphan, json!({"credentialRef": {"name": "main"}}));
    let document = json!({"apiVersion": "usher.dev/v1alpha1", "kind": "PlatformUser", "metadata": {"name": "ada", "namespace": scene.namespace}, "spec": orphan});
    let said = usher_plan(&["-f", "-", "-o", "json"], &document.to_string()).await;
    assert_eq!(said.calls("ada")[0]["operation"], "orphan", "{}", said.out);
    scene.apply_credential(json!({"mode": "Enforce"})).await;
    scene.until_gone::<PlatformUser>("ada").await;
}

#[tokio::test]
async fn a_blocked_object_is_an_error_with_reason_and_message_in_the_table() {
    let scene = Scene::new(Vendor::Pegasus).await;
    scene.vendor.put_user(json!({"email": "eve@example.com", "username": "eve@example.com"}));
    let user = |name: &str| {
        json!({"apiVersion": "usher.dev/v1alpha1", "kind": "PlatformUser", "metadata": {"name": name}, "spec": {
            "credentialRef": {"name": "main"}, "email": format!("{name}@example.com"), "provider": {"pegasus": {"sendEmail": true}},
        }})
    };
    let twin = {
        let mut twin = user("twin");
        twin["spec"]["email"] = json!("ada@example.com");
        twin
    };
    let both = [user("ada"), user("eve"), twin].map(|document| document.to_string()).join("\n---\n");
    let said = usher_plan(&["-f", "-", "-n", &scene.namespace], &both).await;
    assert_eq!(said.code, 1, "{}{}", said.out, said.err);
    let lines: Vec<&str> = said.out.lines().collect();
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words(lines[0]), ["OBJECT", "OPERATION", "TARGET", "FIELDS"]);
    assert_eq!(words(lines[1])[2..4], ["create", "ada@example.com"]);
    assert!(lines[2].contains("BLOCKED AlreadyExists: ") && lines[2].contains("adoptionPolicy"), "{}", said.out);
    assert!(lines[3].contains("BLOCKED Duplicate: "), "{}", said.out);
    assert_eq!(lines[4], "1 call for 1 of 3 objects; 2 blocked");
    assert!(scene.vendor.writes().is_empty());
}

#[tokio::test]
async fn what_is_wrong_with_the_input_is_said_with_a_way_out() {
    let broken = json!({"apiVersion": "usher.dev/v1alpha1", "kind": "PlatformUser", "metadata": {"name": "ada"}, "spec": {"email": 1}});
    let said = usher_plan(&["-f", "-"], &broken.to_string()).await;
    assert_eq!(said.code, 1);
    assert!(said.err.starts_with("usher: standard input, PlatformUser ada: spec.email: "), "{}", said.err);
    let said = usher_plan(&["-f", "nowhere.yaml"], "").await;
    assert!(said.code == 1 && said.err.contains("nowhere.yaml"), "{}", said.err);
    let folder = tempfile::tempdir().unwrap();
    let said = run(&folder.path().join("none"), &["--all"], "").await;
    assert!(said.code == 1 && said.err.contains("set KUBECONFIG"), "{}", said.err);
    let said = usher_plan(&[], "").await;
    assert!(said.code == 1 && said.err.contains("--filename"), "{}", said.err);
}

#[tokio::test]
async fn a_credential_that_does_not_work_is_an_error_and_its_users_say_so() {
    let scene = Scene::new(Vendor::Pegasus).await;
    scene.user("ada", json!({"email": "ada@example.com", "provider": {"pegasus": {"sendEmail": true}}})).await;
    scene.user_ready("ada").await;
    scene.vendor.fault(Fault::always("users.list", FaultKind::Status(500, None)));
    let said = usher_plan(&["--all", "-n", &scene.namespace, "-o", "json"], "").await;
    assert_eq!((said.code, said.entry("main")["reason"].clone()), (1, json!("ProviderUnavailable")), "{}", said.out);
    let ada = said.entry("ada");
    assert!(ada["message"].as_str().unwrap().contains("cannot be compared now"), "{ada:#}");
    assert_eq!(ada["reason"], "WaitingForCredential");
}

#[tokio::test]
async fn a_group_of_a_vendor_that_lists_groups_only_is_shown_as_bound() {
    let scene = Scene::with(Vendor::Amani, Options::default(), json!({"mode": "Plan"})).await;
    scene.group("team", sample(Vendor::Amani).group.0).await;
    let group = scene.group_says("team", "ChangesPending").await;
    let status = group.status.unwrap();
    assert_eq!(status.report.pending.unwrap()[0].operation, "bind");
    assert_eq!(status.identity.external_id, None, "Plan binds nothing");
    scene.apply_credential(json!({"mode": "Enforce"})).await;
    scene.group_says("team", "Synced").await;
    scene.delete::<PlatformGroup>("team").await;
    scene.until_gone::<PlatformGroup>("team").await;
}
