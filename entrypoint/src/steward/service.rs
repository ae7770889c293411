//! The service around the cluster, as the hellos of one round show it: who is outside, and what is
//! wanted.

use std::collections::{BTreeMap, BTreeSet};

use planner::heal::names::Zone;
use planner::heal::view::Outsider;
use planner::ids::{PeerId, TaskId};
use planner::records::{Hello, Said};
use planner::view::{Observation, Probe};

/// The tasks of our service that answered.
pub fn hellos<'a>(seen: &'a Observation, service: &'a str) -> impl Iterator<Item = &'a Hello> {
    seen.peers.values().filter_map(move |probe| match probe {
        Probe::Task { hello, .. } if hello.service == service => Some(hello.as_ref()),
        _ => None,
    })
}

/// Those of them that are none of the listed peers.
pub fn outside(
    seen: &Observation,
    service: &str,
    listed: &BTreeSet<PeerId>,
) -> BTreeMap<TaskId, Outsider> {
    hellos(seen, service)
        .filter(|hello| hello.peer_id.is_none_or(|peer| !listed.contains(&peer)))
        .map(|hello| {
            let there = Outsider {
                state: hello.state,
                zone: hello.zone.clone().map(Zone),
                peer_id: hello.peer_id,
                said: hello.said.clone(),
            };
            (hello.task.clone(), there)
        })
        .collect()
}

/// What is wanted of the service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The `family:revision`, when it is known.
    pub revision: Option<String>,
    /// How many tasks, when anybody says.
    pub tasks: Option<u32>,
    /// ECS says so.
    pub told: bool,
    /// And that it has no room to start a task of that revision before another ends.
    pub full: bool,
}

/// What the ECS API told a task, ourselves first; else the word of the task that ECS created last: it
/// is of the revision that ECS starts now, and was told the size that is wanted now. Without any
/// time of creation the revision is not known.
pub fn wanted<'a>(
    task: &'a TaskId,
    said: &'a Said,
    others: impl Iterator<Item = &'a Hello>,
) -> Wanted {
    let mut all: Vec<(&TaskId, &Said)> = others.map(|hello| (&hello.task, &hello.said)).collect();
    all.push((task, said));
    all.sort_by_key(|(task, said)| (said.created, *task));
    let told = said.wanted.as_ref();
    let told = told.or_else(|| all.iter().rev().find_map(|(_, said)| said.wanted.as_ref()));
    if let Some(told) = told {
        return Wanted {
            revision: Some(told.revision.clone()),
            tasks: Some(told.tasks),
            told: true,
            full: told.full,
        };
    }
    match all.last() {
        Some((_, newest)) if newest.created.is_some() => Wanted {
            revision: newest.revision.clone(),
            tasks: newest.size.or(said.size),
            told: false,
            full: false,
        },
        _ => Wanted {
            revision: None,
            tasks: said.size,
            told: false,
            full: false,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use planner::records::WantedService;

    fn said(revision: &str, created: Option<u64>, size: u32) -> Said {
        Said {
            revision: Some(revision.to_owned()),
            created,
            size: Some(size),
            ..Said::default()
        }
    }

    fn of(own: &Said, others: &[(&str, Said)]) -> Wanted {
        let hellos: Vec<Hello> = others
            .iter()
            .map(|(task, said)| Hello {
                format: planner::records::FORMAT,
                service: "vectors".to_owned(),
                store_id: None,
                task: (*task).into(),
                state: planner::records::State::Empty,
                generation: None,
                aside: false,
                uri: String::new(),
                leads: false,
                verified: false,
                peers: BTreeSet::new(),
                peer_id: None,
                serves: false,
                zone: None,
                hears: BTreeSet::new(),
                whole: false,
                set: None,
                said: said.clone(),
            })
            .collect();
        wanted(&"ourselves".into(), own, hellos.iter())
    }

    fn wants(revision: Option<&str>, tasks: u32, told: bool) -> Wanted {
        Wanted {
            revision: revision.map(str::to_owned),
            tasks: Some(tasks),
            told,
            full: false,
        }
    }

    #[test]
    fn the_newest_task_has_the_word_whatever_its_number() {
        let own = said("app:7", Some(10), 6);
        let older = ("old", said("app:8", Some(5), 9));
        let newer = ("new", said("app:3", Some(20), 3));
        assert_eq!(
            of(&own, std::slice::from_ref(&older)),
            wants(Some("app:7"), 6, false)
        );
        assert_eq!(of(&own, &[older, newer]), wants(Some("app:3"), 3, false));
    }

    #[test]
    fn without_any_time_of_creation_no_revision_is_wanted() {
        let own = said("app:7", None, 6);
        let other = ("other", said("app:8", None, 3));
        assert_eq!(of(&own, &[other]), wants(None, 6, false));
    }

    #[test]
    fn the_word_of_ecs_outranks_every_task() {
        let mut own = said("app:7", Some(10), 6);
        let mut newer = said("app:8", Some(20), 3);
        let told = |revision: &str, tasks| {
            let revision = revision.to_owned();
            Some(WantedService {
                revision,
                tasks,
                full: false,
            })
        };
        newer.wanted = told("app:8", 4);
        assert_eq!(
            of(&own, &[("new", newer.clone())]),
            wants(Some("app:8"), 4, true)
        );
        own.wanted = told("app:9", 5);
        assert_eq!(of(&own, &[("new", newer)]), wants(Some("app:9"), 5, true));
    }
}
