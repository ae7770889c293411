//! When a peer is gone, and when it only seems so.

use std::time::Duration;

use planner::heal::life::{Doubt, Life, Witness};
use planner::heal::settings::Settings;
use planner::heal::sight::{Answer, Listing, Sight, Sighting};
use planner::ids::PeerId;
use planner::observed::Observed;

const PEER: PeerId = PeerId(7);
const ROUND: Duration = Duration::from_secs(5);

/// A dead task, as everybody sees it once DNS has noticed.
fn dead() -> Sighting {
    Sighting {
        qdrant: Answer::Silent,
        pid1: Answer::Silent,
        beat: Observed::Known(Some(3)),
        dns: Observed::Known(Listing::Absent { whole: true }),
        address_taken: Observed::Known(false),
        heard_by: None,
    }
}

fn unknown<T>() -> Observed<T> {
    Observed::Unknown("no answer".to_owned())
}

/// After `rounds` of the same sighting.
fn after(rounds: u32, seen: &Sighting) -> (Sight, Life) {
    let mut sight = Sight::default();
    for _ in 0..=rounds {
        sight.observe(
            &Settings::default(),
            Some(ROUND),
            &[(PEER, seen.clone())].into(),
        );
    }
    let life = sight.life(PEER);
    (sight, life)
}

