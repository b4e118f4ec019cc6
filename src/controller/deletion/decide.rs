//! Gathers the facts about an object that is being deleted, until [`next_deletion`] has an answer.

use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt;

use super::{budget, execute, lookup};
use crate::api::user::Mode;
use crate::controller::cluster::index_key::IndexKey;
use crate::controller::cluster::lenient;
use crate::controller::cluster::lifecycle::Deleting;
use crate::controller::cluster::managed::Managed;
use crate::controller::cluster::object::Object as _;
use crate::controller::connection::link::{Connection, Link};
use crate::controller::context::Context;
use crate::controller::outcome::Stop;
use crate::controller::ownership::{cluster, handover};
use crate::controller::resolve::{access, deletion_policy, freshness, mode};
use crate::plan::{
    Account, AccountKind, AccountState, Admission, DeletionFacts, LinkState, NextDeletion, Question, RemovalBudget,
    next_deletion,
};
use crate::providers::{Permit, Priority};

/// The decision about an object that is being deleted, and what was gathered for it.
pub struct Decision<K> {
    /// What happens next.
    pub next: NextDeletion,
    /// The object that takes the account over.
    pub successor: Option<Arc<K>>,
    /// The connection, if the credential works.
    pub connection: Option<Arc<Connection>>,
    /// The account at the vendor, if it was looked for and is there.
    pub account: Option<Account>,
    /// The right to call the vendor, held while the decision is carried out.
    _permit: Option<Permit>,
}

/// Decides what happens next to `object`.
///
/// Errors: Kubernetes or the vendor did not answer a question, or the outcome of the object's create is unknown.
pub async fn decide<K: Managed>(context: &Context, object: &Deleting<K>) -> Result<Decision<K>, Stop> {
    let mut gathering = Gathering::new(context, object);
    loop {
        match next_deletion(&gathering.facts, Timestamp::now()) {
            NextDeletion::Ask(question) => gathering.answer(question).await?,
            next => return Ok(gathering.into_decision(next)),
        }
    }
}

struct Gathering<'a, K> {
    context: &'a Context,
    object: &'a Deleting<K>,
    facts: DeletionFacts,
    successor: Option<Arc<K>>,
    connection: Option<Arc<Connection>>,
    account: Option<Account>,
    permit: Option<Permit>,
}

impl<'a, K: Managed> Gathering<'a, K> {
    /// The facts that cost nothing.
    fn new(context: &'a Context, object: &'a Deleting<K>) -> Self {
        let is_current = context.is_preview() || K::cache(&context.cluster).shows(object);
        let successor = handover::find(context, &***object);
        let (link, connection) = link(context, object);
        let planned_by = connection.as_ref().and_then(|connection| planned_by(context, connection, &***object));
        let facts = DeletionFacts {
            is_held: is_current && object.has_finalizer(),
            has_account: object.has_account() || object.is_unsealed(),
            has_successor: successor.is_some(),
            owned_elsewhere: cluster::owned_elsewhere(context, &***object),
            policy: deletion_policy::decide(context, &***object),
            unread_mode: lenient::unread_mode(&***object).map(str::to_owned),
            paused_by: mode::paused_by(context, &***object),
            planned_by,
            link,
            successor_until: successor_until(context, &***object),
            users_first: users_first(context, object),
            is_unlisted: connection.as_ref().is_some_and(|connection| lookup::is_unlisted(connection, &***object)),
            is_uninstalled: None,
            has_permit: None,
            admission: None,
            account: None,
            is_confirmed: None,
        };
        Self { context, object, facts, successor, connection, account: None, permit: None }
    }

    fn into_decision(self, next: NextDeletion) -> Decision<K> {
        let Self { successor, connection, account, permit, .. } = self;
        Decision { next, successor, connection, account, _permit: permit }
    }

