//! Visibly fake tokens and ids, and the present time as the vendors write it. Nothing here is a secret.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use serde_json::json;

/// Seconds since 1970, with fractions.
pub fn epoch() -> f64 {
    since_epoch(SystemTime::now()).as_secs_f64()
}

/// Whole seconds since 1970.
pub fn epoch_seconds(time: SystemTime) -> u64 {
    since_epoch(time).as_secs()
}

fn since_epoch(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// A time in ISO 8601 with milliseconds.
pub fn iso(time: SystemTime) -> String {
    Timestamp::try_from(time).unwrap_or_default().strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// A time as HTTP headers have it.
pub fn http_date(time: SystemTime) -> String {
    Timestamp::try_from(time).unwrap_or_default().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// The present in ISO 8601 with milliseconds.
pub fn now() -> String {
    iso(SystemTime::now())
}

/// A token with the layout of a JWT, claims of Django's `SimpleJWT` and no signature.
pub fn jwt(kind: &str, number: u64, life: Duration) -> String {
    let issued = SystemTime::now();
    let header = json!({"alg": "none", "typ": "JWT"});
    let claims = json!({
        "token_type": kind,
        "iat": epoch_seconds(issued),
        "exp": epoch_seconds(issued + life),
        "jti": format!("fake-{number}"),
        "user_id": uuid(0),
    });
    let encode = |part: serde_json::Value| base64url(part.to_string().as_bytes());
    format!("{}.{}.fake-signature", encode(header), encode(claims))
}

/// A UUID that counts.
pub fn uuid(number: u64) -> String {
    format!("00000000-0000-4000-8000-{number:012x}")
}

/// A 24-digit hexadecimal id that counts.
pub fn object_id(number: u64) -> String {
    format!("{number:024x}")
}

fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let mut group = [0_u8; 3];
        group[..chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes([0, group[0], group[1], group[2]]);
        for place in 0..=chunk.len() {
            let digit = (bits >> (18 - 6 * place)) & 63;
            text.push(char::from(DIGITS[digit as usize]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64url_is_unpadded() {
        assert_eq!(base64url(b"fake"), "ZmFrZQ");
        assert_eq!(base64url(b"fakes"), "ZmFrZXM");
        assert_eq!(base64url(&[0xfb, 0xff, 0xfe]), "-__-");
    }
}
