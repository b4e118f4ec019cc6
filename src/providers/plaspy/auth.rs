//! Plaspy's log-in and its `Authorization: Bearer` header.

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use reqwest::Method;
use reqwest::header::AUTHORIZATION;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::{refusal, wire};
use crate::plan::Rejection;
use crate::providers::decode;
use crate::providers::error::{ErrorKind, ProviderError};
use crate::providers::http::{Answer, Call, Transport};
use crate::providers::secret::SecretData;
use crate::providers::session::{Login, Token};

/// The log-in (`rest_api/authentication.md`).
const TOKEN: &str = "/api/Auth/Token";
/// A token with a shorter life is a sign that the clocks differ, so its end is ignored and a refusal ends it.
const SHORTEST_LIFE: SignedDuration = SignedDuration::from_mins(1);

/// A username and its API key. There is no refresh: a new log-in replaces an old token (`rest_api/authentication.md`).
pub struct PlaspyLogin {
    transport: Transport,
    username: SecretString,
    api_key: SecretString,
}

impl PlaspyLogin {
    /// Errors: `Invalid` for a Secret without both.
    pub fn new(transport: Transport, secret: &SecretData) -> Result<Self, Rejection> {
        let pair = secret.pair("username", "apiKey");
        let (username, api_key) = pair.ok_or_else(|| secret.lacks("username and apiKey"))?;
        Ok(Self { transport, username, api_key })
    }

    /// Whom the credential speaks for.
    pub fn name(&self) -> String {
        self.username.expose_secret().to_owned()
    }

    async fn exchange(&self) -> Result<Token, ProviderError> {
        let body = json!({"userName": self.username.expose_secret(), "apiKey": self.api_key.expose_secret()});
        let answer = self.transport.send(Call::new("login", Method::POST, TOKEN).json(body)).await?;
        let json = self.transport.observe_limit(refusal::judge(&answer)).map_err(unauthenticated)?;
        let token = json.get("token").and_then(Value::as_str).filter(|token| !token.is_empty());
        let token = token.ok_or_else(|| decode::unexpected_answer(answer.said(), "no token"))?;
        let ends = wire::instant(json.get("expires")).filter(|end| *end > Timestamp::now() + SHORTEST_LIFE);
        Ok(Token { value: token.into(), expires: ends })
    }
}

/// The error of a refused log-in: whatever its words ("Invalid API key or username."), the credential is wrong.
fn unauthenticated(mut error: ProviderError) -> ProviderError {
    if matches!(error.kind, ErrorKind::Invalid | ErrorKind::PermissionDenied | ErrorKind::NotFound) {
        error.kind = ErrorKind::Unauthenticated;
    }
    error
}

#[async_trait]
impl Login for PlaspyLogin {
    fn given(&self) -> Option<SecretString> {
        None
    }

    async fn login(&self, _: Option<&Token>) -> Option<Result<Token, ProviderError>> {
        Some(self.exchange().await)
    }

    fn attach(&self, call: Call, token: &SecretString) -> Result<Call, ProviderError> {
        call.header(AUTHORIZATION, &format!("Bearer {}", token.expose_secret()))
    }

    /// A 200 may be a refusal by its body. Its words may also mean a missing right; then the call fails the same way with a new
    /// token.
    fn refused(&self, answer: &Answer) -> bool {
        refusal::may_be_token(answer)
            || refusal::judge(answer).is_err_and(|error| error.kind == ErrorKind::Unauthenticated)
    }
}
