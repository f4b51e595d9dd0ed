//! Debian packages: what is installed is left alone, what is missing is installed if we may (root with apt).

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::{cache, process};

/// A program that a chore needs and the Debian package that has it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tool {
    pub(crate) program: &'static str,
    pub(crate) package: &'static str,
    pub(crate) purpose: &'static str,
}

/// Installs the packages of those programs that are not in `PATH`; gives the names of what it installed.
pub(crate) fn bring(tools: &[Tool]) -> Result<Vec<&'static str>> {
    let missing: Vec<&Tool> = tools
        .iter()
        .filter(|tool| process::find(tool.program).is_none())
        .collect();
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    let packages: Vec<&str> = missing.iter().map(|tool| tool.package).collect();
    if !rustix::process::geteuid().is_root() || process::find("apt-get").is_none() {
        bail!("{}", wanting(&missing));
    }
    apt_get(&["update"], "apt-get update")?;
    let mut arguments = vec!["install", "--yes", "--no-install-recommends"];
    arguments.extend(&packages);
    apt_get(&arguments, &format!("apt-get install {}", packages.join(" ")))?;
    Ok(packages)
}

fn wanting(missing: &[&Tool]) -> String {
    let list: Vec<String> = missing
        .iter()
        .map(|tool| format!("`{}` ({})", tool.program, tool.purpose))
        .collect();
    let packages: Vec<&str> = missing.iter().map(|tool| tool.package).collect();
    format!(
        "missing: {}; get them with `sudo apt-get install {}`",
        list.join(", "),
        packages.join(" ")
    )
}

fn apt_get(arguments: &[&str], what: &str) -> Result<()> {
    let mut command = Command::new("apt-get");
    command
        .args(["-o", "DPkg::Lock::Timeout=300"])
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive");
    process::run_with_progress(&mut command, what, &log("apt")?, Duration::from_secs(900))
}

/// Where a chore's long output goes.
pub(crate) fn log(name: &str) -> Result<PathBuf> {
    let folder = cache::folder()?.join("log");
    cache::make(&folder)?;
    Ok(folder.join(format!("{name}.log")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said_with_the_command_that_brings_it() {
        let tool = Tool {
            program: "ip",
            package: "iproute2",
            purpose: "network namespaces",
        };
        let text = wanting(&[&tool]);
        assert_eq!(
            text,
            "missing: `ip` (network namespaces); get them with `sudo apt-get install iproute2`"
        );
    }

    #[test]
    fn a_program_that_is_there_is_not_installed_again() {
        let tool = Tool {
            program: "sh",
            package: "no-such-package",
            purpose: "everything",
        };
        assert_eq!(bring(&[tool]).unwrap(), Vec::<&str>::new());
    }
}
