//! The real process: ready when it is, one leader at a time, and a clean end on SIGTERM.

use std::ops::Deref;
use std::process::Stdio;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use kube::runtime::wait::await_condition;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::{Mutex, MutexGuard, OnceCell};
use usher::api::conditions::{ConditionType, find};
use usher::api::{PlatformUser, ProviderCredential, ProviderCredentialStatus};
use usher_sandbox::controlplane::{self, ControlPlane};
use usher_sandbox::vendors::{Fault, FaultKind, Simulator, Vendor};

use crate::leaks;
use crate::scene::PATIENCE;
use crate::world::own_plane;

/// The control plane of these tests, for one of them at a time: their operators must not see the objects of others.
pub struct Cluster {
    plane: &'static ControlPlane,
    _turn: MutexGuard<'static, ()>,
}

impl Deref for Cluster {
    type Target = ControlPlane;

    fn deref(&self) -> &ControlPlane {
        self.plane
    }
}

/// The control plane, without the objects of the test before.
pub async fn cluster() -> Cluster {
    static PLANE: OnceCell<ControlPlane> = OnceCell::const_new();
    static TURN: Mutex<()> = Mutex::const_new(());
    let turn = TURN.lock().await;
    let plane = PLANE.get_or_init(own_plane).await;
    controlplane::clear(&plane.client().unwrap()).await.unwrap();
    Cluster { plane, _turn: turn }
}

/// `usher run` with a lease.
pub struct Operator {
    process: Child,
    log: Lines<BufReader<ChildStderr>>,
}

impl Operator {
    /// With deploy/'s permissions.
    pub async fn start(plane: &ControlPlane, name: &str) -> Self {
        let token = plane.service_account_token("usher-system", "usher").await.unwrap();
        Self::start_as(plane, name, &token)
    }

    /// With the permissions of a token.
    pub fn start_as(plane: &ControlPlane, name: &str, token: &str) -> Self {
        let kubeconfig = plane.dir().join(format!("{name}.kubeconfig"));
        plane.write_kubeconfig(&kubeconfig, token).unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_usher"))
            .args([
                "run",
                "--leader-elect",
                "--allow-insecure-http",
                "--admin-address=127.0.0.1:0",
                "--log-format=text",
            ])
            .arg(format!("--identity={name}"))
            .env("KUBECONFIG", kubeconfig)
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let log = BufReader::new(process.stderr.take().unwrap()).lines();
        Self { process, log }
    }

    /// Reads the log until a line holds `words`.
    pub async fn says(&mut self, words: &str) -> String {
        let reading = async {
            let mut said = String::new();
            while let Some(line) = self.log.next_line().await.unwrap() {
                leaks::emitted(&line);
                if line.contains(words) {
                    return line;
                }
                said.push_str(&line);
                said.push('\n');
            }
            panic!("it ended without saying {words}:\n{said}")
        };
        tokio::time::timeout(PATIENCE, reading).await.expect(words)
    }

    /// The same process; its log is read on, because a full pipe would stop it.
    pub fn unheard(self) -> Unheard {
        let Self { process, mut log } = self;
        tokio::spawn(async move {
            while let Ok(Some(line)) = log.next_line().await {
                leaks::emitted(&line);
            }
        });
        Unheard(process)
    }

    /// Where its admin server is.
    pub async fn address(&mut self) -> String {
        let line = self.says("usher starts").await;
        line.split_whitespace().find_map(|word| word.strip_prefix("address=")).unwrap().to_owned()
    }

    /// SIGTERM; the exit code.
    pub async fn terminate(&mut self) -> Option<i32> {
        self.end().await.0
    }

    /// SIGTERM; the exit code and the rest of the log.
    pub async fn end(&mut self) -> (Option<i32>, Vec<String>) {
        let id = self.process.id().unwrap().to_string();
        assert!(Command::new("kill").arg(id).status().await.unwrap().success());
        let code = tokio::time::timeout(PATIENCE, self.process.wait()).await.unwrap().unwrap().code();
        let mut lines = Vec::new();
        while let Some(line) = self.log.next_line().await.unwrap() {
            leaks::emitted(&line);
            lines.push(line);
        }
        (code, lines)
    }
}

