//! Messages of other programs: decoded, dropped, encoded again to the same bytes; protections checked.
//!
//! `vectors/README.md` says where they come from.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cmp::asn1::{CertRepMessage, PkiBody, PkiMessage, PkiStatus, decode, encode};
use cmp::protection::{ProtectionKind, verify_mac, verify_signature};
use cmp::{Limits, Message};
use pki::{Certificate, Secret};

/// Messages that cannot come back byte by byte, and why. None so far.
const NOT_DER: [(&str, &str); 0] = [];

/// Messages whose protection cannot be checked, and why.
const UNCHECKED: [(&str, &str); 0] = [];

struct Vector {
    /// Folder and file.
    name: String,
    der: Vec<u8>,
}

fn folders() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let entries = std::fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut folders: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    folders.sort();
    assert!(!folders.is_empty());
    folders
}

/// Files of a folder: the certificates, or the messages.
fn files(folder: &Path, certificates: bool) -> Vec<Vector> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    paths
        .into_iter()
        .filter(|path| name(path).starts_with("cert-") == certificates)
        .map(|path| Vector {
            name: format!("{}/{}", name(folder), name(&path)),
            der: std::fs::read(&path).unwrap(),
        })
        .collect()
}

fn messages() -> Vec<Vector> {
    folders().iter().flat_map(|folder| files(folder, false)).collect()
}

fn listed(list: &[(&str, &str)], name: &str) -> bool {
    list.iter().any(|(listed, _)| *listed == name)
}

#[test]
fn recorded_messages_decode_and_encode_to_the_same_bytes() {
    let all = messages();
    assert!(all.len() >= 80, "{} messages", all.len());
    for Vector { name, der } in all {
        let message: PkiMessage =
            decode("PKIMessage", &der).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(
            !matches!(message.body, PkiBody::Other(..)),
            "{name}: {} is not typed",
            message.body.name()
        );
        let digest = pki::digest::sha256(&der);
        let length = der.len();
        drop(der);
        let again = encode("PKIMessage", &message).unwrap();
        let same = again.len() == length && pki::digest::sha256(&again) == digest;
        assert_ne!(same, listed(&NOT_DER, &name), "{name}");
    }
}

#[test]
fn recorded_protections_verify_over_the_bytes_that_came() {
    let secret = Secret::from("vectors-secret".to_owned());
    let limits = Limits::default();
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for folder in folders() {
        let known: Vec<Certificate> = files(&folder, true)
            .iter()
            .map(|file| Certificate::from_der(&file.der).unwrap())
            .collect();
        for Vector { name, der } in files(&folder, false) {
            if listed(&UNCHECKED, &name) {
                continue;
            }
            let message = Message::decode(&der, &limits).unwrap_or_else(|error| panic!("{name}: {error}"));
            let kind = ProtectionKind::of(&message.header);
            match kind {
                ProtectionKind::Mac => {
                    verify_mac(&message, &secret, &limits).unwrap_or_else(|e| panic!("{name}: {e}"))
                }
                ProtectionKind::Signature => {
                    let sender = message.header.sender.name().unwrap();
                    let mut signers = message.extra_certs();
                    signers.extend(known.clone());
                    signers.retain(|candidate| candidate.subject() == sender);
                    let verified = signers
                        .iter()
                        .any(|signer| verify_signature(&message, signer).is_ok());
                    assert!(verified, "{name}: {} candidates", signers.len());
                }
                ProtectionKind::None => assert!(name.contains("unprotected"), "{name}"),
            }
            *seen.entry(kind.name()).or_default() += 1;
        }
    }
    assert_eq!(
        seen.keys().copied().collect::<Vec<_>>(),
        ["MAC", "nothing", "signature"],
        "{seen:?}"
    );
}

#[test]
fn recorded_messages_of_every_kind_are_there() {
    let mut kinds: Vec<&str> = messages()
        .iter()
        .map(|vector| {
            decode::<PkiMessage>("PKIMessage", &vector.der)
                .unwrap()
                .body
                .name()
        })
        .collect();
    kinds.sort_unstable();
    kinds.dedup();
    let wanted = [
        "certConf", "cp", "cr", "error", "genm", "genp", "ip", "ir", "kup", "kur", "p10cr", "pkiconf",
        "pollRep", "pollReq", "rp", "rr",
    ];
    assert_eq!(kinds, wanted);
}

#[test]
fn recorded_refusals_say_what_the_program_was_told_to_say() {
    let folder = folders()
        .into_iter()
        .find(|folder| folder.ends_with("openssl-3.0.19"))
        .unwrap();
    let read = |name: &str| -> PkiMessage {
        decode("PKIMessage", &std::fs::read(folder.join(name)).unwrap()).unwrap()
    };
    let rejected = read("ir-rejected-1-rsp.der");
    let PkiBody::Ip(CertRepMessage { response, .. }) = rejected.body else {
        panic!()
    };
    let status = &response[0].status;
    assert_eq!(status.status, PkiStatus::Rejection);
    assert_eq!(
        status.fail_info.as_ref().unwrap().names(),
        ["badAlg", "badCertTemplate"]
    );
    assert_eq!(
        status.status_string.as_ref().unwrap().iter().next(),
        Some(&b"not like this"[..])
    );
    let PkiBody::Error(error) = read("ir-error-1-rsp.der").body else {
        panic!()
    };
    assert_eq!(error.status.fail_info.unwrap().names(), ["badRequest"]);
    let PkiBody::Ip(mods) = read("ir-mods-1-rsp.der").body else {
        panic!()
    };
    assert_eq!(mods.response[0].status.status, PkiStatus::GrantedWithMods);
}
