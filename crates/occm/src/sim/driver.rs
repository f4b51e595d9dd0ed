//! The driver: runs the processes by hand on one thread, through virtual time.
//!
//! ```text
//!   take in what the watch tells ──> take due subjects ──> poll looks ──> nothing left? ──> the next thing happens
//! ```
//!
//! A killed process is a manager that is dropped with all its looks, wherever they stand.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use cmp::{Engine, Native};
use futures::StreamExt;
use futures::stream::BoxStream;
use jiff::{SignedDuration, Timestamp};

use crate::clock::Clock;
use crate::reconcile::decide::Rule;
use crate::reconcile::issuer::MakeEngine;
use crate::reconcile::manager::{Fence, Manager, Observer, Parts, Settings};
use crate::sim::ca::SimTransport;
use crate::sim::clockwork::{Drive, Happening};
use crate::sim::faults::{Coming, Fault};
use crate::sim::history::Tenure;
use crate::sim::plant::Plant;
use crate::sim::random::Random;
use crate::sim::scene::{HOME, Scene, ca_of};
use crate::sim::store::SimStore;
use crate::sim::tap::Tap;
use crate::sim::world::World;
use crate::store::memory::Snapshot;
use crate::store::{Change, Store, Subject};

/// How long a holder that cannot renew its lease may still act.
const RENEW_DEADLINE: SignedDuration = SignedDuration::from_secs(10);
/// How long others wait before they take a lease that does not change.
const LEASE: SignedDuration = SignedDuration::from_secs(15);

/// How often somebody makes a backup.
const BETWEEN_BACKUPS: SignedDuration = SignedDuration::from_hours(60);
/// More looks than this at one moment are a busy loop.
const MOST_LOOKS: u32 = 200_000;

type Look = Pin<Box<dyn Future<Output = ()> + Send>>;
type Ready = Arc<Mutex<VecDeque<u64>>>;

struct Running {
    manager: Arc<Manager>,
    watch: BoxStream<'static, Change>,
    looks: BTreeMap<u64, Look>,
    ready: Ready,
    next_look: u64,
    workers: usize,
}

struct LookWaker {
    look: u64,
    ready: Ready,
}

impl Wake for LookWaker {
    fn wake(self: Arc<Self>) {
        self.ready
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push_back(self.look);
    }
}

#[derive(Default)]
struct Process {
    running: Option<Running>,
    up: bool,
    paused: bool,
    down_since: Option<Timestamp>,
}

/// The driver.
pub(crate) struct Driver {
    pub(crate) world: Arc<World>,
    pub(crate) scene: Scene,
    pub(crate) plant: Plant,
    rules: &'static [Rule],
    pub(crate) backups: VecDeque<(Timestamp, Snapshot)>,
    pub(crate) tokens: u64,
    /// The fault that strikes now was meant for a Certificate that is left out.
    pub(crate) elsewhere: bool,
    processes: Vec<Process>,
    waits: BTreeMap<Fault, Random>,
    end: Timestamp,
    /// Who else hears of decisions.
    listener: Option<Arc<dyn Observer>>,
}

impl Running {
    /// Goes on as far as it can now.
    fn pump(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        let mut looks = 0_u32;
        loop {
            let mut moved = false;
            while let Poll::Ready(Some(change)) = self.watch.poll_next_unpin(&mut context) {
                self.manager.take_in(change);
                moved = true;
            }
            if moved {
                self.manager.attend();
            }
            while self.looks.len() < self.workers {
                let Some(subject) = self.manager.take_due() else {
                    break;
                };
                looks += 1;
                assert!(
                    looks < MOST_LOOKS,
                    "busy loop: {subject} is looked at again and again at one moment"
                );
                self.begin(subject);
                moved = true;
            }
            while let Some(look) = self.pop_ready() {
                self.poll(look);
                moved = true;
            }
            if !moved {
                return;
            }
        }
    }

    fn begin(&mut self, subject: Subject) {
        let manager = Arc::clone(&self.manager);
        let look = self.next_look;
        self.next_look += 1;
        self.looks
            .insert(look, Box::pin(async move { manager.look(&subject).await }));
        self.ready
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push_back(look);
    }

