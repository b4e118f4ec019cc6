//! One sentence for an error and its causes, for terminals and log lines; it does not print.

use std::error::Error;

/// The text of `error`, then of each cause, joined by `: `. A text that a previous one contains is left out, because many
/// errors quote their cause. An answer of the API server is given by its message alone, because the Display of `kube::Error`
/// adds its Debug text.
#[must_use]
pub fn describe(error: &(dyn Error + 'static)) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(link) = next {
        next = cause(link);
        let text = own_text(link, next);
        if !text.is_empty() && !parts.iter().any(|part| part.contains(&text)) {
            parts.push(text);
        }
    }
    parts.join(": ")
}

/// The cause of `link`; none of an answer of the API server, whose cause repeats it.
fn cause<'a>(link: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    if message(link).is_some() { None } else { link.source() }
}

/// What `link` says, without the text of its cause at the end.
fn own_text(link: &(dyn Error + 'static), cause: Option<&(dyn Error + 'static)>) -> String {
    if let Some(message) = message(link) {
        return message.to_owned();
    }
    let whole = link.to_string();
    let quoted = cause.map(ToString::to_string).filter(|quoted| !quoted.is_empty());
    let own = quoted.and_then(|quoted| whole.strip_suffix(&quoted)).unwrap_or(&whole);
    own.trim_end().trim_end_matches(':').to_owned()
}

/// The message of an answer of the API server.
fn message<'a>(link: &'a (dyn Error + 'static)) -> Option<&'a str> {
    match link.downcast_ref::<kube::Error>() {
        Some(kube::Error::Api(status)) if !status.message.is_empty() => Some(&status.message),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    /// Quotes its cause, as many errors do.
    #[derive(Debug, thiserror::Error)]
    #[error("failed to apply User ada: {source}")]
    struct Quoting {
        source: kube::Error,
    }

    /// Does not quote its cause.
    #[derive(Debug, thiserror::Error)]
    #[error("failed to start")]
    struct Plain(#[source] Quoting);

    fn refused() -> kube::Error {
        kube::Error::Api(Box::new(Status::failure("spec.atMost: Invalid value: 7", "Invalid").with_code(422)))
    }

    #[test]
    fn a_refused_api_call_is_described_by_its_message_alone() {
        assert_eq!(describe(&refused()), "spec.atMost: Invalid value: 7");
    }

    #[test]
    fn a_cause_that_is_quoted_is_described_once() {
        let error = Plain(Quoting { source: refused() });
        assert_eq!(describe(&error), "failed to start: failed to apply User ada: spec.atMost: Invalid value: 7");
    }

    #[test]
    fn an_error_without_a_cause_is_its_own_text() {
        assert_eq!(describe(&std::io::Error::other("no space left")), "no space left");
    }

    #[test]
    fn a_failed_connection_is_described_without_repetition() {
        let reason = std::io::Error::other("Connection refused (os error 111)");
        let error = kube::Error::Service(Box::new(reason));
        assert_eq!(describe(&error), "ServiceError: Connection refused (os error 111)");
    }
}
