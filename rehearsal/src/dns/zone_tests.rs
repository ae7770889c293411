//! Answers over time, without sockets and without waiting.

use std::collections::BTreeSet;

use super::*;

const SERVICE: &str = "qdrant.cluster.local.";

fn ip(last: u8) -> IpAddr {
    IpAddr::from([127, 0, 1, last])
}

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn question(name: &str, kind: Kind) -> Question {
    Question {
        client: ip(200),
        name: name.to_owned(),
        kind,
        tcp: false,
    }
}

fn ask(zone: &mut Zone, at: Duration) -> Reply {
    zone.answer("v", question(SERVICE, Kind::A), at)
}

fn addresses_of(reply: Reply) -> BTreeSet<IpAddr> {
    match reply {
        Reply::Addresses(list) => {
            let set: BTreeSet<_> = list.iter().copied().collect();
            assert_eq!(set.len(), list.len(), "twice in one answer: {list:?}");
            set
        }
        other => panic!("{other:?}"),
    }
}

fn zone(change: impl Fn(&mut Behaviour)) -> Zone {
    let mut zone = Zone::new(SERVICE.to_owned(), 7);
    zone.change(s(0), &mut |b| change(b));
    zone
}

#[test]
fn lag_shows_the_past() {
    let mut zone = zone(|b| b.set_lag(s(10)));
    zone.register("a", ip(1), s(0));
    zone.register("b", ip(2), s(5));
    zone.deregister("a", s(6));
    assert_eq!(ask(&mut zone, s(9)), Reply::NxDomain);
    assert_eq!(addresses_of(ask(&mut zone, s(10))), [ip(1)].into());
    assert_eq!(addresses_of(ask(&mut zone, s(15))), [ip(1), ip(2)].into());
    assert_eq!(addresses_of(ask(&mut zone, s(16))), [ip(2)].into());
    assert_eq!(zone.registered(), [("b".to_owned(), ip(2))].into());
}

#[test]
fn lag_may_differ_by_direction_and_a_task_may_move() {
    let mut zone = zone(|b| b.vanish_after = s(10));
    zone.register("a", ip(1), s(0));
    zone.register("a", ip(2), s(1));
    assert_eq!(addresses_of(ask(&mut zone, s(1))), [ip(1), ip(2)].into());
    assert_eq!(addresses_of(ask(&mut zone, s(11))), [ip(2)].into());
}

#[test]
fn eight_of_many_in_a_choice_that_the_seed_decides() {
    let mut runs = Vec::new();
    for seed in [7, 7, 8] {
        let mut zone = Zone::new(SERVICE.to_owned(), seed);
        for n in 1..=20 {
            zone.register(&format!("t{n}"), ip(n), s(0));
        }
        let answers: Vec<_> = (0..40).map(|_| ask(&mut zone, s(1))).collect();
        runs.push(answers.clone());
        let mut seen = BTreeSet::new();
        for answer in answers {
            let set = addresses_of(answer);
            assert_eq!(set.len(), 8);
            seen.extend(set);
        }
        assert_eq!(seen.len(), 20, "some task is never shown");
    }
    assert_eq!(runs[0], runs[1]);
    assert_ne!(runs[0], runs[2]);
}

#[test]
fn stale_is_frozen_until_it_ends() {
    let mut zone = zone(|_| ());
    zone.register("a", ip(1), s(0));
    zone.change(s(1), &mut |b| b.mode = Mode::Stale);
    zone.register("b", ip(2), s(2));
    zone.deregister("a", s(3));
    zone.change(s(4), &mut |b| b.ttl = s(1)); // another change does not thaw it
    assert_eq!(addresses_of(ask(&mut zone, s(100))), [ip(1)].into());
    zone.change(s(101), &mut |b| b.mode = Mode::Normal);
    assert_eq!(addresses_of(ask(&mut zone, s(101))), [ip(2)].into());
}

#[test]
fn negative_answers_stick_for_the_view_or_the_client() {
    for (scope, other_client_sees_it) in [(Scope::View, false), (Scope::Client, true)] {
        let mut zone = zone(|b| {
            b.negative_cache = Some(s(15));
            b.cache_scope = scope;
        });
        assert_eq!(ask(&mut zone, s(0)), Reply::NxDomain);
        zone.register("a", ip(1), s(1));
        assert_eq!(ask(&mut zone, s(14)), Reply::NxDomain);
        let mut other = question(SERVICE, Kind::A);
        other.client = ip(201);
        let reply = zone.answer("v", other, s(14));
        assert_eq!(reply == Reply::Addresses(vec![ip(1)]), other_client_sees_it);
        let elsewhere = zone.answer("w", question(SERVICE, Kind::A), s(14));
        assert_eq!(
            addresses_of(elsewhere),
            [ip(1)].into(),
            "views share a cache"
        );
        assert_eq!(addresses_of(ask(&mut zone, s(15))), [ip(1)].into());
    }
}

