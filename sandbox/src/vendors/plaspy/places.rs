//! A few of the countries and time zones that Plaspy knows. It holds no state.

use serde_json::{Value, json};

/// Two-letter code and name (page "Get countries").
const COUNTRIES: &[(&str, &str)] = &[
    ("AE", "United Arab Emirates"),
    ("BR", "Brazil"),
    ("CO", "Colombia"),
    ("DE", "Germany"),
    ("ES", "Spain"),
    ("FR", "France"),
    ("GB", "United Kingdom"),
    ("IN", "India"),
    ("MX", "Mexico"),
    ("TR", "Turkey"),
    ("US", "United States"),
];

/// IANA zone and description (page "Get time zones").
const TIME_ZONES: &[(&str, &str)] = &[
    ("America/Bogota", "(UTC-05:00) Bogota"),
    ("America/Los_Angeles", "(UTC-08:00) Los Angeles"),
    ("America/Mexico_City", "(UTC-06:00) Mexico City"),
    ("America/New_York", "(UTC-05:00) New York"),
    ("America/Sao_Paulo", "(UTC-03:00) Sao Paulo"),
    ("Asia/Dubai", "(UTC+04:00) Dubai"),
    ("Asia/Kolkata", "(UTC+05:30) Kolkata"),
    ("Europe/Berlin", "(UTC+01:00) Berlin"),
    ("Europe/Istanbul", "(UTC+03:00) Istanbul"),
    ("Europe/London", "(UTC+00:00) London"),
    ("Europe/Madrid", "(UTC+01:00) Madrid"),
    ("Europe/Paris", "(UTC+01:00) Paris"),
    ("UTC", "(UTC) Coordinated Universal Time"),
];

/// The map of `/api/users/countries`.
pub fn countries() -> Value {
    as_map(COUNTRIES)
}

/// The map of `/api/users/timeZones`.
pub fn time_zones() -> Value {
    as_map(TIME_ZONES)
}

/// Whether this is a code or a name of a country.
pub fn is_country(text: &str) -> bool {
    COUNTRIES.iter().any(|(code, name)| *code == text || *name == text)
}

/// Whether this is a known time zone.
pub fn is_time_zone(text: &str) -> bool {
    TIME_ZONES.iter().any(|(zone, _)| *zone == text)
}

/// The name of the country with this code.
pub fn country_name(code: &str) -> Option<&'static str> {
    let found = COUNTRIES.iter().find(|(each, _)| *each == code);
    found.map(|(_, name)| *name)
}

fn as_map(pairs: &[(&str, &str)]) -> Value {
    let pairs = pairs.iter().map(|(key, name)| ((*key).to_owned(), json!(name)));
    Value::Object(pairs.collect())
}
