//! Makes an account: a record of the create goes to status first, then the call, then the id.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::api::status::Creating;
use crate::controller::apply::progress::Progress;
use crate::controller::apply::reconciliation::Reconciliation;
use crate::controller::cluster::finalizer;
use crate::controller::cluster::managed::Managed;
use crate::controller::connection::breaker;
use crate::controller::connection::in_flight::CreateCall;
use crate::controller::outcome::{Change, Stop};
use crate::controller::ownership::wake;
use crate::controller::resolve::{binding, password};
use crate::plan::{Account, AccountKind, Changes, Creation, Desired, Step, creation, creation_calls};
use crate::providers::{Delivery, ProviderError};

impl<K: Managed> Reconciliation<'_, K> {
    /// Makes the account.
    ///
    /// Errors: it may not be made, or was not; a create whose outcome is unknown stays recorded.
    pub async fn create(&mut self) -> Result<Progress, Stop> {
        binding::only_if_none_is_stated(self.context, &*self.object)?;
        self.only_if_worth_trying()?;
        self.check_creation()?;
        let before = self.identity.clone();
        if before.is_missing() {
            self.forget_missing();
        }
        let creation = creation(self.connection.table(K::ACCOUNT_KIND), &self.desired, self.password.due().is_some());
        self.only_if_enforced(creation_calls(self.desired.key(), &creation)).await?;
        // A conflict on another key proves nothing about an earlier create.
        let is_pending = self.identity.creating.as_ref().is_some_and(|creating| creating.key == self.desired.key());
        if is_pending && let Some(until) = self.unshown_until() {
            return Err(Stop::CreatePending(until));
        }
        let probe = breaker::probe(&self.connection.session)?;
        self.object = finalizer::add_finalizer(&self.context.cluster, self.object.clone()).await?;
        self.announce().await?;
        probe.used();
        match self.send(&creation.create).await {
            Ok(account) => self.created(account, creation).await,
            Err(error) => self.not_created(error, is_pending, before).await,
        }
    }

    /// Until when a vendor whose reads lag may not show a group that the pending create made. The name of a group is not unique, so that a
    /// second create would make another one.
    fn unshown_until(&self) -> Option<Timestamp> {
        let (creates, lag) = (&self.context.creates, self.context.settings.read_lag);
        let creating = self.identity.creating.as_ref().filter(|_| K::ACCOUNT_KIND == AccountKind::Group);
        creating.and_then(|creating| creates.unshown_until(K::ACCOUNT_KIND, creating, lag))
    }

    /// Binds the account that was just made, and sends what the create did not carry.
    pub async fn created(&mut self, account: Account, creation: Creation) -> Result<Progress, Stop> {
        let Creation { create: changes, then: steps } = creation;
        breaker::accepted(&self.connection);
        self.log("create", &account.id, &changes.names());
        let account = Account { groups: changes.groups.clone().or(account.groups.clone()), ..account.with(&changes) };
        let empty = Account { id: account.id.clone(), ..Account::default() };
        self.connection.record_write(K::ACCOUNT_KIND, &account.id, Some(account.clone()));
        self.identity.external_id = Some(account.id.clone());
        self.identity.creating = None;
        self.identity.refused = None;
        self.identity.adopted = None;
        if !steps.is_empty() {
            self.note_created();
            self.bind(&account, false).await?;
            self.follow_up(&account, steps).await?;
        }
        self.remember(&empty, true).await?;
        Ok(Progress::Change(Change::Created))
    }

    /// The create call. A call that ends without an answer, or is dropped, is pending from then on.
    pub async fn send(&self, changes: &Changes) -> Result<Account, ProviderError> {
        let call =
            self.identity.creating.as_ref().map(|creating| self.context.creates.begin(K::ACCOUNT_KIND, creating));
        let made = self.connection.provider.create(K::ACCOUNT_KIND, changes, self.password.due()).await;
        if made.as_ref().err().is_none_or(|error| error.delivery != Delivery::Unknown) {
            call.into_iter().for_each(CreateCall::answered);
        }
        made
    }

    /// Sends what a create does not carry: fields that it does not take, and rights in applications.
    pub async fn follow_up(&mut self, made: &Account, steps: Vec<Step>) -> Result<(), Stop> {
        let mut due = steps.len();
        for step in steps {
            due -= 1;
            match step {
                Step::Update(changes) => {
                    self.update(made, &changes).await?;
                    self.connection.record_write(K::ACCOUNT_KIND, &made.id, Some(made.clone().with(&changes)));
                }
                Step::Grant { application, rights } => self.grant(&made.id, &application, &rights).await?,
            }
            if due > 0 {
                self.record_progress().await?;
            }
        }
        Ok(())
    }

    /// Notes what the create call carried: everything but rights in applications, which are calls of their own.
    pub fn note_created(&mut self) {
        let created = Desired { grants: BTreeMap::new(), ..self.desired.clone() };
        self.identity.sent = self.sent(&created);
        self.identity.password_version = self.password.version().map(str::to_owned);
    }

    /// Records the create in status, so that its account is known to be the object's even if the answer is lost.
    pub async fn announce(&mut self) -> Result<(), Stop> {
        // Where no search is possible, the fields of the first call may be all that will ever be known of the account.
        if self.identity.creating.is_none() && self.is_unsearchable() {
            self.identity.sent = self.sent(&self.desired);
        }
        let (now, key) = (Timestamp::now(), self.desired.key());
        let before = self.identity.creating.as_ref().filter(|before| before.key == key);
        if let (None, Some(creating)) = (before, &self.identity.creating) {
            wake::enqueue_waiting_for_key(self.context, &*self.object, &creating.key);
        }
        let sent = self.password.due().and(self.password.version());
        self.identity.creating = Some(if let Some(before) = before {
            let same = |before: &String| sent.is_some_and(|sent| password::is_same(before, sent));
            before.again(now, before.password_version.clone().filter(same))
        } else {
            let (account, password_version) = (self.connection.account.clone(), sent.map(str::to_owned));
            let vendor_time = self.connection.limiter.clock().there(now);
            Creating { at: now, since: None, vendor_time, key: key.into(), account, password_version }
        });
        self.identity.account = Some(self.connection.account.clone());
        self.store_identity(true).await
    }
}
