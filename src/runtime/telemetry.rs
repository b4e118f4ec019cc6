//! Log lines to standard error, as JSON or text; no metrics.

use std::fmt;
use std::io::{IsTerminal, stderr};
use std::panic;

use clap::ValueEnum;
use serde_json::{Map, Value};
use tracing::{Event, Subscriber, error};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{Format, Json, JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormattedFields};
use tracing_subscriber::registry::{LookupSpan, Scope};

/// Format of log lines.
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
    /// Logging was set up already.
    #[error("failed to install the logger")]
    Install(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A JSON line whose `span` has the fields of all spans around the event; an inner span's field hides an outer one's.
///
/// The formatter's own `span` is not used because it adds the span's name as `name`. Beside a field called `name` that key
/// would appear twice, and JSON readers keep one of the two.
struct JsonLine(Format<Json>);

/// Sets up logging for the process, also of panics; `filter` is in the syntax of `tracing_subscriber::EnvFilter`.
///
/// Errors: the filter cannot be parsed, or logging is set up already.
pub fn init(format: LogFormat, filter: &str) -> Result<(), Error> {
    let filter = EnvFilter::builder().parse(filter)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    match format {
        LogFormat::Json => builder.json().event_format(JsonLine::new()).try_init(),
        LogFormat::Text => builder.with_ansi(in_colour()).try_init(),
    }
    .map_err(Error::Install)?;
    panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        error!(location, "panicked: {}", panic.payload_as_str().unwrap_or("without a message"));
    }));
    Ok(())
}

/// Whether standard error is a terminal and `NO_COLOR` is not set (<https://no-color.org>).
fn in_colour() -> bool {
    stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

impl JsonLine {
    fn new() -> Self {
        Self(Format::default().json().flatten_event(true).with_current_span(false).with_span_list(false))
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> FormatEvent<S, JsonFields> for JsonLine {
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = String::new();
        self.0.format_event(context, Writer::new(&mut line), event)?;
        let around = fields_around(context);
        match line.trim_end().strip_suffix('}') {
            Some(open) if !around.is_empty() => writeln!(writer, r#"{open},"span":{}}}"#, Value::Object(around)),
            _ => writer.write_str(&line),
        }
    }
}

/// The fields of the spans around an event, from the outermost inwards.
fn fields_around<S: Subscriber + for<'a> LookupSpan<'a>>(
    context: &FmtContext<'_, S, JsonFields>,
) -> Map<String, Value> {
    let mut around = Map::new();
    for span in context.event_scope().into_iter().flat_map(Scope::from_root) {
        let extensions = span.extensions();
        let fields = extensions.get::<FormattedFields<JsonFields>>();
        around.extend(fields.and_then(|fields| serde_json::from_str::<Map<_, _>>(fields).ok()).unwrap_or_default());
    }
    around
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use serde_json::json;
    use tracing::{info, info_span};

    use super::*;

    /// The JSON lines that `work` logs.
    fn logged(work: impl FnOnce()) -> Vec<Value> {
        let file = tempfile::NamedTempFile::new().unwrap();
        let writer = Mutex::new(file.reopen().unwrap());
        let subscriber = tracing_subscriber::fmt().with_writer(writer).json().event_format(JsonLine::new()).finish();
        tracing::subscriber::with_default(subscriber, work);
        let written = std::fs::read_to_string(file.path()).unwrap();
        written.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn a_line_names_the_object_of_the_spans_around_it() {
        let lines = logged(|| {
            let reconcile = info_span!("reconcile", kind = "PlatformUser", name = "ada").entered();
            info!(operation = "users.create", "wrote");
            info_span!("call", attempt = 2).in_scope(|| info!("called"));
            drop(reconcile);
            info!("idle");
        });
        let [wrote, called, idle] = lines.as_slice() else { panic!("{lines:?}") };
        assert_eq!([&wrote["message"], &wrote["operation"], &wrote["level"]], ["wrote", "users.create", "INFO"]);
        assert_eq!(wrote["span"], json!({"kind": "PlatformUser", "name": "ada"}));
        assert_eq!(called["span"], json!({"kind": "PlatformUser", "name": "ada", "attempt": 2}));
        assert_eq!(idle.get("span"), None);
    }

    #[test]
    fn a_filter_that_cannot_be_parsed_is_refused() {
        assert!(matches!(init(LogFormat::Text, "usher=loudly"), Err(Error::Filter(_))));
    }
}
