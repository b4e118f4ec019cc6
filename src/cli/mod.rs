//! The commands people type; each file is one command, and none decides anything about accounts.

mod crds;
mod plan;
mod prometheus;
mod run;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use prometheus::PrometheusMetrics;

use crate::runtime::failure::describe;

/// Keeps users and groups at five vendors as Kubernetes manifests say.
///
/// PlatformUser, PlatformGroup and ProviderCredential manifests become accounts at Pegasus Gateway, Amani, Plaspy,
/// Industrility and OZmap; their ids and conditions are written back.
#[derive(Debug, Parser)]
#[command(name = "usher", version, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the operator: the controllers and an admin server with /livez, /readyz and /metrics.
    Run(Box<run::Args>),
    /// Write the CustomResourceDefinitions, or check that a folder holds them as they are.
    Crds(crds::Args),
    /// Show the calls that `usher run` would make, for the cluster or for files not applied yet. Never writes.
    Plan(plan::Args),
}

impl Cli {
    /// Runs the command and returns its exit code.
    ///
    /// Errors: what went wrong and what to do, for a person at a terminal.
    pub async fn execute(self) -> Result<ExitCode, Box<dyn std::error::Error + Send + Sync>> {
        match self.command {
            Command::Run(args) => Box::pin(run::run(*args)).await?,
            Command::Crds(args) => crds::crds(&args)?,
            Command::Plan(args) => return Ok(Box::pin(plan::plan(args)).await?),
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Prints help, or what is wrong with the arguments. That is exit code 1: clap's own, 2, says "changes" of `usher plan`.
#[must_use]
pub fn explain(usage: &clap::Error) -> ExitCode {
    // Nobody reads a closed terminal.
    let _ = usage.print();
    if usage.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Prints one line with the error and its causes to standard error, after the name of the program; the exit code is 1.
#[must_use]
pub fn complain(program: &str, error: &(dyn std::error::Error + 'static)) -> ExitCode {
    // Nobody reads a closed standard error.
    let _ = writeln!(std::io::stderr(), "{program}: {}", describe(error));
    ExitCode::FAILURE
}
