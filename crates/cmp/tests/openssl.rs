//! The engine `openssl` and what it gives to its command: arguments without secrets, private files, an empty
//! environment, and nothing left behind. The command is a script that writes down what it sees.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests may fail the test"
)]

use std::time::Duration;

use cmp::engine::{KeyUsageCheck, MacResponse};
use cmp::http::{HttpProxy, TlsAnchors, TlsCipher, TlsConfig, TlsGroup, TlsIdentity, TlsVersion};
use cmp::openssl::{Connections, OpenSsl, OpenSslError};
use cmp::{
    Class, CmpError, Credentials, Engine, Enrolment, EnrolmentKind, ErrorKind, General, MacAlgorithm,
    Outcome, Reached, Request, RevocationReason, Step,
};
use fake::{Fake, SECRET, Setting, anchors, self_signed};
use pki::{KeyAlgorithm, PrivateKey, Secret, SignatureAlgorithm};

#[path = "openssl/fake.rs"]
mod fake;

/// Writes down arguments (one a line), environment, modes and file names, then fails.
const SPY: &str = "for a in \"$@\"; do echo \"$a\"; done > \"$HOME/arguments\"; /usr/bin/env > \"$HOME/environment\"; \
                   stat -c '%a %n' . * > \"$HOME/modes\"; cp openssl.cnf \"$HOME/configuration\"; exit 1";

async fn arguments(fake: &Fake, engine: &OpenSsl, setting: &Setting) -> Vec<String> {
    setting.run(engine).await.unwrap_err();
    fake.read("arguments").lines().map(str::to_owned).collect()
}

/// The value behind an argument.
fn value<'a>(arguments: &'a [String], name: &str) -> Option<&'a str> {
    let at = arguments.iter().position(|argument| argument == name)?;
    arguments.get(at + 1).map(String::as_str)
}

fn with(change: impl FnOnce(&mut Setting)) -> Setting {
    let mut setting = Setting::new();
    change(&mut setting);
    setting
}

fn change_enrolment(setting: &mut Setting, change: impl FnOnce(&mut Enrolment)) {
    match &mut setting.request {
        Request::Enrol(enrolment) => change(enrolment),
        _ => panic!("it is an enrolment"),
    }
}

fn signature() -> Credentials {
    let (certificate, key) = self_signed("client.example");
    Credentials::signature(key, certificate, Vec::new()).unwrap()
}

/// A setting with a signature and an anchor for the answers.
fn signed() -> Setting {
    with(|setting| {
        setting.credentials = signature();
        setting.peer.trust.responses = anchors(&self_signed("ca.example").0);
    })
}

#[tokio::test]
async fn secrets_and_keys_are_in_private_files_only_and_nothing_stays_behind() {
    let fake = Fake::new("3.5.9", SPY);
    let engine = fake.engine().await;
    let mac = arguments(&fake, &engine, &Setting::new()).await;
    assert_eq!(value(&mac, "-secret"), Some("file:secret"));
    for place in ["arguments", "environment"] {
        let text = fake.read(place);
        assert!(
            !text.contains(SECRET) && !text.contains("PRIVATE"),
            "{place}: {text}"
        );
    }
    let modes = fake.read("modes");
    assert!(modes.lines().any(|line| line == "700 ."), "{modes}");
    assert!(
        modes
            .lines()
            .filter(|line| *line != "700 .")
            .all(|line| line.starts_with("600 ")),
        "{modes}"
    );
    for name in ["secret", "new.key", "request.pem"] {
        assert!(
            modes.lines().any(|line| line.ends_with(&format!(" {name}"))),
            "{name}: {modes}"
        );
    }
    assert_eq!(fake.private_count(), 0);
}

#[tokio::test]
async fn the_command_sees_no_variable_of_ours() {
    let fake = Fake::new("3.5.9", SPY);
    arguments(&fake, &fake.engine().await, &Setting::new()).await;
    let text = fake.read("environment");
    let names = text
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, _)| name);
    // PATH, HOME and PWD are of the script that stands in for the command.
    let mut names: Vec<&str> = names
        .filter(|name| !["PATH", "HOME", "PWD", "_", "OLDPWD", "SHLVL"].contains(name))
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["LC_ALL", "OPENSSL_CONF"]);
}

