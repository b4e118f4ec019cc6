//! Errors that end `usher plan` without a plan, each with a remedy.

use std::fmt;

/// An error that ends the plan.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refused a listing or did not answer.
    #[error("failed to list {what}: {help}")]
    List {
        /// The plural of the kind.
        what: &'static str,
        /// The remedy.
        help: &'static str,
        /// The cause.
        source: KubernetesError,
    },
    /// The API server did not answer a dry run.
    #[error("failed to check the files in dry runs of the API server")]
    DryRun(#[source] KubernetesError),
    /// The API server refused a single read or did not answer.
    #[error("failed to read from Kubernetes")]
    Read(#[source] KubernetesError),
}

/// The message of the API server, or the innermost cause of a missing answer. It has no source, because the texts of
/// `kube::Error` and of its sources repeat each other.
#[derive(Debug, thiserror::Error)]
pub struct KubernetesError(kube::Error);

impl fmt::Display for KubernetesError {
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
    /// A failed listing of `what`, the plural of a kind.
    pub fn list(what: &'static str, source: kube::Error) -> Self {
        let code = match &source {
            kube::Error::Api(status) => status.code,
            _ => 0,
        };
        let help = match code {
            403 => "you need the rights to get and list them; -n NAMESPACE asks for less than the whole cluster",
            404 => "the cluster does not have usher's kinds yet; kubectl apply -k crds",
            401 => "log in to the cluster again",
            _ => "is the cluster of your kubeconfig reachable?",
        };
        Self::List { what, help, source: KubernetesError(source) }
    }

    /// A dry run without an answer.
    pub fn dry_run(source: kube::Error) -> Self {
        Self::DryRun(KubernetesError(source))
    }
}

impl From<kube::Error> for Error {
    fn from(source: kube::Error) -> Self {
        Self::Read(KubernetesError(source))
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use kube::core::Status;

    use super::*;

    #[test]
    fn the_message_of_the_api_server_appears_once() {
        let status = Status::failure("users is forbidden", "Forbidden").with_code(403);
        let error = Error::list("users", kube::Error::Api(status.boxed()));
        assert!(error.to_string().contains("you need the rights"), "{error}");
        assert_eq!(error.source().unwrap().to_string(), "users is forbidden");
        assert!(error.source().unwrap().source().is_none());
    }

    #[test]
    fn a_missing_answer_is_explained_by_its_innermost_cause() {
        let broken = std::io::Error::other("connection refused");
        let error = Error::list("users", kube::Error::Service(Box::new(broken)));
        assert_eq!(error.source().unwrap().to_string(), "connection refused");
    }
}
