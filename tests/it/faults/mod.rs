//! Every operation of every vendor × everything that can go wrong with a call: the reason in status, nothing made twice, removed
//! or changed wrongly, no word about objects that were in sync, and recovery when the fault ends.

mod act;
mod cell;
mod expected;
mod stage;
mod strike;

use std::panic::AssertUnwindSafe;

use crate::vendors::every_vendor;
use futures::{FutureExt, StreamExt, stream};
use rstest::rstest;
use rstest_reuse::apply;
use usher_sandbox::vendors::{Simulator, Vendor};

use act::Act;
use stage::Stage;
use strike::Strike;

/// Scenes side by side, per vendor.
const SIDE_BY_SIDE: usize = 8;

/// Operations that usher has no use for. That they are never called is checked in every cell, and where users are deleted.
fn is_used(vendor: Vendor, operation: &str) -> bool {
    // Amani refuses to delete; time zones are sent as the manifest writes them.
    !matches!((vendor, operation), (Vendor::Amani, "users.delete") | (Vendor::Plaspy, "timeZones.list"))
}

/// The cells of one scene, one after the other; a cell that fails gives the rest a new scene. What failed, in words.
async fn play(vendor: Vendor, operation: &'static str, strikes: Vec<Strike>) -> Vec<String> {
    let (mut failures, mut stage) = (Vec::new(), None);
    for (number, strike) in strikes.iter().enumerate() {
        let playing = async {
            if stage.is_none() {
                stage = Some(Stage::new(vendor, operation).await);
            }
            cell::play(stage.as_ref().unwrap(), operation, strike, &format!("x{number}")).await
        };
        let ended = AssertUnwindSafe(playing).catch_unwind().await.unwrap_or_else(|panic| Err(words(&*panic)));
        if let Err(why) = ended {
            failures.push(format!("{vendor:?} {operation} × {}: {why}", strike.name));
            stage = None;
        }
    }
    failures
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    panic.downcast_ref::<String>().cloned().unwrap_or_else(|| "panicked".into())
}

#[apply(every_vendor)]
#[tokio::test]
async fn a_fault_of_a_call_is_reported_harms_no_other_object_and_passes(vendor: Vendor) {
    let elsewhere = Simulator::start(vendor).await.unwrap();
    // For work on one cell: USHER_FAULTS=users.create.
    let only = std::env::var("USHER_FAULTS").unwrap_or_default();
    let mut scenes = Vec::new();
    for operation in vendor.operations().iter().filter(|operation| is_used(vendor, operation)) {
        let mut strikes = strike::strikes(operation, &elsewhere.url());
        strikes.retain(|strike| format!("{operation} {}", strike.name).starts_with(&only));
        let size = Act::of(operation).cells_a_scene();
        while !strikes.is_empty() {
            let rest = strikes.split_off(size.min(strikes.len()));
            scenes.push((*operation, std::mem::replace(&mut strikes, rest)));
        }
    }
    // Those that take long begin first.
    scenes.sort_by_key(|(operation, _)| Act::of(operation).cells_a_scene());
    let cells: usize = scenes.iter().map(|(_, strikes)| strikes.len()).sum();
    let played = scenes.into_iter().map(|(operation, strikes)| play(vendor, operation, strikes));
    let failures: Vec<String> =
        stream::iter(played).buffer_unordered(SIDE_BY_SIDE).flat_map(stream::iter).collect().await;
    assert!(failures.is_empty(), "{} of {cells} cells failed:\n{}", failures.len(), failures.join("\n"));
    assert!(elsewhere.calls().is_empty(), "redirects were followed: {:#?}", elsewhere.calls());
}
