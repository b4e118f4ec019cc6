//! One login per credential, shared by all: renewed before it expires, once when it is refused, without a stampede; it knows no vendor.

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;

use super::error::{ErrorKind, ProviderError};
use super::http::{Answer, Call, Transport};

/// A token is renewed this long before it expires.
const MARGIN: SignedDuration = SignedDuration::from_secs(30);

/// A token and, if the vendor says so, when it ends.
#[derive(Clone)]
pub struct Token {
    /// The token as the vendor gave it.
    pub value: SecretString,
    /// When the vendor stops taking it.
    pub expires: Option<Timestamp>,
}

/// How a vendor is logged in to and how its token is shown.
#[async_trait]
pub trait Login: Send + Sync {
    /// A token that was given ready-made, tried before any login.
    fn given(&self) -> Option<SecretString>;
    /// Logs in, or `None` when there is only the given token. `previous` may be refreshed instead.
    ///
    /// Errors: `Unauthenticated` when the login is refused.
    async fn login(&self, previous: Option<&Token>) -> Option<Result<Token, ProviderError>>;
    /// `call` with the token in its header.
    fn attach(&self, call: Call, token: &SecretString) -> Result<Call, ProviderError>;
    /// Whether `answer` says that the token is not taken, so that a fresh login may help.
    fn refused(&self, answer: &Answer) -> bool {
        answer.status == 401
    }
}

/// The shared token of one credential.
pub struct Session<L> {
    login: L,
    token: Mutex<Option<Token>>,
}

impl<L: Login> Session<L> {
    /// A session that has not logged in yet.
    pub fn new(login: L) -> Self {
        Self { login, token: Mutex::new(None) }
    }

    /// Sends `call` with the token; when it is refused logs in again once and repeats. A second refusal is returned as an answer.
    ///
    /// Errors: those of the transport and of the login.
    pub async fn send(&self, transport: &Transport, call: Call) -> Result<Answer, ProviderError> {
        let (answer, token) = self.attempt(transport, call.clone()).await?;
        if !self.login.refused(&answer) {
            return Ok(answer);
        }
        let again = self.repeat(transport, call, &token).await;
        again.map_or(Ok(answer), |again| again.map(|(answer, _)| answer))
    }

    /// Sends `call` with the token held, whatever the answer, and tells which token that was.
    ///
    /// Errors: those of the transport and of the login.
    pub async fn attempt(&self, transport: &Transport, call: Call) -> Result<(Answer, Token), ProviderError> {
        let token = self.token().await?;
        Ok((self.send_with(transport, call, &token).await?, token))
    }

    /// Sends `call` with another token than `used`, likewise; `None` when there is none to be had.
    pub async fn repeat(
        &self,
        transport: &Transport,
        call: Call,
        used: &Token,
    ) -> Option<Result<(Answer, Token), ProviderError>> {
        Some(match self.renew(used).await? {
            Ok(token) => self.send_with(transport, call, &token).await.map(|answer| (answer, token)),
            Err(error) => Err(error),
        })
    }

    /// Sends `call` with this very token.
    ///
    /// Errors: those of the transport.
    pub async fn send_with(&self, transport: &Transport, call: Call, token: &Token) -> Result<Answer, ProviderError> {
        transport.send(self.login.attach(call, &token.value)?).await
    }

    /// The token, logging in if there is none or it is about to end.
    async fn token(&self) -> Result<Token, ProviderError> {
        let mut held = self.token.lock().await;
        let now = Timestamp::now();
        match held.as_ref() {
            Some(token) if token.expires.is_none_or(|end| end - MARGIN > now) => return Ok(token.clone()),
            None => {
                if let Some(value) = self.login.given() {
                    return Ok(held.insert(Token { value, expires: None }).clone());
                }
            }
            Some(_) => {}
        }
        let fresh = self.login.login(held.as_ref()).await.unwrap_or_else(|| Err(no_login()))?;
        Ok(held.insert(fresh).clone())
    }

    /// Another token than `used`: the one someone else got meanwhile, or a fresh login.
    async fn renew(&self, used: &Token) -> Option<Result<Token, ProviderError>> {
        let mut held = self.token.lock().await;
        if let Some(other) = held.as_ref().filter(|held| held.value.expose_secret() != used.value.expose_secret()) {
            return Some(Ok(other.clone()));
        }
        let fresh = self.login.login(held.as_ref()).await?;
        *held = fresh.as_ref().ok().cloned();
        Some(fresh)
    }
}

fn no_login() -> ProviderError {
    ProviderError::refused(ErrorKind::Unauthenticated, "the Secret holds neither a token nor a login")
}
