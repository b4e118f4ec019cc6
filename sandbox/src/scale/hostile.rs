//! `cargo scale --hostile`: how long a new user, an edit and a removal of one tenant take alone, and beside tenants and vendors that are slow
//! in every way.

use std::io::Write;
use std::time::{Duration, Instant};

use kube::api::{DeleteParams, Patch, PatchParams};
use kube::runtime::wait::await_condition;
use kube::{Api, Client};
use serde_json::{Value, json};
use usher::api::{PlatformUser, ProviderCredential};

use super::{Args, Failure, PATIENCE, Stage, ready_credential};
use crate::controlplane;
use crate::vendors::{AmaniOptions, Fault, FaultKind, Options, Simulator, Vendor};

/// The time that the slow vendor takes for each page; less than usher waits for an answer.
const PAGE: Duration = Duration::from_secs(20);
/// The accounts at the slow vendor, each on a page of its own.
const PAGES: usize = 60;
/// How often the quick tenant's user is made, changed and removed in each part.
const ROUNDS: usize = 15;

/// The tenants of one run.
struct Tenants {
    /// The one whose times are measured.
    quick: Simulator,
    /// Answers a page every 20 s.
    slow: Simulator,
    /// Its tenant allows one call a minute.
    paced: Simulator,
    /// Hangs.
    hung: Simulator,
}

/// The median time until each change was made.
#[derive(Clone, Copy, Debug)]
struct Times {
    made: Duration,
    changed: Duration,
    removed: Duration,
}

/// Measures, and writes the figures to `out`.
///
/// Errors: why it could not measure.
pub async fn run(args: &Args, out: &mut (dyn Write + Send)) -> Result<(), Failure> {
    writeln!(
        out,
        "one tenant alone, then beside {} credentials whose vendor takes 20 s a page, {} users at one call a minute, and {} users at a vendor that hangs",
        args.slow_credentials, args.waiting_users, args.waiting_users
    )?;
    let mut stage = Stage::start().await?;
    let client = stage.client.clone();
    let tenants = Tenants::start(&client, args).await?;
    let alone = measure(&client, &tenants.quick, "alone").await?;
    tenants.turn_hostile(&client, args).await?;
    let beside = measure(&client, &tenants.quick, "beside").await?;
    let ended = tenants.ended_sweeps(&client, args).await?;
    let rows = [
        ("new user, milliseconds: alone, beside, ratio", (alone.made, beside.made)),
        ("edit, milliseconds: alone, beside, ratio", (alone.changed, beside.changed)),
        ("removal, milliseconds: alone, beside, ratio", (alone.removed, beside.removed)),
    ];
    for (name, (alone, beside)) in rows {
        let ratio = beside.as_secs_f64() / alone.as_secs_f64();
        writeln!(out, "{name:<52} {} {} {ratio:.2}", alone.as_millis(), beside.as_millis())?;
    }
    writeln!(out, "{:<52} {ended}", "sweeps of the slow vendor that ended meanwhile")?;
    writeln!(out, "{:<52} {}", "users made at one call a minute meanwhile", tenants.paced.count("users.create"))?;
    writeln!(out, "{:<52} {}", "creates sent to the vendor that hangs", tenants.hung.count("users.create"))?;
    stage.operator.kill().await?;
    Ok(())
}

impl Tenants {
    /// Starts the vendors, with credentials that are Ready but for those of the slow one.
    async fn start(client: &Client, args: &Args) -> Result<Self, Failure> {
        let amani = AmaniOptions { page_size: Some(1), ..AmaniOptions::default() };
        let slow = Simulator::start_with(Vendor::Amani, Options { latency: PAGE, amani, ..Options::default() }).await?;
        for number in 0..PAGES {
            slow.put_user(json!({"email": format!("slow-{number}@example.com"), "password": "Fake-Pass-1"}));
        }
        let options = Options { latency: Duration::from_millis(args.latency), ..Options::default() };
        let quick = Simulator::start_with(Vendor::Pegasus, options.clone()).await?;
        let paced = Simulator::start_with(Vendor::Pegasus, options.clone()).await?;
        let hung = Simulator::start_with(Vendor::Pegasus, options).await?;
        for (namespace, vendor) in [("quick", &quick), ("paced", &paced), ("hung", &hung)] {
            ready_credential(client, namespace, vendor, json!({"concurrency": 32}), 100_000).await?;
            // With a first user the credential has a listing.
            user(client, namespace, "main", 0, json!({})).await?;
            ready(client, namespace, 0).await?;
        }
        Ok(Self { quick, slow, paced, hung })
    }

