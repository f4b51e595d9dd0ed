//! The main job, shown with real Secrets: control plane, CA and manager as children, stopped again in that order.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;

use crate::console::say;
use crate::kube::instance::Instance;
use crate::kube::{UpArgs, up};
use crate::process::{self, Identity, until};
use crate::stop;
use crate::workspace::Workspace;

/// Objects of the demo, the same as those of `occm dev`.
const OBJECTS: &str = "crates/occm/src/cli/dev/demo.yaml";
const NAMESPACE: &str = "occm-demo";
/// The chart's release, and with it the name of its ServiceAccount.
const RELEASE: &str = "occm";
/// The Certificate that is waited for.
const FIRST: &str = "web-tls";
/// How long an ending child may take.
const LIMIT: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(50);

pub(super) fn run(workspace: &Workspace, name: &str, binary: Option<PathBuf>) -> Result<ExitCode> {
    stop::listen()?;
    let folder = workspace.target.join("xtask").join(format!("demo-{name}"));
    crate::cache::make(&folder)?;
    let ended = with_control_plane(workspace, name, binary, &folder);
    let _ = fs::remove_dir_all(&folder);
    match ended {
        Err(error) if !stop::wanted() => Err(error),
        _ => {
            say("everything is stopped");
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn with_control_plane(
    workspace: &Workspace,
    name: &str,
    binary: Option<PathBuf>,
    folder: &Path,
) -> Result<()> {
    let binary = match binary {
        Some(binary) => std::path::absolute(binary)?,
        None => build(workspace, folder)?,
    };
    let mut instance = match up::up(&UpArgs::owned(name, std::process::id())) {
        Ok(instance) => instance,
        Err(error) => {
            // What had begun goes as well.
            let _ = up::down(name);
            return Err(error);
        }
    };
    let shown = show(workspace, &mut instance, &binary, folder);
    say("\nstopping");
    let down = up::down(name);
    shown.and(down)
}

fn build(workspace: &Workspace, folder: &Path) -> Result<PathBuf> {
    let log = folder.join("build.log");
    let what = "building occm; the first time this takes minutes, later seconds";
    let mut cargo = workspace.cargo();
    cargo.args(["build", "--package", "occm", "--bin", "occm"]);
    process::run_with_progress(&mut cargo, what, &log, Duration::from_secs(3600))?;
    Ok(workspace.target.join("debug").join("occm"))
}

/// CA, objects and manager; returns when the demo shall end.
fn show(workspace: &Workspace, instance: &mut Instance, binary: &Path, folder: &Path) -> Result<()> {
    let (ca, address, secret) = start_ca(binary, folder)?;
    ca.accompanies(instance)?;
    let definitions = process::output(Command::new(binary).arg("crds"))?;
    apply(instance, folder, &definitions, &[])?;
    for definition in ["issuers.occm.dev", "certificates.occm.dev"] {
        let established = [
            "wait",
            "--for=condition=Established",
            "--timeout=60s",
            "crd",
            definition,
        ];
        process::output(instance.kubectl().args(established))?;
    }
    let namespace = format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {NAMESPACE}}}\n");
    apply(instance, folder, &namespace, &[])?;
    let kubeconfig = grant(workspace, instance, folder)?;
    let file = workspace.root.join(OBJECTS);
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let root: String = get(&address, "/-/ca.pem")?
        .lines()
        .map(|line| format!("    {line}\n"))
        .collect();
    let text = text
        .replace("@ADDRESS@", &address)
        .replace("@SECRET@", &secret)
        .replace("    @ROOT@\n", &root);
    apply(instance, folder, &text, &["--namespace", NAMESPACE])?;
    let mut manager = start_manager(binary, &kubeconfig, folder)?;
    manager.accompanies(instance)?;
    let ready = format!("--for=condition=Ready certificates.occm.dev/{FIRST}");
    let mut wait = instance.kubectl();
    wait.args(["--namespace", NAMESPACE, "wait", "--timeout=2s"])
        .args(ready.split(' '));
    let is_ready = until(Duration::from_secs(60), PAUSE, || {
        (stop::wanted() || process::output(&mut wait).is_ok() || !manager.lives()).then_some(())
    });
    ensure!(is_ready.is_some(), "{FIRST} is not ready after a minute");
    if !stop::wanted() && manager.lives() {
        say_what_to_try(instance, &address);
    }
    while !stop::wanted() {
        if !manager.lives() {
            let log = fs::read_to_string(folder.join("manager.log")).unwrap_or_default();
            bail!("the manager ended by itself:\n{}", process::tail(&log, 15));
        }
        std::thread::sleep(PAUSE);
    }
    manager.end()?;
    ca.end()
}

/// A child that is ended with us.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Result<Self> {
        let line = process::describe(command);
        // Ctrl-C in a terminal is for us; we end the children in our order.
        let child = command.stdin(Stdio::null()).process_group(0).spawn();
        Ok(Self(child.with_context(|| format!("cannot start `{line}`"))?))
    }

    /// It goes with the control plane, also where we are killed.
    fn accompanies(&self, instance: &mut Instance) -> Result<()> {
        instance.companions.extend(Identity::of(self.0.id()));
        instance.save()
    }

    fn lives(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }

    fn end(mut self) -> Result<()> {
        self.stop()
    }

    fn stop(&mut self) -> Result<()> {
        let Some(identity) = Identity::of(self.0.id()).filter(|_| self.lives()) else {
            return Ok(());
        };
        identity.signal(Signal::TERM);
        let ended = until(LIMIT, PAUSE, || (!self.lives()).then_some(()));
        if ended.is_none() {
            self.0.kill().context("cannot end a process")?;
            self.0.wait().context("cannot wait for a process")?;
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.stop();
    }
}

