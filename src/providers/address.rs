//! The addresses that may be called, checked before and after DNS. It makes no call.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::api::Reason;
use crate::plan::Rejection;

/// The addresses that may be called.
#[derive(Clone, Debug, Default)]
pub struct AddressRules {
    /// Whether http:// and loopback addresses are allowed.
    pub insecure: bool,
    /// Networks that are never called, beside the link-local and metadata addresses that always are forbidden.
    pub denied: Arc<[IpNet]>,
}

impl AddressRules {
    /// These rules for a credential that asks for http:// or loopback addresses, or does not.
    #[must_use]
    pub fn for_credential(&self, asks_for_insecure: bool) -> Self {
        Self { insecure: self.insecure && asks_for_insecure, denied: self.denied.clone() }
    }

    /// The reason why `address` is forbidden, if it is.
    fn forbidden(&self, address: IpAddr) -> Option<&'static str> {
        let denies = |address: IpAddr| self.denied.iter().any(|network| network.contains(&address));
        let translated = if let IpAddr::V6(v6) = address { embedded(v6) } else { None };
        let is_denied = denies(address) || translated.is_some_and(|v4| denies(v4.into()));
        is_denied.then_some(DENIED).or_else(|| forbidden(address, self.insecure))
    }
}

/// The base address of a vendor.
///
/// Errors: `Invalid` for any other scheme than https:// and, where `rules` allow it, http://, for a user in the URL and for a forbidden
/// address.
pub fn check(url: &str, rules: &AddressRules) -> Result<Url, Rejection> {
    let invalid = |why: &str| Rejection::new(Reason::Invalid, format!("url {}: {why}", shown(url)));
    let parsed =
        Url::parse(url).map_err(|error| invalid(&format!("{error}; write it as https://host[:port][/path]")))?;
    match parsed.scheme() {
        "https" => {}
        "http" if rules.insecure => {}
        "http" => {
            return Err(invalid(
                "http:// would send the token in clear text; use https://, or for a test server set allowInsecureHttp: true and start usher with --allow-insecure-http",
            ));
        }
        _ => return Err(invalid("only https:// is supported")),
    }
    if !parsed.username().is_empty() || parsed.password().is_some() {
        let message = "url: a user in the address would leak into logs; put it into the Secret";
        return Err(Rejection::new(Reason::Invalid, message));
    }
    let host = parsed.host_str().ok_or_else(|| invalid("it has no host"))?;
    let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
    if let Some(why) = literal.and_then(|address| rules.forbidden(address)) {
        return Err(invalid(why));
    }
    if !rules.insecure && (host.eq_ignore_ascii_case("localhost") || host.ends_with(".localhost")) {
        return Err(invalid(LOOPBACK));
    }
    Ok(parsed)
}

const LOOPBACK: &str = "loopback addresses need allowInsecureHttp: true, and usher's flag --allow-insecure-http";
const DENIED: &str = "it is in a network that usher's flag --deny-cidrs forbids; correct the address";

/// `url` for a message, even if it cannot be parsed: without user and query, which may be secrets.
fn shown(url: &str) -> String {
    let masked = url.rsplit_once('@').map(|(_, host)| format!("…@{host}"));
    let masked = masked.unwrap_or_else(|| url.to_owned());
    masked.split(['?', '#']).next().unwrap_or_default().to_owned()
}

/// Metadata services at addresses that are not link-local: Alibaba Cloud, Azure (wire server), Oracle Cloud.
const METADATA_V4: [Ipv4Addr; 3] =
    [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(168, 63, 129, 16), Ipv4Addr::new(192, 0, 0, 192)];
/// Networks of metadata services by their first 32 bits: AWS `fd00:ec2::254`, Google Cloud `fd20:ce::254`.
const METADATA_V6: [[u16; 2]; 2] = [[0xfd00, 0x0ec2], [0xfd20, 0x00ce]];

/// The reason why `address` is forbidden whatever networks are denied, if it is.
fn forbidden(address: IpAddr, insecure: bool) -> Option<&'static str> {
    let astray = match address {
        IpAddr::V4(v4) => v4.is_link_local() || METADATA_V4.contains(&v4),
        IpAddr::V6(v6) => match embedded(v6) {
            Some(v4) => return forbidden(v4.into(), insecure),
            None => v6.is_unicast_link_local() || METADATA_V6.iter().any(|network| v6.segments().starts_with(network)),
        },
    };
    if astray || address.is_unspecified() || address.is_multicast() {
        return Some("link-local, metadata, multicast and unspecified addresses are never called; correct the address");
    }
    (address.is_loopback() && !insecure).then_some(LOOPBACK)
}

/// The IPv4 address to which packets for `address` may be translated: mapped and translated (RFC 4291, 2765), compatible (RFC 4291),
/// NAT64 (RFC 6052, 8215), 6to4 (RFC 3056).
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    match address.segments() {
        // The unspecified address and loopback have the form of compatible addresses.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x64, 0xff9b, 1, _, _, _, high, low]
        | [0x2002, high, low, ..] => Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low))),
        _ => None,
    }
}

/// Resolves names and refuses forbidden addresses, so that a name gives no access to an address that is forbidden as a literal.
pub struct GuardedDns(pub AddressRules);

