//! Carries out steps on an account that was just read.

use std::collections::{BTreeMap, VecDeque};

use secrecy::SecretString;
use tracing::info;

use super::progress::Progress;
use super::reconciliation::Reconciliation;
use super::refusals::Refusals;
use crate::controller::cluster::managed::Managed;
use crate::controller::outcome::{Change, Stop};
use crate::controller::resolve::password;
use crate::plan::{Account, Changes, Step, step_calls};
use crate::providers::ErrorKind;

/// Whether `step` failed because there is no such account.
fn is_missing(step: &Step, kind: ErrorKind) -> bool {
    matches!(step, Step::Update(_)) && kind == ErrorKind::NotFound
}

impl<K: Managed> Reconciliation<'_, K> {
    /// Carries out `steps` on `account`, which was just read; `None`: the vendor answers that it is not there.
    ///
    /// Errors: mode Plan; the vendor or Kubernetes refused a step. What was done is recorded.
    pub async fn perform(&mut self, account: &Account, steps: Vec<Step>) -> Result<Option<Progress>, Stop> {
        if steps.is_empty() {
            self.remember(account, true).await?;
            return Ok(Some(Progress::None));
        }
        self.only_if_enforced(step_calls(&account.id, &steps)).await?;
        let change = self.classify_change(&steps);
        self.note_drift(change == Change::DriftRepaired);
        self.claim_planned_groups(account);
        self.record_names(account);
        self.record_progress().await?;
        let Some(after) = self.carry_out(account, &steps).await? else { return Ok(None) };
        self.connection.record_write(K::ACCOUNT_KIND, &account.id, Some(after.clone()));
        let shown = self.read_back(&account.id, &steps).await;
        self.remember(shown.as_ref().unwrap_or(&after), shown.is_some()).await?;
        self.count_repair(change);
        Ok(Some(Progress::Change(change)))
    }

    /// The account after `steps`; `None`: the vendor answers that it is not there. A step that the vendor refuses keeps no other one from
    /// being carried out, and what it takes away is tried without what it adds.
    ///
    /// Errors: the first refusal, after the other steps; a failure that is no refusal, at once.
    pub async fn carry_out(&mut self, account: &Account, steps: &[Step]) -> Result<Option<Account>, Stop> {
        let table = self.connection.provider.capabilities().fields(K::ACCOUNT_KIND);
        let mut after = account.clone();
        let mut refusals = Refusals::new(self.identity.rejected.split_off(0), self.forced);
        let mut waiting = VecDeque::from(steps.to_vec());
        while let Some(step) = waiting.pop_front() {
            let digest = self.digest(&step);
            let done = if refusals.is_known(&digest) {
                Err(self.still_rejected())
            } else {
                self.carry_out_one(&after, &step).await
            };
            match done {
                // The account was just read, so this proves as little as a read that does not find it.
                Err(Stop::Provider(error)) if is_missing(&step, error.kind) => return Ok(None),
                Err(stop) => {
                    refusals.add(&step, digest, stop)?;
                    let parts = step.taking_away(table, &after).into_iter().filter(|part| !self.is_granted(part));
                    parts.rev().for_each(|part| waiting.push_front(part));
                }
                Ok(()) => {
                    if let Step::Update(changes) = &step {
                        after = after.with(changes);
                        self.sent_fields(&refusals.names_with(&waiting));
                    }
                }
            }
            self.identity.rejected.clone_from(&refusals.rejected);
            if !waiting.is_empty() || refusals.first.is_some() {
                self.connection.record_write(K::ACCOUNT_KIND, &account.id, Some(after.clone()));
                self.record_progress().await?;
            }
        }
        refusals.first.map_or(Ok(Some(after)), Err)
    }

    /// Whether `step` is a grant of rights that were last sent for its application.
    fn is_granted(&self, step: &Step) -> bool {
        let Step::Grant { application, rights } = step else { return false };
        self.known_sent().has_grant(application, rights)
    }

    async fn carry_out_one(&mut self, account: &Account, step: &Step) -> Result<(), Stop> {
        match step {
            Step::Update(changes) => self.update(account, changes).await,
            Step::Grant { application, rights } => self.grant(&account.id, application, rights).await,
        }
    }

    /// Why a change is made: the manifest or Secret changed, or the vendor's side did.
    pub fn classify_change(&self, steps: &[Step]) -> Change {
        let password_only = |step: &Step| matches!(step, Step::Update(changes) if changes.names() == ["password"]);
        if steps.iter().all(password_only) {
            Change::PasswordSent
        } else if self.object.is_in_sync()
            || self.connection.object_memory.is_drifting(&self.object.key(), self.object.generation())
        {
            Change::DriftRepaired
        } else {
            Change::Updated
        }
    }

    /// Notes that a drift was found, because a repair that fails at first is a repair all the same.
    pub fn note_drift(&self, is_drift: bool) {
        if is_drift {
            self.connection.object_memory.note_drift(self.object.key(), self.object.generation());
        }
    }

    /// Counts a repaired drift.
    pub fn count_repair(&self, change: Change) {
        if change == Change::DriftRepaired {
            self.context.metrics.drift_repaired(K::KIND.into(), self.connection.vendor);
        }
    }

    pub async fn update(&self, account: &Account, changes: &Changes) -> Result<(), Stop> {
        let password = self.password_beside(changes).await?;
        self.connection.provider.update(K::ACCOUNT_KIND, account, changes, password.as_ref()).await?;
        let sent = Changes { password: password.is_some(), ..changes.clone() };
        self.log("update", &account.id, &sent.names());
        Ok(())
    }

    /// The password that goes along with `changes`: a new one, or the present one once more where the vendor insists.
    pub async fn password_beside(&self, changes: &Changes) -> Result<Option<SecretString>, Stop> {
        let insists = self.connection.provider.capabilities().change_needs_password;
        match self.password.due().filter(|_| changes.password || insists) {
            None if insists => password::present(self.context, &*self.object).await,
            due => Ok(due.cloned()),
        }
    }

    /// Sets rights in one application, and notes them as applied.
    pub async fn grant(&mut self, id: &str, application: &str, rights: &BTreeMap<String, bool>) -> Result<(), Stop> {
        self.connection.provider.grant(id, application, rights).await?;
        let sent = self.known_sent();
        self.identity.sent = sent.with_grant(application, rights).text();
        self.log("grant", id, &[application.to_owned()]);
        Ok(())
    }

    /// Logs one vendor write: the operation, the credential, the account and the names of the fields; never values.
    pub fn log(&self, operation: &str, account: &str, fields: &[String]) {
        info!(
            object = %self.object.key(),
            generation = self.object.generation(),
            credential = %self.connection.key,
            account,
            operation,
            fields = fields.join(","),
            "vendor write"
        );
    }
}