    fn pop_ready(&self) -> Option<u64> {
        self.ready
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front()
    }

    fn poll(&mut self, look: u64) {
        let Some(future) = self.looks.get_mut(&look) else {
            return;
        };
        let waker = Waker::from(Arc::new(LookWaker {
            look,
            ready: Arc::clone(&self.ready),
        }));
        let over = future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
        if over {
            self.looks.remove(&look);
        }
    }
}

impl Driver {
    pub(crate) fn new(world: Arc<World>, scene: Scene, plant: Plant, processes: usize) -> Self {
        let wait = |fault: &Fault| (*fault, world.stream(&format!("waits of {fault:?}")));
        let waits = Fault::ALL.iter().map(wait).collect();
        let end = world.now();
        Self {
            world,
            scene,
            plant,
            rules: plant.rules(),
            backups: VecDeque::new(),
            tokens: 0,
            elsewhere: false,
            processes: (0..processes).map(|_| Process::default()).collect(),
            waits,
            end,
            listener: None,
        }
    }

    /// Runs until `end`, with all faults that come by themselves.
    pub(crate) fn run(&mut self, end: Timestamp) {
        self.end = end;
        self.begin();
        for fault in Fault::ALL {
            self.schedule(*fault, 1);
        }
        self.world
            .clockwork
            .after(BETWEEN_BACKUPS, Happening::Drive(Drive::BackUp));
        self.go_on_until(end);
    }

    /// Starts all processes.
    pub(crate) fn begin(&mut self) {
        for process in 0..self.processes.len() {
            self.start(process);
        }
    }

    /// Somebody else hears of decisions from now on.
    pub(crate) fn listen(&mut self, listener: Arc<dyn Observer>) {
        self.listener = Some(listener);
    }

    /// All processes end and start again at once.
    pub(crate) fn start_anew(&mut self) {
        for number in 0..self.processes.len() {
            self.stop(number, "stopped");
            self.start(number);
        }
    }

    /// Whether everything was looked at and nothing is due.
    pub(crate) fn is_idle(&self) -> bool {
        let mut running = self
            .processes
            .iter()
            .filter_map(|process| process.running.as_ref());
        running.all(|running| running.looks.is_empty() && running.manager.is_idle())
    }

    /// Lets the time go on.
    pub(crate) fn go_on_until(&mut self, end: Timestamp) {
        loop {
            self.pump();
            let now = self.world.now();
            let next = self
                .world
                .clockwork
                .next_at()
                .into_iter()
                .chain(self.next_due())
                .min();
            let Some(next) = next.filter(|next| *next <= end) else {
                self.world.clockwork.advance(end);
                return;
            };
            self.world.clockwork.advance(next.max(now));
            self.world.people.set_now(self.world.now());
            while let Some(happening) = self.world.clockwork.pop_due() {
                match happening {
                    Happening::Run(step) => step(),
                    Happening::Drive(drive) => self.drive(drive),
                }
                self.pump();
            }
        }
    }

    fn pump(&mut self) {
        for process in &mut self.processes {
            if process.paused {
                continue;
            }
            if let Some(running) = &mut process.running {
                running.pump();
            }
        }
    }

    /// When the next process has something to look at.
    fn next_due(&self) -> Option<Timestamp> {
        let now = self.world.now();
        let processes = self.processes.iter().enumerate().filter(|(_, p)| !p.paused);
        processes
            .filter_map(|(number, process)| {
                let running = process.running.as_ref().filter(|r| r.looks.len() < r.workers)?;
                let due = running.manager.next_due()?;
                let ahead = due.duration_since(self.world.clock_of(number));
                // What is due already waits for something else: a look that goes on, or the first list of the watch.
                (ahead > SignedDuration::ZERO).then(|| now + ahead)
            })
            .min()
    }

