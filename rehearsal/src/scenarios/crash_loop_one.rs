//! Proves that one task whose Qdrant cannot run with what its disk holds is healed in place: by the
//! steward's permission its data is set aside, it begins anew, and every copy is back, without a point
//! lost and without a task replaced.

use nix::sys::signal::Signal;

use super::healing::{begin, end};
use super::prelude::*;
use crate::world::qdrants::who;

/// See the head of this file.
pub const SCENARIO: Scenario = Scenario {
    name: "crash-loop-one",
    about: "one Qdrant ends again and again on its disk: the data is set aside by permission, all copies return",
    cases: &[Case {
        name: "",
        setup,
        run: |world| Box::pin(run(world)),
    }],
};

fn setup(setup: &mut Setup) {
    super::healing::setup(setup);
    setup.breakable_qdrant = true;
    let more = [
        "alarm",
        "qdrant.*",
        "action.failed",
        "disk.set_aside",
        "heal.refused",
        "heal.failed",
    ];
    setup.allowed.events.extend(more);
}

async fn run(world: &World) -> Result<(), Failure> {
    let points = begin(world).await?;
    let before = who(&world.observer.latest());
    let task = ordinary(world)?;
    let since = world.timeline.now();
    world.breakable()?.poison(&task)?;
    world.signal_qdrants(
        &[Arc::clone(&task)],
        Signal::SIGKILL,
        "one Qdrant ends, and cannot run with its disk any more",
    );
    world
        .until("the task is another peer", timing::HEALED, |sample| {
            let now = who(sample);
            let mut ours = now.iter().filter(|(number, ..)| *number == task.number);
            match ours.any(|it| it.1.is_some() && !before.contains(it)) {
                true => Ok(()),
                false => Err(format!("{now:?}")),
            }
        })
        .await?;
    world
        .healed(
            "one Qdrant could not run with its disk",
            since,
            world.size(),
        )
        .await?;
    let after = who(&world.observer.latest());
    let changed: Vec<_> = after.iter().filter(|now| !before.contains(now)).collect();
    if !matches!(changed[..], [(number, Some(_), _)] if *number == task.number) {
        let detail = format!("before {before:?}, after {after:?}");
        return Err(Failure::new(
            "the same task is another peer, and all others are as they were",
            detail,
        ));
    }
    let aside = task.disk.join("storage/.entrypoint/aside");
    let kept = std::fs::read_dir(&aside).is_ok_and(|mut entries| entries.next().is_some());
    if !kept {
        return Err(Failure::new(
            "what was set aside is kept",
            aside.display().to_string(),
        ));
    }
    end(world, points).await
}
