//! CEL rules that several fields share, each with a message that says what to do. It defines no types.

use kube::core::Rule;

/// Exactly one vendor in a provider block.
pub fn one_vendor() -> Rule {
    Rule::new("[has(self.pegasus), has(self.amani), has(self.plaspy), has(self.industrility), has(self.ozmap)].exists_one(set, set)")
        .message("provider: name exactly one of pegasus, amani, plaspy, industrility, ozmap; move the others to objects of their own")
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

/// A list without duplicates.
pub fn no_duplicates() -> Rule {
    Rule::new("self.all(entry, self.exists_one(other, other == entry))")
        .message("the list has the same entry twice: remove one of them")
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
