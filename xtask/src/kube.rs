//! `cargo xtask kube`: a real Kubernetes control plane on the loopback interface, without containers.
//!
//! ```text
//! build    programs from their Go modules   version.rs module.rs build.rs
//! up       folder, ports, keys, processes   up.rs credentials.rs component.rs
//! later    found again by name              instance.rs
//! ```

pub(crate) mod build;
mod component;
mod credentials;
pub(crate) mod instance;
mod module;
pub(crate) mod up;
pub(crate) mod version;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use rustix::process::Signal;

use crate::console::say;
use crate::kube::build::{Assets, CONTROL_PLANE, Program};
use crate::kube::instance::{ComponentName, Instance};
use crate::kube::version::Version;

/// Run a real Kubernetes control plane on this machine: etcd, API server with RBAC, controller manager, kubectl.
///
/// The programs come from KUBEBUILDER_ASSETS, or are built once from their Go modules (about five minutes on two
/// cores; needs Go) and kept in the cache. Everything listens on 127.0.0.1, on ports that are free at the start.
/// There is no kubelet: Pods are objects only, unless `--with scheduler,kwok` gives them fake nodes.
///
///   cargo xtask kube up
///   eval "$(cargo xtask kube env)"
///   kubectl get namespaces
///   cargo xtask kube down
///
/// Tests bring up one of their own, with `--name`, `--json` and `--owner`, stop and start its parts to see what
/// happens, and take it down.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Start a control plane and wait until it is ready.
    ///
    /// If it is up already, nothing changes. One of that name that is left over from a crash is removed first.
    Up(UpArgs),
    /// Stop a control plane and remove its data.
    Down {
        #[command(flatten)]
        name: Name,
        /// Take down every one.
        #[arg(long, conflicts_with = "name")]
        all: bool,
    },
    /// Print lines for a shell that set KUBECONFIG and KUBEBUILDER_ASSETS.
    Env(Name),
    /// Tell what runs; without a name, of all control planes.
    Status {
        /// Of this one only.
        #[arg(long)]
        name: Option<String>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Start a stopped component on the same data and ports, and wait until the API server is ready.
    Start(ComponentArgs),
    /// Stop one component and leave the rest running.
    Stop(ComponentArgs),
    /// Stop a component and start it again.
    Restart(ComponentArgs),
    /// Build the programs and print the folder that holds them (the value for KUBEBUILDER_ASSETS).
    Build(Programs),
    /// Rewrite xtask/kube/kubernetes/go.mod and go.sum for another Kubernetes release.
    Pin {
        /// The release, as 1.36.3.
        version: String,
    },
    /// Wait for a process to end, then take the control plane down.
    #[command(hide = true)]
    Guard {
        #[command(flatten)]
        name: Name,
        #[arg(long)]
        owner: u32,
    },
}

#[derive(clap::Args)]
struct Name {
    /// Several control planes can run at once, each with its name.
    #[arg(long, default_value = "default")]
    name: String,
}

#[derive(clap::Args)]
struct Programs {
    /// Kubernetes version: 1.34, 1.35, 1.36, 1.37 or any release as 1.36.3. Default: the one the project pins.
    #[arg(long)]
    version: Option<String>,
    /// More programs: a scheduler, fake nodes whose Pods become ready (kwok), helm.
    #[arg(long, value_delimiter = ',')]
    with: Vec<Extra>,
}