    fn drive(&mut self, drive: Drive) {
        match drive {
            Drive::Kill { process, life, step } if self.life(process) == life => {
                self.kill(process, &format!("killed in its call \"{step}\""));
            }
            Drive::Start { process } => self.start(process),
            Drive::GoOn { process, life } if self.life(process) == life => self.go_on(process),
            Drive::NoticeLoss { process, life } if self.life(process) == life => self.step_down(process),
            Drive::TakeOver { process } => self.take_over(process),
            Drive::Strike {
                fault,
                number,
                attempt,
            } => self.comes(fault, number, attempt),
            Drive::BackUp => {
                self.back_up();
                self.world
                    .clockwork
                    .after(BETWEEN_BACKUPS, Happening::Drive(Drive::BackUp));
            }
            Drive::Kill { .. } | Drive::GoOn { .. } | Drive::NoticeLoss { .. } => {}
        }
    }

    fn life(&self, process: usize) -> u64 {
        self.world
            .moving()
            .standings
            .get(process)
            .map_or(0, |standing| standing.life)
    }

    /// The process that holds the lease and runs.
    pub(crate) fn leader(&self) -> Option<usize> {
        self.processes
            .iter()
            .position(|process| process.running.is_some() && !process.paused)
    }

    fn seconds(&mut self, low: i64, high: i64) -> SignedDuration {
        let mut random = self.world.stream_of_now("processes");
        SignedDuration::from_millis(random.between(low * 1000, high * 1000))
    }

    fn tell(&self, text: String) {
        self.world.history().tell(self.world.now(), None, text);
    }

    fn start(&mut self, number: usize) {
        let Some(process) = self.processes.get_mut(number) else {
            return;
        };
        if process.up {
            return;
        }
        process.up = true;
        process.down_since = None;
        self.tell(format!("process {number} starts"));
        self.take_over(number);
    }

    /// Takes the lease if it is free; else tries again while its holder does not look well.
    fn take_over(&mut self, number: usize) {
        let ready = self
            .processes
            .get(number)
            .is_some_and(|p| p.up && !p.paused && p.running.is_none());
        if !ready {
            return;
        }
        let now = self.world.now();
        let holder = self
            .world
            .moving()
            .standings
            .iter()
            .position(|standing| standing.holds);
        let (free, well) = match holder {
            None => (true, false),
            Some(holder) if holder == number => (true, false),
            Some(holder) => self.holder_looks(holder, now),
        };
        if free {
            self.lead(number);
        } else if !well {
            self.world.clockwork.after(
                SignedDuration::from_secs(2),
                Happening::Drive(Drive::TakeOver { process: number }),
            );
        }
    }

    /// Whether the lease of `holder` can be taken, and whether the holder renews it.
    fn holder_looks(&self, holder: usize, now: Timestamp) -> (bool, bool) {
        let until = self
            .world
            .moving()
            .standings
            .get(holder)
            .and_then(|standing| standing.until);
        let down = self.processes.get(holder).and_then(|process| process.down_since);
        let since = match (down, until) {
            (Some(down), _) => Some(down),
            (None, Some(until)) => Some(until - RENEW_DEADLINE),
            (None, None) => None,
        };
        match since {
            Some(since) => (now.duration_since(since) >= LEASE, false),
            None => (false, true),
        }
    }

    /// Starts a manager in this process, which holds the lease from now on.
    fn lead(&mut self, number: usize) {
        let now = self.world.now();
        let life = {
            let mut moving = self.world.moving();
            for (other, standing) in moving.standings.iter_mut().enumerate() {
                standing.holds = other == number;
            }
            let Some(standing) = moving.standings.get_mut(number) else {
                return;
            };
            standing.until = None;
            standing.life += 1;
            standing.watch_lost = None;
            standing.life
        };
        {
            let mut history = self.world.history();
            history.end_tenure(number, now);
            history.tenures.push(Tenure {
                process: number,
                from: now,
                to: None,
            });
            history.tell(now, None, format!("process {number} leads"));
        }
        let running = self.manager(number, life);
        if let Some(process) = self.processes.get_mut(number) {
            process.running = Some(running);
        }
    }

