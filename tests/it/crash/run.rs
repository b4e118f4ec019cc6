//! One run of a story: told, disturbed by deaths, and compared with how it ends undisturbed. It must not choose where to die.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures::FutureExt;
use kube::api::ListParams;
use serde_json::Value;
use tokio::sync::{Semaphore, watch};
use usher::api::{PlatformGroup, PlatformUser, ProviderCredential};
use usher_sandbox::vendors::{Options, Vendor};

use super::Clients;
use super::explore::say;
use super::fuse::Target;
use super::operator::Operator;
use super::stage::Stage;
use super::state::{differences, present};
use super::steps::PASSWORDS;
use super::stories::Story;
use crate::scene::{PATIENCE, Scene};

/// Runs at a time, of all vendors together: more would only make each take longer.
static RUNS: Semaphore = Semaphore::const_new(16);
/// Runs that take longer are named.
const SLOW: Duration = Duration::from_secs(20);
/// The one Kubernetes write of an unchanged world.
const CREDENTIAL_STATUS: &str = "PATCH providercredentials/main/status";

/// A story of one vendor.
#[derive(Clone)]
pub struct Tale {
    /// The parts of the run.
    pub clients: Clients,
    /// Where it is told of.
    pub vendor: Vendor,
    /// What happens.
    pub story: Story,
    /// How late operators are told what they watch.
    pub lag: Duration,
    /// How it ends undisturbed, once that is known.
    pub wanted: Option<Value>,
}

/// How one run ended.
pub struct Run {
    /// What was there at the end.
    pub state: Value,
    /// The effects of the operator that the story began with.
    pub effects: Vec<String>,
    /// How many operators died.
    pub deaths: usize,
}

impl Tale {
    /// One run in which the first operator dies at the first of `fate`, its successor at the second; a panic in it is its failure.
    pub async fn attempt(&self, fate: Vec<Target>) -> Result<Run, String> {
        let fated: Vec<String> = fate.iter().map(Target::to_string).collect();
        let late = if self.lag.is_zero() { "" } else { "with a late watch " };
        let name = format!("{:?} {:?} {late}{}", self.vendor, self.story, fated.join(", then "));
        // The semaphore is never closed.
        let _turn = RUNS.acquire().await;
        let begun = Instant::now();
        let told = AssertUnwindSafe(self.tell(fate)).catch_unwind().await;
        if begun.elapsed() > SLOW {
            say(&format!("{name}: took {:.1} s", begun.elapsed().as_secs_f64()));
        }
        told.unwrap_or_else(|panic| {
            let words = panic.downcast_ref::<String>().cloned();
            Err(words.or(panic.downcast_ref::<&str>().map(|words| (*words).to_owned())).unwrap_or_default())
        })
        .map_err(|failure| format!("== {name}: {failure}"))
    }

    async fn tell(&self, fate: Vec<Target>) -> Result<Run, String> {
        let mut stage = Stage::with(&self.clients, self.vendor, Options::default(), self.story.is_apart()).await;
        stage.lag = self.lag;
        let mut operator = stage.operator();
        self.story.prepare(&stage).await;
        let bystander = stage.scene.vendor.user("bystander@example.com");
        let mut fate = fate.into_iter();
        operator.fuse.arm(fate.next());
        self.story.act(&stage).await;
        let mut died = live(&operator, Box::pin(self.beginning(&stage, &operator))).await;
        let effects = operator.fuse.effects();
        if died {
            // Every reaction comes before the next operator is there.
            operator.kill().await;
            self.story.react(&stage).await;
            operator = successor(&stage, fate.next());
        } else {
            self.story.react(&stage).await;
        }
        let mut deaths = 0;
        while died {
            deaths += 1;
            died = live(&operator, Box::pin(self.remainder(&stage, &operator))).await;
            if died {
                operator.kill().await;
                operator = successor(&stage, fate.next());
            }
        }
        self.finish(&stage, &operator).await;
        quiet(&stage, &operator).await?;
        let run = Run { state: self.state(&stage).await, effects, deaths };
        self.check(&stage, &run).await?;
        if stage.scene.vendor.user("bystander@example.com") != bystander {
            return Err("someone else's account was touched".into());
        }
        operator.kill().await;
        Ok(run)
    }

    /// What comes about while the first operator lives.
    async fn beginning(&self, stage: &Stage, operator: &Operator) {
        self.story.go_on(stage).await;
        if self.wanted.is_none() || self.story.reacts() {
            self.story.done(stage).await;
        } else {
            self.until_wanted(stage, operator).await;
        }
    }

    /// What is left of it for the next.
    async fn remainder(&self, stage: &Stage, operator: &Operator) {
        self.story.go_on(stage).await;
        self.until_wanted(stage, operator).await;
    }

    /// Waits for the end.
    async fn finish(&self, stage: &Stage, operator: &Operator) {
        if self.wanted.is_some() {
            self.until_wanted(stage, operator).await;
        } else if self.story == Story::Abandon {
            stage.people.until_gone::<PlatformUser>("ada").await;
        } else if self.story.reacts() {
            self.story.done(stage).await;
        }
    }

