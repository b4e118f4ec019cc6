//! Gathers the facts about an object without an account until [`next_binding`] has an answer, and carries that out.

use jiff::{SignedDuration, Timestamp};

use crate::api::Reason;
use crate::api::user::AdoptionPolicy;
use crate::controller::apply::progress::Progress;
use crate::controller::apply::reconciliation::Reconciliation;
use crate::controller::cluster::managed::Managed;
use crate::controller::connection::in_flight::KeyGuard;
use crate::controller::hints::WITH_ID;
use crate::controller::outcome::Stop;
use crate::controller::ownership::conflict;
use crate::controller::resolve::access;
use crate::plan::{
    Account, AccountKind, BindingFacts, BindingQuestion, BindingRefusal, Candidate, NextBinding, Search, as_created,
    matches_key, names, next_binding,
};
use crate::providers::{Permit, Priority, quote};

/// When the next reconcile is due while another object makes an account with the same key.
const LOCKED: SignedDuration = SignedDuration::from_secs(1);

/// The answers to the questions of [`next_binding`], and the rights that go with them.
#[derive(Default)]
struct Answers {
    competitor: Option<String>,
    is_alone: Option<bool>,
    #[expect(clippy::option_option, reason = "not asked yet, asked and absent, asked and there")]
    by_id: Option<Option<Candidate>>,
    under_pending_key: Option<Vec<Candidate>>,
    has_reappeared: Option<bool>,
    found: Option<Vec<Candidate>>,
    lock: Option<KeyGuard>,
    permit: Option<Permit>,
}

