//! `cargo demo`: parses the arguments, runs the demo, and prints one sentence if it failed. It knows nothing of the story.
//!
//! It is an example of this package, because examples are built with the dependencies of tests: `cargo demo` and `cargo test`
//! share one build.

use std::io::stdout;
use std::process::ExitCode;

use clap::Parser;
use usher_sandbox::demo::{self, Args};

#[tokio::main]
async fn main() -> ExitCode {
    match demo::run(Args::parse(), &mut stdout()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => usher::cli::complain("demo", &*error),
    }
}
