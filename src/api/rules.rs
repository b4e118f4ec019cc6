//! CEL rules that more than one kind shares or that name every vendor, each with a message that says what to do; no schema shapes.

use kube::core::Rule;
use strum::IntoEnumIterator;

use super::text;
use super::vendor::Vendor;

/// `each` of every vendor, in the order of [`Vendor`], with `between` between two of them.
fn of_every_vendor(between: &str, each: impl Fn(Vendor) -> String) -> String {
    Vendor::iter().map(each).collect::<Vec<_>>().join(between)
}

/// Longest list of what a real fleet has many of: devices, groups and projects.
pub const FLEET_LIMIT: u64 = 1024;

/// Exactly one of these fields.
pub fn exactly_one(fields: &[&str]) -> Rule {
    let set = fields.iter().map(|field| format!("has(self.{field})")).collect::<Vec<_>>().join(", ");
    Rule::new(format!("[{set}].exists_one(set, set)"))
        .message(format!("name exactly one of {}", fields.join(", ")).as_str())
}

/// The vendor of a block of vendors stays.
pub fn same_vendor() -> Rule {
    Rule::new(of_every_vendor(" && ", |vendor| format!("has(self.{vendor}) == has(oldSelf.{vendor})")))
        .message("the vendor of a credential cannot change: make a new ProviderCredential")
}

/// Every address of a credential's block is https, unless `allowInsecureHttp` is set.
pub fn https() -> Rule {
    let urls = of_every_vendor(", ", |vendor| {
        let fields = vendor.url_fields().iter().map(|field| format!("self.provider.{vendor}.{field}"));
        let urls = fields.map(|url| format!("has(self.provider.{vendor}) && has({url}) ? {url} : 'https://'"));
        urls.collect::<Vec<_>>().join(", ")
    });
    let mut names: Vec<&str> = Vec::new();
    for field in Vendor::iter().flat_map(Vendor::url_fields) {
        if !names.contains(field) {
            names.push(field);
        }
    }
    let names = names.join(" and ");
    Rule::new(format!(
        "(has(self.allowInsecureHttp) && self.allowInsecureHttp) || [{urls}].all(address, address.startsWith('https://'))"
    ))
    .message(format!("{names} must begin with https://; for a test server set spec.allowInsecureHttp: true").as_str())
}

/// `credentialRef` cannot change once an object is bound or has a pending create.
pub fn bound_reference() -> Rule {
    Rule::new(
        "!has(oldSelf.status) || !(has(oldSelf.status.externalId) || has(oldSelf.status.creating)) || self.spec.credentialRef == oldSelf.spec.credentialRef",
    )
    .message("spec.credentialRef cannot change once the object is bound to an account: make a new object, or delete this one with deletionPolicy: Orphan and create it again")
}

/// `externalId` cannot be set, changed or removed once an object is bound or has a pending create.
pub fn bound_external_id() -> Rule {
    Rule::new(
        "!has(oldSelf.status) || !(has(oldSelf.status.externalId) || has(oldSelf.status.creating)) || (has(self.spec.externalId) == has(oldSelf.spec.externalId) && (!has(self.spec.externalId) || self.spec.externalId == oldSelf.spec.externalId))",
    )
    .message("spec.externalId cannot change once the object is bound to an account: make a new object, or delete this one with deletionPolicy: Orphan and create it again")
}

/// Keys of a map of at most this many characters.
pub fn short_keys(most: u64) -> Rule {
    Rule::new(format!("self.all(key, size(key) <= {most})"))
        .message(format!("a key of the map has more than {most} characters: shorten it").as_str())
}

/// A text on one line, see [`text::NOT_PLAIN`].
pub fn plain_text() -> Rule {
    Rule::new(format!("!self.matches(r'{}')", text::NOT_PLAIN)).message(text::ADVICE)
}

/// A natural key or id, see [`text::NOT_PLAIN_KEY`].
pub fn plain_key() -> Rule {
    Rule::new(format!("!self.matches(r'{}')", text::NOT_PLAIN_KEY)).message(text::ADVICE)
}

