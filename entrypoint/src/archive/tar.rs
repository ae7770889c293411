//! Reading a tar archive as it comes, block by block. Strict: what Qdrant does not write is an
//! error, never skipped. Source of the format: see [`super::header`].

use super::header::{self, BLOCK, Header, Map};
use super::refusal::shown;
use super::{Fault, Refusal};

/// Most bytes of a long name, and of pax records.
const MAX_EXTENDED: u64 = 64 * 1024;

/// What an archive holds is told to one of these.
pub(super) trait Sink {
    /// An entry begins.
    fn begin(&mut self, entry: &Entry) -> Result<(), Fault>;
    /// Some of its data; of a sparse file without the holes.
    fn data(&mut self, bytes: &[u8]) -> Result<(), Fault>;
    /// It ends.
    fn end(&mut self) -> Result<(), Fault>;
}

/// A file or a directory in an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Relative path of plain names.
    pub(super) path: String,
    /// Whether it is a directory.
    pub(super) directory: bool,
    /// Whether it has holes, whose bytes are not in the archive.
    pub(super) sparse: bool,
    /// Bytes of its data in the archive.
    pub(super) size: u64,
}

/// Where in the archive the reader is.
#[derive(Debug, Clone, Default)]
enum State {
    #[default]
    Header,
    /// In the further blocks of a sparse map.
    Map(Pending),
    /// In a long name or pax records.
    Extended { kind: u8, left: u64, bytes: Vec<u8> },
    /// In an entry.
    Data { left: u64 },
    /// In the zeros after an entry or extended header.
    Padding { left: u64 },
    /// After the first end block.
    Ending,
    /// After the second.
    Ended,
}

/// A sparse entry whose map is not complete.
#[derive(Debug, Clone)]
struct Pending {
    entry: Entry,
    real: u64,
    /// Where the last piece ends, and the length of all.
    end: u64,
    sum: u64,
}

/// The reader.
#[derive(Debug, Clone)]
pub(super) struct Reader {
    state: State,
    block: [u8; BLOCK],
    filled: usize,
    read: u64,
    /// Size of what is being read, for its padding.
    size: u64,
    /// From extended headers, for the next entry.
    name: Option<Vec<u8>>,
    long: Option<u64>,
    /// The entry that is being read, for messages.
    path: String,
}

impl Default for Reader {
    fn default() -> Self {
        Self {
            state: State::Header,
            block: [0; BLOCK],
            filled: 0,
            read: 0,
            size: 0,
            name: None,
            long: None,
            path: String::new(),
        }
    }
}

impl Reader {
    /// Reads the next bytes and tells `sink` what they hold.
    pub(super) fn push(&mut self, bytes: &[u8], sink: &mut dyn Sink) -> Result<(), Refusal> {
        let mut rest = bytes;
        while !rest.is_empty() {
            // Where the block begins that the next bytes belong to.
            let at = self.read.saturating_sub(self.filled as u64);
            let taken = self
                .step(rest, sink)
                .map_err(|fault| Refusal::new(at, fault))?;
            self.read += taken as u64;
            rest = rest.get(taken..).unwrap_or_default();
        }
        Ok(())
    }

    /// Says that there are no more bytes; gives their number.
    pub(super) fn finish(&self) -> Result<u64, Refusal> {
        match self.state {
            State::Ended => Ok(self.read),
            State::Ending => Err(Refusal::new(self.read, Fault::HalfEnd)),
            _ => Err(Refusal::new(self.read, Fault::Truncated)),
        }
    }

    /// Whether it is between two entries, or at the end.
    pub(super) fn between(&self) -> bool {
        match self.state {
            State::Header => self.filled == 0 && self.name.is_none() && self.long.is_none(),
            State::Ended => true,
            _ => false,
        }
    }

