//! `cargo demo`: the main job, told as a story on a real control plane with simulated vendors.
//!
//! It shows what usher does and must not do anything that a user could not do: it applies files, edits, deletes and looks. The story
//! is here; what it stands on is `stage`, what it shows is `tables`.

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

/// Whatever kept the demo from going on.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
/// Where the story is told.
pub type Out<'a> = &'a mut (dyn Write + Send);

/// usher's main job in a minute.
///
/// Starts a real etcd and kube-apiserver (built with Go the first time, which takes about four minutes, or taken from
/// KUBEBUILDER_ASSETS), simulated vendors, and the operator with the permissions of deploy/rbac.yaml. Applies
/// deploy/examples/, waits until everything is Ready and shows what the vendors now hold. Then edits a user, undoes a
/// change made behind usher's back, and deletes a user. Nothing is left running; no real vendor is called.
#[derive(Debug, Default, Parser)]
#[command(name = "cargo demo", verbatim_doc_comment)]
pub struct Args {
    /// Leave everything up after the story until Ctrl-C, and print how to look around.
    #[arg(long)]
    pub keep: bool,
    /// Use this existing cluster instead. It must not have usher in it, nor a namespace "identity". usher's kinds and
    /// permissions are applied and stay; the namespace and what is in it is removed at the end, unless --keep is given.
    #[arg(long, value_name = "FILE", verbatim_doc_comment)]
    pub kubeconfig: Option<PathBuf>,
    /// Show the operator's log on standard error, e.g. info or usher=debug.
    #[arg(long, value_name = "FILTER")]
    pub log: Option<String>,
}

/// Tells the story to `out`.
///
/// Errors: whatever kept it from going on, as one sentence.
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

/// What `--keep` leaves on a cluster of others beside kinds and permissions.
const LEFT: &str = " and namespace identity, whose objects can be deleted only while usher runs";

async fn tell(stage: &Stage, out: Out<'_>) -> Result<(), Failure> {
    heading(out, "kubectl apply -k deploy/examples")?;
    let objects = stage.apply_examples(out).await?;
    waiting::until_ready(stage, &objects, out).await?;
    heading(out, "kubectl -n identity get usher")?;
    tables::usher(stage, out).await?;
    heading(out, "What the vendors hold now")?;
    for vendor in stage.vendors() {
        tables::vendor(vendor, out)?;
    }
    edit(stage, out).await?;
    drift(stage, out).await?;
    delete(stage, out).await
}

/// A manifest is edited: the vendor gets that one field.
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
        "Pegasus knows {}. It takes whole users only, so this is a read and a write:",
        field(pegasus, "ada@example.com", "phone")
    )?;
    tables::calls(pegasus, out)
}

/// Someone changes an account at the vendor: the manifest wins.
async fn drift(stage: &Stage, out: Out<'_>) -> Result<(), Failure> {
    heading(out, "Someone edits Katherine at Plaspy, behind usher's back")?;
    let plaspy = stage.vendor(Vendor::Plaspy)?;
    plaspy.edit_user("katherine@example.com", json!({"description": "Administrator"}));
    plaspy.clear_calls();
    writeln!(out, "Plaspy says she is {}.", field(plaspy, "katherine@example.com", "description"))?;
    writeln!(out, "The next comparison would find that within ten minutes; it can be asked for:")?;
    writeln!(out, "$ kubectl -n identity annotate puser katherine usher.dev/reconcile-at=now")?;
    stage.patch("katherine", json!({"metadata": {"annotations": {"usher.dev/reconcile-at": "now"}}})).await?;
    at_vendor(plaspy, "katherine@example.com", "description", &json!("Dispatcher")).await?;
    writeln!(out, "Plaspy says she is {}. The calls:", field(plaspy, "katherine@example.com", "description"))?;
    tables::calls(plaspy, out)
}

/// A manifest is deleted: so is the account.
async fn delete(stage: &Stage, out: Out<'_>) -> Result<(), Failure> {
    heading(out, "Radia leaves")?;
    let ozmap = stage.vendor(Vendor::Ozmap)?;
    ozmap.clear_calls();
    writeln!(out, "$ kubectl -n identity delete puser radia")?;
    writeln!(
        out,
        "Her account waits ten seconds for another manifest to claim it (spec.removals.after), then it goes."
    )?;
    stage.delete("radia").await?;
    if ozmap.user("radia@example.com").is_some() {
        return Err("PlatformUser radia is gone, but her account at OZmap is still there".into());
    }
    writeln!(out, "The object went when her account was gone. At OZmap no account of hers is left. The calls:")?;
    tables::calls(ozmap, out)
}

/// Says how to look around and waits for Ctrl-C.
async fn keep(stage: &Stage, out: Out<'_>) -> Result<(), Failure> {
    heading(out, "Everything stays up until Ctrl-C")?;
    writeln!(out, "export KUBECONFIG={}", stage.kubeconfig().display())?;
    for command in [
        "kubectl -n identity get usher -o wide",
        "kubectl -n identity describe puser ada",
        "kubectl -n identity patch puser ada --type merge -p '{\"spec\":{\"phone\":\"+44 20 7946 0002\"}}'",
        "kubectl explain platformuser.spec.provider.pegasus",
    ] {
        writeln!(out, "{command}")?;
    }
    let pegasus = stage.vendor(Vendor::Pegasus)?.url();
    writeln!(out, "curl -s {pegasus}/_control/state    # what the simulated Pegasus holds and was asked")?;
    out.flush()?;
    tokio::signal::ctrl_c().await?;
    Ok(())
}

fn heading(out: Out<'_>, text: &str) -> Result<(), Failure> {
    writeln!(out, "\n== {text}")?;
    out.flush()?;
    Ok(())
}

/// A field of a user as the vendor has it.
fn field(vendor: &Simulator, user: &str, name: &str) -> Value {
    vendor.user(user).unwrap_or_default()[name].clone()
}

/// Waits until the vendor has `value` there.
async fn at_vendor(vendor: &Simulator, user: &str, name: &str, value: &Value) -> Result<(), Failure> {
    if vendor.wait_until(waiting::PATIENCE, |vendor| field(vendor, user, name) == *value).await {
        return Ok(());
    }
    Err(format!("{} never got {name} = {value} for {user}", vendor.vendor().name()).into())
}
