//! The child's output on its way through us. Owns one buffer per stream and the two threads around
//! it; knows nothing of what the lines say.
//!
//! A reader thread empties the pipe into the buffer, a writer thread empties the buffer into the
//! sink. While the sink takes lines as fast as the child writes them, all arrive, untouched and in
//! order. When it is stuck (a full disk, a blocked log driver) the buffer fills and further *lines*
//! are lost and counted, because a database must not stand still for the sake of its log.

use std::{
    fmt,
    io::{self, Read, Write},
    mem,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc as sync,
    },
    thread,
};
use tokio::sync::mpsc;

/// What one stream may hold back before lines are lost: well over a second of a very busy log.
const BUFFER: usize = 4 << 20;
/// A line longer than this passes in pieces.
const LONGEST_LINE: usize = 256 << 10;
/// One read of the pipe: all that a pipe holds by default.
const READ: usize = 64 << 10;
/// Both threads do little and nest shallowly.
const STACK: usize = 128 << 10;

/// One of the two streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// One line of the child (or a piece of a very long one).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Where it was written.
    pub stream: Stream,
    /// Its bytes, without the line's end.
    pub bytes: Vec<u8>,
}

/// Takes whole lines, as many at once as have come in.
pub struct Sink(Box<dyn Write + Send>);

impl Sink {
    /// Lines go to `to`, each write ending at the end of a line. It runs on a thread of its own and
    /// may block.
    #[must_use]
    pub fn new(to: impl Write + Send + 'static) -> Self {
        Self(Box::new(to))
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sink")
    }
}

/// Starts the two threads for one stream. `done` is dropped by the writer when the stream has ended
/// and its last line was written.
pub(super) fn pump(
    stream: Stream,
    from: impl Read + Send + 'static,
    to: Sink,
    observer: Option<mpsc::Sender<Line>>,
    lost: Arc<AtomicU64>,
    done: sync::Sender<()>,
) -> io::Result<()> {
    let buffer = Arc::new(Buffer::default());
    let filled = Arc::clone(&buffer);
    let lost_by_sink = Arc::clone(&lost);
    thread::Builder::new()
        .name("child-log-out".into())
        .stack_size(STACK)
        .spawn(move || {
            filled.empty_into(to, &lost_by_sink);
            drop(done);
        })?;
    let at_end = Arc::clone(&buffer);
    thread::Builder::new()
        .name("child-log-in".into())
        .stack_size(STACK)
        .spawn(move || {
            read_lines(from, |lines| {
                if let Some(observer) = &observer {
                    show(observer, stream, lines);
                }
                if !buffer.push(lines) {
                    lost.fetch_add(count_lines(lines), Ordering::Relaxed);
                }
            });
            buffer.close();
        })
        .map(drop)
        .inspect_err(|_| at_end.close())
}

/// Calls `each` with runs of whole lines. The last one gets a line's end if the child left it out, so
/// that ours do not continue it.
fn read_lines(mut from: impl Read, mut each: impl FnMut(&[u8])) {
    let mut pending: Vec<u8> = Vec::with_capacity(READ);
    let mut chunk = vec![0; READ];
    loop {
        let n = match from.read(&mut chunk) {
            Ok(0) => break,
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            // A pipe has no other errors that would pass.
            Err(_) => break,
        };
        let new = chunk.get(..n).unwrap_or_default();
        // Only what is new can hold the end of a line.
        let Some(last_end) = new.iter().rposition(|b| *b == b'\n') else {
            pending.extend_from_slice(new);
            if pending.len() >= LONGEST_LINE {
                each(&pending);
                pending.clear();
            }
            continue;
        };
        let (whole, rest) = new.split_at(last_end + 1);
        if pending.is_empty() {
            each(whole);
        } else {
            pending.extend_from_slice(whole);
            each(&pending);
            pending.clear();
        }
        pending.extend_from_slice(rest);
    }
    if !pending.is_empty() {
        pending.push(b'\n');
        each(&pending);
    }
}

fn show(observer: &mpsc::Sender<Line>, stream: Stream, lines: &[u8]) {
    for line in lines.split_inclusive(|b| *b == b'\n') {
        let bytes = line.strip_suffix(b"\n").unwrap_or(line).to_vec();
        if observer.try_send(Line { stream, bytes }).is_err() {
            return;
        }
    }
}

fn count_lines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|b| **b == b'\n').count().max(1) as u64
}

#[derive(Default)]
struct Buffer {
    state: Mutex<State>,
    filled: Condvar,
}

#[derive(Default)]
struct State {
    bytes: Vec<u8>,
    closed: bool,
}

impl Buffer {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// False when there is no room.
    fn push(&self, lines: &[u8]) -> bool {
        let mut state = self.lock();
        let fits = state.bytes.len() + lines.len() <= BUFFER;
        if fits {
            state.bytes.extend_from_slice(lines);
            self.filled.notify_one();
        }
        fits
    }

    fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_one();
    }

    fn empty_into(&self, mut to: Sink, lost: &AtomicU64) {
        let mut batch = Vec::new();
        loop {
            {
                let mut state = self.lock();
                while state.bytes.is_empty() {
                    if state.closed {
                        return;
                    }
                    state = self
                        .filled
                        .wait(state)
                        .unwrap_or_else(PoisonError::into_inner);
                }
                mem::swap(&mut state.bytes, &mut batch);
            }
            if to.0.write_all(&batch).and_then(|()| to.0.flush()).is_err() {
                lost.fetch_add(count_lines(&batch), Ordering::Relaxed);
            }
            // A burst's memory is given back, the everyday buffer is kept.
            batch.clear();
            batch.shrink_to(READ);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    struct Chunks(VecDeque<Vec<u8>>);
    impl Read for Chunks {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            let Some(chunk) = self.0.pop_front() else {
                return Ok(0);
            };
            buf[..chunk.len()].copy_from_slice(&chunk);
            Ok(chunk.len())
        }
    }

    fn runs(chunks: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut runs = Vec::new();
        read_lines(Chunks(chunks.iter().map(|c| c.to_vec()).collect()), |l| {
            runs.push(l.to_vec())
        });
        runs
    }

    #[test]
    fn lines_stay_whole_and_their_bytes_untouched() {
        assert_eq!(
            runs(&[b"one\ntw", b"o\xff\r\n\nth", b"re", b"e"]),
            [&b"one\n"[..], b"two\xff\r\n\n", b"three\n"]
        );
        assert!(runs(&[]).is_empty());
    }

    #[test]
    fn an_endless_line_passes_in_pieces() {
        let chunk = vec![b'x'; READ];
        let got = runs(&[&chunk[..]; 9]);
        assert_eq!(
            got.iter().map(Vec::len).collect::<Vec<_>>(),
            [LONGEST_LINE, LONGEST_LINE, READ + 1]
        );
    }

    #[test]
    fn a_slow_observer_misses_lines_and_holds_up_nobody() {
        let (tx, mut rx) = mpsc::channel(2);
        show(&tx, Stream::Err, b"a\n\nc\n");
        assert_eq!(
            rx.try_recv().unwrap(),
            Line {
                stream: Stream::Err,
                bytes: b"a".to_vec()
            }
        );
        assert_eq!(rx.try_recv().unwrap().bytes, b"");
        assert!(rx.try_recv().is_err());
    }
}
