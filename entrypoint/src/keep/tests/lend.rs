//! Files of sets through the control port: whole or not at all, only what counts, and nothing is left
//! of who goes away.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use planner::heal::names::ShardId;
use planner::keep::ids::CollectionIndex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::files::arrival;
use super::sample::{self, PEER, SET, set};
use super::{Bench, LONG, SHORT, bench};
use crate::config::Secret;
use crate::control;
use crate::control::tests::{board, config};
use crate::keep::Shelf;
use crate::keep::asked::Asking;
use crate::keep::lend::{self, Lender};
use crate::keep::restore_request::Restoring;
use crate::knocks::Knocks;
use crate::status::Board;
use crate::store::testing::{Fault, Gate};
use crate::store::{DirectoryStore, Op};

const FILE: &str = "c000/s0-1.shard";
/// More than the buffers of a connection take.
const LARGE: usize = 32 << 20;

/// A control port.
struct Port {
    at: SocketAddr,
    _board: watch::Sender<Board>,
}

impl Port {
    async fn open(lender: Lender, keys: &[&str]) -> Self {
        let (sender, reader) = watch::channel(board());
        let listener = control::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let at = listener.local_addr().unwrap();
        let keys = keys.iter().map(|key| Secret::new(*key)).collect();
        // Nobody listens there.
        let nowhere = "127.0.0.1:1".parse::<SocketAddr>().unwrap();
        let nowhere = qdrant_api::BaseUrl::try_from(nowhere).unwrap();
        let qdrant = qdrant_api::Client::new(nowhere, None, SHORT).unwrap();
        let knocks = Knocks::default();
        let asking = Asking::new(&config(&[]), qdrant.clone());
        // Nobody asks for a restore.
        let nothing = Arc::new(DirectoryStore::new("/nonexistent"));
        let shelf = Shelf::start(nothing, SHORT).unwrap();
        let restoring = Restoring::new(&config(&[]), qdrant.clone(), shelf);
        let sets = control::Sets {
            lender,
            asking,
            restoring,
        };
        tokio::spawn(control::serve(
            listener, reader, keys, LONG, qdrant, knocks, sets,
        ));
        Self { at, _board: sender }
    }

    async fn of(shelf: &Shelf) -> Self {
        Self::open(Lender::new(shelf.clone()), &[]).await
    }

    /// Asks for exactly this, which a client that tidies up addresses would not.
    async fn ask(&self, target: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.at).await.unwrap();
        let ask = format!("GET {target} HTTP/1.1\r\nhost: it\r\nconnection: close\r\n\r\n");
        stream.write_all(ask.as_bytes()).await.unwrap();
        stream
    }

    /// The code, the head and the text of an answer that is no file.
    async fn answer(&self, target: &str) -> (u16, String, String) {
        let whole = rest(self.ask(target).await).await;
        let head = whole
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .unwrap();
        let (head, text) = whole.split_at(head);
        let head = String::from_utf8(head.to_vec()).unwrap();
        let code = head.split(' ').nth(1).unwrap().parse().unwrap();
        assert_ne!(code, 200, "{target} is given");
        (code, head, String::from_utf8(text[4..].to_vec()).unwrap())
    }

    /// Asks as Qdrant does.
    async fn get(&self, path: &str, key: Option<&str>) -> reqwest::Response {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut request = client.get(format!("http://{}{path}", self.at));
        if let Some(key) = key {
            request = request.header("api-key", key);
        }
        request.send().await.unwrap()
    }
}

/// All that still comes, until the connection ends one way or the other.
async fn rest(mut stream: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let end = stream.read_to_end(&mut bytes);
    let _ = timeout(LONG, end).await.expect("the connection ends");
    bytes
}

/// How many bytes were promised, and what came; whether the end was a clean one.
async fn taken(mut response: reqwest::Response) -> (u64, Vec<u8>, bool) {
    assert_eq!(response.status(), 200);
    let promised = response.content_length().unwrap();
    let mut bytes = Vec::new();
    loop {
        match timeout(LONG, response.chunk()).await.expect("it ends") {
            Ok(Some(piece)) => bytes.extend_from_slice(&piece),
            Ok(None) => return (promised, bytes, true),
            Err(_) => return (promised, bytes, false),
        }
    }
}

