//! The directory store among real processes, killed ones included, and on mounts that are full or
//! read-only. Each test runs this same binary again as its child, told by an environment variable.

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::env;
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    use std::path::{Path, PathBuf};
    use std::process::{Child, Command, Stdio};
    use std::sync::Arc;
    use std::time::Duration;

    use entrypoint::store::{
        BlobStore as _, Created, DirectoryStore, Key, Op, Prefix, Store, StoreError, StoreHandle,
    };

    const PLACE: &str = "STORE_TEST_PLACE";
    const KEYS: usize = 40;

    /// The directory that this process is to work on, when it is the child of a test.
    fn place() -> Option<PathBuf> {
        env::var_os(PLACE).map(PathBuf::from)
    }

    fn key(text: &str) -> Key {
        Key::new(text).unwrap()
    }

    /// Runs `test` of this binary as a child; `through` may put a program in front of it.
    fn child(through: &[&str], test: &str, place: &Path) -> Child {
        let this = env::current_exe().unwrap();
        let mut words = through
            .iter()
            .map(std::ffi::OsStr::new)
            .chain([this.as_os_str()]);
        Command::new(words.next().unwrap())
            .args(words)
            .args([test, "--exact", "--nocapture"])
            .env(PLACE, place)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Waits for the starting signal of the parent, so that all children begin together.
    fn wait_for_start() {
        println!("\nready");
        std::io::stdin().read_line(&mut String::new()).unwrap();
    }

    /// Waits until the child has come to [`wait_for_start`].
    fn until_ready(child: &mut Child) -> BufReader<std::process::ChildStdout> {
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while line.trim() != "ready" {
            line.clear();
            assert_ne!(
                output.read_line(&mut line).unwrap(),
                0,
                "the child ended early"
            );
        }
        output
    }

    fn claim_all(store: &dyn Store) -> Vec<(usize, Created)> {
        let token = std::process::id().to_string();
        let claim = |n| key(&format!("generations/{n:06}/claim.json"));
        (0..KEYS)
            .map(|n| (n, store.create(&claim(n), token.as_bytes()).unwrap()))
            .collect()
    }

    #[test]
    fn of_several_processes_one_wins_each_key() {
        const NAME: &str = "tests::of_several_processes_one_wins_each_key";
        if let Some(place) = place() {
            wait_for_start();
            for (n, verdict) in claim_all(&DirectoryStore::new(place)) {
                let winner = match verdict {
                    Created::Ours => std::process::id().to_string(),
                    Created::Exists(theirs) => String::from_utf8(theirs).unwrap(),
                };
                println!("\nwinner {n} {winner}");
            }
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let mut children: Vec<_> = (0..4).map(|_| child(&[], NAME, dir.path())).collect();
        let outputs: Vec<_> = children.iter_mut().map(until_ready).collect();
        for child in &mut children {
            child.stdin.take().unwrap().write_all(b"\n").unwrap();
        }
        let mut winners: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for mut output in outputs {
            let mut text = String::new();
            output.read_to_string(&mut text).unwrap();
            for line in text.lines().filter_map(|line| line.strip_prefix("winner ")) {
                let (n, winner) = line.split_once(' ').unwrap();
                winners
                    .entry(n.to_owned())
                    .or_default()
                    .push(winner.to_owned());
            }
        }
        for child in &mut children {
            assert!(child.wait().unwrap().success());
        }
        assert_eq!(winners.len(), KEYS);
        let ids: Vec<String> = children
            .iter()
            .map(|child| child.id().to_string())
            .collect();
        for (n, said) in winners {
            assert_eq!(said.len(), ids.len(), "key {n}");
            assert!(
                said.iter().all(|winner| *winner == said[0]),
                "key {n}: {said:?}"
            );
            assert!(ids.contains(&said[0]), "key {n}: {said:?}");
        }
    }

    #[test]
    fn a_killed_writer_leaves_only_whole_records() {
        const NAME: &str = "tests::a_killed_writer_leaves_only_whole_records";
        let value = |n: usize| format!("{n} ").repeat(6000);
        if let Some(place) = place() {
            let store = DirectoryStore::new(place);
            wait_for_start();
            // Until it is killed; bounded in case nobody does.
            for n in 0..1_000_000 {
                let value = value(n % 10);
                store.put(&key("members/a.json"), value.as_bytes()).unwrap();
                let _ = store.create(&key(&format!("records/{}", n % 2000)), value.as_bytes());
                println!("\ndone {n}");
            }
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        for round in 0..3 {
            let mut child = child(&[], NAME, dir.path());
            let mut output = until_ready(&mut child);
            child.stdin.take().unwrap().write_all(b"\n").unwrap();
            let mut line = String::new();
            while !line.starts_with(&format!("done {}", 10 + round)) {
                line.clear();
                assert_ne!(
                    output.read_line(&mut line).unwrap(),
                    0,
                    "the child ended early"
                );
            }
            child.kill().unwrap();
            child.wait().unwrap();
            let store = DirectoryStore::open(dir.path()).unwrap();
            let keys = store.list(&Prefix::root()).unwrap();
            assert!(keys.len() > 10, "{keys:?}");
            for key in keys {
                let stored = store.read(&key).unwrap().unwrap();
                assert!(
                    (0..10).any(|n| stored == value(n).as_bytes()),
                    "{key} is not whole"
                );
            }
            let next = key(&format!("next/{round}"));
            assert_eq!(
                store.create(&next, value(0).as_bytes()).unwrap(),
                Created::Ours
            );
        }
    }

    /// A store on a dead mount.
    struct Dead;

    impl Store for Dead {
        fn describe(&self) -> String {
            "dead".to_owned()
        }
        fn read(&self, _: &Key) -> Result<Option<Vec<u8>>, StoreError> {
            hang()
        }
        fn create(&self, _: &Key, _: &[u8]) -> Result<Created, StoreError> {
            hang()
        }
        fn put(&self, _: &Key, _: &[u8]) -> Result<(), StoreError> {
            hang()
        }
        fn list(&self, _: &Prefix) -> Result<Vec<Key>, StoreError> {
            hang()
        }
        fn folders(&self, _: &Prefix) -> Result<Vec<String>, StoreError> {
            hang()
        }
        fn remove(&self, _: &Key) -> Result<bool, StoreError> {
            hang()
        }
    }

    fn hang() -> ! {
        loop {
            std::thread::park();
        }
    }

    #[tokio::test]
    async fn the_end_of_the_process_does_not_wait_for_hung_threads() {
        const NAME: &str = "tests::the_end_of_the_process_does_not_wait_for_hung_threads";
        if place().is_some() {
            let handle = StoreHandle::start(Arc::new(Dead), Duration::from_millis(5)).unwrap();
            let error = handle.read(&key("a")).await.unwrap_err();
            assert!(
                matches!(error, StoreError::NoAnswer { op: Op::Read, .. }),
                "{error:?}"
            );
            let pending = handle.put(&key("a"), vec![]).await.unwrap();
            assert_eq!(handle.stuck().len(), 2, "{pending:?}");
            return;
        }
        let mut child = child(&[], NAME, Path::new("unused"));
        let end = std::time::Instant::now() + Duration::from_secs(20);
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if std::time::Instant::now() > end {
                child.kill().unwrap();
                panic!("the process did not end while two threads hang");
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        assert!(status.success(), "{status}");
    }

    #[test]
    fn a_full_and_then_read_only_volume_is_named_and_still_read() {
        const NAME: &str = "tests::a_full_and_then_read_only_volume_is_named_and_still_read";
        if let Some(place) = place() {
            return on_small_volume(&place);
        }
        // A mount namespace of its own: as root, or as anybody where user namespaces are allowed.
        let ways: [&[&str]; 2] = [&["unshare", "-m"], &["unshare", "-rm"]];
        let works = |way: &&&[&str]| {
            let mut probe = Command::new(way[0]);
            probe
                .args(&way[1..])
                .args(["sh", "-c", "mount -t tmpfs none /tmp"]);
            probe
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success())
        };
        let Some(way) = ways.iter().find(works) else {
            println!("skipped: this machine allows no mounts in a namespace of our own");
            return;
        };
        let dir = tempfile::tempdir().unwrap();
        let status = child(way, NAME, dir.path())
            .wait_with_output()
            .unwrap()
            .status;
        assert!(status.success(), "{status}");
    }

    fn on_small_volume(place: &Path) {
        let mount = |words: &[&str]| {
            assert!(
                Command::new("mount")
                    .args(words)
                    .arg(place)
                    .status()
                    .unwrap()
                    .success()
            );
        };
        mount(&["-t", "tmpfs", "-o", "size=256k", "none"]);
        let root = place.join("store");
        let store = DirectoryStore::new(&root);
        assert_eq!(
            store.create(&key("identity.json"), b"ours").unwrap(),
            Created::Ours
        );
        let fill = |n: usize| store.put(&key(&format!("members/{n}")), &[1; 60_000]);
        let (count, error) = (0..100)
            .find_map(|n| fill(n).err().map(|e| (n, e)))
            .unwrap();
        assert!(
            error.is_full() && !error.is_unclear(),
            "after {count}: {error:?}"
        );
        let error = store.create(&key("members/x"), &[1; 60_000]).unwrap_err();
        assert!(error.is_full() && !error.is_unclear(), "{error:?}");
        // Neither a half record nor a temporary file is left, and what was there is there.
        let there = std::fs::read_dir(root.join("members")).unwrap().count();
        assert_eq!(
            (there, store.list(&Prefix::root()).unwrap().len()),
            (count, count + 1)
        );
        let theirs = Created::Exists(b"ours".to_vec());
        assert_eq!(
            store.create(&key("identity.json"), b"other").unwrap(),
            theirs
        );

        let mut writer = store.begin(&key("sets/1/a")).unwrap();
        let error = (0..100)
            .find_map(|_| writer.write(&[1; 60_000]).err())
            .unwrap();
        assert!(error.is_full() && !error.is_unclear(), "{error:?}");
        assert!(!writer.finish().unwrap_err().is_unclear());
        assert_eq!(store.leftovers(&Prefix::root()).unwrap(), []);

        mount(&["-o", "remount,ro"]);
        for error in [
            store
                .create(&key("claim.json"), b"1")
                .map(drop)
                .unwrap_err(),
            store
                .create(&key("new/claim.json"), b"1")
                .map(drop)
                .unwrap_err(),
            store.put(&key("members/0"), b"1").unwrap_err(),
            store.remove(&key("members/0")).map(drop).unwrap_err(),
            store.begin(&key("sets/1/a")).map(drop).unwrap_err(),
            DirectoryStore::new(place.join("other"))
                .put(&key("a"), b"1")
                .unwrap_err(),
        ] {
            assert!(error.is_read_only() && !error.is_unclear(), "{error:?}");
        }
        let store = DirectoryStore::open(&root).unwrap();
        assert_eq!(
            store.read(&key("identity.json")).unwrap().as_deref(),
            Some(&b"ours"[..])
        );
        assert_eq!(
            store.create(&key("identity.json"), b"ours").unwrap(),
            Created::Ours
        );
        assert_eq!(
            store.create(&key("identity.json"), b"other").unwrap(),
            theirs
        );
    }
}
