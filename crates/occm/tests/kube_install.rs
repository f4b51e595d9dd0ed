//! The commands of the pages about the chart, read in their order by the real helm and kubectl, with a scheduler and fake nodes.

#![cfg(feature = "kube")]
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests only"
)]

#[path = "support/cluster.rs"]
mod cluster;
#[path = "support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cluster::chart::RELEASE;
use crate::cluster::{Cluster, cluster_with};

/// Commands that cannot be run here, and why.
const ELSEWHERE: [(&str, &str); 7] = [
    ("occm serve --store ", "on a host: docs.rs"),
    ("curl ", "on a host: docs.rs"),
    ("export OCCM_SERVER=", "on a host: docs.rs"),
    ("occm ", "on a host: docs.rs"),
    ("helm test ", "needs a kubelet: kube_chart_life.rs plays it"),
    ("kubectl --namespace occm port-forward ", "needs a kubelet"),
    ("skopeo copy ", "needs a registry"),
];
/// Built by a step of its own.
const IMAGES: &str = "cargo xtask image";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The commands of a page, one each, also those that go on in the next line.
fn commands(page: &str) -> Vec<String> {
    let page = std::fs::read_to_string(root().join("docs/user").join(page)).unwrap();
    let page = page.replace("\\\n", "");
    let blocks = page.split("\n```sh\n").skip(1);
    let blocks = blocks.map(|block| block.split_once("\n```").unwrap().0);
    blocks.flat_map(str::lines).map(ToOwned::to_owned).collect()
}

/// A reader at a shell, in the folder of the project, as an administrator of the cluster.
struct Reader {
    cluster: &'static Cluster,
    folder: tempfile::TempDir,
    run: usize,
    elsewhere: [bool; ELSEWHERE.len()],
}

impl Reader {
    fn read(&mut self, line: &str) {
        let elsewhere = ELSEWHERE.iter().position(|(start, _)| line.starts_with(start));
        if let Some(place) = elsewhere {
            self.elsewhere[place] = true;
            return;
        }
        if line == IMAGES {
            return;
        }
        if line.starts_with("helm install ") {
            self.forget_releases();
        }
        self.shell(&line.replace("REGISTRY", "registry.example/telco"));
        self.run += 1;
    }

    /// Each way to install is for a cluster that has no other.
    fn forget_releases(&self) {
        for namespace in ["occm", "pki"] {
            self.shell(&format!(
                "helm uninstall {RELEASE} --namespace {namespace} --ignore-not-found"
            ));
        }
        self.shell("kubectl delete crd issuers.occm.dev certificates.occm.dev --ignore-not-found");
    }

    fn shell(&self, line: &str) {
        let assets = self.cluster.program("");
        let path = std::env::var("PATH").unwrap();
        let helm = |what: &str| self.folder.path().join(what);
        let output = Command::new("bash")
            .args(["-euo", "pipefail", "-c", line])
            .current_dir(root())
            .env("PATH", format!("{}:{path}", assets.display()))
            .env("KUBECONFIG", self.cluster.text("kubeconfig"))
            .env("HELM_CACHE_HOME", helm("cache"))
            .env("HELM_CONFIG_HOME", helm("config"))
            .env("HELM_DATA_HOME", helm("data"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{line}: {output:?}");
    }
}

#[test]
fn the_commands_of_the_pages_about_the_chart_work() {
    let Some(cluster) = cluster_with(&["--with", "scheduler,kwok"]) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let mut reader = Reader {
        cluster,
        folder,
        run: 0,
        elsewhere: Default::default(),
    };
    for namespace in ["nrf", "smf"] {
        cluster.kubectl(&["create", "namespace", namespace]).unwrap();
    }
    let secret = reader.folder.path().join("client-secret");
    std::fs::write(&secret, "the secret of this client").unwrap();
    let (install, api) = (commands("install.md"), commands("api.md"));
    // What is changed afterwards is the first release of the page.
    let (changes, installs): (Vec<_>, Vec<_>) =
        install.iter().partition(|line| line.starts_with("helm upgrade "));
    assert!(!changes.is_empty(), "{install:?}");
    for line in &installs {
        reader.read(line);
    }
    reader.read(installs[0]);
    for line in changes.into_iter().chain(&api) {
        reader.read(&line.replace("=client-secret", &format!("={}", secret.display())));
    }
    assert!(reader.run >= 8, "{} commands were run", reader.run);
    let unused: Vec<_> = ELSEWHERE
        .iter()
        .zip(reader.elsewhere)
        .filter(|(_, seen)| !seen)
        .collect();
    assert!(unused.is_empty(), "no page has these: {unused:?}");
    let served = cluster.kubectl(&[
        "--namespace",
        "occm",
        "get",
        "service/occm-api",
        "role/occm-oidc",
        "rolebinding/occm-edit",
    ]);
    assert!(served.is_ok(), "{served:?}");
}
