//! The state of one simulated vendor. It knows nothing of HTTP.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};

use super::fake;
use super::options::Options;
use super::table::Table;

/// The whole state of a vendor.
#[derive(Debug)]
pub struct State {
    /// The options that it was started with.
    pub options: Options,
    /// The credentials it accepts, keyed as the Kubernetes Secret.
    pub secret: BTreeMap<String, String>,
    /// Users, with the fields that the vendor never shows.
    pub users: Table,
    /// Groups, in the vendor's sense of the word.
    pub groups: Table,
    /// Roles, where they are neither users nor groups.
    pub roles: Table,
    /// Projects (`OZmap`).
    pub projects: Table,
    /// Issued tokens.
    pub sessions: Sessions,
    /// When `/apps` was called (Pegasus).
    pub apps_calls: VecDeque<SystemTime>,
    /// Calls so far (Plaspy).
    pub usage: u64,
    counter: u64,
}

impl State {
    /// A vendor without content.
    pub fn new(options: Options, secret: BTreeMap<String, String>, user_keys: &'static [&'static str]) -> Self {
        Self {
            options,
            secret,
            users: Table::new(user_keys),
            groups: Table::new(&["name"]),
            roles: Table::new(&["name"]),
            projects: Table::new(&["name"]),
            sessions: Sessions::default(),
            apps_calls: VecDeque::new(),
            usage: 0,
            counter: 0,
        }
    }

    /// The present by the vendor's clock, in ISO 8601.
    pub fn now(&self) -> String {
        fake::iso(SystemTime::now() - self.options.clock_behind)
    }

    /// The next unused number.
    pub fn next(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    /// Whether these are the login's username and password, under the keys of the vendor.
    pub fn accepts(&self, (user_key, user): (&str, &Value), (key, secret): (&str, &Value)) -> bool {
        let is = |name: &str, given: &Value| self.secret.get(name).is_some_and(|known| given.as_str() == Some(known));
        is(user_key, user) && is(key, secret)
    }

    /// Whether a token is accepted: one that a login issued, or the Secret's own.
    pub fn knows_token(&self, token: &str) -> bool {
        let ready = self.secret.get("token").is_some_and(|known| known == token);
        (ready && !self.sessions.revoked.contains(token)) || self.sessions.holds(Kind::Access, token)
    }
}

/// The purpose of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// For calls.
    Access,
    /// For a new access token.
    Refresh,
}

/// Issued and revoked tokens.
#[derive(Debug, Default)]
pub struct Sessions {
    live: HashMap<String, (Kind, SystemTime)>,
    revoked: HashSet<String>,
    /// Every token ever issued.
    pub given: HashSet<String>,
}

impl Sessions {
    /// Issues a token.
    pub fn open(&mut self, kind: Kind, token: &str, life: Duration) {
        self.given.insert(token.to_owned());
        self.live.insert(token.to_owned(), (kind, SystemTime::now() + life));
    }

    /// Whether the token was issued and has not expired.
    pub fn holds(&self, kind: Kind, token: &str) -> bool {
        self.live.get(token).is_some_and(|(each, until)| *each == kind && SystemTime::now() < *until)
    }

    /// Extends the life of a token from now.
    pub fn prolong(&mut self, token: &str, life: Duration) {
        if let Some((_, until)) = self.live.get_mut(token) {
            *until = SystemTime::now() + life;
        }
    }

    /// Revokes every token, also the Secret's own.
    pub fn revoke(&mut self, ready: Option<&String>) {
        self.live.clear();
        self.revoked.extend(ready.cloned());
    }

    /// Revokes the access tokens and keeps refresh tokens.
    pub fn expire_access(&mut self) {
        self.live.retain(|_, (kind, _)| *kind == Kind::Refresh);
    }

    /// Accepts the Secret's token again.
    pub fn reinstate(&mut self, token: &str) {
        self.revoked.remove(token);
    }
}

/// Merges `patch` into `target`: objects key by key, everything else replaced, null included.
pub fn merge(target: &mut Value, patch: Value) {
    match (target, patch) {
        (Value::Object(target), Value::Object(patch)) => {
            for (name, value) in patch {
                merge(target.entry(name).or_insert(Value::Null), value);
            }
        }
        (target, patch) => *target = patch,
    }
}

/// `base` with the keys of `given`, each value replaced whole.
pub fn overlay(mut base: Value, given: Map<String, Value>) -> Value {
    if let Value::Object(fields) = &mut base {
        fields.extend(given);
    }
    base
}

/// The object without these keys.
pub fn without(row: &Value, hidden: &[&str]) -> Value {
    let mut row = row.clone();
    if let Value::Object(fields) = &mut row {
        fields.retain(|name, _| !hidden.contains(&name.as_str()));
    }
    row
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn merge_goes_into_objects_and_keeps_null() {
        let mut row = json!({"prefs": {"language": "es", "volume": "liter"}, "phone": "1"});
        merge(&mut row, json!({"prefs": {"language": "en"}, "phone": null}));
        assert_eq!(row, json!({"prefs": {"language": "en", "volume": "liter"}, "phone": null}));
    }

    #[test]
    fn a_revoked_ready_token_is_refused_until_reinstated() {
        let secret = BTreeMap::from([("token".to_owned(), "fake".to_owned())]);
        let mut state = State::new(Options::default(), secret, &[]);
        assert!(state.knows_token("fake"));
        state.sessions.revoke(Some(&"fake".to_owned()));
        assert!(!state.knows_token("fake"));
        state.sessions.reinstate("fake");
        assert!(state.knows_token("fake"));
    }
}
