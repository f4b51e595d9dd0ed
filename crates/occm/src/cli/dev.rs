//! `occm dev`: a CA, the manager and a few certificates in one process, for a first try.

use std::io::{IsTerminal, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use devca::http::Exposure;
use devca::{Config, DevCa};
use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{mpsc, watch};

use crate::cli::snapshot::Snapshot;
use crate::cli::status::{certificate_and_issuer_tables, certificate_row, issuer_row};
use crate::cli::{out, serve, stop_signal};
use crate::model::object::{DEFAULT_NAMESPACE, ObjectKey};
use crate::model::reason::Reason;
use crate::reconcile::manager::Observer;
use crate::store::dir::DirStore;
use crate::store::{Change, Event, Severity};

/// Lines of the latest events below the table.
const SHOWN_EVENTS: usize = 8;
/// When somebody spoils an output for the first time, so that a repair can be seen.
const SPOIL_FIRST: Duration = Duration::from_secs(20);
/// How often after that: seldom enough not to be taken for a fight.
const SPOIL_EVERY: Duration = Duration::from_secs(75);

/// Settings of the try.
///
/// Everything listens on loopback, lives in a directory that is deleted at the end, and uses a CA that is NOT FOR
/// PRODUCTION.
#[derive(Args)]
pub(crate) struct Dev {
    /// Address of the CA; loopback only, port 0 = any free one
    #[arg(long, default_value_t = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0), value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Use this directory and keep it, instead of a throw-away one
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Address of the REST API and the console; loopback only, port 0 = any free one
    #[cfg(feature = "api")]
    #[arg(long, default_value_t = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0), value_name = "ADDRESS")]
    api: SocketAddr,
}

/// Passes events on to the screen.
struct Told(mpsc::Sender<Event>);

impl Observer for Told {
    fn event(&self, event: &Event) {
        // A full channel means a slow terminal: a line is lost, nothing else.
        let _ = self.0.try_send(event.clone());
    }

    fn exchange(&self, _: &ObjectKey, _: Reason, _: SignedDuration) {}
}

impl Dev {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        anyhow::ensure!(
            std::env::var_os("KUBERNETES_SERVICE_HOST").is_none(),
            "occm dev does not run inside a cluster: its CA signs everything; allowed: a workstation or a host"
        );
        anyhow::ensure!(
            self.listen.ip().is_loopback(),
            "--listen {}: not a loopback address; allowed: 127.0.0.1:PORT or [::1]:PORT",
            self.listen
        );
        let throw_away = self
            .dir
            .is_none()
            .then(|| tempfile::Builder::new().prefix("occm-dev-").tempdir())
            .transpose()?;
        let dir = match (&self.dir, &throw_away) {
            (Some(dir), _) => dir.clone(),
            (None, Some(temporary)) => temporary.path().to_owned(),
            (None, None) => anyhow::bail!("no directory"),
        };
        std::fs::create_dir_all(&dir).with_context(|| format!("--dir {}", dir.display()))?;
        let secret = pki::random::text(24)?;
        let ca = Arc::new(DevCa::new(
            Config::default().with_secret("demo", secret.as_bytes()),
            Timestamp::now(),
        )?);
        let listener = devca::http::bind(self.listen, Exposure::Loopback).await?;
        let address = listener.local_addr()?;
        write_objects(&dir, address, &secret, &ca.root().to_pem())?;
        let store = Arc::new(DirStore::open(&dir).with_context(|| dir.display().to_string())?);
        let (events, told) = mpsc::channel(256);
        let openssl = PathBuf::from("openssl");
        let holder = format!("pid-{}", std::process::id());
        let manager = serve::manager(
            store.clone(),
            DEFAULT_NAMESPACE,
            &holder,
            Arc::new(|| true),
            openssl,
            Arc::new(Told(events)),
        );
        let (stop, stopped) = watch::channel(false);
        let mut ca_stopped = stopped.clone();
        let ca_running = tokio::spawn(devca::http::serve(ca, listener, async move {
            let _ = ca_stopped.wait_for(|stop| *stop).await;
        }));
        #[cfg(feature = "api")]
        let served = self.serve_api(&dir, &store, &holder, stopped.clone()).await?;
        let running = tokio::spawn(manager.run(stopped.clone()));
        let spoiling = tokio::spawn(spoil(dir.clone(), stopped.clone()));
        print_welcome(&dir, address, throw_away.is_some());
        // The manager's own store does not tell it what it wrote itself.
        let looked_at = Arc::new(DirStore::open_client(&dir).with_context(|| dir.display().to_string())?);
        let shown = tokio::spawn(show(looked_at, told, stopped));
        stop_signal().await;
        stop.send_replace(true);
        out::line("\nstopping");
        running.await?.context("a look ended unexpectedly")?;
        spoiling.await?;
        shown.await??;
        #[cfg(feature = "api")]
        served.ended().await;
        // An open keep-alive connection of the manager may hold the server; the process ends anyway.
        let _ = tokio::time::timeout(Duration::from_secs(2), ca_running).await;
        drop(throw_away);
        Ok(ExitCode::SUCCESS)
    }
}

