//! The rules of `deny.toml`, judged without another tool: licences, banned crates, two versions of one crate, sources.
//!
//! `cargo deny` takes minutes to build on a small machine, so it is called only where somebody has it. These rules are
//! the same ones, read from the same file; what `cargo tree` lists for all features and platforms is what is judged.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::process;
use crate::workspace::Workspace;

/// The file with the rules.
pub(crate) const FILE: &str = "deny.toml";

/// What `deny.toml` says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Rules {
    licenses: BTreeSet<String>,
    banned: BTreeSet<String>,
    /// Banned crates that some crates may use all the same.
    wrappers: BTreeMap<String, BTreeSet<String>>,
    /// May be there in two versions.
    skip: BTreeSet<String>,
}

/// One crate that the workspace uses.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Crate {
    name: String,
    version: String,
    /// Set for anything that is not from the registry: a path, a git repository, another registry.
    source: Option<String>,
    license: String,
}

/// Judges the workspace: how many crates, or what is wrong with them, one line each.
pub(crate) fn check(workspace: &Workspace) -> Result<String> {
    let file = workspace.root.join(FILE);
    let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let rules = Rules::read(&text)?;
    let crates = tree(workspace, &[])?;
    let mut wrong = rules.judge(&crates, &workspace.root);
    for (name, allowed) in &rules.wrappers {
        let used = users(workspace, name)?;
        let others = used.difference(allowed);
        wrong.extend(
            others.map(|user| format!("{name}: used by {user} (`wrappers` in `bans.deny` of {FILE})")),
        );
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    let installed = process::find("cargo-deny").is_some();
    if installed {
        let mut deny = workspace.cargo();
        deny.args([
            "deny",
            "--offline",
            "--log-level",
            "error",
            "check",
            "licenses",
            "bans",
            "sources",
        ]);
        process::output(&mut deny)?;
    }
    let also = if installed {
        ", also by cargo deny"
    } else {
        "; cargo deny is not installed"
    };
    Ok(format!("{} crates{also}", crates.len()))
}

/// The crates that use a crate themselves.
fn users(workspace: &Workspace, name: &str) -> Result<BTreeSet<String>> {
    let all = tree(workspace, &["--depth", "1", "--invert", name])?;
    let users = all.into_iter().map(|user| user.name);
    Ok(users.filter(|user| user != name).collect())
}

/// What `cargo tree` says for all targets and features.
fn tree(workspace: &Workspace, more: &[&str]) -> Result<BTreeSet<Crate>> {
    let mut tree = workspace.cargo();
    tree.args(["tree", "--locked", "--workspace", "--all-features"]);
    tree.args(["--target", "all", "--edges", "normal,build,dev"]);
    tree.args(["--prefix", "none", "--format", "{p}|{l}"]);
    tree.args(more);
    read_tree(&process::output(&mut tree)?)
}

impl Rules {
    /// Reads what we use of the file: lists of texts, and of tables that begin with `name`.
    fn read(text: &str) -> Result<Self> {
        let mut lists: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let (mut section, mut list) = (String::new(), None);
        let mut wrappers = BTreeMap::new();
        for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'))
                && list.is_none()
            {
                name.clone_into(&mut section);
            } else if let Some((key, rest)) = line.split_once(" = [")
                && list.is_none()
            {
                let name = format!("{section}.{key}");
                lists.entry(name.clone()).or_default().extend(quoted(rest));
                list = (!rest.ends_with(']')).then_some(name);
            } else if line == "]" {
                list = None;
            } else if let Some(name) = &list {
                if let Some((banned, allowed)) = line.split_once("wrappers") {
                    let allowed = allowed.split('"').skip(1).step_by(2).map(ToOwned::to_owned);
                    let banned = quoted(banned).into_iter();
                    wrappers.extend(banned.zip(std::iter::once(allowed.collect())));
                    continue;
                }
                lists.entry(name.clone()).or_default().extend(quoted(line));
            }
        }
        let mut take = |name: &str| {
            lists
                .remove(name)
                .with_context(|| format!("{FILE} has no list `{name}`"))
        };
        Ok(Self {
            licenses: take("licenses.allow")?,
            banned: take("bans.deny")?,
            wrappers,
            skip: take("bans.skip")?,
        })
    }

    fn judge(&self, crates: &BTreeSet<Crate>, root: &Path) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for one in crates {
            let Crate {
                name,
                version,
                source,
                license,
            } = one;
            versions.entry(name).or_default().push(version);
            if self.banned.contains(name) {
                wrong.push(format!("{name} {version}: banned (`bans.deny` of {FILE})"));
            }
            if !self.allows(license) {
                wrong.push(format!(
                    "{name} {version}: licence `{license}` is not allowed (`licenses.allow` of {FILE})"
                ));
            }
            if let Some(source) = source
                && !Path::new(source).starts_with(root)
            {
                wrong.push(format!(
                    "{name} {version}: comes from `{source}`; allowed: this workspace and crates.io"
                ));
            }
        }
        for (name, versions) in versions {
            if versions.len() > 1 && !self.skip.contains(name) {
                wrong.push(format!(
                    "{name}: {} at the same time (`bans.skip` of {FILE} has the exceptions)",
                    versions.join(" and ")
                ));
            }
        }
        let gone = self
            .skip
            .iter()
            .filter(|name| crates.iter().filter(|one| one.name == **name).count() < 2);
        wrong.extend(
            gone.map(|name| format!("{name}: has one version only, take it out of `bans.skip` of {FILE}")),
        );
        wrong
    }

    /// An SPDX expression (and the older `A/B`): of a choice one must be allowed, of a sum all.
    fn allows(&self, expression: &str) -> bool {
        let spaced = expression
            .replace('/', " OR ")
            .replace('(', " ( ")
            .replace(')', " ) ");
        let mut words = spaced.split_whitespace().peekable();
        self.choice(&mut words) && words.next().is_none()
    }

    fn choice<'a>(&self, words: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>) -> bool {
        let mut allowed = self.sum(words);
        while words.next_if_eq(&"OR").is_some() {
            allowed |= self.sum(words);
        }
        allowed
    }

    fn sum<'a>(&self, words: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>) -> bool {
        let mut allowed = self.one(words);
        while words.next_if_eq(&"AND").is_some() {
            allowed &= self.one(words);
        }
        allowed
    }

    fn one<'a>(&self, words: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>) -> bool {
        let Some(word) = words.next() else { return false };
        if word == "(" {
            let allowed = self.choice(words);
            return words.next() == Some(")") && allowed;
        }
        if words.next_if_eq(&"WITH").is_some() {
            let exception = words.next().unwrap_or_default();
            return self.licenses.contains(&format!("{word} WITH {exception}"));
        }
        self.licenses.contains(word)
    }
}

