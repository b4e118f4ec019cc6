//! The address of one account and the answer to reading it, as the vendors have them in common; no vendor's names.

use super::error::{ErrorKind, ProviderError};
use super::http::segment;

/// The path of the entry `id` in the collection at `path`.
#[must_use]
pub fn entry(path: &str, id: &str) -> String {
    format!("{path}/{}", segment(id))
}

/// What a read of one entry found; `None` where the vendor answers "not found".
///
/// Errors: every other error of the read.
pub fn found<T>(answer: Result<T, ProviderError>) -> Result<Option<T>, ProviderError> {
    match answer {
        Ok(entry) => Ok(Some(entry)),
        Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_not_found_means_that_there_is_no_entry() {
        let refused = |kind| found::<()>(Err(ProviderError::refused(kind, "no")));
        assert_eq!(found(Ok(7)).unwrap(), Some(7));
        assert_eq!(refused(ErrorKind::NotFound).unwrap(), None);
        assert_eq!(refused(ErrorKind::Unsupported).unwrap_err().kind, ErrorKind::Unsupported);
    }

    #[test]
    fn an_id_never_leaves_its_collection() {
        assert_eq!(entry("/users", "a/b c"), "/users/a%2Fb%20c");
    }
}
