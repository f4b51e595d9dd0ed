//! The scene: two CAs, two Issuers, and Certificates of every kind.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use devca::{Config, DevCa};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::model::certificate::{Certificate, CertificateSpec};
use crate::model::issuer::Issuer;
use crate::model::object::{API_VERSION, Metadata, ObjectKey};
use crate::model::plan::{CertificatePlan, InputKind, InputRef};
use crate::sim::ca::SimCa;
use crate::sim::history::{WishFacts, WishNote};
use crate::sim::world::World;
use crate::store::Subject;

/// occm's own namespace in the simulation.
pub const HOME: &str = "occm";
/// Names of the Issuers; the first has a CMP identity, the second has none.
pub(crate) const ISSUERS: [&str; 2] = ["ca-a", "ca-b"];
const MAC_SECRET: &str = "a shared secret of the simulation";

/// What kind of run it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Certificates of every kind, with short lives.
    Mixed,
    /// Many certificates alike, with a rate limit.
    Fleet {
        /// Requests in a second.
        rate: u32,
    },
}

/// The wishes as people keep them.
#[derive(Debug, Default)]
pub(crate) struct Scene {
    pub(crate) wishes: BTreeMap<ObjectKey, CertificateSpec>,
    pub(crate) requests: BTreeMap<ObjectKey, BTreeMap<String, String>>,
    pub(crate) rate: Option<u32>,
    /// How many Certificates there are, with those that are left out.
    pub(crate) total: usize,
}

/// Makes the CAs.
pub(crate) fn cas(now: Timestamp) -> Result<Vec<SimCa>, devca::Error> {
    let ca = |name: &str| {
        let config = Config {
            name: format!("{name} of the simulation"),
            ..Config::default()
        };
        DevCa::new(config.with_secret("4711", MAC_SECRET), now).map(SimCa::new)
    };
    Ok(vec![ca("A")?, ca("B")?])
}

/// The Certificate of this number.
pub(crate) fn certificate(number: usize) -> ObjectKey {
    ObjectKey::new(HOME, format!("c{number:05}"))
}

/// The number of the CA that an Issuer stands for.
pub(crate) fn ca_of(issuer: &ObjectKey) -> usize {
    ISSUERS.iter().position(|name| *name == issuer.name).unwrap_or(0)
}

impl Scene {
    /// Puts everything in place; of the Certificates only those of `keep`, if it is given.
    pub(crate) fn set(world: &Arc<World>, kind: Kind, total: usize, keep: Option<&BTreeSet<usize>>) -> Self {
        let rate = match kind {
            Kind::Mixed => Some(2),
            Kind::Fleet { rate } => Some(rate),
        };
        let mut scene = Self {
            rate,
            total,
            ..Self::default()
        };
        for (number, name) in ISSUERS.iter().enumerate() {
            put_inputs(world, number);
            world.people.put_issuer(issuer(name, rate));
        }
        for number in (0..total).filter(|number| keep.is_none_or(|keep| keep.contains(number))) {
            let key = certificate(number);
            let spec = match kind {
                Kind::Mixed => spec(number),
                Kind::Fleet { .. } => fleet_spec(number),
            };
            scene.wishes.insert(key.clone(), spec);
            scene.put(world, &key);
        }
        scene
    }

    /// Writes a wish, as people keep it, into the store.
    pub(crate) fn put(&self, world: &Arc<World>, key: &ObjectKey) {
        let Some(spec) = self.wishes.get(key) else { return };
        self.put_as(world, key, spec);
    }

    /// Writes another wish into the store.
    pub(crate) fn put_as(&self, world: &Arc<World>, key: &ObjectKey, spec: &CertificateSpec) {
        let requests = self.requests.get(key).cloned().unwrap_or_default();
        put(world, key.clone(), spec.clone(), requests);
    }

    /// Deletes a Certificate object.
    pub(crate) fn delete(&self, world: &World, key: &ObjectKey) {
        note_wish(world, key, None);
        world.people.delete_certificate(key);
    }
}

/// Puts a wish in place; one that is still being deleted has to be gone first.
fn put(world: &Arc<World>, key: ObjectKey, spec: CertificateSpec, requests: BTreeMap<String, String>) {
    if world.people.is_going(&key) {
        let (later, again) = (Arc::clone(world), SignedDuration::from_secs(20));
        world
            .clockwork
            .run_after(again, move || put(&later, key, spec, requests));
        return;
    }
    let plan = CertificatePlan::check(key.clone(), &spec, HOME).ok();
    let wish = plan.map(|plan| WishFacts::of(&plan, &requests));
    note_wish(world, &key, wish);
    world.people.put_certificate(Certificate {
        api_version: API_VERSION.to_owned(),
        kind: "Certificate".to_owned(),
        metadata: Metadata {
            namespace: key.namespace.to_string(),
            name: key.name.to_string(),
            annotations: requests,
            ..Metadata::default()
        },
        spec,
        status: None,
    });
}

