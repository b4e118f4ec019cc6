//! The flags that say which addresses may be called. `usher plan` takes the same ones as `usher run`, because it logs in, too.

use clap::{ArgAction, Args};
use ipnet::IpNet;

use crate::providers::AddressRules;

/// Which addresses of vendors may be called.
#[derive(Debug, Args)]
pub(super) struct Addresses {
    /// Allow http:// and loopback addresses to credentials with spec.allowInsecureHttp: true. With false that field changes nothing,
    /// so that nobody who may write a credential reaches services beside the operator; deploy/ sets false.
    #[arg(
        long,
        env = "USHER_ALLOW_INSECURE_HTTP",
        value_name = "BOOL",
        default_value_t = true,
        num_args = 0..=1,
        default_missing_value = "true",
        action = ArgAction::Set
    )]
    allow_insecure_http: bool,
    /// Networks that are never called, e.g. those of Pods and Services, by literal address or by name; may be given several
    /// times. Link-local and metadata addresses are never called in any case.
    #[arg(long, env = "USHER_DENY_CIDRS", value_name = "CIDR", value_delimiter = ',')]
    deny_cidrs: Vec<IpNet>,
}

impl Addresses {
    /// The rules for the transport.
    pub(super) fn rules(&self) -> AddressRules {
        AddressRules { insecure: self.allow_insecure_http, denied: self.deny_cidrs.clone().into() }
    }
}
