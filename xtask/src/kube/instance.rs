//! One running control plane as it is kept on disk, so that later commands and tests find it again.

use std::collections::HashSet;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::cache;
use crate::kube::build::Program;
use crate::process::Identity;

/// Ports are taken from below the range that Linux gives to outgoing connections, so that a component that is down
/// for a moment finds its port free again.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// A control plane. This is also what `--json` prints.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Instance {
    pub(crate) name: String,
    /// Of Kubernetes, as `1.36.3`.
    pub(crate) version: String,
    /// Holds everything of this instance; removed by `down`.
    pub(crate) data_dir: PathBuf,
    /// Of an administrator (system:masters).
    pub(crate) kubeconfig: PathBuf,
    /// URL of the API server.
    pub(crate) server: String,
    /// The CA that signed the API server's certificate.
    pub(crate) ca_file: PathBuf,
    /// URL of etcd.
    pub(crate) etcd: String,
    /// Folder of the programs: the value of `KUBEBUILDER_ASSETS`.
    pub(crate) assets: PathBuf,
    /// One JSON document a line for each request, if asked for.
    pub(crate) audit_log: Option<PathBuf>,
    pub(crate) components: Vec<Component>,
    /// The process that takes the instance down when its owner ends.
    pub(crate) guard: Option<Identity>,
    /// Processes that work with it and go before it.
    #[serde(default)]
    pub(crate) companions: Vec<Identity>,
}

/// One program of a control plane.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Component {
    pub(crate) name: ComponentName,
    /// Program and arguments; can be started again as they are.
    pub(crate) command: Vec<String>,
    /// Its standard output and error.
    pub(crate) log: PathBuf,
    /// The last process started with this command.
    pub(crate) process: Option<Identity>,
    /// Whether that process runs; found out anew each time the instance is read.
    pub(crate) running: bool,
}

/// The parts that can be stopped and started on their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ComponentName {
    Etcd,
    Apiserver,
    ControllerManager,
    Scheduler,
    Kwok,
}

impl ComponentName {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::Apiserver => "apiserver",
            Self::ControllerManager => "controller-manager",
            Self::Scheduler => "scheduler",
            Self::Kwok => "kwok",
        }
    }
}

impl Instance {
    /// Reads the instance of that name; none if there is none.
    pub(crate) fn find(name: &str) -> Result<Option<Self>> {
        let file = folder_of(name)?.join("instance.json");
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
        };
        let mut instance: Self =
            serde_json::from_str(&text).with_context(|| format!("cannot read {}", file.display()))?;
        instance.look();
        Ok(Some(instance))
    }

    /// The instance of that name, or an error that says how to make one.
    pub(crate) fn open(name: &str) -> Result<Self> {
        let found = Self::find(name)?;
        found.with_context(|| format!("no control plane `{name}` is up: cargo xtask kube up --name {name}"))
    }

    /// All instances, whether they run or not, by name.
    pub(crate) fn all() -> Result<Vec<Self>> {
        let folder = home()?;
        cache::make(&folder)?;
        let entries = fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
        let mut names: Vec<String> = entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        names.sort();
        names
            .iter()
            .filter_map(|name| Self::find(name).transpose())
            .collect()
    }

    /// Writes the instance down; a reader sees the old or the new text.
    pub(crate) fn save(&mut self) -> Result<()> {
        self.look();
        let file = self.data_dir.join("instance.json");
        let next = self.data_dir.join("instance.json.next");
        let text = serde_json::to_string_pretty(self).context("cannot write the instance as JSON")?;
        fs::write(&next, text).with_context(|| format!("cannot write {}", next.display()))?;
        fs::rename(&next, &file).with_context(|| format!("cannot write {}", file.display()))
    }

    /// Whether any of its programs runs.
    pub(crate) fn is_up(&self) -> bool {
        self.components.iter().any(|component| component.running)
    }

    /// The component of that name.
    pub(crate) fn component(&mut self, name: ComponentName) -> Result<&mut Component> {
        let instance = &self.name;
        let found = self
            .components
            .iter_mut()
            .find(|component| component.name == name);
        found.with_context(|| {
            let with = name.as_str();
            format!("the control plane `{instance}` has no {with}: bring it up with `--with {with}`")
        })
    }

    /// A kubectl command as the administrator.
    pub(crate) fn kubectl(&self) -> Command {
        let mut command = Command::new(self.assets.join(Program::Kubectl.file()));
        command.arg("--kubeconfig").arg(&self.kubeconfig);
        command
    }

    /// Finds out which processes run.
    pub(crate) fn look(&mut self) {
        for component in &mut self.components {
            component.running = component.process.is_some_and(Identity::is_alive);
        }
    }

    /// Lines for a shell.
    pub(crate) fn exports(&self) -> String {
        let line = |name: &str, path: &Path| format!("export {name}='{}'\n", path.display());
        line("KUBECONFIG", &self.kubeconfig) + &line("KUBEBUILDER_ASSETS", &self.assets)
    }
}

