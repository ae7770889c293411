//! Reads the tasks' log files as they grow.
//! Owns: offsets and parsed lines. Must not: say which lines are allowed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use serde::Serialize;
use serde_json::Value;

/// One structured line of an entrypoint.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Line {
    /// Task number.
    pub task: usize,
    /// `INFO`, `WARN`, …
    pub level: String,
    /// Stable event name.
    pub event: String,
    /// The line's own time stamp.
    pub timestamp: String,
    /// The whole line.
    pub text: String,
}

/// How far each file was read.
#[derive(Debug, Default)]
pub struct Tails {
    tails: BTreeMap<usize, Tail>,
}

#[derive(Debug, Default)]
struct Tail {
    offset: u64,
    rest: Vec<u8>,
}

impl Tails {
    /// New complete lines of one task's file that are the entrypoint's own; Qdrant's lines in the
    /// same file have no `event` and are skipped. A file that cannot be read has no new lines.
    pub fn read(&mut self, task: usize, path: &Path) -> Vec<Line> {
        let tail = self.tails.entry(task).or_default();
        let mut fresh = Vec::new();
        let Ok(mut file) = File::open(path) else {
            return Vec::new();
        };
        if file.seek(SeekFrom::Start(tail.offset)).is_err() || file.read_to_end(&mut fresh).is_err()
        {
            return Vec::new();
        }
        tail.offset += fresh.len() as u64;
        tail.rest.append(&mut fresh);
        let Some(end) = tail.rest.iter().rposition(|byte| *byte == b'\n') else {
            return Vec::new();
        };
        let complete: Vec<u8> = tail.rest.drain(..=end).collect();
        let text = String::from_utf8_lossy(&complete);
        text.lines().filter_map(|line| parse(task, line)).collect()
    }
}

fn parse(task: usize, line: &str) -> Option<Line> {
    // A line of Rust's panic handler is as bad as any error, and has no structure.
    if line.starts_with("thread '") && line.contains("panicked at") && !line.contains("qdrant") {
        return Some(Line {
            task,
            level: "ERROR".into(),
            event: "panic".into(),
            timestamp: String::new(),
            text: line.into(),
        });
    }
    let value: Value = serde_json::from_str(line.trim()).ok()?;
    let text_of = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    Some(Line {
        task,
        level: text_of("level")?.to_uppercase(),
        event: text_of("event")?,
        timestamp: text_of("timestamp").unwrap_or_default(),
        text: line.trim().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn half_a_line_waits_for_its_end() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let mut tails = Tails::default();
        write!(
            file,
            "plain text of Qdrant\n{{\"level\":\"warn\",\"event\":\"a.b\""
        )
        .unwrap();
        assert_eq!(tails.read(1, file.path()), []);
        writeln!(file, "}}").unwrap();
        let lines = tails.read(1, file.path());
        assert_eq!(lines.len(), 1);
        assert_eq!(
            (lines[0].level.as_str(), lines[0].event.as_str()),
            ("WARN", "a.b")
        );
        assert_eq!(tails.read(1, file.path()), []);
    }
}
