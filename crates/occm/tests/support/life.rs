//! A bed for a life-cycle test: namespaces of its own, a ServiceAccount with the documented rights, a CA and the real
//! `occm serve` as processes.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests only"
)]
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::Client;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::cluster::{Cluster, cluster, until};
use crate::support::{BIN, Ca, SECRET, condition, issuer_yaml, reason};

/// Release of the chart whose rights the manager has, and so the name of its ServiceAccount.
const ACCOUNT: &str = "occm";

/// Namespaces, a CA, and the manager when it runs.
pub(crate) struct Bed {
    pub(crate) cluster: &'static Cluster,
    /// Of an administrator.
    pub(crate) client: Client,
    /// occm's own namespace.
    pub(crate) home: String,
    /// The other managed namespaces.
    pub(crate) others: Vec<String>,
    pub(crate) ca: Ca,
    /// Roles and bindings of the chart.
    rights: Vec<Value>,
    manager: Option<Child>,
    dir: tempfile::TempDir,
    /// Where the log of the running manager begins.
    log_begins: u64,
    /// Without the decisions in the log, as shipped.
    pub(crate) quiet: bool,
}

impl Bed {
    /// A bed with an Issuer `ca` in the namespace `name`. No manager runs yet. `None` = skipped, which was said.
    pub(crate) async fn new(name: &str) -> Option<Self> {
        Self::with(name, &[], Ca::start("{}"), "").await
    }

    /// With more managed namespaces, this CA and more lines in the Issuer's spec.
    pub(crate) async fn with(name: &str, others: &[&str], ca: Ca, issuer: &str) -> Option<Self> {
        static INSTALLED: OnceCell<()> = OnceCell::const_new();
        let cluster = cluster()?;
        INSTALLED
            .get_or_init(async || cluster.install(occm::crd::crds()).await)
            .await;
        let bed = Self {
            cluster,
            client: cluster.client().await,
            home: name.to_owned(),
            others: others.iter().map(|other| (*other).to_owned()).collect(),
            ca,
            rights: rights(cluster, name, others),
            manager: None,
            dir: tempfile::tempdir().unwrap(),
            log_begins: 0,
            quiet: false,
        };
        bed.make_namespaces().await;
        let token = bed.token(3600).await;
        bed.write_token(&token);
        bed.write_kubeconfig(cluster.instance["server"].as_str().unwrap());
        bed.apply(&issuer_yaml(&bed.ca, SECRET, issuer)).await;
        Some(bed)
    }

    /// The namespaces, and the rights of the ServiceAccount in them.
    pub(crate) async fn make_namespaces(&self) {
        for namespace in self.namespaces() {
            self.cluster.namespace(&namespace).await;
            self.grant(&namespace).await;
        }
    }

    /// All managed namespaces.
    pub(crate) fn namespaces(&self) -> Vec<String> {
        std::iter::once(&self.home).chain(&self.others).cloned().collect()
    }