#[cfg(feature = "api")]
impl Dev {
    /// Serves the API and the console; the login and a token for programs lie in files, too.
    async fn serve_api(
        &self,
        dir: &Path,
        store: &Arc<DirStore>,
        holder: &str,
        stop: watch::Receiver<bool>,
    ) -> anyhow::Result<crate::cli::door::Served> {
        anyhow::ensure!(
            self.api.ip().is_loopback(),
            "--api {}: not a loopback address; allowed: 127.0.0.1:PORT or [::1]:PORT",
            self.api
        );
        let place = crate::cli::door::Place {
            store: "Directory",
            home: DEFAULT_NAMESPACE.to_owned(),
            namespaces: Vec::new(),
            holder: holder.to_owned(),
            leads: Box::new(|| true),
            openssl: PathBuf::from("openssl"),
        };
        let told = std::sync::atomic::AtomicBool::new(false);
        let tell = move |link: &str| {
            // The next logins are in the file; printed into the table they would be gone at once.
            if !told.swap(true, std::sync::atomic::Ordering::Relaxed) {
                out::line(&format!("  console   {link}   a login that is good once"));
            }
        };
        let door = crate::cli::door::DoorArgs::at(self.api);
        let served = door
            .serve_directory(dir, store.clone(), place, tell, stop)
            .await?;
        let served = served.context("the API is not served")?;
        let private = dir.join(".occm/api");
        let private = private.display();
        out::line(&format!("  API       {}/api/v1", served.url));
        out::line(&format!(
            "            token for programs in {private}/token, the next login in {private}/login"
        ));
        Ok(served)
    }
}

fn print_welcome(dir: &Path, address: SocketAddr, throw_away: bool) {
    let occm = std::env::current_exe().map_or_else(|_| "occm".to_owned(), |path| out::word(&path));
    let at = |path: &str| out::word(&dir.join(path));
    let (certificate, secret) = (
        at("secrets/default/web-tls/tls.crt"),
        at("secrets/default/web-tls"),
    );
    let store = out::word(dir);
    let dir = dir.display();
    out::line("occm dev: a CA, the manager and a few certificates in one process. NOT FOR PRODUCTION");
    out::line("");
    out::line(&format!(
        "  objects   {dir}/demo.yaml            edit it, add files: the manager notices"
    ));
    out::line(&format!(
        "  outputs   {dir}/secrets/default/     one directory for each Secret"
    ));
    out::line(&format!("  CA        http://{address}/cmp"));
    out::line("");
    out::line("Look at what was issued, in another terminal:");
    for command in [
        format!("openssl x509 -in {certificate} -noout -text"),
        format!("{occm} inspect {certificate}"),
        format!("{occm} status --store {store}"),
        format!("curl -s http://{address}/-/ledger"),
    ] {
        out::line(&format!("  {command}"));
    }
    out::line("");
    out::line("Then try:");
    for (command, outcome) in [
        (format!("rm -r {secret}"), "it is back, with the same bytes"),
        (
            format!("{occm} renew web-tls --wait --store {store}"),
            "a new certificate",
        ),
        (
            format!("{occm} status refused --store {store}"),
            "what a wrong secret looks like",
        ),
    ] {
        out::line(&format!("  {command}  # {outcome}"));
    }
    out::line("");
    out::line(match throw_away {
        true => "Ctrl-C stops everything and deletes the directory.",
        false => "Ctrl-C stops everything; the directory stays.",
    });
    out::line("");
}

