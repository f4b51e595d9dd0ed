//! One scripted scenario for two control planes: the simulated one and a real one. The same acts of people and of the CA
//! must lead to the same decisions, in the same order, by the same rules.
//!
//! Both sides run the real manager and listen with the same [`Log`]. A step ends when its subject has decided what the step
//! waits for and then that nothing is left to be done. What depends on the speed of a control plane is left out of the
//! comparison: how often the same thing is decided within a step, and looks that find nothing to do.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use devca::{Config, DevCa};
use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::model::certificate::CertificateSpec;
use crate::model::issuer::Issuer;
use crate::model::object::{API_VERSION, ObjectKey, RENEW_ANNOTATION, REVOKE_ANNOTATION};
use crate::model::reason::Reason;
use crate::reconcile::decide::{Decided, Decision};
use crate::reconcile::manager::Observer;
use crate::sim::ca::SimCa;
use crate::sim::driver::Driver;
use crate::sim::faults::{Fault, Switchboard};
use crate::sim::plant::Plant;
use crate::sim::scene::{self, Scene};
use crate::sim::tap;
use crate::sim::world::World;
use crate::store::{Event, Subject};

pub use crate::sim::ca::Weather;
pub use crate::sim::scene::HOME;

/// Name of the Issuer.
pub const ISSUER: &str = "ca-a";
/// The reference value and the shared secret that the CA knows.
pub const MAC: (&str, &str) = ("4711", "a shared secret of the scenario");
/// Where the shared secret lies.
pub const MAC_SECRET: &str = "ca-a-mac";
/// Where the trust anchor lies.
pub const TRUST: &str = "ca-a-trust";
/// The Certificate.
pub const CERTIFICATE: &str = "web";
/// The Certificate's output.
pub const OUTPUT: &str = "web-tls";

/// What somebody does.
#[derive(Clone, Debug)]
pub enum Act {
    /// Writes the Issuer and what it reads.
    PutIssuer(Box<Issuer>),
    /// Writes the Certificate, with these annotations.
    PutCertificate(Box<CertificateSpec>, BTreeMap<String, String>),
    /// Deletes the Certificate.
    DeleteCertificate,
    /// Deletes the output.
    DeleteOutput,
    /// Sets a value of the output.
    EditOutput(&'static str, &'static [u8]),
    /// Deletes the Certificate's record.
    DeleteRecord,
    /// The CA can no longer be reached, or it can again.
    Ca(Weather),
    /// The program ends and starts again.
    Restart,
}

/// A step of the scenario.
#[derive(Clone, Debug)]
pub struct Step {
    /// What it shows.
    pub name: &'static str,
    /// What is done.
    pub act: Act,
    /// Who decides.
    pub who: Subject,
    /// What is decided in the end, but for nothing; `None` = the act concerns nobody yet.
    pub until: Option<&'static str>,
}

/// A place where the scenario is played.
pub trait Place {
    /// Does something; it is done when this returns.
    fn act<'a>(&'a self, act: &'a Act) -> BoxFuture<'a, ()>;
    /// Waits a moment.
    fn moment(&self) -> BoxFuture<'_, ()>;
    /// Whether nothing is being looked at.
    fn is_idle(&self) -> bool;
}

/// Writes down what is decided.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<(Subject, String)>>>);

impl Observer for Log {
    fn event(&self, _: &Event) {}

    fn exchange(&self, _: &ObjectKey, _: Reason, _: SignedDuration) {}

    fn decided(&self, subject: &Subject, decided: &Decided) {
        let text = match decided.decision {
            Decision::Nothing { .. } => NOTHING.to_owned(),
            _ => tap::name(&decided.decision),
        };
        self.lines()
            .push((subject.clone(), format!("{text} by {}", decided.rule)));
    }
}

const NOTHING: &str = "Nothing";
/// Of a step that concerns nobody yet.
const NOBODY: &str = "";
/// Most moments that a step takes.
const PATIENCE: usize = 3_000;

impl Log {
    fn lines(&self) -> MutexGuard<'_, Vec<(Subject, String)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a step is over, of which the log has the lines from `from` on.
    fn is_over(&self, step: &Step, from: usize) -> bool {
        let Some(until) = step.until else { return true };
        let lines = self.lines();
        let own = lines.iter().skip(from).filter(|(who, _)| *who == step.who);
        let own: Vec<&str> = own.map(|(_, what)| what.as_str()).collect();
        let Some(at) = own.iter().rposition(|what| what.starts_with(until)) else {
            return false;
        };
        until.starts_with("Blocked")
            || until.starts_with("Finalize")
            || own
                .iter()
                .skip(at)
                .any(|what| what.starts_with(NOTHING) || what.starts_with("Blocked"))
    }

