//! What happens next to an object that is being deleted, and to its account. Pure: the controller gathers the facts, asks the
//! questions that are open, and carries the answer out; `usher plan` prints the same answer.

use jiff::Timestamp;

use super::model::Rejection;
use super::removal::Removal;

/// The facts about an object that is being deleted. `None` in an answer means that the question was not asked yet.
#[derive(Clone, Debug)]
pub struct DeletionFacts {
    /// Whether usher's finalizer still holds the object.
    pub is_held: bool,
    /// Whether an account is, or may be, the object's.
    pub has_account: bool,
    /// Whether another live object takes the account over.
    pub has_successor: bool,
    /// Why usher leaves the account to another cluster, if that owns it.
    pub owned_elsewhere: Option<String>,
    /// The removal that the policies ask for.
    pub policy: Result<Removal, Rejection>,
    /// The value of `spec.mode`, if it cannot be read.
    pub unread_mode: Option<String>,
    /// What pauses the object, if it is paused.
    pub paused_by: Option<String>,
    /// What asks for mode Plan, if that is in effect.
    pub planned_by: Option<String>,
    /// The link of the object's credential.
    pub link: LinkState,
    /// Until when a successor may still appear; `None`: the removal does not wait.
    pub successor_until: Option<Timestamp>,
    /// How many users that name this group are being deleted too, and one of them.
    pub users_first: Option<(usize, String)>,
    /// Whether the last listing lacks the account, so that a removal of it would cost nothing.
    pub is_unlisted: bool,
    /// Whether the CustomResourceDefinition of the kind is being deleted.
    pub is_uninstalled: Option<bool>,
    /// Whether the limiter admits a call now.
    pub has_permit: Option<bool>,
    /// Whether the removal budget admits the removal.
    pub admission: Option<Admission>,
    /// The account at the vendor.
    pub account: Option<AccountState>,
    /// Whether a fresh read of credential and object confirms the facts above.
    pub is_confirmed: Option<bool>,
}

/// The state of a credential's link, as far as a removal needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// It leads to the account that the object is bound in.
    Up,
    /// The credential is absent or may not be used from the object's namespace; its key.
    Absent(String),
    /// The credential was not checked yet.
    Unchecked,
    /// The credential does not work; why.
    Down(String),
    /// It leads to another account than the object is bound in; what it says.
    Elsewhere(String),
}

/// The answer of the removal budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// The removal is counted and may be made.
    Admitted,
    /// The budget is exceeded; the message, and when there is room again.
    Held(String, Timestamp),
}

/// The state of an account at the vendor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountState {
    /// There is none.
    Absent,
    /// It is there and may be taken away.
    Present,
    /// It is there, may be taken away, and its log-in is blocked already.
    Disabled,
    /// It may not be taken away, because it is another account, protected or privileged, or cannot be told apart; why.
    Untouchable(String),
    /// It is a group that still holds members; which.
    InUse(String),
}

/// What happens next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NextDeletion {
    /// Nothing: the object is not held any more.
    Finished,
    /// The finalizer is removed; nothing is sent to the vendor.
    Release(Release),
    /// The account passes on to the successor, then the finalizer is removed.
    HandOver,
    /// A question has to be answered first.
    Ask(Question),
    /// The removal waits for something that enqueues the object, or until a time.
    Wait(Wait),
    /// The removal cannot proceed, for this reason.
    Blocked(String),
    /// The budget holds the removal: the message, and when there is room again.
    Held(String, Timestamp),
    /// The account is removed, then the finalizer.
    Delete,
    /// Log-in to the account is blocked, then the finalizer is removed.
    Disable,
}

/// Why an object goes without a call to the vendor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// It has no account.
    NoAccount,
    /// Its account stays; `unexpected`: although no policy asked for that.
    Orphan {
        /// Whether a person should know, because no policy asked for it.
        unexpected: bool,
    },
    /// Its account stays because the CustomResourceDefinition is being deleted.
    Uninstalled,
    /// The vendor has no such account.
    AlreadyGone,
    /// Log-in to the account is blocked already.
    AlreadyDisabled,
}

/// A question whose answer costs a call or a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Is the CustomResourceDefinition being deleted?
    Uninstalled,
    /// Does the limiter admit a call?
    Permit,
    /// Does the removal budget admit the removal?
    Budget,
    /// What is at the vendor?
    Account,
    /// Do credential and object still read as the facts say?
    Confirmation,
}

