//! A pending create: its call was sent, its outcome is unknown. Which account it can have made, and until when it may still take
//! effect. Pure: the caller passes the times.

use jiff::{SignedDuration, Timestamp};

use super::key::same_key;
use super::model::Account;
use crate::api::status::{Creating, Identity};

/// How far a vendor's database clock may lag behind the clock of its front end, which sends the Date header.
const SKEW: SignedDuration = SignedDuration::from_secs(5);

/// Whether the pending create can have made `account`.
///
/// `vendor_time` is the vendor's time of the first call as its clock is known now. The time that was recorded with the create
/// wins over it, because another process may have had another clock. `login` is the name of usher's own login, if it is
/// known. A creator that the vendor does not name, or names in another form than `login`, is no evidence.
#[must_use]
pub fn can_have_made(
    creating: &Creating,
    account: &Account,
    login: Option<&str>,
    vendor_time: Option<Timestamp>,
) -> bool {
    let first = creating.first_sent();
    let earliest = creating.vendor_time.or(vendor_time).unwrap_or(first).checked_sub(SKEW).unwrap_or(Timestamp::MIN);
    let is_young = account.created.is_none_or(|created| created >= earliest);
    let is_other = |login: &str, creator: &str| form(creator) == form(login) && !creator.eq_ignore_ascii_case(login);
    let by_other = login.zip(account.creator.as_deref()).is_some_and(|(login, creator)| is_other(login, creator));
    is_young && !by_other
}

/// Whether the vendor reported, before the create was pending, that a foreign account has this key. In that case only a creation
/// time distinguishes `account` from the foreign one.
#[must_use]
pub fn was_there_before(identity: &Identity, account: &Account) -> bool {
    let key = identity.creating.as_ref().map(|creating| &creating.key);
    account.created.is_none() && identity.refused.as_ref().zip(key).is_some_and(|(refused, key)| same_key(refused, key))
}

/// Until when the create may still take effect, if it may at `now`: `longest` after `left`, the latest time at which its call
/// can have been sent.
#[must_use]
pub fn pending_until(left: Timestamp, longest: SignedDuration, now: Timestamp) -> Option<Timestamp> {
    Some(left.checked_add(longest).unwrap_or(Timestamp::MAX)).filter(|until| *until > now)
}

/// Whether a name is an e-mail address, and whether it is an id (OZmap's ids have 24 hexadecimal digits).
fn form(name: &str) -> (bool, bool) {
    (name.contains('@'), name.len() == 24 && name.bytes().all(|letter| letter.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn creating(second: i64) -> Creating {
        Creating {
            at: at(second),
            since: None,
            vendor_time: None,
            key: "ada".into(),
            account: "here".into(),
            password_version: Some("1".into()),
        }
    }

    fn made(second: i64, creator: Option<&str>) -> Account {
        Account { created: Some(at(second)), creator: creator.map(str::to_owned), ..Account::default() }
    }

    #[test]
    fn an_account_that_existed_before_the_create_is_not_ours() {
        assert!(can_have_made(&creating(100), &made(95, None), Some("usher"), None), "clocks differ");
        assert!(!can_have_made(&creating(100), &made(94, None), Some("usher"), None));
        assert!(
            can_have_made(&creating(100), &Account::default(), Some("usher"), None),
            "the vendor states no creation time"
        );
    }

    #[test]
    fn before_means_by_the_vendors_clock() {
        let ninety_behind = Some(at(10));
        assert!(can_have_made(&creating(100), &made(5, None), Some("usher"), ninety_behind));
        assert!(!can_have_made(&creating(100), &made(4, None), Some("usher"), ninety_behind));
    }

    #[test]
    fn the_recorded_vendor_time_outlives_the_clock_that_recorded_it() {
        let fast = Creating { vendor_time: Some(at(40)), ..creating(100) };
        assert!(can_have_made(&fast, &made(35, None), Some("usher"), None), "our clock was a minute ahead");
        assert!(!can_have_made(&fast, &made(34, None), Some("usher"), None));
    }

    #[test]
    fn an_account_that_another_login_made_is_not_ours() {
        let by = |creator, login| can_have_made(&creating(100), &made(100, Some(creator)), login, None);
        assert!(by("Usher@example.com", Some("usher@example.com")));
        assert!(!by("eve@example.com", Some("usher@example.com")));
        assert!(by("0123456789abcdef01234567", Some("usher@example.com")), "an id and a name cannot be compared");
        assert!(by("eve", None), "the login's name is not known");
    }

    #[test]
    fn an_account_that_the_vendor_reported_before_is_ours_only_by_its_creation_time() {
        let refused = |key: &str| Identity {
            refused: Some(key.into()),
            creating: Some(Creating { key: "ada@example.com".into(), ..creating(100) }),
            ..Identity::default()
        };
        assert!(was_there_before(&refused("ADA@example.com"), &Account::default()));
        assert!(!was_there_before(&refused("ada@example.com"), &made(100, None)));
        assert!(!was_there_before(&refused("eve@example.com"), &Account::default()));
    }

    #[test]
    fn a_repeated_create_still_owns_the_account_of_its_first_call() {
        let again = creating(10).again(at(60), None).again(at(90), None);
        assert_eq!((again.at, again.since), (at(90), Some(at(10))));
    }

    #[test]
    fn a_create_is_pending_for_its_longest_time_after_it_was_sent() {
        let longest = SignedDuration::from_secs(40);
        assert_eq!(pending_until(at(10), longest, at(49)), Some(at(50)));
        assert_eq!(pending_until(at(10), longest, at(50)), None);
    }
}