/// A process whose log no test waits for.
pub struct Unheard(Child);

impl Unheard {
    /// The most memory that it has needed so far, in MiB (`VmHWM`, proc(5)).
    pub fn peak(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id().unwrap())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
    }
}

#[tokio::test]
async fn a_second_operator_takes_over_when_the_first_ends_cleanly() {
    let plane = cluster().await;
    let mut first = Operator::start(&plane, "first").await;
    first.says("took the lease").await;
    let mut second = Operator::start(&plane, "second").await;
    second.says("waiting for the lease").await;
    assert_eq!(first.terminate().await, Some(0));
    second.says("took the lease").await;
    assert_eq!(second.terminate().await, Some(0));
    let leases: Api<Lease> = Api::namespaced(plane.client().unwrap(), "usher-system");
    let released = |lease: Option<&Lease>| {
        lease.and_then(|lease| lease.spec.as_ref()).is_some_and(|spec| spec.holder_identity.is_none())
    };
    tokio::time::timeout(PATIENCE, await_condition(leases, "usher", released)).await.unwrap().unwrap();
}

#[tokio::test]
async fn the_admin_server_tells_of_life_readiness_and_metrics() {
    let plane = cluster().await;
    let mut operator = Operator::start(&plane, "admin").await;
    let address = operator.address().await;
    let get = |path: &'static str| {
        let url = format!("http://{address}{path}");
        async move { reqwest::get(url).await.unwrap() }
    };
    assert_eq!(get("/livez").await.status(), 200);
    assert!(get("/metrics").await.text().await.unwrap().contains("usher_leader"));
    operator.says("took the lease").await;
    assert_eq!(get("/readyz").await.status(), 200);
    assert_eq!(operator.terminate().await, Some(0));
}

/// A user of a simulated Pegasus, and what it needs.
pub async fn apply_ada(plane: &ControlPlane, vendor: &Simulator) {
    apply_user(plane, vendor, "ada").await;
}

async fn apply_user(plane: &ControlPlane, vendor: &Simulator, name: &str) {
    let manifest = |kind: &str, name: &str, spec: serde_json::Value| json!({"apiVersion": "usher.dev/v1alpha1", "kind": kind, "metadata": {"name": name, "namespace": "default"}, "spec": spec});
    let credential = json!({"provider": {"pegasus": {"url": vendor.url()}}, "secretRef": {"name": "main"}, "allowInsecureHttp": true});
    let user = json!({"credentialRef": {"name": "main"}, "email": format!("{name}@example.com"), "phone": "1", "provider": {"pegasus": {"sendEmail": true}}});
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "main", "namespace": "default"}, "stringData": vendor.secret()});
    for document in [secret, manifest("ProviderCredential", "main", credential), manifest("PlatformUser", name, user)] {
        controlplane::apply(&plane.client().unwrap(), &document.to_string()).await.unwrap();
    }
}

