//! The real process, killed with SIGKILL at random moments while users are made, moved and removed: the end state is exact all the same.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use futures::StreamExt;
use kube::api::{DeleteParams, ListParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::process::{Child, Command};
use usher::api::PlatformUser;
use usher_sandbox::controlplane::{self, ControlPlane};
use usher_sandbox::vendors::{Options, Simulator, Vendor};

use crate::world::own_plane;

/// Longest time until the end state is reached, once the process is not killed any more.
const PATIENCE: Duration = Duration::from_mins(2);
/// People per vendor.
const PEOPLE: usize = 100;
/// How often the process is killed in each of the three acts.
const KILLS: usize = 4;

struct Stage {
    client: Client,
    vendors: BTreeMap<&'static str, Simulator>,
    kubeconfig: PathBuf,
    _plane: ControlPlane,
}

impl Stage {
    async fn new() -> Self {
        let plane = own_plane().await;
        let client = plane.client().unwrap();
        let token = plane.service_account_token("usher-system", "usher").await.unwrap();
        let kubeconfig = plane.dir().join("killed.kubeconfig");
        plane.write_kubeconfig(&kubeconfig, &token).unwrap();
        let mut vendors = BTreeMap::new();
        for vendor in [Vendor::Pegasus, Vendor::Plaspy] {
            let options = Options { latency: Duration::from_millis(15), ..Options::default() };
            vendors.insert(vendor.name(), Simulator::start_with(vendor, options).await.unwrap());
        }
        let stage = Self { client, vendors, kubeconfig, _plane: plane };
        for (name, vendor) in &stage.vendors {
            stage.furnish(name, vendor).await;
        }
        stage
    }

    /// A credential and two groups, and an account that is nobody's business.
    async fn furnish(&self, name: &str, vendor: &Simulator) {
        let credential = json!({"provider": {name: {"url": vendor.url()}}, "secretRef": {"name": name}, "allowInsecureHttp": true,
            "requests": {"perMinute": 60_000, "burst": 1000, "concurrency": 8}, "removals": {"after": "0s", "atMost": 1000}});
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "default"}, "stringData": vendor.secret()});
        self.apply(&secret).await;
        self.apply(&manifest("ProviderCredential", name, &credential)).await;
        for team in ["north", "south"] {
            let group = json!({"credentialRef": {"name": name}, "displayName": format!("{name} {team}")});
            self.apply(&manifest("PlatformGroup", &format!("{name}-{team}"), &group)).await;
        }
        vendor
            .put_user(json!({"email": "stranger@example.com", "username": "stranger@example.com", "name": "Stranger"}));
    }

    async fn apply(&self, document: &Value) {
        controlplane::apply(&self.client, &document.to_string()).await.unwrap();
    }

    /// Everyone in `team`, applied a few at a time.
    async fn everyone_in(&self, team: &str) {
        let people = self.vendors.keys().flat_map(|vendor| (0..PEOPLE).map(move |number| (*vendor, number)));
        let applied = people.map(|(vendor, number)| {
            let provider = match vendor {
                "pegasus" => json!({"pegasus": {"sendEmail": true}}),
                _ => json!({"plaspy": {"country": "CO", "timeZone": "America/Bogota"}}),
            };
            let spec = json!({"credentialRef": {"name": vendor}, "email": email(vendor, number), "provider": provider,
                "groups": [{"groupRef": {"name": format!("{vendor}-{team}")}}]});
            let document = manifest("PlatformUser", &format!("{vendor}-{number}"), &spec);
            async move { self.apply(&document).await }
        });
        futures::stream::iter(applied).buffer_unordered(4).collect::<Vec<_>>().await;
    }

    async fn nobody(&self) {
        let users: Api<PlatformUser> = Api::namespaced(self.client.clone(), "default");
        users.delete_collection(&DeleteParams::default(), &ListParams::default()).await.unwrap();
    }

    fn start(&self) -> Child {
        Command::new(env!("CARGO_BIN_EXE_usher"))
            .args(["run", "--allow-insecure-http", "--admin-address=127.0.0.1:0", "--call-timeout=1", "--log=off"])
            .env("KUBECONFIG", &self.kubeconfig)
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap()
    }

    /// Starts the process and kills it, again and again, while `act` goes on; then lets it live until `done`.
    async fn survive(&self, act: impl Future<Output = ()>, what: &str, done: impl Fn(&str, &Simulator) -> bool) {
        let killing = async {
            for _ in 0..KILLS {
                let mut process = self.start();
                // No wait for a condition: that the moment is random is the point.
                tokio::time::sleep(Duration::from_millis(fastrand::u64(700..2500))).await;
                process.kill().await.unwrap();
            }
        };
        tokio::join!(act, killing);
        let mut process = self.start();
        for (name, vendor) in &self.vendors {
            let came = vendor.wait_until(PATIENCE, |vendor| done(name, vendor)).await;
            assert!(came, "{what} never came at {name}: {:#?}", vendor.users());
        }
        self.settled(what).await;
        process.kill().await.unwrap();
        for (name, vendor) in &self.vendors {
            assert!(done(name, vendor), "{what} did not last at {name}");
            assert_eq!(vendor.violations(), Vec::<String>::new(), "{name}");
            assert_eq!(vendor.user("stranger@example.com").unwrap()["name"], Value::from("Stranger"), "{name}");
        }
    }

    /// Waits until every object says that it is in sync.
    async fn settled(&self, what: &str) {
        let users: Api<PlatformUser> = Api::namespaced(self.client.clone(), "default");
        let settling = async {
            loop {
                let all = users.list(&ListParams::default()).await.unwrap();
                if all.iter().all(is_settled) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
        };
        assert!(tokio::time::timeout(PATIENCE, settling).await.is_ok(), "{what}: not all objects settled");
    }
}

