//! A real control plane for one test program: brought up at first use, taken down when the program ends.
//!
//! It comes from `xtask kube up`, whose path the environment gives (`OCCM_XTASK`, set by `cargo xtask test`).

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests only"
)]
#![allow(dead_code, reason = "each test program uses a part of it")]

#[path = "chart.rs"]
pub(crate) mod chart;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use occm::clock::Clock;
use occm::store::kube::{KubeSettings, KubeStore};

/// Longest wait for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A control plane.
pub(crate) struct Cluster {
    xtask: PathBuf,
    name: String,
    /// What `xtask kube up --json` told.
    pub(crate) instance: Value,
}

/// The control plane of this test program; `None` = the test is skipped, which was said.
pub(crate) fn cluster() -> Option<&'static Cluster> {
    cluster_with(&[])
}

/// The same, brought up with these arguments too.
pub(crate) fn cluster_with(more: &[&str]) -> Option<&'static Cluster> {
    static CLUSTER: OnceLock<Result<Cluster, String>> = OnceLock::new();
    match CLUSTER.get_or_init(|| Cluster::up(more)) {
        Ok(cluster) => Some(cluster),
        Err(why) if std::env::var("CI").is_ok_and(|ci| ci == "true") => panic!("no control plane: {why}"),
        Err(why) => {
            println!("skipped: {why}");
            None
        }
    }
}