fn note_wish(world: &World, key: &ObjectKey, wish: Option<WishFacts>) {
    let (at, subject) = (world.now(), Subject::Certificate(key.clone()));
    let text = match &wish {
        Some(wish) => format!(
            "wish {} from {}",
            wish.hash.to_hex().get(..8).unwrap_or_default(),
            wish.issuer.name
        ),
        None => "no usable wish".to_owned(),
    };
    let mut history = world.history();
    history.tell(at, Some(subject.clone()), text);
    history
        .wishes
        .entry(subject)
        .or_default()
        .push(WishNote { at, wish });
}

/// Trust and secret of an Issuer.
pub(crate) fn put_inputs(world: &World, number: usize) {
    let (Some(name), Some(sim)) = (ISSUERS.get(number), world.cas.get(number)) else {
        return;
    };
    let root = sim.ca.root().to_pem().into_bytes();
    world.people.put_config_map(
        &trust(name).object,
        [("ca.pem".to_owned(), pki::Secret::new(root))],
    );
    let secret = [(
        "secret".to_owned(),
        pki::Secret::new(MAC_SECRET.as_bytes().to_vec()),
    )];
    world.people.put_secret(&mac(name), "Opaque", secret, "people");
}

/// Where the trust anchors of an Issuer lie.
pub(crate) fn trust(issuer: &str) -> InputRef {
    InputRef {
        kind: InputKind::ConfigMap,
        object: ObjectKey::new(HOME, format!("{issuer}-trust")),
    }
}

/// Where the shared secret of an Issuer lies.
pub(crate) fn mac(issuer: &str) -> ObjectKey {
    ObjectKey::new(HOME, format!("{issuer}-mac"))
}

fn issuer(name: &str, rate: Option<u32>) -> Issuer {
    let identity = (name == "ca-a").then(|| json!({"commonName": "occm.sim", "duration": "18d"}));
    let requests = if name == "ca-a" {
        json!({"ratePerSecond": rate})
    } else {
        json!({"ratePerSecond": rate, "enrolment": "P10CR", "confirmation": "Implicit"})
    };
    let text = json!({
        "apiVersion": API_VERSION,
        "kind": "Issuer",
        "metadata": {"name": name, "namespace": HOME},
        "spec": {
            "url": format!("http://{name}.sim/cmp"),
            "authentication": {
                "initial": {"mac": {
                    "referenceValue": "4711",
                    "secretRef": {"name": mac(name).name, "key": "secret"},
                    "iterations": 100,
                }},
                "identity": identity,
            },
            "trust": {"responses": {"configMapRef": {"name": trust(name).object.name, "key": "ca.pem"}}},
            "requests": requests,
        },
    });
    serde_json::from_value(text).expect("the Issuer of the simulation is well formed")
}

/// Certificates of ten kinds, one after the other.
fn spec(number: usize) -> CertificateSpec {
    let name = format!("c{number:05}");
    let mut wish = json!({
        "issuerRef": {"name": if number % 3 == 2 { "ca-b" } else { "ca-a" }},
        "commonName": name,
        "dnsNames": [format!("{name}.sim")],
        "secretName": format!("tls-{name}"),
    });
    let more = match number % 10 {
        0 => json!({"duration": "24h"}),
        1 => json!({"duration": "7d", "renewBefore": "2d"}),
        2 => json!({"duration": "30d", "onDrift": "Reissue"}),
        3 => json!({"duration": "90d", "outputs": [{
            "secret": {"name": format!("parts-{name}")},
            "keys": {"key.pem": {"part": "Key"}, "chain.pem": {"part": "CertificateAndChain"}},
        }]}),
        4 => json!({"duration": "36h", "privateKey": {"rotationPolicy": "Never"}}),
        5 => json!({"duration": "12h", "renewBeforePercentage": 40}),
        6 => json!({"duration": "14d", "existing": "Replace"}),
        7 => json!({"duration": "60d", "keepCopy": false}),
        8 => json!({"duration": "3d", "existing": "Adopt"}),
        _ => json!({"duration": "21d", "onDrift": "Alert", "secretTemplate": {"labels": {"team": "sim"}}}),
    };
    if let (Some(wish), Some(more)) = (wish.as_object_mut(), more.as_object()) {
        wish.extend(more.clone());
    }
    serde_json::from_value(wish).expect("the wishes of the simulation are well formed")
}

fn fleet_spec(number: usize) -> CertificateSpec {
    let name = format!("c{number:05}");
    let wish = json!({
        "issuerRef": {"name": "ca-a"},
        "commonName": name,
        "dnsNames": [format!("{name}.sim")],
        "secretName": format!("tls-{name}"),
        "duration": "10d",
    });
    serde_json::from_value(wish).expect("the wishes of the simulation are well formed")
}

/// Where a run starts in time.
pub(crate) fn start() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap_or(Timestamp::UNIX_EPOCH)
}