/// The data folder of an instance of that name.
pub(crate) fn folder_of(name: &str) -> Result<PathBuf> {
    check_name(name)?;
    Ok(home()?.join(name))
}

fn home() -> Result<PathBuf> {
    Ok(cache::folder()?.join("clusters"))
}

/// A name becomes a folder: small letters, digits, dashes and underscores, at most 63 of them.
fn check_name(name: &str) -> Result<()> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    if name.is_empty() || name.len() > 63 || name.starts_with('-') || !name.chars().all(fits) {
        bail!("`{name}` cannot name a control plane: use small letters, digits, dashes and underscores");
    }
    Ok(())
}

/// As many ports as asked for that nobody listens on and no other instance has taken. To be called, and the instance
/// saved, under one lock.
pub(crate) fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let taken = taken(&Instance::all()?);
    let offset = std::process::id() % u32::from(PORTS.end - PORTS.start);
    let start = PORTS.start + u16::try_from(offset).unwrap_or(0);
    let mut free = (start..PORTS.end)
        .chain(PORTS.start..start)
        .filter(|port| !taken.contains(port))
        .filter(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok());
    let mut ports = [0; N];
    for port in &mut ports {
        *port = free.next().context("no free port on the loopback interface")?;
    }
    Ok(ports)
}

/// Every number after a colon in the command lines of the instances; a few too many do no harm.
fn taken(instances: &[Instance]) -> HashSet<u16> {
    let commands = instances.iter().flat_map(|instance| &instance.components);
    let words = commands.flat_map(|component| &component.command);
    words
        .flat_map(|word| word.split([':', '=', ',']))
        .filter_map(|part| part.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_would_leave_the_folder_is_refused() {
        for wrong in ["", "..", "a/b", "-x", "Ü", "a b", "UP"] {
            check_name(wrong).unwrap_err();
        }
        check_name("kube_suite-4711").unwrap();
    }

    #[test]
    fn ports_differ_and_can_be_listened_on() {
        let ports: [u16; 3] = free_ports().unwrap();
        let listeners: Vec<TcpListener> = ports
            .iter()
            .map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).unwrap())
            .collect();
        assert_eq!(listeners.len(), 3);
    }

    #[test]
    fn ports_of_an_instance_that_is_stopped_are_taken() {
        let component = Component {
            name: ComponentName::Etcd,
            command: vec![
                "etcd".into(),
                "--listen-client-urls=http://127.0.0.1:20017".into(),
            ],
            log: PathBuf::new(),
            process: None,
            running: false,
        };
        let instance = Instance {
            name: "x".into(),
            version: String::new(),
            data_dir: PathBuf::new(),
            kubeconfig: PathBuf::new(),
            server: String::new(),
            ca_file: PathBuf::new(),
            etcd: String::new(),
            assets: PathBuf::new(),
            audit_log: None,
            components: vec![component],
            guard: None,
            companions: Vec::new(),
        };
        assert!(taken(&[instance]).contains(&20_017));
    }
}