impl<K: Managed> Reconciliation<'_, K> {
    /// Binds the object to its account, which is made if there is none.
    ///
    /// Errors: no account may be bound or made, or that cannot be decided yet.
    pub async fn bind_or_create(&mut self) -> Result<Progress, Stop> {
        let mut answers = Answers { competitor: self.competitor(), ..Answers::default() };
        let next = loop {
            match next_binding(&self.facts(&answers)) {
                NextBinding::Ask(question) => self.answer(question, &mut answers).await?,
                next => break next,
            }
        };
        match next {
            NextBinding::Create => self.create().await,
            NextBinding::Claim(account) => self.claim(account).await,
            NextBinding::Rebind => self.rebind().await,
            NextBinding::Adopt(account) => self.adopt(account).await,
            NextBinding::Bind(account) => self.take(account).await,
            NextBinding::Refused(refusal) => Err(self.refuse(refusal).await?),
            NextBinding::CreatePending(until) => Err(Stop::CreatePending(until)),
            NextBinding::KeyLocked => Err(Stop::KeyLocked(Timestamp::now() + LOCKED)),
            NextBinding::AwaitsPermit | NextBinding::Ask(_) => Err(Stop::AwaitsPermit),
            NextBinding::CredentialDeleting => {
                let why = "it is being deleted and starts no new account";
                Err(Stop::waiting(Reason::WaitingForCredential, &self.connection.key, why))
            }
        }
    }

    fn facts(&self, answers: &Answers) -> BindingFacts<'_> {
        let creating = self.identity.creating.as_ref();
        let external_id = self.object.external_id();
        let allowed = access::only_if_existing_allowed(&self.connection, &*self.object, "spec.externalId");
        BindingFacts {
            identity: &self.identity,
            key: self.desired.key(),
            external_id,
            adoption: self.adoption(),
            search: self.search_support(),
            is_credential_deleting: self.connection.is_deleting,
            pending_until: creating.and_then(|creating| self.context.creates.pending_until(K::ACCOUNT_KIND, creating)),
            competitor: answers.competitor.clone(),
            forbidden_by_id: external_id.and(allowed.err()).map(message),
            is_alone: answers.is_alone,
            has_permit: answers.permit.as_ref().map(|_| true),
            by_id: answers.by_id.clone(),
            under_pending_key: answers.under_pending_key.clone(),
            has_reappeared: answers.has_reappeared,
            found: answers.found.clone(),
        }
    }

    fn adoption(&self) -> AdoptionPolicy {
        self.object.adoption().or(self.connection.spec.adoption_policy).unwrap_or_default()
    }

    /// How far the vendor shows accounts.
    pub fn search_support(&self) -> Search {
        match (self.is_write_only, self.is_unsearchable()) {
            (true, _) => Search::None,
            (false, true) => Search::ById,
            (false, false) => Search::Full,
        }
    }

    /// The message, if another object has, makes or is the first to ask for this account.
    fn competitor(&self) -> Option<String> {
        let first = conflict::ensure_first(self.context, &*self.object, self.connection.vendor);
        let unbound = || match self.connection.provider.id_from_key(self.desired.key()) {
            Some(id) => conflict::ensure_unbound(self.context, &*self.object, &self.connection, &id),
            None => Ok(()),
        };
        first.and_then(|()| unbound()).err().map(message)
    }

    async fn answer(&self, question: BindingQuestion, answers: &mut Answers) -> Result<(), Stop> {
        match question {
            BindingQuestion::Lock => {
                let (creates, account) = (&self.context.creates, &self.connection.account);
                answers.lock = creates.try_lock(account, K::ACCOUNT_KIND, self.desired.key());
                answers.is_alone = Some(answers.lock.is_some());
            }
            BindingQuestion::Permit => {
                answers.permit = Some(self.permit(Priority::New)?);
            }
            BindingQuestion::ById => {
                let id = self.object.external_id().unwrap_or_default();
                let account = self.connection.provider.read(K::ACCOUNT_KIND, id).await?;
                answers.by_id = Some(account.map(|account| self.candidate(account)));
            }
            BindingQuestion::UnderPendingKey => {
                answers.under_pending_key = Some(self.candidates(self.made_under_pending_key().await?));
            }
            BindingQuestion::Reappeared => answers.has_reappeared = Some(self.has_reappeared().await?),
            BindingQuestion::Search => {
                let found = self.search().await?;
                if !found.is_empty() {
                    self.connection.inventory().record_visible(K::ACCOUNT_KIND, self.desired.key());
                }
                answers.found = Some(self.candidates(found));
            }
        }
        Ok(())
    }

    /// The accounts of a search as candidates.
    pub fn candidates(&self, found: Vec<Account>) -> Vec<Candidate> {
        found.into_iter().map(|account| self.candidate(account)).collect()
    }

    fn candidate(&self, account: Account) -> Candidate {
        let table = self.connection.table(K::ACCOUNT_KIND);
        let holder = conflict::ensure_unbound(self.context, &*self.object, &self.connection, &account.id).err();
        let name = names(table, &account).next().map(quote);
        Candidate {
            name,
            is_made_by_us: conflict::is_made_by(self.context, &*self.object, &self.connection, &account),
            holder: holder.map(message),
            // A group is bound by its id whatever its name.
            carries_key: K::ACCOUNT_KIND == AccountKind::Group
                || self.desired.keys.iter().any(|key| matches_key(table, &account, key)),
            account,
        }
    }

    /// The accounts that carry the key of the pending create.
    async fn made_under_pending_key(&self) -> Result<Vec<Account>, Stop> {
        let Some(creating) = &self.identity.creating else { return Ok(Vec::new()) };
        let sought = as_created(self.connection.table(K::ACCOUNT_KIND), creating);
        Ok(self.connection.search_exhaustively(K::ACCOUNT_KIND, &sought).await?)
    }

    /// Whether the vendor shows the missing account again.
    async fn has_reappeared(&self) -> Result<bool, Stop> {
        let Some(id) = self.identity.known_id() else { return Ok(false) };
        Ok(self.connection.provider.read(K::ACCOUNT_KIND, id).await?.is_some())
    }

    /// The verdict for a refusal. A pending create that made nothing is settled in status first.
    ///
    /// Errors: Kubernetes did not answer.
    async fn refuse(&mut self, refusal: BindingRefusal) -> Result<Stop, Stop> {
        if refusal == (BindingRefusal::AlreadyExists { settles_create: true }) {
            self.settle_pending_create().await?;
        }
        Ok(self.refusal(refusal))
    }

    fn refusal(&self, refusal: BindingRefusal) -> Stop {
        let (vendor, key) = (self.connection.vendor.title(), self.desired.key());
        let id = self.object.external_id().unwrap_or_default();
        match refusal {
            BindingRefusal::Duplicate(message) => Stop::because(Reason::Duplicate, message),
            BindingRefusal::AlreadyExists { .. } => self.already_exists(),
            BindingRefusal::Ambiguous(count) => self.ambiguous(count),
            BindingRefusal::AmbiguousCreate(count) => {
                let key = self.identity.creating.as_ref().map(|creating| &*creating.key).unwrap_or_default();
                conflict::ambiguous_create(count, vendor, key)
            }
            BindingRefusal::NoSuchId => {
                Stop::because(Reason::NotFound, format!("spec.externalId: {vendor} has no {id}; correct the id"))
            }
            BindingRefusal::OtherAccount(name) => {
                let found = access::masked(&self.connection, &*self.object, &name);
                let message =
                    format!("spec.externalId: {id} is {found} at {vendor}, not {key}; correct the id or the e-mail");
                Stop::because(Reason::Invalid, message)
            }
            BindingRefusal::NotAllowed(message) => Stop::because(Reason::NamespaceNotAllowed, message),
            BindingRefusal::PendingUnderOtherKey(made) => {
                let message = format!(
                    "{vendor} may have made {made} already, and offers no search: set the manifest back to {made}, which settles it; or delete this object, look for that account at {vendor}, and make a new object"
                );
                Stop::because(Reason::Unsupported, message)
            }
        }
    }

    /// Several accounts match. While a create is pending, the API server takes no spec.externalId.
    fn ambiguous(&self, count: usize) -> Stop {
        let (vendor, key) = (self.connection.vendor.title(), self.desired.key());
        let name_one = if self.identity.creating.is_some() { WITH_ID } else { "name one in spec.externalId" };
        let message = format!("{count} accounts of {vendor} match {key}: remove the surplus there, or {name_one}");
        Stop::because(Reason::AmbiguousMatch, message)
    }
}

/// The message of a verdict.
fn message(stop: Stop) -> String {
    match stop {
        Stop::Verdict(verdict) => verdict.message,
        _ => String::new(),
    }
}
