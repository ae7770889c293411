//! `/metrics`: what this task says of itself in the text format of OpenMetrics.
//! Owns: names and units. Must not: find anything out; it says what the status says, and leaves out what
//! is not known.

use std::fmt;

use jiff::Timestamp;
use planner::keep::records::Level;
use planner::keep::time::Utc;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use crate::status::Status;

/// What [`text`] writes.
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All meters of `status` at `now`. Ages are seconds; those of sets and proofs are known to the task whose
/// Qdrant leads, and to nobody while the store has not been looked at.
///
/// # Errors
/// When it cannot be written, which has no known cause.
pub fn text(status: &Status, now: Timestamp) -> Result<String, fmt::Error> {
    let mut all = Registry::with_prefix("entrypoint");
    let number = |all: &mut Registry, name: &str, help: &str, value: i64| {
        let meter: Gauge = Gauge::default();
        meter.set(value);
        all.register(name, help, meter);
    };
    number(
        &mut all,
        "ready",
        "1 while /readyz answers 200",
        status.ready.into(),
    );
    let alarms = i64::try_from(status.alarms.len()).unwrap_or(i64::MAX);
    number(&mut all, "alarms", "What a person must look at", alarms);
    if let Some(kept) = &status.kept {
        let missed: Counter = Counter::default();
        missed.inc_by(kept.missed);
        all.register(
            "sets_missed",
            "Slots that passed without a set while this task was the steward",
            missed,
        );
        if let Some(newest) = kept.newest {
            let since: Gauge = Gauge::default();
            since.set(age(newest.time(), now));
            all.register_with_unit(
                "set_age",
                "Since the newest set in which every collection is whole began: what a total loss costs now",
                Unit::Seconds,
                since,
            );
        }
    }
    if let Some(proofs) = &status.proofs {
        let newest = proofs.newest.iter().map(|(at, set)| (*at, set.time()));
        let newest = ages(newest, now);
        all.register_with_unit(
            "proof_set_age",
            "Since the newest set began of which every file was found good at this level",
            Unit::Seconds,
            newest,
        );
        let last = proofs.last.iter().map(|(at, time)| (*at, *time));
        let last = ages(last, now);
        all.register_with_unit(
            "proof_age",
            "Since a proof of this level last found a file good",
            Unit::Seconds,
            last,
        );
        let bad = i64::try_from(proofs.bad.len()).unwrap_or(i64::MAX);
        number(
            &mut all,
            "sets_bad",
            "Sets of which a file was found bad",
            bad,
        );
    }
    let mut text = String::new();
    encode(&mut text, &all)?;
    Ok(text)
}

fn ages(
    times: impl Iterator<Item = (Level, Utc)>,
    now: Timestamp,
) -> Family<[(&'static str, &'static str); 1], Gauge> {
    let all = Family::<[(&'static str, &'static str); 1], Gauge>::default();
    for (level, time) in times {
        let name = match level {
            Level::L0 => "l0",
            Level::L1 => "l1",
            Level::L2 => "l2",
        };
        all.get_or_create(&[("level", name)]).set(age(time, now));
    }
    all
}

/// Seconds; below zero where the clock of whoever wrote it is ahead of ours, which is worth seeing.
fn age(time: Utc, now: Timestamp) -> i64 {
    let time = i64::try_from(time.unix()).unwrap_or(i64::MAX);
    now.as_second().saturating_sub(time)
}

#[cfg(test)]
mod tests {
    use planner::keep::ids::SetId;
    use planner::keep::proving::Ages;

    use super::*;
    use crate::control::tests::board;
    use crate::status::Kept;

    fn at(seconds: u64) -> Utc {
        Utc::from_unix(seconds).unwrap()
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let text = text(&board().status, Timestamp::UNIX_EPOCH).unwrap();
        assert!(text.contains("entrypoint_ready 0\n"), "{text}");
        assert!(!text.contains("_age"), "{text}");
        assert!(text.ends_with("# EOF\n"), "{text}");
    }

    #[test]
    fn ages_are_told_by_level_in_seconds() {
        let mut status = board().status;
        status.kept = Some(Kept {
            newest: Some(SetId::at(at(1_800_000_000))),
            missed: 3,
        });
        let mut proofs = Ages::default();
        proofs
            .newest
            .insert(Level::L0, SetId::at(at(1_800_000_000)));
        proofs.last.insert(Level::L2, at(1_799_999_000));
        status.proofs = Some(proofs);
        let now = Timestamp::from_second(1_800_000_600).unwrap();
        let text = text(&status, now).unwrap();
        for line in [
            "entrypoint_set_age_seconds 600",
            "entrypoint_sets_missed_total 3",
            "entrypoint_proof_set_age_seconds{level=\"l0\"} 600",
            "entrypoint_proof_age_seconds{level=\"l2\"} 1600",
            "entrypoint_sets_bad 0",
        ] {
            assert!(text.lines().any(|there| there == line), "{line}: {text}");
        }
    }
}
