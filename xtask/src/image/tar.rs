//! A tar file that depends on its content alone: sorted, of nobody, without times (POSIX ustar).

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

const BLOCK: usize = 512;
/// Longest path that fits into a header without a prefix.
const LONGEST: usize = 100;

/// What lies at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    Folder { mode: u32 },
    File { mode: u32, bytes: Vec<u8> },
    Link { to: String },
}

/// A tree of files, by path without a leading slash.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tree(BTreeMap<String, Entry>);

impl Tree {
    /// Adds an entry, and the folders above it that are not there yet.
    pub(crate) fn add(&mut self, path: &str, entry: Entry) {
        for (at, _) in path.match_indices('/') {
            let above = path.get(..at).unwrap_or_default();
            self.0
                .entry(above.to_owned())
                .or_insert(Entry::Folder { mode: 0o755 });
        }
        self.0.insert(path.to_owned(), entry);
    }

    pub(crate) fn add_file(&mut self, path: &str, mode: u32, bytes: impl Into<Vec<u8>>) {
        let bytes = bytes.into();
        self.add(path, Entry::File { mode, bytes });
    }

    pub(crate) fn add_folder(&mut self, path: &str, mode: u32) {
        self.add(path, Entry::Folder { mode });
    }

    pub(crate) fn add_link(&mut self, path: &str, to: &str) {
        self.add(path, Entry::Link { to: to.to_owned() });
    }

    /// The tree as a tar file.
    pub(crate) fn to_tar(&self) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        for (path, entry) in &self.0 {
            match entry {
                Entry::Folder { mode } => header(&mut out, &format!("{path}/"), b'5', *mode, 0, "")?,
                Entry::Link { to } => header(&mut out, path, b'2', 0o777, 0, to)?,
                Entry::File { mode, bytes } => {
                    header(&mut out, path, b'0', *mode, bytes.len(), "")?;
                    out.extend_from_slice(bytes);
                    out.resize(out.len().next_multiple_of(BLOCK), 0);
                }
            }
        }
        out.resize(out.len() + 2 * BLOCK, 0);
        Ok(out)
    }
}

fn header(out: &mut Vec<u8>, path: &str, kind: u8, mode: u32, size: usize, link: &str) -> Result<()> {
    ensure!(
        path.len() <= LONGEST && link.len() <= LONGEST,
        "the path {path} is longer than {LONGEST} bytes"
    );
    let mut block = Vec::with_capacity(BLOCK);
    field(&mut block, path.as_bytes(), 100);
    for (number, width) in [(mode as usize, 8), (0, 8), (0, 8), (size, 12), (0, 12)] {
        field(
            &mut block,
            format!("{number:0width$o}", width = width - 1).as_bytes(),
            width,
        );
    }
    // The checksum is made with blanks in its place.
    field(&mut block, b"        ", 8);
    block.push(kind);
    field(&mut block, link.as_bytes(), 100);
    field(&mut block, b"ustar", 6);
    field(&mut block, b"00", 2);
    block.resize(BLOCK, 0);
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    let sum = format!("{sum:06o}\0 ");
    for (place, byte) in block.iter_mut().skip(148).zip(sum.bytes()) {
        *place = byte;
    }
    out.extend_from_slice(&block);
    Ok(())
}

fn field(block: &mut Vec<u8>, bytes: &[u8], width: usize) {
    let end = block.len() + width;
    block.extend_from_slice(bytes);
    block.resize(end, 0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn the_systems_tar_reads_what_is_written_and_the_order_of_adding_is_of_no_matter() {
        let mut tree = Tree::default();
        tree.add_file("a/b/program", 0o755, *b"hello");
        tree.add_folder("empty", 0o1777);
        tree.add_link("a/link", "b/program");
        let mut other = Tree::default();
        other.add_link("a/link", "b/program");
        other.add_folder("empty", 0o1777);
        other.add_file("a/b/program", 0o755, *b"hello");
        let tar = tree.to_tar().unwrap();
        assert_eq!(tar, other.to_tar().unwrap());
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.tar");
        std::fs::write(&file, tar).unwrap();
        let listed = Command::new("tar")
            .arg("-tvf")
            .arg(&file)
            .env("TZ", "UTC")
            .output()
            .unwrap();
        let listed = String::from_utf8(listed.stdout).unwrap();
        let lines: Vec<String> = listed
            .lines()
            .map(|l| l.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(
            lines,
            [
                "drwxr-xr-x 0/0 0 1970-01-01 00:00 a/",
                "drwxr-xr-x 0/0 0 1970-01-01 00:00 a/b/",
                "-rwxr-xr-x 0/0 5 1970-01-01 00:00 a/b/program",
                "lrwxrwxrwx 0/0 0 1970-01-01 00:00 a/link -> b/program",
                "drwxrwxrwt 0/0 0 1970-01-01 00:00 empty/",
            ]
        );
    }

    #[test]
    fn a_path_that_does_not_fit_is_refused() {
        let mut tree = Tree::default();
        tree.add_file(&"x".repeat(101), 0o644, *b"");
        assert!(tree.to_tar().is_err());
    }
}
