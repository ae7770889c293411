//! Log lines: one JSON object each on standard output, or text for people.

use std::error::Error;

use tracing_subscriber::filter::LevelFilter;

use crate::config::{LogFormat, LogLevel};

/// Sends every event of this process to standard output. Called once.
pub fn start(format: LogFormat, level: LogLevel) {
    let level = LevelFilter::from_level(level.into());
    let builder = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_target(false);
    match format {
        LogFormat::Json => builder
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .init(),
        LogFormat::Text => builder.init(),
    }
    std::panic::set_hook(Box::new(|panic| {
        tracing::error!(event = crate::events::FAILED, "panic: {panic}");
    }));
}

/// In pass-through standard output is Qdrant's alone; what little we say goes to standard error.
pub fn start_for_passthrough() {
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::WARN)
        .with_target(false)
        .with_writer(std::io::stderr)
        .init();
}

/// An error and its causes in one line: `read x: permission denied`.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
