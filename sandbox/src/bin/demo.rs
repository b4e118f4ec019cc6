//! `cargo demo`: parses the arguments, has the story told, and says in one sentence if it failed. It knows nothing of the story.

use std::io::{Write, stderr, stdout};
use std::process::ExitCode;

use clap::Parser;
use usher_sandbox::demo::{self, Args};

#[tokio::main]
async fn main() -> ExitCode {
    match demo::run(Args::parse(), &mut stdout()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody reads a closed standard error.
            let _ = writeln!(stderr(), "demo: {error}");
            ExitCode::FAILURE
        }
    }
}
