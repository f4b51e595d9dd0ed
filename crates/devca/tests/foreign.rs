//! OpenSSL as a client of the CA, over real HTTP, and as the judge of everything that the CA writes.
//!
//! Runs with the `openssl` of the machine, and with the program that `OCCM_OPENSSL35` names, if it is set. Without any
//! OpenSSL the tests fail under CI and are skipped elsewhere.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::Arc,
};

use devca::{Config, DevCa, Fault, FaultKind, Policy, RequestKind, State, config, http};
use jiff::Timestamp;
use pki::{Certificate, KeyAlgorithm, PrivateKey};
use support::bed::programs;
use tokio::{net::TcpListener, runtime::Runtime, sync::oneshot};

const SECRET: &str = "correct horse battery staple";

/// A CA on a port of its own, and a folder for the client's files.
struct Bed {
    ca: Arc<DevCa>,
    port: u16,
    folder: tempfile::TempDir,
    openssl: PathBuf,
    _runtime: Runtime,
    stop: Option<oneshot::Sender<()>>,
}

impl Drop for Bed {
    fn drop(&mut self) {
        drop(self.stop.take());
    }
}

impl Bed {
    fn new(openssl: &Path, config: Config) -> Self {
        let ca = Arc::new(DevCa::new(config.with_secret("host-1", SECRET), Timestamp::now()).unwrap());
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async {
            let _ = stopped.await;
        };
        runtime.spawn(http::serve(Arc::clone(&ca), listener, shutdown));
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("root.pem"), ca.root().to_pem()).unwrap();
        fs::write(folder.path().join("issuing.pem"), ca.issuing().to_pem()).unwrap();
        Self {
            ca,
            port,
            folder,
            openssl: openssl.to_owned(),
            _runtime: runtime,
            stop: Some(stop),
        }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn key(&self, name: &str, algorithm: KeyAlgorithm) {
        let key = PrivateKey::generate(algorithm).unwrap();
        fs::write(self.path(name), key.to_pkcs8_pem().unwrap().as_bytes()).unwrap();
    }

    fn certificate(&self, name: &str) -> Certificate {
        Certificate::from_pem(&fs::read(self.path(name)).unwrap()).unwrap()
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(&self.openssl);
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        command.env("OPENSSL_CONF", "/dev/null");
        command.output().unwrap()
    }

    fn succeeds(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let text = format!("{}{}", text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{arguments:?}: {text}");
        text
    }

    fn fails(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let text = format!("{}{}", text(&output.stdout), text(&output.stderr));
        assert!(!output.status.success(), "{arguments:?} succeeded: {text}");
        text
    }

    /// `openssl cmp` with the options that are always the same.
    fn cmp<'a>(&self, server: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        let mut arguments = vec!["cmp", "-config", "", "-server", server, "-keep_alive", "0"];
        arguments.extend(["-path", ".well-known/cmp", "-recipient", "/CN=any", "-batch"]);
        arguments.extend(more);
        arguments
    }

