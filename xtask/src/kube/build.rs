//! The programs of the control plane, built once from their Go modules and kept in the cache by version.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::kube::module;
use crate::kube::version::{self, Version};
use crate::{cache, debian, process};

/// Said when Go is missing.
const HOW_TO_GET_GO: &str = "install Go 1.26 or newer, or set KUBEBUILDER_ASSETS to a folder that holds etcd, \
     kube-apiserver, kube-controller-manager and kubectl";

/// One program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    Etcd,
    ApiServer,
    ControllerManager,
    Kubectl,
    Scheduler,
    Kwok,
    Helm,
}

/// What every control plane needs.
pub(crate) const CONTROL_PLANE: [Program; 4] = [
    Program::Etcd,
    Program::ApiServer,
    Program::ControllerManager,
    Program::Kubectl,
];

/// A control plane that also schedules, plays the kubelet, and has a chart installed.
pub(crate) const CLUSTER: [Program; 7] = [
    Program::Etcd,
    Program::ApiServer,
    Program::ControllerManager,
    Program::Kubectl,
    Program::Scheduler,
    Program::Kwok,
    Program::Helm,
];

/// How one program is built.
struct Recipe {
    /// Name of the committed module below `xtask/kube`.
    module: &'static str,
    /// The Go module that gives the version.
    versioned_by: &'static str,
    package: &'static str,
    /// The variable that the linker sets to the version, if the program should know it.
    version_variable: Option<&'static str>,
}

impl Program {
    /// The file's name.
    pub(crate) fn file(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::ApiServer => "kube-apiserver",
            Self::ControllerManager => "kube-controller-manager",
            Self::Kubectl => "kubectl",
            Self::Scheduler => "kube-scheduler",
            Self::Kwok => "kwok",
            Self::Helm => "helm",
        }
    }

    fn recipe(self) -> Recipe {
        let of_kubernetes = |package| Recipe {
            module: "kubernetes",
            versioned_by: "k8s.io/kubernetes",
            package,
            version_variable: Some("k8s.io/component-base/version.gitVersion"),
        };
        match self {
            Self::Etcd => Recipe {
                module: "etcd",
                versioned_by: "go.etcd.io/etcd/server/v3",
                package: "go.etcd.io/etcd/server/v3",
                version_variable: None,
            },
            Self::ApiServer => of_kubernetes("k8s.io/kubernetes/cmd/kube-apiserver"),
            Self::ControllerManager => of_kubernetes("k8s.io/kubernetes/cmd/kube-controller-manager"),
            Self::Kubectl => of_kubernetes("k8s.io/kubernetes/cmd/kubectl"),
            Self::Scheduler => of_kubernetes("k8s.io/kubernetes/cmd/kube-scheduler"),
            Self::Kwok => Recipe {
                module: "kwok",
                versioned_by: "sigs.k8s.io/kwok",
                package: "sigs.k8s.io/kwok/cmd/kwok",
                version_variable: Some("sigs.k8s.io/kwok/pkg/consts.Version"),
            },
            Self::Helm => Recipe {
                module: "helm",
                versioned_by: "helm.sh/helm/v4",
                package: "helm.sh/helm/v4/cmd/helm",
                version_variable: Some("helm.sh/helm/v4/internal/version.version"),
            },
        }
    }
}

/// A folder that holds the programs under their own names: what `KUBEBUILDER_ASSETS` means.
#[derive(Debug, Clone)]
pub(crate) struct Assets {
    pub(crate) folder: PathBuf,
    pub(crate) version: Version,
}

impl Assets {
    /// The folder named by `KUBEBUILDER_ASSETS` if it is of the wanted version, else one in the cache, built if need be.
    pub(crate) fn bring(wish: Option<Version>, programs: &[Program]) -> Result<Self> {
        let given = Self::given()?.filter(|given| wish.is_none_or(|wish| wish == given.version));
        if let Some(given) = &given {
            let missing = given.lacks(programs);
            if missing.is_empty() {
                return Ok(given.clone());
            }
            // A folder of our own may lack programs that come on demand; they are built beside the others.
            if !given.folder.starts_with(cache::folder()?) {
                bail!(
                    "KUBEBUILDER_ASSETS is {}, which lacks {}; unset it to have everything built",
                    given.folder.display(),
                    missing.join(", ")
                );
            }
        }
        let version = wish
            .or(given.map(|given| given.version))
            .map_or_else(Version::pinned, Ok)?;
        let folder = cache::folder()?.join("kube").join(version.to_string());
        cache::make(&folder)?;
        for program in programs {
            let built = build(*program, version)?;
            link(&built, &folder.join(program.file()))?;
        }
        Ok(Self { folder, version })
    }

    /// What `KUBEBUILDER_ASSETS` names, with the version its API server tells.
    fn given() -> Result<Option<Self>> {
        let Some(folder) = std::env::var_os("KUBEBUILDER_ASSETS").filter(|folder| !folder.is_empty()) else {
            return Ok(None);
        };
        let folder = PathBuf::from(folder);
        let server = folder.join(Program::ApiServer.file());
        let said = process::output(Command::new(&server).arg("--version"))
            .with_context(|| format!("KUBEBUILDER_ASSETS is {}", folder.display()))?;
        let version = said.trim().trim_start_matches("Kubernetes ").parse()?;
        Ok(Some(Self { folder, version }))
    }

