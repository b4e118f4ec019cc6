//! `cargo scale`: a benchmark of N users at one vendor, with the operator in a process of its own on a real API server.
//!
//! It measures and prints; it does not judge the results.

mod hostile;

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use clap::Parser;
use futures::{StreamExt, TryStreamExt};
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::runtime::wait::await_condition;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::process::{Child, Command};
use usher::api::{PlatformUser, ProviderCredential};

use crate::controlplane::{self, ControlPlane, Options};
use crate::vendors::{Options as VendorOptions, Simulator, Vendor};

/// Namespace of the benchmark's objects.
const NAMESPACE: &str = "scale";
/// The most that the schema of spec.removals.atMost allows.
const MOST_REMOVALS: i64 = 100_000;
/// Longest time until all users are ready.
const PATIENCE: Duration = Duration::from_mins(10);

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Creates users at a simulated Pegasus and prints the cost.
#[derive(Debug, Parser)]
#[command(name = "cargo scale")]
pub struct Args {
    /// Number of users.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=MOST_REMOVALS))]
    users: u32,
    /// Duration of every vendor call, in milliseconds.
    #[arg(long, default_value_t = 20)]
    latency: u64,
    /// Objects that usher works on at the same time: the credential's spec.requests.concurrency.
    #[arg(long, default_value_t = 32)]
    concurrency: u32,
    /// Number of parallel applies: kubectl has one, GitOps tools have a few. More only saturates the API server.
    #[arg(long, default_value_t = 8)]
    appliers: usize,
    /// Afterwards delete all users at once, and measure that too.
    #[arg(long)]
    remove: bool,
    /// Removal budget: the credential's spec.removals.atMost. Further removals wait. Defaults to the number of users.
    #[arg(long, value_parser = clap::value_parser!(u32).range(..=MOST_REMOVALS))]
    at_most: Option<u32>,
    /// Measure instead how long one tenant's changes take beside slow tenants and vendors, and alone.
    #[arg(long)]
    hostile: bool,
    /// With --hostile: number of credentials whose vendor takes 20 seconds a page.
    #[arg(long, default_value_t = 70, requires = "hostile", value_parser = clap::value_parser!(u32).range(1..))]
    slow_credentials: u32,
    /// With --hostile: number of users that wait for one call a minute, and of users at a vendor that hangs.
    #[arg(long, default_value_t = 200, requires = "hostile", value_parser = clap::value_parser!(u32).range(1..))]
    waiting_users: u32,
    /// Run the operator. The benchmark starts itself with this flag.
    #[arg(long, hide = true, num_args = 0.., allow_hyphen_values = true)]
    operator: Option<Vec<String>>,
}

/// The measurements.
struct Figures {
    applying: Duration,
    after_last_apply: Duration,
    vendor_calls: usize,
    kubernetes_writes: f64,
    peak_rss_mib: f64,
    cpu_seconds: f64,
    removal: Option<Removal>,
}

/// The cost of deleting all users at once.
struct Removal {
    until_settled: Duration,
    held: usize,
    vendor_calls: usize,
    kubernetes_writes: f64,
    cpu_seconds: f64,
}

/// Runs the benchmark and writes its figures to `out`.
///
/// Errors: why it could not measure.
pub async fn run(args: Args, out: &mut (dyn Write + Send)) -> Result<(), Failure> {
    if let Some(arguments) = args.operator {
        let arguments = ["usher".to_owned(), "run".to_owned()].into_iter().chain(arguments);
        usher::cli::Cli::parse_from(arguments).execute().await?;
        return Ok(());
    }
    if args.hostile {
        return hostile::run(&args, out).await;
    }
    writeln!(out, "{} users at Pegasus, {} ms a call, {} at a time", args.users, args.latency, args.concurrency)?;
    let figures = measure(&args).await?;
    print(&args, &figures, out)
}

/// A control plane with the operator.
struct Stage {
    /// As the administrator.
    client: Client,
    operator: Child,
    _plane: ControlPlane,
}

impl Stage {
    async fn start() -> Result<Self, Failure> {
        let plane = ControlPlane::start(Options::default()).await?;
        let client = plane.client()?;
        controlplane::apply(&client, &controlplane::crds()?).await?;
        controlplane::apply(&client, &controlplane::operator_manifests()?).await?;
        let operator = start_operator(&plane).await?;
        Ok(Self { client, operator, _plane: plane })
    }
}

