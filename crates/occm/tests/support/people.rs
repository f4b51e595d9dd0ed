//! What people have: a cluster with the manager, a CA, kubectl, the program itself.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests only"
)]
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::cluster::chart::Account;
use crate::cluster::{Cluster, cluster};
use crate::support::{BIN, Ca, SECRET, condition, wait_for};

/// A cluster with the definitions, namespaces, a CA and a running manager with the chart's rights; people have those of an
/// administrator.
pub(crate) struct People {
    pub(crate) cluster: &'static Cluster,
    pub(crate) home: String,
    pub(crate) ca: Ca,
    pub(crate) dir: tempfile::TempDir,
    account: Account,
    manager: Option<Child>,
}

impl People {
    /// `None` = skipped, which was said.
    pub(crate) async fn new(home: &str, others: &[&str], arguments: &[&str]) -> Option<Self> {
        static INSTALLED: tokio::sync::OnceCell<()> = tokio::sync::OnceCell::const_new();
        let cluster = cluster()?;
        INSTALLED
            .get_or_init(async || cluster.install(occm::crd::crds()).await)
            .await;
        for namespace in std::iter::once(&home).chain(others) {
            cluster.namespace(namespace).await;
        }
        let account = cluster.rights(home, others);
        let mut people = Self {
            cluster,
            home: home.to_owned(),
            ca: Ca::start("{}"),
            dir: tempfile::tempdir().unwrap(),
            account,
            manager: None,
        };
        people.serve(others, arguments);
        Some(people)
    }

    fn serve(&mut self, others: &[&str], arguments: &[&str]) {
        let log = std::fs::File::create(self.dir.path().join("log")).unwrap();
        let mut command = self.occm_command();
        command.env("KUBECONFIG", self.account.kubeconfig());
        command.args([
            "--log-level",
            "info,occm=debug",
            "serve",
            "--namespace",
            &self.home,
        ]);
        if !others.is_empty() {
            command.args(["--namespaces", &others.join(",")]);
        }
        let child = command.args(arguments).stdout(Stdio::null()).stderr(log).spawn();
        self.manager = Some(child.unwrap());
    }

    /// Path of the administrator's kubeconfig.
    pub(crate) fn kubeconfig(&self) -> &str {
        self.cluster.instance["kubeconfig"].as_str().unwrap()
    }

    fn occm_command(&self) -> Command {
        let mut command = Command::new(BIN);
        command
            .env("KUBECONFIG", self.kubeconfig())
            .env_remove("KUBERNETES_SERVICE_HOST")
            .env_remove("OCCM_STORE")
            .env_remove("OCCM_NAMESPACE")
            .stdin(Stdio::null());
        command
    }

    /// Runs occm in the home namespace: whether it succeeded, and what it said.
    pub(crate) fn try_occm(&self, arguments: &[&str]) -> (bool, String) {
        let output = self
            .occm_command()
            .args(arguments)
            .args(["-n", &self.home])
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (
            output.status.success(),
            text(&output.stdout) + &text(&output.stderr),
        )
    }

    /// Runs occm, which must succeed.
    pub(crate) fn occm(&self, arguments: &[&str]) -> String {
        let (fine, said) = self.try_occm(arguments);
        assert!(fine, "occm {arguments:?}: {said}");
        said
    }

    /// Starts occm in the home namespace.
    pub(crate) fn occm_running(&self, arguments: &[&str]) -> Child {
        let mut command = self.occm_command();
        command
            .args(arguments)
            .args(["-n", &self.home])
            .stdout(Stdio::piped());
        command.spawn().unwrap()
    }

