//! Why there is nothing to show, with the way out.

use std::fmt;

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The cluster refused a listing or did not answer.
    #[error("failed to list {what}: {help}")]
    List {
        /// Which kind.
        what: &'static str,
        /// What to do.
        help: &'static str,
        /// What Kubernetes said.
        source: Said,
    },
    /// The cluster did not say whether it would take a document.
    #[error("failed to ask the API server whether it would take the given files")]
    Trial(#[source] Said),
    /// The cluster refused a single read or did not answer.
    #[error("failed to read from Kubernetes")]
    Read(#[source] Said),
}

/// What Kubernetes said, or why it said nothing; once, where its own error would repeat itself.
#[derive(Debug, thiserror::Error)]
pub struct Said(kube::Error);

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let kube::Error::Api(status) = &self.0 {
            return f.write_str(&status.message);
        }
        let mut root: &dyn std::error::Error = &self.0;
        while let Some(cause) = root.source() {
            root = cause;
        }
        write!(f, "{root}")
    }
}

impl Error {
    /// A listing of `what` that failed.
    pub fn list(what: &'static str, source: kube::Error) -> Self {
        let code = match &source {
            kube::Error::Api(status) => status.code,
            _ => 0,
        };
        let help = match code {
            403 => "you need the rights to get and list it; -n NAMESPACE asks for less than the whole cluster",
            404 => "the kinds are not there yet; kubectl apply -k crds",
            401 => "log in to the cluster again",
            _ => "is the cluster of your kubeconfig reachable?",
        };
        Self::List { what, help, source: Said(source) }
    }

    /// A trial that failed.
    pub fn trial(source: kube::Error) -> Self {
        Self::Trial(Said(source))
    }
}

impl From<kube::Error> for Error {
    fn from(source: kube::Error) -> Self {
        Self::Read(Said(source))
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use kube::core::Status;

    use super::*;

    #[test]
    fn what_kubernetes_said_is_said_once() {
        let status = Status::failure("users is forbidden", "Forbidden").with_code(403);
        let error = Error::list("users", kube::Error::Api(status.boxed()));
        assert!(error.to_string().contains("you need the rights"), "{error}");
        assert_eq!(error.source().unwrap().to_string(), "users is forbidden");
        assert!(error.source().unwrap().source().is_none());
    }

    #[test]
    fn why_it_said_nothing_is_the_innermost_cause() {
        let broken = std::io::Error::other("connection refused");
        let error = Error::list("users", kube::Error::Service(Box::new(broken)));
        assert_eq!(error.source().unwrap().to_string(), "connection refused");
    }
}
