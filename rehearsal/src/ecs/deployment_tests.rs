//! The arithmetic of deployments as a table, and every reason to stop a task.

use super::deployment::{
    Health, Percent, Seen, Service, Snapshot, Step, Why, blocked, next, refuses,
};

const fn service(desired: usize, minimum: usize, maximum: usize) -> Service {
    Service {
        desired,
        primary: 2,
        percent: Percent { minimum, maximum },
        rebalancing: false,
    }
}

/// Task 1, 2, … in zones 0, 1, 2, 0, …; a letter for each: `o`ld or `n`ew, upper case = healthy,
/// `x` and `y` an unhealthy old and new one; a `!` behind it protects it.
fn snapshot(letters: &str) -> Snapshot {
    let mut tasks: Vec<Seen> = Vec::new();
    for letter in letters.chars() {
        if letter == '!' {
            tasks.last_mut().unwrap().protected = true;
            continue;
        }
        let task = tasks.len() + 1;
        let health = match letter {
            'O' | 'N' => Health::Healthy,
            'o' | 'n' => Health::Pending,
            'x' | 'y' => Health::Unhealthy,
            other => panic!("{other}"),
        };
        tasks.push(Seen {
            task,
            revision: if "Oox".contains(letter) { 1 } else { 2 },
            zone: (task - 1) % 3,
            health,
            protected: false,
        });
    }
    Snapshot {
        tasks,
        zones: vec![0, 1, 2],
        ..Snapshot::default()
    }
}

/// Plays a deployment: what is pending becomes healthy when nothing else happens, and of several
/// candidates the first is stopped. Returns the moves, the fewest healthy and the most tasks.
fn play(service: Service, begin: &str) -> (String, usize, usize) {
    let mut world = snapshot(begin);
    let (mut moves, mut fewest, mut most) = (String::new(), usize::MAX, 0);
    let mut number = world.tasks.len();
    for _ in 0..100 {
        let healthy = world.tasks.iter().filter(|t| t.health == Health::Healthy);
        fewest = fewest.min(healthy.count());
        most = most.max(world.tasks.len());
        match next(&service, &world) {
            Some(Step::Launch { revision, zone }) => {
                number += 1;
                moves.push('+');
                world.tasks.push(Seen {
                    task: number,
                    revision,
                    zone,
                    health: Health::Pending,
                    protected: false,
                });
            }
            Some(Step::Stop { candidates, .. }) => {
                moves.push('-');
                world.tasks.retain(|seen| seen.task != candidates[0]);
            }
            None => {
                let mut pending = world.tasks.iter_mut();
                match pending.find(|seen| seen.health == Health::Pending) {
                    Some(seen) => {
                        moves.push('h');
                        seen.health = Health::Healthy;
                    }
                    None => return (moves, fewest, most),
                }
            }
        }
    }
    panic!("no end: {moves}");
}

#[test]
fn the_percentages_round_as_those_of_ecs() {
    for (minimum, maximum, floor, ceiling) in [
        (100, 200, 6, 12),
        (100, 117, 6, 7),
        (100, 134, 6, 8),
        (83, 100, 5, 6),
        (84, 100, 6, 6),
        (66, 100, 4, 6),
        (0, 100, 0, 6),
    ] {
        let service = service(6, minimum, maximum);
        let found = (service.floor(), service.ceiling());
        assert_eq!(found, (floor, ceiling), "{minimum}/{maximum}");
    }
}

#[test]
fn a_deployment_keeps_between_floor_and_ceiling() {
    for (minimum, maximum, moves, fewest, most) in [
        // Start first, one at a time.
        (100, 117, "+h-".repeat(6), 6, 7),
        // All at once, and the old ones go as the new ones come.
        (
            100,
            200,
            format!("{}{}", "+".repeat(6), "h-".repeat(6)),
            6,
            12,
        ),
        // Stop first, one at a time.
        (83, 100, "-+h".repeat(6), 5, 6),
        // Stop first, two at a time.
        (66, 100, "-+-+h-+h-+h-+h-+hh".to_owned(), 4, 6),
    ] {
        let found = play(service(6, minimum, maximum), "OOOOOO");
        assert_eq!(found, (moves, fewest, most), "{minimum}/{maximum}");
    }
}

#[test]
fn bounds_between_two_tasks_are_a_deadlock() {
    assert_eq!(next(&service(6, 84, 100), &snapshot("OOOOOO")), None);
}

#[test]
fn protected_tasks_hold_a_deployment_up_and_ecs_says_so() {
    let rolling = service(6, 100, 117);
    let all = snapshot("O!O!O!O!O!O!N");
    assert_eq!(next(&rolling, &all), None);
    assert!(blocked(&rolling, &all));
    // A seventh protected task would be one more than desired; a renewal is not.
    assert!(refuses(&rolling, &all, 7));
    assert!(!refuses(&rolling, &all, 1));
    let one_free = snapshot("O!O!O!OO!O!N");
    let stop = Step::Stop {
        candidates: vec![4],
        why: Why::Deployment,
    };
    assert_eq!(next(&rolling, &one_free), Some(stop));
    assert!(!blocked(&rolling, &one_free));
    // Without room for a newcomer nothing can even begin.
    assert_eq!(next(&service(6, 83, 100), &snapshot("O!O!O!O!O!O!")), None);
    assert!(blocked(&service(6, 83, 100), &snapshot("O!O!O!O!O!O!")));
}

