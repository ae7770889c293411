//! One header block of a tar archive.
//!
//! Source: POSIX.1-2017, "pax", sections "ustar Interchange Format" and "pax Header Block"; for
//! GNU's variant, which Qdrant writes, the GNU tar manual, "Basic Tar Format" and "Storing Sparse
//! Files" (old GNU format).

use super::Fault;

/// Size of every block.
pub(super) const BLOCK: usize = 512;
/// Entries of a sparse map in the header itself and in each further block.
const MAP_IN_HEADER: usize = 4;
const MAP_IN_BLOCK: usize = 21;
/// Bytes of one such entry: two numbers of 12.
const MAP_ENTRY: usize = 24;

/// What a header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    /// The type flag.
    pub(super) kind: u8,
    /// Name, with the prefix of ustar where there is one.
    pub(super) name: Vec<u8>,
    /// Bytes that follow.
    pub(super) size: u64,
    /// The beginning of the map, when it is a sparse file.
    pub(super) sparse: Option<Sparse>,
}

/// What the header of a sparse file says beyond the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sparse {
    /// Size of the file with its holes.
    pub(super) real: u64,
    /// The map.
    pub(super) map: Map,
}

/// A piece of a sparse map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Map {
    /// Offset and length of each piece of data.
    pub(super) pieces: Vec<(u64, u64)>,
    /// Whether another block of the map follows.
    pub(super) more: bool,
}

impl Header {
    /// Reads a block that is not all zeros.
    pub(super) fn read(block: &[u8; BLOCK]) -> Result<Self, Fault> {
        if stated_sum(field(block, 148, 8)) != Some(sum(block)) {
            return Err(Fault::Checksum);
        }
        let gnu = match field(block, 257, 8) {
            b"ustar  \0" => true,
            b"ustar\x0000" => false,
            _ => return Err(Fault::Format),
        };
        let mut name = text(field(block, 0, 100)).to_vec();
        let prefix = text(field(block, 345, 155));
        if !gnu && !prefix.is_empty() {
            name = [prefix, b"/", &name].concat();
        }
        let kind = field(block, 156, 1).first().copied().unwrap_or_default();
        let sparse = if kind == b'S' {
            if !gnu {
                return Err(Fault::Format);
            }
            Some(Sparse {
                real: number(field(block, 483, 12), "real size")?,
                map: map(
                    field(block, 386, MAP_IN_HEADER * MAP_ENTRY),
                    field(block, 482, 1),
                )?,
            })
        } else {
            None
        };
        Ok(Self {
            kind,
            name,
            size: number(field(block, 124, 12), "size")?,
            sparse,
        })
    }
}

/// Reads a further block of a sparse map.
pub(super) fn map_block(block: &[u8; BLOCK]) -> Result<Map, Fault> {
    const LENGTH: usize = MAP_IN_BLOCK * MAP_ENTRY;
    map(field(block, 0, LENGTH), field(block, LENGTH, 1))
}

fn map(entries: &[u8], more: &[u8]) -> Result<Map, Fault> {
    let mut pieces = Vec::with_capacity(MAP_IN_BLOCK);
    let (chunks, _) = entries.as_chunks::<MAP_ENTRY>();
    // The first that is empty ends it.
    for entry in chunks.iter().take_while(|entry| entry.first() != Some(&0)) {
        let (offset, length) = entry.split_at(MAP_ENTRY / 2);
        pieces.push((
            number(offset, "sparse offset")?,
            number(length, "sparse length")?,
        ));
    }
    match more {
        [0] => Ok(Map {
            pieces,
            more: false,
        }),
        [1] => Ok(Map { pieces, more: true }),
        _ => Err(Fault::Number("mark of a longer sparse map")),
    }
}

/// The sum of all bytes, those of the sum itself taken for spaces.
fn sum(block: &[u8; BLOCK]) -> u32 {
    let add = |sum: u32, (at, byte): (usize, &u8)| {
        let byte = if (148..156).contains(&at) {
            b' '
        } else {
            *byte
        };
        sum + u32::from(byte)
    };
    block.iter().enumerate().fold(0, add)
}

/// The sum that a header states, in the two exact forms that writers use: six digits, NUL, space
/// (POSIX) and seven digits, NUL (Rust's tar). A looser reading would let some damage pass.
fn stated_sum(field: &[u8]) -> Option<u32> {
    let digits = field
        .strip_suffix(b"\0 ")
        .or_else(|| field.strip_suffix(b"\0"))?;
    octal(digits).and_then(|sum| u32::try_from(sum).ok())
}

/// A number: octal digits ended by NUL or space, or, with the top bit set, big-endian (GNU, for
/// what does not fit).
pub(super) fn number(field: &[u8], what: &'static str) -> Result<u64, Fault> {
    let bad = Fault::Number(what);
    if let Some((0x80, rest)) = field.split_first() {
        let (high, low) = rest.split_last_chunk::<8>().ok_or(bad.clone())?;
        return match high.iter().all(|byte| *byte == 0) {
            true => Ok(u64::from_be_bytes(*low)),
            false => Err(bad),
        };
    }
    let end = field.iter().position(|byte| matches!(byte, 0 | b' '));
    let (digits, rest) = field
        .split_at_checked(end.unwrap_or(field.len()))
        .ok_or(bad.clone())?;
    if !rest.iter().all(|byte| matches!(byte, 0 | b' ')) {
        return Err(bad);
    }
    octal(digits).ok_or(bad)
}

fn octal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, digit| match digit {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

/// A text field, up to its first NUL.
fn text(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn field(block: &[u8; BLOCK], from: usize, length: usize) -> &[u8] {
    block.get(from..from + length).unwrap_or_default()
}
