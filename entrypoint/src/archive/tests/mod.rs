//! The verifier against archives made by the library that Qdrant makes them with: the format here,
//! what belongs in a shard in [`rules`].

mod rules;

use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;

use ::tar::{Archive, Builder, EntryType, Header};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

const ID: &str = "0f0e0d0c-0000-4000-8000-000000000001";
const OTHER: &str = "0f0e0d0c-0000-4000-8000-000000000002";

type Tar = Builder<Vec<u8>>;

fn json(tar: &mut Tar, name: &str, content: &str) {
    let mut header = Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(content.len() as u64);
    tar.append_data(&mut header, name, content.as_bytes())
        .unwrap();
}

/// Files as a segment has them: with holes, without, empty, and with a long name.
fn segment(tar: &mut Tar, dir: &Path, root: &str) {
    let mut add = |name: &str, pieces: &[u64], size: u64| {
        let path = dir.join("file");
        let mut file = File::create(&path).unwrap();
        for at in pieces {
            file.seek(SeekFrom::Start(*at)).unwrap();
            file.write_all(b"some bytes of data").unwrap();
        }
        file.set_len(size).unwrap();
        file.sync_all().unwrap();
        tar.append_path_with_name(&path, format!("{root}/{name}"))
            .unwrap();
    };
    add("vector_storage/chunk_0.mmap", &[0], 700);
    add("payload_storage/page_0.dat", &[1 << 20], 4 << 20);
    add("payload_storage/tracker.dat", &[], 1 << 20);
    let many: Vec<u64> = (0..30).map(|n| n * (64 << 10)).collect();
    add("payload_storage/bitmask.dat", &many, 2 << 20);
    add("id_tracker.mappings", &[], 0);
    add(
        &format!("{}/{}", "long".repeat(20), "name".repeat(20)),
        &[0],
        512,
    );
    add("segment.json", &[], 0);
}

struct Parts {
    dir: TempDir,
    tar: Tar,
}

impl Parts {
    fn new() -> Self {
        let mut tar = Builder::new(Vec::new());
        tar.sparse(true);
        let dir = TempDir::new().unwrap();
        Self { dir, tar }
    }

    fn segment(mut self, id: &str) -> Self {
        let root = format!("segments/{id}/files");
        let mut add = |name: &str, size: usize| {
            json(&mut self.tar, &format!("{root}/{name}"), &" ".repeat(size));
        };
        add("vector_storage/chunk_0.mmap", 700);
        self.json(&format!("{root}/segment.json"), "{}")
            .json(&format!("{root}/version.info"), "0.6.0")
    }

    fn json(mut self, name: &str, content: &str) -> Self {
        json(&mut self.tar, name, content);
        self
    }

    fn wal(mut self) -> Self {
        let wal = self.dir.path().join("wal");
        fs::create_dir_all(&wal).unwrap();
        let file = File::create(wal.join("closed-1")).unwrap();
        file.set_len(32 << 20).unwrap();
        self.tar.append_dir_all("wal", &wal).unwrap();
        self
    }

    fn clocks(self) -> Self {
        self.json("newest_clocks.json", "{}")
            .json("oldest_clocks.json", "{}")
    }

    fn state(self) -> Self {
        self.json(
            "replica_state.json",
            r#"{"is_local":true,"this_peer_id":1,"peers":{"1":"Active"}}"#,
        )
    }