fn target() -> String {
    format!("/v1/sets/{SET}/{FILE}")
}

/// Bytes that are not the same in two pieces.
fn bytes(length: usize) -> Vec<u8> {
    let mixed = |n: usize| (n as u32).wrapping_mul(2_654_435_761) >> 24;
    (0..length).map(|n| mixed(n) as u8).collect()
}

/// A set of one file, without asking the store.
fn lay(bench: &Bench, bytes: &[u8]) {
    bench.lay(FILE, bytes);
    let mut manifest = sample::manifest();
    manifest.collections[0].files[0].bytes = bytes.len() as u64;
    bench.lay("manifest.json", &serde_json::to_vec(&manifest).unwrap());
}

/// How many files of sets are open in this process.
fn open(bench: &Bench) -> usize {
    let open = fs::read_dir("/proc/self/fd").unwrap();
    let open = open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    let ours = |to: &std::path::PathBuf| {
        to.starts_with(bench.dir.path()) && to.extension().is_some_and(|end| end == "shard")
    };
    open.filter(ours).count()
}

async fn until_open(bench: &Bench, wanted: usize) {
    let end = Instant::now() + LONG;
    while open(bench) != wanted {
        assert!(Instant::now() < end, "open: {}", open(bench));
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_file_comes_whole_and_nothing_is_left_open() {
    let path = lend::path(set(SET), CollectionIndex(0), ShardId(0), PEER);
    assert_eq!(path, target());
    for length in [1, 256 * 1024, (5 << 20) + 77] {
        let bench = bench(LONG);
        let bytes = bytes(length);
        lay(&bench, &bytes);
        let port = Port::of(&bench.shelf).await;
        let (promised, came, clean) = taken(port.get(&path, None).await).await;
        assert_eq!((promised, clean), (length as u64, true));
        assert!(came == bytes, "other bytes");
        until_open(&bench, 0).await;
        assert_eq!(bench.shelf.stuck(), []);
    }
}

#[tokio::test]
async fn only_the_exact_path_of_a_shard_is_one() {
    let bench = bench(LONG);
    lay(&bench, &bytes(1000));
    bench.lay("plan.json", b"{}");
    bench.lay("parts/c000-s0-1.json", b"{}");
    fs::write(bench.dir.path().join("secret"), "a secret").unwrap();
    let port = Port::of(&bench.shelf).await;
    for path in [
        format!("{SET}/manifest.json"),
        format!("{SET}/plan.json"),
        format!("{SET}/pin.json"),
        format!("{SET}/tombstone.json"),
        format!("{SET}/parts/c000-s0-1.json"),
        format!("{SET}/proofs/l0-20260301T000007Z.json"),
        format!("{SET}/c000/../manifest.json"),
        format!("{SET}/c000/../{FILE}"),
        format!("{SET}/../{SET}/{FILE}"),
        format!("../sets/{SET}/{FILE}"),
        "../secret".to_owned(),
        "../../secret".to_owned(),
        format!("%2e%2e/sets/{SET}/{FILE}"),
        format!("{SET}/%2e%2e/{SET}/{FILE}"),
        format!("{SET}/c000/%2e%2e/{FILE}"),
        "%2e%2e%2fsecret".to_owned(),
        format!("{SET}%2F{FILE}"),
        format!("{SET}/c000%2Fs0-1.shard"),
        format!("{SET}/c000/..%2Fc000%2Fs0-1.shard"),
        // Even where nothing would come of it, nothing is decoded.
        format!("{SET}/%63000/s0-1.shard"),
        format!("{SET}/{FILE}%00"),
        format!("{SET}/c000/%ff.shard"),
        format!("/{SET}/{FILE}"),
        format!("{SET}//{FILE}"),
        format!("{SET}/{FILE}/"),
        "/etc/passwd".to_owned(),
        format!("{SET}/c000"),
        format!("{SET}/c0/s0-1.shard"),
        format!("{SET}/c0000/s0-1.shard"),
        format!("{SET}/C000/s0-1.shard"),
        format!("{SET}/c000/s00-1.shard"),
        format!("{SET}/c000/s+0-1.shard"),
        format!("{SET}/c000/s0-01.shard"),
        format!("{SET}/c000/s4294967296-1.shard"),
        format!("{SET}/c000/s0-1.SHARD"),
        format!("{SET}/c000/s0-1.shard.tmp"),
        format!("{SET}/c000/.s0-1.shard"),
        format!("20260228t091500z/{FILE}"),
        format!("20260231T000000Z/{FILE}"),
        format!("backup/{FILE}"),
        FILE.to_owned(),
    ] {
        let (code, _, text) = port.answer(&format!("/v1/sets/{path}")).await;
        assert_eq!(code, 404, "{path}: {text}");
        assert!(
            text.contains("not the path of a shard's file"),
            "{path}: {text}"
        );
        assert_eq!(text.lines().count(), 1, "{path}: {text}");
    }
    // The store was never asked.
    assert_eq!(bench.store.most_inside(), 0);
    assert_eq!(port.get(&target(), None).await.status(), 200);
    assert!(bench.store.most_inside() > 0);
}

/// What is said of the file, and that nothing of it is given.
async fn refused(bench: &Bench, target: &str) -> (u16, String) {
    let port = Port::of(&bench.shelf).await;
    let (code, _, text) = port.answer(target).await;
    assert_eq!(text.lines().count(), 1, "{text}");
    (code, text)
}

#[tokio::test]
async fn only_sets_that_count_are_lent_from() {
    type Change = fn(&Bench);
    let cases: [(Change, u16, &str); 6] = [
        (
            |it| fs::remove_dir_all(it.path("")).unwrap(),
            404,
            "no manifest",
        ),
        // Unfinished.
        (
            |it| {
                fs::remove_file(it.path("manifest.json")).unwrap();
                it.lay("plan.json", &serde_json::to_vec(&sample::plan(1)).unwrap());
            },
            404,
            "no manifest",
        ),
        (
            |it| {
                let tombstone = serde_json::to_vec(&sample::tombstone()).unwrap();
                it.lay("tombstone.json", &tombstone);
            },
            410,
            "retention",
        ),
        (
            |it| it.lay("tombstone.json", b"no json"),
            410,
            "being deleted",
        ),
        (
            |it| it.lay("manifest.json", b"{\"format\":9}"),
            500,
            "its format is 9",
        ),
        (
            |it| fs::remove_file(it.path(FILE)).unwrap(),
            500,
            "not in the store",
        ),
    ];
    for (change, wanted, says) in cases {
        let bench = bench(LONG);
        lay(&bench, &bytes(1000));
        change(&bench);
        let (code, text) = refused(&bench, &target()).await;
        assert_eq!(code, wanted, "{text}");
        assert!(text.contains(says), "{text}");
        until_open(&bench, 0).await;
    }
}

#[tokio::test]
async fn only_what_the_manifest_lists_is_lent() {
    let bench = bench(LONG);
    lay(&bench, &bytes(1000));
    for file in ["c000/s1-1.shard", "c000/s0-2.shard", "c001/s0-1.shard"] {
        bench.lay(file, &bytes(1000));
        let (code, text) = refused(&bench, &format!("/v1/sets/{SET}/{file}")).await;
        assert_eq!(code, 404, "{text}");
        assert!(text.contains("lists no") && text.contains(file), "{text}");
    }
}

#[tokio::test]
async fn another_size_than_the_manifests_is_refused_before_a_byte_is_given() {
    for length in [999, 1001] {
        let bench = bench(LONG);
        lay(&bench, &bytes(1000));
        bench.lay(FILE, &bytes(length));
        let (code, text) = refused(&bench, &target()).await;
        assert_eq!(code, 500, "{text}");
        let says = format!("has {length} bytes, the manifest says 1000");
        assert!(text.contains(&says), "{text}");
        until_open(&bench, 0).await;
    }
}

#[tokio::test]
async fn a_tombstone_that_comes_meanwhile_counts() {
    let bench = bench(LONG);
    lay(&bench, &bytes(1000));
    let gate = Gate::default();
    // The tombstone and the manifest, then the file.
    bench.store.inject(Op::Read, Fault::Pass);
    bench.store.inject(Op::Read, Fault::Pass);
    bench.store.inject(Op::Read, Fault::Hang(gate.clone()));
    let port = Port::of(&bench.shelf).await;
    let (answer, ()) = tokio::join!(async { port.get(&target(), None).await }, async {
        arrival(&gate).await;
        let tombstone = serde_json::to_vec(&sample::tombstone()).unwrap();
        bench.lay("tombstone.json", &tombstone);
        gate.open();
    });
    assert_eq!(answer.status(), 410);
    until_open(&bench, 0).await;
}

/// The file when something happens to it after its first pieces.
async fn taken_while(bench: &Bench, change: impl FnOnce()) -> (u64, Vec<u8>, bool) {
    let gate = Gate::default();
    bench.store.inject_piece(Fault::Pass);
    bench.store.inject_piece(Fault::Hang(gate.clone()));
    let port = Port::of(&bench.shelf).await;
    let (taken, ()) = tokio::join!(
        async { taken(port.get(&target(), None).await).await },
        async {
            arrival(&gate).await;
            change();
            gate.open();
        }
    );
    taken
}

#[tokio::test]
async fn a_file_that_changes_while_it_is_read_breaks_the_connection() {
    let bytes = bytes(3 << 20);
    for longer in [false, true] {
        let bench = bench(LONG);
        lay(&bench, &bytes);
        let path = bench.path(FILE);
        let (promised, came, clean) = taken_while(&bench, || {
            let mut file = OpenOptions::new().append(true).open(&path).unwrap();
            match longer {
                true => file.write_all(b"x").unwrap(),
                false => file.set_len((3 << 20) - 1).unwrap(),
            }
        })
        .await;
        assert_eq!(promised, 3 << 20);
        assert!(!clean, "longer: {longer}");
        assert!(
            came.len() < bytes.len() && bytes.starts_with(&came),
            "longer: {longer}"
        );
        until_open(&bench, 0).await;
    }
    // The same delay alone does nothing.
    let bench = bench(LONG);
    lay(&bench, &bytes);
    let (_, came, clean) = taken_while(&bench, || ()).await;
    assert!(clean && came == bytes);
}

#[tokio::test]
async fn an_error_or_a_panic_of_the_store_breaks_the_connection() {
    let bytes = bytes(3 << 20);
    for fault in [Fault::ErrorBefore, Fault::Panic] {
        let bench = bench(LONG);
        lay(&bench, &bytes);
        bench.store.inject_piece(Fault::Pass);
        bench.store.inject_piece(fault);
        let port = Port::of(&bench.shelf).await;
        let (_, came, clean) = taken(port.get(&target(), None).await).await;
        assert!(!clean && came.len() < bytes.len());
        until_open(&bench, 0).await;
        let (_, came, clean) = taken(port.get(&target(), None).await).await;
        assert!(clean && came == bytes);
    }
}

#[tokio::test]
async fn a_store_that_hangs_breaks_the_connection_and_holds_up_nobody_else() {
    let bench = bench(SHORT);
    let bytes = bytes(3 << 20);
    lay(&bench, &bytes);
    let gate = Gate::default();
    bench.store.inject_piece(Fault::Pass);
    bench.store.inject_piece(Fault::Hang(gate.clone()));
    let port = Port::of(&bench.shelf).await;
    let hung = async { taken(port.get(&target(), None).await).await };
    let others = async {
        arrival(&gate).await;
        // Records, the runtime, and other files.
        assert_eq!(bench.shelf.sets().await.unwrap().len(), 1);
        let (_, came, clean) = taken(port.get(&target(), None).await).await;
        assert!(clean && came == bytes);
    };
    let began = Instant::now();
    let ((_, came, clean), ()) = tokio::join!(hung, others);
    assert!(!clean && came.len() < bytes.len());
    assert!(began.elapsed() >= SHORT);
    // It hangs on, and that is said, until the store lets it go.
    let stuck = bench.shelf.stuck();
    assert_eq!(stuck.len(), 1, "{stuck:?}");
    assert!(stuck[0].path.ends_with(FILE) && stuck[0].op == Op::Read);
    until_open(&bench, 1).await;
    gate.open();
    until_open(&bench, 0).await;
    bench.until_free().await;
}

#[tokio::test]
async fn a_store_that_hangs_from_the_beginning_is_waited_for_within_the_patience() {
    // The records, and the file.
    for passes in [0, 2] {
        let bench = bench(SHORT);
        lay(&bench, &bytes(1000));
        let gate = Gate::default();
        (0..passes).for_each(|_| bench.store.inject(Op::Read, Fault::Pass));
        bench.store.inject(Op::Read, Fault::Hang(gate.clone()));
        let port = Port::of(&bench.shelf).await;
        let (code, head, text) = port.answer(&target()).await;
        assert_eq!(code, 503, "{text}");
        assert!(head.contains("retry-after: 10"), "{head}");
        assert!(text.contains("is the volume reachable?"), "{text}");
        gate.open();
        until_open(&bench, 0).await;
        bench.until_free().await;
        assert_eq!(port.get(&target(), None).await.status(), 200);
    }
}

#[tokio::test]
async fn nothing_is_left_of_a_reader_that_goes_away() {
    let bench = bench(LONG);
    lay(&bench, &bytes(LARGE));
    let port = Port::of(&bench.shelf).await;
    let mut stream = port.ask(&target()).await;
    stream.read_exact(&mut [0; 1024]).await.unwrap();
    assert_eq!(open(&bench), 1);
    drop(stream);
    until_open(&bench, 0).await;
    assert_eq!(bench.shelf.stuck(), []);
}

#[tokio::test]
async fn a_reader_that_takes_nothing_is_given_up() {
    let bench = bench(LONG);
    lay(&bench, &bytes(LARGE));
    let lender = Lender::with(bench.shelf.clone(), LONG, SHORT);
    let port = Port::open(lender, &[]).await;
    let mut stream = port.ask(&target()).await;
    stream.read_exact(&mut [0; 1024]).await.unwrap();
    until_open(&bench, 0).await;
    let came = rest(stream).await;
    assert!(came.len() < LARGE, "{}", came.len());
}

#[tokio::test]
async fn four_are_lent_at_a_time_and_the_next_waits() {
    let bench = bench(LONG);
    lay(&bench, &bytes(LARGE));
    let patient = Port::of(&bench.shelf).await;
    let mut four = Vec::new();
    for n in 1..=4 {
        four.push(patient.ask(&target()).await);
        until_open(&bench, n).await;
    }
    let lender = Lender::with(bench.shelf.clone(), Duration::from_millis(50), LONG);
    let hasty = Port::open(lender, &[]).await;
    let (code, head, text) = hasty.answer(&target()).await;
    assert_eq!(code, 503, "{text}");
    assert!(head.contains("retry-after: 10"), "{head}");
    assert!(text.contains("no more are done at a time"), "{text}");
    // Records do not wait for files.
    assert_eq!(bench.shelf.sets().await.unwrap().len(), 1);
    let fifth = async { taken(patient.get(&target(), None).await).await };
    tokio::pin!(fifth);
    let early = timeout(Duration::from_millis(200), &mut fifth).await;
    assert!(early.is_err(), "a fifth was given");
    four.pop();
    let (_, came, clean) = fifth.await;
    assert!(clean && came.len() == LARGE);
    drop(four);
    until_open(&bench, 0).await;
}

#[tokio::test]
async fn the_key_is_qdrants() {
    let bench = bench(LONG);
    let bytes = bytes(1000);
    lay(&bench, &bytes);
    let port = Port::open(Lender::new(bench.shelf.clone()), &["new", "old"]).await;
    for key in [None, Some("wrong"), Some("")] {
        assert_eq!(port.get(&target(), key).await.status(), 401);
    }
    assert_eq!(bench.store.most_inside(), 0);
    for key in ["new", "old"] {
        let (_, came, clean) = taken(port.get(&target(), Some(key)).await).await;
        assert!(clean && came == bytes);
    }
}
