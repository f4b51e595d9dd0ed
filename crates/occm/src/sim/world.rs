//! The world around the processes: the time, the cluster, the CAs, the lease, and what goes wrong.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};

use crate::model::object::ObjectKey;
use crate::sim::ca::SimCa;
use crate::sim::clockwork::{Call, Clockwork, Drive, Happening, call};
use crate::sim::faults::{Fault, Switchboard};
use crate::sim::history::History;
use crate::sim::random::Random;
use crate::store::memory::{self, MemoryStore};
use crate::store::{ContentHash, RecordSeen, Subject};

/// How a process stands: its clock, its lease, its life.
#[derive(Clone, Debug, Default)]
pub(crate) struct Standing {
    /// How much its clock is ahead.
    pub(crate) offset: SignedDuration,
    /// Counts its lives.
    pub(crate) life: u64,
    /// Whether it holds the lease.
    pub(crate) holds: bool,
    /// When its lease runs out, if it cannot renew it.
    pub(crate) until: Option<Timestamp>,
    /// The watch is lost until then.
    pub(crate) watch_lost: Option<Timestamp>,
    /// How late its watch is.
    pub(crate) watch_late: Option<(Timestamp, SignedDuration)>,
}

/// Streams of chance.
pub(crate) struct Chances {
    pub(crate) latency: Random,
    pub(crate) store: Random,
    pub(crate) ca: Random,
    pub(crate) kills: Random,
    pub(crate) program: Random,
}

/// A writer that fights with us.
#[derive(Clone, Debug)]
pub(crate) struct Fight {
    pub(crate) until: Timestamp,
    pub(crate) answer_after: SignedDuration,
}

/// What changes while the world runs.
pub(crate) struct Moving {
    pub(crate) chances: Chances,
    pub(crate) switches: Switchboard,
    pub(crate) standings: Vec<Standing>,
    pub(crate) store_down_until: Option<Timestamp>,
    pub(crate) before_last: BTreeMap<Subject, (Timestamp, RecordSeen)>,
    pub(crate) fights: BTreeMap<ObjectKey, Fight>,
    pub(crate) calls: u64,
    /// Records as they were while a transaction was open: the backups that hurt.
    pub(crate) open_backups: Vec<(Timestamp, Subject, Arc<pki::Secret>)>,
}

/// The world.
pub(crate) struct World {
    pub(crate) clockwork: Arc<Clockwork>,
    pub(crate) store: MemoryStore,
    pub(crate) people: memory::World,
    pub(crate) cas: Vec<SimCa>,
    moving: Mutex<Moving>,
    history: Mutex<History>,
}

/// Chance that a process is killed in one call that it makes.
const KILL: f64 = 0.01;

impl World {
    pub(crate) fn new(
        seed: u64,
        start: Timestamp,
        cas: Vec<SimCa>,
        processes: usize,
        switches: Switchboard,
    ) -> Arc<Self> {
        let stream = |purpose| Random::stream(seed, purpose);
        let chances = Chances {
            latency: stream("latency"),
            store: stream("store"),
            ca: stream("ca"),
            kills: stream("kills"),
            program: stream("program"),
        };
        let store = MemoryStore::new();
        let people = store.world();
        people.set_now(start);
        Arc::new(Self {
            clockwork: Arc::new(Clockwork::new(start)),
            store,
            people,
            cas,
            moving: Mutex::new(Moving {
                chances,
                switches,
                standings: vec![Standing::default(); processes],
                store_down_until: None,
                before_last: BTreeMap::new(),
                fights: BTreeMap::new(),
                calls: 0,
                open_backups: Vec::new(),
            }),
            history: Mutex::new(History::default()),
        })
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clockwork.now()
    }

    pub(crate) fn moving(&self) -> MutexGuard<'_, Moving> {
        self.moving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a process reads on its clock.
    pub(crate) fn clock_of(&self, process: usize) -> Timestamp {
        let offset = self
            .moving()
            .standings
            .get(process)
            .map_or(SignedDuration::ZERO, |s| s.offset);
        self.now().saturating_add(offset).unwrap_or(Timestamp::MAX)
    }

    /// Whether this life of a process holds the lease, by monotonic time.
    pub(crate) fn may_act(&self, process: usize, life: u64) -> bool {
        let now = self.now();
        let moving = self.moving();
        moving
            .standings
            .get(process)
            .is_some_and(|s| s.holds && s.life == life && s.until.is_none_or(|until| now < until))
    }

    /// Whether a fault of this kind comes now, with this probability; counted if it does.
    pub(crate) fn strikes(&self, fault: Fault, probability: f64) -> bool {
        let mut moving = self.moving();
        let random = match fault {
            Fault::RequestLost | Fault::AnswerLost => &mut moving.chances.ca,
            _ => &mut moving.chances.store,
        };
        let by_chance = random.chance(probability);
        let comes = by_chance && moving.switches.is_on(fault);
        if comes {
            moving.switches.count(fault);
        }
        comes
    }

    /// A call of a process to the store or to a CA: it takes time, and the process may be killed in it.
    pub(crate) fn call<T: Send + 'static>(
        self: &Arc<Self>,
        process: usize,
        step: &'static str,
        there: SignedDuration,
        apply: impl FnOnce(&Arc<Self>) -> (T, SignedDuration) + Send + 'static,
    ) -> Call<T> {
        let (survives, kill) = {
            let mut moving = self.moving();
            moving.calls += 1;
            let survives = moving.chances.kills.chance(0.5);
            let wanted = moving.chances.kills.chance(KILL);
            let when = moving.chances.kills.unit();
            let kill = wanted && moving.switches.is_on(Fault::Kill);
            (survives, kill.then_some(when))
        };
        if let Some(when) = kill {
            self.kill_in_call(process, step, there, when);
        }
        let world = Arc::clone(self);
        call(&self.clockwork, there, survives, move || apply(&world))
    }

    /// Kills the process before its call arrives, or a little after.
    fn kill_in_call(&self, process: usize, step: &'static str, there: SignedDuration, when: f64) {
        let life = self.moving().standings.get(process).map_or(0, |s| s.life);
        self.moving().switches.count_kill(step);
        let delay = there.as_secs_f64() * 3.0 * when;
        let delay = SignedDuration::try_from_secs_f64(delay).unwrap_or(SignedDuration::ZERO);
        self.clockwork
            .after(delay, Happening::Drive(Drive::Kill { process, life }));
    }

    /// Some milliseconds.
    pub(crate) fn latency(&self) -> SignedDuration {
        SignedDuration::from_micros(self.moving().chances.latency.between(300, 8_000))
    }

    /// The hash of every value of a Secret.
    pub(crate) fn output_data(
        &self,
        key: &ObjectKey,
    ) -> Option<(BTreeMap<String, ContentHash>, Option<u64>)> {
        let content = self.people.secret(key)?;
        let revision = content
            .facts
            .annotations
            .get(crate::model::object::REVISION_ANNOTATION);
        let revision = revision.and_then(|text| text.parse().ok());
        Some((content.facts.data, revision))
    }
}
