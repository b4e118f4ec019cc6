//! Parse, dispatch, exit code.

use std::process::ExitCode;

use clap::Parser;
use usher::cli::Cli;

#[tokio::main]
async fn main() -> ExitCode {
    match Cli::parse().execute().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => usher::cli::complain(&*error),
    }
}