fn doubt(life: &Life) -> &Doubt {
    match life {
        Life::Unsure { why, .. } => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn gone_needs_the_time_out_and_a_witness() {
    assert_eq!(doubt(&after(3, &dead()).1), &Doubt::TooSoon);
    let (_, life) = after(4, &dead());
    let witnesses = [Witness::BeatStopped, Witness::NotInDns].into();
    let lasted = Duration::ZERO;
    assert_eq!(life, Life::Gone { witnesses, lasted });
    let (_, life) = after(10, &dead());
    assert!(matches!(life, Life::Gone { lasted, .. } if lasted == ROUND * 6));
}

#[test]
fn each_witness_is_enough_and_none_is_not() {
    let none = Sighting {
        beat: unknown(),
        dns: unknown(),
        address_taken: unknown(),
        ..dead()
    };
    assert_eq!(doubt(&after(100, &none).1), &Doubt::NoWitness);
    for (seen, witness) in [
        (
            Sighting {
                beat: Observed::Known(Some(3)),
                ..none.clone()
            },
            Witness::BeatStopped,
        ),
        (
            Sighting {
                dns: Observed::Known(Listing::Absent { whole: true }),
                ..none.clone()
            },
            Witness::NotInDns,
        ),
        (
            Sighting {
                address_taken: Observed::Known(true),
                ..none.clone()
            },
            Witness::AddressTaken,
        ),
    ] {
        let (_, life) = after(10, &seen);
        assert!(
            matches!(&life, Life::Gone { witnesses, .. } if *witnesses == [witness].into()),
            "{life:?}"
        );
    }
}

#[test]
fn what_is_no_witness() {
    let only = |dns, beat| Sighting {
        dns: Observed::Known(dns),
        beat,
        ..dead()
    };
    // A cut answer may hide it; a listed address says nothing; no record is no stopped beat.
    for seen in [
        only(Listing::Absent { whole: false }, unknown()),
        only(Listing::Listed, unknown()),
        only(Listing::Listed, Observed::Known(None)),
    ] {
        assert_eq!(doubt(&after(100, &seen).1), &Doubt::NoWitness, "{seen:?}");
    }
}

#[test]
fn a_witness_speaks_in_this_round_or_not_at_all() {
    let absent = Sighting {
        beat: unknown(),
        ..dead()
    };
    let (mut sight, life) = after(10, &absent);
    assert!(matches!(life, Life::Gone { .. }));
    let silent = Sighting {
        dns: unknown(),
        ..absent.clone()
    };
    let mut see = |seen: &Sighting| {
        sight.observe(
            &Settings::default(),
            Some(ROUND),
            &[(PEER, seen.clone())].into(),
        );
        sight.life(PEER)
    };
    assert_eq!(doubt(&see(&silent)), &Doubt::NoWitness);
    // How long it has been proven begins anew: a last copy is at stake.
    assert!(matches!(see(&absent), Life::Gone { lasted, .. } if lasted.is_zero()));
}

#[test]
fn one_sign_of_life_outweighs_all_witnesses() {
    let heard = Sighting {
        heard_by: Some(PeerId(2)),
        ..dead()
    };
    assert_eq!(doubt(&after(100, &heard).1), &Doubt::HeardBy(PeerId(2)));
    let hung = Sighting {
        pid1: Answer::Answers,
        ..dead()
    };
    assert!(matches!(after(100, &hung).1, Life::Hung { .. }));
    let unclear = Sighting {
        pid1: Answer::Unclear("401".to_owned()),
        ..dead()
    };
    let why = Doubt::CouldNotAsk("401".to_owned());
    assert_eq!(doubt(&after(100, &unclear).1), &why);

    let mut sight = Sight::default();
    for beat in 0..100 {
        let seen = Sighting {
            beat: Observed::Known(Some(beat)),
            ..dead()
        };
        sight.observe(&Settings::default(), Some(ROUND), &[(PEER, seen)].into());
    }
    assert_eq!(doubt(&sight.life(PEER)), &Doubt::Beats);
}

#[test]
fn our_own_sleep_is_not_their_silence() {
    let (mut sight, life) = after(100, &dead());
    assert!(matches!(life, Life::Gone { .. }));
    sight.observe(&Settings::default(), None, &[(PEER, dead())].into());
    assert_eq!(doubt(&sight.life(PEER)), &Doubt::TooSoon);
}

#[test]
fn one_answer_ends_the_silence() {
    let (mut sight, _) = after(100, &dead());
    let alive = Sighting {
        qdrant: Answer::Answers,
        ..dead()
    };
    let mut see = |seen: Sighting| {
        sight.observe(&Settings::default(), Some(ROUND), &[(PEER, seen)].into());
        sight.life(PEER)
    };
    assert_eq!(see(alive), Life::Alive);
    assert_eq!(doubt(&see(dead())), &Doubt::TooSoon);
}

#[test]
fn nobody_is_known_before_the_first_round() {
    assert_eq!(doubt(&Sight::default().life(PEER)), &Doubt::TooSoon);
    // A peer that was never seen gets the whole time-out from its first round on, so that a
    // process that has just begun removes nobody.
    assert_eq!(doubt(&after(0, &dead()).1), &Doubt::TooSoon);
}

#[test]
fn a_silence_is_due_when_it_is_long_enough() {
    let settings = Settings::default();
    let alive = Sighting {
        qdrant: Answer::Answers,
        ..dead()
    };
    assert_eq!(after(3, &alive).0.due(&settings), None);
    assert_eq!(
        after(3, &dead()).0.due(&settings),
        Some(ROUND),
        "one more round"
    );
    assert_eq!(after(4, &dead()).0.due(&settings), None, "it is judged");
    let heard = Sighting {
        heard_by: Some(PeerId(1)),
        ..dead()
    };
    assert_eq!(
        after(9, &heard).0.due(&settings),
        None,
        "time does not help"
    );
}

/// A stranger answers at the address of a peer that has ended.
fn taken_over() -> Sighting {
    let stranger = Answer::Unreadable("it refuses our API key".to_owned());
    Sighting {
        qdrant: stranger.clone(),
        pid1: stranger,
        address_taken: unknown(),
        ..dead()
    }
}

#[test]
fn a_stranger_at_the_address_of_the_dead_does_not_keep_them_alive_for_ever() {
    let rounds = |time: Duration| u32::try_from(time.as_secs() / ROUND.as_secs()).unwrap();
    let long = rounds(Settings::default().lost_copy_timeout);
    let seen = taken_over();
    assert!(matches!(
        doubt(&after(long - 1, &seen).1),
        Doubt::Unreadable(_)
    ));
    let (_, life) = after(long, &seen);
    let witnesses = [Witness::BeatStopped, Witness::NotInDns].into();
    let lasted = Duration::ZERO;
    assert_eq!(life, Life::Gone { witnesses, lasted });
    // The peer itself with another key would still be listed, or beat, or be heard.
    for itself in [
        Sighting {
            dns: Observed::Known(Listing::Listed),
            ..seen.clone()
        },
        Sighting {
            dns: unknown(),
            ..seen.clone()
        },
        Sighting {
            beat: unknown(),
            ..seen.clone()
        },
        Sighting {
            beat: Observed::Known(None),
            ..seen.clone()
        },
    ] {
        let (_, life) = after(long * 3, &itself);
        assert!(matches!(doubt(&life), Doubt::Unreadable(_)), "{itself:?}");
    }
    let heard = Sighting {
        heard_by: Some(PeerId(2)),
        ..seen
    };
    assert_eq!(
        doubt(&after(long * 3, &heard).1),
        &Doubt::HeardBy(PeerId(2))
    );
}

#[test]
fn an_answer_of_its_own_ends_the_time_of_a_stranger() {
    let settings = Settings::default();
    let long = settings.lost_copy_timeout;
    let mut sight = Sight::default();
    let mut see = |seen: Sighting, step: Duration| {
        sight.observe(&settings, Some(step), &[(PEER, seen)].into());
        sight.life(PEER)
    };
    for _ in 0..3 {
        see(taken_over(), Duration::ZERO);
    }
    assert!(see(taken_over(), long).is_gone());
    let alive = Sighting {
        qdrant: Answer::Answers,
        ..dead()
    };
    see(alive, ROUND);
    assert!(matches!(
        doubt(&see(taken_over(), ROUND)),
        Doubt::Unreadable(_)
    ));
    // Nor does a question that could not be asked count for it.
    let failed = Sighting {
        pid1: Answer::Unclear("no free port".to_owned()),
        ..dead()
    };
    see(failed, long);
    assert!(matches!(
        doubt(&see(taken_over(), ROUND)),
        Doubt::Unreadable(_)
    ));
}
