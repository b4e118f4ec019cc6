//! OZmap's log-in and its token header.

use async_trait::async_trait;
use reqwest::Method;
use reqwest::header::AUTHORIZATION;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::wire;
use crate::plan::Rejection;
use crate::providers::error::{ErrorKind, ProviderError};
use crate::providers::http::{Call, Transport};
use crate::providers::secret::SecretData;
use crate::providers::session::{Login, Token};
use crate::providers::{decode, jwt};

/// A token, or username and password, or both; with both the token is used first.
pub struct OzmapLogin {
    transport: Transport,
    token: Option<SecretString>,
    user: Option<(SecretString, SecretString)>,
}

impl OzmapLogin {
    /// Errors: `Invalid` for a Secret with neither.
    pub fn new(transport: Transport, secret: &SecretData) -> Result<Self, Rejection> {
        let (token, user) = (secret.get("token"), secret.pair("username", "password"));
        if token.is_none() && user.is_none() {
            return Err(secret.lacks("token, and no username and password"));
        }
        Ok(Self { transport, token, user })
    }

    /// The username in the Secret, else the user that its token claims: the SDK's sample of a token has a claim `user`.
    pub fn username(&self) -> Option<String> {
        if let Some((username, _)) = &self.user {
            return Some(username.expose_secret().to_owned());
        }
        claimed(self.token.as_ref()?.expose_secret())
    }

    async fn exchange(&self, username: &SecretString, password: &SecretString) -> Result<Token, ProviderError> {
        let body = json!({"login": username.expose_secret(), "password": password.expose_secret()});
        let call = Call::new("login", Method::POST, "/users/login").query("type", "API").json(body);
        let answer = self.transport.send(call).await?;
        if !answer.is_success() {
            let mut error = wire::refusal(&answer);
            if matches!(error.kind, ErrorKind::Invalid | ErrorKind::PermissionDenied | ErrorKind::NotFound) {
                error.kind = ErrorKind::Unauthenticated;
            }
            return Err(error);
        }
        let json = answer.json()?;
        let token = json.get("authorization").and_then(Value::as_str).filter(|token| !token.is_empty());
        let token = token.ok_or_else(|| decode::unexpected_answer(answer.said(), "no token under authorization"))?;
        Ok(Token { value: token.into(), expires: None })
    }
}

/// The user in the claims of a token, by name or id.
fn claimed(token: &str) -> Option<String> {
    let claims = jwt::claims(token)?;
    let user = claims.get("user")?;
    let named = || ["username", "email", "id", "_id"].into_iter().find_map(|name| decode::id(user.get(name)?));
    decode::id(user).or_else(named)
}

#[async_trait]
impl Login for OzmapLogin {
    fn given(&self) -> Option<SecretString> {
        self.token.clone()
    }

    async fn login(&self, _: Option<&Token>) -> Option<Result<Token, ProviderError>> {
        let (username, password) = self.user.as_ref()?;
        Some(self.exchange(username, password).await)
    }

    /// The header is the token alone, without a scheme (seed 004).
    fn attach(&self, call: Call, token: &SecretString) -> Result<Call, ProviderError> {
        call.header(AUTHORIZATION, token.expose_secret())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    /// `{"module": "api", "user": "64b0c0ffee64b0c0ffee0001"}`
    const BY_ID: &str = "fake.eyJtb2R1bGUiOiAiYXBpIiwgInVzZXIiOiAiNjRiMGMwZmZlZTY0YjBjMGZmZWUwMDAxIn0.fake";
    /// `{"user": {"_id": "64b0c0ffee64b0c0ffee0001", "username": "usher"}}`
    const BY_NAME: &str =
        "fake.eyJ1c2VyIjogeyJfaWQiOiAiNjRiMGMwZmZlZTY0YjBjMGZmZWUwMDAxIiwgInVzZXJuYW1lIjogInVzaGVyIn19.fake";

    #[rstest]
    #[case::id(BY_ID, Some("64b0c0ffee64b0c0ffee0001"))]
    #[case::name(BY_NAME, Some("usher"))]
    #[case::opaque("fake-token", None)]
    fn the_claims_of_a_token_may_name_its_user(#[case] token: &str, #[case] expected: Option<&str>) {
        assert_eq!(claimed(token).as_deref(), expected);
    }
}
