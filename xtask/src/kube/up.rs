//! A control plane's beginning and end.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;

use crate::console::{Progress, say};
use crate::kube::Extra;
use crate::kube::UpArgs;
use crate::kube::build::Assets;
use crate::kube::component::{Plan, Ports};
use crate::kube::credentials::{ADMIN, Credentials};
use crate::kube::instance::{self, ComponentName, Instance};
use crate::process::{self, Identity};
use crate::{cache, process::until};

/// A ready control plane takes about three seconds here; a busy machine may take much longer.
const LIMIT: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(50);

/// Which requests are logged: all, once each, without their bodies (which would hold Secrets).
const AUDIT_POLICY: &str = "apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
";

/// Nodes for Pods to be scheduled to; kwok plays the kubelet on each.
const FAKE_NODES: [&str; 2] = ["fake-0", "fake-1"];

/// Brings up what is asked for, or gives what is up under that name.
pub(crate) fn up(args: &UpArgs) -> Result<Instance> {
    let name = &args.name.name;
    if let Some(found) = Instance::find(name)? {
        if found.is_up() {
            ensure!(
                found.components.iter().all(|component| component.running),
                "the control plane `{name}` runs in part: see `cargo xtask kube status --name {name}`, then start \
                 the missing component or take it down"
            );
            say(format!("the control plane `{name}` is up already"));
            return Ok(found);
        }
        down(name)?;
    }
    let assets = args.programs.bring()?;
    let mut instance = prepare(args, &assets)?;
    let started = start(&mut instance);
    if let Err(error) = started {
        end_all(&instance);
        let kept = instance.data_dir.display();
        return Err(error.context(format!(
            "the control plane `{name}` did not come up; its logs are in {kept}"
        )));
    }
    if let Some(owner) = args.owner {
        instance.guard = Some(start_guard(name, owner)?);
        instance.save()?;
    }
    Ok(instance)
}

/// Makes the folder with everything that stands on disk; no process yet.
fn prepare(args: &UpArgs, assets: &Assets) -> Result<Instance> {
    let data_dir = instance::folder_of(&args.name.name)?;
    let _lock = cache::Lock::take("clusters")?;
    let _ = fs::remove_dir_all(&data_dir);
    cache::make(&data_dir)?;
    let [etcd, etcd_peer, server, kwok] = instance::free_ports()?;
    let audit = args
        .audit_log
        .as_deref()
        .map(|log| prepare_audit(log, &data_dir))
        .transpose()?;
    let plan = Plan {
        assets,
        data_dir: &data_dir,
        ports: Ports {
            etcd,
            etcd_peer,
            server,
            kwok,
        },
        audit: audit.clone(),
        scheduler: args.programs.with.contains(&Extra::Scheduler),
        kwok: args.programs.with.contains(&Extra::Kwok),
    };
    let credentials = Credentials::at(&data_dir);
    credentials
        .make(&plan.server_url())
        .context("cannot make keys and certificates")?;
    let mut instance = Instance {
        name: args.name.name.clone(),
        version: assets.version.to_string(),
        kubeconfig: credentials.kubeconfig(ADMIN),
        server: plan.server_url(),
        ca_file: credentials.certificate("ca"),
        etcd: plan.etcd_url(),
        assets: assets.folder.clone(),
        audit_log: audit.map(|(log, _)| log),
        components: plan.components()?,
        guard: None,
        companions: Vec::new(),
        data_dir: data_dir.clone(),
    };
    instance.save()?;
    Ok(instance)
}

fn prepare_audit(log: &Path, data_dir: &Path) -> Result<(PathBuf, PathBuf)> {
    let log = std::path::absolute(log).context("cannot make the path of the audit log absolute")?;
    let policy = data_dir.join("audit-policy.yaml");
    fs::write(&policy, AUDIT_POLICY).with_context(|| format!("cannot write {}", policy.display()))?;
    Ok((log, policy))
}

/// etcd and the API server first; the others give up if there is no API server.
fn start(instance: &mut Instance) -> Result<()> {
    for name in [ComponentName::Etcd, ComponentName::Apiserver] {
        instance.component(name)?.start()?;
        instance.save()?;
    }
    wait_until_ready(instance)?;
    for component in &mut instance.components {
        component.start()?;
    }
    instance.save()?;
    let what = "waiting for the namespace `default` and its ServiceAccount";
    let query = [
        "get",
        "serviceaccount",
        "default",
        "--namespace=default",
        "--output=name",
    ];
    wait_for(instance, what, &query, |answer| {
        answer.trim() == "serviceaccount/default"
    })?;
    if instance.component(ComponentName::Kwok).is_ok() {
        add_fake_nodes(instance)
    } else {
        Ok(())
    }
}