impl Cluster {
    fn up(more: &[&str]) -> Result<Self, String> {
        let xtask = std::env::var_os("OCCM_XTASK")
            .map(PathBuf::from)
            .ok_or("OCCM_XTASK does not name the xtask program; run `cargo xtask test`")?;
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let program = program
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let name = format!(
            "{}-{}",
            program.get(..program.len().min(20)).unwrap_or("test"),
            std::process::id()
        );
        let owner = std::process::id().to_string();
        let mut command = Command::new(&xtask);
        command
            .args(["kube", "up", "--json", "--name", &name, "--owner", &owner])
            .args(more);
        // What the manager asks for in all tests is compared with the chart's rights afterwards.
        if let Some(folder) = std::env::var_os("OCCM_AUDIT") {
            let log = PathBuf::from(folder).join(format!("{name}.jsonl"));
            command.arg("--audit-log").arg(log);
        }
        let output = command
            .output()
            .map_err(|error| format!("{}: {error}", xtask.display()))?;
        if !output.status.success() {
            return Err(format!(
                "xtask kube up: {}",
                String::from_utf8_lossy(&output.stderr)
            ));
        }
        let instance = serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())?;
        Ok(Self {
            xtask,
            name,
            instance,
        })
    }

    pub(crate) fn text(&self, field: &str) -> &str {
        self.instance[field].as_str().expect("xtask tells it")
    }

    /// Path of a file of the control plane's programs.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        PathBuf::from(self.text("assets")).join(name)
    }

    /// Runs kubectl as administrator; its output, or its complaint.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Result<String, String> {
        let output = Command::new(self.program("kubectl"))
            .args(["--kubeconfig", self.text("kubeconfig")])
            .args(arguments)
            .output()
            .expect("kubectl runs");
        let (out, err) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        if output.status.success() {
            Ok(out.into_owned())
        } else {
            Err(err.into_owned())
        }
    }

    /// Stops or starts a component: `etcd` or `apiserver`.
    pub(crate) fn component(&self, action: &str, component: &str, more: &[&str]) {
        let status = Command::new(&self.xtask)
            .args(["kube", action, "--name", &self.name, "--component", component])
            .args(more)
            .status()
            .expect("xtask runs");
        assert!(status.success(), "xtask kube {action} {component}");
    }

    /// Process of a component.
    pub(crate) fn pid(&self, component: &str) -> u32 {
        let output = Command::new(&self.xtask)
            .args(["kube", "status", "--json", "--name", &self.name])
            .output()
            .expect("xtask runs");
        let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let instance = if told.is_array() { &told[0] } else { &told };
        let components = instance["components"].as_array().expect("components");
        let found = components
            .iter()
            .find(|one| one["name"] == component)
            .expect("the component");
        found["process"]["pid"]
            .as_u64()
            .expect("a pid")
            .try_into()
            .expect("a pid")
    }

    /// URL of etcd.
    pub(crate) fn etcd(&self) -> &str {
        self.text("etcd")
    }

    /// Configuration of an administrator.
    pub(crate) async fn config(&self) -> kube::Config {
        let file = Kubeconfig::read_from(self.text("kubeconfig")).expect("a kubeconfig");
        let config = kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await;
        config.expect("a usable kubeconfig")
    }

    /// Client of an administrator.
    pub(crate) async fn client(&self) -> kube::Client {
        kube::Client::try_from(self.config().await).expect("a client")
    }

    /// Configuration of the chart's ServiceAccount in the first of these namespaces, with the chart's rights in all.
    /// Namespaces that do not exist are made.
    pub(crate) async fn manager_config(&self, namespaces: &[&str]) -> kube::Config {
        static KNOWN: Mutex<BTreeMap<Vec<String>, kube::Config>> = Mutex::const_new(BTreeMap::new());
        let mut known = KNOWN.lock().await;
        let names: Vec<String> = namespaces.iter().map(|name| (*name).to_owned()).collect();
        if let Some(config) = known.get(&names) {
            return config.clone();
        }
        for name in namespaces {
            let _ = self.kubectl(&["create", "namespace", name]);
        }
        let (home, others) = namespaces.split_first().expect("a namespace");
        let account = self.rights(home, others);
        let file = Kubeconfig::read_from(account.kubeconfig()).expect("a kubeconfig");
        let config = kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await;
        let config = config.expect("a usable kubeconfig");
        known.insert(names, config.clone());
        config
    }

    /// A store of the manager, with the chart's rights.
    pub(crate) async fn store(&self, namespaces: &[&str]) -> KubeStore {
        let settings = KubeSettings::new(namespaces.iter().copied(), "test");
        let config = self.manager_config(namespaces).await;
        KubeStore::new(&config, settings, Clock::system()).expect("a store")
    }

    /// A new namespace.
    pub(crate) async fn namespace(&self, name: &str) {
        let api: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(self.client().await);
        let namespace = serde_json::from_value(json!({"metadata": {"name": name}})).expect("a namespace");
        api.create(&PostParams::default(), &namespace)
            .await
            .expect("a namespace is made");
    }

    /// Installs these definitions and waits until they are served.
    pub(crate) async fn install(&self, crds: Vec<Value>) {
        let api: Api<CustomResourceDefinition> = Api::all(self.client().await);
        for crd in crds {
            let name = crd["metadata"]["name"].as_str().expect("a name").to_owned();
            let parameters = PatchParams::apply("test").force();
            api.patch(&name, &parameters, &Patch::Apply(&crd))
                .await
                .expect("the definition is accepted");
            until("the definition is served", async || {
                let now = api.get(&name).await.expect("the definition");
                let conditions = now
                    .status
                    .and_then(|status| status.conditions)
                    .unwrap_or_default();
                let holds = |kind: &str| {
                    conditions
                        .iter()
                        .any(|one| one.type_ == kind && one.status == "True")
                };
                holds("Established") && holds("NamesAccepted")
            })
            .await;
        }
        // Established comes a moment before the endpoint.
        for plural in ["issuers", "certificates"] {
            until("the endpoint is served", async || {
                self.kubectl(&["get", "--raw", &format!("/apis/occm.dev/v1alpha1/{plural}")])
                    .is_ok()
            })
            .await;
        }
    }

    /// Deletes a namespace and waits for nothing.
    pub(crate) async fn delete_namespace(&self, name: &str) {
        let api: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(self.client().await);
        api.delete(name, &DeleteParams::default())
            .await
            .expect("the namespace is deleted");
    }
}

/// Waits for a condition.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("in time: {what}"));
}
