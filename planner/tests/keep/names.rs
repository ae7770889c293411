//! Moments, names and paths: one spelling each.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use planner::heal::names::ShardId;
use planner::ids::PeerId;
use planner::keep::ids::{CollectionIndex, SetId, Sha256};
use planner::keep::layout::Entry;
use planner::keep::records::Level;
use planner::keep::time::{Civil, Utc};
use proptest::prelude::*;

use crate::sample::{at, set};

#[test]
fn only_real_dates_in_one_spelling_are_sets() {
    for text in [
        "20260228T091500Z",
        "20280229T000000Z",
        "20000229T235959Z",
        "19700101T000000Z",
        "99991231T235959Z",
    ] {
        assert_eq!(set(text).to_string(), text);
    }
    for text in [
        "",
        "20260229T091500Z",
        "21000229T091500Z",
        "20260431T091500Z",
        "20261301T091500Z",
        "20260001T091500Z",
        "20260100T091500Z",
        "20260228T241500Z",
        "20260228T096000Z",
        "20260228T091560Z",
        "19691231T235959Z",
        "20260228T091500",
        "20260228T091500z",
        "20260228t091500Z",
        "20260228T0915Z",
        "2026-02-28T09:15:00Z",
        " 20260228T091500Z",
        "20260228T091500Z/",
        "..20260228T091500Z",
        "２０260228T091500Z",
        "20260228T091500Z20260228T091500Z",
    ] {
        let refused = text.parse::<SetId>().expect_err(text);
        assert!(
            refused.to_string().contains("20260228T091500Z"),
            "{refused}"
        );
    }
}

#[test]
fn hashes_have_one_spelling() {
    let text = "00ff".repeat(16);
    assert_eq!(text.parse::<Sha256>().unwrap().to_string(), text);
    for text in [
        String::new(),
        "00FF".repeat(16),
        "00ff".repeat(15),
        "00ff".repeat(17),
        "00fg".repeat(16),
        format!("{} ", &"00ff".repeat(16)[1..]),
    ] {
        assert!(text.parse::<Sha256>().is_err(), "{text}");
    }
}

#[test]
fn every_path_of_a_set_is_read_back() {
    let (index, shard, peer) = (CollectionIndex(7), ShardId(3), PeerId(81_723));
    let all = [
        (Entry::Plan, "plan.json"),
        (Entry::Manifest, "manifest.json"),
        (Entry::Tombstone, "tombstone.json"),
        (Entry::Pin, "pin.json"),
        (Entry::Payload(index, shard, peer), "c007/s3-81723.shard"),
        (Entry::Part(index, shard, peer), "parts/c007-s3-81723.json"),
        (
            Entry::Proof(Level::L2, at("2026-02-28T09:15:00Z")),
            "proofs/l2-20260228T091500Z.json",
        ),
        (
            Entry::Payload(CollectionIndex(1000), shard, peer),
            "c1000/s3-81723.shard",
        ),
    ];
    for (entry, path) in all {
        assert_eq!(entry.path(), path);
        assert_eq!(Entry::of(path), Some(entry));
    }
    for path in [
        "",
        "/plan.json",
        "./plan.json",
        "../20260228T091500Z/plan.json",
        "c007/../c007/s3-81723.shard",
        "c7/s3-81723.shard",
        "c0007/s3-81723.shard",
        "c+07/s3-81723.shard",
        "c007/s03-81723.shard",
        "c007/s3-+81723.shard",
        "c007/s3-81723.shard.partial",
        "c007/s3-99999999999999999999.shard",
        "c007/s-1-81723.shard",
        "c007/x/s3-81723.shard",
        "parts/c007-s3-81723.json/",
        "parts/.c007-s3-81723.json",
        "proofs/l3-20260228T091500Z.json",
        "proofs/l2-20260229T091500Z.json",
        "manifest.json\0",
        "Manifest.json",
    ] {
        assert_eq!(Entry::of(path), None, "{path:?}");
    }
}

proptest! {
    #[test]
    fn dates_are_those_of_a_crate_for_dates(seconds in 0..=Utc::LAST.unix()) {
        let ours = Utc::from_unix(seconds).unwrap();
        let theirs = jiff::Timestamp::from_second(i64::try_from(seconds).unwrap()).unwrap();
        let theirs: DateTime = TimeZone::UTC.to_datetime(theirs);
        let civil = ours.civil();
        let wide = |part: i8| u64::try_from(part).unwrap();
        prop_assert_eq!(civil, Civil {
            year: u64::try_from(theirs.year()).unwrap(),
            month: wide(theirs.month()),
            day: wide(theirs.day()),
            hour: wide(theirs.hour()),
            minute: wide(theirs.minute()),
            second: wide(theirs.second()),
        });
        prop_assert_eq!(Utc::from_civil(civil), Some(ours));
        prop_assert_eq!(SetId::at(ours).to_string().parse::<SetId>().unwrap(), SetId::at(ours));
        let json = serde_json::to_string(&ours).unwrap();
        prop_assert_eq!(serde_json::from_str::<Utc>(&json).unwrap(), ours);
    }

    #[test]
    fn names_sort_by_time(a in 0..=Utc::LAST.unix(), b in 0..=Utc::LAST.unix()) {
        let [x, y] = [a, b].map(|s| SetId::at(Utc::from_unix(s).unwrap()));
        prop_assert_eq!(x.cmp(&y), x.to_string().cmp(&y.to_string()));
    }

    #[test]
    fn no_path_is_read_in_two_ways(path in "[c./s0-9-]{1,14}(\\.shard|\\.json)?") {
        if let Some(entry) = Entry::of(&path) {
            prop_assert_eq!(entry.path(), path);
        }
    }
}

#[test]
fn every_day_of_three_centuries_follows_the_day_before() {
    let mut day = at("1970-01-01T00:00:00Z");
    let mut before = day.civil();
    for _ in 0..110_000 {
        day = day.plus(std::time::Duration::from_secs(24 * 60 * 60));
        let now = day.civil();
        let next = (now.year, now.month, now.day) > (before.year, before.month, before.day);
        let tomorrow = now.day == before.day + 1 || now.day == 1;
        assert!(next && tomorrow, "{before:?} {now:?}");
        before = now;
    }
    assert_eq!(before.year, 2271);
}
