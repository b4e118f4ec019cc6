//! The command `usher plan`: it prints the calls to vendors that `usher run` would make, for the objects of the cluster or for
//! manifests that are not applied yet. It changes nothing in Kubernetes or at a vendor.

mod files;
mod print;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{ArgGroup, Args as ClapArgs, ValueEnum};
use kube::Config;

use super::addresses::Addresses;
use super::prometheus::PrometheusMetrics;
use crate::api::Kind;
use crate::api::names::API_GROUP;
use crate::api::user::Mode;
use crate::controller::Settings;
use crate::controller::preview::{self, Documents, Effect, Item, Preview, Scope};
use crate::runtime::metrics::MetricsRegistry;
use crate::runtime::readonly::{self, AllowedDryRuns};

/// Longest time for one call to Kubernetes, and until it answers at all.
const KUBERNETES_TIMEOUT: Duration = Duration::from_secs(30);

/// The objects that may be patched in dry runs, which check the files.
const DRY_RUNS: AllowedDryRuns = AllowedDryRuns {
    group: API_GROUP,
    plurals: &[Kind::User.plural(), Kind::Group.plural(), Kind::Credential.plural()],
};

/// Examples and exit codes for the help text.
const EXAMPLES: &str = "\
Examples:
  usher plan --all                          every object in the cluster
  usher plan --all -n identity              every object of one namespace
  usher plan -f manifests/ -n identity      what applying a folder would change
  kubectl kustomize . | usher plan -f -     the same for rendered manifests
  usher plan -f user.yaml -o json | jq '.[].calls'

Exit code: 0 nothing to do, 2 changes, 1 error or an object that is blocked.

The API server checks files in dry runs, which store nothing: an object that its rules or admission
policies refuse is BLOCKED. Without permission to patch the kinds, the plan skips this check and
prints a note.";

/// Which objects to plan, and how to print the plan.
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES, group = ArgGroup::new("objects").required(true).multiple(true), override_usage = "usher plan -f FILE [-n NAMESPACE] [-o table|json]\n       usher plan --all [-n NAMESPACE] [-o table|json]")]
pub struct Args {
    /// A file of manifests, a folder with all below it, or - for standard input; may be given several times. Manifests take
    /// precedence over the same objects in the cluster.
    #[arg(short, long = "filename", value_name = "FILE", group = "objects")]
    filenames: Vec<PathBuf>,
    /// All objects in the cluster, or with -n in that namespace.
    #[arg(long, group = "objects")]
    all: bool,
    /// Namespace of manifests that name none; with --all, the only namespace to plan.
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// Log in with Secrets of the cluster at the addresses in the files. Without this flag the plan logs in only where the
    /// cluster's own credential leads, or with a Secret that is in the files as a whole, because files from others could otherwise
    /// send your login anywhere.
    #[arg(long)]
    log_in_as_files_say: bool,
    /// Format of the plan.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
    /// Namespace of the operator, where the key of password digests is.
    #[arg(long, env = "POD_NAMESPACE", value_name = "NAMESPACE", default_value = "usher-system")]
    operator_namespace: String,
    #[command(flatten)]
    addresses: Addresses,
    /// Longest time for one call to a vendor, answer included, in seconds.
    #[arg(long, env = "USHER_CALL_TIMEOUT", value_name = "SECONDS", default_value = "30", value_parser = super::run::seconds)]
    call_timeout: Duration,
}

/// Format of the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Table,
    /// For programs: an array with one entry per object.
    Json,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no kubeconfig, and the process does not run in a cluster.
    #[error("failed to find a cluster: set KUBECONFIG to a kubeconfig with a valid current context")]
    Config(#[from] kube::config::InferConfigError),
    /// The kubeconfig is not valid for a client.
    #[error("failed to build a Kubernetes client")]
    Client(#[source] kube::Error),
    /// A file could not be read or is not a manifest.
    #[error(transparent)]
    Files(#[from] files::Error),
    /// The cluster could not be read.
    #[error(transparent)]
    Preview(#[from] preview::Error),
    /// The plan could not be rendered.
    #[error("failed to render the plan")]
    Render(#[from] serde_json::Error),
    /// The plan could not be written.
    #[error("failed to write the plan")]
    Write(#[from] io::Error),
}

/// Prints the plan. The exit code is 0 without changes, 2 with changes and 1 if an object is blocked.
pub async fn plan(args: Args) -> Result<ExitCode, Error> {
    let parsed = files::read(&args.filenames)?;
    let mut config = Config::infer().await?;
    config.default_retry = false;
    config.connect_timeout = Some(KUBERNETES_TIMEOUT);
    config.read_timeout = Some(KUBERNETES_TIMEOUT);
    let namespace = args.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
    let files::Manifests { mut documents, skipped } = parsed.with_default_namespace(&namespace)?;
    documents.are_trusted = args.log_in_as_files_say;
    if !skipped.is_empty() {
        print_note(&format!("skipped other kinds: {}", skipped.into_iter().collect::<Vec<_>>().join(", ")));
    }
    let Preview { items, notes } = preview(&args, config, documents).await?;
    notes.iter().for_each(|note| print_note(note));
    let text = match args.output {
        Format::Table => print::table(&items),
        Format::Json => print::json(&items)?,
    };
    io::stdout().write_all(text.as_bytes())?;
    Ok(exit_code(&items))
}

fn print_note(note: &str) {
    // Ignored because it fails only if standard error is closed.
    let _ = writeln!(io::stderr(), "usher: {note}");
}

/// Longest time for one object. A listing of all accounts under a low rate limit takes many minutes.
const OBJECT_TIMEOUT: Duration = Duration::from_mins(45);

async fn preview(args: &Args, config: Config, documents: Documents) -> Result<Preview, Error> {
    let client = readonly::client(config, DRY_RUNS).map_err(Error::Client)?;
    let settings = Settings {
        call_timeout: args.call_timeout,
        // Long, because no later sweep completes an interrupted listing.
        reconcile_timeout: OBJECT_TIMEOUT,
        grace: super::run::GRACE,
        // A plan has written nothing.
        read_lag: Duration::ZERO,
        mode: Mode::Plan,
        secret_finalizer: true,
        namespace: args.operator_namespace.clone(),
        concurrency: 1,
        addresses: args.addresses.rules(),
    };
    let scope = if args.all { Scope::Cluster(args.namespace.clone()) } else { Scope::Documents };
    let metrics = Arc::new(PrometheusMetrics(MetricsRegistry::new()));
    Ok(Box::pin(preview::preview(client, settings, metrics, documents, &scope)).await?)
}

fn exit_code(items: &[Item]) -> ExitCode {
    let any = |effect| items.iter().any(|item| item.effect == effect);
    if any(Effect::Blocked) {
        ExitCode::FAILURE
    } else if any(Effect::Changes) {
        ExitCode::from(2)
    } else {
        ExitCode::SUCCESS
    }
}
