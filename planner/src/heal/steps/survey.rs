//! Not a step: what is unclear about the cluster is said in every round, whatever is done.

use crate::heal::life::Life;
use crate::heal::round::Round;
use crate::heal::waiting::Waiting;
use crate::observed::Observed;

pub(crate) fn survey(round: &mut Round<'_>) {
    let view = round.view;
    match &view.collections {
        Observed::Unknown(why) => round.wait(Waiting::Unread(None, why.clone())),
        Observed::Known(all) => {
            for (name, collection) in all {
                match collection {
                    Observed::Unknown(why) => {
                        round.wait(Waiting::Unread(Some(name.clone()), why.clone()));
                    }
                    Observed::Known(there) if there.resharding => {
                        round.wait(Waiting::Resharding(name.clone()));
                    }
                    Observed::Known(_) => {}
                }
            }
        }
    }
    let zones = view.peers.values().any(|peer| peer.zone.is_some());
    for (peer, there) in &view.peers {
        match &there.life {
            Life::Alive if there.zone.is_none() && zones => round.wait(Waiting::ZoneUnknown(*peer)),
            Life::Alive | Life::Gone { .. } => {}
            life => {
                let copies = round.facts.elsewhere.get(peer).map_or(0, Vec::len);
                round.wait(Waiting::Peer {
                    peer: *peer,
                    life: life.clone(),
                    copies,
                });
            }
        }
    }
    let unlisted = round.facts.elsewhere.iter();
    let unlisted: Vec<Waiting> = unlisted
        .filter(|(peer, _)| !view.peers.contains_key(peer))
        .map(|(peer, shards)| Waiting::Unlisted {
            peer: *peer,
            copies: shards.len(),
        })
        .collect();
    round.waiting.extend(unlisted);
}
