//! Proves that a set which is taken while new points are written holds an exact prefix of what was
//! acknowledged, and that this could be seen if it were not so: Qdrant's own snapshot of a collection
//! has a hole, unless the build is patched (patches/0003-whole-snapshots): then there must be none.
//!
//! One writer, one point after the other, each with the next id and only after the one before was
//! acknowledged: so what a copy holds is a prefix, or something is missing.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::prelude::*;
use crate::direct::{Direct, Weight};
use crate::world::sets::{self, Set};

/// See the head of this file.
pub const SCENARIO: Scenario = Scenario {
    name: "insert-during-snapshot",
    about: "a set taken under inserts is an exact prefix of what was acknowledged; a collection snapshot only when patched",
    cases: &[
        Case {
            name: "set",
            setup,
            run: |world| Box::pin(set_holds_a_prefix(world)),
        },
        Case {
            name: "collection-snapshot",
            setup: |real| {
                setup(real);
                real.real = true;
            },
            run: |world| Box::pin(collection_snapshot_under_inserts(world)),
        },
    ],
};

/// The collection that is written to, and what is made of its snapshot.
const COUNTED: &str = "counted";
const RESTORED: &str = "restored";
/// Ids from here on are ballast, so that a snapshot takes its time; those of the writer begin with 1.
const BALLAST: u64 = 1 << 40;
/// `flush_interval_sec` of every Qdrant here.
const FLUSH: Duration = Duration::from_secs(1);
/// So many writes come before a snapshot, and after it.
const AROUND: u64 = 300;
/// How long a snapshot may take.
const PATIENCE: Duration = Duration::from_secs(120);

fn setup(setup: &mut Setup) {
    setup.size = 1;
    setup.longest = Duration::from_secs(900);
    setup.env = vec![
        // Hardly a slot begins.
        ("ENTRYPOINT_SETS", "12h".to_owned()),
        ("ENTRYPOINT_KEEP_ALL", "12h".to_owned()),
        (
            "QDRANT__STORAGE__OPTIMIZERS__FLUSH_INTERVAL_SEC",
            FLUSH.as_secs().to_string(),
        ),
    ];
    // A disk that takes gigabytes lets the store wait.
    setup.allowed.events = vec!["set.missed", "store.*"];
}

/// The writer, and the only Qdrant.
struct Under {
    task: Arc<Task>,
    host: String,
    direct: Direct,
    weight: Weight,
    ballast: u64,
    acknowledged: Arc<AtomicU64>,
    stop: CancellationToken,
    writer: AbortOnDropHandle<Result<()>>,
}

async fn begin(world: &World) -> Result<Under, Failure> {
    form(world).await?;
    let task = world.leader()?;
    let (host, direct) = (task.address.to_string(), Direct::new()?);
    // With the real Qdrant about 1.2 GB: the snapshot must last for several flushes.
    let (ballast, payload) = match world.standin {
        true => (500, 100),
        false => (60_000, 20_000),
    };
    let weight = Weight {
        dimensions: 4,
        payload,
    };
    direct.create(&host, COUNTED, weight, 1, 1).await?;
    let hosts = [host.clone()];
    let ids = BALLAST..BALLAST + ballast;
    direct.fill(&hosts, COUNTED, ids, weight).await?;
    world.step(format!("{ballast} points of {payload} bytes are there"));
    let acknowledged = Arc::new(AtomicU64::new(0));
    let stop = CancellationToken::new();
    let small = Weight {
        payload: 0,
        ..weight
    };
    let (of, until, through) = (acknowledged.clone(), stop.clone(), direct.clone());
    let at = host.clone();
    let writer = tokio::spawn(async move {
        while !until.is_cancelled() {
            let next = of.load(Ordering::Acquire) + 1;
            through.write(&at, COUNTED, next, small).await?;
            of.store(next, Ordering::Release);
        }
        Ok(())
    });
    let under = Under {
        task,
        host,
        direct,
        weight,
        ballast,
        acknowledged,
        stop,
        writer: AbortOnDropHandle::new(writer),
    };
    under.more(world).await?;
    Ok(under)
}

impl Under {
    fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Acquire)
    }

    /// Waits until so many more are acknowledged.
    async fn more(&self, world: &World) -> Result<(), Failure> {
        let enough = self.acknowledged() + AROUND;
        let done = || (self.acknowledged() >= enough || self.writer.is_finished()).then_some(());
        world.aim("more acknowledged writes", PATIENCE, done).await
    }

    /// Ends the writer.
    async fn halt(self) -> Result<Self, Failure> {
        self.stop.cancel();
        let Self { writer, .. } = self;
        writer.await.context("wait for the writer")??;
        let idle = tokio::spawn(async { Ok(()) });
        Ok(Self {
            writer: AbortOnDropHandle::new(idle),
            ..self
        })
    }

    /// The writer's points of a restored copy, once all the ballast is there as well.
    async fn found(&self, world: &World) -> Result<BTreeSet<u64>, Failure> {
        let limit = Instant::now() + timing::REST;
        loop {
            let mut found = self.direct.ids(&self.host, RESTORED).await?;
            let ballast = found.split_off(&BALLAST).len() as u64;
            if ballast == self.ballast {
                return Ok(found);
            }
            if Instant::now() > limit {
                let detail = format!("{ballast} of {} points", self.ballast);
                return Err(Failure::new("what was there before is restored", detail));
            }
            world.check()?;
            tokio::time::sleep(timing::LOOK_AT_COPIES).await;
        }
    }
}

