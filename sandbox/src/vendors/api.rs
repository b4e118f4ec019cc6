//! The trait of every simulated vendor. It does not know how it is served.

use std::time::Duration;

use serde_json::{Map, Value};

use super::http::{Refusal, Request, Response};
use super::state::State;

/// A vendor's interface, over state that is handed in.
pub trait Api: Send + Sync {
    /// The path at the end of the vendor's address.
    fn base(&self) -> &'static str {
        ""
    }

    /// Whether paths may end with a slash.
    fn slash_may_end(&self) -> bool {
        false
    }

    /// The credentials it accepts at first, keyed as the Kubernetes Secret.
    fn secret(&self) -> &'static [(&'static str, &'static str)];

    /// The fields by which its users are known.
    fn user_keys(&self) -> &'static [&'static str];

    /// Adds the content that every tenant has from the beginning.
    fn seed(&self, _state: &mut State) {}

    /// Every operation the vendor has; a route that is none of these is no route.
    fn operations(&self) -> &'static [&'static str];

    /// Which operation a request is, if the vendor has such a route.
    fn operation(&self, state: &State, request: &Request) -> Option<&'static str>;

    /// Carries out a request.
    fn answer(&self, state: &mut State, request: &Request) -> Result<Response, Refusal>;

    /// A refusal in the vendor's words.
    fn refuse(&self, state: &State, refusal: &Refusal) -> Response;

    /// 429 in the vendor's words; with a time, it carries the vendor's headers.
    fn throttle(&self, state: &State, after: Option<Duration>) -> Response;

    /// A complete user from the given fields, with a new id unless one is given.
    fn new_user(&self, state: &mut State, given: Map<String, Value>) -> Value;

    /// A complete group from the given fields, with a new id unless one is given.
    fn new_group(&self, state: &mut State, given: Map<String, Value>) -> Value;

    /// Marks a row as changed now.
    fn touch(&self, _row: &mut Value) {}

    /// Updates the rest of the state after a group was changed or removed.
    fn group_changed(&self, _state: &mut State, _before: &Value, _after: Option<&Value>) {}

    /// A group with all its fields.
    fn whole_group(&self, _state: &State, group: &Value) -> Value {
        group.clone()
    }
}
