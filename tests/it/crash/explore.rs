//! Tells each story once undisturbed, once with a late watch, then once for every side of every effect that came about, and some with a second death.

use std::collections::BTreeSet;
use std::io::Write;
use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use usher_sandbox::vendors::Vendor;

use super::Clients;
use super::fuse::{Aim, Moment, Target};
use super::run::{Run, Tale};
use super::stories::Story;

/// Runs of one story at a time.
const AT_ONCE: usize = 5;
/// Stories of one vendor at a time. A run mostly waits, so that one story after the other would leave the processor idle.
const STORIES: usize = 4;
/// One of so many first deaths is followed by a second. It is odd, so that both sides of effects come up.
const SAMPLE: usize = 3;
/// How late a watch is that is late.
const LATE: Duration = Duration::from_millis(700);
/// Both sides of an effect.
const SIDES: [Moment; 2] = [Moment::Before, Moment::After];

/// What came of the runs of one story.
#[derive(Default)]
struct Account {
    known: BTreeSet<String>,
    runs: usize,
    deaths: usize,
    failures: Vec<String>,
}

/// Explores every story that fits the vendor; panics with all that went wrong.
pub async fn every_story(vendor: Vendor) {
    let clients = super::clients();
    let only = std::env::var("CRASH_STORY").ok();
    let is_told = |story: &Story| only.as_ref().is_none_or(|only| *only == format!("{story:?}"));
    let told = Story::ALL.into_iter().filter(|story| story.fits(vendor)).filter(is_told);
    let explored = stream::iter(told).map(|story| explore(&clients, vendor, story)).buffer_unordered(STORIES);
    let failures = explored.collect::<Vec<_>>().await.concat();
    assert!(failures.is_empty(), "{} runs ended badly:\n{}", failures.len(), failures.join("\n"));
}

async fn explore(clients: &Clients, vendor: Vendor, story: Story) -> Vec<String> {
    let begun = Instant::now();
    let mut tale = Tale { clients: clients.clone(), vendor, story, lag: lag().unwrap_or_default(), wanted: None };
    let reference = match tale.attempt(Vec::new()).await {
        Ok(reference) => reference,
        Err(failure) => return vec![failure],
    };
    if reference.effects.is_empty() {
        return vec![format!("== {vendor:?} {story:?}: nothing came about")];
    }
    tale.wanted = Some(reference.state);
    let mut account = Account { runs: 1, ..Account::default() };
    account.run(&Tale { lag: lag().unwrap_or(LATE), ..tale.clone() }, vec![Vec::new()]).await;
    let mut waiting = account.targets(&reference.effects);
    while !waiting.is_empty() {
        let ended = account.run(&tale, waiting.into_iter().map(|target| vec![target]).collect()).await;
        waiting = ended.iter().flat_map(|run| account.targets(&run.effects)).collect();
    }
    if story.kills_twice() {
        account.run(&tale, account.twice(vendor)).await;
    }
    say(&format!(
        "{vendor:?} {story:?}: {} effects, {} runs, {} deaths, {} failures, {:.1} s",
        account.known.len(),
        account.runs,
        account.deaths,
        account.failures.len(),
        begun.elapsed().as_secs_f64()
    ));
    account.failures
}

impl Account {
    /// One run for each fate; those that ended well.
    async fn run(&mut self, tale: &Tale, fates: Vec<Vec<Target>>) -> Vec<Run> {
        let runs = fates.into_iter().map(|fate| tale.attempt(fate));
        let ended: Vec<_> = stream::iter(runs).buffer_unordered(AT_ONCE).collect().await;
        let mut good = Vec::new();
        for run in ended {
            self.runs += 1;
            match run {
                Ok(run) => good.push(run),
                Err(failure) => self.failures.push(failure),
            }
        }
        self.deaths += good.iter().map(|run| run.deaths).sum::<usize>();
        good
    }

    /// Both sides of every effect that was not known yet.
    fn targets(&mut self, effects: &[String]) -> Vec<Target> {
        let fresh: Vec<_> = effects.iter().filter(|effect| self.known.insert((*effect).clone())).collect();
        fresh.into_iter().flat_map(|effect| SIDES.map(|moment| at(effect, moment))).collect()
    }

    /// A second death after some of the first ones, at the first thing the successor does. On which side of it alternates such
    /// that each pair of sides comes up, and after which ones differs from vendor to vendor: together they try all.
    fn twice(&self, vendor: Vendor) -> Vec<Vec<Target>> {
        let turn = Vendor::ALL.iter().position(|other| *other == vendor).unwrap_or_default();
        let pairs = self.known.iter().enumerate().flat_map(|(number, effect)| {
            [0, 1].map(|side| {
                let second = Target { aim: Aim::First, moment: SIDES[(number + side) % 2] };
                vec![at(effect, SIDES[side]), second]
            })
        });
        pairs.skip(turn % SAMPLE).step_by(SAMPLE).collect()
    }
}

fn at(effect: &str, moment: Moment) -> Target {
    Target { aim: Aim::At(effect.to_owned()), moment }
}

/// How late every watch is to be, from `CRASH_LAG` in milliseconds.
fn lag() -> Option<Duration> {
    std::env::var("CRASH_LAG")
        .ok()
        .map(|lag| Duration::from_millis(lag.parse().expect("CRASH_LAG is a number of milliseconds")))
}

/// Says how far a long test is, past the capture of its output.
pub fn say(line: &str) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).unwrap();
}