    async fn state(&self, stage: &Stage) -> Value {
        self.story.comparable(self.vendor, present(stage).await)
    }

    /// Waits until the end state is reached, or for so long that it will not be.
    async fn until_wanted(&self, stage: &Stage, operator: &Operator) {
        let mut activity = operator.fuse.activity();
        let waiting = async {
            while Some(self.state(stage).await) != self.wanted {
                lull(&mut activity).await;
            }
        };
        // The caller compares once more and reports the difference.
        let _ = tokio::time::timeout(PATIENCE, waiting).await;
    }

    async fn check(&self, stage: &Stage, run: &Run) -> Result<(), String> {
        let vendor = &stage.scene.vendor;
        if let Some(wanted) = self.wanted.as_ref().filter(|wanted| **wanted != run.state) {
            let calls: Vec<_> = vendor.writes().into_iter().map(|call| (call.operation, call.status)).collect();
            return Err(format!("it ends otherwise:\n{}\nafter {calls:?}", differences(wanted, &run.state)));
        }
        self.check_end(&run.state)?;
        let made =
            vendor.calls().iter().filter(|call| call.operation == "users.create" && call.status / 100 == 2).count();
        if made > self.story.makes() {
            return Err(format!("too many accounts were made: {:#?}", vendor.writes()));
        }
        if !vendor.violations().is_empty() {
            return Err(format!("not as the vendor wants it: {:?}", vendor.violations()));
        }
        let emitted = stage.emitted().await;
        let secrets = vendor.secret().into_iter().filter(|(key, _)| key != "username").map(|(_, value)| value);
        match secrets.chain(PASSWORDS.map(str::to_owned)).find(|secret| emitted.contains(secret)) {
            Some(secret) => Err(format!("{secret} leaked into {emitted}")),
            None => Ok(()),
        }
    }

    /// Errors: the end is not the right one, however it came about.
    fn check_end(&self, state: &Value) -> Result<(), String> {
        let ada = state["users"].as_array().and_then(|users| users.first());
        let reason = ada.and_then(|ada| ada["reason"].as_str());
        if reason != self.story.end(self.vendor) || ada.is_some_and(|ada| ada["creating"] == true) {
            return Err(format!("the undisturbed end is not the right one: {state:#}"));
        }
        let remote = state["remoteGroups"].to_string();
        if self.story == Story::Take && (state["groups"][0]["reason"] != "Synced" || remote.contains("Old")) {
            return Err(format!("the group was not renamed: {state:#}"));
        }
        let accounts = state["accounts"].as_array().into_iter().flatten();
        let account = accounts.filter(|account| account["email"] == "ada@example.com").map(Value::to_string).next();
        match self.story.stays_in(self.vendor) {
            Some(group) if !account.is_some_and(|account| account.contains(group)) => {
                Err(format!("the user is no longer in {group}: {state:#}"))
            }
            _ => Ok(()),
        }
    }
}

/// The next operator, which dies at `target`.
fn successor(stage: &Stage, target: Option<Target>) -> Operator {
    let operator = stage.operator();
    operator.fuse.arm(target);
    operator
}

/// Waits for the end of a burst of effects, or for a second if there is none: without an effect, next to nothing changes.
async fn lull(activity: &mut watch::Receiver<()>) {
    let mut moment = Duration::from_secs(1);
    while tokio::time::timeout(moment, activity.changed()).await.is_ok() {
        moment = Duration::from_millis(40);
    }
}

/// Lets the operator live until it dies or all is done; whether it died.
async fn live(operator: &Operator, work: impl Future<Output = ()>) -> bool {
    let blown = operator.fuse.blown.clone();
    tokio::select! {
        () = blown.cancelled() => {}
        () = work => {}
    }
    operator.fuse.disarm().await
}

/// Errors: an unchanged world costs more than one status write of the credential.
async fn quiet(stage: &Stage, operator: &Operator) -> Result<(), String> {
    let mut noise = Vec::new();
    for number in 0..3 {
        let before = operator.fuse.effects().len();
        if !everything_looked_at(stage, operator, number).await? {
            return Ok(());
        }
        noise = operator.fuse.effects().split_off(before);
        noise.retain(|effect| !effect.starts_with(CREDENTIAL_STATUS));
        if noise.is_empty() {
            return Ok(());
        }
    }
    let last = stage.scene.vendor.writes().pop().map(|call| call.body);
    Err(format!("the world is never quiet: {noise:?}, at last {last:?}"))
}

/// A sweep, after which each object was looked at. False without a credential.
async fn everything_looked_at(stage: &Stage, operator: &Operator, number: usize) -> Result<bool, String> {
    let Stage { scene, people, .. } = stage;
    if scene.api::<ProviderCredential>().get_opt("main").await.unwrap().is_none() {
        return Ok(false);
    }
    let (users, groups) = population(people).await;
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

/// How many users and groups there are.
async fn population(people: &Scene) -> (usize, usize) {
    let all = ListParams::default();
    let users = people.api::<PlatformUser>().list_metadata(&all).await.unwrap().items.len();
    (users, people.api::<PlatformGroup>().list_metadata(&all).await.unwrap().items.len())
}
