//! One token per credential, shared by all calls: it is renewed before it expires and once after a refusal, by one log-in at a
//! time.

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;

use super::error::{Delivery, ErrorKind, ProviderError};
use super::http::{Answer, Call, Transport};
use super::limiter::Limiter;

/// A token is renewed this long before it expires.
const MARGIN: SignedDuration = SignedDuration::from_secs(30);

/// A token and its end.
#[derive(Clone)]
pub struct Token {
    /// The token as the vendor issued it.
    pub value: SecretString,
    /// When the token expires, if the vendor names a time.
    pub expires: Option<Timestamp>,
}

/// The log-in of one vendor and its header.
#[async_trait]
pub trait Login: Send + Sync {
    /// A token from the Secret; it is used before any log-in.
    fn given(&self) -> Option<SecretString>;
    /// A new token by a log-in, or by a refresh of `previous`; `None` if the Secret has only a token.
    ///
    /// Errors: `Unauthenticated` if the vendor refuses the log-in.
    async fn login(&self, previous: Option<&Token>) -> Option<Result<Token, ProviderError>>;
    /// `call` with `token` in its header.
    ///
    /// Errors: `Invalid` if a header cannot have the token.
    fn attach(&self, call: Call, token: &SecretString) -> Result<Call, ProviderError>;
    /// Whether `answer` refuses the token, so that a new log-in may help.
    fn refused(&self, answer: &Answer) -> bool {
        answer.status == 401
    }
}

/// The shared token of one credential.
pub struct Session<L> {
    login: L,
    state: Mutex<State>,
}

/// The state of the token.
enum State {
    /// No token was used yet.
    Fresh,
    /// Calls use this token.
    Active(Token),
    /// The token was refused and a log-in failed for a passing reason: the next call logs in first.
    Expired,
    /// The log-in was refused. It is not repeated, because each further attempt may lock the account.
    Refused(ProviderError),
}

impl<L: Login> Session<L> {
    /// A session without a token.
    pub fn new(login: L) -> Self {
        Self { login, state: Mutex::new(State::Fresh) }
    }

    /// Sends `call` with the token. If the token is refused, it logs in once and repeats the call; a second refusal is returned
    /// as the answer.
    ///
    /// Errors: those of the transport and of the log-in; a refused log-in stays refused for the life of this session.
    pub async fn send(&self, transport: &Transport, call: Call) -> Result<Answer, ProviderError> {
        let (answer, token) = self.attempt(transport, call.clone()).await?;
        if !self.login.refused(&answer) {
            return Ok(answer);
        }
        let again = self.repeat(transport, call, &token).await;
        again.map_or(Ok(answer), |again| again.map(|(answer, _)| answer))
    }

    /// The token that calls use now, if the vendor has not refused it.
    pub async fn current(&self) -> Option<Token> {
        match &*self.state.lock().await {
            State::Active(token) => Some(token.clone()),
            State::Fresh | State::Expired | State::Refused(_) => None,
        }
    }

    /// Sends `call` once with the current token and returns the answer and that token.
    ///
    /// Errors: those of the transport and of the log-in.
    pub async fn attempt(&self, transport: &Transport, call: Call) -> Result<(Answer, Token), ProviderError> {
        let token = self.token().await?;
        Ok((self.send_with(transport, call, &token).await?, token))
    }

    /// Sends `call` once with another token than `used`; `None` if the Secret has only a token.
    ///
    /// Errors: those of the transport and of the log-in.
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

    /// Sends `call` with `token`.
    ///
    /// Errors: those of the transport.
    pub async fn send_with(&self, transport: &Transport, call: Call, token: &Token) -> Result<Answer, ProviderError> {
        transport.send(self.login.attach(call, &token.value)?).await
    }

    /// The current token; it logs in if there is none or if it expires within `MARGIN`.
    async fn token(&self) -> Result<Token, ProviderError> {
        let mut state = self.state.lock().await;
        let now = Timestamp::now();
        let previous = match &*state {
            State::Refused(error) => return Err(error.clone()),
            State::Active(token) if token.expires.is_none_or(|end| end - MARGIN > now) => return Ok(token.clone()),
            State::Active(token) => Some(token.clone()),
            State::Fresh | State::Expired => None,
        };
        if let (State::Fresh, Some(value)) = (&*state, self.login.given()) {
            let token = Token { value, expires: None };
            *state = State::Active(token.clone());
            return Ok(token);
        }
        self.log_in(&mut state, previous.as_ref()).await.unwrap_or_else(|| Err(no_login()))
    }

    /// Another token than `used`: one that another call got meanwhile, or one by a new log-in.
    async fn renew(&self, used: &Token) -> Option<Result<Token, ProviderError>> {
        let mut state = self.state.lock().await;
        match &*state {
            State::Refused(error) => return Some(Err(error.clone())),
            State::Active(other) if other.value.expose_secret() != used.value.expose_secret() => {
                return Some(Ok(other.clone()));
            }
            State::Active(_) | State::Expired | State::Fresh => {}
        }
        let fresh = self.log_in(&mut state, Some(used)).await?;
        if let (Err(_), State::Active(_)) = (&fresh, &*state) {
            *state = State::Expired;
        }
        Some(fresh)
    }

    /// Logs in and stores the token or the refusal; a passing failure leaves the state as it is. It waits for no permit, because calls
    /// that have one wait for the token.
    async fn log_in(&self, state: &mut State, previous: Option<&Token>) -> Option<Result<Token, ProviderError>> {
        let outcome = Limiter::beside(self.login.login(previous)).await?.map_err(of_login);
        match &outcome {
            Ok(token) => *state = State::Active(token.clone()),
            Err(error) if error.kind == ErrorKind::Unauthenticated => *state = State::Refused(error.clone()),
            Err(_) => {}
        }
        Some(outcome)
    }
}

/// The error of a call whose log-in failed. The call was not sent, and any fault that the vendor finds is one of the log-in.
fn of_login(error: ProviderError) -> ProviderError {
    let kind = match error.kind {
        ErrorKind::RateLimited | ErrorKind::Unavailable => error.kind,
        // A log-in can conflict only with another session.
        ErrorKind::NotFound | ErrorKind::Unsupported | ErrorKind::Conflict => ErrorKind::Unavailable,
        ErrorKind::Unauthenticated | ErrorKind::PermissionDenied | ErrorKind::Invalid => ErrorKind::Unauthenticated,
    };
    ProviderError { kind, delivery: Delivery::NoEffect, ..error }
}

fn no_login() -> ProviderError {
    ProviderError::refused(ErrorKind::Unauthenticated, "the Secret has neither a token nor a username and password")
}
