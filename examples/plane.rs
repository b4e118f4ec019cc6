//! `cargo plane`: keeps a control plane running until Ctrl-C, for test runs with `USHER_TEST_PLANE`. It applies nothing to it.
//!
//! It is an example of this package for the same reason as `demo`: one build for all.

use std::error::Error;
use std::io::{Write, stdout};
use std::process::ExitCode;

use usher_sandbox::controlplane::{ControlPlane, Options, workspace};

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => usher::cli::complain("plane", &*error),
    }
}

async fn run() -> Result<(), Box<dyn Error + Send + Sync>> {
    let plane = ControlPlane::start(Options::default()).await?;
    let kubeconfig = workspace().join("target/plane.kubeconfig");
    plane.write_kubeconfig(&kubeconfig, plane.admin_token())?;
    writeln!(stdout(), "A control plane runs until Ctrl-C. For test runs that use it:")?;
    writeln!(stdout(), "export USHER_TEST_PLANE={}", kubeconfig.display())?;
    tokio::signal::ctrl_c().await?;
    std::fs::remove_file(kubeconfig)?;
    Ok(())
}
