//! The commands people type; each file is one command, and none decides anything about accounts.

mod counting;
mod crds;
mod run;

use clap::{Parser, Subcommand};

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
}

impl Cli {
    /// Runs the command.
    ///
    /// Errors: what went wrong and what to do, for a person at a terminal.
    pub async fn execute(self) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        match self.command {
            Command::Run(args) => Ok(Box::pin(run::run(*args)).await?),
            Command::Crds(args) => Ok(crds::crds(&args)?),
        }
    }
}

/// Prints an error with its causes to standard error; the exit code is 1.
#[must_use]
pub fn complain(error: &(dyn std::error::Error + 'static)) -> std::process::ExitCode {
    let mut text = format!("usher: {error}");
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    // Nobody reads a closed standard error.
    let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("{text}\n").as_bytes());
    std::process::ExitCode::FAILURE
}
