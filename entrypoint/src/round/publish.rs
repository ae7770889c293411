//! What a round says to the world: the status page, the hello, the alarms.

use std::time::Instant;

use jiff::Timestamp;
use planner::decision::Decision;
use planner::ids::PeerId;
use planner::observed::Observed;
use planner::protection::{Freedom, Wish, wish};
use planner::view::{Child as ChildView, Observation};

use super::Task;
use crate::ecs::keeper::Keeper;
use crate::ecs::wanted::Wanted as WantedByEcs;
use crate::status::Peer;

impl Task {
    /// Tells the keeper of protection what this round wishes; gives all that a person must look at.
    pub(super) fn alarms(&self, seen: &Observation, decision: &Decision) -> Vec<String> {
        let mut alarms: Vec<_> = decision.alarms.iter().map(ToString::to_string).collect();
        let settings = &self.settings;
        let told = self.wanted.as_ref().and_then(WantedByEcs::now);
        let wish = wish(&settings.task, &settings.service, seen, told.as_ref());
        if wish == Wish::Free(Freedom::NoneWanted) {
            alarms.push(
                "ECS wants no task of this service: nothing holds the tasks any more, and their data ends with them"
                    .to_owned(),
            );
        }
        if let Some(keeper) = &self.protection {
            keeper.wish(wish);
            alarms.extend(keeper.alarm());
        }
        let status = &self.board.borrow().status;
        alarms.extend(status.concerns.iter().cloned());
        alarms.extend(status.sets_wrong.clone());
        alarms.extend(status.restore_wrong.clone());
        alarms.extend(status.proofs_wrong.clone());
        alarms
    }

    pub(super) fn publish(
        &mut self,
        seen: &Observation,
        decision: &Decision,
        record: &serde_json::Value,
        alarms: Vec<String>,
    ) {
        let protection = self.protection.as_ref().map(Keeper::protection);
        if let Some(wanted) = &self.wanted {
            let leads =
                matches!(&seen.child, ChildView::Running(Observed::Known(qdrant)) if qdrant.leads);
            wanted.leads(leads);
        }
        let wanted = self.wanted.as_ref().and_then(WantedByEcs::now);
        // What a stop has said stays said.
        let ending = self.ending;
        let info = self.qdrant.last();
        let still = self.qdrant.standstill().is_still();
        let child = self.qdrant.describe();
        let hears = self.watch.hears();
        let troubles: Vec<_> = self.journal.store_troubles().collect();
        self.board.send_modify(|board| {
            board.turned = Instant::now();
            let status = &mut board.status;
            let phase = decision.phase.to_string();
            if !ending && status.phase != phase {
                status.since = Timestamp::now();
            }
            if !ending {
                status.phase = phase;
                status.reason = decision.reason.to_string();
            }
            status.generation.clone_from(&decision.generation);
            status.state = decision.state;
            status.aside = seen.disk.aside;
            status.store_id = match (&seen.disk.stamp, &seen.store) {
                (Some(stamp), _) => Some(stamp.store_id.clone()),
                (None, Observed::Known(store)) => store
                    .identity
                    .as_ref()
                    .map(|identity| identity.store_id.clone()),
                (None, Observed::Unknown(_)) => None,
            };
            status.peer_id = seen.disk.peer_id;
            status.role = None;
            status.is_voter = None;
            status.peers.clear();
            status.said.commit = decision.commit;
            status.said.quorum_lost = decision.quorum_lost;
            status.said.plight.clone_from(&decision.plight);
            if let (ChildView::Running(Observed::Known(_)), Some(info)) = (&seen.child, info) {
                status.role = info.raft.role.as_ref().map(|role| format!("{role:?}"));
                status.is_voter = Some(info.raft.is_voter);
            }
            // While it stands still it lists whom it listed: others that slept as well wait for that.
            let known = matches!(&seen.child, ChildView::Running(Observed::Known(_)));
            if let (true, Some(info)) = (known || still, info) {
                status.peer_id = Some(PeerId(info.peer_id));
                status.peers = info
                    .peers
                    .iter()
                    .filter_map(|(id, uri)| {
                        Some(Peer {
                            id: PeerId(*id),
                            uri: uri.address()?.to_owned(),
                        })
                    })
                    .collect();
            }
            status.verified = self.memory.verified;
            if !ending {
                status.ready = decision.ready.is_ok();
                status.ready_reason = match &decision.ready {
                    Ok(()) => "ready".to_owned(),
                    Err(why) => why.to_string(),
                };
            }
            status.alarms = alarms;
            status.said.protection = protection;
            status.said.wanted = wanted;
            status.hears = hears;
            status.alarms.extend(troubles);
            let differ = |shard: &String| format!("copies have diverged, {shard}");
            status.alarms.extend(status.diverged.iter().map(differ));
            status.lost_log_lines = crate::log::lost_lines();
            status.child = child;
            status.decision.clone_from(record);
        });
    }
}