    fn config(self) -> Self {
        self.json("shard_config.json", r#"{"type":"ReplicaSet"}"#)
    }

    fn bytes(self) -> Vec<u8> {
        self.tar.into_inner().unwrap()
    }
}

/// Everything that a stream has.
fn whole() -> Vec<u8> {
    let mut parts = Parts::new()
        .json("segments_manifest.json", "{}")
        .segment(ID);
    let root = format!("segments/{OTHER}/files");
    // All but its last file, which is empty there and has content in Qdrant's.
    let mut inner = Builder::new(Vec::new());
    inner.sparse(true);
    segment(&mut inner, parts.dir.path(), &root);
    let inner = inner.into_inner().unwrap();
    let inner = &inner[..inner.len() - 1024 - 512];
    parts.tar.get_mut().extend_from_slice(inner);
    parts
        .json(&format!("{root}/segment.json"), "{}")
        .json(&format!("{root}/version.info"), "0.6.0")
        .clocks()
        .wal()
        .state()
        .config()
        .bytes()
}

/// A small one, for tests of others; with so many bytes in a file that only a later Qdrant knows.
/// It holds the time at which it was made, so two are not the same.
pub(crate) fn small(more: usize) -> Vec<u8> {
    Parts::new()
        .segment(ID)
        .clocks()
        .wal()
        .state()
        .config()
        .json("later", &" ".repeat(more))
        .bytes()
}

fn fault(bytes: &[u8]) -> Fault {
    match verify(bytes) {
        Err(VerifyError::Refused(refusal)) => {
            assert_eq!(refusal.to_string().lines().count(), 1, "{refusal}");
            refusal.fault
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_whole_archive_is_accepted_however_it_comes() {
    let bytes = whole();
    let summary = verify(bytes.as_slice()).unwrap();
    assert_eq!(summary.bytes, bytes.len() as u64);
    assert_eq!((summary.segments, summary.unknown), (2, 0));
    // What the library itself makes of it, so that nothing was passed over.
    let entries = Archive::new(bytes.as_slice()).entries().unwrap().count() as u64;
    assert_eq!(summary.entries, entries);
    let mut archive = Archive::new(bytes.as_slice());
    let holes = archive.entries().unwrap().filter(|e| {
        e.as_ref()
            .is_ok_and(|e| e.header().entry_type() == EntryType::GNUSparse)
    });
    assert!(holes.count() >= 4, "this file system has no holes");
    for length in [1, 7, 511, 512, 513, 4096] {
        let mut verifier = Verifier::new();
        for piece in bytes.chunks(length) {
            verifier.push(piece).unwrap();
        }
        assert_eq!(verifier.finish().unwrap(), summary, "pieces of {length}");
    }
}

#[test]
fn every_truncation_is_refused() {
    let bytes = whole();
    let mut verifier = Verifier::new();
    for (length, byte) in bytes.iter().enumerate() {
        let refused = verifier.clone().finish();
        assert!(
            refused.is_err(),
            "accepted after {length} of {} bytes",
            bytes.len()
        );
        verifier.push(std::slice::from_ref(byte)).unwrap();
    }
    verifier.finish().unwrap();
}

#[test]
fn whatever_follows_is_refused() {
    let bytes = whole();
    for more in [&[0][..], &[1], &[0; 512], &bytes] {
        assert_eq!(fault(&[&bytes, more].concat()), Fault::Trailing);
    }
}

#[test]
fn half_an_end_is_refused() {
    let bytes = whole();
    let cut = &bytes[..bytes.len() - 512];
    assert_eq!(fault(cut), Fault::HalfEnd);
    assert_eq!(fault(&[cut, &bytes[..512]].concat()), Fault::HalfEnd);
}

#[test]
fn every_flipped_bit_of_a_header_is_refused() {
    let bytes = whole();
    let headers: Vec<usize> = bytes
        .chunks(512)
        .enumerate()
        .filter(|(_, block)| block[257..].starts_with(b"ustar"))
        .map(|(n, _)| n * 512)
        .collect();
    assert!(headers.len() > 15, "{}", headers.len());
    let (mut verifier, mut pushed) = (Verifier::new(), 0);
    for at in headers {
        verifier.push(&bytes[pushed..at]).unwrap();
        pushed = at;
        for bit in 0..512 * 8 {
            let mut block = bytes[at..at + 512].to_vec();
            block[bit / 8] ^= 1 << (bit % 8);
            let refused = verifier.clone().push(&block);
            assert!(refused.is_err(), "bit {bit} of the header at {at}");
        }
    }
}

/// An archive with one entry made by hand before the rest.
fn with(kind: u8, name: &[u8], link: &str) -> Vec<u8> {
    let mut header = Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_entry_type(EntryType::new(kind));
    header.set_size(0);
    header.set_cksum();
    [header.as_bytes().as_slice(), &whole()].concat()
}

#[test]
fn names_that_lead_outside_are_refused() {
    for (name, why) in [
        (&b"/etc/passwd"[..], "absolute"),
        (b"../a", "upwards"),
        (b"segments/../../a", "upwards"),
        (b"segments/..", "upwards"),
        (b"./a", "empty part"),
        (b"a//b", "empty part"),
        (b"a/", "empty part"),
        (b"", "empty"),
        (b"\xff", "UTF-8"),
    ] {
        let refused = fault(&with(b'0', name, "")).to_string();
        assert!(refused.contains(why), "{refused}");
    }
}

#[test]
fn only_files_and_directories_are_accepted() {
    for kind in *b"12346 7gKVMDNX" {
        let refused = fault(&with(kind, b"thing", "/etc/passwd"));
        assert!(
            matches!(refused, Fault::Kind { .. }),
            "{}: {refused}",
            char::from(kind)
        );
    }
    assert_eq!(
        verify(with(b'0', b"thing", "").as_slice()).unwrap().unknown,
        1
    );
    assert_eq!(
        verify(with(b'5', b"thing/", "").as_slice())
            .unwrap()
            .unknown,
        1
    );
}

#[test]
fn a_file_that_grew_while_it_was_archived_is_refused() {
    let mut bytes = whole();
    // The first entry is the manifest: two bytes of data, then zeros.
    bytes[512 + 2] = b'x';
    let path = "segments_manifest.json".to_owned();
    assert_eq!(fault(&bytes), Fault::Padding { path });
    // By a whole block: what follows is no header.
    let bytes = whole();
    let grown = [&bytes[..1024], &[b'x'; 512], &bytes[1024..]].concat();
    assert_eq!(fault(&grown), Fault::Checksum);
}

#[test]
fn maps_of_sparse_files_must_add_up() {
    let sparse = |pieces: &[(u64, u64)], real: u64, size: u64| {
        let mut header = Header::new_gnu();
        header.set_path("a").unwrap();
        header.set_entry_type(EntryType::GNUSparse);
        header.set_size(size);
        let gnu = header.as_gnu_mut().unwrap();
        gnu.set_real_size(real);
        for (piece, (offset, length)) in gnu.sparse.iter_mut().zip(pieces) {
            piece.set_offset(*offset);
            piece.set_length(*length);
        }
        header.set_cksum();
        let mut verifier = Verifier::new();
        verifier
            .push(header.as_bytes())
            .map_err(|refusal| refusal.fault.to_string())
    };
    sparse(&[(0, 512), (1024, 512), (9000, 0)], 9000, 1024).unwrap();
    for (refused, why) in [
        (sparse(&[(0, 512), (1024, 0)], 1024, 1024), "add up"),
        (sparse(&[(0, 512)], 1024, 512), "end with the file"),
        (sparse(&[(1024, 512), (0, 512)], 1536, 1024), "backwards"),
        (sparse(&[(u64::MAX, 512)], 1, 512), "overflows"),
    ] {
        assert!(refused.clone().unwrap_err().contains(why), "{refused:?}");
    }
}

#[test]
fn pax_headers_name_and_size_the_next_entry() {
    let with_pax = |records: &str| {
        let mut header = Header::new_ustar();
        header.set_path("pax").unwrap();
        header.set_entry_type(EntryType::XHeader);
        header.set_size(records.len() as u64);
        header.set_cksum();
        let mut block = records.as_bytes().to_vec();
        block.resize(512, 0);
        [header.as_bytes().as_slice(), &block, &whole()].concat()
    };
    verify(with_pax("20 mtime=1234567890\n").as_slice()).unwrap();
    assert_eq!(
        verify(with_pax("14 path=other\n").as_slice())
            .unwrap()
            .unknown,
        1
    );
    assert!(matches!(
        fault(&with_pax("13 path=/etc\n")),
        Fault::Name { .. }
    ));
    for bad in [
        "14 path=othe\n",
        "x path=a\n",
        "+9 path=a\n",
        "17 linkpath=/etc\n",
        "9 size=x\n",
        "25 GNU.sparse.major=1000\n",
    ] {
        assert!(matches!(fault(&with_pax(bad)), Fault::Extended(_)), "{bad}");
    }
}

#[test]
fn a_refusal_stays() {
    let mut verifier = Verifier::new();
    let refusal = verifier.push(&[b'x'; 600]).unwrap_err();
    assert_eq!(refusal.fault, Fault::Checksum);
    assert_eq!(verifier.push(&whole()).unwrap_err(), refusal);
    assert_eq!(verifier.finish().unwrap_err(), refusal);
}

proptest! {
    /// No input makes it panic, and none that is not a snapshot passes.
    #[test]
    fn garbage_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..4096)) {
        prop_assert!(verify(bytes.as_slice()).is_err());
    }

    /// Nor does a whole one out of which a piece was lost, or in which one was overwritten by
    /// zeros up to the end.
    #[test]
    fn a_lost_piece_is_noticed(from in 0.0..1.0_f64, length in 1_usize..5000) {
        let bytes = Parts::new().segment(ID).clocks().wal().state().config().bytes();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let from = (from * bytes.len() as f64) as usize;
        let to = (from + length).min(bytes.len());
        let without = [&bytes[..from], &bytes[to..]].concat();
        prop_assert!(verify(without.as_slice()).is_err(), "{from}..{to}");
    }
}
