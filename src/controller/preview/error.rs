//! Errors that end `usher plan` without a plan, each with a remedy.

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
        source: kube::Error,
    },
    /// The API server did not answer a dry run.
    #[error("failed to check the files in dry runs of the API server")]
    DryRun(#[source] kube::Error),
    /// The API server refused a single read or did not answer.
    #[error("failed to read from Kubernetes")]
    Read(#[from] kube::Error),
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
        Self::List { what, help, source }
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn a_forbidden_listing_names_the_missing_rights() {
        let status = Status::failure("users is forbidden", "Forbidden").with_code(403);
        let error = Error::list("users", kube::Error::Api(status.boxed()));
        assert!(error.to_string().contains("you need the rights"), "{error}");
    }
}