    /// Gives the ServiceAccount its rights in a namespace; in the own one it is made, too.
    pub(crate) async fn grant(&self, namespace: &str) {
        let own = namespace == self.home;
        if own {
            let account =
                json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT}});
            self.put(namespace, &account).await;
        }
        for object in &self.rights {
            if object["metadata"]["namespace"] == namespace {
                self.put(namespace, object).await;
            }
        }
    }

    /// A token of the ServiceAccount.
    pub(crate) async fn token(&self, seconds: i64) -> String {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), &self.home);
        let request = TokenRequest {
            spec: TokenRequestSpec {
                expiration_seconds: Some(seconds),
                ..Default::default()
            },
            ..Default::default()
        };
        let made = accounts
            .create_token_request(ACCOUNT, &PostParams::default(), &request)
            .await;
        made.unwrap().status.unwrap().token
    }

    /// The file that the manager reads its token from.
    pub(crate) fn write_token(&self, token: &str) {
        let temporary = self.dir.path().join("token.new");
        std::fs::write(&temporary, token).unwrap();
        std::fs::rename(temporary, self.dir.path().join("token")).unwrap();
    }

    /// Says at which URL the manager finds the API server.
    pub(crate) fn write_kubeconfig(&self, server: &str) {
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "manager",
            "clusters": [{"name": "test", "cluster": {
                "server": server, "certificate-authority": self.cluster.instance["caFile"],
            }}],
            "users": [{"name": "manager", "user": {"tokenFile": self.dir.path().join("token")}}],
            "contexts": [{"name": "manager", "context": {"cluster": "test", "user": "manager", "namespace": self.home}}],
        });
        std::fs::write(self.kubeconfig(), config.to_string()).unwrap();
    }

    /// The manager's kubeconfig.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.dir.path().join("kubeconfig")
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    /// What the manager logged.
    pub(crate) fn log_text(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// Whether the manager that runs has logged this.
    pub(crate) fn logged(&self, text: &str) -> bool {
        let mut log = std::fs::File::open(self.log()).unwrap();
        let mut told = String::new();
        log.seek(SeekFrom::Start(self.log_begins)).unwrap();
        log.read_to_string(&mut told).unwrap();
        told.contains(text)
    }

    /// Starts the manager.
    pub(crate) fn start(&mut self) {
        self.start_with(&[]);
    }

    /// Starts the manager with more arguments.
    pub(crate) fn start_with(&mut self, arguments: &[&str]) {
        assert!(self.manager.is_none());
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log())
            .unwrap();
        self.log_begins = log.metadata().unwrap().len();
        let level = if self.quiet { "info" } else { "info,occm=debug" };
        let mut command = Command::new(BIN);
        command
            .env("KUBECONFIG", self.kubeconfig())
            .env_remove("KUBERNETES_SERVICE_HOST")
            .env_remove("OCCM_STORE")
            .args(["--log-level", level, "serve", "--namespace", &self.home]);
        if !self.others.is_empty() {
            command.args(["--namespaces", &self.others.join(",")]);
        }
        // As the Pod's uid does, it stays the same when the container starts again.
        command
            .args(["--holder", &format!("{}-pod", self.home)])
            .args(arguments);
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        self.manager = Some(child.unwrap());
    }

    /// Process of the manager.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.manager.as_ref().map(Child::id)
    }

    /// Sends the manager a signal.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.pid().expect("the manager runs").to_string();
        let told = Command::new("kill").args([name, &pid]).status().unwrap();
        assert!(told.success(), "kill {name} {pid}");
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.manager.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// SIGTERM, and waits for a clean end.
    pub(crate) fn stop(&mut self) {
        let mut child = self.manager.take().expect("the manager runs");
        let pid = child.id().to_string();
        let told = Command::new("kill").args(["-TERM", &pid]).status().unwrap();
        assert!(told.success());
        let status = child.wait().unwrap();
        assert!(status.success(), "the manager ended with {status}");
    }

    /// Applies objects to occm's own namespace.
    pub(crate) async fn apply(&self, yaml: &str) {
        self.apply_in(&self.home, yaml).await;
    }

    /// Applies objects to a namespace.
    pub(crate) async fn apply_in(&self, namespace: &str, yaml: &str) {
        for document in documents(yaml) {
            self.put(namespace, &document).await;
        }
    }

    /// Applies one object.
    pub(crate) async fn put(&self, namespace: &str, object: &Value) {
        let name = object["metadata"]["name"].as_str().unwrap();
        let parameters = PatchParams::apply("test").force();
        let api = self.api(namespace, object["kind"].as_str().unwrap());
        if let Err(error) = api.patch(name, &parameters, &Patch::Apply(object)).await {
            panic!("{namespace}/{name}: {error}");
        }
    }

    /// Objects of a kind.
    pub(crate) fn api(&self, namespace: &str, kind: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), namespace, &resource(kind))
    }

    /// Secrets of occm's own namespace.
    pub(crate) fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &self.home)
    }

    /// Secrets of a namespace.
    pub(crate) fn secrets_of(&self, namespace: &str) -> Api<Secret> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// An object of occm's own namespace as it is.
    pub(crate) async fn get(&self, kind: &str, name: &str) -> Option<Value> {
        self.get_in(&self.home, kind, name).await
    }

    /// An object as it is.
    pub(crate) async fn get_in(&self, namespace: &str, kind: &str, name: &str) -> Option<Value> {
        let found = self.api(namespace, kind).get_opt(name).await.unwrap()?;
        Some(serde_json::to_value(found).unwrap())
    }

    /// Waits until an object of occm's own namespace is as `wanted`.
    pub(crate) async fn wait(
        &self,
        what: &str,
        kind: &str,
        name: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        let (home, what) = (self.home.clone(), format!("{kind} {name}: {what}"));
        self.wait_in(&home, &what, kind, name, wanted).await
    }

    /// Waits until an object is as `wanted`.
    pub(crate) async fn wait_in(
        &self,
        namespace: &str,
        what: &str,
        kind: &str,
        name: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        let mut found = Value::Null;
        until(what, async || {
            found = self.get_in(namespace, kind, name).await.unwrap_or_default();
            wanted(&found)
        })
        .await;
        found
    }

    /// Waits until a Certificate is ready; gives its status.
    pub(crate) async fn ready(&self, name: &str) -> Value {
        let ready = |found: &Value| condition(&found["status"], "Ready") == "True";
        self.wait("is ready", "Certificate", name, ready).await["status"].clone()
    }

    /// Waits until a Certificate is ready in this revision; gives its status.
    pub(crate) async fn revision(&self, name: &str, revision: u64) -> Value {
        let wanted = |found: &Value| {
            found["status"]["revision"].as_u64() == Some(revision)
                && condition(&found["status"], "Ready") == "True"
        };
        let what = format!("is ready in revision {revision}");
        self.wait(&what, "Certificate", name, wanted).await["status"].clone()
    }

    /// Waits until a condition has this reason; gives its message.
    pub(crate) async fn told(&self, name: &str, kind: &str, why: &str) -> String {
        let wanted = |found: &Value| reason(&found["status"], kind) == why;
        let found = self
            .wait(&format!("{kind} says {why}"), "Certificate", name, wanted)
            .await;
        let all = found["status"]["conditions"].as_array().unwrap();
        let found = all.iter().find(|one| one["type"] == kind).unwrap();
        found["message"].as_str().unwrap().to_owned()
    }

    /// Waits for an Event with this reason about an object whose note has `text` in it; gives the note.
    pub(crate) async fn event(&self, name: &str, why: &str, text: &str) -> String {
        let mut note = String::new();
        until(
            &format!("an Event {why} about {name} with {text:?}"),
            async || {
                let events = self.events(name).await;
                let found = events.iter().find(|event| {
                    event["reason"] == why && event["note"].as_str().unwrap_or_default().contains(text)
                });
                note = found
                    .map(|event| event["note"].as_str().unwrap().to_owned())
                    .unwrap_or_default();
                found.is_some()
            },
        )
        .await;
        note
    }

    /// All Events about an object of occm's own namespace.
    pub(crate) async fn events(&self, name: &str) -> Vec<Value> {
        let listed = self
            .api(&self.home, "Event")
            .list(&ListParams::default())
            .await
            .unwrap();
        let events = listed
            .items
            .into_iter()
            .map(|event| serde_json::to_value(event).unwrap());
        events
            .filter(|event| event["regarding"]["name"] == name)
            .collect()
    }

    /// Asks for something by an annotation.
    pub(crate) async fn annotate(&self, name: &str, annotation: &str, token: &str) {
        let patch = json!({"metadata": {"annotations": {annotation: token}}});
        let certificates = self.api(&self.home, "Certificate");
        certificates
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .unwrap();
    }

    /// Somebody else writes into a Secret; gives it as it is then.
    pub(crate) async fn meddle(&self, name: &str, who: &str, patch: Value) -> Secret {
        let parameters = PatchParams {
            field_manager: Some(who.to_owned()),
            ..Default::default()
        };
        self.secrets()
            .patch(name, &parameters, &Patch::Merge(patch))
            .await
            .unwrap()
    }

    /// Somebody deletes a Secret.
    pub(crate) async fn delete_secret(&self, name: &str) {
        self.secrets()
            .delete(name, &DeleteParams::default())
            .await
            .unwrap();
    }

    /// Waits until a Secret carries exactly this content again; gives it.
    pub(crate) async fn back(&self, name: &str, as_it_was: &Secret) -> Secret {
        let mut found = None;
        until(&format!("{name} is back as it was"), async || {
            found = self.secrets().get_opt(name).await.unwrap();
            found.as_ref().is_some_and(|now| same_content(now, as_it_was))
        })
        .await;
        found.unwrap()
    }

    /// A Secret of occm's own namespace.
    pub(crate) async fn secret(&self, name: &str) -> Secret {
        self.secrets().get(name).await.unwrap()
    }

    /// How many certificates the CA has issued for this name.
    pub(crate) fn issued(&self, name: &str) -> usize {
        self.ca.issued_for(name).len()
    }

    /// How many certificates the CA has issued in all, that of the identity included.
    pub(crate) fn issued_in_all(&self) -> usize {
        self.ca.ledger().len()
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        let ended = self.manager.as_mut().and_then(|child| child.try_wait().unwrap());
        if let Some(ended) = ended {
            println!("--- the manager of {} ended by itself: {ended}", self.home);
        }
        self.kill();
        if std::thread::panicking() {
            let log = self.log_text();
            let told = |line: &&str| !line.contains("idle connection");
            let lines: Vec<&str> = log.lines().filter(told).collect();
            let from = lines.len().saturating_sub(100);
            println!(
                "--- log of the manager of {}\n{}",
                self.home,
                lines[from..].join("\n")
            );
        }
    }
}

