//! Whose account is it, and may one be made? The decision about an object that is not bound to an account. Pure: the controller gathers
//! the facts, answers the questions that are open, and carries the answer out; `usher plan` prints the same answer.

use jiff::Timestamp;

use super::key::same_key;
use super::model::Account;
use crate::api::status::Identity;
use crate::api::user::AdoptionPolicy;

/// The facts about an object without an account. `None` in an answer means that the question was not asked yet.
#[derive(Clone, Debug)]
pub struct BindingFacts<'a> {
    /// What status holds of its account.
    pub identity: &'a Identity,
    /// The natural key that the manifest asks for.
    pub key: &'a str,
    /// The existing account that the manifest asks for.
    pub external_id: Option<&'a str>,
    /// Whether an account that exists may be taken over, where the manifest gives no externalId.
    pub adoption: AdoptionPolicy,
    /// How far the vendor shows accounts.
    pub search: Search,
    /// Whether the credential is being deleted and starts no new account.
    pub is_credential_deleting: bool,
    /// Until when an earlier create may still take effect.
    pub pending_until: Option<Timestamp>,
    /// The message, if another object has, makes or is the first to ask for this account.
    pub competitor: Option<String>,
    /// The message, if objects of this namespace may not take existing accounts; for externalId.
    pub forbidden_by_id: Option<String>,
    /// Whether no other object makes an account with this key.
    pub is_alone: Option<bool>,
    /// Whether the limiter admits calls now.
    pub has_permit: Option<bool>,
    /// The account with the id that the manifest gives.
    pub by_id: Option<Option<Candidate>>,
    /// The accounts that carry the key of a pending create, where the manifest asks for another key by now.
    pub under_pending_key: Option<Vec<Candidate>>,
    /// Whether the missing account, known by another key than the manifest's, is there again.
    pub has_reappeared: Option<bool>,
    /// The accounts that carry the key of the manifest.
    pub found: Option<Vec<Candidate>>,
}

/// How far accounts can be searched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Search {
    /// By key and by id.
    Full,
    /// By id alone.
    ById,
    /// Not at all.
    None,
}

/// An account that may be the object's.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// The first name that the account shows.
    pub name: Option<String>,
    /// The account.
    pub account: Account,
    /// Whether the object's pending create made it, or it is the object's missing account; and no other object is bound to it.
    pub is_made_by_us: bool,
    /// The message, if another object is bound to it.
    pub holder: Option<String>,
    /// Whether it carries one of the natural keys that the manifest asks for.
    pub carries_key: bool,
}

/// What happens next.
#[derive(Clone, Debug, PartialEq)]
pub enum NextBinding {
    /// A question has to be answered first.
    Ask(BindingQuestion),
    /// The account is made.
    Create,
    /// The account that the object's own pending create made is bound.
    Claim(Account),
    /// The missing account is bound again.
    Rebind,
    /// An existing account is taken over.
    Adopt(Account),
    /// The account that the manifest names by id is bound.
    Bind(Account),
    /// The outcome of an earlier create is unknown until this time.
    CreatePending(Timestamp),
    /// Another object makes an account with this key.
    KeyLocked,
    /// The limiter has no room.
    AwaitsPermit,
    /// The credential is being deleted.
    CredentialDeleting,
    /// No account is bound or made, for this reason.
    Refused(BindingRefusal),
}

/// Why no account is bound or made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BindingRefusal {
    /// Another object has the account or asked for it first; the message.
    Duplicate(String),
    /// The account exists, and the manifest does not allow to take it over. With `settles_create`: it is not the one that the pending
    /// create made, so that create made nothing.
    AlreadyExists {
        /// Whether a pending create is settled by that.
        settles_create: bool,
    },
    /// So many accounts carry the key.
    Ambiguous(usize),
    /// So many accounts may be the one that the pending create made.
    AmbiguousCreate(usize),
    /// The vendor has no account with the id that the manifest gives.
    NoSuchId,
    /// The account with this id is another one than the manifest describes.
    OtherAccount(String),
    /// Objects of this namespace may not take existing accounts; the message.
    NotAllowed(String),
    /// A create under this key is pending, no search can settle it, and the manifest asks for another key by now.
    PendingUnderOtherKey(String),
}

