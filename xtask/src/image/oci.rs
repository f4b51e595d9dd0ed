//! An image as an OCI archive: one layer, one manifest, one index, in a tar file of its own. No daemon has a part in it.

use std::io::Write;

use anyhow::{Context, Result};
use flate2::{Compression, GzBuilder};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::image::tar::Tree;

/// The user and group of the image's process.
pub(crate) const USER: &str = "65532:65532";

/// What an image says of itself.
pub(crate) struct Image<'a> {
    pub(crate) name: &'a str,
    pub(crate) version: &'a str,
    pub(crate) environment: &'a [&'a str],
    pub(crate) root: &'a Tree,
}

struct Blob {
    digest: String,
    bytes: Vec<u8>,
}

impl Blob {
    fn new(bytes: Vec<u8>) -> Self {
        Self {
            digest: sha256(&bytes),
            bytes,
        }
    }

    fn json(value: &Value) -> Self {
        Self::new(value.to_string().into_bytes())
    }

    fn descriptor(&self, kind: &str) -> Value {
        json!({
            "mediaType": format!("application/vnd.oci.image.{kind}"),
            "digest": format!("sha256:{}", self.digest),
            "size": self.bytes.len(),
        })
    }
}

impl Image<'_> {
    /// The archive: the same bytes for the same content.
    pub(crate) fn to_archive(&self) -> Result<Vec<u8>> {
        let layer = self.root.to_tar()?;
        let content = sha256(&layer);
        let layer = Blob::new(compress(&layer).context("cannot compress the layer")?);
        let config = Blob::json(&self.config(&content));
        let manifest = Blob::json(&json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config.descriptor("config.v1+json"),
            "layers": [layer.descriptor("layer.v1.tar+gzip")],
        }));
        let mut entry = manifest.descriptor("manifest.v1+json");
        if let Some(entry) = entry.as_object_mut() {
            let reference = format!("{}:{}", self.name, self.version);
            entry.insert("platform".to_owned(), platform());
            entry.insert(
                "annotations".to_owned(),
                json!({"org.opencontainers.image.ref.name": reference}),
            );
        }
        let index = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [entry],
        });
        let mut archive = Tree::default();
        archive.add_file("oci-layout", 0o644, *b"{\"imageLayoutVersion\":\"1.0.0\"}");
        archive.add_file("index.json", 0o644, index.to_string());
        for blob in [layer, config, manifest] {
            archive.add_file(&format!("blobs/sha256/{}", blob.digest), 0o644, blob.bytes);
        }
        archive.to_tar()
    }

    fn config(&self, content: &str) -> Value {
        let mut config = platform();
        if let Some(config) = config.as_object_mut() {
            let history = json!([{"created": "1970-01-01T00:00:00Z", "created_by": "cargo xtask image"}]);
            config.insert("created".to_owned(), "1970-01-01T00:00:00Z".into());
            config.insert("config".to_owned(), self.process());
            config.insert(
                "rootfs".to_owned(),
                json!({"type": "layers", "diff_ids": [format!("sha256:{content}")]}),
            );
            config.insert("history".to_owned(), history);
        }
        config
    }

    fn process(&self) -> Value {
        json!({
            "User": USER,
            "Entrypoint": ["/occm"],
            "Env": self.environment,
            "WorkingDir": "/",
            "Labels": {
                "org.opencontainers.image.title": self.name,
                "org.opencontainers.image.version": self.version,
                "org.opencontainers.image.licenses": "Apache-2.0",
            },
        })
    }
}

fn platform() -> Value {
    json!({"architecture": "amd64", "os": "linux"})
}

/// Without a name and a time in its head.
fn compress(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut gzip = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    gzip.write_all(bytes)?;
    gzip.finish()
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_the_same_for_the_same_content_and_another_for_another() {
        let archive = |text: &str| {
            let mut root = Tree::default();
            root.add_file("occm", 0o755, text);
            let image = Image {
                name: "occm",
                version: "1",
                environment: &[],
                root: &root,
            };
            image.to_archive().unwrap()
        };
        assert_eq!(archive("a"), archive("a"));
        assert_ne!(archive("a"), archive("b"));
    }

    #[test]
    fn a_digest_is_sha_256() {
        assert_eq!(
            sha256(b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
