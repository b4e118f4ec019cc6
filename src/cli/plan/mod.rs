//! `usher plan`: shows what `usher run` would do, from the cluster or from files; it writes to nobody.

mod files;
mod print;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{ArgGroup, Args as ClapArgs, ValueEnum};
use kube::Config;

use super::prometheus::PrometheusMetrics;
use crate::api::Kind;
use crate::api::names::API_GROUP;
use crate::api::user::Mode;
use crate::controller::Settings;
use crate::controller::preview::{self, Documents, Item, Outcome, Outlook, Scope};
use crate::runtime::metrics::MetricsRegistry;
use crate::runtime::readonly::{self, Trials};

/// Longest time for one call to Kubernetes, and until it answers at all.
const KUBERNETES_TIMEOUT: Duration = Duration::from_secs(30);

/// The only requests to Kubernetes that are no reads: dry runs of applying the given files.
const TRIALS: Trials =
    Trials { group: API_GROUP, plurals: &[Kind::User.plural(), Kind::Group.plural(), Kind::Credential.plural()] };

/// Help that shows how it is used.
const EXAMPLES: &str = "\
Examples:
  usher plan --all                          every object in the cluster
  usher plan --all -n identity              every object of one namespace
  usher plan -f manifests/ -n identity      what applying a folder would lead to
  kubectl kustomize . | usher plan -f -     the same for what a tool renders
  usher plan -f user.yaml -o json | jq '.[].calls'

Exit code: 0 nothing to do, 2 changes, 1 error or an object that is blocked.

Files are also tried at the API server, in dry runs that store nothing: what its rules or admission
policies refuse is BLOCKED. Who may not patch the kinds gets the plan without that, and a note.";

/// What is looked at and how it is shown.
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES, group = ArgGroup::new("objects").required(true).multiple(true), override_usage = "usher plan -f FILE [-n NAMESPACE] [-o table|json]\n       usher plan --all [-n NAMESPACE] [-o table|json]")]
pub struct Args {
    /// A file or folder (with what is below it) of manifests, or - for standard input; may be given several times. They win
    /// over what is in the cluster.
    #[arg(short, long = "filename", value_name = "FILE", group = "objects")]
    filenames: Vec<PathBuf>,
    /// Every object in the cluster, or with -n in that namespace.
    #[arg(long, group = "objects")]
    all: bool,
    /// Namespace of documents that name none, and with --all the only one shown.
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// How the answer is shown.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
    /// Namespace of the operator, which holds the key of password digests.
    #[arg(long, env = "POD_NAMESPACE", value_name = "NAMESPACE", default_value = "usher-system")]
    operator_namespace: String,
    /// Longest time for one call to a vendor, answer included, in seconds.
    #[arg(long, env = "USHER_CALL_TIMEOUT", value_name = "SECONDS", default_value = "30", value_parser = super::run::seconds)]
    call_timeout: Duration,
}

/// How the answer is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Table,
    /// For programs: an array with one entry per object.
    Json,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No kubeconfig and not in a cluster.
    #[error("failed to find a cluster: set KUBECONFIG to a kubeconfig whose current context leads to one")]
    Config(#[from] kube::config::InferConfigError),
    /// The kubeconfig leads to no client.
    #[error("failed to build a Kubernetes client")]
    Client(#[source] kube::Error),
    /// A file could not be read or is no manifest.
    #[error(transparent)]
    Files(#[from] files::Error),
    /// The cluster could not be read.
    #[error(transparent)]
    Preview(#[from] preview::Error),
    /// The answer could not be rendered.
    #[error("failed to render the answer")]
    Render(#[from] serde_json::Error),
    /// The answer could not be written.
    #[error("failed to write the answer")]
    Write(#[from] io::Error),
}

/// Shows what would be done. The exit code is 0 when that is nothing, 2 for changes and 1 when an object is blocked.
pub async fn plan(args: Args) -> Result<ExitCode, Error> {
    let read = files::read(&args.filenames)?;
    let mut config = Config::infer().await?;
    config.default_retry = false;
    config.connect_timeout = Some(KUBERNETES_TIMEOUT);
    config.read_timeout = Some(KUBERNETES_TIMEOUT);
    let namespace = args.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
    let files::Read { documents, skipped } = read.within(&namespace)?;
    if !skipped.is_empty() {
        tell(&format!("skipped other kinds: {}", skipped.into_iter().collect::<Vec<_>>().join(", ")));
    }
    let Outlook { items, notes } = look(&args, config, documents).await?;
    notes.iter().for_each(|note| tell(note));
    let text = match args.output {
        Format::Table => print::table(&items),
        Format::Json => print::json(&items)?,
    };
    io::stdout().write_all(text.as_bytes())?;
    Ok(exit_code(&items))
}

fn tell(note: &str) {
    // Nobody reads a closed standard error.
    let _ = writeln!(io::stderr(), "usher: {note}");
}

/// Longest time for one object; a listing of all accounts behind a small rate takes many minutes.
const LONGEST: Duration = Duration::from_mins(45);

async fn look(args: &Args, config: Config, documents: Documents) -> Result<Outlook, Error> {
    let client = readonly::client(config, TRIALS).map_err(Error::Client)?;
    let settings = Settings {
        call_timeout: args.call_timeout,
        // There is no sweep to come that could tell what a listing does not tell in time.
        reconcile_timeout: LONGEST,
        grace: super::run::GRACE,
        mode: Mode::Plan,
        secret_finalizer: true,
        namespace: args.operator_namespace.clone(),
        concurrency: 1,
    };
    let scope = if args.all { Scope::Cluster(args.namespace.clone()) } else { Scope::Documents };
    let metrics = Arc::new(PrometheusMetrics(MetricsRegistry::new()));
    Ok(Box::pin(preview::preview(client, settings, metrics, documents, &scope)).await?)
}

fn exit_code(items: &[Item]) -> ExitCode {
    let any = |outcome| items.iter().any(|item| item.outcome == outcome);
    if any(Outcome::Blocked) {
        ExitCode::FAILURE
    } else if any(Outcome::Changes) {
        ExitCode::from(2)
    } else {
        ExitCode::SUCCESS
    }
}
