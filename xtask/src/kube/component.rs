//! The command lines of a control plane's programs, and starting and stopping one of them.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use crate::kube::build::{Assets, Program};
use crate::kube::credentials::{ADMIN, CONTROLLER_MANAGER, Credentials, SCHEDULER, TOKENS};
use crate::kube::instance::{Component, ComponentName};
use crate::process::Identity;

/// Addresses of Services; nothing routes them here.
const SERVICE_RANGE: &str = "10.0.0.0/16";

/// What the command lines are made of.
pub(crate) struct Plan<'a> {
    pub(crate) assets: &'a Assets,
    pub(crate) data_dir: &'a Path,
    pub(crate) ports: Ports,
    /// Where requests are logged and the policy that says which.
    pub(crate) audit: Option<(PathBuf, PathBuf)>,
    pub(crate) scheduler: bool,
    pub(crate) kwok: bool,
}

/// All on 127.0.0.1.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ports {
    pub(crate) etcd: u16,
    pub(crate) etcd_peer: u16,
    pub(crate) server: u16,
    pub(crate) kwok: u16,
}

impl Plan<'_> {
    /// The components in the order in which they are started.
    pub(crate) fn components(&self) -> Result<Vec<Component>> {
        let mut components = vec![
            self.component(ComponentName::Etcd, Program::Etcd, self.etcd()),
            self.component(ComponentName::Apiserver, Program::ApiServer, self.apiserver()),
            self.component(
                ComponentName::ControllerManager,
                Program::ControllerManager,
                self.controller_manager(),
            ),
        ];
        if self.scheduler {
            components.push(self.component(ComponentName::Scheduler, Program::Scheduler, self.scheduler()));
        }
        if self.kwok {
            components.push(self.component(ComponentName::Kwok, Program::Kwok, self.kwok()?));
        }
        Ok(components)
    }

    /// URL of etcd.
    pub(crate) fn etcd_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.etcd)
    }

    /// URL of the API server.
    pub(crate) fn server_url(&self) -> String {
        format!("https://127.0.0.1:{}", self.ports.server)
    }

    fn component(&self, name: ComponentName, program: Program, arguments: Vec<String>) -> Component {
        let mut command = vec![text(&self.assets.path(program))];
        command.extend(arguments);
        let log = self.data_dir.join(format!("{}.log", name.as_str()));
        Component {
            name,
            command,
            log,
            process: None,
            running: false,
        }
    }

    /// Data of tests need not survive a power cut (`--unsafe-no-fsync`), and large runs need room.
    fn etcd(&self) -> Vec<String> {
        let client = self.etcd_url();
        let peer = format!("http://127.0.0.1:{}", self.ports.etcd_peer);
        vec![
            "--name=default".to_owned(),
            format!("--data-dir={}", text(&self.data_dir.join("etcd"))),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=default={peer}"),
            "--unsafe-no-fsync".to_owned(),
            "--quota-backend-bytes=8589934592".to_owned(),
            "--log-level=warn".to_owned(),
        ]
    }

    fn apiserver(&self) -> Vec<String> {
        let credentials = Credentials::at(self.data_dir);
        let mut arguments = vec![
            format!("--etcd-servers={}", self.etcd_url()),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--secure-port={}", self.ports.server),
            format!("--tls-cert-file={}", text(&credentials.certificate("apiserver"))),
            format!("--tls-private-key-file={}", text(&credentials.key("apiserver"))),
            format!("--client-ca-file={}", text(&credentials.certificate("ca"))),
            "--authorization-mode=RBAC,Node".to_owned(),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            format!(
                "--service-account-key-file={}",
                text(&credentials.public_key(TOKENS))
            ),
            format!(
                "--service-account-signing-key-file={}",
                text(&credentials.key(TOKENS))
            ),
            format!("--service-cluster-ip-range={SERVICE_RANGE}"),
            "--endpoint-reconciler-type=none".to_owned(),
            "--allow-privileged=true".to_owned(),
        ];
        if let Some((log, policy)) = &self.audit {
            arguments.extend([
                format!("--audit-log-path={}", text(log)),
                format!("--audit-policy-file={}", text(policy)),
                "--audit-log-maxsize=10240".to_owned(),
            ]);
        }
        arguments
    }

    fn controller_manager(&self) -> Vec<String> {
        let credentials = Credentials::at(self.data_dir);
        vec![
            format!(
                "--kubeconfig={}",
                text(&credentials.kubeconfig(CONTROLLER_MANAGER))
            ),
            "--use-service-account-credentials=true".to_owned(),
            format!(
                "--service-account-private-key-file={}",
                text(&credentials.key(TOKENS))
            ),
            format!("--root-ca-file={}", text(&credentials.certificate("ca"))),
            format!(
                "--cluster-signing-cert-file={}",
                text(&credentials.certificate("ca"))
            ),
            format!("--cluster-signing-key-file={}", text(&credentials.key("ca"))),
            "--leader-elect=false".to_owned(),
            "--secure-port=0".to_owned(),
            "--kube-api-qps=200".to_owned(),
            "--kube-api-burst=400".to_owned(),
        ]
    }

    fn scheduler(&self) -> Vec<String> {
        let kubeconfig = Credentials::at(self.data_dir).kubeconfig(SCHEDULER);
        vec![
            format!("--kubeconfig={}", text(&kubeconfig)),
            "--leader-elect=false".to_owned(),
            "--secure-port=0".to_owned(),
        ]
    }

    fn kwok(&self) -> Result<Vec<String>> {
        let kubeconfig = Credentials::at(self.data_dir).kubeconfig(ADMIN);
        Ok(vec![
            format!("--kubeconfig={}", text(&kubeconfig)),
            "--manage-all-nodes=true".to_owned(),
            format!("--server-address=127.0.0.1:{}", self.ports.kwok),
            format!("--config={}", text(&self.assets.kwok_stages()?)),
        ])
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

impl Component {
    /// Starts it as a process of its own, which outlives this program. Does nothing if it runs.
    pub(crate) fn start(&mut self) -> Result<()> {
        if self.process.is_some_and(Identity::is_alive) {
            return Ok(());
        }
        let [program, arguments @ ..] = self.command.as_slice() else {
            bail!("{} has no command", self.name.as_str())
        };
        let log = File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .with_context(|| format!("cannot write {}", self.log.display()))?;
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("cannot share the log file")?)
            .stderr(log)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        self.process = Identity::of(child.id());
        self.running = self.process.is_some();
        Ok(())
    }

    /// Ends its process and waits until it is gone.
    pub(crate) fn stop(&mut self, signal: Signal) -> Result<()> {
        if let Some(process) = self.process {
            process
                .end(signal, Duration::from_secs(30))
                .with_context(|| format!("cannot stop {}", self.name.as_str()))?;
        }
        self.running = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(audit: Option<(PathBuf, PathBuf)>) -> Vec<Vec<String>> {
        let assets = Assets {
            folder: "/assets".into(),
            version: "1.36.3".parse().unwrap(),
        };
        let ports = Ports {
            etcd: 20_001,
            etcd_peer: 20_002,
            server: 20_003,
            kwok: 20_004,
        };
        let plan = Plan {
            assets: &assets,
            data_dir: Path::new("/data"),
            ports,
            audit,
            scheduler: true,
            kwok: false,
        };
        plan.components()
            .unwrap()
            .into_iter()
            .map(|component| component.command)
            .collect()
    }

    #[test]
    fn every_address_is_on_the_loopback_interface() {
        for word in lines(None).concat() {
            for url in ["http://", "https://"]
                .iter()
                .filter_map(|scheme| word.split_once(scheme))
            {
                assert!(
                    url.1.starts_with("127.0.0.1:") || url.1 == "kubernetes.default.svc",
                    "{word}"
                );
            }
            assert!(!word.contains("0.0.0.0:"), "{word}");
        }
    }

    #[test]
    fn requests_are_logged_only_when_asked_for() {
        assert!(
            !lines(None)
                .concat()
                .iter()
                .any(|word| word.starts_with("--audit"))
        );
        let asked = lines(Some(("/log".into(), "/policy".into()))).concat();
        assert!(asked.contains(&"--audit-log-path=/log".to_owned()));
        assert!(asked.contains(&"--audit-policy-file=/policy".to_owned()));
    }

    #[test]
    fn components_start_in_the_order_of_their_needs() {
        let programs: Vec<String> = lines(None).iter().map(|line| line[0].clone()).collect();
        let expected = [
            "/assets/etcd",
            "/assets/kube-apiserver",
            "/assets/kube-controller-manager",
            "/assets/kube-scheduler",
        ];
        assert_eq!(programs, expected);
    }
}