/// Where the API server keeps a kind.
pub(crate) fn resource(kind: &str) -> ApiResource {
    let (group, version, plural) = match kind {
        "Issuer" => ("occm.dev", "v1alpha1", "issuers"),
        "Certificate" => ("occm.dev", "v1alpha1", "certificates"),
        "Secret" => ("", "v1", "secrets"),
        "ConfigMap" => ("", "v1", "configmaps"),
        "ServiceAccount" => ("", "v1", "serviceaccounts"),
        "Role" => ("rbac.authorization.k8s.io", "v1", "roles"),
        "RoleBinding" => ("rbac.authorization.k8s.io", "v1", "rolebindings"),
        "Event" => ("events.k8s.io", "v1", "events"),
        "Lease" => ("coordination.k8s.io", "v1", "leases"),
        other => panic!("unknown kind {other}"),
    };
    let api_version = match group {
        "" => version.to_owned(),
        group => format!("{group}/{version}"),
    };
    ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version,
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    }
}

/// What the chart grants to a manager of these namespaces.
fn rights(cluster: &Cluster, home: &str, others: &[&str]) -> Vec<Value> {
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/chart");
    let mut helm = Command::new(cluster.program("helm"));
    helm.args(["template", ACCOUNT]).arg(chart);
    helm.args(["--namespace", home, "--show-only=templates/rbac.yaml"]);
    if !others.is_empty() {
        helm.arg(format!("--set=model=shared,namespaces={{{}}}", others.join(",")));
    }
    let rendered = helm.output().expect("helm runs");
    let complaint = String::from_utf8_lossy(&rendered.stderr);
    assert!(rendered.status.success(), "{complaint}");
    documents(&String::from_utf8(rendered.stdout).unwrap())
}

