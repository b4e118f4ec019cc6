//! The memory of the real process, whatever vendors answer, and how soon it settles a create that was answered.

use std::time::{Duration, Instant};

use kube::Api;
use kube::api::{Patch, PatchParams};
use kube::runtime::wait::await_condition;
use serde_json::{Value, json};
use usher::api::conditions::{ConditionType, find};
use usher::api::{PlatformUser, ProviderCredential};
use usher_sandbox::controlplane;
use usher_sandbox::vendors::{Fault, FaultKind, Flood, Options, Simulator, Vendor};

use crate::contract::{PASSWORD, ready, sample};
use crate::process::{Cluster, Operator, cluster};
use crate::scene::merge;

/// The most memory whatever vendors answer, in MiB.
const MOST: u64 = 200;
/// Longest wait for one condition.
const PATIENCE: Duration = Duration::from_mins(3);

/// Simulated vendors with a credential each, named as the vendor, in one namespace.
struct Stage {
    client: kube::Client,
    vendors: Vec<Simulator>,
}

impl Stage {
    async fn new(plane: &Cluster, vendors: &[Vendor]) -> Self {
        let (client, mut simulators) = (plane.client().unwrap(), Vec::new());
        for vendor in vendors {
            simulators.push(Simulator::start_with(*vendor, Options::default()).await.unwrap());
        }
        let stage = Self { client, vendors: simulators };
        stage.secret("login", &json!({"password": PASSWORD})).await;
        for vendor in &stage.vendors {
            let name = vendor.vendor().name();
            stage.secret(name, &json!(vendor.secret())).await;
            let spec = json!({
                "provider": {name: {"url": vendor.url()}}, "secretRef": {"name": name}, "allowInsecureHttp": true,
                "requests": {"perMinute": 60_000, "burst": 1000, "concurrency": 8},
            });
            stage.apply("ProviderCredential", name, &spec).await;
        }
        stage
    }

    async fn secret(&self, name: &str, entries: &Value) {
        let metadata = json!({"name": name, "namespace": "default"});
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": entries});
        controlplane::apply(&self.client, &secret.to_string()).await.unwrap();
    }