async fn measure(args: &Args) -> Result<Figures, Failure> {
    let Stage { client, mut operator, _plane } = Stage::start().await?;
    let options = VendorOptions { latency: Duration::from_millis(args.latency), ..VendorOptions::default() };
    let vendor = Simulator::start_with(Vendor::Pegasus, options).await?;
    let requests = json!({"concurrency": args.concurrency});
    ready_credential(&client, NAMESPACE, &vendor, requests, args.at_most.unwrap_or(args.users)).await?;

    let writes = status_writes(&client).await?;
    vendor.clear_calls();
    let begun = Instant::now();
    create_users(&client, args.users, args.appliers).await?;
    let applying = begun.elapsed();
    tokio::time::timeout(PATIENCE, all_ready(&client, args.users)).await??;
    let after_last_apply = begun.elapsed().saturating_sub(applying);
    let kubernetes_writes = status_writes(&client).await? - writes;
    let (vendor_calls, cpu_seconds) = (vendor.calls().len(), cpu_seconds(&operator)?);
    let removal = if args.remove { Some(remove(&client, &vendor, &operator).await?) } else { None };
    let peak_rss_mib = peak_rss_mib(&operator)?;
    operator.kill().await?;
    Ok(Figures { applying, after_last_apply, vendor_calls, kubernetes_writes, peak_rss_mib, cpu_seconds, removal })
}

/// Deletes all users at once and waits until each is gone or exceeds the removal budget.
async fn remove(client: &Client, vendor: &Simulator, operator: &Child) -> Result<Removal, Failure> {
    let (cpu, writes) = (cpu_seconds(operator)?, status_writes(client).await?);
    vendor.clear_calls();
    let begun = Instant::now();
    let users: Api<PlatformUser> = Api::namespaced(client.clone(), NAMESPACE);
    users.delete_collection(&DeleteParams::default(), &ListParams::default()).await?;
    let held = tokio::time::timeout(PATIENCE, all_gone_or_held(users)).await??;
    Ok(Removal {
        until_settled: begun.elapsed(),
        held,
        vendor_calls: vendor.calls().len(),
        kubernetes_writes: status_writes(client).await? - writes,
        cpu_seconds: cpu_seconds(operator)? - cpu,
    })
}