/// A question whose answer costs a lock or a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BindingQuestion {
    /// Does no other object make an account with this key?
    Lock,
    /// Does the limiter admit calls?
    Permit,
    /// Which account has the id that the manifest gives?
    ById,
    /// Which accounts carry the key of the pending create?
    UnderPendingKey,
    /// Is the missing account there again?
    Reappeared,
    /// Which accounts carry the key of the manifest?
    Search,
}

/// What happens next to an object without an account.
#[must_use]
pub fn next_binding(facts: &BindingFacts<'_>) -> NextBinding {
    use NextBinding as N;
    if facts.is_credential_deleting {
        return N::CredentialDeleting;
    }
    if let Some(until) = facts.pending_until {
        return N::CreatePending(until);
    }
    if let Some(message) = &facts.competitor {
        return N::Refused(BindingRefusal::Duplicate(message.clone()));
    }
    match (facts.is_alone, facts.has_permit) {
        (None, _) => N::Ask(BindingQuestion::Lock),
        (Some(false), _) => N::KeyLocked,
        (Some(true), None) => N::Ask(BindingQuestion::Permit),
        (Some(true), Some(false)) => N::AwaitsPermit,
        (Some(true), Some(true)) => with_permit(facts),
    }
}

fn with_permit(facts: &BindingFacts<'_>) -> NextBinding {
    match (facts.search, facts.external_id) {
        (Search::Full | Search::ById, Some(_)) => bind_by_id(facts),
        (Search::Full, None) => by_pending_key(facts),
        (Search::ById, None) | (Search::None, _) => without_search(facts),
    }
}

/// An account that cannot be searched for. A pending create is settled by repeating that very create, because under another key its
/// account would be left behind.
fn without_search(facts: &BindingFacts<'_>) -> NextBinding {
    match facts.identity.creating.as_ref().filter(|creating| creating.key != facts.key) {
        Some(creating) => NextBinding::Refused(BindingRefusal::PendingUnderOtherKey(creating.key.clone())),
        None => NextBinding::Create,
    }
}

/// The account that the manifest names by id: it has to be there, free, and the one that the manifest describes.
fn bind_by_id(facts: &BindingFacts<'_>) -> NextBinding {
    use NextBinding as N;
    if let Some(message) = &facts.forbidden_by_id {
        return N::Refused(BindingRefusal::NotAllowed(message.clone()));
    }
    match &facts.by_id {
        None => N::Ask(BindingQuestion::ById),
        Some(None) => N::Refused(BindingRefusal::NoSuchId),
        Some(Some(one)) if !one.carries_key => {
            let name = one.name.clone().unwrap_or_else(|| "another account".to_owned());
            N::Refused(BindingRefusal::OtherAccount(name))
        }
        Some(Some(one)) => one.holder.as_ref().map_or_else(
            || N::Bind(one.account.clone()),
            |message| N::Refused(BindingRefusal::Duplicate(message.clone())),
        ),
    }
}

/// The account of a pending create whose key the manifest has given up since.
fn by_pending_key(facts: &BindingFacts<'_>) -> NextBinding {
    use NextBinding as N;
    if !facts.identity.creating.as_ref().is_some_and(|creating| creating.key != facts.key) {
        return reappeared(facts);
    }
    let Some(found) = &facts.under_pending_key else { return N::Ask(BindingQuestion::UnderPendingKey) };
    let made: Vec<&Candidate> = found.iter().filter(|one| one.is_made_by_us).collect();
    match made.as_slice() {
        [] => reappeared(facts),
        [one] => N::Claim(one.account.clone()),
        several => N::Refused(BindingRefusal::AmbiguousCreate(several.len())),
    }
}

/// The missing account, known by another key than the manifest's, may be there again.
fn reappeared(facts: &BindingFacts<'_>) -> NextBinding {
    let other_key = facts.identity.key.as_ref().is_some_and(|key| !same_key(key, facts.key));
    match (other_key && facts.identity.known_id().is_some(), facts.has_reappeared) {
        (true, None) => NextBinding::Ask(BindingQuestion::Reappeared),
        (true, Some(true)) => NextBinding::Rebind,
        (true, Some(false)) | (false, _) => by_key(facts),
    }
}

