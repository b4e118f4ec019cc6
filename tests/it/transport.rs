//! Providers straight against simulated vendors, without a cluster: what a login, a limit or an echoed secret does to calls.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::mpsc;
use usher::api::credential_provider::CredentialProvider;
use usher::api::{Kind, ObjectKey, Vendor};
use usher::plan::{AccountKind, Changes, Limits};
use usher::providers::{Access, AddressRules, Delivery, ErrorKind, Limiter, NoMetrics, Provider, SecretData, connect};
use usher_sandbox::vendors::{Fault, FaultKind, Options, PegasusOptions, Simulator, Vendor as Simulated};

fn limiter(vendor: Vendor) -> Limiter {
    let limits = Limits { per_minute: 60_000, burst: 1000, concurrency: 8 };
    let credential = ObjectKey::new(Kind::Credential, "identity", "main");
    Limiter::new(credential, vendor, limits, mpsc::unbounded_channel().0, Arc::new(NoMetrics))
}

/// A connection to `vendor` with a password for its login.
fn connected(vendor: &Simulator, limiter: &Limiter, password: &str) -> Arc<dyn Provider> {
    let settings = json!({vendor.vendor().name(): {"url": vendor.url()}});
    let provider: CredentialProvider = serde_json::from_value(settings).unwrap();
    let mut entries = vendor.secret();
    entries.remove("token");
    entries.insert("password".into(), password.to_owned());
    let secret = SecretData::new("main", entries.into_iter().map(|(key, value)| (key, value.into_bytes())));
    let access = Access {
        provider: &provider,
        secret: &secret,
        limiter: limiter.clone(),
        observer: Arc::new(NoMetrics),
        timeout: Duration::from_secs(2),
        addresses: AddressRules { insecure: true, ..AddressRules::default() },
        ca_bundle: None,
    };
    connect(&access).unwrap()
}

fn right(vendor: &Simulator) -> String {
    vendor.secret().remove("password").unwrap_or_default()
}

#[tokio::test]
async fn a_login_that_was_refused_is_not_tried_again() {
    let vendor = Simulator::start(Simulated::Pegasus).await.unwrap();
    let provider = connected(&vendor, &limiter(Vendor::Pegasus), "Fake-Wrong-1");
    for _ in 0..3 {
        assert_eq!(provider.whoami().await.unwrap_err().kind, ErrorKind::Unauthenticated);
    }
    assert_eq!(vendor.count("login"), 1);
}

#[tokio::test]
async fn a_login_that_failed_for_the_moment_is_tried_again_and_a_dead_token_is_not() {
    let vendor = Simulator::start(Simulated::Pegasus).await.unwrap();
    let provider = connected(&vendor, &limiter(Vendor::Pegasus), &right(&vendor));
    vendor.fault(Fault::once("login", FaultKind::Status(503, None)));
    assert_eq!(provider.whoami().await.unwrap_err().kind, ErrorKind::Unavailable);
    provider.whoami().await.unwrap();
    vendor.revoke_tokens();
    vendor.fault(Fault::once("login", FaultKind::Status(503, None)));
    assert_eq!(provider.whoami().await.unwrap_err().kind, ErrorKind::Unavailable);
    vendor.clear_calls();
    provider.whoami().await.unwrap();
    let calls: Vec<&str> = vendor.calls().iter().map(|call| call.operation).collect();
    assert_eq!(calls, ["login", "whoami"]);
}

#[tokio::test]
async fn what_a_vendor_repeats_of_a_secret_is_masked() {
    let vendor = Simulator::start(Simulated::Pegasus).await.unwrap();
    let echo = |words: String| FaultKind::Status(400, Some(json!({"message": words})));
    let password = right(&vendor);
    vendor.fault(Fault::once("login", echo(format!("{password} is not the password"))));
    let refused = connected(&vendor, &limiter(Vendor::Pegasus), &password).whoami().await.unwrap_err();
    assert!(refused.message.ends_with("*** is not the password"), "{refused}");

    let provider = connected(&vendor, &limiter(Vendor::Pegasus), &password);
    provider.whoami().await.unwrap();
    for token in vendor.tokens() {
        vendor.fault(Fault::once("whoami", echo(format!("the session {token} is too old"))));
    }
    let refused = provider.whoami().await.unwrap_err();
    assert!(refused.message.ends_with("the session *** is too old"), "{refused}");
}

