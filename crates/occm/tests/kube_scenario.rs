//! One scripted scenario on the simulated and on a real control plane: the same decisions, by the same rules, in the same order.

#![cfg(all(feature = "kube", feature = "sim"))]
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests only"
)]

#[path = "support/cluster.rs"]
mod cluster;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64ct::{Base64, Encoding};
use cmp::{Native, Reached, Response, Transport, TransportError, TransportErrorKind};
use devca::InMemory;
use futures::future::{BoxFuture, FutureExt};
use jiff::Timestamp;
use occm::clock::Clock;
use occm::model::object::ObjectKey;
use occm::reconcile::manager::{Manager, Parts, Settings};
use occm::sim::scenario::{
    Act, CERTIFICATE, HOME, Log, MAC, MAC_SECRET, OUTPUT, Place, Simulated, TRUST, Weather, play,
};
use occm::store::Subject;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::cluster::{Cluster, cluster};

/// The way to the CA, which can be cut.
#[derive(Clone)]
struct Way {
    ca: Arc<InMemory>,
    down: Arc<AtomicBool>,
}

impl Transport for Way {
    fn post<'a>(&'a self, body: &'a [u8]) -> BoxFuture<'a, Result<Response, TransportError>> {
        if self.down.load(Ordering::SeqCst) {
            let kind = TransportErrorKind::Connect;
            let refused = TransportError::new(Reached::No, kind, "no connection");
            return std::future::ready(Err(refused)).boxed();
        }
        self.ca.post(body)
    }
}

/// The program on a real control plane.
struct Real {
    cluster: &'static Cluster,
    way: Way,
    root: String,
    log: Log,
    running: Mutex<Option<Running>>,
}

struct Running {
    manager: Arc<Manager>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Real {
    fn new(cluster: &'static Cluster) -> Self {
        let ca = occm::sim::scenario::ca(Timestamp::now()).unwrap();
        let root = ca.root().to_pem();
        let ca = InMemory::new(Arc::new(ca), Timestamp::now);
        Self {
            cluster,
            way: Way {
                ca: Arc::new(ca),
                down: Arc::default(),
            },
            root,
            log: Log::default(),
            running: Mutex::new(None),
        }
    }

    async fn start(&self) {
        let way = self.way.clone();
        let parts = Parts {
            store: Arc::new(self.cluster.store(&[HOME]).await),
            make_engine: Arc::new(move |_, _| Ok(Arc::new(Native::new(Arc::new(way.clone()))))),
            clock: Clock::system(),
            fence: Arc::new(|| true),
            observer: Arc::new(self.log.clone()),
            random: Arc::new(|| 0.5),
        };
        let manager = Arc::new(Manager::new(parts, Settings::new(HOME, "scenario")));
        let (stop, stopped) = watch::channel(false);
        let runs = Arc::clone(&manager);
        let task = tokio::spawn(async move { runs.run(stopped).await.unwrap() });
        *self.running.lock().unwrap() = Some(Running { manager, stop, task });
    }

    async fn stop(&self) {
        let running = self.running.lock().unwrap().take();
        if let Some(running) = running {
            running.stop.send_replace(true);
            running.task.await.unwrap();
        }
    }

    fn kubectl(&self, arguments: &[&str]) {
        self.cluster
            .kubectl(&[&["-n", HOME], arguments].concat())
            .unwrap();
    }

    fn apply(&self, object: &Value) {
        let file = tempfile::NamedTempFile::new().unwrap();
        serde_json::to_writer(&file, object).unwrap();
        self.kubectl(&["apply", "-f", file.path().to_str().unwrap()]);
    }

    fn put_issuer(&self, issuer: &Value) {
        self.apply(&json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": TRUST, "namespace": HOME}, "data": {"ca.pem": self.root},
        }));
        self.apply(&json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": MAC_SECRET, "namespace": HOME}, "stringData": {"secret": MAC.1},
        }));
        self.apply(issuer);
    }

    async fn do_it(&self, act: &Act) {
        match act {
            Act::PutIssuer(issuer) => self.put_issuer(&serde_json::to_value(issuer).unwrap()),
            Act::PutCertificate(spec, annotations) => self.apply(&json!({
                "apiVersion": "occm.dev/v1alpha1", "kind": "Certificate",
                "metadata": {"name": CERTIFICATE, "namespace": HOME, "annotations": annotations},
                "spec": serde_json::to_value(spec).unwrap(),
            })),
            Act::DeleteCertificate => {
                self.kubectl(&["delete", "certificates.occm.dev", CERTIFICATE, "--wait=false"]);
            }
            Act::DeleteOutput => self.kubectl(&["delete", "secret", OUTPUT]),
            Act::EditOutput(key, value) => {
                let patch = json!({"data": {*key: Base64::encode_string(value)}}).to_string();
                self.kubectl(&["patch", "secret", OUTPUT, "--type=merge", "-p", &patch]);
            }
            Act::DeleteRecord => {
                let subject = Subject::Certificate(ObjectKey::new(HOME, CERTIFICATE));
                self.kubectl(&["delete", "secret", &subject.record_name()]);
            }
            Act::Ca(weather) => self.way.down.store(*weather != Weather::Fine, Ordering::SeqCst),
            Act::Restart => {
                self.stop().await;
                self.start().await;
            }
        }
    }
}

impl Place for Real {
    fn act<'a>(&'a self, act: &'a Act) -> BoxFuture<'a, ()> {
        self.do_it(act).boxed()
    }

    fn moment(&self) -> BoxFuture<'_, ()> {
        tokio::time::sleep(Duration::from_millis(20)).boxed()
    }

    fn is_idle(&self) -> bool {
        let running = self.running.lock().unwrap();
        running.as_ref().is_some_and(|running| running.manager.is_idle())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scenario_leads_to_the_same_decisions_on_both_control_planes() {
    let Some(cluster) = cluster() else { return };
    cluster.install(occm::crd::crds()).await;
    cluster.namespace(HOME).await;
    let (simulated, log) = Simulated::new().unwrap();
    let expected = play(&simulated, &log).await.unwrap();
    let real = Real::new(cluster);
    real.start().await;
    let told = play(&real, &real.log).await.unwrap();
    real.stop().await;
    println!("{}", told.join("\n"));
    assert_eq!(told, expected);
}