fn add_fake_nodes(instance: &mut Instance) -> Result<()> {
    let file = instance.data_dir.join("nodes.yaml");
    let nodes = FAKE_NODES.map(|name| {
        format!(
            "---\napiVersion: v1\nkind: Node\nmetadata:\n  name: {name}\n  \
             labels: {{kubernetes.io/hostname: {name}, kubernetes.io/os: linux}}\n  \
             annotations: {{kwok.x-k8s.io/node: fake}}\n\
             status:\n  allocatable: {{cpu: 32, memory: 256Gi, pods: 1000}}\n  \
             capacity: {{cpu: 32, memory: 256Gi, pods: 1000}}\n"
        )
    });
    fs::write(&file, nodes.concat()).with_context(|| format!("cannot write {}", file.display()))?;
    process::output(instance.kubectl().args(["create", "-f"]).arg(&file))?;
    let ready = "--output=jsonpath={range .items[*].status.conditions[?(@.type==\"Ready\")]}{.status}{end}";
    let all = "True".repeat(FAKE_NODES.len());
    wait_for(
        instance,
        "waiting for the fake nodes",
        &["get", "nodes", ready],
        |answer| answer == all,
    )
}

/// Waits until the API server says that it is ready.
pub(crate) fn wait_until_ready(instance: &mut Instance) -> Result<()> {
    wait_for(
        instance,
        "waiting for the API server",
        &["get", "--raw=/readyz"],
        |answer| answer == "ok",
    )
}

/// Asks with kubectl until the answer is as wanted; a component that ended meanwhile ends the wait.
fn wait_for(
    instance: &mut Instance,
    what: &str,
    query: &[&str],
    wanted: impl Fn(&str) -> bool,
) -> Result<()> {
    let expected: Vec<ComponentName> = instance
        .components
        .iter()
        .filter(|component| component.running)
        .map(|component| component.name)
        .collect();
    let mut progress = Progress::begin(what);
    let mut last = String::new();
    let begun = Instant::now();
    let found = until(LIMIT, PAUSE, || {
        progress.tick();
        if crate::stop::wanted() {
            return Some(None);
        }
        match process::output(instance.kubectl().arg("--request-timeout=5s").args(query)) {
            Ok(answer) if wanted(&answer) => return Some(None),
            Ok(answer) => last = answer,
            Err(error) => last = error.to_string(),
        }
        instance.look();
        let ended = instance
            .components
            .iter()
            .find(|one| expected.contains(&one.name) && !one.running);
        ended.map(|component| Some(component.clone()))
    });
    match found {
        Some(None) if crate::stop::wanted() => {
            progress.end("stopped");
            bail!("stopped")
        }
        Some(None) => {
            progress.end("ready");
            Ok(())
        }
        Some(Some(component)) => {
            progress.end("failed");
            let log = fs::read_to_string(&component.log).unwrap_or_default();
            bail!(
                "{} ended by itself; its last lines:\n{}",
                component.name.as_str(),
                process::tail(&log, 15)
            )
        }
        None => {
            progress.end("failed");
            bail!(
                "not ready after {}; the last answer: {last}",
                crate::console::seconds(begun.elapsed())
            )
        }
    }
}

/// Ends all processes and removes the data. Fine if there is nothing.
pub(crate) fn down(name: &str) -> Result<()> {
    let folder = instance::folder_of(name)?;
    let Some(instance) = Instance::find(name)? else {
        let _ = fs::remove_dir_all(&folder);
        say(format!("no control plane `{name}` is up"));
        return Ok(());
    };
    if let Some(guard) = instance.guard.filter(|guard| guard.pid != std::process::id()) {
        guard.end(Signal::KILL, LIMIT)?;
    }
    end_all(&instance);
    fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    say(format!("the control plane `{name}` is down"));
    Ok(())
}

/// Killed, not asked: the data goes as well. Users of a server go before it.
fn end_all(instance: &Instance) {
    let components = instance.components.iter().rev();
    let processes = components.filter_map(|component| component.process);
    for process in instance.companions.iter().copied().chain(processes) {
        if let Err(error) = process.end(Signal::KILL, LIMIT) {
            crate::console::error(&error);
        }
    }
}

/// A process of our own that outlives this one and watches the owner.
fn start_guard(name: &str, owner: u32) -> Result<Identity> {
    ensure!(
        Identity::of(owner).is_some(),
        "the owner, process {owner}, does not run"
    );
    let program = std::env::current_exe().context("cannot find this program")?;
    let child = Command::new(program)
        .args(["kube", "guard", "--name", name, "--owner", &owner.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .context("cannot start the guard")?;
    Identity::of(child.id()).context("the guard ended by itself")
}

/// Returns when the owner has ended and the control plane is down, or when somebody else took it down.
pub(crate) fn guard(name: &str, owner: u32) -> Result<()> {
    let Some(owner) = Identity::of(owner) else {
        return down(name);
    };
    let exists = || matches!(Instance::find(name), Ok(Some(_)));
    while owner.is_alive() && exists() {
        std::thread::sleep(Duration::from_millis(250));
    }
    if exists() { down(name) } else { Ok(()) }
}