#[tokio::test]
async fn the_limit_of_applications_outlives_a_connection_and_gives_each_user_a_slot() {
    let pegasus = PegasusOptions { apps_limits: true, ..PegasusOptions::default() };
    let vendor = Simulator::start_with(Simulated::Pegasus, Options { pegasus, ..Options::default() }).await.unwrap();
    let (limiter, password) = (limiter(Vendor::Pegasus), right(&vendor));
    let users: Vec<String> =
        (0..6).map(|number| vendor.put_user(json!({"username": format!("u{number}@example.com")}))).collect();
    let rights = BTreeMap::from([("tracking".to_owned(), true)]);
    let mut times = Vec::new();
    for user in &users {
        let provider = connected(&vendor, &limiter, &password);
        if let Err(error) = provider.grant(user, "pegasus2.0", &rights).await {
            assert_eq!(error.kind, ErrorKind::RateLimited);
            assert!(error.message.contains("20 calls per minute"), "not asked of the vendor: {error}");
            assert!(provider.may_grant(user).is_err());
            times.extend(error.retry_at);
        }
    }
    assert_eq!((vendor.count("apps.read"), vendor.count("apps.write")), (2, 2));
    assert!(times.is_sorted() && times.len() == 4, "{times:?}");
    assert!(times.windows(2).all(|two| two[1].duration_since(two[0]).as_secs() >= 5), "{times:?}");
}

/// A login may be refused in any way: none of them says that the account to be made is there, or may have been made.
#[tokio::test]
async fn a_refused_login_says_nothing_of_the_account() {
    for (status, kind) in [
        (400, ErrorKind::Unauthenticated),
        (409, ErrorKind::Unavailable),
        (404, ErrorKind::Unavailable),
        (503, ErrorKind::Unavailable),
    ] {
        let vendor = Simulator::start(Simulated::Pegasus).await.unwrap();
        let provider = connected(&vendor, &limiter(Vendor::Pegasus), &right(&vendor));
        let words = json!({"message": "not like this"});
        vendor.fault(Fault::always("login", FaultKind::Status(status, Some(words))));
        let refused = provider.create(AccountKind::User, &Changes::default(), None).await.unwrap_err();
        assert_eq!((refused.kind, refused.delivery), (kind, Delivery::NoEffect), "{status}: {refused}");
        assert_eq!(vendor.count("users.create"), 0);
    }
}

#[tokio::test]
async fn a_create_whose_words_ask_to_slow_down_closes_the_limiter() {
    let vendor = Simulator::start(Simulated::Plaspy).await.unwrap();
    let limiter = limiter(Vendor::Plaspy);
    let provider = connected(&vendor, &limiter, "");
    provider.whoami().await.unwrap();
    let body = json!({"success": false, "error": "Daily limit reached"});
    vendor.fault(Fault::always("users.create", FaultKind::Status(200, Some(body))));
    let fields = json!({"email": "ada@example.com", "country": "CO", "timeZone": "UTC"});
    let fields = fields.as_object().unwrap().clone().into_iter().collect();
    let changes = Changes { fields, ..Changes::default() };
    for _ in 0..2 {
        let refused = provider.create(AccountKind::User, &changes, None).await.unwrap_err();
        assert_eq!(refused.kind, ErrorKind::RateLimited);
    }
    assert_eq!(vendor.count("users.create"), 1, "the gate is closed");
}

#[tokio::test]
async fn a_vendor_whose_words_ask_to_slow_down_closes_the_limiter() {
    let vendor = Simulator::start(Simulated::Plaspy).await.unwrap();
    let limiter = limiter(Vendor::Plaspy);
    let provider = connected(&vendor, &limiter, "");
    let body = json!({"success": false, "error": "Too many requests"});
    vendor.fault(Fault::once("countries.list", FaultKind::Status(200, Some(body))));
    let refused = provider.whoami().await.unwrap_err();
    assert_eq!((refused.kind, refused.retry_at), (ErrorKind::RateLimited, limiter.closed_until()));
    assert!(limiter.closed_until().is_some());
}