    /// What each subject decided since `from`, without repetitions, without looks that found nothing, and without what hangs on
    /// the time of a look alone: that somebody looked while a back-off lasted, unless the step is about that, and
    /// that an issuance had to wait for its turn at the CA and was gone on with.
    fn told(&self, step: &Step, from: usize) -> BTreeMap<String, Vec<String>> {
        let waits = step.until.is_some_and(|until| until.starts_with("Blocked"));
        let mut told: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (who, what) in self.lines().iter().skip(from) {
            let all = told.entry(who.to_string()).or_default();
            let of_time = (what.starts_with("Blocked(BackingOff") && !waits)
                || (what.starts_with("Resume") && all.iter().any(|before| before.starts_with("Issue")));
            if !what.starts_with(NOTHING) && !of_time && !all.contains(what) {
                all.push(what.clone());
            }
        }
        told.retain(|_, all| !all.is_empty());
        told
    }
}

/// Plays the scenario and tells what was decided in each step.
///
/// # Errors
///
/// The step that did not come to its end, with what was decided in it.
pub async fn play(place: &impl Place, log: &Log) -> Result<Vec<String>, String> {
    let mut all = Vec::new();
    for step in script() {
        let from = log.lines().len();
        place.act(&step.act).await;
        let mut moments = 0;
        while !(log.is_over(&step, from) && place.is_idle()) {
            moments += 1;
            if moments > PATIENCE {
                return Err(format!(
                    "{:?} waits for {:?}: {:?}",
                    step.name,
                    step.until,
                    log.told(&step, from)
                ));
            }
            place.moment().await;
        }
        for (who, what) in log.told(&step, from) {
            all.push(format!("{}: {who}: {}", step.name, what.join(", ")));
        }
    }
    Ok(all)
}

/// The scenario.
pub fn script() -> Vec<Step> {
    let certificate = || Subject::Certificate(ObjectKey::new(HOME, CERTIFICATE));
    let identity = Subject::Identity(ObjectKey::new(HOME, ISSUER));
    let step = |name, act, until| Step {
        name,
        act,
        who: certificate(),
        until: Some(until).filter(|until| *until != NOBODY),
    };
    let put = |names: &[&str], tokens: &[(&str, &str)]| {
        let tokens = tokens.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        Act::PutCertificate(Box::new(wish(names)), tokens.collect())
    };
    let (one, two) = (["web.sim"], ["web.sim", "www.sim"]);
    let renew = [(RENEW_ANNOTATION, "1")];
    let revoke = [(RENEW_ANNOTATION, "1"), (REVOKE_ANNOTATION, "1")];
    vec![
        Step {
            name: "an identity is enrolled",
            act: Act::PutIssuer(Box::new(issuer())),
            who: identity,
            until: Some("Issue(Missing"),
        },
        step("a wish is served", put(&one, &[]), "Repair"),
        step(
            "a changed output is put back",
            Act::EditOutput("tls.key", b"junk"),
            "Repair(OutputChanged",
        ),
        step(
            "a deleted output is put back",
            Act::DeleteOutput,
            "Repair(OutputDeleted",
        ),
        step("a lost record is made again", Act::DeleteRecord, "Rebuild"),
        step("a restart finds nothing to do", Act::Restart, NOTHING),
        step(
            "a changed wish is served",
            put(&two, &[]),
            "Repair(OutputOutdated",
        ),
        step(
            "a CA that is down lets nobody renew",
            Act::Ca(Weather::Down),
            NOBODY,
        ),
        step("a renewal is asked for", put(&two, &renew), "Blocked(BackingOff"),
        step(
            "an output is put back all the same",
            Act::DeleteOutput,
            "Repair(OutputDeleted",
        ),
        step(
            "the CA is back and the renewal comes",
            Act::Ca(Weather::Fine),
            "Repair(OutputOutdated",
        ),
        step("a revocation is asked for", put(&two, &revoke), "Revoke"),
        step(
            "a deleted Certificate takes all with it",
            Act::DeleteCertificate,
            "Finalize(DeleteOutputs",
        ),
    ]
}

fn wish(names: &[&str]) -> CertificateSpec {
    let wish = json!({
        "issuerRef": {"name": ISSUER},
        "commonName": "web.sim",
        "dnsNames": names,
        "secretName": OUTPUT,
        "duration": "30d",
        "onDelete": "Delete",
    });
    serde_json::from_value(wish).expect("the wish of the scenario is well formed")
}

