//! Tells each story once undisturbed, and then once for every side of every effect that came about.

use std::collections::BTreeSet;
use std::io::Write;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::{FutureExt, StreamExt, stream};
use kube::Client;
use kube::api::ListParams;
use serde_json::{Value, json};
use usher::api::{PlatformGroup, PlatformUser, ProviderCredential};
use usher_sandbox::vendors::{Options, Simulator, Vendor};

use super::fuse::{Moment, Target};
use super::operator::Operator;
use super::state::{differences, present};
use super::stories::{PASSWORDS, Story};
use crate::scene::Scene;

/// Longest time for a successor to put things right.
const PATIENCE: Duration = Duration::from_secs(30);
/// Runs of one story at a time.
const AT_ONCE: usize = 8;
/// Runs that take longer are named.
const SLOW: Duration = Duration::from_secs(20);
/// The one Kubernetes write of an unchanged world.
const CREDENTIAL_STATUS: &str = "PATCH providercredentials/main/status";

/// Everything one run has.
pub struct Stage {
    /// The administrator's client, which all operators of the test share.
    pub client: Client,
    /// Where it is played.
    pub scene: Scene,
}

impl Stage {
    /// A namespace and a vendor of their own, without an operator.
    pub async fn new(client: &Client, vendor: Vendor) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let namespace = format!("{}-{}", vendor.name(), COUNT.fetch_add(1, Ordering::Relaxed));
        let vendor = Simulator::start_with(vendor, Options::default()).await.unwrap();
        let scene = Scene { client: client.clone(), namespace, vendor: vendor.into() };
        scene.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": scene.namespace}})).await;
        Self { client: client.clone(), scene }
    }

    /// A new operator.
    pub fn operator(&self) -> Operator {
        Operator::start(&self.client, &self.scene.namespace, &self.scene.vendor)
    }
}

/// How one run ended.
struct Run {
    /// What was there at the end.
    state: Value,
    /// The effects of the operator that the story began with.
    effects: Vec<String>,
    /// Whether it died.
    died: bool,
}

/// Explores every story that fits the vendor; panics with all that went wrong.
pub async fn every_story(vendor: Vendor) {
    let client = super::client();
    let mut failures = Vec::new();
    let only = std::env::var("CRASH_STORY").ok();
    for story in Story::ALL.into_iter().filter(|story| story.fits(vendor)) {
        if only.as_ref().is_none_or(|only| *only == format!("{story:?}")) {
            failures.extend(explore(&client, vendor, story).await);
        }
    }
    assert!(failures.is_empty(), "{} runs ended badly:\n{}", failures.len(), failures.join("\n"));
}

async fn explore(client: &Client, vendor: Vendor, story: Story) -> Vec<String> {
    let begun = Instant::now();
    let reference = match attempt(client, vendor, story, None, None).await {
        Ok(reference) => reference,
        Err(failure) => return vec![failure],
    };
    let (mut known, mut failures, mut deaths) = (BTreeSet::new(), Vec::new(), 0);
    let mut waiting = targets(&reference.effects, &mut known);
    while !waiting.is_empty() {
        let wanted = &reference.state;
        let runs = waiting.into_iter().map(|target| attempt(client, vendor, story, Some(target), Some(wanted)));
        let ended: Vec<_> = stream::iter(runs).buffer_unordered(AT_ONCE).collect().await;
        waiting = Vec::new();
        for run in ended {
            match run {
                Ok(run) => {
                    deaths += usize::from(run.died);
                    waiting.extend(targets(&run.effects, &mut known));
                }
                Err(failure) => failures.push(failure),
            }
        }
    }
    say(&format!(
        "{vendor:?} {story:?}: {} effects, {} runs, {deaths} deaths, {} failures, {:.1} s",
        known.len(),
        2 * known.len() + 1,
        failures.len(),
        begun.elapsed().as_secs_f64()
    ));
    failures
}

/// Says how far a long test is, past the capture of its output.
fn say(line: &str) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// Both sides of every effect that was not known yet.
fn targets(effects: &[String], known: &mut BTreeSet<String>) -> Vec<Target> {
    let fresh = effects.iter().filter(|effect| known.insert((*effect).clone()));
    fresh
        .flat_map(|effect| [Moment::Before, Moment::After].map(|moment| Target { effect: effect.clone(), moment }))
        .collect()
}

/// One run; a panic in it is its failure.
async fn attempt(
    client: &Client,
    vendor: Vendor,
    story: Story,
    target: Option<Target>,
    wanted: Option<&Value>,
) -> Result<Run, String> {
    let name = format!("{vendor:?} {story:?} {}", target.as_ref().map_or("undisturbed".into(), Target::to_string));
    let begun = Instant::now();
    let told = AssertUnwindSafe(tell(client, vendor, story, target, wanted)).catch_unwind().await;
    if begun.elapsed() > SLOW {
        say(&format!("{name}: took {:.1} s", begun.elapsed().as_secs_f64()));
    }
    told.unwrap_or_else(|panic| {
        let words = panic.downcast_ref::<String>().cloned();
        Err(words.or(panic.downcast_ref::<&str>().map(|words| (*words).to_owned())).unwrap_or_default())
    })
    .map_err(|failure| format!("== {name}: {failure}"))
}

