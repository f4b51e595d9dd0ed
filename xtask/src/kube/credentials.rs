//! Keys, certificates and kubeconfigs of one control plane, made anew for each by the `openssl` command.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::debian::{self, Tool};
use crate::{cache, process};

const OPENSSL: Tool = Tool {
    program: "openssl",
    package: "openssl",
    purpose: "keys and certificates of the control plane",
};

/// Stem of the files of the key that signs ServiceAccount tokens.
pub(crate) const TOKENS: &str = "service-accounts";

/// Certificates live as long as a forgotten control plane might.
const DAYS: &str = "365";

/// Files of one control plane below its data folder.
#[derive(Debug, Clone)]
pub(crate) struct Credentials {
    folder: PathBuf,
}

/// Who a client certificate is for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client {
    /// Stem of the file names.
    pub(crate) file: &'static str,
    /// Subject in openssl's form.
    subject: &'static str,
}

pub(crate) const ADMIN: Client = Client {
    file: "admin",
    subject: "/O=system:masters/CN=admin",
};
pub(crate) const CONTROLLER_MANAGER: Client = Client {
    file: "controller-manager",
    subject: "/CN=system:kube-controller-manager",
};
pub(crate) const SCHEDULER: Client = Client {
    file: "scheduler",
    subject: "/CN=system:kube-scheduler",
};

impl Credentials {
    /// The names of the files; nothing is made.
    pub(crate) fn at(data_dir: &Path) -> Self {
        Self {
            folder: data_dir.join("pki"),
        }
    }

    pub(crate) fn certificate(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.crt"))
    }

    pub(crate) fn key(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.key"))
    }

    pub(crate) fn public_key(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.pub"))
    }

    /// Where the kubeconfig of a client stands.
    pub(crate) fn kubeconfig(&self, client: Client) -> PathBuf {
        self.folder.with_file_name(format!("{}.kubeconfig", client.file))
    }

    /// Makes them all: CA, server, clients, the key that signs ServiceAccount tokens, kubeconfigs.
    pub(crate) fn make(&self, server: &str) -> Result<()> {
        debian::bring(&[OPENSSL])?;
        cache::make(&self.folder)?;
        let settings = self.folder.join("openssl.cnf");
        fs::write(&settings, "[req]\ndistinguished_name = dn\n[dn]\n")
            .context("cannot write openssl's settings")?;
        self.certify(
            "ca",
            "/CN=occm-test-ca",
            &[
                "basicConstraints=critical,CA:TRUE",
                "keyUsage=critical,keyCertSign,cRLSign",
            ],
        )?;
        let names = "subjectAltName=IP:127.0.0.1,IP:10.0.0.1,DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,\
                     DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local";
        self.certify(
            "apiserver",
            "/CN=kube-apiserver",
            &[
                names,
                "extendedKeyUsage=serverAuth",
                "keyUsage=critical,digitalSignature",
            ],
        )?;
        for client in [ADMIN, CONTROLLER_MANAGER, SCHEDULER] {
            self.certify(
                client.file,
                client.subject,
                &[
                    "extendedKeyUsage=clientAuth",
                    "keyUsage=critical,digitalSignature",
                ],
            )?;
            let file = self.kubeconfig(client);
            fs::write(&file, self.kubeconfig_text(client, server))
                .with_context(|| format!("cannot write {}", file.display()))?;
        }
        self.make_token_key()
    }

    /// The key pair that signs and checks ServiceAccount tokens.
    fn make_token_key(&self) -> Result<()> {
        let private = self.key(TOKENS);
        let mut generate = Command::new("openssl");
        generate.args([
            "genpkey",
            "-algorithm",
            "EC",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-out",
        ]);
        process::output(generate.arg(&private))?;
        let mut publish = Command::new("openssl");
        publish
            .args(["pkey", "-pubout", "-in"])
            .arg(&private)
            .arg("-out")
            .arg(self.public_key(TOKENS));
        process::output(&mut publish).map(drop)
    }

    /// A new key and its certificate: self-signed for the CA, by the CA for all others.
    fn certify(&self, name: &str, subject: &str, extensions: &[&str]) -> Result<()> {
        let mut command = Command::new("openssl");
        command.args([
            "req",
            "-x509",
            "-nodes",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
        ]);
        command.arg("-config").arg(self.folder.join("openssl.cnf"));
        command
            .arg("-keyout")
            .arg(self.key(name))
            .arg("-out")
            .arg(self.certificate(name));
        command.args(["-subj", subject, "-days", DAYS]);
        for extension in extensions {
            command.args(["-addext", extension]);
        }
        if name != "ca" {
            command
                .arg("-CA")
                .arg(self.certificate("ca"))
                .arg("-CAkey")
                .arg(self.key("ca"));
        }
        process::output(&mut command).map(drop)
    }

    fn kubeconfig_text(&self, client: Client, server: &str) -> String {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: occm\n\
             clusters:\n- name: occm\n  cluster:\n    server: {server}\n    certificate-authority: {ca}\n\
             users:\n- name: {user}\n  user:\n    client-certificate: {certificate}\n    client-key: {key}\n\
             contexts:\n- name: occm\n  context:\n    cluster: occm\n    user: {user}\n    namespace: default\n",
            ca = self.certificate("ca").display(),
            user = client.file,
            certificate = self.certificate(client.file).display(),
            key = self.key(client.file).display(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_signed_by_the_ca_and_keys_are_private() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let credentials = Credentials::at(folder.path());
        credentials.make("https://127.0.0.1:6443").unwrap();
        let mut verify = Command::new("openssl");
        verify.args([
            "verify",
            "-purpose",
            "sslserver",
            "-verify_ip",
            "127.0.0.1",
            "-CAfile",
        ]);
        process::output(
            verify
                .arg(credentials.certificate("ca"))
                .arg(credentials.certificate("apiserver")),
        )
        .unwrap();
        let mode = credentials.key("ca").metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{mode:o}");
        let text = fs::read_to_string(credentials.kubeconfig(ADMIN)).unwrap();
        assert!(text.contains("server: https://127.0.0.1:6443"), "{text}");
    }
}
