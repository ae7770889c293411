//! Who may claim the next generation (rules R3 and R7), asked before a claim and again before
//! *formed*.

use crate::decision::{Alarm, Reason};
use crate::ended;
use crate::ids::GenerationId;
use crate::memory::Memory;
use crate::records::Mode;
use crate::settings::Settings;
use crate::view::{Observation, Store};
use crate::witness;

/// Why a claim is not allowed.
pub(crate) enum Refusal {
    /// Not in this round; a later one may see more.
    NotYet(Reason, Option<Box<Alarm>>),
    /// Something speaks against it that a claimant must yield to.
    Never(String),
}

impl Refusal {
    fn not_yet(reason: Reason) -> Self {
        Self::NotYet(reason, None)
    }

    fn alarm(alarm: Alarm) -> Self {
        Self::NotYet(Reason::SeeAlarm, Some(Box::new(alarm)))
    }
}

/// What a claim may begin.
pub(crate) struct Allowed {
    /// *Found*, or *restore*.
    pub(crate) mode: Mode,
    /// Why; for the log.
    pub(crate) reason: Reason,
    /// When a cluster is given up for it.
    pub(crate) alarm: Option<Alarm>,
}

/// What a claim would have to be, whoever may make it: where sets exist an empty cluster is never
/// founded beside them.
fn wanted(settings: &Settings, store: &Store) -> Result<Mode, Refusal> {
    match store.sets {
        None => {
            let why = "whether it holds snapshot sets was not read".to_owned();
            Err(Refusal::not_yet(Reason::StoreUnclear(why)))
        }
        Some(true) if !adopts(settings, store) => Ok(Mode::Restore),
        Some(_) => Ok(Mode::Found),
    }
}

/// Sets may have come or gone since the claim was made: then it is given up, whatever else is allowed,
/// and made anew.
pub(crate) fn still_wanted(settings: &Settings, store: &Store, mode: Mode) -> Result<(), Refusal> {
    if foreign(settings, store).is_some() {
        // Its sets are not ours, and it is an alarm.
        return Ok(());
    }
    match (mode, wanted(settings, store)?) {
        (Mode::Found, Mode::Restore) => Err(Refusal::Never(
            "snapshot sets exist, and the claim is to begin empty".to_owned(),
        )),
        (Mode::Restore, Mode::Found) => Err(Refusal::Never(
            "the snapshot sets that it was to restore are gone".to_owned(),
        )),
        _ => Ok(()),
    }
}

/// May a claim that follows `previous` be made, or be formed, now, and which?
pub(crate) fn may_found(
    settings: &Settings,
    memory: &Memory,
    seen: &Observation,
    store: &Store,
    previous: Option<&GenerationId>,
) -> Result<Allowed, Refusal> {
    if let Some(alarm) = foreign(settings, store) {
        return Err(Refusal::alarm(alarm));
    }
    if seen.disk.aside {
        // Whoever kept it may want it back: a restore comes before a new, empty cluster.
        return Err(Refusal::alarm(Alarm::AsideKept));
    }
    let formed = store.formed().map(|formed| &formed.generation);
    if formed != previous {
        let now = formed.map_or_else(|| "nothing".to_owned(), ToString::to_string);
        return Err(Refusal::Never(format!(
            "the highest formed generation is {now}"
        )));
    }
    // R2: a live formed peer outranks whatever the store says.
    let believed = witness::believed(settings, seen);
    let outranks = |other: &GenerationId| {
        previous.is_none_or(|previous| other.number >= previous.number && other != previous)
    };
    if let Some((address, (_, other))) = believed
        .iter()
        .find(|(_, (_, other))| outranks(&other.generation))
    {
        return Err(Refusal::Never(format!(
            "{address} belongs to generation {}",
            other.generation
        )));
    }
    let addresses = memory
        .dns
        .settled(settings, &seen.dns)
        .map_err(|why| Refusal::not_yet(Reason::DnsNotSettled(why)))?;
    match previous {
        None => {
            if !store.own_beat_seen {
                let why = "our own beat has not been read back".to_owned();
                return Err(Refusal::not_yet(Reason::StoreUnclear(why)));
            }
            witness::all_give_way(settings, seen, store, &addresses, None)
                .map_err(|(address, why)| Refusal::not_yet(Reason::NotEmpty(address, why)))?;
            if memory.silence.pending(settings) {
                let why = memory
                    .silence
                    .hindrance()
                    .unwrap_or("its members are silent")
                    .to_owned();
                return Err(Refusal::not_yet(Reason::StoreUnclear(format!(
                    "it lists members of a cluster and no formed generation: {why}"
                ))));
            }
            // There was a cluster: its other members may live where we do not look.
            if let Some(address) = witness::stuck(seen)
                && !memory.silence.complete(settings)
            {
                let why = format!(
                    "its generation is stuck; the others have been silent for {:.0} s",
                    memory.silence.lasted().as_secs_f64()
                );
                return Err(Refusal::not_yet(Reason::NotEmpty(address, why)));
            }
            match wanted(settings, store)? {
                Mode::Restore => may_restore_unrecorded(settings, memory, store),
                mode => Ok(Allowed {
                    mode,
                    reason: Reason::MayFound,
                    alarm: None,
                }),
            }
        }
        Some(lost) => {
            let last = ended::in_order(settings, seen, store, lost);
            if !memory.silence.complete(settings) && last.is_none() {
                return Err(Refusal::not_yet(Reason::NobodyAnswers {
                    generation: lost.clone(),
                    silent: memory.silence.lasted(),
                    hindrance: memory.silence.hindrance().map(str::to_owned),
                }));
            }
            witness::all_give_way(settings, seen, store, &addresses, Some(lost))
                .map_err(|(address, why)| Refusal::not_yet(Reason::NotEmpty(address, why)))?;
            let mode = wanted(settings, store)?;
            if let (Mode::Restore, true, Some(last)) = (mode, settings.restore, last) {
                // Nothing is lost, so there is nothing to call a person for.
                return Ok(Allowed {
                    mode,
                    reason: Reason::MayRestoreFinal(lost.clone(), last.set),
                    alarm: None,
                });
            }
            // To go by the last word is to restore its set; of all else silence decides.
            if !memory.silence.complete(settings) && mode != Mode::Restore {
                return Err(Refusal::not_yet(Reason::NobodyAnswers {
                    generation: lost.clone(),
                    silent: memory.silence.lasted(),
                    hindrance: memory.silence.hindrance().map(str::to_owned),
                }));
            }
            let reason = match mode {
                Mode::Restore if !settings.restore => {
                    return Err(restore_needed(Some(lost), ASKED_FOR));
                }
                Mode::Restore => Reason::MayRestore(Some(lost.clone())),
                _ => Reason::MayFoundAgain(lost.clone()),
            };
            let lost = Some(lost.clone());
            Ok(Allowed {
                mode,
                reason,
                alarm: Some(Alarm::ClusterLost { lost, mode }),
            })
        }
    }
}