    /// Lets the other tenants ask for what takes long, until it is under way.
    async fn turn_hostile(&self, client: &Client, args: &Args) -> Result<(), Failure> {
        let pace = json!({"spec": {"requests": {"perMinute": 1, "burst": 1, "concurrency": 256}}});
        let credentials: Api<ProviderCredential> = Api::namespaced(client.clone(), "paced");
        credentials.patch("main", &PatchParams::default(), &Patch::Merge(pace)).await?;
        self.hung.fault(Fault::always("*", FaultKind::Hang));
        for number in 1..=args.waiting_users {
            user(client, "paced", "main", number, json!({})).await?;
            user(client, "hung", "main", number, json!({})).await?;
        }
        controlplane::apply(client, &namespace("slow").to_string()).await?;
        controlplane::apply(client, &secret("slow", &self.slow).to_string()).await?;
        for number in 0..args.slow_credentials {
            let name = format!("slow-{number}");
            controlplane::apply(client, &credential("slow", &name, &self.slow, &json!({})).to_string()).await?;
            user(client, "slow", &name, number, json!({})).await?;
        }
        let wanted = args.slow_credentials as usize;
        let is_under_way = self.slow.wait_until(PATIENCE, |slow| slow.count("users.list") >= wanted).await;
        if is_under_way { Ok(()) } else { Err("the sweeps of the slow vendor did not begin".into()) }
    }

    /// How many credentials of the slow vendor have a sweep behind them.
    async fn ended_sweeps(&self, client: &Client, args: &Args) -> Result<usize, Failure> {
        let credentials: Api<ProviderCredential> = Api::namespaced(client.clone(), "slow");
        let mut ended = 0;
        for number in 0..args.slow_credentials {
            let status = credentials.get(&format!("slow-{number}")).await?.status;
            ended += usize::from(status.is_some_and(|status| status.last_sweep_time.is_some()));
        }
        Ok(ended)
    }
}

/// Makes, changes and removes a user of the quick tenant in each of [`ROUNDS`].
async fn measure(client: &Client, vendor: &Simulator, part: &str) -> Result<Times, Failure> {
    let users: Api<PlatformUser> = Api::namespaced(client.clone(), "quick");
    let (mut made, mut changed, mut removed) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let (name, email) = (format!("{part}-{round}"), format!("{part}-{round}@example.com"));
        let begun = Instant::now();
        named_user(client, "quick", "main", &name, json!({})).await?;
        tokio::time::timeout(PATIENCE, await_condition(users.clone(), &name, is_ready)).await??;
        made.push(begun.elapsed());
        let begun = Instant::now();
        named_user(client, "quick", "main", &name, json!({"phone": "1"})).await?;
        let shows = |vendor: &Simulator| vendor.user(&email).is_some_and(|user| user["phone"] == "1");
        if !vendor.wait_until(PATIENCE, shows).await {
            return Err(format!("the edit of {name} was not made").into());
        }
        changed.push(begun.elapsed());
        let begun = Instant::now();
        users.delete(&name, &DeleteParams::background()).await?;
        let is_gone = |user: Option<&PlatformUser>| user.is_none();
        tokio::time::timeout(PATIENCE, await_condition(users.clone(), &name, is_gone)).await??;
        removed.push(begun.elapsed());
    }
    Ok(Times { made: median(made), changed: median(changed), removed: median(removed) })
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn is_ready(user: Option<&PlatformUser>) -> bool {
    let conditions = user.and_then(|user| user.status.as_ref()).map(|status| &status.report.conditions);
    conditions.into_iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Waits until the user with this number is Ready.
async fn ready(client: &Client, namespace: &str, number: u32) -> Result<(), Failure> {
    let users: Api<PlatformUser> = Api::namespaced(client.clone(), namespace);
    tokio::time::timeout(PATIENCE, await_condition(users, &format!("user-{number}"), is_ready)).await??;
    Ok(())
}

async fn user(client: &Client, namespace: &str, credential: &str, number: u32, further: Value) -> Result<(), Failure> {
    named_user(client, namespace, credential, &format!("user-{number}"), further).await
}

/// Applies a user with further fields of its spec.
async fn named_user(
    client: &Client,
    namespace: &str,
    credential: &str,
    name: &str,
    further: Value,
) -> Result<(), Failure> {
    let mut spec = json!({"credentialRef": {"name": credential}, "email": format!("{name}@example.com")});
    if namespace != "slow" {
        spec["provider"] = json!({"pegasus": {"sendEmail": true}});
    }
    for (field, value) in further.as_object().into_iter().flatten() {
        spec[field] = value.clone();
    }
    let metadata = json!({"name": name, "namespace": namespace});
    let user = json!({"apiVersion": "usher.dev/v1alpha1", "kind": "PlatformUser", "metadata": metadata, "spec": spec});
    controlplane::apply(client, &user.to_string()).await?;
    Ok(())
}

/// The manifest of a namespace.
pub fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

/// The manifest of a vendor's Secret `main`.
pub fn secret(namespace: &str, vendor: &Simulator) -> Value {
    let metadata = json!({"name": "main", "namespace": namespace});
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": vendor.secret()})
}

/// The manifest of a credential with further fields of its spec.
pub fn credential(namespace: &str, name: &str, vendor: &Simulator, further: &Value) -> Value {
    let mut spec = json!({
        "provider": {(vendor.vendor().name()): {"url": vendor.url()}}, "secretRef": {"name": "main"}, "allowInsecureHttp": true,
        "requests": {"perMinute": 600_000, "burst": 10_000},
    });
    for (field, value) in further.as_object().into_iter().flatten() {
        spec[field] = value.clone();
    }
    let metadata = json!({"name": name, "namespace": namespace});
    json!({"apiVersion": "usher.dev/v1alpha1", "kind": "ProviderCredential", "metadata": metadata, "spec": spec})
}
