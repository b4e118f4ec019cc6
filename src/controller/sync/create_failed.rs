//! A create that the vendor did not answer with an account: it refused, or the account exists; whose that is, is settled here.

use jiff::Timestamp;

use crate::api::Reason;
use crate::api::status::Identity;
use crate::controller::apply::progress::Progress;
use crate::controller::apply::reconciliation::Reconciliation;
use crate::controller::cluster::managed::Managed;
use crate::controller::connection::breaker;
use crate::controller::outcome::{Change, Stop};
use crate::controller::resolve::binding;
use crate::plan::{Account, Conflict, ConflictFacts, judge_conflict};
use crate::providers::{Delivery, ErrorKind, ProviderError};

impl<K: Managed> Reconciliation<'_, K> {
    /// A create that the vendor did not answer with an account. `is_pending`: an earlier create with this key was pending. `before`: the
    /// identity before this create was announced.
    ///
    /// Errors: why there is no account; a create whose outcome is unknown stays recorded.
    pub async fn not_created(
        &mut self,
        error: ProviderError,
        is_pending: bool,
        before: Identity,
    ) -> Result<Progress, Stop> {
        let accepted = breaker::failed(&self.connection, &self.connection.spec, &error);
        if error.kind == ErrorKind::Conflict {
            return self.exists(error, is_pending, before, accepted).await;
        }
        if error.delivery == Delivery::NoEffect && !is_pending {
            let refused = before.refused.clone();
            self.forget_create(before, refused).await?;
        }
        accepted?;
        Err(error.into())
    }

    /// The vendor answers that the account exists.
    async fn exists(
        &mut self,
        error: ProviderError,
        is_pending: bool,
        before: Identity,
        accepted: Result<(), Stop>,
    ) -> Result<Progress, Stop> {
        match self.judge(is_pending, &before).await? {
            Conflict::Claim(account) => self.claim(account).await,
            Conflict::ClaimId(id) => self.claim_by_id(id).await,
            Conflict::ClaimWithoutId => self.claim_without_id().await,
            Conflict::NotVisible if is_pending => self.keep_not_visible(self.identity.clone()).await,
            Conflict::NotVisible => self.keep_not_visible(before).await,
            Conflict::Foreign => {
                self.settle_pending_create().await?;
                Err(self.already_exists())
            }
            Conflict::NotShown { settles_create: true } => {
                self.settle_pending_create().await?;
                Err(self.not_shown(&error.message))
            }
            Conflict::NotShown { settles_create: false } => {
                if error.delivery == Delivery::NoEffect {
                    let refused = Some(self.desired.key().to_owned());
                    self.forget_create(before, refused).await?;
                }
                accepted?;
                // The listing lacks the account, so it must not answer the next search.
                let (kind, key) = (K::ACCOUNT_KIND, self.desired.key());
                self.connection.inventory().record_not_visible(kind, key, &error.message, Timestamp::now());
                Err(self.not_shown(&error.message))
            }
            Conflict::Search | Conflict::Undecided => Err(error.into()),
        }
    }

    /// Whose account it is, after a search if that is needed.
    async fn judge(&self, is_pending: bool, before: &Identity) -> Result<Conflict, Stop> {
        let key = self.desired.key();
        let mut facts = ConflictFacts {
            before,
            key,
            is_pending,
            search: self.search_support(),
            id_of_key: self.connection.provider.id_from_key(key),
            found: None,
        };
        if judge_conflict(&facts) == Conflict::Search {
            let found = self.connection.search_exhaustively(K::ACCOUNT_KIND, &self.desired).await?;
            facts.found = Some(self.candidates(found));
        }
        Ok(judge_conflict(&facts))
    }

    /// Removes the record of a create that made nothing. What is known of a missing account is kept; `refused` is a key of a foreign
    /// account.
    async fn forget_create(&mut self, before: Identity, refused: Option<String>) -> Result<(), Stop> {
        let known = if before.missing.is_some() { before } else { Identity::default() };
        self.identity = Identity { creating: None, refused, ..known };
        self.store_identity(false).await
    }

    /// Binds an account that the vendor does not show, by the id that follows from its key.
    async fn claim_by_id(&mut self, id: String) -> Result<Progress, Stop> {
        let groups = self.desired.groups.as_ref().map(|groups| groups.wanted.clone());
        self.bind(&Account { id, groups, ..Account::default() }, false).await?;
        self.compare_with_last_applied()?;
        Ok(Progress::Change(Change::Created))
    }

    /// Records an account whose id was in the lost answer.
    async fn claim_without_id(&mut self) -> Result<Progress, Stop> {
        self.identity.key = Some(self.desired.key().to_owned());
        self.store_identity(false).await?;
        self.compare_with_last_applied()?;
        Ok(Progress::Change(Change::Created))
    }

    /// Binds the missing account again, which the vendor has and does not show.
    async fn keep_not_visible(&mut self, before: Identity) -> Result<Progress, Stop> {
        self.identity = Identity {
            external_id: before.missing.clone(),
            key: Some(self.desired.key().to_owned()),
            account: Some(self.connection.account.clone()),
            creating: None,
            ..before
        };
        self.store_identity(false).await?;
        Err(self.not_visible())
    }

    /// Errors: the vendor reported within the last interval that the account exists, no search has shown it since, and neither the
    /// manifest nor a person asks for another attempt.
    pub fn only_if_worth_trying(&self) -> Result<(), Stop> {
        let (key, interval) = (self.desired.key(), self.connection.spec.resync_interval());
        let tried = self.object.status().map(|status| status.report.observed_generation);
        if tried != Some(self.object.generation()) || self.forced || self.identity.creating.is_some() {
            return Ok(());
        }
        let message = self.connection.inventory().not_visible(K::ACCOUNT_KIND, key, interval, Timestamp::now());
        message.map_or(Ok(()), |words| Err(self.not_shown(&words)))
    }

    /// The vendor answers that an account exists which no search has shown.
    pub fn not_shown(&self, words: &str) -> Stop {
        let (vendor, key) = (self.connection.vendor.title(), self.desired.key());
        let adopt = "if it was made just now, set spec.adoptionPolicy: Adopt to take it over; else ";
        let adopt = if self.is_unsearchable() { "" } else { adopt };
        Stop::because(
            Reason::AlreadyExists,
            format!(
                "{vendor} says that {key} exists, but did not show it ({words}): {adopt}give usher's login access to it, choose another name, or remove it there"
            ),
        )
    }

    /// The verdict on an existing account that may not be taken over.
    pub fn already_exists(&self) -> Stop {
        if let Err(stop) = binding::only_if_none_is_stated(self.context, &*self.object) {
            return stop;
        }
        Stop::because(
            Reason::AlreadyExists,
            format!(
                "{} has a {} {} that usher did not make: set spec.adoptionPolicy: Adopt to take it over (spec.mode: Plan first shows what would change), or remove it there",
                self.connection.vendor.title(),
                K::ACCOUNT_KIND,
                self.desired.key()
            ),
        )
    }

    /// Notes that the pending create made nothing, because the account that exists is not the object's.
    pub async fn settle_pending_create(&mut self) -> Result<(), Stop> {
        if self.identity.creating.is_some() {
            self.identity = Identity { refused: Some(self.desired.key().to_owned()), ..Identity::default() };
            self.connection.inventory().record_lacking(K::ACCOUNT_KIND, self.desired.key());
            self.store_identity(false).await?;
        }
        Ok(())
    }
}
