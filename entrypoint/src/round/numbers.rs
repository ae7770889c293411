//! The planner's numbers from the configuration.

use std::time::Duration;

use planner::settings::Settings;

use crate::config::{Config, Requorum, Restore};
use crate::identity::Identity;

/// The healing planner's numbers from ours; what nobody needs to set stays at its default.
pub(super) fn heal_settings(config: &Config) -> planner::heal::settings::Settings {
    planner::heal::settings::Settings {
        fresh: config.beat,
        gone_timeout: config.gone_timeout,
        lost_copy_timeout: config.lost_copy_timeout,
        replacement_wait: config.replacement_wait,
        release_timeout: config.release_timeout,
        // The count that ECS told is forgotten after so long.
        surplus_delay: config.ecs_poll * 3,
        // A task that answers is heard at every beat.
        sight_timeout: config.beat * 5,
        wanted_factor: config.copies.wanted(),
        ..Default::default()
    }
}

/// The planner's numbers from ours.
pub(super) fn settings(config: &Config, identity: &Identity) -> Settings {
    Settings {
        task: identity.task.as_str().into(),
        address: identity.address,
        service: identity.service.clone(),
        stack: config.stack.as_ref().map(|stack| stack.as_str().to_owned()),
        adopt_fresh: config.adopt_store.is_some(),
        ready_peers: usize::try_from(config.ready_peers).unwrap_or(usize::MAX),
        beat: config.beat,
        gap: config.beat * 2 + config.store_timeout + config.dns_timeout + config.probe_timeout,
        sleep: long_sleep(config),
        claim_timeout: config.claim_timeout,
        loss_timeout: config.loss_timeout,
        dns_settle: config.dns_settle,
        requorum: config.requorum == Requorum::Auto,
        restore: config.restore == Restore::Auto,
    }
}

/// A sleep that may have been long enough for the others to remove our peer.
pub fn long_sleep(config: &Config) -> Duration {
    config.gone_timeout / 2
}
