//! What can go wrong with the control plane; it mends nothing.

/// Why the control plane did not come up, or did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither binaries nor a way to build them; says what to install or set.
    #[error("{0}")]
    Assets(String),
    /// A file or process of ours failed.
    #[error("failed to {what}")]
    Io {
        /// What we were doing.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A process ended by itself, for example because another one took its port.
    #[error("{name} ended; its log ends with:\n{log}")]
    Ended {
        /// Which process.
        name: &'static str,
        /// The end of its log.
        log: String,
    },
    /// A process runs but did not become ready in time.
    #[error("{name} did not become ready; its log ends with:\n{log}")]
    NotReady {
        /// Which process.
        name: &'static str,
        /// The end of its log.
        log: String,
    },
    /// The API server refused a request, or did not answer.
    #[error("failed to ask the API server")]
    Kube(#[from] kube::Error),
    /// The API server refused an object.
    #[error("failed to apply {object}")]
    Apply {
        /// Kind and name.
        object: String,
        /// The API server's own words.
        source: kube::Error,
    },
    /// A `CustomResourceDefinition` was taken but is not served.
    #[error("{0} is still not served after 30 s")]
    NotServed(String),
    /// The control plane of another process cannot be used; says what to do.
    #[error("{0}")]
    Running(String),
    /// A manifest is none.
    #[error("not a manifest: {0}")]
    Manifest(String),
    /// A configuration could not be made.
    #[error("no client: {0}")]
    Config(String),
}

/// Names what failed in an I/O error.
pub(super) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Error {
    let what = what.into();
    move |source| Error::Io { what, source }
}
