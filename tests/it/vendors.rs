//! The vendors that a test runs for: `#[apply(every_vendor)]` makes one case of each, with its name in the output.
//!
//! A new vendor joins every such test by its name in the templates below; the test at the end fails until it is in each template
//! that its capabilities put it in. What the tests ask of it is its `Sample` in `contract.rs`.

use rstest::rstest;
use rstest_reuse::template;
use strum::IntoEnumIterator;
use usher::plan::{Capabilities, first_key_field};
use usher::providers::capabilities;
use usher_sandbox::vendors::Vendor;

/// Every vendor.
#[template]
#[rstest]
pub fn every_vendor(
    #[values(Vendor::Pegasus, Vendor::Amani, Vendor::Plaspy, Vendor::Industrility, Vendor::Ozmap)] vendor: Vendor,
) {
}

/// Every vendor that shows its accounts, so that they can be compared and found.
#[template]
#[rstest]
pub fn every_vendor_that_shows_accounts(
    #[values(Vendor::Pegasus, Vendor::Amani, Vendor::Plaspy, Vendor::Ozmap)] vendor: Vendor,
) {
}

/// Every vendor that shows its accounts and lets the natural key of a user change.
#[template]
#[rstest]
pub fn every_vendor_that_renames(#[values(Vendor::Pegasus, Vendor::Amani, Vendor::Plaspy)] vendor: Vendor) {}

/// What usher knows of the simulated `vendor`.
pub fn known(vendor: Vendor) -> usher::api::Vendor {
    let same = usher::api::Vendor::iter().find(|known| known.label() == vendor.name());
    same.unwrap_or_else(|| panic!("usher has no vendor {}", vendor.name()))
}

fn renames(can: &Capabilities) -> bool {
    let key = first_key_field(can.user_fields);
    let is_fixed = can.user_fields.iter().any(|field| Some(field.name) == key && field.fixed);
    can.shows_accounts() && can.updates && !is_fixed
}

#[rstest]
#[case::all("every_vendor", |_: &Capabilities| true)]
#[case::shown("every_vendor_that_shows_accounts", Capabilities::shows_accounts)]
#[case::renamed("every_vendor_that_renames", renames)]
fn the_templates_leave_no_vendor_out(#[case] template: &str, #[case] belongs: fn(&Capabilities) -> bool) {
    let text = include_str!("vendors.rs").split(&format!("pub fn {template}(")).nth(1).unwrap();
    let listed: Vec<&str> = text.split(")]").next().unwrap().split("Vendor::").skip(1).collect();
    let listed: Vec<&str> = listed.iter().map(|name| name.trim_end_matches([',', ' '])).collect();
    let all = Vendor::ALL.iter().filter(|vendor| belongs(capabilities(known(**vendor))));
    assert_eq!(listed, all.map(|vendor| format!("{vendor:?}")).collect::<Vec<_>>());
}

#[test]
fn every_vendor_is_simulated() {
    let known: Vec<&str> = usher::api::Vendor::iter().map(usher::api::Vendor::label).collect();
    assert_eq!(Vendor::ALL.iter().map(|vendor| vendor.name()).collect::<Vec<_>>(), known);
}