    fn lacks(&self, programs: &[Program]) -> Vec<&'static str> {
        let missing = programs
            .iter()
            .filter(|program| !process::is_executable(&self.path(**program)));
        missing.map(|program| program.file()).collect()
    }

    /// The path of a program.
    pub(crate) fn path(&self, program: Program) -> PathBuf {
        self.folder.join(program.file())
    }

    /// kwok's stages (how fake nodes and Pods come to life), kept beside the program when it is built.
    pub(crate) fn kwok_stages(&self) -> Result<PathBuf> {
        let program = self.path(Program::Kwok);
        let real =
            fs::canonicalize(&program).with_context(|| format!("cannot find {}", program.display()))?;
        let stages = real.with_file_name("stages.yaml");
        if !stages.exists() {
            bail!("{} has no stages.yaml beside it", real.display());
        }
        Ok(stages)
    }
}

fn link(target: &Path, link: &Path) -> Result<()> {
    if fs::read_link(link).is_ok_and(|found| found == target) {
        return Ok(());
    }
    let _ = fs::remove_file(link);
    std::os::unix::fs::symlink(target, link).with_context(|| format!("cannot link {}", link.display()))
}

/// The built program's path in the cache.
fn build(program: Program, kubernetes: Version) -> Result<PathBuf> {
    let recipe = program.recipe();
    let is_kubernetes = recipe.module == "kubernetes";
    let version = if is_kubernetes {
        kubernetes.to_string()
    } else {
        pinned(&recipe)?
    };
    let folder = cache::folder()?
        .join("tools")
        .join(format!("{}-{version}", program.file()));
    let file = folder.join(program.file());
    if process::is_executable(&file) {
        return Ok(file);
    }
    let _lock = cache::Lock::take(&format!("build-{}-{version}", program.file()))?;
    if process::is_executable(&file) {
        return Ok(file);
    }
    if process::find("go").is_none() {
        bail!(
            "{} {version} is not here and there is no Go to build it: {HOW_TO_GET_GO}",
            program.file()
        );
    }
    let source = if is_kubernetes {
        module::of_kubernetes(kubernetes)?
    } else {
        module::committed(recipe.module)
    };
    cache::make(&folder)?;
    if program == Program::Kwok {
        keep_stages(&source, &folder)?;
    }
    let unfinished = folder.join("unfinished");
    let mut command = module::go(&source);
    command
        .args(["build", "-buildvcs=false", "-mod=readonly", "-trimpath"])
        .arg(linker_flags(&recipe, &version))
        .arg("-o")
        .arg(&unfinished)
        .arg(recipe.package);
    let what = format!("building {} {version} from its Go module", program.file());
    let log = debian::log(&format!("build-{}-{version}", program.file()))?;
    process::run_with_progress(&mut command, &what, &log, Duration::from_secs(3600))?;
    fs::rename(&unfinished, &file).with_context(|| format!("cannot keep {}", file.display()))?;
    Ok(file)
}

/// The version in the committed module, without the leading `v`.
fn pinned(recipe: &Recipe) -> Result<String> {
    let file = module::committed(recipe.module).join("go.mod");
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let version = version::required(&text, recipe.versioned_by)
        .with_context(|| format!("{} pins no {}", file.display(), recipe.versioned_by))?;
    Ok(version.trim_start_matches('v').to_owned())
}

/// Without the version the server would call itself v0.0.0, and clients that look at it complain.
fn linker_flags(recipe: &Recipe, version: &str) -> String {
    let mut flags = "-ldflags=-s -w".to_owned();
    if let Some(variable) = recipe.version_variable {
        flags.push_str(&format!(" -X {variable}=v{version}"));
    }
    if recipe.module == "kubernetes"
        && let [major, minor, ..] = version.split('.').collect::<Vec<_>>().as_slice()
    {
        let base = "k8s.io/component-base/version";
        flags.push_str(&format!(" -X {base}.gitMajor={major} -X {base}.gitMinor={minor}"));
    }
    flags
}

/// kwok does nothing without stages; its module carries the usual ones.
fn keep_stages(source: &Path, folder: &Path) -> Result<()> {
    let mut list = module::go(source);
    list.args([
        "list",
        "-mod=readonly",
        "-m",
        "-f",
        "{{.Dir}}",
        "sigs.k8s.io/kwok",
    ]);
    process::output(module::go(source).args(["mod", "download", "sigs.k8s.io/kwok"]))?;
    let module = PathBuf::from(process::output(&mut list)?.trim());
    let mut stages = String::new();
    for part in ["node/fast", "node/heartbeat-with-lease", "pod/fast"] {
        let from = module.join("kustomize/stage").join(part);
        let entries = fs::read_dir(&from).with_context(|| format!("kwok has no {}", from.display()))?;
        let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        files.sort();
        for file in files {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            if name.ends_with(".yaml") && name != "kustomization.yaml" {
                let text =
                    fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
                stages.push_str("---\n");
                stages.push_str(&text);
            }
        }
    }
    let file = folder.join("stages.yaml");
    fs::write(&file, stages).with_context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_program_has_a_pinned_version_in_its_module() {
        for program in [Program::Etcd, Program::ApiServer, Program::Kwok, Program::Helm] {
            let version = pinned(&program.recipe()).unwrap();
            assert!(
                version.starts_with(|c: char| c.is_ascii_digit()),
                "{program:?}: {version}"
            );
        }
    }

    #[test]
    fn kubernetes_learns_its_version_from_the_linker() {
        let flags = linker_flags(&Program::ApiServer.recipe(), "1.36.3");
        assert!(flags.contains("version.gitVersion=v1.36.3"), "{flags}");
        assert!(flags.contains("version.gitMinor=36"), "{flags}");
        assert_eq!(linker_flags(&Program::Etcd.recipe(), "3.6.8"), "-ldflags=-s -w");
    }
}
