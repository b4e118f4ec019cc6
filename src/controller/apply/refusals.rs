//! Steps that the vendor refused: none of them keeps another one from being carried out, and a refused value is not sent again.

use std::collections::BTreeSet;

use super::reconciliation::Reconciliation;
use crate::api::Reason;
use crate::api::conditions::{ConditionType, find};
use crate::controller::cluster::managed::Managed;
use crate::controller::outcome::Stop;
use crate::plan::Step;
use crate::providers::{Delivery, ErrorKind};

/// The refusals of one reconcile.
pub struct Refusals {
    known: Vec<String>,
    /// Digests of the steps that the vendor rejects as they are.
    pub rejected: Vec<String>,
    /// The first refusal.
    pub first: Option<Stop>,
    names: BTreeSet<String>,
}

impl Refusals {
    /// None yet. Those `known` from earlier reconciles count unless everything is `forced`.
    pub fn new(known: Vec<String>, forced: bool) -> Self {
        let known = if forced { Vec::new() } else { known };
        Self { known, rejected: Vec::new(), first: None, names: BTreeSet::new() }
    }

    /// Whether an earlier reconcile sent the step with this digest, and the vendor rejected it.
    pub fn is_known(&self, digest: &str) -> bool {
        self.known.iter().any(|known| known == digest)
    }

    /// Adds `step`, which failed with `stop`.
    ///
    /// Errors: `stop`, if that is no refusal.
    pub fn add(&mut self, step: &Step, digest: String, stop: Stop) -> Result<(), Stop> {
        let is_rejected = match &stop {
            Stop::Verdict(_) if self.is_known(&digest) => true,
            Stop::Provider(error) if error.delivery == Delivery::NoEffect => match error.kind {
                ErrorKind::Invalid => true,
                ErrorKind::PermissionDenied | ErrorKind::Conflict | ErrorKind::Unsupported => false,
                _ => return Err(stop),
            },
            _ => return Err(stop),
        };
        self.rejected.extend(is_rejected.then_some(digest));
        self.names.extend(names(step));
        self.first.get_or_insert(stop);
        Ok(())
    }

    /// The names of the fields in refused steps and in `to_come`.
    pub fn names_with<'a>(&self, to_come: impl IntoIterator<Item = &'a Step>) -> BTreeSet<String> {
        self.names.iter().cloned().chain(to_come.into_iter().flat_map(names)).collect()
    }
}

fn names(step: &Step) -> Vec<String> {
    match step {
        Step::Update(changes) => changes.names(),
        Step::Grant { .. } => Vec::new(),
    }
}

impl<K: Managed> Reconciliation<'_, K> {
    /// A digest of all that `step` sends.
    pub fn digest(&self, step: &Step) -> String {
        let insists = self.connection.provider.capabilities().change_needs_password;
        let carries_password = matches!(step, Step::Update(changes) if changes.password || insists);
        step.digest(self.password.version().filter(|_| carries_password))
    }

    /// The verdict on a value that the vendor rejected before and that did not change since.
    pub fn still_rejected(&self) -> Stop {
        let ready = self.object.status().and_then(|status| find(&status.report.conditions, ConditionType::Ready));
        let said = ready.filter(|ready| ready.reason == Reason::Invalid.label()).map(|ready| ready.message.clone());
        let otherwise =
            || format!("{} rejected a value of the manifest or its Secret: correct it", self.connection.vendor.title());
        Stop::because(Reason::Invalid, said.unwrap_or_else(otherwise))
    }
}
