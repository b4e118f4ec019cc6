//! Parses the arguments, runs the command and returns its exit code.

use std::process::ExitCode;

use clap::Parser;
use usher::cli::Cli;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(usage) => return usher::cli::explain(&usage),
    };
    match cli.execute().await {
        Ok(code) => code,
        Err(error) => usher::cli::complain("usher", &*error),
    }
}
