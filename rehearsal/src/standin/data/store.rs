//! Points of our replicas: in memory, and appended to one file per shard.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use super::remote::{PointId, ReadReply, ReadRequest, Select};
use crate::standin::disk::Disk;
use crate::standin::error::ApiError;

#[derive(Debug)]
struct Shard {
    points: BTreeMap<PointId, Entry>,
    /// Operations so far.
    version: u64,
    file: File,
}

#[derive(Debug)]
struct Entry {
    text: Box<str>,
    /// The operation that last changed it.
    version: u64,
}

/// The replicas that this peer holds.
#[derive(Debug)]
pub struct Shards {
    root: PathBuf,
    open: Mutex<HashMap<(String, u32), Shard>>,
}

/// The id of a point as the client sent it.
pub fn id_of(point: &Value) -> Result<PointId, ApiError> {
    let id = point.get("id").cloned().unwrap_or_default();
    serde_json::from_value(id)
        .map_err(|_| ApiError::bad_request("Format error in JSON body: a point needs an id"))
}

impl Shards {
    /// Nothing is opened yet.
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            open: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(String, u32), Shard>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Open a replica with what its file holds; a last line cut off by a kill is dropped.
    pub fn open(&self, collection: &str, shard_id: u32) -> io::Result<()> {
        let path = Disk::shard_path(&self.root, collection, shard_id);
        fs::create_dir_all(&path)?;
        let path = path.join("points.jsonl");
        let text = if path.exists() {
            fs::read_to_string(&path)?
        } else {
            String::new()
        };
        let mut points = BTreeMap::new();
        for line in text
            .split_inclusive('\n')
            .filter(|line| line.ends_with('\n'))
        {
            let value: Value = serde_json::from_str(line)?;
            let id = id_of(&value).map_err(io::Error::other)?;
            let text = line.trim_end().into();
            points.insert(id, Entry { text, version: 0 });
        }
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        if !text.is_empty() && !text.ends_with('\n') {
            let whole = text.rfind('\n').map_or(0, |at| at + 1);
            file.set_len(whole as u64)?;
            file.flush()?;
        }
        self.lock().insert(
            (collection.to_owned(), shard_id),
            Shard {
                points,
                version: 0,
                file,
            },
        );
        Ok(())
    }

    /// Begin a replica anew.
    pub fn clear(&self, collection: &str, shard_id: u32) -> io::Result<()> {
        self.remove(collection, shard_id)?;
        self.open(collection, shard_id)
    }

    /// Make the directory of a collection.
    pub fn make_folder(&self, collection: &str) -> io::Result<()> {
        fs::create_dir_all(Disk::collection_path(&self.root, collection))
    }

    /// Delete the directory of a collection.
    pub fn remove_folder(&self, collection: &str) -> io::Result<()> {
        match fs::remove_dir_all(Disk::collection_path(&self.root, collection)) {
            Err(why) if why.kind() != io::ErrorKind::NotFound => Err(why),
            _ => Ok(()),
        }
    }

    /// Delete a replica.
    pub fn remove(&self, collection: &str, shard_id: u32) -> io::Result<()> {
        self.lock().remove(&(collection.to_owned(), shard_id));
        match fs::remove_dir_all(Disk::shard_path(&self.root, collection, shard_id)) {
            Err(why) if why.kind() != io::ErrorKind::NotFound => Err(why),
            _ => Ok(()),
        }
    }

    /// Write points; `keep` leaves those that exist.
    pub fn upsert(
        &self,
        collection: &str,
        shard_id: u32,
        points: &[Value],
        keep: bool,
    ) -> Result<(), ApiError> {
        let mut open = self.lock();
        let shard = open.get_mut(&(collection.to_owned(), shard_id));
        let shard = shard.ok_or_else(|| not_here(collection, shard_id))?;
        let mut bytes = String::new();
        shard.version += 1;
        let version = shard.version;
        for point in points {
            let id = id_of(point)?;
            if keep && shard.points.contains_key(&id) {
                continue;
            }
            let text = point.to_string();
            bytes.push_str(&text);
            bytes.push('\n');
            let text = text.into();
            shard.points.insert(id, Entry { text, version });
        }
        shard
            .file
            .write_all(bytes.as_bytes())
            .map_err(ApiError::service)
    }

    /// Read from a replica that is here.
    pub fn read(&self, what: &ReadRequest) -> Result<ReadReply, ApiError> {
        let open = self.lock();
        let shard = open.get(&(what.collection.clone(), what.shard_id));
        let points = &shard
            .ok_or_else(|| not_here(&what.collection, what.shard_id))?
            .points;
        let found: Vec<&Entry> = match &what.select {
            Select::Count => Vec::new(),
            Select::Range(None, limit) => points.values().take(*limit).collect(),
            Select::Range(Some(from), limit) => points
                .range(from..)
                .take(*limit)
                .map(|(_, entry)| entry)
                .collect(),
            Select::Ids(ids) => ids.iter().filter_map(|id| points.get(id)).collect(),
        };
        let parsed = found.iter().map(|entry| serde_json::from_str(&entry.text));
        let parsed: Result<Vec<Value>, _> = parsed.collect();
        Ok(ReadReply {
            count: points.len(),
            points: parsed.map_err(ApiError::service)?,
            versions: found.iter().map(|entry| entry.version).collect(),
        })
    }

    /// Points in a replica, 0 when it is not here.
    pub fn count(&self, collection: &str, shard_id: u32) -> usize {
        self.lock()
            .get(&(collection.to_owned(), shard_id))
            .map_or(0, |s| s.points.len())
    }
}

fn not_here(collection: &str, shard_id: u32) -> ApiError {
    ApiError::service(format!(
        "shard {shard_id} of {collection} is not on this peer"
    ))
}
