//! `occm inspect`: every kind of file it knows, as text and as data, and never a private part.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests only"
)]

mod support;

use std::path::{Path, PathBuf};

use serde_json::Value;
use support::{occm, openssl};

struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    /// A key, a certificate, a request and a chain that OpenSSL made, in PEM and DER.
    fn new() -> Self {
        let files = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        let path = |name: &str| files.path(name).to_str().unwrap().to_owned();
        openssl(&[
            "genpkey",
            "-algorithm",
            "EC",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-out",
            &path("key.pem"),
        ]);
        openssl(&[
            "pkey",
            "-in",
            &path("key.pem"),
            "-outform",
            "DER",
            "-out",
            &path("key.der"),
        ]);
        openssl(&[
            "pkey",
            "-in",
            &path("key.pem"),
            "-pubout",
            "-out",
            &path("public.pem"),
        ]);
        let request = [
            "req",
            "-new",
            "-key",
            &path("key.pem"),
            "-subj",
            "/O=Lab/CN=web",
            "-out",
            &path("request.pem"),
        ];
        openssl(&request);
        openssl(&[
            "req",
            "-in",
            &path("request.pem"),
            "-outform",
            "DER",
            "-out",
            &path("request.der"),
        ]);
        let certificate = [
            "req",
            "-x509",
            "-new",
            "-key",
            &path("key.pem"),
            "-subj",
            "/O=Lab/CN=web",
            "-addext",
            "subjectAltName=DNS:web.example,IP:192.0.2.7",
            "-days",
            "9",
            "-out",
            &path("certificate.pem"),
        ];
        openssl(&certificate);
        openssl(&[
            "x509",
            "-in",
            &path("certificate.pem"),
            "-outform",
            "DER",
            "-out",
            &path("certificate.der"),
        ]);
        let one = std::fs::read_to_string(files.path("certificate.pem")).unwrap();
        std::fs::write(files.path("chain.pem"), format!("a chain\n{one}and again\n{one}")).unwrap();
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn inspect(file: &Path, output: &str) -> String {
    let printed = occm(&["inspect", file.to_str().unwrap(), "-o", output]);
    let said = String::from_utf8_lossy(&printed.stderr).into_owned();
    assert!(printed.status.success(), "{} -o {output}: {said}", file.display());
    String::from_utf8(printed.stdout).unwrap()
}

#[test]
fn every_kind_of_file_is_shown_as_text_and_as_the_same_facts_in_json_and_yaml() {
    let files = Files::new();
    let cases = [
        ("key.pem", "Private key", 1),
        ("key.der", "Private key", 1),
        ("public.pem", "Public key", 1),
        ("request.pem", "Certificate request", 1),
        ("request.der", "Certificate request", 1),
        ("certificate.pem", "Certificate", 1),
        ("certificate.der", "Certificate", 1),
        ("chain.pem", "Certificate", 2),
    ];
    // What a private key is made of, as it would show: OpenSSL prints it with colons.
    let text = openssl(&[
        "pkey",
        "-in",
        files.path("key.pem").to_str().unwrap(),
        "-noout",
        "-text",
    ]);
    let (_, private) = text.split_once("priv:").unwrap();
    let private: String = private.split("pub:").next().unwrap().split_whitespace().collect();
    let private = private.replace(':', "");
    let private = private.trim_start_matches("00");
    let pem = std::fs::read_to_string(files.path("key.pem")).unwrap();
    let base64 = pem.lines().nth(1).unwrap();
    for (name, kind, count) in cases {
        let file = files.path(name);
        let text = inspect(&file, "table");
        assert!(text.starts_with(&format!("{kind}:")), "{name}: {text}");
        let json = inspect(&file, "json");
        let data: Value = serde_json::from_str(&json).unwrap();
        let things = data.as_array().unwrap();
        assert_eq!(things.len(), count, "{name}: {json}");
        for thing in things {
            assert_eq!(thing["kind"], kind, "{name}");
            assert_eq!(
                thing["publicKeySha256"].as_str().unwrap().len(),
                64,
                "{name}: {json}"
            );
        }
        let yaml = inspect(&file, "yaml");
        assert_eq!(
            serde_saphyr::from_str::<Value>(&yaml).unwrap(),
            data,
            "{name}: {yaml}"
        );
        for printed in [&text, &json, &yaml] {
            assert!(
                !printed.contains(private) && !printed.contains(base64),
                "{name}: {printed}"
            );
        }
    }
}

#[test]
fn a_certificate_in_json_has_what_openssl_says() {
    let files = Files::new();
    let data: Value = serde_json::from_str(&inspect(&files.path("certificate.pem"), "json")).unwrap();
    let thing = &data[0];
    let file = files.path("certificate.pem");
    let said = openssl(&[
        "x509",
        "-in",
        file.to_str().unwrap(),
        "-noout",
        "-serial",
        "-fingerprint",
        "-sha256",
    ]);
    let said = said.replace(':', "").to_lowercase();
    assert!(
        said.contains(thing["serialNumber"].as_str().unwrap()),
        "{thing} {said}"
    );
    assert!(
        said.contains(thing["sha256Fingerprint"].as_str().unwrap()),
        "{thing} {said}"
    );
    assert_eq!(thing["subject"], "CN=web,O=Lab");
    assert_eq!(thing["alternativeNames"].as_array().unwrap().len(), 2, "{thing}");
}

#[test]
fn a_cmp_message_of_a_foreign_peer_is_shown_as_data_too() {
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../cmp/tests/vectors");
    let mut seen = 0;
    for folder in std::fs::read_dir(vectors)
        .unwrap()
        .map(|entry| entry.unwrap().path())
    {
        let Ok(files) = std::fs::read_dir(&folder) else {
            continue;
        };
        for file in files
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|e| e == "der"))
        {
            let data: Value = serde_json::from_str(&inspect(&file, "json")).unwrap();
            if data[0]["kind"] != "CMP message" || seen > 12 {
                continue;
            }
            assert_eq!(data[0]["transactionID"].as_str().unwrap().len(), 32, "{data}");
            let yaml = inspect(&file, "yaml");
            assert_eq!(serde_saphyr::from_str::<Value>(&yaml).unwrap(), data);
            seen += 1;
        }
    }
    assert!(seen > 5, "{seen} messages");
}