#[tokio::test]
async fn arguments_follow_the_settings() {
    let fake = Fake::new("3.5.9", SPY);
    let mut config = fake.config();
    config.http.url = "http://ca.example:8080/p/alias?x=1".parse().unwrap();
    config.http.request_timeout = Duration::from_millis(1500);
    config.http.total_timeout = Duration::from_secs(7);
    let engine = OpenSsl::start(config.clone()).await.unwrap();
    let setting = with(|setting| {
        change_enrolment(setting, |enrolment| {
            enrolment.implicit_confirm = true;
            enrolment.profile = Some("web".to_owned());
            enrolment.template.duration = Some(Duration::from_secs(90 * 86400));
        });
        setting.peer.trust.responses = anchors(&self_signed("ca.example").0);
    });
    let found = arguments(&fake, &engine, &setting).await;
    let expected = [
        ("-config", ""),
        ("-cmd", "ir"),
        ("-csr", "request.pem"),
        ("-newkey", "new.key"),
        ("-server", "ca.example:8080"),
        ("-path", "p/alias?x=1"),
        ("-recipient", "/O=Lab/CN=CMP Server"),
        ("-expect_sender", "/O=Lab/CN=CMP Server"),
        ("-ref", "user1"),
        ("-mac", "hmacWithSHA256"),
        ("-keep_alive", "0"),
        ("-msg_timeout", "2"),
        ("-total_timeout", "7"),
        ("-days", "90"),
        ("-profile", "web"),
        ("-trusted", "signers.pem"),
        ("-certout", "certificate.pem"),
        ("-extracertsout", "extra.pem"),
        ("-cacertsout", "capubs.pem"),
        ("-chainout", "chain.pem"),
    ];
    assert_eq!(found.first().map(String::as_str), Some("cmp"));
    for (name, wanted) in expected {
        assert_eq!(value(&found, name), Some(wanted), "{name}");
    }
    for flag in [
        "-implicit_confirm",
        "-ignore_keyusage",
        "-partial_chain",
        "-batch",
    ] {
        assert!(found.iter().any(|argument| argument == flag), "{flag}");
    }
    for never in [
        "-unprotected_errors",
        "-unprotected_requests",
        "-disable_confirm",
        "-tls_used",
        "-proxy",
    ] {
        assert!(!found.iter().any(|argument| argument == never), "{never}");
    }

    config.connections = Connections::Kept;
    config.http.proxy = Some(HttpProxy {
        url: "http://proxy.example:3128".parse().unwrap(),
        credentials: None,
    });
    let engine = OpenSsl::start(config).await.unwrap();
    let strict = with(|setting| {
        setting.peer.policy.key_usage = KeyUsageCheck::Strict;
        setting.peer.policy.mac_response = MacResponse::MacOnly;
        setting.peer.recipient = None;
        setting.peer.trust.responses = anchors(&self_signed("ca.example").0);
    });
    let found = arguments(&fake, &engine, &strict).await;
    assert_eq!(value(&found, "-proxy"), Some("http://proxy.example:3128"));
    assert_eq!(value(&found, "-keep_alive"), Some("1"));
    assert_eq!(value(&found, "-recipient"), Some("/"));
    for absent in [
        "-expect_sender",
        "-ignore_keyusage",
        "-trusted",
        "-implicit_confirm",
        "-days",
        "-profile",
    ] {
        assert_eq!(value(&found, absent), None, "{absent}");
    }
}

#[tokio::test]
async fn each_kind_of_request_has_its_command_and_its_files() {
    let fake = Fake::new("3.5.9", SPY);
    let engine = fake.engine().await;
    let (old, _) = self_signed("old.example");
    let kinds = [
        (EnrolmentKind::Certification, "cr", true, None),
        (
            EnrolmentKind::KeyUpdate {
                old: Box::new(old.clone()),
            },
            "kur",
            true,
            Some("old.pem"),
        ),
        (EnrolmentKind::Pkcs10, "p10cr", false, None),
    ];
    for (kind, command, sees_key, old) in kinds {
        let mut setting = signed();
        change_enrolment(&mut setting, |enrolment| enrolment.kind = kind);
        let found = arguments(&fake, &engine, &setting).await;
        assert_eq!(value(&found, "-cmd"), Some(command));
        assert_eq!(value(&found, "-newkey").is_some(), sees_key, "{command}");
        assert_eq!(value(&found, "-oldcert"), old, "{command}");
        assert_eq!(value(&found, "-cert"), Some("own.pem"));
        assert_eq!(value(&found, "-key"), Some("own.key"));
        assert_eq!(value(&found, "-digest"), Some("sha256"));
        assert_eq!(value(&found, "-secret"), None);
    }
    for (reason, code) in [
        (RevocationReason::Superseded, Some("4")),
        (RevocationReason::Unspecified, None),
    ] {
        let mut setting = signed();
        setting.request = Request::Revoke {
            certificate: old.clone(),
            reason,
        };
        let found = arguments(&fake, &engine, &setting).await;
        assert_eq!(
            (value(&found, "-cmd"), value(&found, "-revreason")),
            (Some("rr"), code)
        );
    }
}

