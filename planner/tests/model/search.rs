//! Every order of events up to a bound: stateright over the world.

use std::hash::{DefaultHasher, Hash, Hasher};

use stateright::{Checker, HasDiscoveries, Model, Property};

use crate::steps::Step;
use crate::world::{Sabotage, World};

/// Where a search begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With empty tasks.
    Empty,
    /// Where everybody is a member of generation 1.
    Formed,
    /// Where all but so many have just been lost, and then so many ticks of fair weather.
    Lost {
        survivors: u8,
        asleep: u64,
        warm: u8,
    },
    /// Where all have just been lost, snapshot sets are left, and then so many ticks of fair weather.
    Gone { asleep: u64, warm: u8 },
}

/// The bounds of one search.
pub struct Bounds {
    pub tasks: u8,
    pub faults: u8,
    pub ticks: u8,
    /// See [`World::ordered`].
    pub ordered: bool,
    /// Where it begins.
    pub start: Start,
    /// Every so many states, chosen by their hash, are run on in fair weather.
    pub rest_every: u64,
}

impl Bounds {
    fn beginning(&self) -> World {
        let empty = || World::new(self.tasks, 0, Sabotage::None);
        let mut world = match self.start {
            Start::Empty => empty(),
            Start::Formed => empty().rested().expect("empty tasks become a cluster"),
            Start::Lost {
                survivors,
                asleep,
                warm,
            } => World::half_lost(self.tasks, survivors, asleep, 0, Sabotage::None)
                .fair(warm)
                .expect("nothing is broken in fair weather"),
            Start::Gone { asleep, warm } => World::gone(self.tasks, asleep, 0, Sabotage::None)
                .fair(warm)
                .expect("nothing is broken in fair weather"),
        };
        world.ticks = 0;
        World {
            ordered: self.ordered,
            budget: self.faults,
            ..world
        }
    }
}

impl Model for Bounds {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        vec![self.beginning()]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        if world.broken.is_none() {
            steps.extend(world.steps());
        }
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        let mut next = world.clone();
        next.take(step);
        Some(next)
    }

    fn within_boundary(&self, world: &World) -> bool {
        world.ticks <= self.ticks
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("sound", |_, world: &World| world.is_sound().is_ok()),
            Property::always("comes to rest", |bounds: &Bounds, world: &World| {
                let mut hasher = DefaultHasher::new();
                world.hash(&mut hasher);
                !hasher.finish().is_multiple_of(bounds.rest_every)
                    || world.broken.is_some()
                    || world.comes_to_rest().is_ok()
            }),
            Property::sometimes("a cluster serves", |_, world: &World| {
                world.served().is_some()
            }),
        ]
    }
}

/// What a search found: the number of states, or the path to a broken promise.
pub fn search(bounds: Bounds) -> Result<usize, String> {
    let checker = bounds
        .checker()
        .threads(std::thread::available_parallelism().map_or(1, usize::from))
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    for (name, path) in checker.discoveries() {
        if name == "a cluster serves" {
            continue;
        }
        let last = path.last_state();
        let why = match last.is_sound() {
            Err(what) => what,
            Ok(()) => last.comes_to_rest().err().unwrap_or_default(),
        };
        let steps = path.into_actions();
        return Err(format!(
            "{name}: {why}\nafter {steps:?}{}",
            last_story(&steps, checker.model())
        ));
    }
    if checker.discovery("a cluster serves").is_none() {
        return Err("no cluster was ever served: the search saw nothing".to_owned());
    }
    Ok(checker.unique_state_count())
}

fn last_story(steps: &[Step], bounds: &Bounds) -> String {
    let mut world = bounds.beginning();
    for step in steps {
        world.take(*step);
    }
    world.story()
}