impl Resolve for GuardedDns {
    fn resolve(&self, name: Name) -> Resolving {
        let rules = self.0.clone();
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            if let Some(why) = found.iter().find_map(|address| rules.forbidden(address.ip())) {
                return Err(format!("{} resolves to a forbidden address: {why}", name.as_str()).into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::loopback("127.0.0.1", false, true)]
    #[case::loopback_allowed("127.0.0.1", true, false)]
    #[case::loopback_v6("::1", false, true)]
    #[case::mapped_loopback("::ffff:127.0.0.1", false, true)]
    #[case::metadata("169.254.169.254", true, true)]
    #[case::mapped_metadata("::ffff:169.254.169.254", true, true)]
    #[case::link_local_v6("fe80::1", true, true)]
    #[case::aws_metadata_v6("fd00:ec2::254", true, true)]
    #[case::google_metadata_v6("fd20:ce::254", true, true)]
    #[case::alibaba_metadata("100.100.100.200", true, true)]
    #[case::azure_wire_server("168.63.129.16", true, true)]
    #[case::oracle_metadata("192.0.0.192", true, true)]
    #[case::compatible_metadata("::169.254.169.254", true, true)]
    #[case::translated_metadata("::ffff:0:169.254.169.254", true, true)]
    #[case::metadata_by_nat64("64:ff9b::169.254.169.254", true, true)]
    #[case::metadata_by_local_nat64("64:ff9b:1::100.100.100.200", true, true)]
    #[case::metadata_by_6to4("2002:a9fe:a9fe::1", true, true)]
    #[case::loopback_by_nat64("64:ff9b::127.0.0.1", false, true)]
    #[case::public_by_nat64("64:ff9b::192.0.2.1", false, false)]
    #[case::public_by_6to4("2002:c000:201::1", false, false)]
    #[case::unspecified("0.0.0.0", true, true)]
    #[case::unspecified_v6("::", true, true)]
    #[case::private("10.0.0.1", false, false)]
    #[case::public("192.0.2.1", false, false)]
    fn metadata_and_local_addresses_are_forbidden(
        #[case] address: &str,
        #[case] insecure: bool,
        #[case] refused: bool,
    ) {
        assert_eq!(forbidden(address.parse().unwrap(), insecure).is_some(), refused);
    }

    #[rstest]
    #[case::inside("https://10.1.2.3", true)]
    #[case::outside("https://10.2.2.3", false)]
    #[case::inside_v6("https://[fd12::1]", true)]
    #[case::mapped("https://[::ffff:10.1.2.3]", true)]
    #[case::by_nat64("https://[64:ff9b::10.1.2.3]", true)]
    #[case::loopback("http://127.0.0.1", false)]
    fn networks_that_the_operator_denies_are_forbidden(#[case] url: &str, #[case] refused: bool) {
        let denied = ["10.1.0.0/16", "fd12::/64"].map(|network| network.parse().unwrap());
        let rules = AddressRules { insecure: true, denied: denied.into() };
        let refusal = check(url, &rules).err();
        assert_eq!(refusal.is_some_and(|refusal| refusal.message.contains("--deny-cidrs")), refused);
    }

    #[rstest]
    #[case(false, true)]
    #[case(true, false)]
    fn http_takes_the_consent_of_operator_and_credential(#[case] operator: bool, #[case] credential: bool) {
        let rules = AddressRules { insecure: operator, denied: Arc::default() }.for_credential(credential);
        let rejection = check("http://127.0.0.1", &rules).unwrap_err();
        assert!(rejection.message.contains("allowInsecureHttp: true and start usher with --allow-insecure-http"));
    }

    #[tokio::test]
    async fn a_name_that_leads_into_a_denied_network_is_forbidden() {
        let denied = ["127.0.0.0/8", "::1/128"].map(|network| network.parse().unwrap());
        let dns = GuardedDns(AddressRules { insecure: true, denied: denied.into() });
        let refusal = dns.resolve("localhost".parse().unwrap()).await.err().unwrap().to_string();
        assert!(refusal.contains("localhost resolves to a forbidden address") && refusal.contains("--deny-cidrs"));
    }

    #[rstest]
    #[case::plain_http("http://example.com", "send the token in clear text")]
    #[case::other_scheme("ftp://example.com", "only https")]
    #[case::user("https://me:secret@example.com", "would leak")]
    #[case::user_in_the_clear("http://me:secret@example.com", "send the token in clear text")]
    #[case::user_and_no_port("https://me:secret@example.com:port/", "write it as")]
    #[case::user_and_no_scheme("me:secret@example.com", "only https")]
    #[case::query("ftp://example.com/?auth=secret@", "only https")]
    #[case::localhost("https://localhost", "loopback")]
    #[case::literal("https://[::1]/", "loopback")]
    #[case::decimal("https://2130706433/", "loopback")]
    #[case::unexpected_answer("example.com", "write it as")]
    fn a_rejected_url_names_the_reason(#[case] url: &str, #[case] words: &str) {
        let rejection = check(url, &AddressRules::default()).unwrap_err();
        assert!(rejection.message.contains(words), "{rejection}");
        assert!(!rejection.message.contains("secret@"), "{rejection}");
    }
}
