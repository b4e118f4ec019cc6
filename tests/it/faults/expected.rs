//! What status must say, by operation and fault: behaviour.md's table of errors, written out; not what the code does.

use usher_sandbox::vendors::{FaultKind, Vendor};

use super::act::Act;
use super::strike::{Blow, Strike};

/// Said once the fault is over or does not matter.
pub const WELL: &[&str] = &["Synced", "Created"];

/// The reasons of which one must be said while the fault lasts. Among them `Synced` where the fault need not show.
pub fn reasons(vendor: Vendor, operation: &str, strike: &Strike) -> Vec<&'static str> {
    let act = Act::of(operation);
    let kind = match &strike.blow {
        // Where the vendor cannot be asked for one user, all are listed first; a listing that fails is the credential's news.
        Blow::Refused if operation.starts_with("users.") => return vec!["ProviderUnavailable", "WaitingForCredential"],
        Blow::Refused if operation == "countries.list" => return [&["ProviderUnavailable"], WELL].concat(),
        Blow::Refused => return vec!["ProviderUnavailable"],
        // Whatever becomes of the countries, the rest goes on.
        Blow::Once(FaultKind::RateLimited(_)) | Blow::Always(FaultKind::RateLimited(_))
            if operation == "countries.list" =>
        {
            return [&["RateLimited"], WELL].concat();
        }
        _ if operation == "countries.list" => return WELL.to_vec(),
        Blow::Once(FaultKind::Status(401, _)) => return unauthenticated_once(vendor, operation),
        Blow::Once(kind) | Blow::Always(kind) => kind,
    };
    let mut reasons = match kind {
        FaultKind::Status(status, _) => refusal(vendor, operation, *status),
        FaultKind::RateLimited(_) => vec!["RateLimited"],
        FaultKind::ShortList => short(vendor, operation),
        // A listing that is complete and empty is no reason to complain, and none to do anything either.
        FaultKind::EmptyList if operation == "roles.list" => vec!["ProviderUnavailable"],
        FaultKind::EmptyList => WELL.to_vec(),
        FaultKind::RepeatedPage => repeated(vendor, operation),
        kind => broken(vendor, operation, kind),
    };
    let stalled = ["PermissionDenied", "Invalid", "AlreadyExists", "NotFound"];
    if act.is_removal() && reasons.iter().any(|reason| stalled.contains(reason)) {
        reasons = vec!["DeletionBlocked"];
    }
    if operation == "refresh" {
        // Whatever becomes of it, a log-in may follow.
        reasons.extend(WELL);
    }
    reasons
}

/// One re-login on 401; where a log-in itself is refused or there is none, that is the answer.
fn unauthenticated_once(vendor: Vendor, operation: &str) -> Vec<&'static str> {
    match (vendor, operation) {
        (Vendor::Industrility, _) => vec!["WaitingForCredential", "Created"],
        (_, "login") => vec!["Unauthenticated"],
        // The token is taken, so that it is a missing scope, until the next look.
        (Vendor::Pegasus, operation) if operation != "whoami" => [&["PermissionDenied"], WELL].concat(),
        _ => WELL.to_vec(),
    }
}

fn refusal(vendor: Vendor, operation: &str, status: u16) -> Vec<&'static str> {
    let act = Act::of(operation);
    let is_login = matches!(operation, "login" | "refresh");
    match status {
        // Pegasus answers 401 also for a missing scope: GET /user tells.
        401 if vendor == Vendor::Pegasus && !is_login && operation != "whoami" => vec!["PermissionDenied"],
        // A search that is not offered: the listing answers.
        404 | 422 if operation.ends_with("find") => WELL.to_vec(),
        401 if act.is_about_credential() => vec!["Unauthenticated"],
        401 => vec!["WaitingForCredential"],
        403 if is_login => vec!["PermissionDenied", "Unauthenticated"],
        403 => vec!["PermissionDenied"],
        404 => not_found(vendor, operation),
        409 if operation.ends_with("create") || operation.ends_with("update") => vec!["AlreadyExists"],
        409 => vec!["AlreadyExists", "Invalid", "ProviderUnavailable"],
        422 if is_login => vec!["Invalid", "Unauthenticated"],
        422 => vec!["Invalid"],
        _ => vec!["ProviderUnavailable"],
    }
}

/// On a known id it proves nothing; the listing does: the account is there. Amani may have no listing.
fn not_found(vendor: Vendor, operation: &str) -> Vec<&'static str> {
    match operation {
        "users.list" if vendor == Vendor::Amani => WELL.to_vec(),
        // Where no user was ever shown by his id, the listing shows him.
        "users.read" if vendor == Vendor::Amani => [&["PermissionDenied"], WELL].concat(),
        "users.read" | "groups.read" | "users.update" | "groups.update" | "users.delete" | "groups.delete" => {
            vec!["PermissionDenied"]
        }
        // Not every server need have this call: the users prove the login as well.
        "whoami" if vendor == Vendor::Ozmap => WELL.to_vec(),
        // No rights in this application were ever written.
        "apps.read" => WELL.to_vec(),
        "login" => vec!["Unauthenticated", "Invalid", "ProviderUnavailable"],
        _ => vec!["NotFound", "Invalid", "ProviderUnavailable"],
    }
}

/// Torn and unreadable bodies; of a change or removal that was done, the body is nobody's business as long as it is JSON.
fn broken(vendor: Vendor, operation: &str, kind: &FaultKind) -> Vec<&'static str> {
    let mut reasons = vec!["ProviderUnavailable"];
    let is_create = operation.ends_with("create");
    let has_body = !operation.ends_with("delete");
    match kind {
        FaultKind::WrongTypes if !is_create && !Act::of(operation).is_about_credential() => reasons.extend(WELL),
        // There are no rights yet: the status says it, whatever the body.
        FaultKind::TruncatedJson | FaultKind::HugeBody if operation == "apps.read" => reasons.extend(WELL),
        FaultKind::TruncatedJson | FaultKind::HugeBody | FaultKind::SlowDrip if !has_body => reasons.extend(WELL),
        _ => {}
    }
    let ignores_body = match vendor {
        // Its own SDK ignores what an update answers; and a 2xx of Industrility is a user, torn or not.
        Vendor::Ozmap => operation.ends_with("update"),
        Vendor::Industrility => true,
        Vendor::Pegasus | Vendor::Amani | Vendor::Plaspy => false,
    };
    if ignores_body && matches!(kind, FaultKind::WrongTypes | FaultKind::TruncatedJson) {
        reasons.extend(WELL);
    }
    reasons
}

/// Seen where the vendor tells how many there are.
fn short(vendor: Vendor, operation: &str) -> Vec<&'static str> {
    match (vendor, operation) {
        (_, "users.find" | "groups.find") => WELL.to_vec(),
        (Vendor::Pegasus | Vendor::Ozmap, _) | (Vendor::Amani, "users.list") => vec!["ProviderUnavailable"],
        _ => WELL.to_vec(),
    }
}

/// Seen where there is more than one page.
fn repeated(vendor: Vendor, operation: &str) -> Vec<&'static str> {
    match (vendor, operation) {
        (Vendor::Pegasus | Vendor::Ozmap | Vendor::Amani, "users.list")
        | (Vendor::Pegasus | Vendor::Ozmap, "groups.list") => vec!["ProviderUnavailable"],
        _ => WELL.to_vec(),
    }
}