/// The objects of the try.
fn write_objects(dir: &Path, address: SocketAddr, secret: &str, root: &str) -> anyhow::Result<()> {
    let root: String = root.lines().map(|line| format!("    {line}\n")).collect();
    let text = include_str!("dev/demo.yaml")
        .replace("@ADDRESS@", &address.to_string())
        .replace("@SECRET@", secret)
        .replace("    @ROOT@\n", &root);
    let path = dir.join("demo.yaml");
    let mut options = std::fs::OpenOptions::new();
    std::os::unix::fs::OpenOptionsExt::mode(options.write(true).create(true).truncate(true), 0o600)
        .open(&path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| path.display().to_string())
}

/// Spoils an output now and then, so that a repair can be seen.
async fn spoil(dir: PathBuf, mut stopped: watch::Receiver<bool>) {
    let path = dir.join("secrets/default/drifting-tls/tls.crt");
    let mut pause = SPOIL_FIRST;
    loop {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = stopped.wait_for(|stop| *stop) => return,
        }
        pause = SPOIL_EVERY;
        if path.exists() {
            // Somebody writes over it in place, as a careless script would.
            let _ = std::fs::write(&path, "spoiled on purpose by occm dev\n");
        }
    }
}

/// Shows a live table on a terminal, plain lines elsewhere.
async fn show(
    store: Arc<DirStore>,
    mut told: mpsc::Receiver<Event>,
    mut stopped: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    use crate::store::Store;
    let terminal = std::io::stdout().is_terminal();
    let mut changes = store.watch();
    let mut snapshot = Snapshot::default();
    let mut latest: Vec<String> = Vec::new();
    let mut redraw = tokio::time::interval(Duration::from_secs(1));
    let mut drawn = 0;
    loop {
        tokio::select! {
            Some(change) = changes.next() => {
                if !matches!(change, Change::Synced) {
                    snapshot.apply(change);
                }
            }
            Some(event) = told.recv() => {
                let line = event_line(&event);
                if terminal {
                    latest.push(line);
                    let surplus = latest.len().saturating_sub(SHOWN_EVENTS);
                    latest.drain(..surplus);
                } else {
                    out::line(&line);
                }
            }
            _ = redraw.tick(), if terminal => drawn = draw(&snapshot, &latest, drawn)?,
            _ = stopped.wait_for(|stop| *stop) => return Ok(()),
        }
    }
}

fn event_line(event: &Event) -> String {
    let mark = match event.severity {
        Severity::Normal => "ok  ",
        Severity::Warning => "WARN",
    };
    let time = event.time.strftime("%H:%M:%S");
    format!(
        "{time} {mark} {:<14} {:<16} {}",
        event.object.name,
        event.reason.as_str(),
        event.message.replace('\n', "; ")
    )
}

/// Draws the table over the one before; says how many lines it has.
fn draw(snapshot: &Snapshot, latest: &[String], before: usize) -> anyhow::Result<usize> {
    let now = Timestamp::now();
    let issuers: Vec<Vec<String>> = snapshot
        .issuers
        .iter()
        .map(|(key, seen)| issuer_row(key, seen, now))
        .collect();
    let certificates: Vec<Vec<String>> = snapshot
        .certificates
        .iter()
        .map(|(key, seen)| certificate_row(key, seen, now))
        .collect();
    let mut text = certificate_and_issuer_tables(&issuers, &certificates);
    text.push_str("\nlatest events (UTC)\n");
    latest.iter().for_each(|line| {
        text.push_str(line);
        text.push('\n');
    });
    let (columns, rows) = terminal_size();
    // What does not fit would scroll, and the next drawing would begin too low: the latest lines are kept.
    let lines: Vec<&str> = text.lines().collect();
    let surplus = lines.len().saturating_sub(rows.saturating_sub(1));
    let lines = lines.get(surplus..).unwrap_or_default();
    let mut out = std::io::stdout().lock();
    if before > 0 {
        write!(out, "\x1b[{before}A\x1b[J")?;
    }
    for line in lines {
        writeln!(out, "{}", line.chars().take(columns).collect::<String>())?;
    }
    out.flush()?;
    Ok(lines.len())
}

/// Columns and rows of the terminal; 80 and 24 where it does not say.
fn terminal_size() -> (usize, usize) {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok();
    let size = size.filter(|size| size.ws_col > 0 && size.ws_row > 0);
    size.map_or((80, 24), |size| (size.ws_col.into(), size.ws_row.into()))
}
