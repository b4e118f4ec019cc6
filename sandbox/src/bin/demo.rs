//! `cargo demo`: parses and tells the story.

use std::process::ExitCode;

use clap::Parser;
use usher_sandbox::demo::{self, Args};

#[tokio::main]
async fn main() -> ExitCode {
    match demo::run(Args::parse(), &mut std::io::stdout()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => usher::cli::complain(&*error),
    }
}
