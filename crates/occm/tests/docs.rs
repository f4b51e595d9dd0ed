//! The commands of the documentation, run as they stand there.
//!
//! Each page gets a directory of its own with a running CA. Blocks marked `sh` are run in their order, YAML blocks whose
//! first line names a file are written to it, and commands within sentences (`occm ...`) are run at the end. What a
//! reader would replace (the CA's address, its secret, its certificate, FILE, DIR, NAME) is replaced.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests only"
)]

mod support;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use support::{BIN, Ca, SECRET, judge_files, wait_for};

/// Commands that are run elsewhere: they build the program, or are this test.
const ELSEWHERE: [&str; 2] = ["cargo xtask demo", "cargo xtask test"];
/// Pages with commands for a host. Those for a cluster are run by the tests on a cluster.
const PAGES: [&str; 6] = [
    "README.md",
    "docs/user/api.md",
    "docs/user/host.md",
    "docs/user/ca.md",
    "docs/user/states.md",
    "CONTRIBUTING.md",
];
/// Commands that go on until they are stopped.
const GO_ON: [&str; 2] = ["occm serve --store", "occm status --store DIR --watch"];
const SERVE: &str = "occm serve --store DIR";
/// Where the pages serve the API; each reader has a port of its own.
const LISTEN: &str = "127.0.0.1:8180";
/// A block with one of these needs a cluster.
const OF_A_CLUSTER: [&str; 3] = ["helm ", "kubectl", "--namespaces"];

/// A fenced block.
struct Block {
    language: String,
    text: String,
    line: usize,
}

/// The fenced blocks of a page, and the page without them.
fn blocks(page: &str) -> (Vec<Block>, String) {
    let (mut blocks, mut prose, mut open) = (Vec::new(), String::new(), None);
    for (number, line) in page.lines().enumerate() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(language), None) => {
                open = Some(Block {
                    language: language.trim().to_owned(),
                    text: String::new(),
                    line: number + 1,
                });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some(block)) => block.text.push_str(&format!("{line}\n")),
            (None, None) => prose.push_str(&format!("{line}\n")),
        }
    }
    assert!(open.is_none(), "a block is not closed");
    (blocks, prose)
}

/// Commands within sentences and tables.
fn spoken(prose: &str) -> Vec<String> {
    let spans = prose.split('`').skip(1).step_by(2);
    let commands = spans.filter(|span| span.starts_with("occm ") && span.split(' ').count() > 2);
    let mut commands: Vec<String> = commands.map(ToOwned::to_owned).collect();
    commands.dedup();
    commands
}

/// A reader at work on one page.
struct Reader {
    page: &'static str,
    folder: tempfile::TempDir,
    ca: Ca,
    listen: String,
    running: Vec<Child>,
}