#[tokio::test]
async fn tls_has_files_for_trust_and_identity_and_a_configuration_for_the_rest() {
    let fake = Fake::new("3.0.19", SPY);
    let (anchor, _) = self_signed("tls.example");
    let (certificate, key) = self_signed("client.example");
    let mut tls = TlsConfig::new(TlsAnchors::Certificates(anchors(&anchor)));
    tls.min_version = TlsVersion::Tls13;
    tls.groups = vec![TlsGroup::X25519MlKem768, TlsGroup::X25519, TlsGroup::P384];
    tls.ciphers = vec![TlsCipher::Aes256GcmSha384, TlsCipher::EcdheRsaAes128GcmSha256];
    tls.server_name = Some("front.example".to_owned());
    tls.identity = Some(TlsIdentity {
        key,
        chain: vec![certificate],
    });
    let mut config = fake.config();
    config.http.url = "https://ca.example/cmp".parse().unwrap();
    config.http.tls = Some(tls);
    let engine = OpenSsl::start(config).await.unwrap();
    let found = arguments(&fake, &engine, &Setting::new()).await;
    for (name, wanted) in [
        ("-server", "ca.example:443"),
        ("-tls_trusted", "tls-anchors.pem"),
        ("-tls_host", "front.example"),
        ("-tls_cert", "tls.pem"),
        ("-tls_key", "tls.key"),
    ] {
        assert_eq!(value(&found, name), Some(wanted), "{name}");
    }
    assert!(found.iter().any(|argument| argument == "-tls_used"));
    let text = fake.read("configuration");
    for line in [
        "MinProtocol = TLSv1.3",
        "Groups = X25519:P-384",
        "Ciphersuites = TLS_AES_256_GCM_SHA384",
        "CipherString = ECDHE-RSA-AES128-GCM-SHA256",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}: {text}");
    }
}

fn refused(error: &CmpError, part: &str) {
    assert_eq!(
        (error.class, error.reached),
        (Class::Misconfigured, Reached::No),
        "{error}"
    );
    assert!(error.to_string().contains(part), "{error} does not say {part}");
}

#[tokio::test]
async fn what_the_command_cannot_do_is_refused_before_it_runs() {
    let fake = Fake::new("3.0.19", "echo ran > \"$HOME/ran\"; exit 1");
    let engine = fake.engine().await;
    let mac = |secret: &[u8], algorithm| {
        with(|setting| {
            setting.credentials = Credentials::mac("user1", Secret::new(secret.to_vec()), algorithm)
        })
    };
    let enrolment = |change: fn(&mut Enrolment)| with(|setting| change_enrolment(setting, change));
    let signer = |algorithm: KeyAlgorithm, sign: SignatureAlgorithm| {
        let mut setting = signed();
        if let Credentials::Signature {
            key, algorithm: how, ..
        } = &mut setting.credentials
        {
            *key = PrivateKey::generate(algorithm).unwrap();
            *how = sign;
        }
        setting
    };
    let pbm = MacAlgorithm::PBM;
    let mut reference = Setting::new();
    reference.credentials = Credentials::mac(vec![0xff, 0xfe], Secret::new(b"x".to_vec()), pbm);
    let mut general = Setting::new();
    general.request = Request::General(General::CaCerts);
    let mut untrusting = signed();
    untrusting.peer.trust.responses = pki::Anchors::default();
    let mut believing = Setting::new();
    believing.peer.trust.certificates = pki::Anchors::default();
    let table = [
        (believing, "no trust anchor for issued certificates"),
        (mac(b"x", MacAlgorithm::PBMAC1), "PBMAC1"),
        (mac(b"two\nlines", pbm), "line break"),
        (mac(b"", pbm), "empty"),
        (mac(&[b'x'; 1024], pbm), "longer than 1023"),
        (reference, "reference that is not text"),
        (general, "general message"),
        (untrusting, "no trust anchor for signed answers"),
        (
            enrolment(|enrolment| enrolment.profile = Some("web".to_owned())),
            "from 3.3 on",
        ),
        (
            enrolment(|enrolment| enrolment.template.duration = Some(Duration::from_secs(90_000))),
            "whole number of days",
        ),
        (
            signer(KeyAlgorithm::Ed25519, SignatureAlgorithm::Ed25519),
            "Ed25519",
        ),
        (
            signer(KeyAlgorithm::EcP256, SignatureAlgorithm::RsaPssSha256),
            "RSA-PSS",
        ),
    ];
    for (setting, part) in table {
        refused(&setting.begin(&engine).unwrap_err(), part);
    }
    let mut update = Setting::new();
    let old = Box::new(self_signed("old.example").0);
    change_enrolment(&mut update, |enrolment| {
        enrolment.kind = EnrolmentKind::KeyUpdate { old }
    });
    refused(&update.begin(&engine).unwrap_err(), "never protected by a MAC");
    assert!(!fake.home.path().join("ran").exists());
}

