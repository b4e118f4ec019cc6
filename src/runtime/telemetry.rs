//! Log lines to standard error, as JSON or text; no metrics.

use std::io::{IsTerminal, stderr};

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
    /// The filter cannot be parsed.
    #[error("failed to read the log filter: write info, or usher=debug,kube=info")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// Something else set up logging first.
    #[error("failed to install the logger")]
    Install(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Sets up logging for the process; `filter` is in the syntax of `tracing_subscriber::EnvFilter`.
///
/// Errors: the filter cannot be parsed, or logging is set up already.
pub fn init(format: LogFormat, filter: &str) -> Result<(), Error> {
    let filter = EnvFilter::builder().parse(filter)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    match format {
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init(),
        LogFormat::Text => builder.with_ansi(in_colour()).try_init(),
    }
    .map_err(Error::Install)
}

/// Only for people at a terminal who did not ask otherwise (<https://no-color.org>).
fn in_colour() -> bool {
    stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_cannot_be_parsed_is_refused() {
        assert!(matches!(init(LogFormat::Text, "usher=loudly"), Err(Error::Filter(_))));
    }
}
