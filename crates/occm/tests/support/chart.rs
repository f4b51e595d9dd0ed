//! The chart on a control plane: installed by the real helm, and the manager as its Deployment would run it.
#![allow(dead_code, unreachable_pub, missing_docs)]
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests only"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::Cluster;

const BIN: &str = env!("CARGO_BIN_EXE_occm");

/// Folder of the chart.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/chart")
}

/// Name of the release in tests, and so of its ServiceAccount, Deployment and Lease.
pub const RELEASE: &str = "occm";

/// Values of a model: shared if there are other namespaces.
pub fn model(others: &[&str]) -> Vec<String> {
    if others.is_empty() {
        return Vec::new();
    }
    vec![
        "--set=model=shared".to_owned(),
        format!("--set=namespaces={{{}}}", others.join(",")),
    ]
}

impl Cluster {
    /// Runs helm as administrator; its output, or its complaint.
    pub fn helm(&self, arguments: &[&str]) -> Result<String, String> {
        self.helm_as(self.text("kubeconfig"), arguments)
    }

    /// Runs helm as somebody.
    pub fn helm_as(&self, kubeconfig: &str, arguments: &[&str]) -> Result<String, String> {
        let home = tempfile::tempdir().expect("a directory");
        let output = Command::new(self.program("helm"))
            .args(arguments)
            .env("KUBECONFIG", kubeconfig)
            .env("HELM_CACHE_HOME", home.path())
            .env("HELM_CONFIG_HOME", home.path())
            .env("HELM_DATA_HOME", home.path())
            .output()
            .expect("helm runs");
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    /// Applies the objects of a YAML text as administrator.
    pub fn apply(&self, yaml: &str) {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), yaml).expect("a file");
        let path = file.path().to_string_lossy().into_owned();
        self.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", &path])
            .expect("the objects are taken");
    }

    /// Gives the chart's ServiceAccount with the chart's rights, and no more: `home` is occm's own namespace, `others`
    /// are managed too. For tests that start the manager without a Deployment. The namespaces must exist.
    pub fn rights(&self, home: &str, others: &[&str]) -> Account {
        let chart = folder().to_string_lossy().into_owned();
        let mut arguments = vec!["template", RELEASE, &chart, "--namespace", home];
        arguments.extend(["--show-only=templates/rbac.yaml"]);
        arguments.extend(["--show-only=templates/serviceaccount.yaml"]);
        let model = model(others);
        arguments.extend(model.iter().map(String::as_str));
        let objects = self.helm(&arguments).expect("the chart renders");
        self.apply(&objects);
        let account = Account::of(self, home, RELEASE);
        // The API server learns of new Roles a moment later.
        let all = [&[home], others].concat();
        let granted = |namespace: &&str| {
            let user = account.user();
            let question = [
                "auth",
                "can-i",
                "delete",
                "secrets",
                "--quiet",
                "--as",
                &user,
                "--namespace",
                namespace,
            ];
            self.kubectl(&question).is_ok()
        };
        let deadline = std::time::Instant::now() + super::PATIENCE;
        while !all.iter().all(granted) {
            assert!(
                std::time::Instant::now() < deadline,
                "the rights are granted in time"
            );
        }
        account
    }
}

/// A ServiceAccount with a token, and the kubeconfig of a process that is it.
pub struct Account {
    pub namespace: String,
    pub name: String,
    pub token: String,
    server: String,
    file: tempfile::NamedTempFile,
}