fn is_settled(user: &PlatformUser) -> bool {
    let status = user.status.as_ref();
    status.is_some_and(|status| {
        status.identity.creating.is_none()
            && status.identity.external_id.is_some()
            && status.report.observed_generation == user.metadata.generation.unwrap_or_default()
            && status.report.conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
    })
}

fn manifest(kind: &str, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "usher.dev/v1alpha1", "kind": kind, "metadata": {"name": name, "namespace": "default"}, "spec": spec})
}

fn email(vendor: &str, number: usize) -> String {
    format!("{vendor}-{number}@example.com")
}

/// Whether each user has exactly one account, in `team` alone, and no other account is there but those from before.
fn all_are_in(name: &str, vendor: &Simulator, team: &str) -> bool {
    let users = vendor.users();
    let group = vendor.group(&format!("{name} {team}")).unwrap_or_default();
    let groups =
        vendor.groups().iter().filter(|group| group["name"].as_str().is_some_and(|own| own.starts_with(name))).count();
    let ours: Vec<&Value> =
        users.iter().filter(|user| user["email"].as_str().is_some_and(|own| own.starts_with(name))).collect();
    let placed = |user: &&&Value| match name {
        "pegasus" => user["groups"] == json!([group["id"]]),
        _ => user["group"] == group["name"],
    };
    let once = (0..PEOPLE).all(|number| ours.iter().filter(|user| user["email"] == email(name, number)).count() == 1);
    groups == 2 && ours.len() == PEOPLE && once && ours.iter().filter(placed).count() == PEOPLE
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_made_moved_and_removed_while_the_process_is_killed_have_exactly_one_account() {
    let stage = Stage::new().await;
    stage.survive(stage.everyone_in("north"), "all made", |name, vendor| all_are_in(name, vendor, "north")).await;
    stage.survive(stage.everyone_in("south"), "all moved", |name, vendor| all_are_in(name, vendor, "south")).await;
    let nobody = |name: &str, vendor: &Simulator| {
        vendor.users().iter().all(|user| !user["email"].as_str().is_some_and(|own| own.starts_with(name)))
    };
    stage.survive(stage.nobody(), "all removed", nobody).await;
}