fn start_ca(binary: &Path, folder: &Path) -> Result<(Running, String, String)> {
    let secret = random_word()?;
    let file = folder.join("mac-secret");
    fs::write(&file, format!("{secret}\n")).context("cannot write the shared secret")?;
    let log = fs::File::create(folder.join("ca.log")).context("cannot write a log")?;
    let mut command = Command::new(binary);
    command
        .args(["ca", "--listen", "127.0.0.1:0", "--secret-file"])
        .arg(format!("demo={}", file.display()))
        .stdout(Stdio::piped())
        .stderr(log);
    let mut ca = Running::start(&mut command)?;
    let out = ca.0.stdout.take().context("the CA has no output")?;
    let mut lines = BufReader::new(out).lines();
    let address = lines
        .by_ref()
        .map_while(Result::ok)
        .find_map(|line| {
            let rest = line.split("http://").nth(1)?;
            rest.split('/').next().map(str::to_owned)
        })
        .context("the CA does not say where it listens")?;
    std::thread::spawn(move || lines.for_each(drop));
    Ok((ca, address, secret))
}

/// The ServiceAccount with the rights that the chart gives it, and a kubeconfig with its token.
fn grant(workspace: &Workspace, instance: &Instance, folder: &Path) -> Result<PathBuf> {
    let mut helm = Command::new(instance.assets.join("helm"));
    helm.args(["template", RELEASE])
        .arg(workspace.root.join("deploy/chart"))
        .args(["--namespace", NAMESPACE])
        .args(["--show-only", "templates/serviceaccount.yaml"])
        .args(["--show-only", "templates/rbac.yaml"]);
    apply(instance, folder, &process::output(&mut helm)?, &[])?;
    let mut create = instance.kubectl();
    create.args([
        "--namespace",
        NAMESPACE,
        "create",
        "token",
        RELEASE,
        "--duration=24h",
    ]);
    let token = process::output(&mut create)?;
    let file = folder.join("manager.kubeconfig");
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: manager\n\
         clusters:\n- name: demo\n  cluster:\n    server: {server}\n    certificate-authority: {ca}\n\
         users:\n- name: manager\n  user:\n    token: {token}\n\
         contexts:\n- name: manager\n  context:\n    cluster: demo\n    user: manager\n    namespace: {NAMESPACE}\n",
        server = instance.server,
        ca = instance.ca_file.display(),
        token = token.trim(),
    );
    fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}

fn start_manager(binary: &Path, kubeconfig: &Path, folder: &Path) -> Result<Running> {
    let log = fs::File::create(folder.join("manager.log")).context("cannot write a log")?;
    let mut command = Command::new(binary);
    command
        .args(["serve", "--namespace", NAMESPACE])
        .env("KUBECONFIG", kubeconfig)
        .env_remove("OCCM_STORE")
        .env_remove("KUBERNETES_SERVICE_HOST")
        .stdout(Stdio::null())
        .stderr(log);
    Running::start(&mut command)
}

fn random_word() -> Result<String> {
    let mut bytes = [0_u8; 16];
    fs::File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .context("cannot read random bytes")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn apply(instance: &Instance, folder: &Path, yaml: &str, more: &[&str]) -> Result<()> {
    let file = folder.join("objects.yaml");
    fs::write(&file, yaml).with_context(|| format!("cannot write {}", file.display()))?;
    let mut command = instance.kubectl();
    command.args(more).args(["apply", "-f"]).arg(&file);
    process::output(&mut command).map(drop)
}

/// One request to the CA's own pages.
fn get(address: &str, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address).context("cannot reach the CA")?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").context("cannot ask the CA")?;
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .context("cannot read the CA's answer")?;
    let (_, body) = answer
        .split_once("\r\n\r\n")
        .context("the CA's answer has no body")?;
    Ok(body.to_owned())
}

fn say_what_to_try(instance: &Instance, ca: &str) {
    let kubectl = instance.assets.join("kubectl");
    let lines = [
        format!(
            "occm manages the namespace {NAMESPACE} of Kubernetes {}. NOT FOR PRODUCTION",
            instance.version
        ),
        String::new(),
        "Look at it, in another terminal:".to_owned(),
        format!("  export KUBECONFIG={}", instance.kubeconfig.display()),
        format!("  alias kubectl='{} --namespace {NAMESPACE}'", kubectl.display()),
        "  kubectl get occm".to_owned(),
        format!("  kubectl describe certificates.occm.dev {FIRST}"),
        format!(
            "  kubectl get secret {FIRST} -o jsonpath='{{.data.tls\\.crt}}' | base64 -d | openssl x509 -noout -text"
        ),
        format!("  curl -s http://{ca}/-/ledger"),
        String::new(),
        "Then try:".to_owned(),
        format!(
            "  kubectl delete secret {FIRST}; kubectl get secret {FIRST}     it is back, with the same bytes"
        ),
        format!(
            "  kubectl patch secret {FIRST} -p '{{\"data\":{{\"tls.crt\":\"eA==\"}}}}'; kubectl describe certificates.occm.dev {FIRST}"
        ),
        format!(
            "  kubectl annotate certificates.occm.dev {FIRST} occm.dev/renew=\"$(date +%s)\" --overwrite     a new certificate"
        ),
        "  kubectl get events --watch".to_owned(),
        "  kubectl get certificates.occm.dev refused     what a wrong shared secret looks like".to_owned(),
        String::new(),
        "Ctrl-C stops everything and deletes the control plane.".to_owned(),
    ];
    println!("{}", lines.join("\n"));
}
