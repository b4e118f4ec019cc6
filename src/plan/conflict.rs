//! Whose account is it, when the vendor answers a create with "it exists"? Pure: the controller searches when that is asked for, and
//! carries the answer out.

use super::binding::{Candidate, Search};
use super::key::same_key;
use crate::api::status::Identity;

/// The facts about a create that the vendor refused because the account exists.
#[derive(Clone, Debug)]
pub struct ConflictFacts<'a> {
    /// What status held of the account before this create was announced.
    pub before: &'a Identity,
    /// The natural key of the create.
    pub key: &'a str,
    /// Whether an earlier create with this key was pending.
    pub is_pending: bool,
    /// How far the vendor shows accounts.
    pub search: Search,
    /// The id that the account has in any case, where the vendor shows no accounts and ids follow from keys.
    pub id_of_key: Option<String>,
    /// The accounts that carry the key; `None`: they were not searched for yet.
    pub found: Option<Vec<Candidate>>,
}

/// Whose account it is.
#[derive(Clone, Debug, PartialEq)]
pub enum Conflict {
    /// A search has to tell.
    Search,
    /// The account that the object's own pending create made.
    Claim(super::model::Account),
    /// The account with this id, made by the object's own pending create, which the vendor does not show.
    ClaimId(String),
    /// The account that the object's own pending create made; its id was in the lost answer, and no search shows it.
    ClaimWithoutId,
    /// The object's missing account, which the vendor does not show.
    NotVisible,
    /// A foreign account, so a pending create made nothing.
    Foreign,
    /// An account that no search shows. With `settles_create`, the vendor had reported it before, so a pending create made nothing.
    NotShown {
        /// Whether a pending create is settled by that.
        settles_create: bool,
    },
    /// It cannot be decided yet.
    Undecided,
}

/// Whose account it is, by the facts.
#[must_use]
pub fn judge_conflict(facts: &ConflictFacts<'_>) -> Conflict {
    if facts.is_pending { after_pending_create(facts) } else { first_answer(facts) }
}

/// A conflict as the first answer to the first call is foreign, unless the create was to replace the object's missing account.
fn first_answer(facts: &ConflictFacts<'_>) -> Conflict {
    let is_its_key = facts.before.key.as_deref().is_none_or(|key| same_key(key, facts.key));
    if facts.before.missing.is_some() && is_its_key {
        return Conflict::NotVisible;
    }
    Conflict::NotShown { settles_create: false }
}

/// A conflict that answers a repeated create: the account is the object's if a search shows so, or no search is possible and the
/// vendor had not reported it before.
fn after_pending_create(facts: &ConflictFacts<'_>) -> Conflict {
    let was_reported = facts.before.refused.as_deref().is_some_and(|key| same_key(key, facts.key));
    if facts.search != Search::Full {
        return match &facts.id_of_key {
            _ if was_reported => Conflict::NotShown { settles_create: true },
            Some(id) => Conflict::ClaimId(id.clone()),
            None => Conflict::ClaimWithoutId,
        };
    }
    let Some(found) = &facts.found else { return Conflict::Search };
    match found.as_slice() {
        [one] if one.is_made_by_us => Conflict::Claim(one.account.clone()),
        [_] => Conflict::Foreign,
        [] if facts.before.missing.is_some() => Conflict::NotVisible,
        [] if was_reported => Conflict::NotShown { settles_create: true },
        _ => Conflict::Undecided,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::plan::Account;

    fn candidate(is_made_by_us: bool) -> Candidate {
        Candidate {
            account: Account { id: "5".into(), ..Account::default() },
            is_made_by_us,
            holder: None,
            carries_key: true,
            name: None,
        }
    }

    fn missing(key: &str) -> Identity {
        Identity { missing: Some("17".into()), key: Some(key.into()), ..Identity::default() }
    }

    fn reported() -> Identity {
        Identity { refused: Some("Ada@example.com".into()), ..Identity::default() }
    }

    fn judge(
        before: &Identity,
        pending: bool,
        search: Search,
        id: Option<&str>,
        found: Option<Vec<Candidate>>,
    ) -> Conflict {
        let id_of_key = id.map(str::to_owned);
        judge_conflict(&ConflictFacts { before, key: "ada@example.com", is_pending: pending, search, id_of_key, found })
    }

    // behaviour.md, "Whose is it?" and "Gone".
    #[rstest]
    #[case::the_first_answer_is_foreign(Identity::default(), Conflict::NotShown { settles_create: false })]
    #[case::a_missing_account_is_back(missing("ada@example.com"), Conflict::NotVisible)]
    #[case::a_missing_account_of_another_name(missing("old@example.com"), Conflict::NotShown { settles_create: false })]
    fn a_conflict_without_a_pending_create(#[case] before: Identity, #[case] expected: Conflict) {
        assert_eq!(judge(&before, false, Search::Full, None, None), expected);
    }

    #[rstest]
    #[case::not_searched(Identity::default(), None, Conflict::Search)]
    #[case::ours(Identity::default(), Some(vec![candidate(true)]), Conflict::Claim(candidate(true).account))]
    #[case::older_than_our_create(Identity::default(), Some(vec![candidate(false)]), Conflict::Foreign)]
    #[case::not_shown(Identity::default(), Some(vec![]), Conflict::Undecided)]
    #[case::several(Identity::default(), Some(vec![candidate(true), candidate(false)]), Conflict::Undecided)]
    #[case::reported_before(reported(), Some(vec![]), Conflict::NotShown { settles_create: true })]
    #[case::missing(missing("ada@example.com"), Some(vec![]), Conflict::NotVisible)]
    fn a_conflict_after_a_pending_create(
        #[case] before: Identity,
        #[case] found: Option<Vec<Candidate>>,
        #[case] expected: Conflict,
    ) {
        assert_eq!(judge(&before, true, Search::Full, None, found), expected);
    }

    #[rstest]
    #[case::ids_follow_from_keys(Identity::default(), Search::None, Some("US-1"), Conflict::ClaimId("US-1".into()))]
    #[case::the_id_is_lost(Identity::default(), Search::ById, None, Conflict::ClaimWithoutId)]
    #[case::reported_before(reported(), Search::None, Some("US-1"), Conflict::NotShown { settles_create: true })]
    fn a_conflict_where_no_search_is_possible(
        #[case] before: Identity,
        #[case] search: Search,
        #[case] id: Option<&str>,
        #[case] expected: Conflict,
    ) {
        assert_eq!(judge(&before, true, search, id, None), expected);
    }
}
