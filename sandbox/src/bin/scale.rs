//! `cargo scale`: many users at once, measured; it judges nothing but prints figures beside the floor that the limiter allows.

use std::process::ExitCode;

use clap::Parser;
use usher_sandbox::scale::{self, Args};

#[tokio::main]
async fn main() -> ExitCode {
    match scale::run(Args::parse(), &mut std::io::stdout()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => usher::cli::complain("scale", &*error),
    }
}
