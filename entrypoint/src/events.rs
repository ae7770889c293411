//! The stable names of everything that is logged. `docs/events.md` explains them; a test holds the
//! two together. A name is never reused for something else.

macro_rules! events {
    ($($(#[$doc:meta])* $name:ident = $text:literal : $meaning:literal;)*) => {
        $(
            #[doc = $meaning]
            pub const $name: &str = $text;
        )*

        /// Every event with its meaning, in the order of the documentation.
        pub const ALL: &[(&str, &str)] = &[$(($text, $meaning)),*];
    };
}

events! {
    STARTED = "entrypoint.started": "The entrypoint has read its configuration and knows who it is.";
    WARNING = "entrypoint.warning": "Something in the configuration or the environment is unwise.";
    FAILED = "entrypoint.failed": "The entrypoint cannot go on and ends.";
    DECISION = "decision": "A round decided something else than the round before: phase, action, reason, what was observed.";
    ALARM = "alarm": "A person must look: what is wrong, where, what to do.";
    ALARM_OVER = "alarm.over": "An alarm does not hold any more.";
    ACTION_FAILED = "action.failed": "An action was refused or failed; the next round decides anew.";
    CLAIMED = "generation.claimed": "This task has claimed a generation.";
    ABANDONED = "generation.abandoned": "This task has abandoned a claim.";
    FORMED = "generation.formed": "This task has formed a generation.";
    PUBLISHED = "generation.published": "The formed generation stands in Qdrant's key map.";
    REQUORUM_CLAIMED = "requorum.claimed": "This task claims the next generation for the survivors of a lost majority.";
    REQUORUM_FORMED = "requorum.formed": "The survivors' generation is formed; what was changed last in collections and aliases may be lost.";
    REQUORUM_RESUMED = "requorum.resumed": "A claim for the survivors came to nothing before anything was changed: this task goes on in its generation.";
    REQUORUM_RESTS = "requorum.rests": "Another survivor has claimed the next generation: this task marks its disk and stops its Qdrant until that is decided.";
    REQUORUM_REJOINS = "requorum.rejoins": "This survivor begins Raft anew to go over into the survivors' generation with its data.";
    REQUORUM_SHED = "requorum.shed": "This survivor drops its copy of a shard because a settled member holds one that has missed nothing; the steward makes it anew.";
    REQUORUM_REJOINED = "requorum.rejoined": "This survivor has gone over with its data.";
    RECREATED = "generation.recreated": "This member has written the records of its generation into a store that had lost them.";
    JOINED = "peer.joined": "Qdrant on this task votes in the cluster.";
    DISCARDED = "disk.discarded": "Qdrant's files on this disk were removed: they were never served, or held no collection.";
    FREED_LATE = "disk.freed_late": "A freeing of the disk that was interrupted earlier was finished.";
    SET_ASIDE = "disk.set_aside": "Qdrant's files on this disk were renamed aside because a newer generation took over, the cluster is whole without this peer, or Qdrant cannot run with them and the steward permits it.";
    READY = "ready": "The load balancer may send traffic to this task.";
    QDRANT_BUILD = "qdrant.build": "Which release of Qdrant this is, and which of our patches are in it.";
    QDRANT_STARTED = "qdrant.started": "Qdrant was started.";
    QDRANT_EXITED = "qdrant.exited": "Qdrant has ended by itself; how, and when it is started again.";
    QDRANT_KILLED = "qdrant.killed": "Qdrant was killed because it must not serve.";
    STANDS_STILL = "qdrant.stands_still": "Qdrant was stopped where it stands (SIGSTOP): its peer may have been removed without its knowledge.";
    WENT_ON = "qdrant.went_on": "Qdrant goes on (SIGCONT): the others list its peer.";
    QDRANT_STOPPED = "qdrant.stopped": "Qdrant has ended because the task is stopped.";
    JOIN_FAILED = "join.failed": "Qdrant could not join and is tried again; the disk is kept.";
    STORE_LOST = "store.lost": "The store cannot be read or written.";
    STORE_BACK = "store.back": "The store answers again.";
    PEER_GONE = "peer.gone": "The steward has proof that a peer is gone: its silence and a second witness.";
    PEER_BACK = "peer.back": "A peer that was gone answers again before it was removed.";
    PEER_REMOVED = "peer.removed": "A gone peer was taken out of Raft.";
    PAUSED = "steward.paused": "An operator has asked for no changes, until when and why.";
    RESUMED = "steward.resumed": "An operator has ended the pause.";
    GRANT_GIVEN = "grant.given": "The steward has permitted a task to join, or to be ready for the first time.";
    GRANT_WITHDRAWN = "grant.withdrawn": "The steward has taken a permission back: it was used, or is in vain.";
    EVACUATION_BEGUN = "evacuation.begun": "The steward empties a task, so that ECS can end it: its revision is not wanted, there are too many, or it blocks a deployment.";
    EVACUATION_ENDED = "evacuation.ended": "Nobody is being emptied any more: the task has ended, or there is no reason for it any more.";
    PEER_RELEASED = "peer.released": "A task that was emptied holds no copy any more: it gives its protection back and waits for its end.";
    HEAL_PLAN = "heal.plan": "The steward's plan has changed: what is next, and why everything else waits.";
    HEAL_ACTION = "heal.action": "The steward has asked Qdrant for a change.";
    HEAL_REFUSED = "heal.refused": "A second look, just before a change, spoke against it.";
    HEAL_FAILED = "heal.failed": "Qdrant refused a change of the steward, or did not answer; it is tried again after a pause.";
    DIVERGENCE_SUSPECT = "divergence.suspect": "Copies of a shard that are all Active differ in their number of points while nothing changes. It is looked at again.";
    DIVERGENCE_FOUND = "divergence.found": "They differ again and again: a person must find out which copy is right. Nothing is repaired.";
    DIVERGENCE_OVER = "divergence.over": "The copies of a shard that differed hold the same number of points.";
    WANTED = "service.wanted": "What ECS wants of the service, as its API says: revision and number of tasks; said when it changes.";
    WANTED_UNKNOWN = "service.unknown": "The API of ECS does not say what is wanted, and why; the tasks go by what they say of themselves.";
    PROTECTION_HELD = "protection.held": "ECS has confirmed that it will not stop this task for a deployment or a smaller count.";
    PROTECTION_OFF = "protection.off": "This task has given its protection back, and why.";
    PROTECTION_REFUSED = "protection.refused": "ECS, or the agent's endpoint, has not done what was asked of it about protection; it is asked again.";
    PROTECTION_LOST = "protection.lost": "A confirmed protection has run out without a new one.";
    MEMBER_FORGOTTEN = "member.forgotten": "The steward has removed the store's record of a task that was killed long ago and is no peer.";
    MEMBER_KEPT = "member.kept": "The record of a task that has been silent for long stays in the store, and why.";
    SET_ASKED = "set.asked": "Somebody has asked this task for a set by hand; the request waits in Qdrant's key map for the steward.";
    SET_REQUEST_DROPPED = "set.request_dropped": "A request for a set by hand is out of the key map without a set, and why.";
    SET_BEGUN = "set.begun": "The steward has planned a set of snapshots: which task takes which shard.";
    SET_PART = "set.part": "This task has taken a shard for a set: its file is durable and was read back to its end.";
    SET_PART_FAILED = "set.part_failed": "This task could not take a shard for a set, and why.";
    SET_NOT_TAKEN = "set.not_taken": "This task takes nothing (more) for a set, and why.";
    SET_WAITS = "set.waits": "What the set that is due, or is being made, waits for.";
    SET_MADE = "set.made": "A set is finished, and every collection is whole in it.";
    SET_INCOMPLETE = "set.incomplete": "A set is finished in which not every collection is whole: which, and why.";
    SET_GIVEN_UP = "set.given_up": "A set will never be finished, and why; its files go later.";
    SET_MISSED = "set.missed": "Slots have passed without a set. None is made up for.";
    SET_LAST = "set.last": "Everything ends with this task, or with all that end now: Qdrant is started once more where no client reaches it, and the final set is made.";
    SET_LAST_WAITS = "set.last_waits": "Several tasks end at once, no client reaches this one any more, and the final set waits for something: for what.";
    SET_LAST_ABSENT = "set.last_absent": "The final set is made without these peers, which do not answer or have just come: what they acknowledge, or have acknowledged alone, is missing from it.";
    SET_LAST_MADE = "set.last_made": "Several tasks end at once and the final set of what all of them hold is there.";
    SET_LAST_SKIPPED = "set.last_skipped": "Everything ends with this task and no final set is made, and why.";
    SET_LAST_TIGHT = "set.last_tight": "The final set will probably not be made in the time that a stop has: raise the task's stopTimeout and ENTRYPOINT_STOP_TIMEOUT, or make sets more often.";
    SET_LAST_FAILED = "set.last_failed": "The final set was not made, or not in the time that a stop has: what was written since the newest set is lost with this disk.";
    ENDED = "generation.ended": "All that was acknowledged is in the final set and the store says so: the next task restores it without waiting.";
    ENDED_UNSAID = "generation.ended_unsaid": "The final set is made and the store does not say that the generation has ended, and why: the next task restores it after the loss time-out.";
    RESTORE_BEGUN = "restore.begun": "Everything was lost: this set is restored before anybody is served.";
    RESTORE_SKIPPED = "restore.skipped": "A newer set is not restored, and why.";
    RESTORE_WAITS = "restore.waits": "Why the restore does not go on now.";
    RESTORE_CLEARED = "restore.cleared": "A collection that the restore had begun was deleted, to be made again or because the set that is restored now lacks it.";
    RESTORE_COLLECTION = "restore.collection": "A collection is restored: every copy of each shard counts the same.";
    RESTORE_COUNTS = "restore.counts": "A restored shard has more or fewer points than were counted before and after its file was taken: something was deleted meanwhile, or the count was an estimate.";
    RESTORE_FAILED = "restore.failed": "A set could not be restored, and why; given up, it gives way to the next older one.";
    RESTORE_ACCEPTED = "restore.accepted": "A person has decided that what is not restored stays lost.";
    RESTORE_ASKED = "restore.asked": "Somebody asked for a restore by hand, or decided about the one of everything.";
    RESTORE_REPLACED = "restore.replaced": "A collection was deleted because a restored one takes its place, as somebody asked.";
    RESTORE_DONE = "restore.done": "A restore by hand is finished.";
    RESTORE_UNDONE = "restore.undone": "A restore by hand was given up or called off, and what was made of it is deleted.";
    RESTORE_FINISHED = "restore.finished": "All is restored and the cluster may serve; what was written after the set is lost.";
    SET_LENT = "set.lent": "This task has given a file of a set, to its end, to who asked its control port: its own Qdrant recovers a shard from it.";
    SET_NOT_LENT = "set.not_lent": "This task could not give a file of a set, or not to its end, and why.";
    PROOF_BEGUN = "proof.begun": "The leader has ordered a proof: which files of which set, and whose task does it.";
    PROOF_DONE = "proof.done": "A proof is on record beside its set: how many of the files are good, and at which level.";
    PROOF_FAILED = "proof.failed": "A proof has found a file of a set to be bad, and why. The set counts as good no more.";
    PROOF_WAITS = "proof.waits": "Why nothing is proven now, or what could not be looked at, which says nothing about a set.";
    PROOF_SCRATCH = "proof.scratch": "What became of the folder of a scratch Qdrant, or why there is none.";
    SET_DELETED = "set.deleted": "A set that nobody needs any more was deleted, and why.";
    SET_KEPT = "set.kept": "A set that was to be deleted is still there, and why.";
    STOPPING = "stopping": "A signal asked the task to stop.";
    HANDED_OVER = "handover.done": "A task that is being stopped is out of the cluster: nothing on it is missed.";
    HANDOVER_SHORT = "handover.short": "A task ends as a member of the cluster: why the others did not take over, and which shards are short of copies now.";
    STOPPED = "stopped": "The task ends, with this exit code.";
}

#[cfg(test)]
mod tests {
    use super::ALL;

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = ALL.iter().map(|(name, _)| name).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
    }

    /// `UPDATE_DOCS=1` writes the page anew.
    #[test]
    fn the_page_lists_every_event() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/events.md");
        let mut page = String::from(
            "# Events\n\nOne JSON object a line on standard output; `event` is one of these. Generated from `entrypoint/src/events.rs`.\n\n| event | meaning |\n|---|---|\n",
        );
        for (name, meaning) in ALL {
            page.push_str(&format!("| `{name}` | {meaning} |\n"));
        }
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, &page).unwrap();
        }
        assert_eq!(
            std::fs::read_to_string(path).unwrap(),
            page,
            "run with UPDATE_DOCS=1"
        );
    }
}