    fn manager(&self, number: usize, life: u64) -> Running {
        let world = Arc::clone(&self.world);
        let store: Arc<dyn Store> = Arc::new(SimStore {
            world: Arc::clone(&world),
            process: number,
        });
        let store = self.plant.wrap_store(store, &world);
        let fence: Fence = {
            let world = Arc::clone(&world);
            Arc::new(move || world.may_act(number, life))
        };
        let fence = self.plant.wrap_fence(fence);
        let random = {
            let world = Arc::clone(&world);
            Arc::new(move || world.stream_of_now("program").unit())
        };
        let clock = {
            let world = Arc::clone(&world);
            Clock::from_fn(move || world.clock_of(number))
        };
        let mut settings = Settings::new(HOME, &format!("pod-{number}"));
        settings.rules = self.rules;
        let workers = settings.workers;
        let watch = store.watch();
        let parts = Parts {
            store,
            make_engine: make_engine(&world, number),
            clock,
            fence,
            observer: match &self.listener {
                Some(listener) => Arc::clone(listener),
                None => Arc::new(Tap {
                    world: Arc::clone(&world),
                    process: number,
                }),
            },
            random,
        };
        Running {
            manager: Arc::new(Manager::new(parts, settings)),
            watch,
            looks: BTreeMap::new(),
            ready: Ready::default(),
            next_look: 0,
            workers,
        }
    }

    /// Kills a process; it starts again after a while.
    pub(crate) fn kill(&mut self, number: usize, why: &str) {
        let back = if self.world.stream_of_now("restart").chance(0.7) {
            self.seconds(1, 12)
        } else {
            self.seconds(20, 600)
        };
        self.stop(number, why);
        self.world
            .clockwork
            .after(back, Happening::Drive(Drive::Start { process: number }));
        self.others_try(number);
    }

    fn others_try(&mut self, number: usize) {
        for other in (0..self.processes.len())
            .filter(|other| *other != number)
            .collect::<Vec<_>>()
        {
            let after = LEASE + self.seconds(0, 2);
            self.world
                .clockwork
                .after(after, Happening::Drive(Drive::TakeOver { process: other }));
        }
    }

    fn stop(&mut self, number: usize, why: &str) {
        let now = self.world.now();
        let Some(process) = self.processes.get_mut(number) else {
            return;
        };
        if !process.up {
            return;
        }
        process.running = None;
        process.up = false;
        process.paused = false;
        process.down_since = Some(now);
        if let Some(standing) = self.world.moving().standings.get_mut(number) {
            standing.life += 1;
        }
        let mut history = self.world.history();
        history.end_tenure(number, now);
        history.kills.push(now);
        history.tell(now, None, format!("process {number} is {why}"));
    }

    /// All processes stop for so long.
    pub(crate) fn blackout(&mut self, long: SignedDuration) {
        for number in 0..self.processes.len() {
            self.stop(number, "down with its node");
            self.world
                .clockwork
                .after(long, Happening::Drive(Drive::Start { process: number }));
        }
    }

    /// The leader hands over and starts again.
    pub(crate) fn upgrade(&mut self) -> bool {
        let Some(number) = self.leader() else { return false };
        self.stop(number, "replaced by a new version");
        if let Some(standing) = self.world.moving().standings.get_mut(number) {
            standing.holds = false;
        }
        for other in (0..self.processes.len())
            .filter(|other| *other != number)
            .collect::<Vec<_>>()
        {
            let after = self.seconds(1, 3);
            self.world
                .clockwork
                .after(after, Happening::Drive(Drive::TakeOver { process: other }));
        }
        let after = self.seconds(3, 20);
        self.world
            .clockwork
            .after(after, Happening::Drive(Drive::Start { process: number }));
        true
    }

    /// The leader can no longer renew its lease.
    pub(crate) fn lose_lease(&mut self) -> bool {
        let Some(number) = self.leader() else { return false };
        self.lease_runs_out(number);
        let (life, after) = (self.life(number), RENEW_DEADLINE + self.seconds(0, 2));
        self.world.clockwork.after(
            after,
            Happening::Drive(Drive::NoticeLoss {
                process: number,
                life,
            }),
        );
        true
    }

