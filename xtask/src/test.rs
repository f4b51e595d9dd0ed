//! `cargo xtask test`: every test there is, as a list of steps.
//!
//! ```text
//! checks       format, lints, documentation, dependencies, the console's types, units and build
//! bringing     Debian packages, the binary, OpenSSL 3.5, the Kubernetes control plane
//! tests        each crate from left to right, documentation examples, Kubernetes, the console in a browser
//! afterwards   committed files are as they were
//! ```

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::console::say;
use crate::debian::{self, Tool};
use crate::kube::build::{Assets, CLUSTER};
use crate::kube::version::Version;
use crate::libtest::{Reader, show_of_cargo};
use crate::plan::{self, Action, Step};
use crate::report::{Outcome, Skips};
use crate::unpack::UNPACKED;
use crate::web::{self, Web};
use crate::workspace::{Package, Workspace};
use crate::{cache, demo, deny, image, peers, process, python, stream};

/// Run every test there is, and say what was skipped and why.
///
/// What the tests need is brought: Debian packages (as root), OpenSSL 3.5, a Kubernetes control plane built from its Go
/// modules. What cannot be brought is said, with the way to get it, and the tests that need it are skipped. With
/// CI=true a skip is a failure. A failed step does not keep the others from running.
///
///   cargo xtask test --list            what would run
///   cargo xtask test --only test-cmp   one step and what it needs
///
/// The tests find things through the environment:
///
///   OCCM_OPENSSL35       an `openssl` command of 3.5 or newer
///   OCCM_PROMTOOL        `promtool`, judge of metrics
///   OCCM_FAKETIME        libfaketime, for clocks that jump
///   OCCM_BIN             the built `occm`
///   OCCM_XTASK           this program, for `kube up --json` and its kin
///   KUBEBUILDER_ASSETS   folder with etcd, kube-apiserver, kube-controller-manager, kubectl, kube-scheduler, kwok, helm
///   OCCM_SCHEMATHESIS    `schemathesis`, judge of the REST API
///   OCCM_CHROMIUM        a Chromium for the console's tests; brought from Debian's packages unless set
///   OCCM_LONG            set by --long: take minutes where seconds are usual
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// Kubernetes version of the Kubernetes tests (1.34, 1.35, 1.36, 1.37 or a full one); may be given more than once.
    #[arg(long, value_name = "VERSION")]
    kube_version: Vec<String>,
    /// Only the steps whose names begin so, and what they need; may be given more than once.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Also the tests that take long: ignored ones whose reason begins with `long`, and more random cases.
    #[arg(long)]
    long: bool,
    /// Print the steps and run nothing.
    #[arg(long)]
    list: bool,
}

/// Random cases of each property test with `--long`; the usual number is the library's.
const LONG_CASES: &str = "10000";

/// No step hangs for ever.
const LIMIT: Duration = Duration::from_secs(1800);

/// The crate that has the binary and the Kubernetes tests.
const PRODUCT: &str = "occm";

/// Tests of this crate whose files begin so need a control plane.
const KUBE_TESTS: &str = "kube_";

/// The test of the container images.
const IMAGE: &str = "image";

/// The test that compares what the manager asked for in those with the chart's rights.
const RIGHTS: &str = "rights";

/// Name of that crate's simulation test, and of the cargo profile that makes it fast enough.
const SIMULATION: &str = "simulation";

/// The step that builds the console.
const CONSOLE_BUILD: &str = "console-build";

/// Programs that tests use, beside those of the Rust toolchain.
const TOOLS: [Tool; 6] = [
    Tool {
        program: "cc",
        package: "build-essential",
        purpose: "compiling the cryptography library",
    },
    Tool {
        program: "openssl",
        package: "openssl",
        purpose: "a foreign CMP peer and judge of certificates",
    },
    Tool {
        program: "ip",
        package: "iproute2",
        purpose: "network namespaces for mock servers",
    },
    Tool {
        program: "unshare",
        package: "util-linux",
        purpose: "network namespaces for mock servers",
    },
    Tool {
        program: "strace",
        package: "strace",
        purpose: "killing the manager after each of its steps",
    },
    Tool {
        program: "git",
        package: "git",
        purpose: "seeing whether committed files changed",
    },
];