    async fn apply(&self, kind: &str, name: &str, spec: &Value) {
        let metadata = json!({"name": name, "namespace": "default"});
        let object = json!({"apiVersion": "usher.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec});
        controlplane::apply(&self.client, &object.to_string()).await.unwrap();
    }

    /// The user `name` at `vendor`; the name of its object.
    async fn user(&self, vendor: Vendor, name: &str) -> String {
        let mut spec = sample(vendor).user;
        let email = format!("{name}@example.com");
        merge(&mut spec, json!({"credentialRef": {"name": vendor.name()}, "email": email}));
        let object = format!("{}-{name}", vendor.name());
        self.apply("PlatformUser", &object, &spec).await;
        object
    }

    async fn until_ready(&self, vendor: Vendor, object: &str) {
        let users: Api<PlatformUser> = Api::namespaced(self.client.clone(), "default");
        let is_ready = |user: Option<&PlatformUser>| {
            let status = user.and_then(|user| user.status.as_ref());
            let condition = status.and_then(|status| find(&status.report.conditions, ConditionType::Ready));
            condition.is_some_and(|condition| condition.reason == ready(vendor))
        };
        let waiting = await_condition(users.clone(), object, is_ready);
        let came = tokio::time::timeout(PATIENCE, waiting).await.is_ok();
        assert!(came, "{object} never came to be ready: {:#?}", users.get(object).await);
    }

    /// Asks the credential of `vendor` for a sweep.
    async fn ask_for_sweep(&self, vendor: Vendor, value: &str) {
        let credentials: Api<ProviderCredential> = Api::namespaced(self.client.clone(), "default");
        let patch = json!({"metadata": {"annotations": {"usher.dev/reconcile-at": value}}});
        credentials.patch(vendor.name(), &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    /// Makes a sweep at `vendor` and waits for its end.
    async fn sweep(&self, vendor: Vendor, value: &str) {
        self.ask_for_sweep(vendor, value).await;
        let credentials: Api<ProviderCredential> = Api::namespaced(self.client.clone(), "default");
        let is_handled = |credential: Option<&ProviderCredential>| {
            let status = credential.and_then(|credential| credential.status.as_ref());
            status.and_then(|status| status.last_handled_reconcile_at.as_deref()) == Some(value)
        };
        let waiting = await_condition(credentials, vendor.name(), is_handled);
        tokio::time::timeout(PATIENCE, waiting).await.expect("the sweep ends").unwrap();
    }

    /// Writes another value into the Secret of `vendor`, so that usher logs in anew.
    async fn touch_secret(&self, vendor: &Simulator, value: &str) {
        let mut entries = json!(vendor.secret());
        merge(&mut entries, json!({"touched": value}));
        self.secret(vendor.vendor().name(), &entries).await;
    }
}

async fn until(vendor: &Simulator, what: &str, wanted: impl Fn(&Simulator) -> bool) {
    let calls = || vendor.calls().iter().map(|call| call.operation).collect::<Vec<_>>();
    assert!(vendor.wait_until(PATIENCE, wanted).await, "{:?}: {what} never came: {:?}", vendor.vendor(), calls());
}

/// The calls that make a session; all others are made in one.
fn is_login(operation: &str) -> bool {
    matches!(operation, "login" | "refresh" | "whoami" | "countries.list" | "roles.list" | "projects.list")
}

#[tokio::test]
async fn nothing_that_vendors_answer_takes_more_than_two_hundred_mebibytes() {
    let plane = cluster().await;
    let stage = Stage::new(&plane, Vendor::ALL).await;
    let operator = Operator::start(&plane, "flooded").await.unheard();
    for vendor in &stage.vendors {
        let object = stage.user(vendor.vendor(), "ada").await;
        stage.until_ready(vendor.vendor(), &object).await;
    }
    for (number, flood) in Flood::ALL.iter().enumerate() {
        let name = format!("flood{number}");
        for vendor in &stage.vendors {
            for operation in vendor.vendor().operations().iter().filter(|operation| !is_login(operation)) {
                vendor.fault(Fault::always(operation, FaultKind::Flood(*flood)));
            }
            vendor.clear_calls();
            stage.user(vendor.vendor(), &name).await;
            stage.ask_for_sweep(vendor.vendor(), &name).await;
        }
        for vendor in &stage.vendors {
            let struck = if vendor.vendor() == Vendor::Industrility { "users.create" } else { "users.list" };
            let is_struck = |vendor: &Simulator| vendor.count(struck) > 0;
            until(vendor, "the flood", is_struck).await;
            // Now all answers are floods, those to a log-in too.
            vendor.fault(Fault::always("*", FaultKind::Flood(*flood)));
            vendor.clear_calls();
            stage.touch_secret(vendor, &name).await;
        }
        for vendor in stage.vendors.iter().filter(|vendor| vendor.vendor() != Vendor::Industrility) {
            until(vendor, "the flooded log-in", |vendor| !vendor.calls().is_empty()).await;
        }
        for vendor in &stage.vendors {
            vendor.heal();
            stage.touch_secret(vendor, &format!("{name}-over")).await;
        }
        for vendor in &stage.vendors {
            stage.until_ready(vendor.vendor(), &format!("{}-{name}", vendor.vendor().name())).await;
        }
        println!("{flood:?}: {} MiB", operator.peak());
    }
    assert!(operator.peak() <= MOST, "{} MiB", operator.peak());
}

/// The number of accounts of others at each vendor. `USHER_CROWD=60000` is what the largest known tenants have; in a debug build and
/// beside other tests that takes many minutes.
fn crowd() -> usize {
    std::env::var("USHER_CROWD").map_or(6000, |number| number.parse().expect("USHER_CROWD is a number"))
}

#[tokio::test]
async fn accounts_of_others_need_little_memory() {
    const LISTED: [Vendor; 4] = [Vendor::Pegasus, Vendor::Amani, Vendor::Plaspy, Vendor::Ozmap];
    let plane = cluster().await;
    let stage = Stage::new(&plane, &LISTED).await;
    for vendor in &stage.vendors {
        for number in 0..crowd() {
            let email = format!("crowd{number}@example.com");
            vendor.put_user(json!({"email": email, "username": email, "name": "Somebody", "phone": "1"}));
        }
    }
    let operator = Operator::start(&plane, "crowded").await.unheard();
    for vendor in LISTED {
        for number in 0..20 {
            stage.user(vendor, &format!("ours{number}")).await;
        }
    }
    for vendor in LISTED {
        for number in 0..20 {
            stage.until_ready(vendor, &format!("{}-ours{number}", vendor.name())).await;
        }
    }
    futures::future::join_all(LISTED.map(|vendor| stage.sweep(vendor, "all"))).await;
    for vendor in &stage.vendors {
        // Drift of ours is found among all the others, and costs no call before the repair.
        let sample = sample(vendor.vendor());
        let before = vendor.user("ours7@example.com").unwrap();
        vendor.edit_user("ours7@example.com", sample.drift.clone());
        vendor.clear_calls();
        stage.sweep(vendor.vendor(), "drift").await;
        let place = sample.edit.1;
        let is_repaired =
            |vendor: &Simulator| vendor.user("ours7@example.com").unwrap().pointer(place) == before.pointer(place);
        until(vendor, "the repair", is_repaired).await;
        assert_eq!((vendor.count("users.read"), vendor.count("users.find")), (1, 0), "{:?}", vendor.vendor());
    }
    println!("{} MiB", operator.peak());
    assert!(operator.peak() <= 100, "{} MiB", operator.peak());
}

#[tokio::test]
async fn a_create_that_was_answered_is_settled_within_seconds() {
    let plane = cluster().await;
    let stage = Stage::new(&plane, Vendor::ALL).await;
    let _operator = Operator::start(&plane, "answered").await.unheard();
    let failed =
        |vendor| if vendor == Vendor::Industrility { FaultKind::Status(500, None) } else { FaultKind::TruncatedJson };
    let begun = Instant::now();
    for vendor in &stage.vendors {
        vendor.fault(Fault::once("users.create", failed(vendor.vendor())));
        stage.user(vendor.vendor(), "ada").await;
    }
    for vendor in &stage.vendors {
        stage.until_ready(vendor.vendor(), &format!("{}-ada", vendor.vendor().name())).await;
        let made = vendor.users().iter().filter(|user| user["email"] == "ada@example.com").count();
        assert_eq!(made, 1, "{:?}", vendor.vendor());
    }
    // A call's timeout plus the grace would be 40 s.
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
}
