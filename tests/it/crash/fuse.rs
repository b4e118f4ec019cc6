//! Counts every effect an operator has on Kubernetes and the vendor, and at a chosen one kills it. It must not know what effects there are.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use usher_sandbox::vendors::Ruling;

use crate::scene::PATIENCE;

/// On which side of an effect the operator dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The request never arrives.
    Before,
    /// The request is carried out, its answer never arrives.
    After,
}

/// The effect at which an operator dies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Aim {
    /// This one, with how often it came about before, as the record shows it.
    At(String),
    /// The first that concerns a user or group, here or at the vendor.
    First,
}

impl Aim {
    fn is(&self, effect: &str) -> bool {
        match self {
            Self::At(wanted) => wanted == effect,
            Self::First => {
                ["PATCH platformusers", "PATCH platformgroups", "vendor users", "vendor groups", "vendor apps"]
                    .iter()
                    .any(|start| effect.starts_with(start))
            }
        }
    }
}

/// One instant at which an operator can die.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The effect.
    pub aim: Aim,
    /// Which side of it.
    pub moment: Moment,
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.aim {
            Aim::At(effect) => write!(formatter, "{:?} {effect}", self.moment),
            Aim::First => write!(formatter, "{:?} the first effect", self.moment),
        }
    }
}

/// A request that is held until a test lets it go on.
#[derive(Clone)]
pub struct Breakpoint {
    effect: String,
    ruling: Ruling,
    /// Cancelled when the request is there.
    reached: CancellationToken,
    /// To be cancelled to let it go on.
    pub release: CancellationToken,
}

impl Breakpoint {
    /// Waits until the request is there.
    pub async fn reached(&self) {
        let came = tokio::time::timeout(PATIENCE, self.reached.cancelled()).await;
        assert!(came.is_ok(), "{} never came", self.effect);
    }
}

#[derive(Default)]
struct State {
    armed: bool,
    target: Option<Target>,
    breakpoints: Vec<Breakpoint>,
    counts: BTreeMap<String, usize>,
    effects: Vec<String>,
    dead: bool,
}

/// Stands between one operator and all that it can change.
#[derive(Clone)]
pub struct Fuse {
    state: Arc<Mutex<State>>,
    activity: watch::Sender<()>,
    /// Cancelled when the operator has to die.
    pub blown: CancellationToken,
}

impl Default for Fuse {
    fn default() -> Self {
        let (activity, blown) = (watch::Sender::new(()), CancellationToken::new());
        Self { state: Arc::default(), activity, blown }
    }
}

impl Fuse {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Counts from here on, and blows at `target`.
    pub fn arm(&self, target: Option<Target>) {
        let mut state = self.state();
        state.armed = true;
        state.target = target;
        state.counts.clear();
        state.effects.clear();
    }

    /// Blows no more, but counts on; waits for a death that is under way. Whether the operator died.
    pub async fn disarm(&self) -> bool {
        let dead = {
            let mut state = self.state();
            state.target = None;
            state.dead
        };
        if dead {
            self.blown.cancelled().await;
        }
        dead
    }

    /// Holds the next effect whose name begins with `effect`.
    pub fn hold(&self, effect: &str) -> Breakpoint {
        self.break_at(effect, Ruling::Hold)
    }

    /// Carries the next request whose name begins with `request` out, and holds its answer.
    pub fn delay(&self, request: &str) -> Breakpoint {
        self.break_at(request, Ruling::Withhold)
    }

    /// Carries the next effect whose name begins with `effect` out only when it is released; its answer never comes.
    pub fn detach(&self, effect: &str) -> Breakpoint {
        self.break_at(effect, Ruling::Detach)
    }

    fn break_at(&self, effect: &str, ruling: impl Fn(CancellationToken) -> Ruling) -> Breakpoint {
        let release = CancellationToken::new();
        let (reached, ruling) = (CancellationToken::new(), ruling(release.clone()));
        let breakpoint = Breakpoint { effect: effect.to_owned(), ruling, reached, release };
        self.state().breakpoints.push(breakpoint.clone());
        breakpoint
    }

    /// The effects since it was armed, each with how often it came about before.
    pub fn effects(&self) -> Vec<String> {
        self.state().effects.clone()
    }

    /// Sees every effect from now on.
    pub fn activity(&self) -> watch::Receiver<()> {
        self.activity.subscribe()
    }

    /// What becomes of a request; `effect` is `None` for one that changes nothing.
    pub fn rule(&self, request: &str, is_effect: bool) -> Ruling {
        let mut state = self.state();
        if state.dead {
            return Ruling::Swallow;
        }
        let waiting = state.breakpoints.iter().position(|breakpoint| request.starts_with(&breakpoint.effect));
        if let Some(breakpoint) = waiting.map(|position| state.breakpoints.remove(position)) {
            breakpoint.reached.cancel();
            return breakpoint.ruling;
        }
        if !state.armed || !is_effect {
            return Ruling::Serve;
        }
        let count = state.counts.entry(request.to_owned()).or_default();
        *count += 1;
        let effect = format!("{request} #{count}");
        state.effects.push(effect.clone());
        self.activity.send_replace(());
        let Some(target) = state.target.take_if(|target| target.aim.is(&effect)) else { return Ruling::Serve };
        state.dead = true;
        match target.moment {
            Moment::Before => {
                self.blown.cancel();
                Ruling::Swallow
            }
            // The task that carries it out blows the fuse when that is done.
            Moment::After => Ruling::Mute,
        }
    }
}