/// Ends when every user is gone or exceeds the removal budget; returns how many exceed it.
async fn all_gone_or_held(users: Api<PlatformUser>) -> Result<usize, Failure> {
    loop {
        let left = users.list(&ListParams::default()).await?.items;
        let is_held = |user: &&PlatformUser| {
            let conditions = user.status.iter().flat_map(|status| &status.report.conditions);
            conditions.into_iter().any(|condition| condition.reason == "RemovalHeld")
        };
        if left.iter().all(|user| is_held(&user)) {
            return Ok(left.len());
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Starts the operator as its own process, with deploy/'s permissions.
async fn start_operator(plane: &ControlPlane) -> Result<Child, Failure> {
    let token = plane.service_account_token("usher-system", "usher").await?;
    let kubeconfig = plane.dir().join("operator.kubeconfig");
    plane.write_kubeconfig(&kubeconfig, &token)?;
    let admin: SocketAddr = ([127, 0, 0, 1], 0).into();
    let child = Command::new(std::env::current_exe()?)
        .args([
            "--operator",
            "--allow-insecure-http",
            "--log=warn",
            "--log-format=text",
            &format!("--admin-address={admin}"),
        ])
        .env("KUBECONFIG", kubeconfig)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    Ok(child)
}

/// Applies namespace, Secret and credential `main` with further `requests` and a removal budget; ends when the credential is Ready.
async fn ready_credential(
    client: &Client,
    namespace: &str,
    vendor: &Simulator,
    mut requests: Value,
    at_most: u32,
) -> Result<(), Failure> {
    (requests["perMinute"], requests["burst"]) = (json!(600_000), json!(10_000));
    let spec = json!({"requests": requests, "removals": {"after": "0s", "atMost": at_most}});
    let credential = hostile::credential(namespace, "main", vendor, &spec);
    for document in [hostile::namespace(namespace), hostile::secret(namespace, vendor), credential] {
        controlplane::apply(client, &document.to_string()).await?;
    }
    let credentials: Api<ProviderCredential> = Api::namespaced(client.clone(), namespace);
    let ready = |credential: Option<&ProviderCredential>| {
        let status = credential.and_then(|credential| credential.status.as_ref());
        status.is_some_and(|status| status.conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True"))
    };
    tokio::time::timeout(PATIENCE, await_condition(credentials, "main", ready)).await??;
    Ok(())
}

async fn create_users(client: &Client, count: u32, appliers: usize) -> Result<(), Failure> {
    let api: Api<PlatformUser> = Api::namespaced(client.clone(), NAMESPACE);
    let create = |number: u32| {
        let api = api.clone();
        async move {
            let user: PlatformUser = serde_json::from_value(json!({
                "apiVersion": "usher.dev/v1alpha1", "kind": "PlatformUser",
                "metadata": {"name": format!("user-{number}"), "namespace": NAMESPACE},
                "spec": {
                    "credentialRef": {"name": "main"}, "email": format!("user-{number}@example.com"), "firstName": "User",
                    "provider": {"pegasus": {"sendEmail": true}},
                },
            }))?;
            api.create(&PostParams::default(), &user).await?;
            Ok::<(), Failure>(())
        }
    };
    futures::stream::iter((0..count).map(create)).buffer_unordered(appliers).try_collect().await
}

/// Ends when a watch shows `count` Ready users.
async fn all_ready(client: &Client, count: u32) -> Result<(), Failure> {
    let api: Api<PlatformUser> = Api::namespaced(client.clone(), NAMESPACE);
    let mut ready = std::collections::HashSet::new();
    let mut users = Box::pin(watcher(api, watcher::Config::default()).default_backoff().applied_objects());
    while ready.len() < count as usize {
        let Some(user) = users.try_next().await? else { break };
        let conditions = user.status.map(|status| status.report.conditions).unwrap_or_default();
        if conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True") {
            ready.insert(user.metadata.name);
        }
    }
    Ok(())
}

/// Writes to users other than creates, as the API server counts them.
async fn status_writes(client: &Client) -> Result<f64, Failure> {
    let request = http::Request::get("/metrics").body(Vec::new())?;
    let text = client.request_text(request).await?;
    let counted = |line: &&str| {
        line.starts_with("apiserver_request_total{")
            && line.contains(r#"resource="platformusers""#)
            && [r#"verb="APPLY""#, r#"verb="PATCH""#, r#"verb="PUT""#].iter().any(|verb| line.contains(verb))
    };
    Ok(text.lines().filter(counted).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
}

/// Processor time of the operator so far, user and system, in seconds.
fn cpu_seconds(operator: &Child) -> Result<f64, Failure> {
    let id = operator.id().ok_or("the operator ended")?;
    let stat = std::fs::read_to_string(Path::new("/proc").join(id.to_string()).join("stat"))?;
    // Fields after the name, which may hold blanks: state is the first, utime and stime are the 12th and 13th, in ticks.
    let (_, fields) = stat.rsplit_once(") ").ok_or("no name in /proc/stat")?;
    let ticks: Vec<f64> = fields.split(' ').skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<f64>() / 100.0)
}

/// Peak resident memory of the operator.
fn peak_rss_mib(operator: &Child) -> Result<f64, Failure> {
    let id = operator.id().ok_or("the operator ended")?;
    let status = std::fs::read_to_string(Path::new("/proc").join(id.to_string()).join("status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM in /proc")?;
    let kibibytes: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kibibytes / 1024.0)
}

fn print(args: &Args, figures: &Figures, out: &mut (dyn Write + Send)) -> Result<(), Failure> {
    let Figures { applying, after_last_apply, vendor_calls, kubernetes_writes, peak_rss_mib, cpu_seconds, removal } =
        figures;
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    let (users, calls) = (f64::from(args.users), *vendor_calls as f64);
    let floor = users * f64::from(u32::try_from(args.latency)?) / 1000.0 / f64::from(args.concurrency);
    let total = (*applying + *after_last_apply).as_secs_f64();
    let mut rows = vec![
        ("seconds of applying", round(applying.as_secs_f64())),
        ("seconds from the last apply until all are Ready", round(after_last_apply.as_secs_f64())),
        ("vendor calls per user", round(calls / users)),
        ("Kubernetes writes per user", round(kubernetes_writes / users)),
        ("peak RSS of the operator, MiB", round(*peak_rss_mib)),
        ("floor that latency and concurrency allow, seconds", round(floor)),
        ("whole run as a ratio to applying alone", round(total / applying.as_secs_f64())),
        ("processor seconds of the operator", round(*cpu_seconds)),
    ];
    if let Some(Removal { until_settled, held, vendor_calls, kubernetes_writes, cpu_seconds: spent }) = removal {
        #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
        let removed = users - *held as f64;
        rows.extend([
            ("seconds until all deleted users are gone or wait", round(until_settled.as_secs_f64())),
            ("users that exceed the removal budget", json!(held)),
            ("vendor calls until then", json!(vendor_calls)),
            ("users removed", json!(removed)),
            ("Kubernetes writes per user deleted", round(kubernetes_writes / users)),
            ("processor seconds of removing as a ratio to creating", round(spent / cpu_seconds)),
        ]);
    }
    for (name, value) in rows {
        writeln!(out, "{name:<52} {value}")?;
    }
    Ok(())
}

fn round(number: f64) -> Value {
    json!((number * 1000.0).round() / 1000.0)
}