/// The documents of a YAML text.
pub(crate) fn documents(yaml: &str) -> Vec<Value> {
    let texts = yaml.split("\n---\n").filter(|text| !text.trim().is_empty());
    texts.map(|text| serde_saphyr::from_str(text).unwrap()).collect()
}

/// Whether two Secrets have the same type and data.
pub(crate) fn same_content(a: &Secret, b: &Secret) -> bool {
    a.data == b.data && a.type_ == b.type_
}

/// The bytes of a key of a Secret.
pub(crate) fn bytes(secret: &Secret, key: &str) -> Vec<u8> {
    let data = secret.data.as_ref().and_then(|data| data.get(key));
    data.map(|bytes| bytes.0.clone()).unwrap_or_default()
}

/// What is wrong with a Secret of type `kubernetes.io/tls`, if anything.
pub(crate) fn fault(secret: &Secret) -> Option<String> {
    for (key, value) in secret.data.iter().flatten() {
        if value.0.is_empty() {
            return Some(format!("{key} is empty"));
        }
    }
    let key = match pki::PrivateKey::from_bytes(&bytes(secret, "tls.key")) {
        Ok(key) => key,
        Err(error) => return Some(format!("tls.key: {error}")),
    };
    match pki::parse_certificates(&bytes(secret, "tls.crt")) {
        Ok(chain) if chain.first().is_some_and(|leaf| leaf.matches_key(&key)) => None,
        Ok(_) => Some("tls.key does not belong to tls.crt".to_owned()),
        Err(error) => Some(format!("tls.crt: {error}")),
    }
}

/// Waits a moment in which nothing may happen, and checks `stays` all the while.
pub(crate) async fn meanwhile(what: &str, time: Duration, mut stays: impl AsyncFnMut() -> bool) {
    let end = std::time::Instant::now() + time;
    while std::time::Instant::now() < end {
        assert!(stays().await, "{what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A file for a process that wants one.
pub(crate) fn file(dir: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}
