//! The files of a set into the copies of a collection that was just made, and whether they came to be
//! the same.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use futures::StreamExt;
use planner::heal::names::ShardId;
use planner::ids::PeerId;
use planner::keep::records::FileEntry;
use planner::keep::restore::{self, Agreement, Holders};
use qdrant_api::{ClusterInfo, Recovery};

use super::super::lend;
use super::collection::{Making, SETTLE};
use super::outcome::{Done, Failed, wait};
use crate::events;
use crate::log::chain;
use crate::steward::elsewhere::{host_of_peer, qdrant_of};

/// So many copies are filled at a time.
const AT_ONCE: usize = 6;
/// A copy may take a minute, and a second more for so many bytes.
const BYTES_PER_SECOND: u64 = 1 << 20;
/// How long a copy may take to count its points: Qdrant collects their ids.
const COUNT: Duration = Duration::from_secs(120);

/// How it went with one copy.
struct Filled {
    shard: ShardId,
    failed: Option<NotFilled>,
}

/// Why one copy was not filled.
struct NotFilled {
    /// Its Qdrant said so, rather than nothing.
    answered: bool,
    /// For people.
    why: String,
}

impl Making<'_> {
    /// Has every holder of a shard replace its empty copy by the same file.
    pub(super) async fn fill(&self, holders: &Holders, uuid: &str) -> Done<()> {
        let info = self.site.info().await?;
        let mut filling = Vec::new();
        for file in &self.entry.files {
            for peer in holders.get(&file.shard).into_iter().flatten() {
                filling.push(self.fill_one(&info, file, *peer, uuid));
            }
        }
        let filled: Vec<Filled> = futures::stream::iter(filling)
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        for file in &self.entry.files {
            let of_file = filled.iter().filter(|filled| filled.shard == file.shard);
            let failed: Vec<&NotFilled> = of_file.filter_map(|f| f.failed.as_ref()).collect();
            self.judge(file, &failed).await?;
        }
        Ok(())
    }

    /// What it says of the set that copies were not filled. Qdrant has one answer for a file that is wrong
    /// and for one that it could not fetch, so the file is read here as well: only wrong bytes speak against
    /// the set.
    async fn judge(&self, file: &FileEntry, failed: &[&NotFilled]) -> Done<()> {
        let Some(first) = failed.first() else {
            return Ok(());
        };
        if failed.iter().any(|why| why.answered) {
            let (site, manifest) = (self.site, self.manifest);
            site.prove_file(manifest, self.entry, file).await?;
        }
        let why = format!("shard {} of {}: {}", file.shard, self.name, first.why);
        Err(Failed::Wait(why))
    }

    async fn fill_one(
        &self,
        info: &ClusterInfo,
        file: &FileEntry,
        peer: PeerId,
        uuid: &str,
    ) -> Filled {
        // Whoever slept since fills nothing that another steward has finished.
        let filled = match self.still_ours(uuid).await {
            Ok(()) => self.recover(info, file, peer).await,
            Err(why) => Err(NotFilled {
                answered: false,
                why: why.words(),
            }),
        };
        Filled {
            shard: file.shard,
            failed: filled.err(),
        }
    }

    async fn recover(
        &self,
        info: &ClusterInfo,
        file: &FileEntry,
        peer: PeerId,
    ) -> Result<(), NotFilled> {
        let unknown = |why| NotFilled {
            answered: false,
            why: format!("peer {peer}: {why}"),
        };
        let site = self.site;
        let holder = qdrant_of(&site.client, info, peer).map_err(unknown)?;
        let host: IpAddr = host_of_peer(info, peer).map_err(unknown)?;
        let at = SocketAddr::new(host, site.port);
        let (set, index) = (self.manifest.set, self.entry.index);
        let from = Recovery {
            location: format!(
                "http://{at}{}",
                lend::path(set, index, file.shard, file.peer)
            ),
            sha256: file.sha256.to_string(),
            api_key: site.key.as_ref().map(|key| key.expose().to_owned()),
        };
        let longest = Duration::from_secs(60 + file.bytes / BYTES_PER_SECOND);
        let filled = holder
            .recover_shard(&self.name.0, file.shard.0, &from, longest)
            .await;
        filled.map_err(|error| NotFilled {
            answered: error.code().is_some(),
            why: format!("peer {peer}: {}", chain(&error)),
        })
    }

    /// Waits until the copies that were filled are Active, still the only ones, and count the same.
    pub(super) async fn compare(&self, holders: &Holders, uuid: &str) -> Done<()> {
        let began = Instant::now();
        loop {
            match self.compare_once(holders, uuid).await {
                Ok(()) => return Ok(()),
                Err(Failed::Wait(why)) if began.elapsed() > SETTLE => {
                    return Err(Failed::Wait(format!(
                        "{} is not restored: {why}",
                        self.name
                    )));
                }
                Err(Failed::Wait(_)) => self.site.next_post().await?,
                Err(other) => return Err(other),
            }
        }
    }

    async fn compare_once(&self, holders: &Holders, uuid: &str) -> Done<()> {
        let (site, name) = (self.site, self.name);
        let view = site.survey(self.place).await?;
        let now = restore::placed(&view, name, self.entry).map_err(Failed::Wait)?;
        if now != *holders {
            return Err(Failed::Wait("its copies are elsewhere now".to_owned()));
        }
        let info = site.info().await?;
        for file in &self.entry.files {
            let mut counts = BTreeMap::new();
            for peer in holders.get(&file.shard).into_iter().flatten() {
                let holder = qdrant_of(&site.client, &info, *peer).map_err(Failed::Wait)?;
                let holder = holder.with_timeout(COUNT);
                let count = holder.count_local(&name.0, file.shard.0).await;
                counts.insert(*peer, count.map_err(|error| wait(&error))?);
            }
            let agreed = restore::agree(file, &counts);
            let agreed = agreed.map_err(|differ| {
                Failed::Wait(format!("shard {} of {name}: {differ}", file.shard))
            })?;
            if let Agreement::Differs { restored } = agreed {
                tracing::warn!(
                    event = events::RESTORE_COUNTS,
                    "shard {} of {name}: {restored} points, {} before and {} after it was taken",
                    file.shard,
                    file.before.points,
                    file.after.points
                );
            }
        }
        // What was counted is what we made.
        self.still_ours(uuid).await
    }
}