#[tokio::test]
async fn https_without_anchors_and_a_proxy_with_a_password_are_refused() {
    let fake = Fake::new("3.5.9", "exit 1");
    let mut config = fake.config();
    config.http.url = "https://ca.example/".parse().unwrap();
    for tls in [
        None,
        Some(TlsConfig::new(TlsAnchors::Certificates(pki::Anchors::default()))),
    ] {
        config.http.tls = tls;
        let engine = OpenSsl::start(config.clone()).await.unwrap();
        refused(&Setting::new().begin(&engine).unwrap_err(), "needs trust anchors");
    }
    let mut config = fake.config();
    config.http.proxy = Some(HttpProxy {
        url: "http://proxy.example".parse().unwrap(),
        credentials: Some(cmp::http::ProxyCredentials {
            user: "u".to_owned(),
            password: Secret::new(b"p".to_vec()),
        }),
    });
    let engine = OpenSsl::start(config).await.unwrap();
    refused(
        &Setting::new().begin(&engine).unwrap_err(),
        "a proxy with a password",
    );
}

#[tokio::test]
async fn an_old_or_foreign_or_missing_command_is_no_engine() {
    let old = OpenSsl::start(Fake::new("1.1.1w", "").config())
        .await
        .unwrap_err();
    assert_eq!(
        old.to_string(),
        "OpenSSL 1.1.1 has no cmp command; at least 3.0.0 is needed"
    );
    let fake = Fake::new("3.5.9", "");
    let mut config = fake.config();
    config.command = "/nonexistent/openssl".into();
    assert!(matches!(
        OpenSsl::start(config).await.unwrap_err(),
        OpenSslError::Command { .. }
    ));
    let mut config = fake.config();
    config.scratch = Some("/nonexistent".into());
    assert!(matches!(
        OpenSsl::start(config).await.unwrap_err(),
        OpenSslError::Scratch { .. }
    ));
}

#[tokio::test]
async fn the_start_sweeps_what_a_killed_process_left() {
    let fake = Fake::new("3.5.9", "exit 1");
    let left = fake.private().join("occm-cmp-left");
    std::fs::create_dir(&left).unwrap();
    std::fs::write(left.join("lock"), b"").unwrap();
    std::fs::write(left.join("secret"), SECRET).unwrap();
    fake.engine().await;
    assert_eq!(fake.private_count(), 0);
}

#[tokio::test]
async fn a_command_that_hangs_is_killed_after_its_time_and_its_files_go() {
    let fake = Fake::new("3.5.9", "echo 'CMP info: sending IR'; exec sleep 1000");
    let mut config = fake.config();
    config.http.total_timeout = Duration::from_millis(1);
    let engine = OpenSsl::start(config).await.unwrap();
    let error = Setting::new().run(&engine).await.unwrap_err();
    assert_eq!((error.class, error.reached), (Class::Retry, Reached::Maybe));
    assert!(matches!(error.kind, ErrorKind::Transport { .. }), "{error}");
    assert_eq!(fake.private_count(), 0);
}

