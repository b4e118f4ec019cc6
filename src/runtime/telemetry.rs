//! Log lines to standard error, as JSON or text; no metrics.

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line, for machines.
    #[default]
    Json,
    /// Text, for people.
    Text,
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filter is none.
    #[error("failed to read the log filter: write info, or usher=debug,kube=info")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// Something else set up logging first.
    #[error("failed to install the logger")]
    Install(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Sets up logging for the process; `filter` is in the syntax of `tracing_subscriber::EnvFilter`.
///
/// Errors: a filter that is none, or a second call.
pub fn init(format: LogFormat, filter: &str) -> Result<(), Error> {
    let filter = EnvFilter::builder().parse(filter)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init(),
        LogFormat::Text => builder.try_init(),
    }
    .map_err(Error::Install)
}
