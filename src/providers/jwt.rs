//! The claims of a token, if it is a JWT. It verifies no signature, so the claims prove nothing.

use data_encoding::BASE64URL_NOPAD;
use serde_json::Value;

/// The unverified claims of a JWT (RFC 7519, section 3); `None` for any other token.
#[must_use]
pub fn claims(token: &str) -> Option<Value> {
    let mut parts = token.split('.');
    let (_, payload, _) = (parts.next()?, parts.next()?, parts.next()?);
    serde_json::from_slice(&BASE64URL_NOPAD.decode(payload.as_bytes()).ok()?).ok()
}
