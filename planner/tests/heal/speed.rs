//! How long one plan takes for a large cluster: a guard in CI. `cargo bench -p planner` measures it.

use std::time::{Duration, Instant};

use planner::heal::memory::Memory;
use planner::heal::settings::Settings;
use planner::heal::view::ClusterView;
use planner::heal::{Plan, plan};

use super::large::{at_rest, kill, large, starve, unbalance};

fn timed(what: &str, view: &ClusterView) -> Plan {
    let (settings, memory) = (Settings::default(), Memory::default());
    let mut fastest = Duration::MAX;
    let mut made = None;
    for _ in 0..3 {
        let began = Instant::now();
        made = Some(plan(&settings, &memory, view));
        fastest = fastest.min(began.elapsed());
    }
    let plan = made.unwrap();
    let action = plan.actions.first().map(ToString::to_string);
    println!(
        "{what}: {fastest:.1?}, {}",
        action.as_deref().unwrap_or("nothing to do")
    );
    // Generous: a slow machine, beside other tests. The goal is 100 ms.
    assert!(fastest < Duration::from_secs(1), "{what} took {fastest:?}");
    plan
}

#[test]
fn a_plan_for_a_thousand_nodes() {
    let mut view = large();
    let copies: usize = view
        .known()
        .flat_map(|(_, c)| c.shards.values())
        .map(|s| s.copies.len())
        .sum();
    assert!(copies >= 10_000, "{copies}");
    timed("one node empty, the rest even", &view);

    assert_eq!(timed("at rest", &at_rest()).actions, []);

    let mut crowded = view.clone();
    unbalance(&mut crowded);
    assert_ne!(timed("unbalanced", &crowded).actions, []);

    kill(&mut view, 1);
    timed("one node gone", &view);
    kill(&mut view, 100);
    timed("a hundred nodes gone", &view);

    starve(&mut view);
    let plan = timed("every shard short, no room anywhere", &view);
    assert_eq!(plan.actions, []);
}