#[derive(clap::Args)]
pub(crate) struct UpArgs {
    #[command(flatten)]
    name: Name,
    #[command(flatten)]
    programs: Programs,
    /// Write one JSON document for each request to the API server into this file (level Metadata).
    #[arg(long, value_name = "FILE")]
    audit_log: Option<PathBuf>,
    /// Take the control plane down when the process with this pid ends, however it ends.
    #[arg(long, value_name = "PID")]
    owner: Option<u32>,
    /// Print where everything is as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
struct ComponentArgs {
    #[command(flatten)]
    name: Name,
    #[arg(long)]
    component: ComponentName,
    /// Stop it with SIGKILL, as a crash would, not with SIGTERM.
    #[arg(long)]
    kill: bool,
    /// Do not wait until it is ready again.
    #[arg(long)]
    no_wait: bool,
    /// Print where everything is as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Extra {
    Scheduler,
    Kwok,
    Helm,
}

impl Extra {
    fn program(self) -> Program {
        match self {
            Self::Scheduler => Program::Scheduler,
            Self::Kwok => Program::Kwok,
            Self::Helm => Program::Helm,
        }
    }
}

impl Programs {
    fn bring(&self) -> Result<Assets> {
        let version = self.version.as_deref().map(Version::wish).transpose()?;
        let mut programs = CONTROL_PLANE.to_vec();
        programs.extend(self.with.iter().map(|extra| extra.program()));
        Assets::bring(version, &programs)
    }
}

impl UpArgs {
    /// The pinned version under this name, which ends with its owner; helm comes with it.
    pub(crate) fn owned(name: &str, owner: u32) -> Self {
        Self {
            name: Name {
                name: name.to_owned(),
            },
            programs: Programs {
                version: None,
                with: vec![Extra::Helm],
            },
            audit_log: None,
            owner: Some(owner),
            json: false,
        }
    }
}

impl ComponentArgs {
    fn signal(&self) -> Signal {
        if self.kill { Signal::KILL } else { Signal::TERM }
    }
}

pub(crate) fn run(args: Args) -> Result<ExitCode> {
    ensure!(cfg!(target_os = "linux"), "the control plane needs Linux");
    match args.command {
        Command::Up(args) => {
            let instance = up::up(&args)?;
            if args.json {
                print_json(&instance)?;
            } else {
                say_how_to_use(&instance);
            }
        }
        Command::Down { all: true, .. } => {
            for instance in Instance::all()? {
                up::down(&instance.name)?;
            }
        }
        Command::Down { name, all: false } => up::down(&name.name)?,
        Command::Env(name) => {
            let instance = Instance::open(&name.name)?;
            ensure!(
                instance.is_up(),
                "the control plane `{0}` is stopped: cargo xtask kube up --name {0}",
                name.name
            );
            print!("{}", instance.exports());
        }
        Command::Status { name, json } => status(name.as_deref(), json)?,
        Command::Start(args) => change(&args, |instance, args| {
            instance.component(args.component)?.start()
        })?,
        Command::Stop(args) => {
            change(&args, |instance, args| {
                instance.component(args.component)?.stop(args.signal())
            })?;
        }
        Command::Restart(args) => change(&args, |instance, args| {
            let component = instance.component(args.component)?;
            component.stop(args.signal())?;
            component.start()
        })?,
        Command::Build(programs) => println!("{}", programs.bring()?.folder.display()),
        Command::Pin { version } => module::pin(version.parse()?)?,
        Command::Guard { name, owner } => up::guard(&name.name, owner)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Does something to one component; waits for the API server unless it, or etcd below it, is meant to be down.
fn change(args: &ComponentArgs, act: impl FnOnce(&mut Instance, &ComponentArgs) -> Result<()>) -> Result<()> {
    let mut instance = Instance::open(&args.name.name)?;
    let done = act(&mut instance, args);
    instance.save()?;
    done?;
    let serves = |name| {
        instance
            .components
            .iter()
            .any(|component| component.name == name && component.running)
    };
    if !args.no_wait && serves(ComponentName::Etcd) && serves(ComponentName::Apiserver) {
        up::wait_until_ready(&mut instance)?;
    }
    if args.json {
        print_json(&instance)?;
    }
    Ok(())
}

fn status(name: Option<&str>, json: bool) -> Result<()> {
    let instances = match name {
        Some(name) => vec![Instance::open(name)?],
        None => Instance::all()?,
    };
    if json {
        return print_json(&instances);
    }
    if instances.is_empty() {
        say("no control plane is up");
    }
    for instance in instances {
        println!(
            "{}: Kubernetes {} at {}, {}",
            instance.name,
            instance.version,
            instance.server,
            instance.data_dir.display()
        );
        for component in &instance.components {
            let state = match component.process.filter(|_| component.running) {
                Some(process) => format!("runs, pid {}", process.pid),
                None => "stopped".to_owned(),
            };
            println!("  {:<20}{state}", component.name.as_str());
        }
    }
    Ok(())
}

fn say_how_to_use(instance: &Instance) {
    let name = if instance.name == "default" {
        String::new()
    } else {
        format!(" --name {}", instance.name)
    };
    say(format!(
        "Kubernetes {} is ready at {}",
        instance.version, instance.server
    ));
    say(format!("  use it:   eval \"$(cargo xtask kube env{name})\""));
    say(format!(
        "  kubectl:  {}",
        instance.assets.join(Program::Kubectl.file()).display()
    ));
    say(format!("  stop it:  cargo xtask kube down{name}"));
}

fn print_json(value: &impl serde::Serialize) -> Result<()> {
    println!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}
