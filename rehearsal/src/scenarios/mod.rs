//! All scenarios, one file each, in the order in which `--list` shows them.
//! Owns: the list. Must not: hold a scenario itself.

mod address_reuse;
mod all_restart;
mod busy_everywhere;
mod cold_start;
mod collections_uneven;
mod corrupt_set;
mod crash_loop_everywhere;
mod crash_loop_one;
mod daily_shutdown;
mod dead_during_transfer;
mod diverged;
mod dns_and_store_out;
mod dns_empty;
mod dns_lag;
mod dns_stale;
mod first_light;
mod founder_dies;
mod founder_sleeps;
mod half_lost;
mod healing;
mod insert_during_snapshot;
mod key_rotated;
mod kill_any;
mod kill_first;
mod kill_leader;
mod kill_two;
mod lose_everything;
mod low_factor;
mod majority_returns;
mod one;
mod partition;
mod random;
mod rebalance_zones;
mod records_swept;
mod regrouping;
mod replace_two;
mod restore_beside;
mod restore_interrupted;
mod restore_resize;
mod restore_under_writers;
mod rollback;
mod rolling;
mod rollout;
mod rollout_bad_image;
mod rollout_without_protection;
mod s3;
mod scale_6_9_6;
mod scale_to_zero;
mod shard_keys;
mod shared_snapshots;
mod slow_peer;
mod snapshots;
mod snapshots_store;
mod stagger;
mod steward_dies_mid_plan;
mod stop_all;
mod stop_one;
mod store_emptied;
mod store_hangs;
mod store_of_another_service;
mod store_read_only;
mod store_slow;
mod thousand;
mod two_zone_loss;
mod zone_loss;

use crate::scenario::Scenario;

/// What nearly every scenario needs.
mod prelude {
    pub(super) use std::sync::Arc;
    pub(super) use std::time::Duration;

    pub(super) use crate::ecs::task::Task;
    pub(super) use crate::scenario::{Case, Scenario, Setup};
    pub(super) use crate::timing;
    pub(super) use crate::verdict::Failure;
    pub(super) use crate::world::World;

    /// Starts all tasks and waits until they are one cluster at rest.
    pub(super) async fn form(world: &World) -> Result<(), Failure> {
        world.ecs.scale(world.size());
        world.rest(world.size()).await.map(|_| ())
    }

    /// A running task that is neither the founder nor the leader: the most ordinary one.
    pub(super) fn ordinary(world: &World) -> Result<Arc<Task>, Failure> {
        let (founder, leader) = (world.founder()?.number, world.leader()?.number);
        let running = world.ecs.running();
        let found = running
            .iter()
            .rev()
            .find(|task| ![founder, leader].contains(&task.number));
        found
            .or(running.last())
            .cloned()
            .ok_or_else(|| Failure::new("a task runs", "none does"))
    }

    /// Watches for a while that nobody forms a generation beyond the first `known`.
    pub(super) async fn nobody_founds(world: &World, known: usize) -> Result<(), Failure> {
        let formed = |_: &_| {
            let formed = world.efs.all_formed();
            (formed.len() > known).then(|| format!("{formed:?} are formed"))
        };
        world.never("nobody founds", timing::WATCH, formed).await
    }
}

/// Every scenario; the first is what runs without an argument.
pub const ALL: &[&Scenario] = &[
    &first_light::SCENARIO,
    &cold_start::SCENARIO,
    &stagger::SCENARIO,
    &founder_dies::SCENARIO,
    &founder_sleeps::SCENARIO,
    &replace_two::SCENARIO,
    &address_reuse::SCENARIO,
    &dns_lag::SCENARIO,
    &dns_stale::SCENARIO,
    &dns_empty::SCENARIO,
    &store_slow::SCENARIO,
    &store_hangs::SCENARIO,
    &store_read_only::SCENARIO,
    &store_emptied::SCENARIO,
    &store_of_another_service::SCENARIO,
    &key_rotated::SCENARIO,
    &all_restart::SCENARIO,
    &stop_all::SCENARIO,
    &stop_one::SCENARIO,
    &one::SCENARIO,
    &kill_first::SCENARIO,
    &kill_leader::SCENARIO,
    &kill_any::SCENARIO,
    &kill_two::SCENARIO,
    &zone_loss::SCENARIO,
    &steward_dies_mid_plan::SCENARIO,
    &dead_during_transfer::SCENARIO,
    &slow_peer::SCENARIO,
    &scale_6_9_6::SCENARIO,
    &rebalance_zones::SCENARIO,
    &rollout::SCENARIO,
    &rollout_without_protection::SCENARIO,
    &rollout_bad_image::SCENARIO,
    &rollback::SCENARIO,
    &scale_to_zero::SCENARIO,
    &thousand::SCENARIO,
    &collections_uneven::SCENARIO,
    &shard_keys::SCENARIO,
    &records_swept::SCENARIO,
    &snapshots::SCENARIO,
    &snapshots_store::SCENARIO,
    &lose_everything::SCENARIO,
    &restore_interrupted::SCENARIO,
    &restore_resize::SCENARIO,
    &restore_beside::SCENARIO,
    &restore_under_writers::SCENARIO,
    &insert_during_snapshot::SCENARIO,
    &shared_snapshots::SCENARIO,
    &s3::SCENARIO,
    &corrupt_set::SCENARIO,
    &daily_shutdown::SCENARIO,
    &diverged::SCENARIO,
    &low_factor::SCENARIO,
    &partition::SCENARIO,
    &dns_and_store_out::SCENARIO,
    &crash_loop_everywhere::SCENARIO,
    &crash_loop_one::SCENARIO,
    &busy_everywhere::SCENARIO,
    &half_lost::SCENARIO,
    &two_zone_loss::SCENARIO,
    &majority_returns::SCENARIO,
    &random::SCENARIO,
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique() {
        let names: BTreeSet<_> = super::ALL.iter().map(|scenario| scenario.name).collect();
        assert_eq!(names.len(), super::ALL.len());
        for scenario in super::ALL {
            let cases: BTreeSet<_> = scenario.cases.iter().map(|case| case.name).collect();
            assert_eq!(cases.len(), scenario.cases.len(), "{}", scenario.name);
        }
    }
}
