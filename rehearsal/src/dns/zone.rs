//! What the stand-in answers, as a function of registrations, behaviour and time. No sockets and no
//! clock: moments are durations since the registry began.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use super::behaviour::{Behaviour, Counts, Mode, Scope, Unregistered};

/// The record type asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    A,
    Aaaa,
    Srv,
    Other,
}

/// One question.
#[derive(Debug, Clone)]
pub(super) struct Question {
    /// The client's address, without port.
    pub client: IpAddr,
    /// Lower case, absolute.
    pub name: String,
    pub kind: Kind,
    pub tcp: bool,
}

/// What to send back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply {
    Addresses(Vec<IpAddr>),
    /// Task ids whose names `<task>.<service>` are the targets.
    Targets(Vec<String>),
    NoRecords,
    NxDomain,
    ServFail,
    Refused,
    Truncated,
    Silent,
}

struct Entry {
    task: String,
    address: IpAddr,
    from: Duration,
    until: Option<Duration>,
}

#[derive(PartialEq, Eq, Hash)]
struct CacheKey {
    client: Option<IpAddr>,
    name: String,
    kind: Kind,
}

/// A behaviour, and since when it is stale.
#[derive(Clone, Default)]
struct Setting {
    behaviour: Behaviour,
    stale_since: Option<Duration>,
}

#[derive(Default)]
struct View {
    setting: Setting,
    cache: HashMap<CacheKey, (Duration, Reply)>,
    counts: Counts,
}

impl Setting {
    fn change(&mut self, at: Duration, change: &mut dyn FnMut(&mut Behaviour)) {
        change(&mut self.behaviour);
        self.stale_since = match self.behaviour.mode {
            Mode::Stale => self.stale_since.or(Some(at)),
            _ => None,
        };
    }
}

/// One service, its registrations and the views on it.
pub(super) struct Zone {
    /// Lower case, absolute.
    service: String,
    entries: Vec<Entry>,
    /// What views that are first asked later begin with.
    setting: Setting,
    views: BTreeMap<String, View>,
    random: StdRng,
}

impl Zone {
    pub fn new(service: String, seed: u64) -> Self {
        Self {
            service,
            entries: Vec::new(),
            setting: Setting::default(),
            views: BTreeMap::new(),
            random: StdRng::seed_from_u64(seed),
        }
    }

    pub fn register(&mut self, task: &str, address: IpAddr, at: Duration) {
        self.deregister(task, at);
        self.entries.push(Entry {
            task: task.to_owned(),
            address,
            from: at,
            until: None,
        });
    }

    /// Whether the task was registered.
    pub fn deregister(&mut self, task: &str, at: Duration) -> bool {
        let mut found = false;
        for entry in &mut self.entries {
            if entry.task == task && entry.until.is_none() {
                entry.until = Some(at);
                found = true;
            }
        }
        found
    }

    /// What is registered now, whatever the views show.
    pub fn registered(&self) -> BTreeMap<String, IpAddr> {
        self.entries
            .iter()
            .filter(|entry| entry.until.is_none())
            .map(|entry| (entry.task.clone(), entry.address))
            .collect()
    }

    /// Changes all views, and what later views begin with.
    pub fn change(&mut self, at: Duration, change: &mut dyn FnMut(&mut Behaviour)) {
        self.setting.change(at, change);
        for view in self.views.values_mut() {
            view.setting.change(at, change);
        }
    }

    pub fn change_view(
        &mut self,
        view: &str,
        at: Duration,
        change: &mut dyn FnMut(&mut Behaviour),
    ) {
        self.view(view).setting.change(at, change);
    }

    pub fn clear_caches(&mut self) {
        for view in self.views.values_mut() {
            view.cache.clear();
        }
    }

    pub fn behaviour(&mut self, view: &str) -> &Behaviour {
        &self.view(view).setting.behaviour
    }

    pub fn counts(&self, view: Option<&str>) -> Counts {
        let mut sum = Counts::default();
        for (name, counted) in &self.views {
            if view.is_none_or(|view| view == name) {
                sum.add(&counted.counts);
            }
        }
        sum
    }

    fn view(&mut self, name: &str) -> &mut View {
        let setting = &self.setting;
        self.views.entry(name.to_owned()).or_insert_with(|| View {
            setting: setting.clone(),
            ..View::default()
        })
    }