    fn server(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn get(&self, path: &str) -> Vec<u8> {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let start = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        answer.split_off(start)
    }

    /// The judgement of a certificate: it has a path, and its key is ours.
    fn judge(&self, certificate: &str, key: &str) {
        let verify = [
            "verify",
            "-x509_strict",
            "-CAfile",
            "root.pem",
            "-untrusted",
            "issuing.pem",
            certificate,
        ];
        assert!(self.succeeds(&verify).contains("OK"));
        let certified = self.succeeds(&["x509", "-in", certificate, "-noout", "-pubkey"]);
        let ours = self.succeeds(&["pkey", "-in", key, "-pubout"]);
        assert_eq!(certified, ours);
    }

    fn state(&self, certificate: &str) -> State {
        let serial = self.certificate(certificate).serial();
        self.ca.ledger().find(&serial).unwrap().state
    }

    fn enrol_by_mac(&self, key: &str, certificate: &str, more: &[&str]) {
        let server = self.server();
        let mut arguments = vec![
            "-cmd",
            "ir",
            "-newkey",
            key,
            "-certout",
            certificate,
            "-subject",
            "/CN=host-1",
        ];
        arguments.extend(["-ref", "host-1", "-secret", "pass:correct horse battery staple"]);
        arguments.extend(["-out_trusted", "root.pem"]);
        arguments.extend(more);
        self.succeeds(&self.cmp(&server, &arguments));
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn with_every_program(test: impl Fn(&Path)) {
    programs().iter().for_each(|program| test(program));
}

#[test]
fn ir_with_a_mac_gives_a_certificate_that_openssl_accepts_and_confirms() {
    with_every_program(|program| {
        let bed = Bed::new(program, Config::default());
        bed.key("new.key", KeyAlgorithm::EcP256);
        bed.enrol_by_mac(
            "new.key",
            "new.pem",
            &["-sans", "host-1.example, 192.0.2.7", "-days", "7"],
        );
        bed.judge("new.pem", "new.key");
        let shown = bed.succeeds(&["x509", "-in", "new.pem", "-noout", "-text"]);
        for expected in [
            "DNS:host-1.example",
            "IP Address:192.0.2.7",
            "TLS Web Server Authentication",
            "CA:FALSE",
        ] {
            assert!(shown.contains(expected), "{expected} is missing in {shown}");
        }
        assert_eq!(bed.state("new.pem"), State::Confirmed);
        let entry = &bed.ca.ledger().entries(0, Timestamp::now())[0];
        assert_eq!(
            (entry.client.as_str(), entry.request),
            ("host-1", RequestKind::Ir)
        );
        assert_eq!(
            bed.ca
                .ledger()
                .stats(Timestamp::now())
                .requests
                .get(&RequestKind::CertConf),
            Some(&1)
        );
    });
}

#[test]
fn implicit_confirmation_needs_no_second_message() {
    with_every_program(|program| {
        let bed = Bed::new(program, Config::default());
        bed.key("new.key", KeyAlgorithm::Ed25519);
        bed.enrol_by_mac("new.key", "new.pem", &["-implicit_confirm"]);
        bed.judge("new.pem", "new.key");
        assert_eq!(bed.state("new.pem"), State::Confirmed);
        assert_eq!(bed.ca.ledger().stats(Timestamp::now()).requests.len(), 1);
    });
}

#[test]
fn a_ca_that_signs_its_answers_serves_mac_clients_that_trust_its_root() {
    with_every_program(|program| {
        let policy = Policy {
            mac_answers: config::MacAnswers::Signature,
            ..Policy::default()
        };
        let bed = Bed::new(
            program,
            Config {
                policy,
                ..Config::default()
            },
        );
        bed.key("new.key", KeyAlgorithm::EcP384);
        bed.enrol_by_mac("new.key", "new.pem", &["-trusted", "root.pem"]);
        bed.judge("new.pem", "new.key");
    });
}

#[test]
fn an_identity_enrols_updates_and_revokes_with_its_signature() {
    with_every_program(|program| {
        let bed = Bed::new(program, Config::default());
        let server = bed.server();
        for (name, algorithm) in [
            ("a", KeyAlgorithm::Rsa2048),
            ("b", KeyAlgorithm::EcP256),
            ("c", KeyAlgorithm::EcP521),
        ] {
            bed.key(&format!("{name}.key"), algorithm);
        }
        bed.enrol_by_mac("a.key", "a.pem", &[]);
        let signed = [
            "-cert",
            "a.pem",
            "-key",
            "a.key",
            "-trusted",
            "root.pem",
            "-untrusted",
            "issuing.pem",
        ];

        let cr = [
            "-cmd",
            "cr",
            "-newkey",
            "b.key",
            "-certout",
            "b.pem",
            "-subject",
            "/CN=second",
            "-sans",
            "b.example",
        ];
        bed.succeeds(&bed.cmp(&server, &[&signed[..], &cr[..]].concat()));
        bed.judge("b.pem", "b.key");

        let kur = [
            "-cmd",
            "kur",
            "-cert",
            "b.pem",
            "-key",
            "b.key",
            "-trusted",
            "root.pem",
            "-untrusted",
            "issuing.pem",
        ];
        let update = ["-newkey", "c.key", "-certout", "c.pem"];
        bed.succeeds(&bed.cmp(&server, &[&kur[..], &update[..]].concat()));
        bed.judge("c.pem", "c.key");
        let (before, after) = (bed.certificate("b.pem"), bed.certificate("c.pem"));
        assert_eq!((before.subject(), before.sans()), (after.subject(), after.sans()));
        let entry = bed.ca.ledger().find(&after.serial()).unwrap();
        assert_eq!(
            (entry.replaces, entry.client.as_str()),
            (Some(before.serial()), "host-1")
        );

        let rr = [
            "-cmd",
            "rr",
            "-cert",
            "c.pem",
            "-key",
            "c.key",
            "-oldcert",
            "c.pem",
            "-revreason",
            "4",
        ];
        let trust = ["-trusted", "root.pem", "-untrusted", "issuing.pem"];
        bed.succeeds(&bed.cmp(&server, &[&rr[..], &trust[..]].concat()));
        assert!(matches!(bed.state("c.pem"), State::Revoked { reason: 4, .. }));
        let again = bed.fails(&bed.cmp(&server, &[&rr[..], &trust[..]].concat()));
        assert!(again.contains("certRevoked"), "{again}");
        let others = ["-cmd", "rr", "-oldcert", "b.pem"];
        let refused = bed.fails(&bed.cmp(&server, &[&signed[..], &others[..]].concat()));
        assert!(refused.contains("notAuthorized"), "{refused}");
    });
}

#[test]
fn p10cr_takes_subject_and_names_from_the_request() {
    with_every_program(|program| {
        let bed = Bed::new(program, Config::default());
        let server = bed.server();
        bed.key("new.key", KeyAlgorithm::Rsa3072);
        let csr = [
            "req",
            "-new",
            "-key",
            "new.key",
            "-subj",
            "/O=Example/CN=p10",
            "-out",
            "new.csr",
        ];
        bed.succeeds(&[&csr[..], &["-addext", "subjectAltName=DNS:p10.example"]].concat());
        let request = [
            "-cmd", "p10cr", "-csr", "new.csr", "-certout", "new.pem", "-ref", "host-1",
        ];
        let secret = ["-secret", "pass:correct horse battery staple"];
        bed.succeeds(&bed.cmp(&server, &[&request[..], &secret[..]].concat()));
        bed.judge("new.pem", "new.key");
        let issued = bed.certificate("new.pem");
        assert_eq!(issued.subject().to_rfc4514(), "CN=p10,O=Example");
        assert_eq!(issued.sans()[0].to_string(), "DNS:p10.example");
        assert_eq!(bed.state("new.pem"), State::Confirmed);
    });
}

#[test]
fn openssl_reads_the_crl_and_sees_the_revocation() {
    with_every_program(|program| {
        let bed = Bed::new(program, Config::default());
        let server = bed.server();
        bed.key("a.key", KeyAlgorithm::EcP256);
        bed.enrol_by_mac("a.key", "a.pem", &[]);
        let check = |bed: &Bed| {
            fs::write(bed.path("crl.der"), bed.get("/-/crl")).unwrap();
            let verify = [
                "crl",
                "-inform",
                "DER",
                "-in",
                "crl.der",
                "-out",
                "crl.pem",
                "-CAfile",
                "issuing.pem",
            ];
            assert!(bed.succeeds(&verify).contains("verify OK"));
        };
        check(&bed);
        let rr = [
            "-cmd",
            "rr",
            "-cert",
            "a.pem",
            "-key",
            "a.key",
            "-oldcert",
            "a.pem",
            "-revreason",
            "1",
        ];
        let trust = ["-trusted", "root.pem", "-untrusted", "issuing.pem"];
        bed.succeeds(&bed.cmp(&server, &[&rr[..], &trust[..]].concat()));
        check(&bed);
        let shown = bed.succeeds(&["crl", "-in", "crl.pem", "-noout", "-text"]);
        assert!(
            shown.contains("Key Compromise") && shown.contains("CRL Number"),
            "{shown}"
        );
        let verify = [
            "verify",
            "-crl_check",
            "-CRLfile",
            "crl.pem",
            "-CAfile",
            "root.pem",
            "-untrusted",
            "issuing.pem",
        ];
        let refused = bed.fails(&[&verify[..], &["a.pem"]].concat());
        assert!(refused.contains("certificate revoked"), "{refused}");
    });
}

#[test]
fn openssl_polls_until_the_certificate_is_there() {
    with_every_program(|program| {
        let bed = Bed::new(program, Config::default());
        bed.ca.adjust(|policy| {
            policy.polls.insert(RequestKind::Ir, 2);
            policy.check_after_seconds = 1;
        });
        bed.key("new.key", KeyAlgorithm::EcP256);
        bed.enrol_by_mac("new.key", "new.pem", &[]);
        bed.judge("new.pem", "new.key");
        let stats = bed.ca.ledger().stats(Timestamp::now());
        assert_eq!(stats.requests.get(&RequestKind::PollReq), Some(&2));
        assert_eq!((stats.issued, stats.confirmed), (1, 1));
    });
}

#[test]
fn genm_is_answered() {
    with_every_program(|program| {
        let bed = Bed::new(program, Config::default());
        let server = bed.server();
        let mac = ["-ref", "host-1", "-secret", "pass:correct horse battery staple"];
        let is_old = bed.succeeds(&["version"]).contains("OpenSSL 3.0");
        let more: &[&str] = if is_old { &[] } else { &["-cacertsout", "ca.pem"] };
        let genm = ["-cmd", "genm", "-infotype", "caCerts"];
        bed.succeeds(&bed.cmp(&server, &[&mac[..], &genm[..], more].concat()));
        if !is_old {
            let certificates = pki::parse_certificates(&fs::read(bed.path("ca.pem")).unwrap()).unwrap();
            assert_eq!(certificates.len(), 2);
            bed.ca
                .adjust(|policy| policy.root_update = config::RootUpdate::Offered);
            let update = [
                "-cmd",
                "genm",
                "-infotype",
                "rootCaCert",
                "-oldwithold",
                "root.pem",
            ];
            let out = ["-newwithnew", "next.pem", "-newwithold", "cross.pem"];
            bed.succeeds(&bed.cmp(&server, &[&mac[..], &update[..], &out[..]].concat()));
            bed.succeeds(&["verify", "-CAfile", "next.pem", "next.pem"]);
            bed.certificate("cross.pem")
                .verify_signed_by(bed.ca.root().public_key())
                .unwrap();
            let crl = [
                "-cmd",
                "genm",
                "-infotype",
                "crlStatusList",
                "-crlcert",
                "issuing.pem",
                "-crlout",
                "new.crl",
            ];
            bed.key("a.key", KeyAlgorithm::EcP256);
            bed.enrol_by_mac("a.key", "a.pem", &[]);
            let crl = crl.map(|word| if word == "issuing.pem" { "a.pem" } else { word });
            bed.succeeds(&bed.cmp(&server, &[&mac[..], &crl[..]].concat()));
            let verify = [
                "crl",
                "-inform",
                "DER",
                "-in",
                "new.crl",
                "-noout",
                "-CAfile",
                "issuing.pem",
            ];
            assert!(bed.succeeds(&verify).contains("verify OK"));
            let template = [
                "-cmd",
                "genm",
                "-infotype",
                "certReqTemplate",
                "-template",
                "template.der",
            ];
            bed.succeeds(&bed.cmp(
                &server,
                &[&mac[..], &template[..], &["-keyspec", "keys.der"]].concat(),
            ));
            assert!(
                bed.succeeds(&["asn1parse", "-inform", "DER", "-in", "template.der"])
                    .contains("occm")
            );
            assert!(
                bed.succeeds(&["asn1parse", "-inform", "DER", "-in", "keys.der"])
                    .contains("prime256v1")
            );
        }
        assert_eq!(bed.ca.ledger().stats(Timestamp::now()).refused, 0);
    });
}

#[test]
fn refusals_are_read_by_openssl_as_they_are_meant() {
    with_every_program(|program| {
        let bed = Bed::new(program, Config::default());
        let server = bed.server();
        bed.key("new.key", KeyAlgorithm::EcP256);
        let request = [
            "-cmd",
            "ir",
            "-newkey",
            "new.key",
            "-certout",
            "new.pem",
            "-subject",
            "/CN=host-1",
        ];
        let trust = ["-trusted", "root.pem", "-untrusted", "issuing.pem"];
        let wrong = ["-ref", "host-1", "-secret", "pass:wrong"];
        let refused = bed.fails(&bed.cmp(&server, &[&request[..], &wrong[..], &trust[..]].concat()));
        assert!(refused.contains("badMessageCheck"), "{refused}");
        let right = ["-ref", "host-1", "-secret", "pass:correct horse battery staple"];
        let no_proof = bed.fails(&bed.cmp(&server, &[&request[..], &right[..], &["-popo", "0"]].concat()));
        assert!(no_proof.contains("badPOP"), "{no_proof}");
        bed.ca.faults().arm(Fault::once(FaultKind::OtherKey));
        let other = bed.fails(&bed.cmp(&server, &[&request[..], &right[..]].concat()));
        assert!(
            other.contains("not accepted") || other.contains("does not match"),
            "{other}"
        );
        let entries = bed.ca.ledger().entries(0, Timestamp::now());
        assert!(
            matches!(entries.as_slice(), [entry] if matches!(entry.state, State::Rejected { .. })),
            "{entries:?}"
        );
    });
}

#[test]
fn every_kind_of_ca_key_serves_openssl() {
    with_every_program(|program| {
        for key_algorithm in [KeyAlgorithm::Rsa2048, KeyAlgorithm::EcP384, KeyAlgorithm::Ed25519] {
            let policy = Policy {
                mac_answers: config::MacAnswers::Signature,
                ..Policy::default()
            };
            let bed = Bed::new(
                program,
                Config {
                    key_algorithm,
                    policy,
                    ..Config::default()
                },
            );
            bed.key("new.key", KeyAlgorithm::EcP256);
            bed.enrol_by_mac("new.key", "new.pem", &["-trusted", "root.pem"]);
            bed.judge("new.pem", "new.key");
            assert_eq!(bed.state("new.pem"), State::Confirmed);
        }
    });
}

#[test]
fn the_pages_show_what_happened() {
    with_every_program(|program| {
        let bed = Bed::new(program, Config::default());
        bed.key("new.key", KeyAlgorithm::EcP256);
        bed.enrol_by_mac("new.key", "new.pem", &[]);
        let entries: Vec<devca::Entry> = serde_json::from_slice(&bed.get("/-/ledger?since=0")).unwrap();
        assert_eq!(entries.len(), 1);
        let later: Vec<devca::Entry> = serde_json::from_slice(&bed.get("/-/ledger?since=1")).unwrap();
        assert_eq!(later, []);
        let stats: devca::Stats = serde_json::from_slice(&bed.get("/-/stats")).unwrap();
        assert_eq!((stats.issued, stats.confirmed), (1, 1));
        assert_eq!(text(&bed.get("/-/ca.pem")), bed.ca.root().to_pem());
        assert_eq!(
            pki::parse_certificates(&bed.get("/-/chain.pem")).unwrap().len(),
            2
        );
    });
}
