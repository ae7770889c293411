//! The shared store as a bucket of moto's S3 server.
//! Owns: the server, its faults, and a copy of what lies in the bucket, for who looks at files. Must
//! not: write records.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use entrypoint::store::{BlobStore, Key, Prefix, S3Store, read_through};
use nix::sys::signal::Signal;

use self::moto::Moto;
use super::Fault;

#[path = "../../../entrypoint/src/store/testing/moto.rs"]
mod moto;

/// The folder of the cluster in the bucket.
const FOLDER: &str = "cluster";

/// Between two looks at the bucket; each of them costs the server as much as one of a task's.
const PAUSE: Duration = Duration::from_millis(500);

/// A bucket, and what is seen of it.
pub struct Bucket {
    name: String,
    /// Gone first, so that nobody waits for it.
    moto: Option<Moto>,
    end: Option<Sender<()>>,
    copier: Option<JoinHandle<()>>,
}

impl Bucket {
    /// Starts a server with an empty bucket, of which `copy` is kept up.
    ///
    /// # Errors
    /// When there is no such server.
    pub fn start(copy: PathBuf) -> Result<Self> {
        let moto = Moto::start().map_err(|why| anyhow!("{why}"))?;
        let name = moto
            .bucket()
            .map_err(|why| anyhow!("make a bucket: {why}"))?;
        let root = Prefix::new(FOLDER).context("name the folder")?;
        let store = S3Store::new(&name, root, moto.variables()).context("name the bucket")?;
        let copier = Copier {
            store: Arc::new(store),
            copy,
            there: BTreeSet::new(),
        };
        let (end, ends) = channel();
        let copier = std::thread::Builder::new().spawn(move || copier.run(&ends));
        Ok(Self {
            name,
            moto: Some(moto),
            end: Some(end),
            copier: Some(copier.context("start a thread")?),
        })
    }

    /// Where the tasks find it.
    pub fn url(&self) -> String {
        format!("s3://{}/{FOLDER}", self.name)
    }

    /// The variables that it takes, by the names of the configuration.
    pub fn env(&self) -> Vec<(String, String)> {
        let all = self.moto.as_ref().map(Moto::variables).unwrap_or_default();
        let known = |(name, value): (String, String)| match name.as_str() {
            // Follows from the endpoint.
            "AWS_ALLOW_HTTP" => None,
            "AWS_ENDPOINT_URL" => Some(("AWS_ENDPOINT_URL_S3".to_owned(), value)),
            _ => Some((name, value)),
        };
        all.into_iter().filter_map(known).collect()
    }

    /// Puts another fault in force: the server stands still, or refuses everything.
    pub fn set(&self, fault: Fault) {
        let signals: &[Signal] = match fault {
            Fault::None | Fault::Slow(_) => &[Signal::SIGCONT, Signal::SIGUSR2],
            Fault::Hang | Fault::Stall => &[Signal::SIGSTOP],
            Fault::ReadOnly | Fault::Full => &[Signal::SIGCONT, Signal::SIGUSR1],
        };
        for signal in signals {
            // A server that has ended is noticed by everybody who waits for it.
            let _ = self.moto.as_ref().map(|moto| moto.signal(*signal));
        }
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        (self.moto, self.end) = (None, None);
        // A panic of that thread has been printed.
        let _ = self.copier.take().map(JoinHandle::join);
    }
}

/// Keeps the copy up.
struct Copier {
    store: Arc<dyn BlobStore>,
    copy: PathBuf,
    there: BTreeSet<Key>,
}

impl Copier {
    fn run(mut self, ends: &Receiver<()>) {
        while ends.recv_timeout(PAUSE) == Err(RecvTimeoutError::Timeout) {
            // While the bucket cannot be read the copy is as old as that.
            let _ = self.pass();
        }
    }

    fn pass(&mut self) -> Result<()> {
        let mut listed = Vec::new();
        self.store.blobs(&Prefix::root(), &mut |object| {
            listed.push(object.key);
            ControlFlow::Continue(())
        })?;
        // What counts only when the rest is there comes last, in the copy as in the bucket.
        listed.sort_by_key(|key| (place(key), key.clone()));
        for key in &listed {
            // All but beats and leases are written once, and of those only the names are looked at.
            if !self.there.contains(key) && self.fetch(key)? {
                self.there.insert(key.clone());
            }
        }
        let gone: Vec<Key> = self
            .there
            .iter()
            .filter(|key| !listed.contains(key))
            .cloned()
            .collect();
        for key in gone {
            self.remove(&key)?;
            self.there.remove(&key);
        }
        Ok(())
    }

    fn fetch(&self, key: &Key) -> Result<bool> {
        let Some(mut blob) = self.store.blob(key)? else {
            return Ok(false);
        };
        let path = self.copy.join(key.as_str());
        let folder = path.parent().context("a key has a folder")?;
        fs::create_dir_all(folder).context("make a folder")?;
        let draft = self.copy.with_extension("draft");
        let mut file = fs::File::create(&draft).context("make a file")?;
        read_through(blob.as_mut(), |bytes| {
            file.write_all(bytes).map_err(anyhow::Error::from)
        })?;
        fs::rename(&draft, &path).context("name a file")?;
        Ok(true)
    }

    fn remove(&self, key: &Key) -> Result<()> {
        let path = self.copy.join(key.as_str());
        fs::remove_file(&path).context("remove a file")?;
        let above = path
            .ancestors()
            .skip(1)
            .take_while(|folder| *folder != self.copy);
        // A bucket has no empty folders.
        for folder in above {
            if fs::remove_dir(folder).is_err() {
                break;
            }
        }
        Ok(())
    }
}

/// What says that the rest is there, or that it counts for nothing, comes after it.
fn place(key: &Key) -> u8 {
    match key.name() {
        "manifest.json" => 1,
        "tombstone.json" => 2,
        _ => 0,
    }
}