#[tokio::test]
async fn a_run_that_nobody_waits_for_leaves_nothing_and_cannot_be_begun_again() {
    let fake = Fake::new(
        "3.5.9",
        "echo $$ > \"$HOME/pid.tmp\"; mv \"$HOME/pid.tmp\" \"$HOME/pid\"; exec sleep 1000",
    );
    let engine = fake.engine().await;
    let setting = Setting::new();
    let context = setting.context();
    let mut transaction = setting.begin(&engine).unwrap();
    assert!(transaction.outgoing().is_none());
    {
        let mut running = engine.exchange(&mut transaction, &context);
        while !fake.home.path().join("pid").exists() {
            tokio::select! {
                _ = &mut running => panic!("it must not end by itself"),
                () = tokio::task::yield_now() => (),
            }
        }
        assert_eq!(fake.private_count(), 1);
    }
    assert_eq!(fake.private_count(), 0);
    // It may have reached the CA: a second run would be a second transaction.
    let error = engine.exchange(&mut transaction, &context).await.unwrap_err();
    assert!(matches!(error.kind, ErrorKind::State(_)), "{error}");
}

#[tokio::test]
async fn an_answer_is_taken_from_the_files_and_is_confirmed_already() {
    let (issued, _) = self_signed("ee.example");
    let (ca, _) = self_signed("ca.example");
    let fake = Fake::new(
        "3.5.9",
        "cp \"$HOME/issued\" certificate.pem; cat \"$HOME/issued\" \"$HOME/ca\" \"$HOME/ca\" > extra.pem; \
         cp \"$HOME/ca\" capubs.pem; : > chain.pem; \
         echo 'print_status:../apps/cmp.c:3447:CMP warning: received from x PKIStatus: granted with modifications; \
         StatusString: \"as you like\"'",
    );
    std::fs::write(fake.home.path().join("issued"), issued.to_pem()).unwrap();
    std::fs::write(fake.home.path().join("ca"), ca.to_pem()).unwrap();
    let engine = fake.engine().await;
    let setting = Setting::new();
    let context = setting.context();
    let mut transaction = setting.begin(&engine).unwrap();
    let step = engine.exchange(&mut transaction, &context).await.unwrap();
    let Step::Issued(answer) = step else {
        panic!("{step:?}")
    };
    assert_eq!(
        (&answer.certificate, answer.extra.as_slice()),
        (&issued, [ca.clone()].as_slice())
    );
    assert_eq!(answer.ca_pubs, [ca]);
    assert!(answer.granted_with_mods);
    assert_eq!(answer.text, "as you like");
    // Another process that reads the transaction back gets the same answer, without a second run.
    let again = engine.exchange(&mut transaction, &context).await.unwrap();
    assert_eq!(again, Step::Issued(answer.clone()));
    // The certificate is not for our key: the check that both engines share says so.
    let error = transaction
        .verify(&answer, &setting.peer, context.now)
        .unwrap_err();
    assert_eq!(error.class, Class::Untrusted, "{error}");
    let refused = transaction.reject(&error, &context).unwrap();
    assert_eq!(
        refused,
        Step::Done(Outcome::Refused(cmp::engine::RefusalKnown::No))
    );
}

#[tokio::test]
async fn a_revocation_is_done_when_the_command_says_so() {
    let fake = Fake::new("3.5.9", "exit 0");
    let mut setting = signed();
    let certificate = self_signed("old.example").0;
    setting.request = Request::Revoke {
        certificate,
        reason: RevocationReason::Superseded,
    };
    let step = setting.run(&fake.engine().await).await.unwrap();
    assert!(matches!(step, Step::Done(Outcome::Revoked { .. })), "{step:?}");
}

#[tokio::test]
async fn the_engine_says_what_it_cannot_do() {
    let (old, new) = (Fake::new("3.0.19", ""), Fake::new("3.5.9", ""));
    let (old, new) = (old.engine().await, new.engine().await);
    assert_eq!(
        (old.name(), old.version().to_string().as_str()),
        ("openssl", "3.0.19")
    );
    for engine in [&old, &new] {
        let can = engine.capabilities();
        assert!(!can.resumes && !can.confirms_on_accept && !can.pbmac1 && !can.general);
    }
    assert_eq!(
        (old.capabilities().profiles, new.capabilities().profiles),
        (false, true)
    );
}