impl Account {
    pub fn of(cluster: &Cluster, namespace: &str, name: &str) -> Self {
        let token = cluster
            .kubectl(&["create", "token", name, "--namespace", namespace, "--duration=2h"])
            .expect("a token")
            .trim()
            .to_owned();
        let file = tempfile::NamedTempFile::new().expect("a file");
        let account = Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            token,
            server: cluster.text("server").to_owned(),
            file,
        };
        let ca = cluster.text("caFile").to_owned();
        account.write(&account.server, &ca);
        account
    }

    /// The same account behind another address of the API server, such as a proxy that tests cut.
    pub fn through(&self, cluster: &Cluster, server: &str) -> Self {
        let account = Self {
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            token: self.token.clone(),
            server: server.to_owned(),
            file: tempfile::NamedTempFile::new().expect("a file"),
        };
        account.write(server, cluster.text("caFile"));
        account
    }

    fn write(&self, server: &str, ca: &str) {
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": server, "certificate-authority": ca}}],
            "users": [{"name": "u", "user": {"token": self.token}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u", "namespace": self.namespace}}],
        });
        std::fs::write(self.file.path(), config.to_string()).expect("a file");
    }

    /// Path of the kubeconfig.
    pub fn kubeconfig(&self) -> &Path {
        self.file.path()
    }

    /// Name that the API server knows it by.
    pub fn user(&self) -> String {
        format!("system:serviceaccount:{}:{}", self.namespace, self.name)
    }

    /// Runs kubectl as this account; its output, or its complaint.
    pub fn kubectl(&self, cluster: &Cluster, arguments: &[&str]) -> Result<String, String> {
        let output = Command::new(cluster.program("kubectl"))
            .arg("--kubeconfig")
            .arg(self.kubeconfig())
            .args(arguments)
            .output()
            .expect("kubectl runs");
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }
}

/// A container of a Deployment or Pod that the API server has, as a command for this machine.
#[derive(Clone, Debug)]
pub struct Container {
    pub arguments: Vec<String>,
    pub environment: BTreeMap<String, String>,
}

impl Container {
    /// The manager's container of a release, as in the Pod of this uid.
    pub fn of_release(cluster: &Cluster, namespace: &str, pod_uid: &str) -> Self {
        let text = cluster
            .kubectl(&[
                "get",
                "deployment",
                RELEASE,
                "--namespace",
                namespace,
                "--output=json",
            ])
            .expect("the Deployment");
        let deployment: Value = serde_json::from_str(&text).expect("JSON");
        Self::of(
            &deployment["spec"]["template"]["spec"]["containers"][0],
            namespace,
            pod_uid,
        )
    }

    pub fn of(container: &Value, namespace: &str, pod_uid: &str) -> Self {
        let list = |value: &Value| -> Vec<String> {
            let all = value.as_array().map(Vec::as_slice).unwrap_or_default();
            all.iter().map(|one| one.as_str().unwrap().to_owned()).collect()
        };
        assert!(container["command"].is_null(), "the image's own program runs");
        let variables = container["env"].as_array().map(Vec::as_slice).unwrap_or_default();
        let environment = variables.iter().map(|variable| {
            let field = variable["valueFrom"]["fieldRef"]["fieldPath"].as_str();
            let value = match field {
                None => variable["value"].as_str().expect("a value"),
                Some("metadata.namespace") => namespace,
                Some("metadata.uid") => pod_uid,
                Some(other) => panic!("no kubelet here knows {other}"),
            };
            (variable["name"].as_str().unwrap().to_owned(), value.to_owned())
        });
        Self {
            environment: environment.collect(),
            arguments: list(&container["args"]),
        }
    }

    /// With a value changed that names a place on the machine.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// The container as a process of the real binary, with this account's token and nothing else of the environment.
    pub fn start(&self, account: &Account, log: &Path) -> Process {
        let mut command = Command::new(BIN);
        command.env_clear().args(&self.arguments).envs(&self.environment);
        command.env("KUBECONFIG", account.kubeconfig());
        Process::start(&mut command, log)
    }
}

/// A process that ends with its owner.
pub struct Process {
    pub child: Child,
}

impl Process {
    pub fn start(command: &mut Command, log: &Path) -> Self {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(log)
            .expect("a log");
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("the program starts");
        Self { child }
    }

    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let told = Command::new("kill").args([name, &pid]).status().unwrap();
        assert!(told.success(), "kill {name} {pid}");
    }

    /// Ends it without asking and waits until it is gone.
    pub fn kill(mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ended");
    }

    /// Asks it to stop; it must do so well.
    pub fn stop(mut self) {
        self.signal("-TERM");
        let status = self.child.wait().expect("it ends");
        assert!(status.success(), "{status}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