    /// Takes some of `bytes`, one at least.
    fn step(&mut self, bytes: &[u8], sink: &mut dyn Sink) -> Result<usize, Fault> {
        let up_to = |left: u64| usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        match &mut self.state {
            State::Ended => Err(Fault::Trailing),
            State::Header | State::Map(_) | State::Ending => {
                let taken = (BLOCK - self.filled).min(bytes.len());
                let room = self.block.get_mut(self.filled..self.filled + taken);
                if let (Some(room), Some(bytes)) = (room, bytes.get(..taken)) {
                    room.copy_from_slice(bytes);
                }
                self.filled += taken;
                if self.filled == BLOCK {
                    self.whole_block(sink)?;
                    self.filled = 0;
                }
                Ok(taken)
            }
            State::Extended {
                left,
                bytes: so_far,
                ..
            } => {
                let taken = up_to(*left);
                so_far.extend_from_slice(bytes.get(..taken).unwrap_or_default());
                *left -= taken as u64;
                if *left == 0 {
                    self.extended()?;
                }
                Ok(taken)
            }
            State::Data { left } => {
                let taken = up_to(*left);
                *left -= taken as u64;
                let ended = *left == 0;
                sink.data(bytes.get(..taken).unwrap_or_default())?;
                if ended {
                    sink.end()?;
                    self.pad();
                }
                Ok(taken)
            }
            State::Padding { left } => {
                let taken = up_to(*left);
                // POSIX does not ask for zeros, but Qdrant's writer has nothing else; other bytes
                // are those of a file that grew while it was read.
                if bytes.iter().take(taken).any(|byte| *byte != 0) {
                    return Err(Fault::Padding {
                        path: shown(&self.path),
                    });
                }
                *left -= taken as u64;
                if *left == 0 {
                    self.state = State::Header;
                }
                Ok(taken)
            }
        }
    }

    /// Goes on after something of the current size.
    fn pad(&mut self) {
        let over = self.size % BLOCK as u64;
        self.state = match over {
            0 => State::Header,
            over => State::Padding {
                left: BLOCK as u64 - over,
            },
        };
    }

    fn whole_block(&mut self, sink: &mut dyn Sink) -> Result<(), Fault> {
        let zeros = self.block.iter().all(|byte| *byte == 0);
        match std::mem::take(&mut self.state) {
            State::Ending if zeros => self.state = State::Ended,
            State::Ending => return Err(Fault::HalfEnd),
            State::Map(pending) => {
                let map = header::map_block(&self.block)?;
                self.map(pending, &map, sink)?;
            }
            _ if zeros && (self.name.is_some() || self.long.is_some()) => {
                return Err(Fault::Extended("belongs to no entry"));
            }
            _ if zeros => self.state = State::Ending,
            _ => self.header(sink)?,
        }
        Ok(())
    }

    fn header(&mut self, sink: &mut dyn Sink) -> Result<(), Fault> {
        let header = Header::read(&self.block)?;
        self.size = header.size;
        if let b'L' | b'x' = header.kind {
            if header.size == 0 || header.size > MAX_EXTENDED {
                return Err(Fault::Extended("has no sensible size"));
            }
            self.state = State::Extended {
                kind: header.kind,
                left: header.size,
                bytes: Vec::new(),
            };
            return Ok(());
        }
        let size = self.long.take().unwrap_or(header.size);
        self.size = size;
        let name = self.name.take().unwrap_or(header.name);
        let directory = header.kind == b'5';
        let path = checked(&name, directory)?;
        self.path.clone_from(&path);
        // Files are '0' or, in the oldest archives, NUL.
        if !matches!(header.kind, b'0' | 0 | b'5' | b'S') {
            let kind = char::from(header.kind);
            return Err(Fault::Kind {
                path: shown(&path),
                kind,
            });
        }
        if directory && size != 0 {
            let why = "is a directory with data";
            return Err(Fault::Misplaced {
                path: shown(&path),
                why,
            });
        }
        let entry = Entry {
            path,
            directory,
            sparse: header.sparse.is_some(),
            size,
        };
        match header.sparse {
            Some(sparse) => {
                let pending = Pending {
                    entry,
                    real: sparse.real,
                    end: 0,
                    sum: 0,
                };
                self.map(pending, &sparse.map, sink)
            }
            None => self.entry(&entry, sink),
        }
    }

