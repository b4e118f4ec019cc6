//! `usher run`: starts the operator's parts and ends them in order; it decides nothing about objects.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::Args as ClapArgs;
use kube::{Client, Config};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::addresses::Addresses;
use super::prometheus::PrometheusMetrics;
use super::requirements::{LEASE, Requirements};
use crate::api::user::Mode;
use crate::controller::{self, Settings};
use crate::runtime::admin::{self, Readiness};
use crate::runtime::leader::Lease;
use crate::runtime::metrics::MetricsRegistry;
use crate::runtime::shutdown;
use crate::runtime::telemetry::{self, LogFormat};

/// How long after its timeout a create whose answer was lost may still take effect.
pub(super) const GRACE: Duration = Duration::from_secs(10);
/// How long a vendor's replica or search index may lag behind its writes: a few seconds at those that are known, with reserve.
const READ_LAG: Duration = Duration::from_secs(30);
/// Longest time for one call to Kubernetes other than a watch.
const KUBERNETES_TIMEOUT: Duration = Duration::from_secs(15);

/// Flags of the operator. Every flag has an environment variable.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Mode of the operator: Enforce, Plan (show changes, make none) or Paused (no vendor call). Credentials, objects and
    /// annotations can only make it stricter.
    #[arg(long, env = "USHER_MODE", value_name = "MODE", default_value = "Enforce", value_parser = mode)]
    mode: Mode,
    /// Namespace of the operator, for its lease and the key of password digests.
    #[arg(long, env = "POD_NAMESPACE", value_name = "NAMESPACE", default_value = "usher-system")]
    namespace: String,
    /// Address of the admin server: /livez, /readyz, /metrics. [::] is reached by IPv4 and IPv6; on a host without IPv6 it stands
    /// for 0.0.0.0.
    #[arg(long, env = "USHER_ADMIN_ADDRESS", value_name = "IP:PORT", default_value = admin::DEFAULT_ADDRESS)]
    admin_address: SocketAddr,
    /// Run the controllers only while holding the lease "usher", so that several replicas can run.
    #[arg(long, env = "USHER_LEADER_ELECT")]
    leader_elect: bool,
    /// Name of this process in the lease.
    #[arg(long, env = "POD_NAME", value_name = "NAME", default_value_t = format!("usher-{:08x}", fastrand::u32(..)))]
    identity: String,
    /// Longest time for one call to a vendor, answer included, in seconds. If the answer to a create is lost,
    /// usher looks for the account 10 s after this time.
    #[arg(long, env = "USHER_CALL_TIMEOUT", value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    call_timeout: Duration,
    /// Longest time for one reconcile, in seconds.
    #[arg(long, env = "USHER_RECONCILE_TIMEOUT", value_name = "SECONDS", default_value = "180", value_parser = seconds)]
    reconcile_timeout: Duration,
    /// Most objects of one kind to reconcile at the same time, beside two of each credential. Each credential's spec.requests limits the
    /// calls to its vendor.
    #[arg(long, env = "USHER_CONCURRENCY", value_name = "NUMBER", default_value_t = 64)]
    concurrency: u16,
    /// Whether a finalizer keeps each credential's Secret until usher no longer needs it to remove accounts, e.g. when a whole
    /// namespace is deleted. false also removes the finalizer from Secrets that have it.
    #[arg(long, env = "USHER_SECRET_FINALIZER", value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    secret_finalizer: bool,
    #[command(flatten)]
    addresses: Addresses,
    /// Longest time for work in progress to finish after SIGTERM, in seconds.
    #[arg(long, env = "USHER_DRAIN_TIMEOUT", value_name = "SECONDS", default_value = "35", value_parser = seconds)]
    drain_timeout: Duration,
    /// Format of log lines.
    #[arg(long, env = "USHER_LOG_FORMAT", value_name = "FORMAT", default_value = "json")]
    log_format: LogFormat,
    /// Log filter, e.g. info, or usher=debug,kube=info.
    #[arg(long, env = "USHER_LOG", value_name = "FILTER", default_value = "info")]
    log: String,
}