#[test]
fn forced_negatives_outlast_the_mode_and_failures_do_not() {
    let mut zone = zone(|b| b.negative_cache = Some(s(15)));
    zone.register("a", ip(1), s(0));
    for (mode, reply) in [
        (Mode::ServFail, Reply::ServFail),
        (Mode::Refused, Reply::Refused),
        (Mode::Silent, Reply::Silent),
    ] {
        zone.change(s(1), &mut |b| b.mode = mode);
        assert_eq!(ask(&mut zone, s(1)), reply);
        zone.change(s(2), &mut |b| b.mode = Mode::Normal);
        assert_eq!(addresses_of(ask(&mut zone, s(2))), [ip(1)].into());
    }
    for (mode, reply) in [
        (Mode::Empty, Reply::NoRecords),
        (Mode::NxDomain, Reply::NxDomain),
    ] {
        zone.change(s(20), &mut |b| b.mode = mode);
        assert_eq!(ask(&mut zone, s(20)), reply);
        zone.change(s(21), &mut |b| b.mode = Mode::Normal);
        assert_eq!(ask(&mut zone, s(34)), reply);
        zone.clear_caches();
    }
    assert_eq!(addresses_of(ask(&mut zone, s(34))), [ip(1)].into());
}

#[test]
fn positive_answers_stick_when_told() {
    let mut zone = zone(|b| b.positive_cache = Some(s(10)));
    zone.register("a", ip(1), s(0));
    ask(&mut zone, s(0));
    zone.register("b", ip(2), s(1));
    assert_eq!(addresses_of(ask(&mut zone, s(9))), [ip(1)].into());
    assert_eq!(addresses_of(ask(&mut zone, s(10))), [ip(1), ip(2)].into());
}

#[test]
fn services_name_tasks_and_tasks_have_addresses() {
    let mut zone = zone(|b| b.foreign = vec![ip(99)]);
    let v6: IpAddr = "::1".parse().unwrap();
    zone.register("t1", ip(1), s(0));
    zone.register("t2", v6, s(0));
    let mut reply = |name: &str, kind| zone.answer("v", question(name, kind), s(1));
    match reply(SERVICE, Kind::Srv) {
        Reply::Targets(mut tasks) => {
            tasks.sort();
            assert_eq!(tasks, ["foreign-0", "t1", "t2"]);
        }
        other => panic!("{other:?}"),
    }
    let t1 = format!("t1.{SERVICE}");
    assert_eq!(addresses_of(reply(&t1, Kind::A)), [ip(1)].into());
    assert_eq!(reply(&t1, Kind::Aaaa), Reply::NoRecords);
    assert_eq!(reply(&t1, Kind::Srv), Reply::NoRecords);
    assert_eq!(
        addresses_of(reply(SERVICE, Kind::A)),
        [ip(1), ip(99)].into()
    );
    assert_eq!(addresses_of(reply(SERVICE, Kind::Aaaa)), [v6].into());
    assert_eq!(reply(SERVICE, Kind::Other), Reply::NoRecords);
    assert_eq!(reply(&format!("t3.{SERVICE}"), Kind::A), Reply::NxDomain);
    assert_eq!(reply("t1qdrant.cluster.local.", Kind::A), Reply::NxDomain);
    assert_eq!(reply("other.cluster.local.", Kind::A), Reply::NxDomain);
}

#[test]
fn questions_and_outcomes_are_counted_per_view() {
    let mut zone = zone(|b| b.unregistered = Unregistered::NoRecords);
    assert_eq!(ask(&mut zone, s(0)), Reply::NoRecords);
    zone.register("a", ip(1), s(0));
    ask(&mut zone, s(0));
    zone.change_view("w", s(0), &mut |b| b.truncate = true);
    let reply = zone.answer("w", question(SERVICE, Kind::Srv), s(0));
    assert_eq!(reply, Reply::Truncated);
    let mut tcp = question(SERVICE, Kind::Srv);
    tcp.tcp = true;
    assert_eq!(
        zone.answer("w", tcp, s(0)),
        Reply::Targets(vec!["a".into()])
    );
    let v = Counts {
        a: 2,
        no_records: 1,
        records: 1,
        ..Counts::default()
    };
    assert_eq!(zone.counts(Some("v")), v);
    let w = Counts {
        srv: 2,
        tcp: 1,
        truncated: 1,
        records: 1,
        ..Counts::default()
    };
    assert_eq!(zone.counts(Some("w")), w);
    assert_eq!(zone.counts(None).questions(), 4);
}