#[tokio::test]
async fn the_metrics_tell_of_calls_and_objects_and_of_no_secret() {
    let plane = cluster().await;
    let vendor = Simulator::start(Vendor::Pegasus).await.unwrap();
    leaks::register_entries(&json!(vendor.secret()));
    apply_ada(&plane, &vendor).await;
    let mut operator = Operator::start(&plane, "metrics").await;
    let address = operator.address().await;
    let is_ready = |user: Option<&PlatformUser>| {
        let status = user.and_then(|user| user.status.as_ref());
        status
            .and_then(|status| find(&status.report.conditions, ConditionType::Ready))
            .is_some_and(|ready| ready.reason == "Synced")
    };
    let users: Api<PlatformUser> = Api::namespaced(plane.client().unwrap(), "default");
    tokio::time::timeout(PATIENCE, await_condition(users, "ada", is_ready)).await.unwrap().unwrap();
    let text = reqwest::get(format!("http://{address}/metrics")).await.unwrap().text().await.unwrap();
    leaks::register(vendor.tokens());
    leaks::emitted(&text);
    for line in [
        r#"usher_provider_requests_total{provider="pegasus",operation="users.create",code="201"} 1"#,
        r#"usher_credential_ready{provider="pegasus",namespace="default",name="main"} 1"#,
        r#"usher_gate_wait_seconds_count{provider="pegasus",lane="background"}"#,
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
    assert_eq!(operator.terminate().await, Some(0));
}

#[tokio::test]
async fn a_restart_reports_nothing_new_about_an_object_that_is_not_ready() {
    let plane = cluster().await;
    let vendor = Simulator::start(Vendor::Pegasus).await.unwrap();
    vendor.put_user(json!({"email": "ada@example.com", "username": "ada@example.com"}));
    apply_ada(&plane, &vendor).await;
    let mut first = Operator::start(&plane, "before").await;
    first.says("reason=AlreadyExists").await;
    assert_eq!(first.terminate().await, Some(0));
    let users: Api<PlatformUser> = Api::namespaced(plane.client().unwrap(), "default");
    let before = users.get("ada").await.unwrap().metadata.resource_version;
    let mut second = Operator::start(&plane, "after").await;
    second.says("swept").await;
    assert_eq!(second.terminate().await, Some(0));
    assert_eq!(users.get("ada").await.unwrap().metadata.resource_version, before);
}

#[tokio::test]
async fn a_restart_makes_no_call_before_the_time_that_the_vendor_named() {
    let plane = cluster().await;
    let vendor = Simulator::start(Vendor::Pegasus).await.unwrap();
    vendor.fault(Fault::once("users.create", FaultKind::RateLimited(Some(Duration::from_mins(10)))));
    apply_ada(&plane, &vendor).await;
    let mut first = Operator::start(&plane, "before").await;
    let credentials: Api<ProviderCredential> = Api::namespaced(plane.client().unwrap(), "default");
    until(&credentials, |status| status.rate_limited_until.is_some()).await;
    assert_eq!(first.terminate().await, Some(0));
    vendor.clear_calls();
    let mut second = Operator::start(&plane, "after").await;
    until(&credentials, |status| {
        find(&status.conditions, ConditionType::Ready).is_some_and(|ready| ready.reason == "RateLimited")
    })
    .await;
    assert_eq!(second.terminate().await, Some(0));
    assert_eq!(vendor.calls().len(), 0);
}

/// Waits until the status of the credential is `wanted`.
async fn until(credentials: &Api<ProviderCredential>, wanted: impl Fn(&ProviderCredentialStatus) -> bool) {
    let is_wanted = |credential: Option<&ProviderCredential>| {
        credential.and_then(|credential| credential.status.as_ref()).is_some_and(&wanted)
    };
    let waiting = await_condition(credentials.clone(), "main", is_wanted);
    tokio::time::timeout(PATIENCE, waiting).await.unwrap().unwrap();
}

#[test]
fn crds_check_notices_what_differs() {
    let dir = tempfile::tempdir().unwrap();
    let usher = |arguments: &[&str]| {
        let output =
            std::process::Command::new(env!("CARGO_BIN_EXE_usher")).arg("crds").args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let path = dir.path().to_str().unwrap();
    assert_eq!(usher(&["--out", path]).0, Some(0));
    assert_eq!(usher(&["--check", path]).0, Some(0));
    std::fs::write(dir.path().join("usher.dev_platformusers.yaml"), "other").unwrap();
    let (code, said) = usher(&["--check", path]);
    assert_eq!(code, Some(1));
    assert!(said.contains("usher crds --out"), "{said}");
}

/// Waits until the metrics hold `line`.
async fn until_metrics(address: &str, line: &str) {
    let text = || async { reqwest::get(format!("http://{address}/metrics")).await.unwrap().text().await.unwrap() };
    let waiting = async {
        while !text().await.lines().any(|found| found == line) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let came = tokio::time::timeout(PATIENCE, waiting).await.is_ok();
    assert!(came, "{line} is missing in\n{}", text().await);
}

/// Waits until the status of the user `name` is `wanted`.
pub async fn until_user(users: &Api<PlatformUser>, name: &str, wanted: impl Fn(&PlatformUser) -> bool) {
    let waiting = await_condition(users.clone(), name, |user: Option<&PlatformUser>| user.is_some_and(&wanted));
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "{name}: {:#?}", users.get(name).await);
}

/// Whether the user has this condition with this reason.
pub fn has_condition(user: &PlatformUser, type_: ConditionType, reason: &str) -> bool {
    let status = user.status.as_ref();
    let condition = status.and_then(|status| find(&status.report.conditions, type_));
    condition.is_some_and(|condition| condition.reason == reason)
}

#[tokio::test]
async fn objects_count_with_their_last_reason_after_a_restart_while_the_vendor_is_away() {
    let plane = cluster().await;
    let vendor = Simulator::start(Vendor::Pegasus).await.unwrap();
    leaks::register_entries(&json!(vendor.secret()));
    let users: Api<PlatformUser> = Api::namespaced(plane.client().unwrap(), "default");
    let mut first = Operator::start(&plane, "before").await;
    for name in ["ada", "bob"] {
        apply_user(&plane, &vendor, name).await;
        until_user(&users, name, |user| has_condition(user, ConditionType::Ready, "Synced")).await;
    }
    let pause = Patch::Merge(json!({"metadata": {"annotations": {"usher.dev/paused": "true"}}}));
    users.patch("bob", &PatchParams::default(), &pause).await.unwrap();
    let is_paused =
        |user: &PlatformUser| find(&user.status.as_ref().unwrap().report.conditions, ConditionType::Paused).is_some();
    until_user(&users, "bob", is_paused).await;
    assert_eq!(first.terminate().await, Some(0));
    vendor.fault(Fault::always("*", FaultKind::Status(503, None)));
    let mut second = Operator::start(&plane, "after").await;
    let address = second.address().await;
    until_metrics(&address, r#"usher_credential_ready{provider="pegasus",namespace="default",name="main"} 0"#).await;
    until_metrics(&address, r#"usher_objects{kind="PlatformUser",reason="Synced"} 2"#).await;
    assert_eq!(second.terminate().await, Some(0));
}

#[tokio::test]
async fn a_drift_whose_repair_failed_at_first_is_one_repair_and_no_update() {
    let plane = cluster().await;
    let vendor = Simulator::start(Vendor::Pegasus).await.unwrap();
    leaks::register_entries(&json!(vendor.secret()));
    let client = plane.client().unwrap();
    let users: Api<PlatformUser> = Api::namespaced(client.clone(), "default");
    let mut operator = Operator::start(&plane, "drift").await;
    let address = operator.address().await;
    apply_ada(&plane, &vendor).await;
    until_user(&users, "ada", |user| has_condition(user, ConditionType::Ready, "Synced")).await;
    vendor.edit_user("ada@example.com", json!({"phone": "9"}));
    vendor.fault(Fault::once("users.update", FaultKind::Status(503, None)));
    let sweep = Patch::Merge(json!({"metadata": {"annotations": {"usher.dev/reconcile-at": "now"}}}));
    let credentials: Api<ProviderCredential> = Api::namespaced(client.clone(), "default");
    credentials.patch("main", &PatchParams::default(), &sweep).await.unwrap();
    until_metrics(&address, r#"usher_drift_repaired_total{kind="PlatformUser",provider="pegasus"} 1"#).await;
    until_user(&users, "ada", |user| has_condition(user, ConditionType::Ready, "Synced")).await;
    assert_eq!(vendor.user("ada@example.com").unwrap()["phone"], "1");
    // The end of the process is the end of its reconciles, so that no event is to come.
    assert_eq!(operator.terminate().await, Some(0));
    let events: Api<Event> = Api::namespaced(client, "default");
    let events = events.list(&ListParams::default()).await.unwrap().items;
    let ada = users.get("ada").await.unwrap().metadata.uid;
    // Events outlive the objects of earlier tests.
    let about = events.into_iter().filter(|event| event.regarding.as_ref().is_some_and(|object| object.uid == ada));
    let reasons: Vec<String> = about.filter_map(|event| event.reason).collect();
    let count = |reason: &str| reasons.iter().filter(|known| *known == reason).count();
    let counts = ["ProviderUnavailable", "DriftRepaired", "Updated"].map(count);
    assert_eq!(counts, [1, 1, 0], "{reasons:?}");
}