/// What steps leave for later ones.
struct World {
    workspace: Workspace,
    /// Where the output of each step is kept.
    logs: PathBuf,
    /// For the tests.
    environment: Vec<(&'static str, OsString)>,
    /// Control planes that were brought.
    assets: Vec<Assets>,
    /// The console, once it is built.
    console: Option<Web>,
    long: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let workspace = Workspace::load()?;
    let skips = if std::env::var_os("CI").is_some_and(|ci| ci == "true") {
        Skips::AreFailures
    } else {
        Skips::AreFine
    };
    let steps = plan::choose(steps(&workspace, args, skips)?, &args.only)?;
    if args.list {
        println!("{}", plan::describe(&steps));
        return Ok(ExitCode::SUCCESS);
    }
    say(plan::describe(&steps));
    let mut world = World::new(workspace, args.long)?;
    let report = plan::run(steps, &mut world);
    say("");
    println!("{}", report.text(skips));
    Ok(if report.is_good(skips) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The plan. A step for which there is nothing to run is not in it.
fn steps(workspace: &Workspace, args: &Args, skips: Skips) -> Result<Vec<Step<World>>> {
    let mut steps = vec![
        step(
            "tools",
            "programs that the tests use, from Debian packages",
            &[],
            bring_tools(),
        ),
        step(
            "format",
            "cargo fmt --check",
            &[],
            cargo(&["fmt", "--all", "--check", "--", "--color", "never"]),
        ),
        step(
            "lints",
            "clippy, warnings are errors",
            &["tools"],
            lints(workspace),
        ),
        step("docs", "rustdoc, warnings are errors", &["tools"], docs()),
        step(
            "dependencies",
            "licences, banned and doubled crates, sources: deny.toml",
            &[],
            dependencies(),
        ),
        step(
            CONSOLE_BUILD,
            "the console's types, unit tests and build, by npm",
            &[],
            console_build(),
        ),
        step(
            "binary",
            "the occm binary, for tests that start it",
            &["tools"],
            binary(),
        ),
        step(
            "peers",
            "OpenSSL 3.5, a foreign CMP peer",
            &["tools"],
            bring_peers(),
        ),
        step(
            "unpacked",
            "promtool and libfaketime, from Debian packages",
            &["tools"],
            bring_unpacked(),
        ),
        step(
            "schemathesis",
            "judge of the REST API, from Python's package index",
            &[],
            bring_schemathesis(),
        ),
    ];
    let needs = ["tools", "binary", "peers", "unpacked", "schemathesis"];
    for package in &workspace.packages {
        let what = format!("unit and integration tests of {}", package.name);
        let name = format!("test-{}", package.name);
        steps.push(step(&name, &what, &needs, crate_tests(package)));
    }
    steps.push(step(
        "doc-tests",
        "examples in the documentation",
        &["tools"],
        doc_tests(workspace),
    ));
    if product_has(workspace, is_simulation) {
        let what = "the rules in simulated time, with optimisation";
        steps.push(step("simulation", what, &["tools"], simulation()));
    }
    if product_has(workspace, |test| test == IMAGE) {
        let what = "the container images are written and run";
        steps.push(step("images", what, &["tools", "binary"], images()));
    }
    steps.extend(kube_steps(workspace, &args.kube_version)?);
    steps.push(console_e2e(&steps));
    // Elsewhere a person may be editing while the tests run.
    if skips == Skips::AreFailures && workspace.root.join(".git").exists() {
        let before = changed_files(&workspace.root);
        steps.push(step(
            "tree",
            "committed files are as they were",
            &["tools"],
            tree(before),
        ));
    }
    Ok(steps)
}

fn step(name: &str, what: &str, needs: &[&str], run: Action<World>) -> Step<World> {
    let needs = needs.iter().map(|need| (*need).to_owned()).collect();
    Step {
        name: name.to_owned(),
        what: what.to_owned(),
        needs,
        run,
    }
}

/// Two steps for each version, if there are such tests.
fn kube_steps(workspace: &Workspace, wishes: &[String]) -> Result<Vec<Step<World>>> {
    if !product_has(workspace, is_kube_test) {
        ensure!(wishes.is_empty(), "--kube-version: there are no Kubernetes tests");
        return Ok(Vec::new());
    }
    let mut versions = wishes
        .iter()
        .map(|wish| Version::wish(wish))
        .collect::<Result<Vec<_>>>()?;
    if versions.is_empty() {
        versions.push(Version::pinned()?);
    }
    let mut steps = Vec::new();
    for version in versions {
        let bring = format!("kubernetes-{version}");
        let what = format!("control plane {version}, built from Go modules or from KUBEBUILDER_ASSETS");
        steps.push(step(&bring, &what, &["tools"], bring_control_plane(version)));
        // The OpenID Connect provider of the tests is one of the console's packages.
        let needs = ["tools", "binary", "peers", "unpacked", CONSOLE_BUILD, &bring];
        let what = format!("tests on a real Kubernetes {version}");
        steps.push(step(
            &format!("kube-{version}"),
            &what,
            &needs,
            kube_tests(version),
        ));
        let what = format!("every right of the chart is used there, and no other; Kubernetes {version}");
        let needs = ["tools", &format!("kube-{version}") as &str];
        steps.push(step(&format!("rights-{version}"), &what, &needs, rights(version)));
    }
    Ok(steps)
}

fn bring_tools() -> Action<World> {
    Box::new(|_| match debian::bring(&TOOLS) {
        Ok(installed) if installed.is_empty() => Outcome::Done("all here".to_owned()),
        Ok(installed) => Outcome::Done(format!("installed {}", installed.join(", "))),
        Err(error) => Outcome::Skipped(format!("{error:#}")),
    })
}

fn bring_peers() -> Action<World> {
    Box::new(|world| match peers::openssl() {
        Ok(openssl) => {
            let found = format!("{}", openssl.display());
            world.environment.push(("OCCM_OPENSSL35", openssl.into()));
            Outcome::Done(found)
        }
        Err(error) => Outcome::Skipped(format!("{error:#}")),
    })
}

fn bring_unpacked() -> Action<World> {
    Box::new(|world| {
        for unpacked in UNPACKED {
            match unpacked.bring() {
                Ok(file) => world.environment.push((unpacked.variable, file.into())),
                Err(error) => return Outcome::Skipped(format!("{error:#}")),
            }
        }
        Outcome::Done("all here".to_owned())
    })
}

fn bring_schemathesis() -> Action<World> {
    Box::new(|world| match python::schemathesis() {
        Ok(program) => {
            let found = format!("{}", program.display());
            world.environment.push(("OCCM_SCHEMATHESIS", program.into()));
            Outcome::Done(found)
        }
        Err(error) => Outcome::Skipped(format!("{error:#}")),
    })
}

fn bring_control_plane(version: Version) -> Action<World> {
    Box::new(move |world| match Assets::bring(Some(version), &CLUSTER) {
        Ok(assets) => {
            let found = format!("{}", assets.folder.display());
            world.assets.push(assets);
            Outcome::Done(found)
        }
        Err(error) => Outcome::Skipped(format!("{error:#}")),
    })
}

fn cargo(arguments: &'static [&'static str]) -> Action<World> {
    Box::new(move |world| {
        let mut command = world.workspace.cargo();
        command.args(arguments);
        world.check(&mut command, arguments.first().copied().unwrap_or("cargo"))
    })
}

/// With all features, with none, and as the demo is built.
fn lints(workspace: &Workspace) -> Action<World> {
    let has_features = workspace.packages.iter().any(Package::has_features);
    Box::new(move |world| {
        let runs: &[&[&str]] = if has_features {
            &[
                &["--workspace", "--all-targets", "--all-features"],
                &["--workspace", "--all-targets", "--no-default-features"],
                demo::PROGRAM,
            ]
        } else {
            &[&["--workspace", "--all-targets", "--all-features"]]
        };
        for what in runs {
            let mut command = world.workspace.cargo();
            command
                .arg("clippy")
                .args(*what)
                .args(["--", "--deny", "warnings"]);
            if let failed @ Outcome::Failed(_) = world.check(&mut command, "lints") {
                return failed;
            }
        }
        Outcome::Done("clean".to_owned())
    })
}

fn docs() -> Action<World> {
    Box::new(|world| {
        let mut command = world.workspace.cargo();
        command
            .args(["doc", "--workspace", "--no-deps", "--document-private-items"])
            .env("RUSTDOCFLAGS", "-D warnings");
        world.check(&mut command, "docs")
    })
}

fn dependencies() -> Action<World> {
    Box::new(|world| match deny::check(&world.workspace) {
        Ok(found) => Outcome::Done(found),
        Err(error) => Outcome::Failed(format!("{error:#}")),
    })
}

/// With the console where it could be built.
fn binary() -> Action<World> {
    Box::new(|world| {
        let mut command = world.workspace.cargo();
        command.args(["build", "--package", PRODUCT, "--bin", PRODUCT]);
        if world.console.is_some() {
            command.args(["--features", "console"]);
        }
        let outcome = world.check(&mut command, "binary");
        if matches!(outcome, Outcome::Done(_)) {
            let binary = world.workspace.target.join("debug").join(PRODUCT);
            world.environment.push(("OCCM_BIN", binary.into()));
        }
        outcome
    })
}

/// What cannot be brought (Node.js, packages) is a skip; what is wrong in the console is a failure.
fn console_build() -> Action<World> {
    Box::new(|world| {
        let web = match Web::find(&world.workspace.root).and_then(|web| web.install().map(|()| web)) {
            Ok(web) => web,
            Err(error) => return Outcome::Skipped(format!("{error:#}")),
        };
        if let Err(error) = web.check(&world.log("console-types")).and_then(|()| web.build()) {
            return Outcome::Failed(format!("{error:#}"));
        }
        let command = web.npm(&["run", "--silent", "test"]);
        world.console = Some(web);
        world.count(command, CONSOLE_BUILD)
    })
}

/// The console in a browser, on a directory and on the control plane of the first Kubernetes step.
fn console_e2e(earlier: &[Step<World>]) -> Step<World> {
    let control_plane = earlier
        .iter()
        .map(|step| step.name.as_str())
        .find(|name| name.starts_with("kubernetes-"));
    let mut needs = vec!["tools", "binary", CONSOLE_BUILD];
    needs.extend(control_plane);
    step(
        "console-e2e",
        "the console in a real browser",
        &needs,
        Box::new(|world| {
            let Some(web) = &world.console else {
                return Outcome::Skipped("the console was not built".to_owned());
            };
            let mut command = web.npm(&["run", "--silent", "e2e"]);
            match web::browser() {
                Ok(browser) => command.env("OCCM_CHROMIUM", browser),
                Err(error) => return Outcome::Skipped(format!("{error:#}")),
            };
            if let Some(assets) = world.assets.first() {
                command.env("KUBEBUILDER_ASSETS", &assets.folder);
            }
            world.count(command, "console-e2e")
        }),
    )
}

/// All tests of a crate with all its features, but for those that have a step of their own.
fn crate_tests(package: &Package) -> Action<World> {
    let name = package.name.clone();
    let mut arguments = vec![
        "test".to_owned(),
        "--package".to_owned(),
        name.clone(),
        "--all-features".to_owned(),
    ];
    let runs_apart =
        |test: &str| is_kube_test(test) || is_simulation(test) || [RIGHTS, IMAGE].contains(&test);
    if package.tests().any(runs_apart) {
        arguments.extend(package.has_library().then(|| "--lib".to_owned()));
        arguments.extend(package.has_binary().then(|| "--bins".to_owned()));
        let others = package.tests().filter(|test| !runs_apart(test));
        arguments.extend(others.flat_map(|test| ["--test".to_owned(), test.to_owned()]));
    } else {
        arguments.push("--tests".to_owned());
    }
    Box::new(move |world| {
        let mut command = world.workspace.cargo();
        command.args(&arguments);
        world.tests(command, &format!("test-{name}"))
    })
}

fn product_has(workspace: &Workspace, wanted: fn(&str) -> bool) -> bool {
    workspace
        .package(PRODUCT)
        .is_some_and(|product| product.tests().any(wanted))
}

fn is_kube_test(test: &str) -> bool {
    test.starts_with(KUBE_TESTS)
}

fn is_simulation(test: &str) -> bool {
    test == SIMULATION
}

/// Without the Kubernetes libraries, which it does not use and which would be built once more with optimisation.
fn simulation() -> Action<World> {
    Box::new(|world| {
        let mut command = world.workspace.cargo();
        command.args([
            "test",
            "--profile",
            SIMULATION,
            "--package",
            PRODUCT,
            "--no-default-features",
        ]);
        command.args(["--features", "sim", "--test", SIMULATION]);
        world.tests(command, SIMULATION)
    })
}

/// Built without optimisation, which takes a third of the time.
fn images() -> Action<World> {
    Box::new(|world| {
        let folder = world.workspace.target.join("image");
        if let Err(error) = image::write(&folder, true) {
            return Outcome::Skipped(format!("{error:#}"));
        }
        let mut command = world.workspace.cargo();
        command.env("OCCM_IMAGES", folder);
        command.args(["test", "--package", PRODUCT, "--all-features", "--test", IMAGE]);
        world.tests(command, IMAGE)
    })
}

fn doc_tests(workspace: &Workspace) -> Action<World> {
    let libraries: Vec<String> = workspace
        .packages
        .iter()
        .filter(|package| package.has_library())
        .flat_map(|package| ["--package".to_owned(), package.name.clone()])
        .collect();
    Box::new(move |world| {
        let mut command = world.workspace.cargo();
        command.args(["test", "--doc", "--all-features"]).args(&libraries);
        world.tests(command, "doc-tests")
    })
}

fn kube_tests(version: Version) -> Action<World> {
    Box::new(move |world| {
        let Some(assets) = world.assets.iter().find(|assets| assets.version == version) else {
            return Outcome::Skipped(format!("the control plane {version} could not be brought"));
        };
        let mut command = world.workspace.cargo();
        let audit = world.audit(version);
        let _ = std::fs::remove_dir_all(&audit);
        if let Err(error) = cache::make(&audit) {
            return Outcome::Failed(format!("{error:#}"));
        }
        command.env("KUBEBUILDER_ASSETS", &assets.folder);
        command.env("OCCM_AUDIT", audit);
        command.args([
            "test",
            "--package",
            PRODUCT,
            "--all-features",
            "--test",
            &format!("{KUBE_TESTS}*"),
        ]);
        world.tests(command, &format!("kube-{version}"))
    })
}

/// After the Kubernetes tests: their API servers logged every request.
fn rights(version: Version) -> Action<World> {
    Box::new(move |world| {
        let Some(assets) = world.assets.iter().find(|assets| assets.version == version) else {
            return Outcome::Skipped(format!("the control plane {version} could not be brought"));
        };
        let mut command = world.workspace.cargo();
        command.env("KUBEBUILDER_ASSETS", &assets.folder);
        command.env("OCCM_AUDIT", world.audit(version));
        command.args(["test", "--package", PRODUCT, "--all-features", "--test", RIGHTS]);
        world.tests(command, &format!("rights-{version}"))
    })
}

fn tree(before: Result<String>) -> Action<World> {
    Box::new(move |world| {
        let after = changed_files(&world.workspace.root);
        match (before, after) {
            (Ok(before), Ok(after)) if before == after => Outcome::Done("unchanged".to_owned()),
            (Ok(_), Ok(after)) => Outcome::Failed(format!("building or testing changed files:\n{after}")),
            (Err(error), _) | (_, Err(error)) => Outcome::Failed(format!("{error:#}")),
        }
    })
}

fn changed_files(root: &Path) -> Result<String> {
    process::output(
        Command::new("git")
            .args(["status", "--porcelain"])
            .current_dir(root),
    )
}

impl World {
    fn new(workspace: Workspace, long: bool) -> Result<Self> {
        let logs = workspace.target.join("xtask");
        cache::make(&logs)?;
        let xtask = std::env::current_exe().context("cannot find this program")?;
        let mut environment = vec![("OCCM_XTASK", xtask.into_os_string())];
        if long {
            environment.push(("OCCM_LONG", "1".into()));
            environment.push(("PROPTEST_CASES", LONG_CASES.into()));
        }
        Ok(Self {
            workspace,
            logs,
            environment,
            assets: Vec::new(),
            console: None,
            long,
        })
    }

    /// Runs a command that has no tests.
    fn check(&self, command: &mut Command, log: &str) -> Outcome {
        command.env("CARGO_TERM_COLOR", "never");
        match stream::must(command, &self.log(log), LIMIT, show_of_cargo) {
            Ok(()) => Outcome::Done("clean".to_owned()),
            Err(error) => Outcome::Failed(format!("{error:#}")),
        }
    }

    /// Runs `cargo test` and counts.
    fn tests(&self, mut command: Command, log: &str) -> Outcome {
        command.args(["--no-fail-fast", "--", "--show-output"]);
        if self.long {
            command.arg("--include-ignored");
        }
        self.count(command, log)
    }

    /// Runs a program that tells its tests as `cargo test` does, and counts.
    fn count(&self, mut command: Command, log: &str) -> Outcome {
        command
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .env("CARGO_TERM_COLOR", "never");
        let mut reader = Reader::default();
        let ended = stream::must(&mut command, &self.log(log), LIMIT, |line| reader.line(line));
        let tally = reader.finish();
        for program in &tally.programs {
            say(format!(
                "  {:>5} tests in {:>8}  {}",
                program.tests, program.time, program.name
            ));
        }
        match ended {
            Ok(()) => Outcome::Tests(tally),
            Err(error) => Outcome::TestsFailed(
                tally,
                format!("{error:#}; all output: {}", self.log(log).display()),
            ),
        }
    }

    /// Where the API servers of the Kubernetes tests log requests.
    fn audit(&self, version: Version) -> PathBuf {
        self.logs.join(format!("audit-{version}"))
    }

    fn log(&self, name: &str) -> PathBuf {
        self.logs.join(format!("{name}.log"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(args: &Args, skips: Skips) -> Vec<String> {
        let workspace = Workspace::load().unwrap();
        steps(&workspace, args, skips)
            .unwrap()
            .into_iter()
            .map(|step| step.name)
            .collect()
    }

    fn plain() -> Args {
        Args {
            kube_version: Vec::new(),
            only: Vec::new(),
            long: false,
            list: false,
        }
    }

    #[test]
    fn crates_are_tested_from_left_to_right_and_none_is_forgotten() {
        let names = names(&plain(), Skips::AreFine);
        let crates: Vec<&str> = names
            .iter()
            .filter_map(|name| name.strip_prefix("test-"))
            .collect();
        let workspace = Workspace::load().unwrap();
        assert_eq!(crates.len(), workspace.packages.len());
        assert_eq!(crates.first(), Some(&"pki"));
    }

    #[test]
    fn every_need_names_an_earlier_step() {
        let workspace = Workspace::load().unwrap();
        let steps = steps(&workspace, &plain(), Skips::AreFailures).unwrap();
        for (number, step) in steps.iter().enumerate() {
            for need in &step.needs {
                assert!(
                    steps[..number].iter().any(|earlier| earlier.name == *need),
                    "{} needs {need}",
                    step.name
                );
            }
        }
    }
}