/// What a removal waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wait {
    /// A successor, until this time.
    Successor(Timestamp),
    /// The users of a group that are being deleted too: how many, and one of them.
    Users(usize, String),
    /// The first check of the credential.
    Credential,
    /// Room at the limiter.
    Permit,
    /// The reconcile that follows an edit of credential or object.
    Edit,
}

/// What happens next, by the facts known at `now`.
#[must_use]
pub fn next_deletion(facts: &DeletionFacts, now: Timestamp) -> NextDeletion {
    use NextDeletion as N;
    if !facts.is_held {
        return N::Finished;
    }
    if !facts.has_account {
        return N::Release(Release::NoAccount);
    }
    if facts.has_successor && facts.owned_elsewhere.is_none() {
        return N::HandOver;
    }
    match (&facts.policy, facts.is_uninstalled) {
        (Ok(Removal::Orphan { unexpected }), _) => N::Release(Release::Orphan { unexpected: *unexpected }),
        (_, None) => N::Ask(Question::Uninstalled),
        (_, Some(true)) => N::Release(Release::Uninstalled),
        (Err(rejection), _) => N::Blocked(rejection.message.clone()),
        (Ok(removal), _) => obstacle(facts, now).unwrap_or_else(|| at_the_vendor(facts, *removal)),
    }
}

/// What keeps usher from calling the vendor, if anything does.
fn obstacle(facts: &DeletionFacts, now: Timestamp) -> Option<NextDeletion> {
    use NextDeletion as N;
    if let Some(why) = &facts.owned_elsewhere {
        return Some(N::Blocked(why.clone()));
    }
    if let Some(mode) = &facts.unread_mode {
        return Some(N::Blocked(format!("spec.mode: {mode} is no mode: set Enforce, Plan or Paused")));
    }
    if let Some(by) = &facts.paused_by {
        return Some(N::Blocked(format!("paused by {by}; lift that")));
    }
    if let LinkState::Absent(credential) = &facts.link {
        return Some(N::Blocked(format!("{credential} is not there or may not be used from here")));
    }
    if let Some(until) = facts.successor_until.filter(|until| *until > now) {
        return Some(N::Wait(Wait::Successor(until)));
    }
    match &facts.link {
        LinkState::Up => {}
        LinkState::Unchecked => return Some(N::Wait(Wait::Credential)),
        LinkState::Absent(why) | LinkState::Down(why) | LinkState::Elsewhere(why) => {
            return Some(N::Blocked(why.clone()));
        }
    }
    if let Some(by) = &facts.planned_by {
        return Some(N::Blocked(format!("mode Plan removes nothing, and {by} asks for it; set Enforce there")));
    }
    let (count, one) = facts.users_first.as_ref()?;
    Some(N::Wait(Wait::Users(*count, one.clone())))
}

