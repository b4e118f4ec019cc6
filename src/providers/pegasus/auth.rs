//! Pegasus' log-in and its `Authenticate` header.

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use reqwest::Method;
use reqwest::header::HeaderName;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::wire;
use crate::plan::Rejection;
use crate::providers::decode;
use crate::providers::error::{ErrorKind, ProviderError};
use crate::providers::http::{Call, Transport};
use crate::providers::secret::SecretData;
use crate::providers::session::{Login, Token};

/// The header for the token (docs/user-creation).
const HEADER: HeaderName = HeaderName::from_static("authenticate");
/// The life of a token: shorter than the 60 minutes of inactivity after which a session ends (docs/getting-started).
const LIFE: SignedDuration = SignedDuration::from_mins(50);

/// A token, or username and password, or both; with both the token is used first.
pub struct PegasusLogin {
    transport: Transport,
    gateway: Option<String>,
    token: Option<SecretString>,
    user: Option<(SecretString, SecretString)>,
}

impl PegasusLogin {
    /// Errors: `Invalid` for a Secret with neither.
    pub fn new(transport: Transport, gateway: Option<String>, secret: &SecretData) -> Result<Self, Rejection> {
        let (token, user) = (secret.get("token"), secret.pair("username", "password"));
        if token.is_none() && user.is_none() {
            return Err(secret.lacks("token, and no username and password"));
        }
        Ok(Self { transport, gateway, token, user })
    }
}

#[async_trait]
impl Login for PegasusLogin {
    fn given(&self) -> Option<SecretString> {
        self.token.clone()
    }

    async fn login(&self, _: Option<&Token>) -> Option<Result<Token, ProviderError>> {
        let (username, password) = self.user.as_ref()?;
        let mut body = json!({"username": username.expose_secret(), "password": password.expose_secret()});
        if let Some(gateway) = &self.gateway {
            body["gateway"] = json!(gateway);
        }
        Some(self.exchange(body).await)
    }

    fn attach(&self, call: Call, token: &SecretString) -> Result<Call, ProviderError> {
        call.header(HEADER, token.expose_secret())
    }
}

impl PegasusLogin {
    async fn exchange(&self, body: Value) -> Result<Token, ProviderError> {
        let answer = self.transport.send(Call::new("login", Method::POST, "").json(body)).await?;
        if !answer.is_success() {
            let mut error = wire::refusal(&answer);
            if matches!(error.kind, ErrorKind::Invalid | ErrorKind::PermissionDenied) {
                error.kind = ErrorKind::Unauthenticated;
            }
            return Err(error);
        }
        let json = answer.json()?;
        let token = json.get("auth").and_then(Value::as_str).filter(|token| !token.is_empty());
        let token = token.ok_or_else(|| decode::unexpected_answer(answer.said(), "no token under auth"))?;
        Ok(Token { value: token.into(), expires: Some(Timestamp::now() + LIFE) })
    }
}
