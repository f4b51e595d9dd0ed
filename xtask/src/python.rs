//! Programs of Python's package index, each in an environment of its own in the cache folder.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::{cache, debian, process};

const LIMIT: Duration = Duration::from_secs(600);
/// Looks at REST APIs with generated requests.
const SCHEMATHESIS: &str = "4.32.5";

/// Path of `schemathesis`; brought by the machine's own pip configuration if need be.
pub(crate) fn schemathesis() -> Result<PathBuf> {
    let folder = cache::folder()?.join(format!("schemathesis-{SCHEMATHESIS}"));
    let program = folder.join("bin/schemathesis");
    let _lock = cache::Lock::take("schemathesis")?;
    if works(&program) {
        return Ok(program);
    }
    let Some(python) = process::find("python3") else {
        bail!(
            "missing: `python3` with venv and pip (schemathesis, judge of the REST API); Debian: apt-get install python3-venv"
        );
    };
    let _ = fs::remove_dir_all(&folder);
    let log = debian::log("schemathesis")?;
    let mut environment = Command::new(python);
    environment.args(["-m", "venv"]).arg(&folder);
    process::run_with_progress(&mut environment, "python3 -m venv", &log, LIMIT)
        .context("no Python environment could be made; Debian: apt-get install python3-venv")?;
    let mut install = Command::new(folder.join("bin/python"));
    install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
    install.arg(format!("schemathesis=={SCHEMATHESIS}"));
    let what = format!("pip install schemathesis=={SCHEMATHESIS}");
    process::run_with_progress(&mut install, &what, &log, LIMIT)
        .context("schemathesis could not be brought from Python's package index")?;
    if works(&program) {
        return Ok(program);
    }
    bail!("{} does not start; see {}", program.display(), log.display())
}

fn works(program: &std::path::Path) -> bool {
    process::is_executable(program) && process::output(Command::new(program).arg("--version")).is_ok()
}