/// The way to the vendor: a permit, the budget, the account, the confirmation, then the removal.
fn at_the_vendor(facts: &DeletionFacts, removal: Removal) -> NextDeletion {
    use NextDeletion as N;
    match (facts.has_permit, facts.is_confirmed) {
        (None, _) => return N::Ask(Question::Permit),
        (Some(false), _) => return N::Wait(Wait::Permit),
        (_, Some(false)) => return N::Wait(Wait::Edit),
        (Some(true), _) => {}
    }
    // An account that the last listing lacks is looked for first, because its removal needs no budget if it is gone.
    let looks_first = facts.is_unlisted && facts.account.is_none();
    match &facts.admission {
        _ if looks_first || facts.account == Some(AccountState::Absent) => {}
        None => return N::Ask(Question::Budget),
        Some(Admission::Held(why, until)) => return N::Held(why.clone(), *until),
        Some(Admission::Admitted) => {}
    }
    match &facts.account {
        None => N::Ask(Question::Account),
        Some(AccountState::Absent) => N::Release(Release::AlreadyGone),
        Some(AccountState::Untouchable(why)) => N::Blocked(why.clone()),
        Some(AccountState::InUse(members)) if removal == Removal::Delete => {
            N::Blocked(format!("the group still holds {members}; move them to another group"))
        }
        Some(_) if facts.is_confirmed.is_none() => N::Ask(Question::Confirmation),
        Some(AccountState::Disabled) if removal == Removal::Disable => N::Release(Release::AlreadyDisabled),
        Some(_) if removal == Removal::Disable => N::Disable,
        Some(_) => N::Delete,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::api::Reason;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    /// A bound user whose removal was admitted, found and confirmed.
    fn facts() -> DeletionFacts {
        DeletionFacts {
            is_held: true,
            has_account: true,
            has_successor: false,
            owned_elsewhere: None,
            policy: Ok(Removal::Delete),
            unread_mode: None,
            paused_by: None,
            planned_by: None,
            link: LinkState::Up,
            successor_until: None,
            users_first: None,
            is_unlisted: false,
            is_uninstalled: Some(false),
            has_permit: Some(true),
            admission: Some(Admission::Admitted),
            account: Some(AccountState::Present),
            is_confirmed: Some(true),
        }
    }

    type Change = fn(&mut DeletionFacts);

    fn next(changes: &[Change]) -> NextDeletion {
        let mut facts = facts();
        changes.iter().for_each(|change| change(&mut facts));
        next_deletion(&facts, at(100))
    }

    const ORPHAN: Change = |facts| facts.policy = Ok(Removal::Orphan { unexpected: false });
    const DISABLE: Change = |facts| facts.policy = Ok(Removal::Disable);
    const UNSUPPORTED: Change = |facts| facts.policy = Err(Rejection::new(Reason::Unsupported, "no"));
    const PAUSED: Change = |facts| facts.paused_by = Some("spec.mode: Paused".into());
    const PLAN: Change = |facts| facts.planned_by = Some("spec.mode".into());
    const DOWN: Change = |facts| facts.link = LinkState::Down("refused".into());
    const ABSENT_CREDENTIAL: Change = |facts| facts.link = LinkState::Absent("it".into());
    const ELSEWHERE: Change = |facts| facts.link = LinkState::Elsewhere("other".into());
    const SUCCESSOR: Change = |facts| facts.has_successor = true;
    const ELSEWHERE_OWNED: Change = |facts| facts.owned_elsewhere = Some("bound in another cluster".into());
    const NO_ACCOUNT: Change = |facts| facts.has_account = false;
    const UNINSTALLED: Change = |facts| facts.is_uninstalled = Some(true);
    const HELD: Change = |facts| facts.admission = Some(Admission::Held("full".into(), at(200)));
    const UNLISTED: Change = |facts| facts.is_unlisted = true;
    const NOT_ADMITTED: Change = |facts| facts.admission = None;
    const NOT_LOOKED: Change = |facts| facts.account = None;
    const GONE: Change = |facts| facts.account = Some(AccountState::Absent);
    const DISABLED: Change = |facts| facts.account = Some(AccountState::Disabled);
    const PROTECTED: Change = |facts| facts.account = Some(AccountState::Untouchable("5 is protected".into()));
    const NOT_CONFIRMED: Change = |facts| facts.is_confirmed = None;
    const EDITED: Change = |facts| facts.is_confirmed = Some(false);
    const USERS_FIRST: Change = |facts| facts.users_first = Some((2, "ada".into()));

    // behaviour.md, "Taking away": the order of these rows is the order in which the controller decides.
    #[rstest]
    #[case::nothing_to_finalize(&[(|facts| facts.is_held = false) as Change], NextDeletion::Finished)]
    #[case::never_created(&[NO_ACCOUNT, PAUSED, DOWN], NextDeletion::Release(Release::NoAccount))]
    #[case::never_created_has_nothing_to_hand_over(&[NO_ACCOUNT, SUCCESSOR], NextDeletion::Release(Release::NoAccount))]
    #[case::a_successor_takes_over_in_every_mode(&[SUCCESSOR, PAUSED, PLAN, UNINSTALLED], NextDeletion::HandOver)]
    #[case::a_successor_takes_over_although_the_policy_is_unsupported(&[SUCCESSOR, UNSUPPORTED], NextDeletion::HandOver)]
    #[case::a_renamed_manifest_takes_over(&[SUCCESSOR, ORPHAN, DOWN], NextDeletion::HandOver)]
    #[case::orphan_in_every_mode_without_the_vendor(
        &[ORPHAN, PAUSED, PLAN, ABSENT_CREDENTIAL],
        NextDeletion::Release(Release::Orphan { unexpected: false })
    )]
    #[case::an_account_that_the_vendor_cannot_remove_stays_with_a_warning(
        &[(|facts| facts.policy = Ok(Removal::Orphan { unexpected: true })) as Change, DOWN],
        NextDeletion::Release(Release::Orphan { unexpected: true })
    )]
    #[case::another_cluster_owns_it(&[ELSEWHERE_OWNED, PAUSED], NextDeletion::Blocked("bound in another cluster".into()))]
    #[case::another_cluster_owns_it_and_hands_nothing_over(
        &[ELSEWHERE_OWNED, SUCCESSOR],
        NextDeletion::Blocked("bound in another cluster".into())
    )]
    #[case::what_another_cluster_owns_may_be_given_up(
        &[ELSEWHERE_OWNED, ORPHAN],
        NextDeletion::Release(Release::Orphan { unexpected: false })
    )]
    #[case::what_another_cluster_owns_stays_when_uninstalled(
        &[ELSEWHERE_OWNED, UNINSTALLED],
        NextDeletion::Release(Release::Uninstalled)
    )]
    #[case::orphan_needs_no_question(
        &[ORPHAN, |facts| facts.is_uninstalled = None],
        NextDeletion::Release(Release::Orphan { unexpected: false })
    )]
    #[case::uninstall_needs_no_credential(
        &[UNINSTALLED, ABSENT_CREDENTIAL, PLAN],
        NextDeletion::Release(Release::Uninstalled)
    )]
    #[case::uninstall_means_orphan(&[UNINSTALLED, UNSUPPORTED, PAUSED], NextDeletion::Release(Release::Uninstalled))]
    #[case::uninstall_is_asked_first(
        &[(|facts| facts.is_uninstalled = None) as Change, PAUSED],
        NextDeletion::Ask(Question::Uninstalled)
    )]
    #[case::unsupported_policy(&[UNSUPPORTED, PAUSED], NextDeletion::Blocked("no".into()))]
    #[case::unread_mode(
        &[(|facts| facts.unread_mode = Some("\"Off\"".into())) as Change, PAUSED],
        NextDeletion::Blocked("spec.mode: \"Off\" is no mode: set Enforce, Plan or Paused".into())
    )]
    #[case::paused_is_named_before_an_absent_credential(
        &[PAUSED, ABSENT_CREDENTIAL],
        NextDeletion::Blocked("paused by spec.mode: Paused; lift that".into())
    )]
    #[case::paused(&[PAUSED, DOWN], NextDeletion::Blocked("paused by spec.mode: Paused; lift that".into()))]
    #[case::no_credential(
        &[ABSENT_CREDENTIAL],
        NextDeletion::Blocked("it is not there or may not be used from here".into())
    )]
    #[case::waits_for_a_successor(
        &[(|facts| facts.successor_until = Some(at(101))) as Change, DOWN],
        NextDeletion::Wait(Wait::Successor(at(101)))
    )]
    #[case::has_waited(&[(|facts| facts.successor_until = Some(at(100))) as Change], NextDeletion::Delete)]
    #[case::vendor_refuses(&[DOWN, PLAN], NextDeletion::Blocked("refused".into()))]
    #[case::another_account(&[ELSEWHERE], NextDeletion::Blocked("other".into()))]
    #[case::not_checked_yet(&[(|facts| facts.link = LinkState::Unchecked) as Change], NextDeletion::Wait(Wait::Credential))]
    #[case::another_account_in_mode_plan(&[ELSEWHERE, PLAN], NextDeletion::Blocked("other".into()))]
    #[case::plan_before_the_users_of_a_group(
        &[PLAN, USERS_FIRST],
        NextDeletion::Blocked("mode Plan removes nothing, and spec.mode asks for it; set Enforce there".into())
    )]
    #[case::plan(
        &[PLAN],
        NextDeletion::Blocked("mode Plan removes nothing, and spec.mode asks for it; set Enforce there".into())
    )]
    #[case::users_of_a_group_first(
        &[USERS_FIRST, |facts| facts.has_permit = None],
        NextDeletion::Wait(Wait::Users(2, "ada".into()))
    )]
    #[case::permit_is_asked(&[(|facts| facts.has_permit = None) as Change], NextDeletion::Ask(Question::Permit))]
    #[case::no_permit(&[(|facts| facts.has_permit = Some(false)) as Change], NextDeletion::Wait(Wait::Permit))]
    #[case::budget_before_the_vendor(&[NOT_ADMITTED, NOT_LOOKED], NextDeletion::Ask(Question::Budget))]
    #[case::budget_exceeded(&[HELD, NOT_LOOKED], NextDeletion::Held("full".into(), at(200)))]
    #[case::an_unlisted_account_is_looked_for_first(
        &[UNLISTED, NOT_ADMITTED, NOT_LOOKED],
        NextDeletion::Ask(Question::Account)
    )]
    #[case::a_gone_account_needs_no_budget(
        &[UNLISTED, NOT_ADMITTED, GONE],
        NextDeletion::Release(Release::AlreadyGone)
    )]
    #[case::an_unlisted_account_that_is_there_needs_budget(
        &[UNLISTED, NOT_ADMITTED],
        NextDeletion::Ask(Question::Budget)
    )]
    #[case::an_unlisted_account_that_is_there_is_held(&[UNLISTED, HELD], NextDeletion::Held("full".into(), at(200)))]
    #[case::an_edited_credential_ends_the_question_for_budget(
        &[NOT_ADMITTED, NOT_LOOKED, EDITED],
        NextDeletion::Wait(Wait::Edit)
    )]
    #[case::an_account_that_was_disabled_by_hand_needs_budget(
        &[DISABLE, DISABLED, NOT_ADMITTED],
        NextDeletion::Ask(Question::Budget)
    )]
    #[case::look(&[NOT_LOOKED], NextDeletion::Ask(Question::Account))]
    #[case::gone(&[GONE], NextDeletion::Release(Release::AlreadyGone))]
    #[case::gone_needs_no_confirmation(&[GONE, NOT_CONFIRMED], NextDeletion::Release(Release::AlreadyGone))]
    #[case::gone_for_a_disable(&[GONE, DISABLE], NextDeletion::Release(Release::AlreadyGone))]
    #[case::protected_is_not_disabled_either(&[PROTECTED, DISABLE], NextDeletion::Blocked("5 is protected".into()))]
    #[case::protected_needs_no_confirmation(&[PROTECTED, NOT_CONFIRMED], NextDeletion::Blocked("5 is protected".into()))]
    #[case::given_to_another_person(
        &[(|facts| facts.account = Some(AccountState::Untouchable("5 is eve".into()))) as Change],
        NextDeletion::Blocked("5 is eve".into())
    )]
    #[case::a_group_that_is_not_empty(
        &[(|facts| facts.account = Some(AccountState::InUse("3 users".into()))) as Change],
        NextDeletion::Blocked("the group still holds 3 users; move them to another group".into())
    )]
    #[case::confirmation(&[NOT_CONFIRMED], NextDeletion::Ask(Question::Confirmation))]
    #[case::confirmation_of_a_disable(&[NOT_CONFIRMED, DISABLE, DISABLED], NextDeletion::Ask(Question::Confirmation))]
    #[case::edited_meanwhile(&[EDITED], NextDeletion::Wait(Wait::Edit))]
    // The confirmation reads policy and successor once more.
    #[case::a_successor_at_the_last_moment(&[SUCCESSOR], NextDeletion::HandOver)]
    #[case::orphan_at_the_last_moment(&[ORPHAN], NextDeletion::Release(Release::Orphan { unexpected: false }))]
    #[case::disable_at_the_last_moment(&[DISABLE, NOT_CONFIRMED], NextDeletion::Ask(Question::Confirmation))]
    #[case::delete(&[], NextDeletion::Delete)]
    #[case::disable(&[DISABLE], NextDeletion::Disable)]
    #[case::disabled_already(
        &[DISABLE, DISABLED],
        NextDeletion::Release(Release::AlreadyDisabled)
    )]
    #[case::a_disabled_account_is_deleted(&[DISABLED], NextDeletion::Delete)]
    fn what_happens_next(#[case] changes: &[Change], #[case] expected: NextDeletion) {
        assert_eq!(next(changes), expected);
    }
}