/// The accounts that carry the key of the manifest.
fn by_key(facts: &BindingFacts<'_>) -> NextBinding {
    use NextBinding as N;
    let Some(found) = &facts.found else { return N::Ask(BindingQuestion::Search) };
    let missing = facts.identity.missing.as_ref().filter(|_| facts.identity.is_missing());
    if missing.is_some_and(|id| found.iter().any(|one| one.account.id == *id)) {
        return N::Rebind;
    }
    let is_pending = facts.identity.creating.is_some();
    let claims = |one: &Candidate| {
        one.is_made_by_us && facts.identity.creating.as_ref().is_some_and(|creating| creating.key == facts.key)
    };
    match found.as_slice() {
        [] => N::Create,
        [one] if claims(one) => N::Claim(one.account.clone()),
        [one] => match (&one.holder, facts.adoption) {
            (Some(message), _) => N::Refused(BindingRefusal::Duplicate(message.clone())),
            (None, AdoptionPolicy::Never) => N::Refused(BindingRefusal::AlreadyExists { settles_create: is_pending }),
            (None, AdoptionPolicy::Adopt) => N::Adopt(one.account.clone()),
        },
        several => N::Refused(BindingRefusal::Ambiguous(several.len())),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::api::status::Creating;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn account(id: &str) -> Account {
        Account { id: id.into(), fields: [("email".to_owned(), "eve@example.com".into())].into(), ..Account::default() }
    }

    fn candidate(id: &str) -> Candidate {
        Candidate {
            name: Some("eve@example.com".into()),
            account: account(id),
            is_made_by_us: false,
            holder: None,
            carries_key: true,
        }
    }

    fn ours(id: &str) -> Candidate {
        Candidate { is_made_by_us: true, ..candidate(id) }
    }

    fn held(id: &str) -> Candidate {
        Candidate { holder: Some("bob".into()), ..candidate(id) }
    }

    fn pending(key: &str) -> Identity {
        let creating = Creating {
            at: at(10),
            since: None,
            vendor_time: None,
            key: key.into(),
            account: "here".into(),
            password_version: None,
        };
        Identity { creating: Some(creating), ..Identity::default() }
    }

    fn missing(key: &str) -> Identity {
        Identity {
            missing: Some("17".into()),
            account: Some("here".into()),
            key: Some(key.into()),
            ..Identity::default()
        }
    }

    /// An object that nobody competes with, with a permit and no answer to a search yet.
    fn facts(identity: &Identity) -> BindingFacts<'_> {
        BindingFacts {
            identity,
            key: "ada@example.com",
            external_id: None,
            adoption: AdoptionPolicy::Never,
            search: Search::Full,
            is_credential_deleting: false,
            pending_until: None,
            competitor: None,
            forbidden_by_id: None,
            is_alone: Some(true),
            has_permit: Some(true),
            by_id: None,
            under_pending_key: None,
            has_reappeared: None,
            found: None,
        }
    }

    type Change = fn(&mut BindingFacts<'_>);

    fn next(identity: &Identity, changes: &[Change]) -> NextBinding {
        let mut facts = facts(identity);
        changes.iter().for_each(|change| change(&mut facts));
        next_binding(&facts)
    }

    const ADOPT: Change = |facts| facts.adoption = AdoptionPolicy::Adopt;
    const ABSENT: Change = |facts| facts.found = Some(vec![]);
    const FOREIGN: Change = |facts| facts.found = Some(vec![candidate("5")]);
    const OURS: Change = |facts| facts.found = Some(vec![ours("5")]);
    const BY_ID: Change = |facts| facts.external_id = Some("5");
    const COMPETITOR: Change = |facts| facts.competitor = Some("eve asked first".into());

    fn refused(refusal: BindingRefusal) -> NextBinding {
        NextBinding::Refused(refusal)
    }

    // behaviour.md, "Finding, making, binding".
    #[rstest]
    #[case::a_credential_that_is_deleted_starts_nothing_new(
        &[(|facts| facts.is_credential_deleting = true) as Change, COMPETITOR],
        NextBinding::CredentialDeleting
    )]
    #[case::a_credential_that_is_deleted_settles_no_pending_create(
        &[(|facts| facts.is_credential_deleting = true) as Change, |facts| facts.pending_until = Some(at(50))],
        NextBinding::CredentialDeleting
    )]
    #[case::a_pending_create_comes_first(
        &[(|facts| facts.pending_until = Some(at(50))) as Change, COMPETITOR],
        NextBinding::CreatePending(at(50))
    )]
    #[case::two_objects_one_account(&[COMPETITOR], refused(BindingRefusal::Duplicate("eve asked first".into())))]
    #[case::lock(&[(|facts| facts.is_alone = None) as Change], NextBinding::Ask(BindingQuestion::Lock))]
    #[case::locked(&[(|facts| facts.is_alone = Some(false)) as Change], NextBinding::KeyLocked)]
    #[case::permit(&[(|facts| facts.has_permit = None) as Change], NextBinding::Ask(BindingQuestion::Permit))]
    #[case::no_permit(&[(|facts| facts.has_permit = Some(false)) as Change], NextBinding::AwaitsPermit)]
    #[case::find_before_create(&[], NextBinding::Ask(BindingQuestion::Search))]
    #[case::absent(&[ABSENT], NextBinding::Create)]
    #[case::nothing_is_taken_over_silently(
        &[FOREIGN],
        refused(BindingRefusal::AlreadyExists { settles_create: false })
    )]
    #[case::adopt(&[FOREIGN, ADOPT], NextBinding::Adopt(account("5")))]
    #[case::bound_to_another_object(
        &[ADOPT, |facts| facts.found = Some(vec![held("5")])],
        refused(BindingRefusal::Duplicate("bob".into()))
    )]
    #[case::several_match(
        &[ADOPT, |facts| facts.found = Some(vec![candidate("5"), candidate("6")])],
        refused(BindingRefusal::Ambiguous(2))
    )]
    #[case::several_match_and_none_may_be_adopted(
        &[(|facts| facts.found = Some(vec![candidate("5"), candidate("6")])) as Change],
        refused(BindingRefusal::Ambiguous(2))
    )]
    #[case::bound_to_another_object_and_not_to_be_adopted(
        &[(|facts| facts.found = Some(vec![held("5")])) as Change],
        refused(BindingRefusal::Duplicate("bob".into()))
    )]
    #[case::without_a_pending_create_nothing_is_claimed(
        &[OURS],
        refused(BindingRefusal::AlreadyExists { settles_create: false })
    )]
    #[case::by_id_may_be_forbidden(
        &[BY_ID, |facts| facts.forbidden_by_id = Some("not here".into())],
        refused(BindingRefusal::NotAllowed("not here".into()))
    )]
    #[case::by_id(&[BY_ID], NextBinding::Ask(BindingQuestion::ById))]
    #[case::by_id_needs_no_adoption_policy_and_no_search(
        &[BY_ID, ABSENT, |facts| facts.by_id = Some(Some(candidate("5")))],
        NextBinding::Bind(account("5"))
    )]
    #[case::by_id_is_refused_before_a_call(
        &[BY_ID, |facts| facts.forbidden_by_id = Some("not here".into()), |facts| facts.by_id = Some(Some(candidate("5")))],
        refused(BindingRefusal::NotAllowed("not here".into()))
    )]
    #[case::by_id_another_person_who_is_bound(
        &[BY_ID, |facts| facts.by_id = Some(Some(Candidate { carries_key: false, ..held("5") }))],
        refused(BindingRefusal::OtherAccount("eve@example.com".into()))
    )]
    #[case::by_id_absent(&[BY_ID, |facts| facts.by_id = Some(None)], refused(BindingRefusal::NoSuchId))]
    #[case::by_id_another_person(
        &[BY_ID, |facts| facts.by_id = Some(Some(Candidate { carries_key: false, ..candidate("5") }))],
        refused(BindingRefusal::OtherAccount("eve@example.com".into()))
    )]
    #[case::by_id_bound(
        &[BY_ID, |facts| facts.by_id = Some(Some(held("5")))],
        refused(BindingRefusal::Duplicate("bob".into()))
    )]
    #[case::by_id_found(
        &[BY_ID, |facts| facts.by_id = Some(Some(candidate("5")))],
        NextBinding::Bind(account("5"))
    )]
    #[case::no_search(&[(|facts| facts.search = Search::None) as Change], NextBinding::Create)]
    #[case::no_listing(&[(|facts| facts.search = Search::ById) as Change], NextBinding::Create)]
    #[case::no_listing_but_an_id(
        &[BY_ID, |facts| facts.search = Search::ById],
        NextBinding::Ask(BindingQuestion::ById)
    )]
    fn an_object_without_a_past(#[case] changes: &[Change], #[case] expected: NextBinding) {
        assert_eq!(next(&Identity::default(), changes), expected);
    }

    // behaviour.md, "Whose is it?".
    #[rstest]
    #[case::its_create_made_nothing("ada@example.com", &[ABSENT], NextBinding::Create)]
    #[case::its_create_made_this("ada@example.com", &[OURS], NextBinding::Claim(account("5")))]
    #[case::older_than_its_create(
        "ada@example.com",
        &[FOREIGN],
        refused(BindingRefusal::AlreadyExists { settles_create: true })
    )]
    #[case::older_than_its_create_and_wanted("ada@example.com", &[FOREIGN, ADOPT], NextBinding::Adopt(account("5")))]
    #[case::one_of_several_is_not_told_apart(
        "ada@example.com",
        &[(|facts| facts.found = Some(vec![ours("5"), candidate("6")])) as Change],
        refused(BindingRefusal::Ambiguous(2))
    )]
    #[case::it_may_still_take_effect(
        "ada@example.com",
        &[OURS, |facts| facts.pending_until = Some(at(50))],
        NextBinding::CreatePending(at(50))
    )]
    #[case::it_made_this_and_adoption_is_allowed("ada@example.com", &[OURS, ADOPT], NextBinding::Claim(account("5")))]
    #[case::it_made_nothing_and_another_object_is_bound(
        "ada@example.com",
        &[(|facts| facts.found = Some(vec![held("5")])) as Change],
        refused(BindingRefusal::Duplicate("bob".into()))
    )]
    #[case::under_another_key("old@example.com", &[], NextBinding::Ask(BindingQuestion::UnderPendingKey))]
    #[case::made_under_another_key(
        "old@example.com",
        &[(|facts| facts.under_pending_key = Some(vec![candidate("4"), ours("5")])) as Change],
        NextBinding::Claim(account("5"))
    )]
    #[case::one_of_several_under_another_key(
        "old@example.com",
        &[(|facts| facts.under_pending_key = Some(vec![ours("4"), ours("5")])) as Change],
        refused(BindingRefusal::AmbiguousCreate(2))
    )]
    #[case::nothing_under_another_key(
        "old@example.com",
        &[(|facts| facts.under_pending_key = Some(vec![])) as Change],
        NextBinding::Ask(BindingQuestion::Search)
    )]
    #[case::an_account_under_the_new_key_is_foreign(
        "old@example.com",
        &[OURS, |facts| facts.under_pending_key = Some(vec![])],
        refused(BindingRefusal::AlreadyExists { settles_create: true })
    )]
    #[case::no_search_repeats_it("ada@example.com", &[(|facts| facts.search = Search::None) as Change], NextBinding::Create)]
    #[case::no_search_and_another_key(
        "old@example.com",
        &[(|facts| facts.search = Search::ById) as Change],
        refused(BindingRefusal::PendingUnderOtherKey("old@example.com".into()))
    )]
    fn an_object_with_a_pending_create(#[case] key: &str, #[case] changes: &[Change], #[case] expected: NextBinding) {
        assert_eq!(next(&pending(key), changes), expected);
    }

    // behaviour.md, "Gone": a missing account may come back, and is the object's then.
    #[rstest]
    #[case::still_missing("ada@example.com", &[ABSENT], NextBinding::Create)]
    #[case::back("ada@example.com", &[(|facts| facts.found = Some(vec![candidate("17")])) as Change], NextBinding::Rebind)]
    #[case::back_beside_another_account(
        "ada@example.com",
        &[(|facts| facts.found = Some(vec![candidate("5"), candidate("17")])) as Change],
        NextBinding::Rebind
    )]
    #[case::another_account_to_be_adopted("ada@example.com", &[FOREIGN, ADOPT], NextBinding::Adopt(account("5")))]
    #[case::without_a_listing("ada@example.com", &[(|facts| facts.search = Search::ById) as Change], NextBinding::Create)]
    #[case::another_account(
        "ada@example.com",
        &[FOREIGN],
        refused(BindingRefusal::AlreadyExists { settles_create: false })
    )]
    #[case::renamed_meanwhile("old@example.com", &[], NextBinding::Ask(BindingQuestion::Reappeared))]
    #[case::back_under_its_old_name(
        "old@example.com",
        &[(|facts| facts.has_reappeared = Some(true)) as Change],
        NextBinding::Rebind
    )]
    #[case::gone_under_its_old_name(
        "old@example.com",
        &[(|facts| facts.has_reappeared = Some(false)) as Change],
        NextBinding::Ask(BindingQuestion::Search)
    )]
    fn an_object_whose_account_is_missing(
        #[case] key: &str,
        #[case] changes: &[Change],
        #[case] expected: NextBinding,
    ) {
        assert_eq!(next(&missing(key), changes), expected);
    }
}
