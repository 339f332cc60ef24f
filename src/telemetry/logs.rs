//! How are logs written? One subscriber for the process: text for people, JSON lines for machines,
//! always to stderr.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// How a log line is written (`LOG_FORMAT`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people at a terminal.
    Text,
    /// One JSON object a line, with the event's fields at the top level.
    Json,
}

/// Starts logging for this process. `filter` is written as for `RUST_LOG`. A panic becomes a log
/// line that says where; what it says is logged where it is answered.
///
/// # Errors
/// When logging has been started before.
pub fn start(filter: EnvFilter, format: LogFormat) -> Result<(), TryInitError> {
    let registry = tracing_subscriber::registry().with(filter);
    // Colours are for terminals: in a file or a pipe their codes would stand between a field and
    // its value.
    let colours = std::io::stderr().is_terminal();
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    let layer = layer.with_ansi(colours);
    match format {
        LogFormat::Text => registry.with(layer).try_init()?,
        LogFormat::Json => {
            registry.with(layer.json().flatten_event(true).with_span_list(false)).try_init()?
        }
    }
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        tracing::error!(place, "a panic");
    }));
    Ok(())
}
