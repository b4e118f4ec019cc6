//! Amani's log-in, its refresh and the `Authorization: Bearer` header.

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use reqwest::Method;
use reqwest::header::AUTHORIZATION;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::wire;
use crate::plan::Rejection;
use crate::providers::decode;
use crate::providers::error::{ErrorKind, ProviderError};
use crate::providers::http::{Answer, Call, Transport};
use crate::providers::jwt::claims;
use crate::providers::secret::SecretData;
use crate::providers::session::{Login, Token};

/// The log-in, without the slash at the end that the Web SDK page has (documents/api against documents/websdk).
const LOGIN: &str = "/api/v2/user/login";
/// The refresh, with the slash at the end (documents/api).
const REFRESH: &str = "/api/v2/token/refresh/";
/// A token with a shorter life is a sign that the clocks differ, so its end is ignored and a 401 ends it. A token that is refused
/// sooner than this after a refresh is a sign that refreshing does not help.
const SHORTEST_LIFE: SignedDuration = SignedDuration::from_mins(1);

/// A token, or username and password, or both; with both the token is used first.
pub struct AmaniLogin {
    transport: Transport,
    token: Option<SecretString>,
    user: Option<(SecretString, SecretString)>,
    refresh: Mutex<Option<Refresh>>,
}

/// A refresh token and the time of its last use.
#[derive(Clone)]
struct Refresh {
    value: SecretString,
    last_used: Option<Timestamp>,
}

impl Refresh {
    /// Whether its last access token was accepted for a while, so that the next one may be, too.
    fn helps(&self, now: Timestamp) -> bool {
        self.last_used.is_none_or(|used| used + SHORTEST_LIFE < now)
    }

    /// The refresh token after a refresh: the `rotated` one, if the answer had one.
    fn used(self, rotated: Option<SecretString>, now: Timestamp) -> Self {
        Self { value: rotated.unwrap_or(self.value), last_used: Some(now) }
    }
}

impl AmaniLogin {
    /// Errors: `Invalid` for a Secret with neither.
    pub fn new(transport: Transport, secret: &SecretData) -> Result<Self, Rejection> {
        let (token, user) = (secret.get("token"), secret.pair("username", "password"));
        if token.is_none() && user.is_none() {
            return Err(secret.lacks("username and password, and no token"));
        }
        Ok(Self { transport, token, user, refresh: Mutex::new(None) })
    }

    /// The username in the Secret.
    pub fn username(&self) -> Option<String> {
        self.user.as_ref().map(|(username, _)| username.expose_secret().to_owned())
    }
}

/// The user of `token` by its `user_id` claim, which tokens have whose layout is that of Django's SimpleJWT (vendors.md, 2). The
/// claim is the vendor's word once the vendor accepts the token.
pub fn user_of(token: &Token) -> Option<String> {
    decode::login(claims(token.value.expose_secret())?.get("user_id")?)
}

#[async_trait]
impl Login for AmaniLogin {
    fn given(&self) -> Option<SecretString> {
        self.token.clone()
    }

    /// Uses the refresh token while that helps: if its access token is refused at once, the next attempt is a real log-in.
    async fn login(&self, _: Option<&Token>) -> Option<Result<Token, ProviderError>> {
        let (username, password) = self.user.as_ref()?;
        let held = self.refresh.lock().await.take();
        if let Some(refresh) = held.filter(|refresh| refresh.helps(Timestamp::now()))
            && let Ok(token) = self.renew(refresh).await
        {
            return Some(Ok(token));
        }
        Some(self.log_in(json!({"username": username.expose_secret(), "password": password.expose_secret()})).await)
    }

    fn attach(&self, call: Call, token: &SecretString) -> Result<Call, ProviderError> {
        call.header(AUTHORIZATION, &format!("Bearer {}", token.expose_secret()))
    }
}

impl AmaniLogin {
    /// The documented answer has only a new access token (documents/api); a refresh token in it replaces the old one.
    async fn renew(&self, refresh: Refresh) -> Result<Token, ProviderError> {
        let body = json!({"refresh": refresh.value.expose_secret()});
        let answer = self.transport.send(Call::new("refresh", Method::POST, REFRESH).json(body)).await?;
        let (token, rotated) = tokens(&answer)?;
        *self.refresh.lock().await = Some(refresh.used(rotated, Timestamp::now()));
        Ok(token)
    }

