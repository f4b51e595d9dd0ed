//! Lists the pages of the built console for `src/api/assets.rs`: an optimised program has them inside.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=build.rs");
    let has = |name: &str| env::var_os(name).is_some();
    let mut list = String::from("&[\n");
    if has("CARGO_FEATURE_CONSOLE") && !has("CARGO_CFG_DEBUG_ASSERTIONS") {
        let dist = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../console/dist");
        println!("cargo:rerun-if-changed={}", dist.display());
        for file in files(&dist)? {
            let name = file.strip_prefix(&dist).unwrap_or(&file);
            let _ = writeln!(
                list,
                "({:?}, include_bytes!({:?})),",
                name.display().to_string(),
                file.display().to_string()
            );
        }
    }
    list.push(']');
    let out = env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?;
    fs::write(PathBuf::from(out).join("console.rs"), list)
}

/// Every file of a folder; none, if it is not there.
fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