/// The texts of a line; of a table only the first, which is its name. Tables with `wrappers` are read elsewhere.
fn quoted(line: &str) -> Vec<String> {
    let texts = line.split('"').skip(1).step_by(2).map(ToOwned::to_owned);
    if line.trim_start().starts_with('{') {
        texts.take(1).collect()
    } else {
        texts.collect()
    }
}

/// Lines like `name v1.2.3 (proc-macro) (/path)|MIT (*)`.
fn read_tree(text: &str) -> Result<BTreeSet<Crate>> {
    let mut crates = BTreeSet::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let (package, license) = line
            .split_once('|')
            .with_context(|| format!("cargo tree: `{line}`"))?;
        let mut words = package.split_whitespace();
        let (Some(name), Some(version)) = (words.next(), words.next()) else {
            anyhow::bail!("cargo tree: `{line}`");
        };
        let source = words
            .map(|word| word.trim_matches(['(', ')']))
            .find(|word| !["proc-macro", "*"].contains(word));
        crates.insert(Crate {
            name: name.to_owned(),
            version: version.trim_start_matches('v').to_owned(),
            source: source.map(ToOwned::to_owned),
            license: license.trim_end_matches("(*)").trim().to_owned(),
        });
    }
    ensure!(!crates.is_empty(), "cargo tree lists no crate");
    Ok(crates)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &str = r#"
        [graph]
        all-features = true
        [licenses]
        # why
        allow = [
            "MIT",
            "Apache-2.0 WITH LLVM-exception",
        ]
        [bans]
        multiple-versions = "deny"
        deny = [{ name = "openssl" }]
        skip = [
            { name = "syn", reason = "macros" },
        ]
    "#;

    fn wrong(tree: &str) -> Vec<String> {
        // The exception of the rules has its two versions.
        let tree = format!("{tree}\nsyn v1.0.0|MIT\nsyn v2.0.0 (proc-macro)|MIT (*)");
        Rules::read(RULES)
            .unwrap()
            .judge(&read_tree(&tree).unwrap(), Path::new("/here"))
    }

    #[test]
    fn what_is_allowed_is_not_mentioned() {
        assert_eq!(wrong("a v1.0.0|MIT\nb v1.0.0 (/here/b)|GPL-3.0 OR MIT"), [""; 0]);
    }

    #[test]
    fn each_rule_names_the_crate_that_breaks_it() {
        let table = [
            ("openssl v0.10.1|MIT", "openssl 0.10.1: banned"),
            ("a v1.0.0|GPL-3.0", "a 1.0.0: licence `GPL-3.0`"),
            ("a v1.0.0|", "a 1.0.0: licence ``"),
            (
                "a v1.0.0|MIT\na v2.0.0|MIT",
                "a: 1.0.0 and 2.0.0 at the same time",
            ),
            (
                "a v1.0.0 (/elsewhere/a)|MIT",
                "a 1.0.0: comes from `/elsewhere/a`",
            ),
            (
                "a v1.0.0 (https://example.com/a?rev=1#1)|MIT",
                "a 1.0.0: comes from `https://",
            ),
        ];
        for (tree, text) in table {
            let wrong = wrong(tree);
            assert!(
                wrong.len() == 1 && wrong[0].starts_with(text),
                "{tree}: {wrong:?}"
            );
        }
        let rules = Rules::read(RULES).unwrap();
        let stale = rules.judge(&read_tree("syn v1.0.0|MIT").unwrap(), Path::new("/here"));
        assert!(
            stale.len() == 1 && stale[0].contains("one version only"),
            "{stale:?}"
        );
    }

    #[test]
    fn a_banned_crate_may_have_users_by_name() {
        let line = r#"    { name = "sha2", wrappers = ["xtask", "a"] },"#;
        let text = RULES.replace(
            "deny = [{ name = \"openssl\" }]",
            &format!("deny = [\n    {{ name = \"openssl\" }},\n{line}\n]"),
        );
        let rules = Rules::read(&text).unwrap();
        assert_eq!(rules.banned, BTreeSet::from(["openssl".to_owned()]));
        let users = BTreeSet::from(["a".to_owned(), "xtask".to_owned()]);
        assert_eq!(rules.wrappers, BTreeMap::from([("sha2".to_owned(), users)]));
    }

    #[test]
    fn licences_are_expressions() {
        let rules = Rules::read(RULES).unwrap();
        for good in [
            "MIT",
            "GPL-2.0 OR MIT",
            "Unlicense/MIT",
            "MIT AND (GPL-2.0 OR MIT)",
            "Apache-2.0 WITH LLVM-exception OR GPL-2.0",
        ] {
            assert!(rules.allows(good), "{good}");
        }
        for bad in [
            "",
            "GPL-2.0",
            "MIT AND GPL-2.0",
            "(MIT AND GPL-2.0)",
            "Apache-2.0",
            "MIT MIT",
            "(MIT",
        ] {
            assert!(!rules.allows(bad), "{bad}");
        }
    }

    #[test]
    fn the_workspace_keeps_its_own_rules() {
        check(&Workspace::load().unwrap()).unwrap();
    }
}
