//! Errors of the control plane; it handles none.

/// Why the control plane did not come up, or did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither binaries nor a way to build them. The message says what to install or set.
    #[error("{0}")]
    Assets(String),
    /// A file or process of the sandbox failed.
    #[error("failed to {what}")]
    Io {
        /// The operation.
        what: String,
        /// The cause.
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
        /// The API server's answer.
        source: kube::Error,
    },
    /// The API server accepted a `CustomResourceDefinition` but does not serve it.
    #[error("{0} is still not served after 30 s")]
    NotServed(String),
    /// The control plane of another process cannot be used; the text gives the way out.
    #[error("{0}")]
    Running(String),
    /// A text is not a manifest.
    #[error("not a manifest: {0}")]
    Manifest(String),
    /// A configuration could not be made.
    #[error("no client: {0}")]
    Config(String),
}

/// Adds the failed operation to an I/O error.
pub(super) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Error {
    let what = what.into();
    move |source| Error::Io { what, source }
}