const ASKED_FOR: &str = "ENTRYPOINT_RESTORE=wait asks for a person";

fn restore_needed(lost: Option<&GenerationId>, why: &'static str) -> Refusal {
    let lost = lost.cloned();
    Refusal::alarm(Alarm::RestoreNeeded { lost, why })
}

/// Sets exist and no generation is on record. Sets do not make themselves, so there was a cluster, and no
/// chain of tokens would fence what may be left of it: it is waited for as for one that is lost, also
/// where the store lists no member at all. Whoever lives writes its records again long before (R2).
///
/// A store that lost its name as well gets another one, by which none of its sets would be its own.
fn may_restore_unrecorded(
    settings: &Settings,
    memory: &Memory,
    store: &Store,
) -> Result<Allowed, Refusal> {
    if !settings.restore {
        return Err(restore_needed(None, ASKED_FOR));
    }
    if store.identity.is_none() {
        let why = "the store has lost its identity.json, so whose sets they are is not known";
        return Err(restore_needed(None, why));
    }
    if !memory.silence.complete(settings) {
        let why = memory
            .silence
            .hindrance()
            .unwrap_or("whoever made them is silent");
        return Err(Refusal::not_yet(Reason::StoreUnclear(format!(
            "it holds snapshot sets and no formed generation: {why}"
        ))));
    }
    let mode = Mode::Restore;
    Ok(Allowed {
        mode,
        reason: Reason::MayRestore(None),
        alarm: Some(Alarm::ClusterLost { lost: None, mode }),
    })
}

/// The store belongs to another service, or to another stack and nobody told us to take it over.
pub(crate) fn foreign(settings: &Settings, store: &Store) -> Option<Alarm> {
    let identity = store.identity.as_ref()?;
    if identity.service != settings.service {
        return Some(Alarm::ForeignStore(format!(
            "it was made by service {:?}, we are {:?}",
            identity.service, settings.service
        )));
    }
    let (its, ours) = other_stack(settings, store)?;
    (!settings.adopt_fresh).then(|| {
        Alarm::ForeignStore(format!(
            "its cluster is of stack {its:?}, we are {ours:?}; ENTRYPOINT_ADOPT_STORE=fresh takes it over and gives up what it held"
        ))
    })
}

/// The stack whose cluster the store holds, and ours, when both are named and differ.
fn other_stack<'a>(settings: &'a Settings, store: &'a Store) -> Option<(&'a str, &'a str)> {
    let (its, ours) = (store.stack()?, settings.stack.as_deref()?);
    (its != ours).then_some((its, ours))
}

/// We were told to give up what another stack left here. Says nothing about a cluster of our own
/// stack, so the setting may stay for ever.
fn adopts(settings: &Settings, store: &Store) -> bool {
    settings.adopt_fresh && other_stack(settings, store).is_some()
}
