//! `cargo demo`: usher's main job as a story, on a real control plane with simulated vendors.
//!
//! It does only what a user could do: it applies files, edits and deletes objects, and prints the results. This module tells the
//! story; `stage` sets it up, and `tables` prints objects, accounts and calls.

mod borrowed;
mod examples;
mod operator;
mod stage;
mod tables;
mod waiting;

use std::io::Write;
use std::path::PathBuf;

use clap::Parser;
use serde_json::{Value, json};

use crate::vendors::{Simulator, Vendor};
use stage::Stage;

/// Why the demo ended early.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
/// The output of the demo.
pub type Out<'a> = &'a mut (dyn Write + Send);

/// Shows usher's main job in a minute.
///
/// Starts a real etcd and kube-apiserver (built with Go the first time, which takes about four minutes, or taken from
/// KUBEBUILDER_ASSETS), simulated vendors, and the operator with the permissions of deploy/rbac.yaml. Applies
/// deploy/examples/, waits until everything is Ready and shows the accounts at the vendors. Then it edits a user, shows how usher
/// undoes a change made at a vendor, and deletes a user. No process is left running, and no real vendor is called.
#[derive(Debug, Default, Parser)]
#[command(name = "cargo demo", verbatim_doc_comment)]
pub struct Args {
    /// Keep everything running after the story until Ctrl-C, and print commands to look around.
    #[arg(long)]
    pub keep: bool,
    /// Use this existing cluster instead. It must hold neither usher nor a namespace "identity". The demo applies usher's kinds
    /// and permissions, which stay, and removes the namespace with its objects at the end, unless --keep is given.
    #[arg(long, value_name = "FILE", verbatim_doc_comment)]
    pub kubeconfig: Option<PathBuf>,
    /// Filter of the operator's log on standard error, e.g. info or usher=debug; no log by default.
    #[arg(long, value_name = "FILTER")]
    pub log: Option<String>,
}

/// Tells the story to `out`.
///
/// Errors: why the demo ended early, as one sentence.
pub async fn run(args: Args, out: Out<'_>) -> Result<(), Failure> {
    if let Some(filter) = &args.log {
        usher::runtime::telemetry::init(usher::runtime::telemetry::LogFormat::Text, filter)?;
    }
    heading(out, "A control plane, simulated vendors and usher")?;
    let stage = Stage::set(args.kubeconfig.as_deref(), out).await?;
    let mut ended = tokio::select! {
        told = tell(&stage, out) => told,
        signal = tokio::signal::ctrl_c() => Err(signal.map_or_else(Into::into, |()| "interrupted by Ctrl-C".into())),
    };
    if args.keep && ended.is_ok() {
        ended = keep(&stage, out).await;
    } else if args.kubeconfig.is_some() {
        ended = ended.and(stage.remove_examples(out).await);
    }
    ended.and(stage.clear().await)?;
    writeln!(out, "\nDone: nothing is left running.")?;
    if args.kubeconfig.is_some() {
        writeln!(out, "Left on the cluster: usher's kinds, its permissions{}.", if args.keep { LEFT } else { "" })?;
    }
    Ok(())
}

/// The rest that `--keep` leaves on an existing cluster, beside kinds and permissions.
const LEFT: &str = " and namespace identity, whose objects can be deleted only while usher runs";

async fn tell(stage: &Stage, out: Out<'_>) -> Result<(), Failure> {
    heading(out, "kubectl apply -k deploy/examples")?;
    let objects = stage.apply_examples(out).await?;
    waiting::until_ready(stage, &objects, out).await?;
    heading(out, "kubectl -n identity get usher")?;
    tables::usher(stage, out).await?;
    heading(out, "Accounts and groups at the vendors")?;
    for vendor in stage.vendors() {
        tables::vendor(vendor, out)?;
    }
    edit(stage, out).await?;
    drift(stage, out).await?;
    delete(stage, out).await
}