    /// Runs kubectl in the home namespace, which must succeed.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        let mut all: Vec<&str> = arguments.to_vec();
        // A file that names namespaces is applied to those.
        let elsewhere = |argument: &&str| *argument == "-n" || argument.ends_with("-elsewhere.yaml");
        if !arguments.iter().any(elsewhere) {
            all.extend(["-n", &self.home]);
        }
        match self.cluster.kubectl(&all) {
            Ok(said) => said,
            Err(error) => panic!("kubectl {arguments:?}: {error}"),
        }
    }

    /// A search path with occm, kubectl and the plug-in.
    fn path(&self) -> String {
        let folder = self.dir.path().join("bin");
        if !folder.exists() {
            std::fs::create_dir(&folder).unwrap();
            for name in ["occm", "kubectl-occm"] {
                std::os::unix::fs::symlink(BIN, folder.join(name)).unwrap();
            }
            std::os::unix::fs::symlink(self.cluster.program("kubectl"), folder.join("kubectl")).unwrap();
        }
        format!("{}:{}", folder.display(), std::env::var("PATH").unwrap())
    }

    /// Runs a line of the documentation with the home namespace as that of the context; it must succeed.
    pub(crate) fn shell(&self, line: &str) {
        let config = self.dir.path().join("kubeconfig");
        if !config.exists() {
            std::fs::copy(self.kubeconfig(), &config).unwrap();
            let config = config.to_str().unwrap();
            let namespace = format!("--namespace={}", self.home);
            let set = [
                "--kubeconfig",
                config,
                "config",
                "set-context",
                "--current",
                &namespace,
            ];
            self.cluster.kubectl(&set).unwrap();
        }
        let mut line = line
            .replace("THE-SECRET", SECRET)
            .replace("ROOT-CERTIFICATE", "roots");
        for name in ["issuer.yaml", "certificate.yaml", "issuer-openssl.yaml"] {
            self.example(name);
            line = line.replace(&format!("examples/{name}"), name);
        }
        let output = Command::new("bash")
            .args(["-euo", "pipefail", "-c", &line])
            .current_dir(self.dir.path())
            .env("PATH", self.path())
            .env("KUBECONFIG", &config)
            .env_remove("OCCM_STORE")
            .env_remove("OCCM_NAMESPACE")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let said = text(&output.stdout) + &text(&output.stderr);
        assert!(output.status.success(), "{line}: {said}");
    }

    /// Runs `kubectl occm` with the program as a plug-in.
    pub(crate) fn plugin(&self, arguments: &[&str]) -> String {
        let path = self.path();
        let output = Command::new(self.cluster.program("kubectl"))
            .env("PATH", path)
            .env("KUBECONFIG", self.kubeconfig())
            .env("OCCM_STORE", "/nowhere")
            .args(["occm"])
            .args(arguments)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "kubectl occm {arguments:?}: {said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        said
    }

    /// What a CA's Issuer reads, made as the documentation says.
    pub(crate) fn inputs(&self) {
        let roots = self.file("roots.pem", &self.ca.root_pem());
        self.kubectl(&[
            "create",
            "secret",
            "generic",
            "lab-ca-mac",
            &format!("--from-literal=secret={SECRET}"),
        ]);
        self.kubectl(&[
            "create",
            "configmap",
            "lab-ca-roots",
            &format!("--from-file=ca.pem={}", roots.display()),
        ]);
    }

    /// A Secret of type kubernetes.io/tls with a certificate for `NAME.lab.example` that somebody else made.
    pub(crate) fn foreign_tls(&self, name: &str, subject: &str) {
        let path = |what: &str| self.dir.path().join(format!("{name}.{what}"));
        let (key, certificate) = (path("key"), path("crt"));
        crate::support::self_signed(subject, &format!("{name}.lab.example"), &key, &certificate);
        self.kubectl(&[
            "create",
            "secret",
            "tls",
            name,
            "--cert",
            certificate.to_str().unwrap(),
            "--key",
            key.to_str().unwrap(),
        ]);
    }

    /// A file of its own.
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// An example with the address of this CA.
    pub(crate) fn example(&self, name: &str) -> String {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../examples")
            .join(name);
        let text = std::fs::read_to_string(path).unwrap();
        let text = text.replace("ca.lab.example", &self.ca.address);
        self.file(name, &text).display().to_string()
    }

    /// An object as it is.
    pub(crate) fn get(&self, what: &str) -> Value {
        serde_json::from_str(&self.kubectl(&["get", what, "-o", "json"])).unwrap()
    }

    /// Waits until a Certificate is ready in this revision or a later one.
    pub(crate) fn revision(&self, name: &str, revision: u64) -> Value {
        wait_for(&format!("{name} at revision {revision}"), || {
            let status = self.get(&format!("certificates.occm.dev/{name}"))["status"].clone();
            let there =
                status["revision"].as_u64() >= Some(revision) && condition(&status, "Ready") == "True";
            there.then_some(status)
        })
    }

    /// Waits until an object says so in a condition.
    pub(crate) fn told(&self, what: &str, kind: &str, reason: &str) -> String {
        wait_for(&format!("{what}: {kind} says {reason}"), || {
            let status = self.get(what)["status"].clone();
            let all = status["conditions"].as_array()?.clone();
            let found = all
                .iter()
                .find(|one| one["type"] == kind && one["reason"] == reason)?;
            Some(found["message"].as_str().unwrap().to_owned())
        })
    }
}

impl Drop for People {
    fn drop(&mut self) {
        if let Some(mut child) = self.manager.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let from = lines.len().saturating_sub(60);
            println!(
                "--- log of the manager of {}\n{}",
                self.home,
                lines[from..].join("\n")
            );
        }
    }
}
