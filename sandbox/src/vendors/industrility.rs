//! Industrility.
use super::api::Api;
use super::http::{Refusal, Request, Response};
use super::state::State;
use serde_json::{Map, Value, json};
use std::time::Duration;
/// The vendor.
pub struct Industrility;
impl Api for Industrility {
    fn secret(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }
    fn user_keys(&self) -> &'static [&'static str] {
        &[]
    }
    fn operation(&self, _state: &State, _request: &Request) -> Option<&'static str> {
        None
    }
    fn answer(&self, _state: &mut State, _request: &Request) -> Result<Response, Refusal> {
        Err(Refusal::new(404, ""))
    }
    fn refuse(&self, _state: &State, refusal: &Refusal) -> Response {
        Response::new(refusal.status, json!({}))
    }
    fn throttle(&self, _state: &State, _after: Option<Duration>) -> Response {
        Response::new(429, json!({}))
    }
    fn new_user(&self, _state: &mut State, given: Map<String, Value>) -> Value {
        Value::Object(given)
    }
    fn new_group(&self, _state: &mut State, given: Map<String, Value>) -> Value {
        Value::Object(given)
    }
}