    /// Adds a piece of a sparse map and begins the entry after the last.
    fn map(&mut self, pending: Pending, map: &Map, sink: &mut dyn Sink) -> Result<(), Fault> {
        let mut pending = pending;
        let path = shown(&pending.entry.path);
        let bad = |why| Fault::Sparse {
            path: path.clone(),
            why,
        };
        for (offset, length) in &map.pieces {
            let end = offset.checked_add(*length).ok_or(bad("overflows"))?;
            if *offset < pending.end {
                return Err(bad("goes backwards"));
            }
            pending.end = end;
            // Cannot overflow: pieces do not overlap.
            pending.sum += length;
        }
        if map.more {
            if map.pieces.is_empty() {
                return Err(bad("goes on after its end"));
            }
            self.state = State::Map(pending);
            return Ok(());
        }
        if pending.sum != pending.entry.size {
            return Err(bad("does not add up to its data"));
        }
        // Rust's tar ends every map with an empty piece at the end of the file, GNU's likewise.
        if pending.end != pending.real {
            return Err(bad("does not end with the file"));
        }
        self.entry(&pending.entry, sink)
    }

    fn entry(&mut self, entry: &Entry, sink: &mut dyn Sink) -> Result<(), Fault> {
        sink.begin(entry)?;
        if entry.size == 0 {
            sink.end()?;
            self.state = State::Header;
        } else {
            self.state = State::Data { left: entry.size };
        }
        Ok(())
    }

    /// Takes in a complete extended header.
    fn extended(&mut self) -> Result<(), Fault> {
        if let State::Extended { kind, bytes, .. } = std::mem::take(&mut self.state) {
            if kind == b'L' {
                let name = bytes.strip_suffix(b"\0").unwrap_or(&bytes);
                self.set_name(name)?;
            } else {
                self.pax(&bytes)?;
            }
        }
        self.pad();
        Ok(())
    }

    fn set_name(&mut self, name: &[u8]) -> Result<(), Fault> {
        match self.name.replace(name.to_vec()) {
            None => Ok(()),
            Some(_) => Err(Fault::Extended("names an entry twice")),
        }
    }

    /// Records of the form "length key=value\n", length in decimal digits and counting itself.
    fn pax(&mut self, records: &[u8]) -> Result<(), Fault> {
        const BAD: Fault = Fault::Extended("is not made of pax records");
        let mut rest = records;
        while !rest.is_empty() {
            let space = rest.iter().position(|byte| *byte == b' ').ok_or(BAD)?;
            let length = rest.get(..space).and_then(decimal).ok_or(BAD)?;
            let (record, later) = rest.split_at_checked(length).ok_or(BAD)?;
            let record = record
                .get(space + 1..)
                .and_then(|record| record.strip_suffix(b"\n"));
            let record = record.ok_or(BAD)?;
            let equals = record.iter().position(|byte| *byte == b'=').ok_or(BAD)?;
            let (key, value) = record.split_at_checked(equals).ok_or(BAD)?;
            let value = value.get(1..).ok_or(BAD)?;
            match key {
                b"path" => self.set_name(value)?,
                b"size" => {
                    let size = decimal(value).ok_or(BAD)?;
                    if self.long.replace(size as u64).is_some() {
                        return Err(Fault::Extended("states a size twice"));
                    }
                }
                b"linkpath" => return Err(Fault::Extended("names a link")),
                _ if key.starts_with(b"GNU.sparse.") => {
                    return Err(Fault::Extended(
                        "describes a sparse file in a way not known",
                    ));
                }
                // Times, owners and comments.
                _ => {}
            }
            rest = later;
        }
        Ok(())
    }
}

fn decimal(digits: &[u8]) -> Option<usize> {
    let plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits)
        .ok()?
        .parse()
        .ok()
        .filter(|_| plain)
}

/// A name that stays inside; nothing is unpacked here, but whoever restores unpacks it.
fn checked(name: &[u8], directory: bool) -> Result<String, Fault> {
    let path = String::from_utf8_lossy(name);
    let why = if name.is_empty() {
        "is empty"
    } else if std::str::from_utf8(name).is_err() {
        "is not UTF-8"
    } else if path.starts_with('/') {
        "is absolute"
    } else if name.contains(&0) {
        "holds a NUL"
    } else {
        let inner = path
            .strip_suffix('/')
            .filter(|_| directory)
            .unwrap_or(&path);
        match inner
            .split('/')
            .find(|part| matches!(*part, "" | "." | ".."))
        {
            None => return Ok(inner.to_owned()),
            Some("..") => "leads upwards",
            Some(_) => "has an empty part",
        }
    };
    Err(Fault::Name {
        path: shown(&path),
        why,
    })
}