/// The form of an e-mail address, at most 254 characters.
pub fn email() -> Rule {
    Rule::new(r#"size(self) <= 254 && self.matches('^[^@\\s<>",;]+@[^@\\s<>",;]+\\.[^@\\s<>",;]+$')"#)
        .message("not an e-mail address of at most 254 characters: write it as name@example.com")
}

/// A duration such as 10m from `least` to `most`, both inclusive and written in the same form.
pub fn duration(least: &str, most: &str) -> Rule {
    Rule::new(format!(
        "self.matches('^([0-9]+(h|m|s))+$') && duration(self) >= duration('{least}') && duration(self) <= duration('{most}')"
    ))
    .message(format!("not a duration from {least} to {most}: write it as 90s, 10m or 1h30m").as_str())
}

/// An http or https address without user, query or fragment.
pub fn url() -> Rule {
    Rule::new("self.matches('^https?://[^/?#@\\\\s]+(/[^?#\\\\s]*)?$')")
        .message("not a base address: write it as https://host[:port][/path], without user, query or fragment")
}

/// Headers, in lower case, that HTTP itself or a proxy on the way acts on: with one of them a credential could choose where a call ends
/// up or as what it counts.
const RESERVED_HEADERS: [&str; 16] = [
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];
/// The beginning of further such headers, in lower case.
const RESERVED_PREFIX: &str = "x-forwarded-";

/// Whether a header of this name carries nothing but what a credential puts into it.
#[must_use]
pub fn is_own_header(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    !RESERVED_HEADERS.contains(&&*name) && !name.starts_with(RESERVED_PREFIX)
}

/// A header that carries nothing but what a credential puts into it, as [`is_own_header`] says.
pub fn own_header() -> Rule {
    let reserved = RESERVED_HEADERS.map(|name| format!("'{name}'")).join(", ");
    Rule::new(format!(
        "!(self.lowerAscii() in [{reserved}]) && !self.lowerAscii().startsWith('{RESERVED_PREFIX}')"
    ))
    .message("HTTP itself or a proxy acts on this header: name the header that the server reads the token from, such as Authorization or X-Api-Key")
}

#[cfg(test)]
mod tests {
    use kube::CustomResourceExt;
    use serde_json::{Value, json};

    use super::*;
    use crate::api::ProviderCredential;

    /// The schema of the vendors' blocks in a credential, and the rule on addresses.
    fn schema() -> (Value, String) {
        let schema = json!(ProviderCredential::crd());
        let spec = schema.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec").cloned().unwrap();
        let blocks = spec["properties"]["provider"]["properties"].clone();
        let rules = spec["x-kubernetes-validations"].as_array().cloned().unwrap_or_default();
        let https = rules.iter().filter_map(|rule| rule["rule"].as_str()).find(|rule| rule.contains("'https://'"));
        (blocks, https.unwrap().to_owned())
    }

    #[test]
    fn every_vendor_has_a_block_and_every_address_in_it_must_be_https() {
        let (blocks, https) = schema();
        for vendor in Vendor::iter() {
            let fields = blocks[vendor.label()]["properties"].as_object().unwrap();
            let is_url = |schema: &Value| schema["x-kubernetes-validations"].to_string().contains("^https?://");
            let urls = fields.iter().filter(|(_, schema)| is_url(schema)).map(|(name, _)| name.as_str());
            let mut declared = vendor.url_fields().to_vec();
            declared.sort_unstable();
            assert_eq!(urls.collect::<Vec<_>>(), declared, "{vendor}");
            for field in declared {
                let url = format!("self.provider.{vendor}.{field}");
                assert!(https.contains(&format!("has({url}) ? {url} : 'https://'")), "{vendor}: {https}");
            }
        }
        assert_eq!(blocks.as_object().unwrap().len(), Vendor::iter().count());
    }

    #[test]
    fn the_rules_on_the_block_name_every_vendor() {
        for rule in [same_vendor(), https()].map(|rule| json!(rule).to_string()) {
            Vendor::iter().for_each(|vendor| assert!(rule.contains(&format!(".{vendor}")), "{vendor}: {rule}"));
        }
    }
}
