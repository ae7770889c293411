//! For how long a look at the store counts.

use std::time::{Duration, Instant};

use planner::keep::records::PlanRecord;
use planner::observed::Observed;

use super::sample::{self, set};
use super::{LONG, bench};
use crate::keep::lookout::Lookout;
use crate::keep::shelves::{Known, Shelves, look};
use crate::store::testing::Fault;
use crate::store::{Created, Op};

/// More than a look with a gap counts for.
const LATER: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_look_with_a_gap_is_taken_anew_and_any_other_counts_until_something_changes() {
    let bench = bench(LONG);
    let plan = PlanRecord {
        set: set("20260228T090000Z"),
        ..sample::plan(1)
    };
    assert_eq!(bench.shelf.create(&plan).await.unwrap(), Created::Ours);
    let looked = async || -> Shelves {
        let ours = "store".into();
        let mut known = Known::new();
        let there = look(&bench.shelf, &ours, "1.19.0", &mut known).await;
        there.unwrap()
    };
    let begun = Instant::now();
    let mut lookout = Lookout::default();
    assert!(!lookout.counts(begun));

    // One read that fails, and no slot would be taken for ever.
    bench.store.inject(Op::Read, Fault::ErrorBefore);
    lookout.saw(looked().await, begun);
    assert!(matches!(
        lookout.last().unwrap().taken(),
        Observed::Unknown(_)
    ));
    assert_eq!(lookout.unread_since(), Some(begun));
    assert!(lookout.counts(begun));
    assert!(!lookout.counts(begun + LATER));

    // Again: it has been so since the first time.
    bench.store.inject(Op::Read, Fault::ErrorBefore);
    lookout.saw(looked().await, begun + LATER);
    assert_eq!(lookout.unread_since(), Some(begun));

    lookout.saw(looked().await, begun + LATER);
    assert!(matches!(
        lookout.last().unwrap().taken(),
        Observed::Known(_)
    ));
    assert_eq!(lookout.unread_since(), None);
    assert!(lookout.counts(begun + 100 * LATER));
    lookout.forget();
    assert!(!lookout.counts(begun + LATER));
    assert!(lookout.last().is_none());
}
