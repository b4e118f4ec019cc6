//! The account of a credential, by which bound objects know whether it still leads to the same accounts; pure text.

/// What earlier builds wrote in place of a login that they did not know.
const UNKNOWN: &str = "token";

/// Vendor and place, and the login, if the vendor names it. The Secret's own spelling of the login is not part of it, because a
/// Secret may be rotated from a token to username and password of the same login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialAccount {
    place: String,
    login: Option<String>,
    spelled: Option<String>,
}

impl CredentialAccount {
    /// The account at `place` (vendor and place there) with the `login` that the vendor names and the one that the Secret has.
    #[must_use]
    pub fn new(place: String, login: Option<String>, spelled: Option<String>) -> Self {
        Self { place, login, spelled }
    }

    /// The text for status.
    #[must_use]
    pub fn text(&self) -> String {
        self.login.as_ref().map_or_else(|| self.place.clone(), |login| format!("{} {login}", self.place))
    }

    /// Our own login, by the vendor or else by the Secret.
    #[must_use]
    pub fn login(&self) -> Option<&str> {
        self.names().next()
    }

    /// All names of our own login: by the vendor and by the Secret.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.login.iter().chain(&self.spelled).map(String::as_str)
    }

    /// Whether the text `stored` in a status names this account. Where one of the two has no login, vendor and place decide;
    /// where both have one, it must be the same. Earlier builds stored the Secret's spelling, or `token`.
    #[must_use]
    pub fn is(&self, stored: &str) -> bool {
        match (self.stored_login(stored), &self.login) {
            (None, _) => false,
            (Some(_), None) => true,
            // A vendor with sites names every login, so a text that ends with the site is that of a login with the same name.
            (Some(""), Some(_)) => !self.has_site(),
            (Some(before), Some(login)) => before == login || self.is_spelling(before),
        }
    }

    /// Whether the text `stored` in a status names this account by a login that the vendor named, now and then. What a Secret says of
    /// itself is no proof, and neither is the lack of a login.
    #[must_use]
    pub fn is_proved(&self, stored: &str) -> bool {
        self.login.is_some() && self.stored_login(stored) == self.login.as_deref()
    }

    /// `stored` as this build writes it, if it names this account and the vendor did not name a login then that it hides now.
    #[must_use]
    pub fn renewed(&self, stored: &str) -> Option<String> {
        let before = self.stored_login(stored)?;
        let is_kept = self.login.is_none() && before != UNKNOWN;
        Some(self.text()).filter(|text| text != stored && !is_kept && self.is(stored))
    }

    /// The login in `stored`, empty if it has none; `None` if `stored` is of another place.
    fn stored_login<'s>(&self, stored: &'s str) -> Option<&'s str> {
        let rest = stored.strip_prefix(&self.place)?;
        if rest.is_empty() { Some(rest) } else { rest.strip_prefix(' ') }
    }

    fn is_spelling(&self, login: &str) -> bool {
        login == UNKNOWN || self.spelled.as_deref() == Some(login)
    }

    /// Whether the place names a site after vendor and host, as Pegasus' does.
    fn has_site(&self) -> bool {
        self.place.split(' ').count() > 2
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn account(place: &str, login: Option<&str>, spelled: Option<&str>) -> CredentialAccount {
        CredentialAccount::new(place.into(), login.map(str::to_owned), spelled.map(str::to_owned))
    }

    #[rstest]
    #[case::same("amani eu u-1", Some("u-1"), None, true, None)]
    #[case::other_login("amani eu u-2", Some("u-1"), None, false, None)]
    #[case::other_place("amani tr u-1", Some("u-1"), None, false, None)]
    #[case::longer_place("amani eu/stage u-1", Some("u-1"), None, false, None)]
    #[case::spelled_before("amani eu usher", Some("u-1"), Some("usher"), true, Some("amani eu u-1"))]
    #[case::other_spelling("amani eu eve", Some("u-1"), Some("usher"), false, None)]
    #[case::unknown_before("amani eu token", Some("u-1"), None, true, Some("amani eu u-1"))]
    #[case::unnamed_before("amani eu", Some("u-1"), None, true, Some("amani eu u-1"))]
    #[case::spelled_and_unnamed("amani eu usher", None, Some("usher"), true, None)]
    #[case::unknown_and_unnamed("amani eu token", None, None, true, Some("amani eu"))]
    #[case::named_before_and_unnamed_now("amani eu u-1", None, Some("usher"), true, None)]
    #[case::unnamed("amani eu", None, Some("usher"), true, None)]
    fn an_account_is_known_by_what_the_vendor_says(
        #[case] stored: &str,
        #[case] login: Option<&str>,
        #[case] spelled: Option<&str>,
        #[case] same: bool,
        #[case] renewed: Option<&str>,
    ) {
        let account = account("amani eu", login, spelled);
        assert_eq!((account.is(stored), account.renewed(stored).as_deref()), (same, renewed));
    }

    #[rstest]
    #[case::same("amani eu u-1", Some("u-1"), None, true)]
    #[case::other_login("amani eu u-2", Some("u-1"), None, false)]
    #[case::other_place("amani tr u-1", Some("u-1"), None, false)]
    #[case::spelled("amani eu usher", Some("u-1"), Some("usher"), false)]
    #[case::unnamed("amani eu", None, None, false)]
    #[case::unnamed_now("amani eu u-1", None, Some("u-1"), false)]
    #[case::unnamed_then("amani eu", Some("u-1"), None, false)]
    #[case::unknown("amani eu token", Some("u-1"), None, false)]
    fn a_login_is_proved_by_the_vendor_alone(
        #[case] stored: &str,
        #[case] login: Option<&str>,
        #[case] spelled: Option<&str>,
        #[case] proved: bool,
    ) {
        assert_eq!(account("amani eu", login, spelled).is_proved(stored), proved);
    }

    #[test]
    fn a_login_is_not_mistaken_for_a_site() {
        assert!(!account("pegasus host north", Some("usher"), None).is("pegasus host north"));
    }
}