    /// Answers a question that came to a view, and counts both.
    pub fn answer(&mut self, view: &str, question: Question, at: Duration) -> Reply {
        let (kind, tcp) = (question.kind, question.tcp);
        let reply = self.reply(view, question, at);
        let view = self.view(view);
        let cut = view.setting.behaviour.truncate && !tcp && reply != Reply::Silent;
        let reply = if cut { Reply::Truncated } else { reply };
        let counts = &mut view.counts;
        counts.tcp += u64::from(tcp);
        *match kind {
            Kind::A => &mut counts.a,
            Kind::Aaaa => &mut counts.aaaa,
            Kind::Srv => &mut counts.srv,
            Kind::Other => &mut counts.other,
        } += 1;
        *match reply {
            Reply::Addresses(_) | Reply::Targets(_) => &mut counts.records,
            Reply::NoRecords => &mut counts.no_records,
            Reply::NxDomain => &mut counts.nx_domain,
            Reply::ServFail => &mut counts.serv_fail,
            Reply::Refused => &mut counts.refused,
            Reply::Truncated => &mut counts.truncated,
            Reply::Silent => &mut counts.silent,
        } += 1;
        reply
    }

    fn reply(&mut self, view: &str, question: Question, at: Duration) -> Reply {
        let state = self.view(view);
        let behaviour = state.setting.behaviour.clone();
        let seen_at = state.setting.stale_since.unwrap_or(at);
        let key = CacheKey {
            client: (behaviour.cache_scope == Scope::Client).then_some(question.client),
            name: question.name.clone(),
            kind: question.kind,
        };
        let reply = match behaviour.mode {
            Mode::ServFail => return Reply::ServFail,
            Mode::Refused => return Reply::Refused,
            Mode::Silent => return Reply::Silent,
            Mode::Empty => Reply::NoRecords,
            Mode::NxDomain => Reply::NxDomain,
            Mode::Normal | Mode::Stale => {
                if let Some((until, cached)) = state.cache.get(&key)
                    && at < *until
                {
                    return cached.clone();
                }
                self.fresh(&behaviour, &question, seen_at)
            }
        };
        let keep = match reply {
            Reply::Addresses(_) | Reply::Targets(_) => behaviour.positive_cache,
            _ => behaviour.negative_cache,
        };
        if let Some(keep) = keep {
            let cached = (at + keep, reply.clone());
            self.view(view).cache.insert(key, cached);
        }
        reply
    }

    fn fresh(&mut self, behaviour: &Behaviour, question: &Question, at: Duration) -> Reply {
        let mut visible = self.visible(behaviour, at);
        if question.name == self.service {
            if visible.is_empty() {
                return match behaviour.unregistered {
                    Unregistered::NxDomain => Reply::NxDomain,
                    Unregistered::NoRecords => Reply::NoRecords,
                };
            }
            visible.shuffle(&mut self.random);
            let most = behaviour.max_answers;
            return if question.kind == Kind::Srv {
                let mut targets: Vec<_> = visible.into_iter().map(|(task, _)| task).collect();
                targets.truncate(most);
                Reply::Targets(targets)
            } else {
                addresses(visible, question.kind, most)
            };
        }
        let task = question
            .name
            .strip_suffix(&self.service)
            .and_then(|rest| rest.strip_suffix('.'));
        visible.retain(|(name, _)| task.is_some_and(|task| name.eq_ignore_ascii_case(task)));
        if visible.is_empty() {
            return Reply::NxDomain;
        }
        addresses(visible, question.kind, behaviour.max_answers)
    }

    fn visible(&self, behaviour: &Behaviour, at: Duration) -> Vec<(String, IpAddr)> {
        let foreign = behaviour
            .foreign
            .iter()
            .enumerate()
            .map(|(number, address)| (format!("foreign-{number}"), *address));
        self.entries
            .iter()
            .filter(|entry| entry.from + behaviour.appear_after <= at)
            .filter(|entry| {
                entry
                    .until
                    .is_none_or(|until| at < until + behaviour.vanish_after)
            })
            .map(|entry| (entry.task.clone(), entry.address))
            .chain(foreign)
            .collect()
    }
}

/// The addresses of the family asked for, each once, at most so many.
fn addresses(visible: Vec<(String, IpAddr)>, kind: Kind, most: usize) -> Reply {
    let mut found = Vec::new();
    for (_, address) in visible {
        let wanted = match kind {
            Kind::A => address.is_ipv4(),
            Kind::Aaaa => address.is_ipv6(),
            Kind::Srv | Kind::Other => false,
        };
        if wanted && !found.contains(&address) {
            found.push(address);
        }
    }
    found.truncate(most);
    if found.is_empty() {
        Reply::NoRecords
    } else {
        Reply::Addresses(found)
    }
}

#[cfg(test)]
#[path = "zone_tests.rs"]
mod tests;