fn issuer() -> Issuer {
    let issuer: Value = json!({
        "apiVersion": API_VERSION,
        "kind": "Issuer",
        "metadata": {"name": ISSUER, "namespace": HOME},
        "spec": {
            "url": "http://ca.sim/cmp",
            "authentication": {
                "initial": {"mac": {
                    "referenceValue": MAC.0,
                    "secretRef": {"name": MAC_SECRET, "key": "secret"},
                    "iterations": 1000,
                }},
                "identity": {"commonName": "occm.sim", "duration": "30d"},
            },
            "trust": {"responses": {"configMapRef": {"name": TRUST, "key": "ca.pem"}}},
        },
    });
    serde_json::from_value(issuer).expect("the Issuer of the scenario is well formed")
}

/// The CA of the scenario.
///
/// # Errors
///
/// Only if it cannot be made.
pub fn ca(now: Timestamp) -> Result<DevCa, devca::Error> {
    let config = Config {
        name: "CA of the scenario".to_owned(),
        ..Config::default()
    };
    DevCa::new(config.with_secret(MAC.0, MAC.1), now)
}

/// The simulated control plane.
pub struct Simulated {
    driver: Mutex<Driver>,
    world: Arc<World>,
}

impl Simulated {
    /// A world without faults, in which one process runs, and the log of what it decides.
    ///
    /// # Errors
    ///
    /// Only if the CA cannot be made.
    pub fn new() -> Result<(Self, Log), devca::Error> {
        let faults = Fault::ALL.iter().copied().collect();
        let cas = vec![SimCa::new(ca(scene::start())?)];
        let world = World::new(1, scene::start(), cas, 1, Switchboard::new(faults, None));
        let log = Log::default();
        let mut driver = Driver::new(Arc::clone(&world), Scene::default(), Plant::None, 1);
        driver.listen(Arc::new(log.clone()));
        driver.begin();
        let driver = Mutex::new(driver);
        Ok((Self { driver, world }, log))
    }

    fn driver(&self) -> MutexGuard<'_, Driver> {
        self.driver.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put_certificate(&self, spec: &CertificateSpec, annotations: &BTreeMap<String, String>) {
        let key = ObjectKey::new(HOME, CERTIFICATE);
        let mut scene = Scene::default();
        scene.requests.insert(key.clone(), annotations.clone());
        scene.put_as(&self.world, &key, spec);
    }

    fn do_it(&self, act: &Act) {
        let people = &self.world.people;
        let (certificate, output) = (ObjectKey::new(HOME, CERTIFICATE), ObjectKey::new(HOME, OUTPUT));
        match act {
            Act::PutIssuer(issuer) => {
                let root = self.world.cas.first().map(|sim| sim.ca.root().to_pem());
                let root = pki::Secret::new(root.unwrap_or_default().into_bytes());
                people.put_config_map(&ObjectKey::new(HOME, TRUST), [("ca.pem".to_owned(), root)]);
                let secret = pki::Secret::new(MAC.1.as_bytes().to_vec());
                let key = ObjectKey::new(HOME, MAC_SECRET);
                people.put_secret(&key, "Opaque", [("secret".to_owned(), secret)], "people");
                people.put_issuer((**issuer).clone());
            }
            Act::PutCertificate(spec, annotations) => self.put_certificate(spec, annotations),
            Act::DeleteCertificate => people.delete_certificate(&certificate),
            Act::DeleteOutput => people.delete_secret(&output),
            Act::EditOutput(key, value) => people.edit_secret(&output, "people", |secret| {
                secret
                    .data
                    .insert((*key).to_owned(), pki::Secret::new(value.to_vec()));
            }),
            Act::DeleteRecord => people.delete_record(&Subject::Certificate(certificate)),
            Act::Ca(weather) => {
                if let Some(sim) = self.world.cas.first() {
                    sim.set_weather(*weather);
                }
            }
            Act::Restart => self.driver().start_anew(),
        }
    }
}

impl Place for Simulated {
    fn act<'a>(&'a self, act: &'a Act) -> BoxFuture<'a, ()> {
        self.do_it(act);
        Box::pin(std::future::ready(()))
    }

    fn moment(&self) -> BoxFuture<'_, ()> {
        let end = self.world.now() + SignedDuration::from_millis(100);
        self.driver().go_on_until(end);
        Box::pin(std::future::ready(()))
    }

    fn is_idle(&self) -> bool {
        self.driver().is_idle()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_scenario_comes_to_its_end_on_the_simulated_control_plane() {
        let (place, log) = Simulated::new().unwrap();
        let told = play(&place, &log).await.unwrap();
        println!("{}", told.join("\n"));
        assert!(told.len() >= 10, "{told:#?}");
    }
}
