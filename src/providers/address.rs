//! The addresses that may be called, checked before and after DNS. It makes no call.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::api::Reason;
use crate::plan::Rejection;

/// The base address of a vendor. `insecure` allows http:// and loopback addresses.
///
/// Errors: `Invalid` for any other scheme, for a user in the URL and for a forbidden address.
pub fn check(url: &str, insecure: bool) -> Result<Url, Rejection> {
    let invalid = |why: &str| Rejection::new(Reason::Invalid, format!("url {}: {why}", shown(url)));
    let parsed =
        Url::parse(url).map_err(|error| invalid(&format!("{error}; write it as https://host[:port][/path]")))?;
    match parsed.scheme() {
        "https" => {}
        "http" if insecure => {}
        "http" => {
            return Err(invalid(
                "http:// would send the token in clear text; use https://, or allowInsecureHttp: true for a test server",
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
    if let Some(why) = literal.and_then(|address| forbidden(address, insecure)) {
        return Err(invalid(why));
    }
    if !insecure && (host.eq_ignore_ascii_case("localhost") || host.ends_with(".localhost")) {
        return Err(invalid(LOOPBACK));
    }
    Ok(parsed)
}

const LOOPBACK: &str = "loopback addresses need allowInsecureHttp: true";

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

/// The reason why `address` is forbidden, if it is.
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
pub struct GuardedDns {
    /// Whether loopback addresses are allowed.
    pub insecure: bool,
}

impl Resolve for GuardedDns {
    fn resolve(&self, name: Name) -> Resolving {
        let insecure = self.insecure;
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            if let Some(why) = found.iter().find_map(|address| forbidden(address.ip(), insecure)) {
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
        let rejection = check(url, false).unwrap_err();
        assert!(rejection.message.contains(words), "{rejection}");
        assert!(!rejection.message.contains("secret@"), "{rejection}");
    }
}