/// Edits a manifest: usher changes that one field at the vendor.
async fn edit(stage: &Stage, out: Out<'_>) -> Result<(), Failure> {
    heading(out, "Ada gets a new telephone number")?;
    let pegasus = stage.vendor(Vendor::Pegasus)?;
    writeln!(out, "Pegasus knows {}.", field(pegasus, "ada@example.com", "phone"))?;
    pegasus.clear_calls();
    let phone = "+44 20 7946 0001";
    writeln!(out, "$ kubectl -n identity patch puser ada --type merge -p '{{\"spec\":{{\"phone\":\"{phone}\"}}}}'")?;
    stage.patch("ada", json!({"spec": {"phone": phone}})).await?;
    at_vendor(pegasus, "ada@example.com", "phone", &json!(phone)).await?;
    writeln!(
        out,
        "Pegasus knows {}. Pegasus takes whole users only, so usher reads the user and writes it back:",
        field(pegasus, "ada@example.com", "phone")
    )?;
    tables::calls(pegasus, out)
}

/// Changes an account at the vendor: usher restores the manifest's value.
async fn drift(stage: &Stage, out: Out<'_>) -> Result<(), Failure> {
    heading(out, "Someone edits Katherine directly at Plaspy")?;
    let plaspy = stage.vendor(Vendor::Plaspy)?;
    plaspy.edit_user("katherine@example.com", json!({"description": "Administrator"}));
    plaspy.clear_calls();
    writeln!(out, "Plaspy says she is {}.", field(plaspy, "katherine@example.com", "description"))?;
    writeln!(out, "usher's next comparison would find that within ten minutes; an annotation asks for one now:")?;
    writeln!(out, "$ kubectl -n identity annotate puser katherine usher.dev/reconcile-at=now")?;
    stage.patch("katherine", json!({"metadata": {"annotations": {"usher.dev/reconcile-at": "now"}}})).await?;
    at_vendor(plaspy, "katherine@example.com", "description", &json!("Dispatcher")).await?;
    writeln!(out, "Plaspy says she is {}. The calls:", field(plaspy, "katherine@example.com", "description"))?;
    tables::calls(plaspy, out)
}

/// Deletes a manifest: usher deletes the account.
async fn delete(stage: &Stage, out: Out<'_>) -> Result<(), Failure> {
    heading(out, "Radia leaves")?;
    let ozmap = stage.vendor(Vendor::Ozmap)?;
    ozmap.clear_calls();
    writeln!(out, "$ kubectl -n identity delete puser radia")?;
    writeln!(
        out,
        "usher waits ten seconds (spec.removals.after), so that another manifest can take over her account, then deletes it."
    )?;
    stage.delete("radia").await?;
    if ozmap.user("radia@example.com").is_some() {
        return Err("PlatformUser radia is gone, but her account at OZmap is still there".into());
    }
    writeln!(out, "The object is gone once her account is. At OZmap no account of hers is left. The calls:")?;
    tables::calls(ozmap, out)
}

/// Prints commands to look around and waits for Ctrl-C.
async fn keep(stage: &Stage, out: Out<'_>) -> Result<(), Failure> {
    heading(out, "Everything keeps running until Ctrl-C")?;
    writeln!(out, "export KUBECONFIG={}", stage.kubeconfig().display())?;
    writeln!(
        out,
        "export USHER_ALLOW_INSECURE_HTTP=true    # for usher plan, because the simulated vendors speak http://"
    )?;
    for command in [
        "kubectl -n identity get usher -o wide",
        "kubectl -n identity describe puser ada",
        "kubectl -n identity patch puser ada --type merge -p '{\"spec\":{\"phone\":\"+44 20 7946 0002\"}}'",
        "kubectl explain platformuser.spec.provider.pegasus",
    ] {
        writeln!(out, "{command}")?;
    }
    let pegasus = stage.vendor(Vendor::Pegasus)?.url();
    writeln!(out, "curl -s {pegasus}/_control/state    # accounts and calls of the simulated Pegasus")?;
    out.flush()?;
    tokio::signal::ctrl_c().await?;
    Ok(())
}

fn heading(out: Out<'_>, text: &str) -> Result<(), Failure> {
    writeln!(out, "\n== {text}")?;
    out.flush()?;
    Ok(())
}

/// A field of a user at the vendor.
fn field(vendor: &Simulator, user: &str, name: &str) -> Value {
    vendor.user(user).unwrap_or_default()[name].clone()
}

/// Waits until the field has `value` at the vendor.
async fn at_vendor(vendor: &Simulator, user: &str, name: &str, value: &Value) -> Result<(), Failure> {
    if vendor.wait_until(waiting::PATIENCE, |vendor| field(vendor, user, name) == *value).await {
        return Ok(());
    }
    Err(format!("{} did not get {name} = {value} for {user}", vendor.vendor().name()).into())
}
