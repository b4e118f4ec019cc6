//! Plaspy's token and its `Authorization: Bearer` header; nothing else.

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

/// Where a token is had (`rest_api/authentication.md`).
const TOKEN: &str = "/api/Auth/Token";
/// A token that ends sooner than this says that our clocks disagree; then only a refusal tells.
const SHORTEST_LIFE: SignedDuration = SignedDuration::from_mins(1);

/// A username and its API key. There is no refresh: an old token is replaced by a new one (`rest_api/authentication.md`).
pub struct PlaspyLogin {
    transport: Transport,
    username: SecretString,
    api_key: SecretString,
}

impl PlaspyLogin {
    /// Errors: a Secret without both.
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

/// Whatever the words ("Invalid API key or username."), a log-in that is refused is refused for the credential.
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

    /// Also in a 200, when the body says so or may mean so: whoever lacks the right hears it again with a fresh token.
    fn refused(&self, answer: &Answer) -> bool {
        refusal::may_be_token(answer)
            || refusal::judge(answer).is_err_and(|error| error.kind == ErrorKind::Unauthenticated)
    }
}
