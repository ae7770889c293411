//! What is noted of some points when a shard is taken, and how a restored shard is compared with it.
//!
//! Writers go on while a file is made, so a point is noted only when it was the same just before and just
//! after, its version too: Qdrant raises that with every change of the point, so it did not go away and come
//! back in between. The file holds the shard as it was at a moment between the two, and so holds these
//! points as they are noted. A count proves less: a writer may add and delete.

use core::fmt;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::keep::ids::Sha256;
use crate::keep::records::FileEntry;

/// So many points of a shard are noted at most.
pub const POINTS: usize = 16;
/// So many of its vectors are searched at most.
pub const SEARCHES: usize = 4;

/// What was noted of a shard, in the record of its file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Samples {
    /// Points that were the same before and after.
    pub points: Vec<Sample>,
    /// Exact searches among exactly these points.
    pub searches: Vec<Search>,
    /// What the two lists hash to: one that has changed since must not speak against a file.
    pub sum: Sha256,
}

/// The id of a point.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SampleId {
    /// A number.
    Number(u64),
    /// A UUID.
    Uuid(String),
}

/// One point.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// Its id.
    pub id: SampleId,
    /// What its payload hashes to.
    pub payload: Sha256,
    /// What its vectors hash to.
    pub vectors: Sha256,
}

/// One search.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Search {
    /// The name of the vector; empty for the one that has none.
    pub vector: String,
    /// The point whose vector was searched with.
    pub by: SampleId,
    /// What was found, in the order of the ids.
    pub found: Vec<Found>,
}

/// A point that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Found {
    /// Which.
    pub id: SampleId,
    /// How near.
    pub score: Score,
}

/// A score. JSON has no number that is not equal to itself.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Score(pub f64);

impl Eq for Score {}

impl Score {
    /// The same but for the arithmetic of another processor.
    fn is_near(self, other: Self) -> bool {
        let (a, b) = (self.0, other.0);
        let large = a.abs().max(b.abs()).max(1.0);
        (a - b).abs() <= large * 1e-3
    }
}

/// What one look found of some points.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// The points that are there.
    pub points: BTreeMap<SampleId, Point>,
    /// The searches among them.
    pub searches: Vec<Search>,
}

/// A point as one look found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// What its payload hashes to.
    pub payload: Sha256,
    /// What its vectors hash to.
    pub vectors: Sha256,
    /// Its version, where a search has told it.
    pub version: Option<u64>,
}

/// What is the same in both looks, and so cannot have been changed in between.
pub fn unchanged(before: &Look, after: &Look) -> (Vec<Sample>, Vec<Search>) {
    let same = |(id, was): (&SampleId, &Point)| {
        let is = after.points.get(id)?;
        // Without a version it may have been changed and changed back.
        (was.version.is_some() && was == is).then(|| Sample {
            id: id.clone(),
            payload: was.payload,
            vectors: was.vectors,
        })
    };
    let points: Vec<_> = before.points.iter().filter_map(same).collect();
    let kept = |id: &SampleId| points.iter().any(|point| point.id == *id);
    let mut searches = Vec::new();
    for was in before.searches.iter().filter(|was| kept(&was.by)) {
        let Some(is) = after.searches.iter().find(|is| is.is_like(was)) else {
            continue;
        };
        let found = was.found.iter().filter(|found| kept(&found.id));
        let found = found.filter(|found| is.score(&found.id).is_some_and(|s| s == found.score));
        searches.push(Search {
            found: found.cloned().collect(),
            ..was.clone()
        });
    }
    searches.retain(|search| !search.found.is_empty());
    (points, searches)
}

impl Search {
    fn is_like(&self, other: &Self) -> bool {
        self.vector == other.vector && self.by == other.by
    }

    fn score(&self, id: &SampleId) -> Option<Score> {
        let mut found = self.found.iter();
        Some(found.find(|found| found.id == *id)?.score)
    }
}

/// How a restored shard is not what was noted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deviation {
    /// A point is not there.
    Absent(SampleId),
    /// It has another payload.
    Payload(SampleId),
    /// It has other vectors.
    Vectors(SampleId),
    /// A search finds it elsewhere, or not at all.
    Search {
        /// The point that should be found.
        id: SampleId,
        /// By the vector of this one.
        by: SampleId,
    },
}

/// Compares what a restored shard holds with what was noted.
pub fn compare(noted: &Samples, restored: &Look) -> Vec<Deviation> {
    let mut deviations = Vec::new();
    for sample in &noted.points {
        let id = || sample.id.clone();
        match restored.points.get(&sample.id) {
            None => deviations.push(Deviation::Absent(id())),
            Some(is) if is.payload != sample.payload => deviations.push(Deviation::Payload(id())),
            Some(is) if is.vectors != sample.vectors => deviations.push(Deviation::Vectors(id())),
            Some(_) => {}
        }
    }
    for was in &noted.searches {
        // One that could not be done says nothing.
        let Some(is) = restored.searches.iter().find(|is| is.is_like(was)) else {
            continue;
        };
        for found in &was.found {
            let near = |score: Score| score.is_near(found.score);
            if !is.score(&found.id).is_some_and(near) {
                deviations.push(Deviation::Search {
                    id: found.id.clone(),
                    by: was.by.clone(),
                });
            }
        }
    }
    deviations
}

/// What a comparison says of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It is what it should be.
    Good,
    /// It is not; for people.
    Bad(String),
    /// What was seen can be read either way: no finding. For people.
    Unclear(String),
}

/// Judges a file by the points that were restored from it. `noted` is `None` when nothing was, `same` says
/// that the Qdrant which ran is of the version that made the file.
pub fn judge(
    file: &FileEntry,
    points: u64,
    noted: Option<(&Samples, &Look)>,
    same: bool,
) -> Judgement {
    let deviations = noted.map_or_else(Vec::new, |(noted, look)| compare(noted, look));
    let absent = |deviation: &&Deviation| matches!(deviation, Deviation::Absent(_));
    // Another version may print what it holds in another form; that it is there it says in any.
    let first = match same {
        true => deviations.first(),
        false => deviations.iter().find(absent),
    };
    if let Some(first) = first {
        let all = deviations.len();
        return Judgement::Bad(format!("{first} ({all} deviations in all)"));
    }
    if let Some(first) = deviations.first() {
        return Judgement::Unclear(format!("{first}, by another version than made the file"));
    }
    let (before, after) = (file.before.points, file.after.points);
    let between = (before.min(after)..=before.max(after)).contains(&points);
    let compared = noted.map_or(0, |(noted, _)| noted.points.len());
    match (between, compared) {
        (false, 0) => Judgement::Unclear(format!(
            "it holds {points} points, {before} and then {after} were counted, and no point was noted"
        )),
        // A writer may have deleted, or it is an estimate.
        _ => Judgement::Good,
    }
}

impl fmt::Display for SampleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Uuid(uuid) => f.write_str(uuid),
        }
    }
}

impl fmt::Display for Deviation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent(id) => write!(f, "point {id} is not there"),
            Self::Payload(id) => write!(f, "point {id} has another payload"),
            Self::Vectors(id) => write!(f, "point {id} has other vectors"),
            Self::Search { id, by } => {
                write!(
                    f,
                    "a search by point {by} does not find point {id} where it was"
                )
            }
        }
    }
}
