//! The command line: one file per command. It decides nothing about accounts; it may import every room.

mod addresses;
mod crds;
mod plan;
mod prometheus;
mod requirements;
mod run;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use futures::future::{FutureExt, LocalBoxFuture};

pub use prometheus::PrometheusMetrics;

use crate::runtime::failure::describe;

/// Manages users and groups at their vendors from Kubernetes manifests.
///
/// usher turns PlatformUser and PlatformGroup manifests into users and groups at Pegasus Gateway, Amani, Plaspy,
/// Industrility and OZmap, and writes ids and conditions back to the objects.
#[derive(Debug, Parser)]
#[command(name = "usher", version, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the operator: controllers, and an admin server with /livez, /readyz and /metrics.
    Run(Box<run::Args>),
    /// Write the CustomResourceDefinitions, or check that those in a folder are up to date.
    Crds(crds::Args),
    /// Show the calls that `usher run` would make, for the cluster or for files before they are applied. Changes
    /// nothing.
    Plan(plan::Args),
}

/// What a command ends with.
pub type Executed = Result<ExitCode, Box<dyn std::error::Error + Send + Sync>>;

impl Cli {
    /// Runs the command and returns its exit code. Boxed, so that the commands are compiled in this crate alone.
    ///
    /// Errors: why the command failed, with the remedy where there is one.
    pub fn execute(self) -> LocalBoxFuture<'static, Executed> {
        match self.command {
            Command::Run(args) => async move { Ok(run::run(*args).await.map(|()| ExitCode::SUCCESS)?) }.boxed_local(),
            Command::Crds(args) => async move { Ok(crds::crds(&args).map(|()| ExitCode::SUCCESS)?) }.boxed_local(),
            Command::Plan(args) => async move { Ok(plan::plan(args).await?) }.boxed_local(),
        }
    }
}

/// Prints help or a usage error. The exit code of a usage error is 1, because 2 (clap's own) means "changes" in `usher plan`.
#[must_use]
pub fn explain(usage: &clap::Error) -> ExitCode {
    // Ignored because it fails only if the output is closed.
    let _ = usage.print();
    if usage.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Prints one line with the error and its causes to standard error, after the name of the program; the exit code is 1.
#[must_use]
pub fn complain(program: &str, error: &(dyn std::error::Error + 'static)) -> ExitCode {
    // Ignored because it fails only if standard error is closed.
    let _ = writeln!(std::io::stderr(), "{program}: {}", describe(error));
    ExitCode::FAILURE
}