    async fn answer(&mut self, question: Question) -> Result<(), Stop> {
        let connection = self.connection.clone();
        match (question, connection) {
            (Question::Uninstalled, _) => {
                self.facts.is_uninstalled = Some(self.context.cluster.is_uninstalled::<K>().await?);
            }
            (Question::Permit, Some(connection)) => {
                connection.limiter.ensure_open()?;
                self.permit = connection.limiter.try_acquire(Priority::Edit, &self.object.key());
                self.facts.has_permit = Some(self.permit.is_some());
            }
            (Question::Budget, Some(connection)) => self.ask_budget(&connection).await?,
            (Question::Account, Some(connection)) => self.look(&connection).await?,
            (Question::Confirmation, Some(connection)) => self.confirm(&connection).await?,
            // These are asked with a link alone; without one nothing may be touched.
            (_, None) => self.facts.link = LinkState::Unchecked,
        }
        Ok(())
    }

    async fn ask_budget(&mut self, connection: &Connection) -> Result<(), Stop> {
        if self.context.is_preview() {
            self.facts.admission = Some(Admission::Admitted);
            return Ok(());
        }
        if !freshness::is_credential_current(self.context, connection).await? {
            self.facts.is_confirmed = Some(false);
            return Ok(());
        }
        let admission = budget::admit(self.context, &***self.object).await?;
        self.facts.admission = Some(admission);
        Ok(())
    }

    async fn look(&mut self, connection: &Connection) -> Result<(), Stop> {
        self.account = lookup::account(self.context, self.object, connection).await?;
        let state = match &self.account {
            None => AccountState::Absent,
            Some(account) => execute::state(self.context, self.object, connection, account)?,
        };
        self.facts.account = Some(state);
        Ok(())
    }

    /// Reads credential and object afresh, because a watch that lags behind does not show a pause or another policy.
    async fn confirm(&mut self, connection: &Connection) -> Result<(), Stop> {
        let (context, object) = (self.context, &***self.object);
        self.facts.is_confirmed = Some(
            context.is_preview()
                || (freshness::is_credential_current(context, connection).await?
                    && freshness::is_object_current(context, object).await?),
        );
        self.facts.policy = deletion_policy::decide(context, object);
        self.successor = handover::find(context, object);
        self.facts.has_successor = self.successor.is_some();
        Ok(())
    }
}

fn link<K: Managed>(context: &Context, object: &Deleting<K>) -> (LinkState, Option<Arc<Connection>>) {
    let (key, identity) = (object.credential_key(), object.identity());
    if access::credential(context, &***object).is_none() {
        return (LinkState::Absent(key.to_string()), None);
    }
    match context.connections.get(&key) {
        None => (LinkState::Unchecked, None),
        Some(Link::Down(down)) => (LinkState::Down(format!("{key} is not ready: {}", down.verdict.message)), None),
        Some(Link::Up(connection)) => match identity.tied_to().filter(|account| !connection.leads_to(account)) {
            Some(bound) => {
                let message = format!("bound through {bound}, but {key} now leads to {}", connection.account);
                (LinkState::Elsewhere(message), None)
            }
            None => (LinkState::Up, Some(connection)),
        },
    }
}

/// What asks for mode Plan, if that is in effect. A preview shows what Enforce would do, unless the manifests ask for Plan.
fn planned_by<K: Managed>(context: &Context, connection: &Connection, object: &K) -> Option<String> {
    let by_manifests = connection.mode().max(object.mode().unwrap_or_default());
    let effective = if context.is_preview() { by_manifests } else { mode::mode(context, connection, object) };
    (effective != Mode::Enforce).then(|| mode::planned_by(context, connection, object))
}

/// Until when a successor may still appear. A preview does not wait.
fn successor_until<K: Managed>(context: &Context, object: &K) -> Option<Timestamp> {
    let deleted = object.meta().deletion_timestamp.as_ref().filter(|_| !context.is_preview())?.0;
    let after = RemovalBudget::of(&access::credential(context, object)?.spec).after;
    Some(deleted.checked_add(after).unwrap_or(Timestamp::MAX))
}

/// The users that name a group and are being deleted too: the vendor lets the group go after them.
fn users_first<K: Managed>(context: &Context, object: &Deleting<K>) -> Option<(usize, String)> {
    if K::ACCOUNT_KIND != AccountKind::Group {
        return None;
    }
    let naming = [IndexKey::Group(object.key())];
    let users = context.cluster.users.by_index(&naming, |user| user.is_deleting() && user.has_finalizer());
    users.first().map(|user| (users.len(), user.name_any()))
}
