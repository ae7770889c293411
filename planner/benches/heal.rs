//! How long one plan takes for 1,000 nodes with 10,000 copies of shards, in several situations. The
//! goal is 100 ms; `tests/heal/speed.rs` guards it in CI.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "a cluster of known shape, in a benchmark that may fail loudly"
)]

#[path = "../tests/heal/large.rs"]
mod large;

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use planner::heal::memory::Memory;
use planner::heal::plan;
use planner::heal::settings::Settings;
use planner::heal::view::ClusterView;

/// A name and the cluster in that situation.
type Situation = (&'static str, ClusterView);

fn after(change: impl FnOnce(&mut ClusterView)) -> ClusterView {
    let mut view = large::large();
    change(&mut view);
    view
}

fn situations() -> Vec<Situation> {
    vec![
        ("at rest", large::at_rest()),
        ("one node empty", large::large()),
        ("one node gone", after(|view| large::kill(view, 1))),
        ("100 nodes gone", after(|view| large::kill(view, 100))),
        ("unbalanced", after(large::unbalance)),
        (
            "every shard short and no room",
            after(|view| {
                large::kill(view, 100);
                large::starve(view);
            }),
        ),
    ]
}

fn plans(criterion: &mut Criterion) {
    let (settings, memory) = (Settings::default(), Memory::default());
    let mut group = criterion.benchmark_group("plan");
    group
        .sample_size(20)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(5));
    for (name, view) in situations() {
        group.bench_function(name, |bencher| {
            bencher.iter(|| plan(&settings, &memory, black_box(&view)));
        });
    }
    group.finish();
}

criterion_group!(benches, plans);
criterion_main!(benches);
