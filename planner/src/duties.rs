//! What a running member does for the others: it proves the generation, mends the store, and says
//! whether it can take traffic (rule R2).

use crate::claims;
use crate::decision::{Action, Alarm, Decision, NotReady, Reason};
use crate::fencing::our_store;
use crate::ids::GenerationId;
use crate::observed::Observed;
use crate::records::{Formed, GrantKind, Mode, Stamp, State};
use crate::settings::Settings;
use crate::view::{Observation, Probe, Qdrant};

/// Puts the one duty that is due, the alarms and the readiness into `decision`.
pub(crate) fn fulfil(
    settings: &Settings,
    early: bool,
    seen: &Observation,
    stamp: &Stamp,
    qdrant: &Qdrant,
    decision: &mut Decision,
) {
    let members = 1 + live_members(settings, seen, &stamp.generation);
    let complete = members >= settings.ready_peers;
    if let Some(action) = publish(settings, stamp, qdrant, complete) {
        decision.action = action;
        decision.reason = Reason::Publish;
    } else if stamp.restore && restored(qdrant) {
        decision.action = Action::Restored;
        decision.reason = Reason::RestoreFinished;
    } else if let Some((action, reason)) = mend_store(settings, seen, stamp, qdrant) {
        decision.action = action;
        decision.reason = reason;
    }
    decision.alarms.extend(store_alarm(settings, seen, stamp));
    decision.ready = ready(settings, early, stamp, qdrant, members);
}

/// What our key map says of the restore. Unknown is not finished.
pub(crate) fn restored(qdrant: &Qdrant) -> bool {
    qdrant.restored == Observed::Known(true)
}

/// Tells the peers, through consensus, which generation this is, when its first formation is complete, and
/// when nobody who comes need wait for a restore any more. Only the leader writes, so that one write
/// suffices.
fn publish(settings: &Settings, stamp: &Stamp, qdrant: &Qdrant, complete: bool) -> Option<Action> {
    let Observed::Known(proof) = &qdrant.proof else {
        return None;
    };
    let regrouped = !stamp.survivors.is_empty();
    let wanted = match proof {
        Some(proof) if is_before_requorum(stamp, proof) => true,
        Some(proof) if !proof.complete && complete => true,
        // That can wait for a quorum, and whoever has lost it must not wait for this.
        Some(proof) => proof.restore && !stamp.restore && lives(qdrant),
        None => true,
    };
    // Once complete it stays so; and after a re-quorum nothing is formed for the first time: newcomers
    // are admitted one by one.
    let was = proof.as_ref().is_some_and(|proof| proof.complete);
    let complete = complete || regrouped || was;
    (wanted && qdrant.leads)
        .then(|| {
            stamp
                .formed(&settings.service, complete)
                .map(Action::Publish)
        })
        .flatten()
}

/// As far as is known here, consensus commits.
fn lives(qdrant: &Qdrant) -> bool {
    qdrant.has_leader && qdrant.commits != Some(false)
}

/// The key map came with the data through a re-quorum and still names the generation before: the
/// founder publishes anew.
pub(crate) fn is_before_requorum(stamp: &Stamp, proof: &Formed) -> bool {
    !stamp.survivors.is_empty() && stamp.previous.as_ref() == Some(&proof.generation)
}

/// R2: members re-create the records of their generation in a store that lost them, and do not
/// let a claim be formed while they live.
fn mend_store(
    settings: &Settings,
    seen: &Observation,
    stamp: &Stamp,
    qdrant: &Qdrant,
) -> Option<(Action, Reason)> {
    let store = our_store(settings, seen, stamp)?;
    if claims::foreign(settings, store).is_some() {
        return None;
    }
    if !lives(qdrant) {
        // Whether the cluster goes on is not known here, so nothing is said in its name.
        return None;
    }
    if let Some((number, undecided)) = store.undecided()
        && undecided.claim.token != stamp.generation.token
        // An isolated leader believes that it leads: only a commit speaks against survivors.
        && (undecided.claim.mode != Mode::Requorum || qdrant.commits == Some(true))
    {
        let why = format!("generation {} lives", stamp.generation);
        let reason = Reason::WeLive(undecided.claim.task.clone(), number);
        return Some((Action::Abandon { number, why }, reason));
    }
    if recorded(store, stamp) || place_taken(store, stamp) {
        return None;
    }
    let formed = stamp.formed(&settings.service, false)?;
    Some((Action::Recreate(formed), Reason::RecordsMissing))
}

/// The store says that our generation is the cluster.
pub(crate) fn recorded(store: &crate::view::Store, stamp: &Stamp) -> bool {
    store
        .formed()
        .is_some_and(|formed| formed.generation == stamp.generation)
}

/// Another claim, or another end of ours, stands where our records belong. Our own claim without
/// an outcome is a half re-created one, which is finished.
pub(crate) fn place_taken(store: &crate::view::Store, stamp: &Stamp) -> bool {
    store
        .generations
        .get(&stamp.generation.number)
        .is_some_and(|there| there.claim.token != stamp.generation.token || there.outcome.is_some())
}

/// The store is another cluster's, or can never hold the records of ours.
pub(crate) fn store_alarm(settings: &Settings, seen: &Observation, stamp: &Stamp) -> Option<Alarm> {
    let store = seen.store.known()?;
    if let Some(identity) = &store.identity
        && identity.store_id != stamp.store_id
    {
        return Some(Alarm::ForeignStore(format!(
            "it is {}, our cluster's is {}",
            identity.store_id, stamp.store_id
        )));
    }
    our_store(settings, seen, stamp)?;
    (!recorded(store, stamp) && place_taken(store, stamp))
        .then(|| Alarm::Unrecorded(stamp.generation.clone()))
}

fn live_members(settings: &Settings, seen: &Observation, generation: &GenerationId) -> usize {
    seen.peers
        .values()
        .filter(|probe| {
            matches!(probe, Probe::Task { hello, .. }
                if hello.service == settings.service
                    && hello.state == State::Member
                    && hello.generation.as_ref() == Some(generation))
        })
        .count()
}

/// The first readiness of a task that came to a complete generation is the steward's to give, one
/// after the other: ECS may end another task for each.
fn ready(
    settings: &Settings,
    early: bool,
    stamp: &Stamp,
    qdrant: &Qdrant,
    members: usize,
) -> Result<(), NotReady> {
    let complete = matches!(&qdrant.proof, Observed::Known(Some(proof)) if proof.complete);
    if !complete {
        return Err(NotReady::Forming {
            members,
            wanted: settings.ready_peers,
        });
    }
    // What a client wrote into a collection before that, the restore would take away again.
    if stamp.restore && !restored(qdrant) {
        return Err(NotReady::Restoring);
    }
    if !qdrant.is_voter {
        return Err(NotReady::Learner);
    }
    if !qdrant.ready {
        return Err(NotReady::Qdrant);
    }
    let grant = qdrant
        .orders
        .known()
        .and_then(|orders| orders.grant.as_ref());
    let ours =
        grant.is_some_and(|grant| grant.kind == GrantKind::Serve && grant.task == settings.task);
    if !early && !ours {
        return Err(NotReady::NotAdmitted(grant.cloned()));
    }
    Ok(())
}