    async fn log_in(&self, body: Value) -> Result<Token, ProviderError> {
        let login = |path: String| Call::new("login", Method::POST, path).json(body.clone());
        let mut answer = self.transport.send(login(LOGIN.into())).await?;
        if matches!(answer.status, 300..400 | 404 | 405) {
            answer = self.transport.send(login(format!("{LOGIN}/"))).await?;
        }
        let (token, refresh) = tokens(&answer).map_err(unauthenticated)?;
        *self.refresh.lock().await = refresh.map(|value| Refresh { value, last_used: None });
        Ok(token)
    }
}

/// The token in `answer`, and the refresh token, if there is one.
fn tokens(answer: &Answer) -> Result<(Token, Option<SecretString>), ProviderError> {
    if !answer.is_success() {
        return Err(wire::refusal(answer));
    }
    let json = answer.json()?;
    let text = |name: &str| json.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let access = text("access").ok_or_else(|| decode::unexpected_answer(answer.said(), "no token under access"))?;
    let token = Token { value: access.into(), expires: end(access, Timestamp::now()) };
    Ok((token, text("refresh").map(SecretString::from)))
}

/// The error of a refused log-in. Amani answers 400 to a wrong password and to log-ins that need a person
/// (documents/studio/studio-login: "OTP Required", "Biometric login required").
fn unauthenticated(mut error: ProviderError) -> ProviderError {
    if !matches!(error.kind, ErrorKind::Invalid | ErrorKind::PermissionDenied | ErrorKind::Unauthenticated) {
        return error;
    }
    error.kind = ErrorKind::Unauthenticated;
    let words = error.message.to_ascii_lowercase();
    if ["otp", "2fa", "two-factor", "two factor", "biometric"].iter().any(|factor| words.contains(factor)) {
        error.message += ": switch two-factor and biometric log-in off for this service account in Amani Studio";
    }
    error
}

/// The end of a token by its `exp` claim, if the claim is credible.
fn end(token: &str, now: Timestamp) -> Option<Timestamp> {
    let seconds = claims(token)?.get("exp")?.as_i64()?;
    Timestamp::from_second(seconds).ok().filter(|end| *end > now + SHORTEST_LIFE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    /// `{"exp": 1900000000, "user_id": "u-1"}`
    const JWT: &str = "fake.eyJleHAiOiAxOTAwMDAwMDAwLCAidXNlcl9pZCI6ICJ1LTEifQ.fake";

    #[rstest]
    #[case::in_time(JWT, 1_800_000_000, Some(1_900_000_000))]
    #[case::clocks_disagree(JWT, 1_900_000_001, None)]
    #[case::opaque("fake-token", 1_800_000_000, None)]
    #[case::not_base64("fake.%%%.fake", 1_800_000_000, None)]
    #[case::not_json("fake.AAAA.fake", 1_800_000_000, None)]
    fn a_token_ends_at_its_exp_claim(#[case] token: &str, #[case] now: i64, #[case] expected: Option<i64>) {
        let now = Timestamp::from_second(now).unwrap();
        assert_eq!(end(token, now).map(Timestamp::as_second), expected);
    }

    #[rstest]
    #[case::fresh_from_a_login(None, true)]
    #[case::refused_at_once(Some(30), false)]
    #[case::taken_for_long(Some(61), true)]
    fn a_refresh_token_is_used_again_while_it_helps(#[case] used_ago: Option<i64>, #[case] helps: bool) {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let last_used = used_ago.map(|seconds| now - SignedDuration::from_secs(seconds));
        assert_eq!(Refresh { value: "fake-refresh".into(), last_used }.helps(now), helps);
    }

    #[rstest]
    #[case::kept(None, "fake-old")]
    #[case::rotated(Some("fake-new"), "fake-new")]
    fn a_refresh_token_stays_unless_it_is_rotated(#[case] rotated: Option<&str>, #[case] expected: &str) {
        let refresh = Refresh { value: "fake-old".into(), last_used: None };
        let used = refresh.used(rotated.map(SecretString::from), Timestamp::UNIX_EPOCH);
        assert_eq!((used.value.expose_secret(), used.last_used), (expected, Some(Timestamp::UNIX_EPOCH)));
    }

    #[rstest]
    #[case::one_time_password("OTP Required", true)]
    #[case::face("Biometric login required", true)]
    #[case::wrong_password("Unable to log in with provided credentials.", false)]
    fn a_log_in_refused_for_a_second_factor_names_the_fix(#[case] words: &str, #[case] named: bool) {
        let error = unauthenticated(ProviderError::refused(ErrorKind::Invalid, words));
        assert_eq!(error.kind, ErrorKind::Unauthenticated);
        assert_eq!(error.message.contains("switch two-factor"), named);
    }
}
