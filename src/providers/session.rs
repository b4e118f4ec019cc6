//! One login per credential, shared by all: renewed before it expires, once when it is refused, without a stampede; it knows no vendor.

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;

use super::error::{Delivery, ErrorKind, ProviderError};
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
    state: Mutex<State>,
}

/// What is known of the token.
enum State {
    /// Nothing was tried yet.
    Fresh,
    /// The token that calls are made with.
    Held(Token),
    /// The token was refused, and no other could be had for the moment: the next call logs in first.
    Spent,
    /// The log-in was refused. It is not tried again: each further try may lock the account.
    Refused(ProviderError),
}

impl<L: Login> Session<L> {
    /// A session that has not logged in yet.
    pub fn new(login: L) -> Self {
        Self { login, state: Mutex::new(State::Fresh) }
    }

    /// Sends `call` with the token; when it is refused logs in again once and repeats. A second refusal is returned as an answer.
    ///
    /// Errors: those of the transport and of the login; a login that was refused stays so for as long as this session lives.
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
        let mut state = self.state.lock().await;
        let now = Timestamp::now();
        let previous = match &*state {
            State::Refused(error) => return Err(error.clone()),
            State::Held(token) if token.expires.is_none_or(|end| end - MARGIN > now) => return Ok(token.clone()),
            State::Held(token) => Some(token.clone()),
            State::Fresh | State::Spent => None,
        };
        if let (State::Fresh, Some(value)) = (&*state, self.login.given()) {
            let token = Token { value, expires: None };
            *state = State::Held(token.clone());
            return Ok(token);
        }
        self.log_in(&mut state, previous.as_ref()).await.unwrap_or_else(|| Err(no_login()))
    }

    /// Another token than `used`: the one someone else got meanwhile, or a fresh login.
    async fn renew(&self, used: &Token) -> Option<Result<Token, ProviderError>> {
        let mut state = self.state.lock().await;
        match &*state {
            State::Refused(error) => return Some(Err(error.clone())),
            State::Held(other) if other.value.expose_secret() != used.value.expose_secret() => {
                return Some(Ok(other.clone()));
            }
            State::Held(_) | State::Spent | State::Fresh => {}
        }
        let fresh = self.log_in(&mut state, Some(used)).await?;
        if let (Err(_), State::Held(_)) = (&fresh, &*state) {
            *state = State::Spent;
        }
        Some(fresh)
    }

    /// Logs in and remembers what came of it, unless that passes with time.
    async fn log_in(&self, state: &mut State, previous: Option<&Token>) -> Option<Result<Token, ProviderError>> {
        let outcome = self.login.login(previous).await?.map_err(of_login);
        match &outcome {
            Ok(token) => *state = State::Held(token.clone()),
            Err(error) if error.kind == ErrorKind::Unauthenticated => *state = State::Refused(error.clone()),
            Err(_) => {}
        }
        Some(outcome)
    }
}

/// What a failed log-in says of the call that needed it: it never left, and whatever the vendor finds fault with is the login.
fn of_login(error: ProviderError) -> ProviderError {
    let kind = match error.kind {
        ErrorKind::RateLimited | ErrorKind::Unavailable => error.kind,
        // A conflict is one with another session, if with anything.
        ErrorKind::NotFound | ErrorKind::Unsupported | ErrorKind::Conflict => ErrorKind::Unavailable,
        ErrorKind::Unauthenticated | ErrorKind::PermissionDenied | ErrorKind::Invalid => ErrorKind::Unauthenticated,
    };
    ProviderError { kind, delivery: Delivery::NoEffect, ..error }
}

fn no_login() -> ProviderError {
    ProviderError::refused(ErrorKind::Unauthenticated, "the Secret holds neither a token nor a login")
}