async fn tell(
    client: &Client,
    vendor: Vendor,
    story: Story,
    target: Option<Target>,
    wanted: Option<&Value>,
) -> Result<Run, String> {
    let stage = Stage::new(client, vendor).await;
    let scene = &stage.scene;
    let mut operator = stage.operator();
    story.prepare(scene).await;
    let bystander = scene.vendor.user("bystander@example.com");
    operator.fuse.arm(target.clone());
    story.act(scene).await;
    let blown = operator.fuse.blown.clone();
    let settled = async {
        match wanted {
            Some(wanted) if story != Story::Abandon => until(&stage, &operator, story, wanted).await,
            _ => story.done(scene).await,
        }
    };
    tokio::select! {
        () = blown.cancelled() => {}
        () = settled => {}
    }
    let died = operator.fuse.disarm().await;
    let effects = operator.fuse.effects();
    if died {
        operator.kill().await;
        story.react(scene).await;
        operator = stage.operator();
        operator.fuse.arm(None);
    } else {
        story.react(scene).await;
    }
    match wanted {
        Some(wanted) => until(&stage, &operator, story, wanted).await,
        None if story == Story::Abandon => scene.until_gone::<PlatformUser>("ada").await,
        None => {}
    }
    quiet(scene, &operator).await?;
    let state = story.comparable(vendor, present(scene).await);
    let run = Run { state, effects, died };
    check(&stage, story, &run, wanted).await?;
    if scene.vendor.user("bystander@example.com") != bystander {
        return Err("someone else's account was touched".into());
    }
    operator.kill().await;
    Ok(run)
}

/// Waits until all is as `wanted`, or for so long that it will not be.
async fn until(stage: &Stage, operator: &Operator, story: Story, wanted: &Value) {
    let mut activity = operator.fuse.activity();
    let waiting = async {
        while story.comparable(stage.scene.vendor.vendor(), present(&stage.scene).await) != *wanted {
            tokio::select! {
                _ = activity.changed() => {}
                () = tokio::time::sleep(Duration::from_millis(200)) => {}
            }
        }
    };
    // Whoever asked compares once more and says what differs.
    let _ = tokio::time::timeout(PATIENCE, waiting).await;
}

/// Errors: an unchanged world costs more than one status write of the credential.
async fn quiet(scene: &Scene, operator: &Operator) -> Result<(), String> {
    let mut noise = Vec::new();
    for number in 0..3 {
        let before = operator.fuse.effects().len();
        if !everything_looked_at(scene, operator, number).await? {
            return Ok(());
        }
        noise = operator.fuse.effects().split_off(before);
        noise.retain(|effect| !effect.starts_with(CREDENTIAL_STATUS));
        if noise.is_empty() {
            return Ok(());
        }
    }
    let last = scene.vendor.writes().pop().map(|call| call.body);
    Err(format!("the world is never quiet: {noise:?}, at last {last:?}"))
}

/// A sweep, after which each object was looked at. False without a credential.
async fn everything_looked_at(scene: &Scene, operator: &Operator, number: usize) -> Result<bool, String> {
    if scene.api::<ProviderCredential>().get_opt("main").await.unwrap().is_none() {
        return Ok(false);
    }
    let all = ListParams::default();
    let users = scene.api::<PlatformUser>().list_metadata(&all).await.unwrap().items.len();
    let groups = scene.api::<PlatformGroup>().list_metadata(&all).await.unwrap().items.len();
    let seen = || {
        let counts = &operator.counts;
        (counts.users.load(Ordering::Relaxed), counts.groups.load(Ordering::Relaxed))
    };
    let before = seen();
    scene.sweep(&format!("quiet-{number}")).await;
    let looked = async {
        while seen().0 < before.0 + users || seen().1 < before.1 + groups {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looked).await.map_err(|_| "a sweep does not lead to a look at the objects")?;
    Ok(true)
}

async fn check(stage: &Stage, story: Story, run: &Run, wanted: Option<&Value>) -> Result<(), String> {
    let vendor = &stage.scene.vendor;
    if let Some(wanted) = wanted.filter(|wanted| **wanted != run.state) {
        let calls: Vec<_> = vendor.writes().into_iter().map(|call| (call.operation, call.status)).collect();
        return Err(format!("it ends otherwise:\n{}\nafter {calls:?}", differences(wanted, &run.state)));
    }
    let ada = run.state["users"].as_array().and_then(|users| users.first());
    let reason = ada.and_then(|ada| ada["reason"].as_str());
    if reason != story.end(vendor.vendor()) || ada.is_some_and(|ada| ada["creating"] == true) {
        return Err(format!("the undisturbed end is not the right one: {:#}", run.state));
    }
    let made = vendor.calls().iter().filter(|call| call.operation == "users.create" && call.status / 100 == 2).count();
    if made > 1 {
        return Err(format!("{made} accounts were made: {:#?}", vendor.writes()));
    }
    if !vendor.violations().is_empty() {
        return Err(format!("not as the vendor wants it: {:?}", vendor.violations()));
    }
    let emitted = stage.scene.emitted().await;
    let secrets = vendor.secret().into_iter().filter(|(key, _)| key != "username").map(|(_, value)| value);
    match secrets.chain(PASSWORDS.map(str::to_owned)).find(|secret| emitted.contains(secret)) {
        Some(secret) => Err(format!("{secret} leaked into {emitted}")),
        None => Ok(()),
    }
}
