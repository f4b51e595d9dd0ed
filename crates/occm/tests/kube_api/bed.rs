//! A release of the chart with the API, its replicas as processes, and people with tokens of the cluster.

use std::path::PathBuf;

use serde_json::Value;

use crate::cluster::chart::{Account, Container, Process, RELEASE, folder, model};
use crate::cluster::{Cluster, cluster_with};
use crate::rest::Client;
use crate::support::wait_for;

/// A release.
pub struct Bed {
    pub cluster: &'static Cluster,
    pub home: String,
    pub account: Account,
    pub dir: tempfile::TempDir,
}

/// A Pod of it.
pub struct Replica {
    pub process: Process,
    pub log: PathBuf,
    /// Host and port of the API.
    pub address: String,
}

impl Bed {
    /// Installs a release with these values beside `api.enabled`; `None` = skipped, which was said.
    pub fn new(home: &str, others: &[&str], values: &[&str]) -> Option<Self> {
        Self::with_account(home, others, values, RELEASE)
    }

    /// The same, where the values name another ServiceAccount.
    pub fn with_account(home: &str, others: &[&str], values: &[&str], account: &str) -> Option<Self> {
        static INSTALLED: std::sync::Once = std::sync::Once::new();
        let arguments = crate::audit::arguments("kube_api");
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let cluster = cluster_with(&arguments)?;
        INSTALLED.call_once(|| {
            let crds = folder().join("files/crds.yaml");
            cluster.apply(&std::fs::read_to_string(crds).unwrap());
            crate::wishes::served(cluster);
        });
        for namespace in std::iter::once(&home).chain(others) {
            cluster.kubectl(&["create", "namespace", namespace]).unwrap();
        }
        let chart = folder().to_string_lossy().into_owned();
        let mut install = vec!["install", RELEASE, &chart, "--namespace", home];
        install.extend(["--set=crds.enabled=false", "--set=api.enabled=true"]);
        let model = model(others);
        install.extend(model.iter().map(String::as_str));
        install.extend(values);
        cluster.helm(&install).expect("helm installs");
        Some(Self {
            cluster,
            home: home.to_owned(),
            account: Account::of(cluster, home, account),
            dir: tempfile::tempdir().unwrap(),
        })
    }

    /// Starts a replica as the Deployment says; `more` is what a kubelet would do: volumes, ports.
    pub fn replica(&self, uid: &str, more: &[(&str, &str)]) -> Replica {
        let mut container = Container::of_release(self.cluster, &self.home, uid)
            .with("OCCM_LISTEN_HEALTH", "127.0.0.1:0")
            .with("OCCM_LISTEN", "127.0.0.1:0")
            .with("OCCM_REQUESTS_PER_SECOND", "1000")
            .with("OCCM_LOGINS_PER_MINUTE", "1000");
        for (name, value) in more {
            container = container.with(name, value);
        }
        let log = self.dir.path().join(uid);
        let process = container.start(&self.account, &log);
        let address = wait_for("the address of the API", || {
            let text = std::fs::read_to_string(&log).ok()?;
            let lines = text
                .lines()
                .filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let mut told = lines.filter(|line| line["message"] == "the REST API is served");
            let url = told.next()?["url"].as_str()?.to_owned();
            Some(url.split("://").nth(1)?.to_owned())
        });
        Replica {
            process,
            log,
            address,
        }
    }

    /// Somebody with a token and without rights.
    pub fn person(&self, name: &str) -> Account {
        let made = self.kubectl(&["create", "serviceaccount", name, "--namespace", &self.home]);
        made.unwrap_or_else(|why| panic!("{why}"));
        Account::of(self.cluster, &self.home, name)
    }

    /// Gives a role of the chart to a person in a namespace.
    pub fn grant(&self, person: &Account, role: &str, namespace: &str) {
        let name = format!("{}-{role}", person.name);
        let role = format!("--role={RELEASE}-{role}");
        let who = format!("--serviceaccount={}:{}", person.namespace, person.name);
        self.kubectl(&[
            "create",
            "rolebinding",
            &name,
            &role,
            &who,
            "--namespace",
            namespace,
        ])
        .unwrap();
    }

    /// Takes it back.
    pub fn revoke(&self, person: &Account, role: &str, namespace: &str) {
        let name = format!("{}-{role}", person.name);
        self.kubectl(&["delete", "rolebinding", &name, "--namespace", namespace])
            .unwrap();
    }

    pub fn kubectl(&self, arguments: &[&str]) -> Result<String, String> {
        self.cluster.kubectl(arguments)
    }
}

/// The value that gives a role of the chart to a ServiceAccount of the release's namespace.
pub fn subject(role: &str, home: &str) -> String {
    format!(
        "--set=roles.{role}[0].kind=ServiceAccount,roles.{role}[0].name={role},roles.{role}[0].namespace={home}"
    )
}

impl Replica {
    /// A client that is nobody.
    pub fn nobody(&self) -> Client {
        Client {
            address: self.address.clone(),
            headers: Vec::new(),
        }
    }

    /// A client with a person's token.
    pub fn with(&self, person: &Account) -> Client {
        self.nobody()
            .with("Authorization", &format!("Bearer {}", person.token))
    }

    /// Waits until lists tell everything.
    pub fn synced(&self) -> &Self {
        wait_for("the API knows all objects", || {
            (self.nobody().get("/health").json()["synced"] == true).then_some(())
        });
        self
    }

    pub fn log_text(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}
