//! The store suite, unchanged, on the simulated store without faults: its calls and its watch take their virtual time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::sim::clockwork::Happening;
use crate::sim::faults::{Fault, Switchboard};
use crate::sim::scene;
use crate::sim::store::SimStore;
use crate::sim::world::World;
use crate::store::memory::tests::Person;
use crate::store::suite::{self, Bench};

/// Lets the time of a world go on by itself, as fast as it can, until it is dropped.
struct Runs {
    world: Arc<World>,
    stopped: Arc<AtomicBool>,
}

impl Runs {
    fn of(world: &Arc<World>) -> Self {
        let stopped = Arc::new(AtomicBool::new(false));
        let (runs, stop) = (Arc::clone(world), Arc::clone(&stopped));
        std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let next = runs.clockwork.wait();
                runs.clockwork.advance(next);
                while let Some(happening) = runs.clockwork.pop_due() {
                    if let Happening::Run(step) = happening {
                        step();
                    }
                }
            }
        });
        Self {
            world: Arc::clone(world),
            stopped,
        }
    }
}

impl Drop for Runs {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        self.world.clockwork.run_after(jiff::SignedDuration::ZERO, || {});
    }
}

#[tokio::test]
async fn the_simulated_store_passes_the_suite() {
    suite::run(|| async {
        let faults = Fault::ALL.iter().copied().collect();
        let switches = Switchboard::new(faults, None);
        let world = World::new(1, scene::start(), Vec::new(), 1, switches);
        let runs = Runs::of(&world);
        Bench {
            world: Arc::new(Person(world.store.world())),
            store: Arc::new(SimStore { world, process: 0 }),
            _keep: Box::new(runs),
        }
    })
    .await;
}