#[test]
fn what_is_nothing_of_these_is_refused_with_what_is_allowed() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "no certificate at all").unwrap();
    for output in ["table", "json", "yaml"] {
        let printed = occm(&["inspect", file.path().to_str().unwrap(), "-o", output]);
        assert!(!printed.status.success());
        let said = String::from_utf8_lossy(&printed.stderr).into_owned();
        assert!(said.contains("allowed: a certificate, a chain"), "{said}");
    }
}

#[test]
fn what_is_known_but_not_read_is_named_with_a_way_on() {
    let files = Files::new();
    let path = |name: &str| files.path(name).to_str().unwrap().to_owned();
    openssl(&[
        "pkcs12",
        "-export",
        "-passout",
        "pass:x",
        "-inkey",
        &path("key.pem"),
        "-in",
        &path("certificate.pem"),
        "-out",
        &path("a.p12"),
    ]);
    let config = format!(
        "[ca]\ndefault_ca = d\n[d]\ndatabase = {}\ndefault_md = sha256\n",
        path("index")
    );
    std::fs::write(files.path("ca.cnf"), config).unwrap();
    std::fs::write(files.path("index"), "").unwrap();
    std::fs::write(files.path("empty"), "").unwrap();
    openssl(&[
        "ca",
        "-gencrl",
        "-config",
        &path("ca.cnf"),
        "-crldays",
        "3",
        "-keyfile",
        &path("key.pem"),
        "-cert",
        &path("certificate.pem"),
        "-out",
        &path("crl.pem"),
    ]);
    for (name, words) in [
        (
            "a.p12",
            "is a PKCS#12 file, which is not read; its certificates: openssl pkcs12",
        ),
        ("crl.pem", "is a revocation list (CRL)"),
        ("empty", "is empty"),
    ] {
        let printed = occm(&["inspect", &path(name)]);
        let said = String::from_utf8_lossy(&printed.stderr).into_owned();
        assert!(!printed.status.success() && said.contains(words), "{said}");
    }
}