async fn set_holds_a_prefix(world: &World) -> Result<(), Failure> {
    let under = begin(world).await?;
    let before = under.acknowledged();
    let begun = Instant::now();
    let token = sets::ask(&under.task, Some(COUNTED)).await?;
    let set = made(world, &token).await?;
    let (after, took) = (under.acknowledged(), taking(world, &set, begun)?);
    under.more(world).await?;
    let under = under.halt().await?;
    let (host, direct) = (&under.host, &under.direct);
    direct
        .create(host, RESTORED, under.weight, 1, 1)
        .await
        .context("make the copy")?;
    for (path, sha256) in set.files()? {
        let location = format!("http://{host}:6336/v1/sets/{}/{path}", set.id);
        let recovered = direct.recover(host, RESTORED, 0, &location, &sha256);
        recovered.await.context("restore the copy")?;
    }
    let found = under.found(world).await?;
    let held = is_prefix(&found, before, after + 1);
    let held = held.map_err(|why| Failure::new("a set holds an exact prefix", why))?;
    world.step(format!(
        "the set took {took:.1} s; {before} writes were acknowledged before, {after} at its end, \
         {} until now; the copy holds the first {held} and no other",
        under.acknowledged()
    ));
    Ok(())
}

/// How long the set was taken; with the real Qdrant it must have been longer than two flushes.
fn taking(world: &World, set: &Set, begun: Instant) -> Result<f64, Failure> {
    let took = set.taking()?.unwrap_or_else(|| begun.elapsed());
    if !world.standin && took < 2 * FLUSH {
        let detail = format!("{:.1} s, {} s between two flushes", took.as_secs_f64(), 1);
        return Err(Failure::new("it lasts for two flushes", detail));
    }
    Ok(took.as_secs_f64())
}

async fn collection_snapshot_under_inserts(world: &World) -> Result<(), Failure> {
    let under = begin(world).await?;
    let before = under.acknowledged();
    let (host, direct) = (under.host.clone(), under.direct.clone());
    let begun = Instant::now();
    let path = format!("/collections/{COUNTED}/snapshots?wait=true");
    let made = direct.post(&host, &path, &json!({})).await;
    let made = made.context("take a collection snapshot")?;
    let (took, after) = (begun.elapsed().as_secs_f64(), under.acknowledged());
    under.more(world).await?;
    let under = under.halt().await?;
    let name = made.get("name").and_then(Value::as_str).context("a name")?;
    let file = under.task.disk.join("snapshots").join(COUNTED).join(name);
    let body = json!({"location": format!("file://{}", file.display()), "priority": "snapshot"});
    let path = format!("/collections/{RESTORED}/snapshots/recover?wait=true");
    let recovered = direct.put(&host, &path, &body).await;
    recovered.context("restore the collection snapshot")?;
    let found = under.found(world).await?;
    let (last, missing) = hole(&found);
    let said = format!(
        "the collection snapshot took {took:.1} s; {before} writes were acknowledged before, {after} at \
         its end; its copy goes up to number {last}, of which {} are missing",
        missing.len()
    );
    world.step(said.clone());
    if world.qdrant.has_patch("whole-snapshots") {
        let held = is_prefix(&found, before, after + 1);
        let held = held.map_err(|why| Failure::new("a patched snapshot has no hole", why))?;
        world.step(format!("the copy holds the first {held} and no other"));
        return Ok(());
    }
    if let (Some(first), Some(end)) = (missing.first(), missing.last()) {
        world.step(format!("the missing are from number {first} to {end}"));
        return Ok(());
    }
    // With a plain Qdrant that has none the patch, this, and what the documents say, can go.
    Err(Failure::new("the hole can be seen", said))
}

/// Waits for the finished set of this request.
async fn made(world: &World, token: &str) -> Result<Set, Failure> {
    let of = |set: &Set| {
        let asked = set.plan.as_ref().and_then(|plan| plan.asked.as_ref());
        asked.is_some_and(|asked| asked.token.0 == token)
    };
    let finished = || {
        let all = sets::all(world).ok()?;
        all.into_iter()
            .find(|set| of(set) && (set.manifest.is_some() || set.tombstone))
    };
    world.aim("a set by hand", PATIENCE, finished).await
}

/// The last of these numbers, and those before it that are not there.
fn hole(found: &BTreeSet<u64>) -> (u64, Vec<u64>) {
    let last = found.last().copied().unwrap_or(0);
    let missing = (1..=last).filter(|number| !found.contains(number));
    (last, missing.collect())
}

/// How many of the first numbers these are: at least so many, at most so many, and none is left out.
fn is_prefix(found: &BTreeSet<u64>, least: u64, most: u64) -> Result<u64, String> {
    let (last, missing) = hole(found);
    if let (Some(first), Some(end)) = (missing.first(), missing.last()) {
        return Err(format!(
            "of {last} numbers {} are missing, from {first} to {end}",
            missing.len()
        ));
    }
    match (least..=most).contains(&last) {
        true => Ok(last),
        false => Err(format!(
            "it ends with number {last}, which is not between {least} and {most}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_has_no_hole_and_the_right_length() {
        let first = |last: u64| (1..=last).collect::<BTreeSet<u64>>();
        assert_eq!(is_prefix(&first(7), 5, 9), Ok(7));
        assert!(is_prefix(&first(4), 5, 9).is_err());
        assert!(is_prefix(&first(10), 5, 9).is_err());
        let mut holed = first(8);
        holed.remove(&3);
        let why = is_prefix(&holed, 5, 9).unwrap_err();
        assert!(why.contains("1 are missing, from 3 to 3"), "{why}");
        assert_eq!(hole(&holed), (8, vec![3]));
        assert_eq!(is_prefix(&BTreeSet::new(), 0, 9), Ok(0));
    }
}