/// Why the operator could not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log filter is not valid.
    #[error("failed to set up logging")]
    Telemetry(#[from] telemetry::Error),
    /// There is no kubeconfig, and the process does not run in a cluster.
    #[error("failed to find a cluster: set KUBECONFIG or run inside one")]
    Config(#[from] kube::config::InferConfigError),
    /// The kubeconfig is not valid for a client.
    #[error("failed to build a Kubernetes client")]
    Client(#[source] kube::Error),
    /// The admin server could not listen.
    #[error("failed to listen on {address}: choose another --admin-address")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The cause.
        source: std::io::Error,
    },
    /// Signals cannot be caught.
    #[error("failed to listen for signals")]
    Signals(#[source] std::io::Error),
    /// The lease could not be taken.
    #[error("failed to take the lease")]
    Lease(#[from] crate::runtime::leader::Error),
    /// The lease was lost; another process may write now.
    #[error("the lease was lost: stopped writing")]
    Deposed,
}

/// Runs until SIGTERM, or until the lease is lost.
pub async fn run(args: Args) -> Result<(), Error> {
    telemetry::init(args.log_format, &args.log)?;
    let stop = shutdown::on_signals().map_err(Error::Signals)?;
    let metrics = MetricsRegistry::new();
    let readiness = Readiness::new(&["crds", "platformusers", "platformgroups", "providercredentials"]);
    let (address, serving) =
        admin::serve(args.admin_address, metrics.clone(), readiness.clone(), CancellationToken::new())
            .await
            .map_err(|source| Error::Listen { address: args.admin_address, source })?;
    tokio::spawn(serving);
    info!(%address, mode = %args.mode, version = env!("CARGO_PKG_VERSION"), "usher starts");
    let client = client().await?;
    let requirements = Requirements {
        namespace: &args.namespace,
        leader_elect: args.leader_elect,
        secret_finalizer: args.secret_finalizer,
    };
    requirements.wait(&client, &readiness, &stop).await;
    let result = Box::pin(lead(&args, client, metrics, readiness, &stop)).await;
    info!("usher ends");
    result
}

async fn client() -> Result<Client, Error> {
    let mut config = Config::infer().await?;
    // Retries inside the client hide an outage for minutes; reconciles and watches have their own.
    config.default_retry = false;
    config.connect_timeout = Some(KUBERNETES_TIMEOUT);
    Client::try_from(config).map_err(Error::Client)
}

/// Runs the controllers, with --leader-elect only while this process holds the lease.
async fn lead(
    args: &Args,
    client: Client,
    metrics: MetricsRegistry,
    readiness: Readiness,
    stop: &CancellationToken,
) -> Result<(), Error> {
    if stop.is_cancelled() {
        return Ok(());
    }
    if !args.leader_elect {
        metrics.leader(true);
        Box::pin(work(args, client, metrics, readiness, stop)).await;
        return Ok(());
    }
    // A replica that waits for the lease counts as ready, because it can take over.
    ["platformusers", "platformgroups", "providercredentials"].into_iter().for_each(|kind| readiness.done(kind));
    let lease = Lease::new(client.clone(), &args.namespace, LEASE, &args.identity);
    let Some(mut held) = lease.acquire(stop).await? else { return Ok(()) };
    metrics.leader(true);
    let deposed = tokio::select! {
        () = Box::pin(work(args, client, metrics.clone(), readiness, stop)) => false,
        () = held.lost() => true,
    };
    metrics.leader(false);
    if deposed {
        return Err(Error::Deposed);
    }
    held.release().await;
    Ok(())
}

/// Runs the controllers; after `stop` work in progress has `drain_timeout` to finish.
async fn work(args: &Args, client: Client, metrics: MetricsRegistry, readiness: Readiness, stop: &CancellationToken) {
    let settings = Settings {
        call_timeout: args.call_timeout,
        grace: GRACE,
        read_lag: READ_LAG,
        reconcile_timeout: args.reconcile_timeout,
        mode: args.mode,
        namespace: args.namespace.clone(),
        secret_finalizer: args.secret_finalizer,
        concurrency: args.concurrency,
        addresses: args.addresses.rules(),
    };
    let listed = Box::new(move |kind| readiness.done(kind));
    let controllers = controller::run(client, settings, Arc::new(PrometheusMetrics(metrics)), stop.clone(), listed);
    let too_long = async {
        stop.cancelled().await;
        tokio::time::sleep(args.drain_timeout).await;
    };
    tokio::select! {
        () = controllers => {}
        () = too_long => warn!("work in progress did not finish in time"),
    }
}

fn mode(text: &str) -> Result<Mode, String> {
    match text {
        "Enforce" => Ok(Mode::Enforce),
        "Plan" => Ok(Mode::Plan),
        "Paused" => Ok(Mode::Paused),
        _ => Err("write Enforce, Plan or Paused".into()),
    }
}

/// Whole seconds from 1 to 3600.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<u64>() {
        Ok(number @ 1..=3600) => Ok(Duration::from_secs(number)),
        _ => Err("write whole seconds from 1 to 3600".into()),
    }
}
