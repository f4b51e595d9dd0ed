//! The world around the processes: the time, the cluster, the CAs, the lease, and what goes wrong.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};

use crate::model::object::ObjectKey;
use crate::sim::ca::SimCa;
use crate::sim::clockwork::{Call, Clockwork, Drive, Happening, call};
use crate::sim::faults::{Coming, Fault, Switchboard};
use crate::sim::history::History;
use crate::sim::random::Random;
use crate::store::memory::{self, MemoryStore};
use crate::store::{Hashes, RecordSeen, Subject};

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

/// Everything that chance decides about one call. It depends on the seed and on the calls at the same place alone, so
/// that a Certificate or a fault that is left out moves nothing of the others.
pub(crate) struct Dice {
    random: Random,
    place: String,
    number: u64,
}

impl Dice {
    pub(crate) fn random(&mut self) -> &mut Random {
        &mut self.random
    }

    /// Some milliseconds.
    pub(crate) fn latency(&mut self) -> SignedDuration {
        SignedDuration::from_micros(self.random.between(300, 8_000))
    }
}

/// A writer that fights with us.
#[derive(Clone, Debug)]
pub(crate) struct Fight {
    pub(crate) until: Timestamp,
    pub(crate) answer_after: SignedDuration,
}

/// What changes while the world runs.
pub(crate) struct Moving {
    /// Calls so far, by place.
    places: HashMap<String, u64>,
    /// The last draw by time: how many at which moment.
    drawn: (Timestamp, u64),
    pub(crate) switches: Switchboard,
    pub(crate) standings: Vec<Standing>,
    pub(crate) store_down_until: Option<Timestamp>,
    pub(crate) before_last: BTreeMap<Subject, (Timestamp, RecordSeen)>,
    pub(crate) fights: BTreeMap<ObjectKey, Fight>,
    pub(crate) calls: u64,
    /// Records as they were while a transaction was open: the backups that hurt.
    pub(crate) open_backups: BTreeMap<Subject, VecDeque<(Timestamp, Arc<pki::Secret>)>>,
}

/// The world.
pub(crate) struct World {
    seed: u64,
    pub(crate) clockwork: Arc<Clockwork>,
    pub(crate) store: MemoryStore,
    pub(crate) people: memory::World,
    pub(crate) cas: Vec<SimCa>,
    moving: Mutex<Moving>,
    history: Mutex<History>,
}

/// Steps at which a process is killed: the calls that it makes.
pub const STEPS: &[&str] = &[
    "read Secret",
    "read input",
    "read record",
    "create Secret",
    "update Secret",
    "delete Secret",
    "write record",
    "delete record",
    "write status",
    "set finalizer",
    "emit Event",
    "send request",
    "send revocation",
    "send certConf",
    "send poll",
];

/// Chance that a process is killed in such a step: more where something is at stake, and where the step is rare.
fn deadliness(step: &str) -> f64 {
    match step {
        "read input" | "read record" | "emit Event" => 0.0005,
        "write status" => 0.003,
        "write record" | "update Secret" | "send request" | "send poll" | "send revocation" => 0.01,
        "send certConf" => 0.03,
        "delete record" => 0.5,
        _ => 0.05,
    }
}

impl World {
    pub(crate) fn new(
        seed: u64,
        start: Timestamp,
        cas: Vec<SimCa>,
        processes: usize,
        switches: Switchboard,
    ) -> Arc<Self> {
        let store = MemoryStore::new();
        let people = store.world();
        people.set_now(start);
        Arc::new(Self {
            seed,
            clockwork: Arc::new(Clockwork::new(start)),
            store,
            people,
            cas,
            moving: Mutex::new(Moving {
                places: HashMap::new(),
                drawn: (start, 0),
                switches,
                standings: vec![Standing::default(); processes],
                store_down_until: None,
                before_last: BTreeMap::new(),
                fights: BTreeMap::new(),
                calls: 0,
                open_backups: BTreeMap::new(),
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

    /// The dice of the next call at a place.
    pub(crate) fn dice(&self, place: String) -> Dice {
        let number = {
            let mut moving = self.moving();
            let number = moving.places.entry(place.clone()).or_default();
            *number += 1;
            *number
        };
        Dice {
            random: self.stream(&format!("{place}#{number}")),
            place,
            number,
        }
    }

    /// The stream of chance for a purpose.
    pub(crate) fn stream(&self, purpose: &str) -> Random {
        Random::stream(self.seed, purpose)
    }

    /// A stream of chance that depends on the time alone.
    pub(crate) fn stream_of_now(&self, purpose: &str) -> Random {
        let now = self.now();
        let mut moving = self.moving();
        let drawn = if moving.drawn.0 == now {
            moving.drawn.1 + 1
        } else {
            0
        };
        moving.drawn = (now, drawn);
        self.stream(&format!("{purpose} {} {drawn}", now.as_nanosecond()))
    }

    /// Whether a fault of this kind comes now, with this probability; noted if it does.
    pub(crate) fn strikes(&self, dice: &mut Dice, fault: Fault, probability: f64) -> bool {
        if !dice.random.chance(probability) {
            return false;
        }
        let coming = Coming {
            fault,
            place: dice.place.clone(),
            number: dice.number,
        };
        let now = self.now();
        let mut moving = self.moving();
        let comes = moving.switches.allows(&coming);
        if comes {
            moving.switches.note(now, coming);
        }
        comes
    }

    /// A call of a process to the store or to a CA: it takes time, and the process may be killed in it.
    pub(crate) fn call<T: Send + 'static>(
        self: &Arc<Self>,
        process: usize,
        step: &'static str,
        mut dice: Dice,
        apply: impl FnOnce(&Arc<Self>, &mut Dice) -> (T, SignedDuration) + Send + 'static,
    ) -> Call<T> {
        self.moving().calls += 1;
        let there = dice.latency();
        let survives = dice.random.chance(0.5);
        let when = dice.random.unit();
        if self.strikes(&mut dice, Fault::Kill, deadliness(step)) {
            self.kill_in_call(process, step, there, when);
        }
        let world = Arc::clone(self);
        call(&self.clockwork, there, survives, move || apply(&world, &mut dice))
    }

    /// Kills the process before its call arrives, or a little after.
    fn kill_in_call(&self, process: usize, step: &'static str, there: SignedDuration, when: f64) {
        let life = {
            let mut moving = self.moving();
            moving.switches.count_kill(step);
            moving.standings.get(process).map_or(0, |s| s.life)
        };
        let delay = there.as_secs_f64() * 3.0 * when;
        let delay = SignedDuration::try_from_secs_f64(delay).unwrap_or(SignedDuration::ZERO);
        self.clockwork
            .after(delay, Happening::Drive(Drive::Kill { process, life, step }));
    }

    /// The hash of every value of a Secret.
    pub(crate) fn output_data(&self, key: &ObjectKey) -> Option<(Arc<Hashes>, Option<u64>)> {
        let content = self.people.secret(key)?;
        let revision = content
            .facts
            .annotations
            .get(crate::model::object::REVISION_ANNOTATION);
        let revision = revision.and_then(|text| text.parse().ok());
        Some((content.facts.data, revision))
    }
}
