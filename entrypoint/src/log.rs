//! Log lines: one JSON object each on standard output, or text for people.
//!
//! A log driver that blocks must not stop the loop of PID 1, which ECS would take for dead: lines
//! go through a bounded queue and a thread of its own, and those that find it full are lost and
//! counted.

use std::error::Error;
use std::sync::OnceLock;

use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::{LogFormat, LogLevel};

/// So many lines wait for a log driver that is stuck; well under a mebibyte.
const QUEUE: usize = 2048;

static LOST: OnceLock<ErrorCounter> = OnceLock::new();

/// Sends every event of this process to standard output. Called once; the guard, when it is
/// dropped, writes what is still queued, for a second at most.
pub fn start(format: LogFormat, level: LogLevel) -> WorkerGuard {
    let (writer, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(QUEUE)
        .thread_name("log")
        .finish(std::io::stdout());
    LOST.get_or_init(|| writer.error_counter());
    let level = LevelFilter::from_level(level.into());
    // Of each of its tries the client of S3 has a line; what became of them the store says.
    let quiet = Targets::new()
        .with_default(level)
        .with_target("object_store", LevelFilter::WARN);
    let builder = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_target(false)
        .with_writer(writer);
    match format {
        LogFormat::Json => builder
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .finish()
            .with(quiet)
            .init(),
        LogFormat::Text => builder.finish().with(quiet).init(),
    }
    std::panic::set_hook(Box::new(|panic| {
        tracing::error!(event = crate::events::FAILED, "panic: {panic}");
    }));
    guard
}

/// Log lines that were lost so far because standard output did not take them.
pub fn lost_lines() -> usize {
    LOST.get().map_or(0, ErrorCounter::dropped_lines)
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