    fn lease_runs_out(&mut self, number: usize) {
        let until = self.world.now() + RENEW_DEADLINE;
        if let Some(standing) = self.world.moving().standings.get_mut(number) {
            standing.until = Some(until);
        }
        self.world.history().end_tenure(number, until);
        self.tell(format!(
            "process {number} no longer renews its lease, which runs out at {until}"
        ));
        self.others_try(number);
    }

    /// The leader stands still for so long; others take the lease meanwhile.
    pub(crate) fn pause(&mut self, long: SignedDuration) -> bool {
        let Some(number) = self.leader() else { return false };
        self.lease_runs_out(number);
        if let Some(process) = self.processes.get_mut(number) {
            process.paused = true;
        }
        let life = self.life(number);
        self.world.clockwork.after(
            long,
            Happening::Drive(Drive::GoOn {
                process: number,
                life,
            }),
        );
        true
    }

    fn go_on(&mut self, number: usize) {
        if let Some(process) = self.processes.get_mut(number) {
            process.paused = false;
        }
        self.tell(format!("process {number} goes on after standing still"));
        let (life, after) = (self.life(number), self.seconds(0, 3));
        self.world.clockwork.after(
            after,
            Happening::Drive(Drive::NoticeLoss {
                process: number,
                life,
            }),
        );
    }

    /// A process notices that its lease is lost: it drops its looks and stands by.
    fn step_down(&mut self, number: usize) {
        if let Some(process) = self.processes.get_mut(number) {
            process.running = None;
        }
        if let Some(standing) = self.world.moving().standings.get_mut(number) {
            standing.holds = false;
            standing.until = None;
            standing.life += 1;
        }
        self.tell(format!("process {number} stands by"));
        let after = self.seconds(5, 8);
        self.world
            .clockwork
            .after(after, Happening::Drive(Drive::TakeOver { process: number }));
    }

    /// Schedules a fault that comes by itself: the first time soon, so that even a short run meets it.
    fn schedule(&mut self, fault: Fault, number: u64) {
        let (Some(mean), Some(chance)) = (fault.mean_hours(), self.waits.get_mut(&fault)) else {
            return;
        };
        let hours = if number == 1 {
            let all = self.end.duration_since(self.world.now()).as_secs_f64() / 3600.0;
            chance.unit() * mean.min(all * 0.8)
        } else {
            chance.wait(mean)
        };
        let wait = SignedDuration::try_from_secs_f64(hours * 3600.0).unwrap_or(SignedDuration::MAX / 4);
        let strike = Drive::Strike {
            fault,
            number,
            attempt: 0,
        };
        self.world.clockwork.after(wait, Happening::Drive(strike));
    }

    /// A fault comes; one that finds nothing to strike tries again later.
    fn comes(&mut self, fault: Fault, number: u64, attempt: u32) {
        if attempt == 0 {
            self.schedule(fault, number + 1);
        }
        let coming = Coming {
            fault,
            place: String::new(),
            number,
        };
        if !self.world.moving().switches.allows(&coming) {
            return;
        }
        self.elsewhere = false;
        let mut random = self.world.stream(&format!("{fault:?} {number} {attempt}"));
        if self.struck(fault, &mut random) {
            let now = self.world.now();
            self.world.moving().switches.note(now, coming);
        } else if !self.elsewhere && attempt < 24 {
            let again = Drive::Strike {
                fault,
                number,
                attempt: attempt + 1,
            };
            self.world
                .clockwork
                .after(SignedDuration::from_mins(30), Happening::Drive(again));
        }
    }
}

fn make_engine(world: &Arc<World>, process: usize) -> MakeEngine {
    let world = Arc::clone(world);
    Arc::new(move |plan, _| {
        let transport = SimTransport {
            world: Arc::clone(&world),
            process,
            ca: ca_of(&plan.key),
        };
        let engine: Arc<dyn Engine> = Arc::new(Native::new(Arc::new(transport)));
        Ok(engine)
    })
}
