//! A restore by hand: what it does next, what it may throw away, and what it may replace.
//!
//! It works beside collections that are served, so nothing that it did not make itself is touched before
//! all is made: what it makes has another name, or one that nobody had, and carries its mark. Names and
//! aliases change at the end, and from then on nothing is thrown away any more.

use core::fmt;

use crate::heal::names::CollectionName;
use crate::heal::view::ClusterView;
use crate::ids::Token;
use crate::keep::restore::{TRIES, Uuids, is_whole};
use crate::observed::Observed;
use crate::records::{Job, JobState, PieceState, Then};

/// What a job does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing.
    Over,
    /// This one is to be made, and nothing of it is there: that it is begun is written down first.
    Begin(CollectionName),
    /// What there is of this one goes, and it is made.
    Make(CollectionName),
    /// All are made: a last look, and then names may be given.
    Check,
    /// Names and aliases are given, and the mark is taken off.
    Name,
    /// What was made of these goes, and then the job has failed for this reason.
    Undo(Vec<CollectionName>, String),
}

/// What comes next, by the record.
pub fn next(job: &Job) -> Next {
    match &job.state {
        JobState::Finished | JobState::Failed(_) => Next::Over,
        JobState::Naming => Next::Name,
        JobState::Undoing(why) => {
            let begun = job
                .pieces
                .iter()
                .filter(|(_, p)| p.at != PieceState::Waiting);
            Next::Undo(begun.map(|(name, _)| name.clone()).collect(), why.clone())
        }
        JobState::Running => {
            // What is half there first: the less there is of it, the better.
            let at = |wanted| {
                let mut pieces = job.pieces.iter();
                pieces
                    .find(|(_, piece)| piece.at == wanted)
                    .map(|(name, _)| name.clone())
            };
            match (at(PieceState::Making), at(PieceState::Waiting)) {
                (Some(name), _) => Next::Make(name),
                (None, Some(name)) => Next::Begin(name),
                (None, None) => Next::Check,
            }
        }
    }
}

/// The job once this piece is so far.
pub fn moved(job: &Job, name: &CollectionName, at: PieceState) -> Job {
    let mut job = job.clone();
    if let Some(piece) = job.pieces.get_mut(name) {
        piece.at = at;
    }
    job
}

/// The job in this state.
pub fn in_state(job: &Job, state: JobState) -> Job {
    Job {
        state,
        ..job.clone()
    }
}

/// The job once bytes of its set were read here and found to be wrong, and why.
pub fn failed(job: &Job, why: &str) -> Job {
    let mut job = job.clone();
    job.tries = job.tries.saturating_add(1);
    if job.tries >= TRIES && job.state == JobState::Running {
        job.state = JobState::Undoing(why.to_owned());
    }
    job
}

/// The job once a person has called it off. While names are given, what was made is not thrown away any
/// more: it stays as it is.
///
/// # Errors
/// It is over; for people.
pub fn called_off(job: &Job, by: &str) -> Result<Job, &'static str> {
    let state = match job.state {
        JobState::Running | JobState::Undoing(_) => {
            JobState::Undoing(format!("called off by {by}"))
        }
        JobState::Naming => JobState::Failed(format!(
            "called off by {by} while names were given: what was restored stays"
        )),
        JobState::Finished | JobState::Failed(_) => return Err("it is over"),
    };
    Ok(in_state(job, state))
}

/// Why something is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The job is not one that throws anything away now.
    Over,
    /// The job does not make it, or has not begun to.
    NotOurs,
    /// It is whole.
    Done,
    /// It has no mark, or another job's: somebody else made it.
    NoMark,
    /// The job was not told to replace it.
    NotAsked,
    /// Not everything is restored.
    Early,
    /// It is another collection than the one that was to be replaced.
    Another,
    /// It is what the job has made.
    Restored,
}

/// May the job throw away what there is of a collection that it makes? `mark` is what the collection
/// itself says ([`crate::records::MARK`]), read just before.
///
/// # Errors
/// [`Keep`].
pub fn may_delete(job: &Job, name: &CollectionName, mark: Option<&Token>) -> Result<(), Keep> {
    let undoing = match job.state {
        JobState::Running => false,
        JobState::Undoing(_) => true,
        JobState::Naming | JobState::Finished | JobState::Failed(_) => return Err(Keep::Over),
    };
    match job.pieces.get(name).map(|piece| &piece.at) {
        None | Some(PieceState::Waiting) => return Err(Keep::NotOurs),
        Some(PieceState::Done { .. }) if !undoing => return Err(Keep::Done),
        Some(PieceState::Done { .. } | PieceState::Making) => {}
    }
    match mark == Some(&job.token) {
        true => Ok(()),
        false => Err(Keep::NoMark),
    }
}

/// May the job delete the collection that one of its pieces replaces? `old` is that collection's name
/// and `uuid` and `mark` what it says of itself, read just before.
///
/// # Errors
/// [`Keep`].
pub fn may_replace(
    job: &Job,
    piece: &CollectionName,
    old: &CollectionName,
    uuid: &str,
    mark: Option<&Token>,
) -> Result<(), Keep> {
    if job.state != JobState::Naming {
        return Err(Keep::Early);
    }
    if job
        .pieces
        .values()
        .any(|piece| !matches!(piece.at, PieceState::Done { .. }))
    {
        return Err(Keep::Early);
    }
    if job.pieces.contains_key(old) || mark == Some(&job.token) {
        return Err(Keep::Restored);
    }
    let Some(piece) = job.pieces.get(piece) else {
        return Err(Keep::NotOurs);
    };
    match &piece.then {
        // An old collection without a uuid cannot be told from another one.
        Then::Replace { uuid: wanted } if piece.from == *old && !wanted.is_empty() => {
            match wanted == uuid {
                true => Ok(()),
                false => Err(Keep::Another),
            }
        }
        Then::Nothing | Then::Name | Then::Switch | Then::Replace { .. } => Err(Keep::NotAsked),
    }
}

/// The collections of a job that are not there, are others than those that were made, or have a shard
/// without a living Active copy, although they were made: before anybody is led to them they are made again.
///
/// # Errors
/// What could not be read; for people.
pub fn lost(view: &ClusterView, there: &Uuids, job: &Job) -> Result<Vec<CollectionName>, String> {
    let Observed::Known(all) = &view.collections else {
        return Err("the collections could not be read".to_owned());
    };
    let mut lost = Vec::new();
    for (name, piece) in &job.pieces {
        let other = matches!(&piece.at, PieceState::Done { uuid } if there.get(name) != Some(uuid));
        if other || !is_whole(view, all.get(name), name)? {
            lost.push(name.clone());
        }
    }
    Ok(lost)
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Over => "the job throws nothing away any more",
            Self::NotOurs => "the job did not make it",
            Self::Done => "it is restored",
            Self::NoMark => "it does not carry the job's mark: somebody else made it",
            Self::NotAsked => "the job was not told to replace it",
            Self::Early => "not everything is restored",
            Self::Another => "it is another collection than the one that was to be replaced",
            Self::Restored => "it is what the job has made",
        })
    }
}