impl Reader {
    fn new(page: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("bin")).unwrap();
        std::os::unix::fs::symlink(BIN, folder.path().join("bin/occm")).unwrap();
        std::fs::create_dir(folder.path().join("certificates")).unwrap();
        Self {
            page,
            folder,
            ca: Ca::start("{}"),
            listen: free_address(),
            running: Vec::new(),
        }
    }

    /// What a reader puts in place of the example's values.
    fn replaced(&self, text: &str) -> String {
        let root: String = self
            .ca
            .root_pem()
            .lines()
            .map(|line| format!("    {line}\n"))
            .collect();
        let example = "    -----BEGIN CERTIFICATE-----\n    ...\n";
        let cut = text
            .replace("    -----END CERTIFICATE-----\n", "")
            .replace(example, &root);
        cut.replace(
            "http://ca.lab.example/ejbca/publicweb/cmp/lab",
            &format!("http://{}/cmp", self.ca.address),
        )
        .replace("the secret that the CA gave you", SECRET)
        .replace("\"4711\"", "demo")
        .replace("\n  recipient: CN=Lab Issuing CA,O=Lab\n", "\n")
        .replace(
            "inspect FILE",
            "inspect certificates/secrets/default/nrf-tls/tls.crt",
        )
        .replace("FILE", "certificates/lab.yaml")
        .replace("DIR", "certificates")
        .replace(LISTEN, &self.listen)
        .replace("NAME", "nrf-tls")
    }

    fn command(&self, script: &str) -> Command {
        let path = std::env::var("PATH").unwrap();
        let mut command = Command::new("bash");
        command
            .args(["-euo", "pipefail", "-c", script])
            .current_dir(self.folder.path())
            .env(
                "PATH",
                format!("{}:{path}", self.folder.path().join("bin").display()),
            )
            .env("OCCM_LOG", "error")
            .stdin(Stdio::null());
        command
    }

    fn run(&mut self, what: &str, script: &str) {
        let text = self.replaced(script);
        if GO_ON.iter().any(|start| script.starts_with(start)) {
            let mut command = self.command(&format!("exec {text}"));
            self.running.push(command.stdout(Stdio::null()).spawn().unwrap());
            if script.contains("--listen") {
                let token = self.folder.path().join("certificates/.occm/api/token");
                wait_for("the token of the API", || token.exists().then_some(()));
                wait_for("the API", || std::net::TcpStream::connect(&self.listen).ok());
                // A request for a renewal is about a certificate that is there.
                self.wait_ready();
            }
            return;
        }
        let output = self.command(&text).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(output.status.success(), "{}: {what}: {text}\n{said}", self.page);
    }

    fn write(&self, block: &Block) -> bool {
        let first = block.text.lines().next().unwrap_or_default();
        let Some(path) = first.strip_prefix("# ").filter(|path| path.ends_with(".yaml")) else {
            return false;
        };
        std::fs::write(self.folder.path().join(path), self.replaced(&block.text)).unwrap();
        true
    }

    /// The objects of the README, for pages that presuppose them.
    fn objects_of_the_readme(&self) {
        let (blocks, _) = blocks(&read("README.md"));
        let objects = blocks.iter().find(|block| block.language == "yaml").unwrap();
        assert!(self.write(objects));
    }

    fn wait_ready(&self) {
        let status = self
            .folder
            .path()
            .join("certificates/.occm/status/default/Certificate.nrf-tls.yaml");
        wait_for("nrf-tls", || {
            let text = std::fs::read_to_string(&status).unwrap_or_default();
            text.contains("- type: Ready\n  status: \"True\"").then_some(())
        });
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        for child in &mut self.running {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// An address of this machine that nobody uses now.
fn free_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(page: &str) -> String {
    let path = root().join(page);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn follow(page: &'static str) {
    let text = read(page);
    let (blocks, prose) = blocks(&text);
    let mut reader = Reader::new(page);
    let presupposes = !blocks
        .iter()
        .any(|block| block.text.contains("occm serve --store"));
    if page != "README.md" {
        reader.objects_of_the_readme();
    }
    if presupposes {
        reader.run(page, SERVE);
    }
    for block in &blocks {
        let what = format!("line {}", block.line);
        let skipped = ELSEWHERE.contains(&block.text.trim());
        match block.language.as_str() {
            "sh" if skipped || OF_A_CLUSTER.iter().any(|word| block.text.contains(word)) => {}
            "sh" => reader.run(&what, &block.text),
            "yaml" => drop(reader.write(block)),
            "text" | "json" => {}
            other => panic!("{page}: {what}: a block in `{other}`; known: sh, yaml, json, text"),
        }
    }
    reader.wait_ready();
    let commands = spoken(&prose);
    for command in &commands {
        // One manager holds the directory, and runs already.
        let runs = command == SERVE && presupposes;
        if !runs && !OF_A_CLUSTER.iter().any(|word| command.contains(word)) {
            reader.run("in a sentence", command);
        }
    }
    judge_files(
        &reader.folder.path().join("certificates/secrets/default/nrf-tls"),
        &reader.ca,
    );
    for child in &mut reader.running {
        assert!(
            child.try_wait().unwrap().is_none(),
            "{page}: what should go on has ended"
        );
    }
}

#[test]
fn the_commands_of_the_readme_work() {
    follow("README.md");
    let (blocks, prose) = blocks(&read("README.md"));
    assert!(
        ELSEWHERE
            .iter()
            .all(|command| blocks.iter().any(|block| block.text.trim() == *command))
    );
    assert!(spoken(&prose).len() >= 4, "{:?}", spoken(&prose));
}

#[test]
fn the_commands_of_the_page_about_the_api_work() {
    follow("docs/user/api.md");
}

#[test]
fn the_commands_of_the_page_about_hosts_work() {
    follow("docs/user/host.md");
}

#[test]
fn the_commands_of_the_page_about_cas_work() {
    follow("docs/user/ca.md");
}

#[test]
fn the_commands_of_the_page_about_states_work() {
    follow("docs/user/states.md");
}

/// Links of a page to files of this repository lead somewhere.
#[test]
fn links_lead_to_files_that_exist() {
    let more = [
        "ARCHITECTURE.md",
        "SECURITY.md",
        "CHANGELOG.md",
        "docs/simulation.md",
        "docs/user/kubernetes.md",
        "docs/user/kubectl.md",
    ];
    for page in PAGES.iter().chain(&more) {
        let text = read(page);
        let folder = root().join(page).parent().unwrap().to_owned();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap_or_default();
            if file.is_empty() || file.contains("://") {
                continue;
            }
            assert!(folder.join(file).exists(), "{page}: {link} leads nowhere");
        }
    }
}

/// Fields that a page names are fields of the objects.
#[test]
fn fields_that_the_pages_name_exist() {
    let crds: String = ["issuers", "certificates"]
        .iter()
        .map(|kind| read(&format!("docs/generated/crds/{kind}.occm.dev.yaml")))
        .collect();
    let page = read("docs/user/ca.md");
    let spans: Vec<&str> = page.split('`').skip(1).step_by(2).collect();
    let paths = spans.iter().filter_map(|span| span.split(':').next());
    let paths = paths
        .filter(|path| path.contains('.') && path.chars().all(|c| c.is_ascii_alphanumeric() || c == '.'));
    let mut seen = 0;
    for field in paths.flat_map(|path| path.split('.')) {
        assert!(
            crds.contains(&format!("{field}:")),
            "docs/user/ca.md: no field {field}"
        );
        seen += 1;
    }
    assert!(seen > 10, "{spans:?}");
}