#[test]
fn fewer_desired_than_protected_refuses_renewals() {
    let fewer = service(2, 100, 200);
    let three = snapshot("N!N!N!");
    assert!(blocked(&fewer, &three) && refuses(&fewer, &three, 1));
    assert!(!refuses(&service(3, 100, 200), &three, 1));
}

#[test]
fn surplus_is_stopped_at_random_in_the_zone_with_most_tasks_once_all_are_healthy() {
    let steady = service(6, 100, 200);
    assert_eq!(next(&steady, &snapshot("NNNNNNn")), None);
    let stop = Step::Stop {
        candidates: vec![1, 4, 7],
        why: Why::Surplus,
    };
    assert_eq!(next(&steady, &snapshot("NNNNNNN")), Some(stop));
}

#[test]
fn nothing_desired_stops_everything_healthy_or_not() {
    let (moves, ..) = play(service(0, 100, 200), "NnNny");
    assert_eq!(moves, "-----");
    assert_eq!(next(&service(0, 100, 200), &snapshot("N!")), None);
}

#[test]
fn an_unhealthy_task_is_replaced_first_where_there_is_room() {
    let roomy = service(6, 100, 200);
    let launch = |revision, zone| Some(Step::Launch { revision, zone });
    let stop = |candidates: &[usize]| {
        Some(Step::Stop {
            candidates: candidates.to_vec(),
            why: Why::Unhealthy,
        })
    };
    assert_eq!(next(&roomy, &snapshot("NNNNNy")), launch(2, 0));
    assert_eq!(next(&roomy, &snapshot("NNNNNyn")), None);
    assert_eq!(next(&roomy, &snapshot("NNNNNyN")), stop(&[6]));
    // The replacement is unhealthy too: either goes.
    assert_eq!(next(&roomy, &snapshot("NNNNNyy")), stop(&[6, 7]));
    // No room: one at a time, protected or not.
    let full = service(6, 83, 100);
    assert_eq!(next(&full, &snapshot("NNNNy!y")), stop(&[5, 6]));
    assert_eq!(next(&full, &snapshot("NNNNny")), None);
}

#[test]
fn a_bad_revision_costs_the_old_ones_nothing() {
    let rolling = service(6, 100, 117);
    assert_eq!(next(&rolling, &snapshot("OOOOOOn")), None);
    let stop = Step::Stop {
        candidates: vec![7],
        why: Why::Unhealthy,
    };
    assert_eq!(next(&rolling, &snapshot("OOOOOOy")), Some(stop));
    // Stop-first has given one place away, and gives no second one.
    assert_eq!(next(&service(6, 83, 100), &snapshot("OOOOOn")), None);
}

#[test]
fn a_rollback_takes_what_never_came_up_away_first() {
    // The primary revision is the earlier one again; `o` is the bad one now.
    let (moves, fewest, _) = play(service(6, 83, 100), "NNNNNo");
    assert_eq!((moves.as_str(), fewest), ("-+h", 5));
}

#[test]
fn an_old_task_that_failed_is_replaced_by_its_own_revision() {
    let rolling = service(6, 100, 117);
    let mut world = snapshot("OOOOOn");
    world.owed = vec![1];
    let launch = |revision, zone| Some(Step::Launch { revision, zone });
    assert_eq!(next(&rolling, &world), launch(1, 0));
    world.leaving = vec![1];
    assert_eq!(next(&rolling, &world), None, "its place is not free yet");
}

#[test]
fn zones_are_levelled_one_task_at_a_time_in_the_steady_state() {
    let mut level = service(6, 100, 117);
    level.rebalancing = true;
    let place = |zones: &[usize], healthy: usize| {
        let mut world = snapshot(&"N".repeat(zones.len()));
        for (seen, zone) in world.tasks.iter_mut().zip(zones) {
            seen.zone = *zone;
            if seen.task > healthy {
                seen.health = Health::Pending;
            }
        }
        world
    };
    let launch = Step::Launch {
        revision: 2,
        zone: 2,
    };
    let uneven = [0, 0, 0, 1, 1, 1];
    assert_eq!(next(&level, &place(&uneven, 6)), Some(launch));
    assert_eq!(next(&level, &place(&uneven, 5)), None);
    let arrived = [0, 0, 0, 1, 1, 1, 2];
    assert_eq!(next(&level, &place(&arrived, 6)), None);
    let stop = Step::Stop {
        candidates: vec![1, 2, 3, 4, 5, 6],
        why: Why::Surplus,
    };
    assert_eq!(next(&level, &place(&arrived, 7)), Some(stop));
    // Never the newcomer, however well the others are protected.
    let mut held = place(&arrived, 7);
    for seen in &mut held.tasks[..6] {
        seen.protected = true;
    }
    assert_eq!(next(&level, &held), None);
    assert_eq!(next(&level, &place(&[0, 0, 1, 1, 2, 2], 6)), None);
    // Off without room for one more, and in a zone that takes none.
    let full = Service {
        percent: Percent {
            minimum: 83,
            maximum: 100,
        },
        ..level
    };
    assert_eq!(next(&full, &place(&uneven, 6)), None);
    let mut closed = place(&uneven, 6);
    closed.zones = vec![0, 1];
    assert_eq!(next(&level, &closed), None);
}
