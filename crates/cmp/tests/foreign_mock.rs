//! Both engines against a foreign peer: the CMP mock server of OpenSSL 3.5, every certificate judged by `openssl`.
//!
//! The mock server listens on all addresses. So the test runs again inside a network namespace of its own, where only
//! a loopback is; where that is not permitted it runs in place, with a note.
//!
//! The command for the server is named by `OCCM_OPENSSL35`, if the system's own is older. Without one the test fails
//! under CI and is skipped elsewhere.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail the test"
)]

use std::{
    path::PathBuf,
    process::{Command, Stdio},
    sync::Arc,
};

use cmp::Class::{Misconfigured, Rejected, Untrusted};
use cmp::engine::{GeneralAnswer, RefusalKnown};
use cmp::http::{HttpConfig, HttpTransport, TlsCipher, TlsConfig, TlsGroup, TlsVersion};
use cmp::openssl::{OpenSsl, OpenSslConfig};
use cmp::{
    Class, CmpError, Context, Credentials, Engine, Enrolment, EnrolmentKind, General, MacAlgorithm, Native,
    Outcome, Peer, Request, RevocationReason, Step, Transaction, VerifiedCertificate,
};
use jiff::Timestamp;
use lab::{Lab, REFERENCE, SECRET, newer_openssl};
use pki::{KeyAlgorithm, PrivateKey, Secret};

#[path = "foreign/lab.rs"]
mod lab;

/// Says to the second run that it is in the namespace.
const INSIDE: &str = "OCCM_TEST_IN_NAMESPACE";
const NAME: &str = "both_engines_pass_every_scenario_against_the_mock_server_of_openssl";

/// What is asked of the mock server.
#[derive(Clone, Copy)]
enum Ask {
    Initialization,
    Certification,
    KeyUpdate,
    Pkcs10,
    Revocation,
    CaCerts,
}

/// How our messages are protected.
#[derive(Clone, Copy)]
enum By {
    Mac,
    WrongMac,
    /// The certificate with this name.
    Signature(&'static str),
}

/// How it must end.
#[derive(Clone, Copy)]
enum End {
    Issued,
    Revoked,
    CaCerts,
    /// With this class, and these words in the error, the same for all engines.
    Fails(Class, &'static str),
}

/// One scenario: name, the server's arguments, request, protection, end.
type Scenario = (&'static str, &'static [&'static str], Ask, By, End);

const CLIENT: By = By::Signature("client");
const HOLDER: By = By::Signature("issued");

const SCENARIOS: [Scenario; 24] = [
    ("ir by MAC", &[], Ask::Initialization, By::Mac, End::Issued),
    (
        "ir by MAC, implicit",
        &["-grant_implicitconf"],
        Ask::Initialization,
        By::Mac,
        End::Issued,
    ),
    ("ir by signature", &[], Ask::Initialization, CLIENT, End::Issued),
    (
        "ir by signature, implicit",
        &["-grant_implicitconf"],
        Ask::Initialization,
        CLIENT,
        End::Issued,
    ),
    (
        "ir by RSA signature",
        &[],
        Ask::Initialization,
        By::Signature("client-rsa"),
        End::Issued,
    ),
    (
        "ir by Ed25519 signature",
        &[],
        Ask::Initialization,
        By::Signature("client-ed"),
        End::Issued,
    ),
    ("cr by MAC", &[], Ask::Certification, By::Mac, End::Issued),
    ("cr by signature", &[], Ask::Certification, CLIENT, End::Issued),
    ("cr with a profile", &[], Ask::Certification, CLIENT, End::Issued),
    (
        "kur by the old certificate",
        &[],
        Ask::KeyUpdate,
        HOLDER,
        End::Issued,
    ),
    (
        "kur by MAC",
        &[],
        Ask::KeyUpdate,
        By::Mac,
        End::Fails(Misconfigured, "MAC"),
    ),
    ("p10cr by MAC", &[], Ask::Pkcs10, By::Mac, End::Issued),
    ("p10cr by signature", &[], Ask::Pkcs10, CLIENT, End::Issued),
    (
        "rr by the certificate",
        &[],
        Ask::Revocation,
        HOLDER,
        End::Revoked,
    ),
    ("genm caCerts", &[], Ask::CaCerts, By::Mac, End::CaCerts),
    (
        "ir with polling",
        &["-poll_count", "2", "-check_after", "1"],
        Ask::Initialization,
        CLIENT,
        End::Issued,
    ),
    (
        "granted with modifications",
        &["-pkistatus", "1"],
        Ask::Initialization,
        CLIENT,
        End::Issued,
    ),
    (
        "ir rejected",
        &["-pkistatus", "2", "-failure", "2", "-statusstring", "no %s"],
        Ask::Initialization,
        By::Mac,
        End::Fails(Rejected, "rejection, badRequest: \"no %s\""),
    ),
    (
        "ir rejected for its template",
        &["-pkistatus", "2", "-failure", "19"],
        Ask::Initialization,
        CLIENT,
        End::Fails(Misconfigured, "rejection, badCertTemplate"),
    ),
    (
        "rr of a revoked certificate",
        &["-pkistatus", "2", "-failure", "10"],
        Ask::Revocation,
        HOLDER,
        End::Fails(Rejected, "certRevoked"),
    ),
    (
        "wrong secret",
        &[],
        Ask::Initialization,
        By::WrongMac,
        End::Fails(Class::Retry, "MAC of the answer"),
    ),
    (
        "a certificate for another key",
        &["-rsp_cert", "client.pem"],
        Ask::Initialization,
        CLIENT,
        End::Fails(Untrusted, "public key is not ours"),
    ),
    (
        "an error message that nobody signed",
        &["-send_error", "-send_unprot_err"],
        Ask::Initialization,
        CLIENT,
        End::Fails(Class::Retry, ""),
    ),
    (
        "an answer that nobody signed",
        &["-send_unprotected"],
        Ask::Initialization,
        CLIENT,
        End::Fails(Untrusted, "not protected"),
    ),
];

/// What the engine `openssl` is allowed not to do: scenario, versions from which it can (`None`: none can), the words of
/// the engine, and the command's own, which are in the recordings of that version.
type Refusal = (&'static str, Option<(u16, u16)>, &'static str, &'static str);

const REFUSED: [Refusal; 4] = [
    (
        "genm caCerts",
        None,
        "a general message by the engine openssl is not supported",
        "",
    ),
    (
        "cr with a profile",
        Some((3, 3)),
        "certProfile by openssl 3.",
        "cmp: Unknown option: -profile",
    ),
    (
        "ir by Ed25519 signature",
        Some((3, 2)),
        "signing with Ed25519 by openssl 3.",
        "CMP error: unsupported key type",
    ),
    (
        "ir with polling",
        Some((3, 3)),
        "from 3.3 on",
        "CMP error: received error:PKIStatus: waiting",
    ),
];

const RECORDINGS: &str = include_str!("openssl/outputs-3.0.19.txt");

#[test]
fn refusals_on_the_list_quote_the_command() {
    for (scenario, since, _, words) in REFUSED {
        assert!(SCENARIOS.iter().any(|row| row.0 == scenario), "{scenario}");
        assert!(
            words.is_empty() == since.is_none() && RECORDINGS.contains(words),
            "{scenario}"
        );
    }
}

#[test]
fn both_engines_pass_every_scenario_against_the_mock_server_of_openssl() {
    let Some(openssl) = newer_openssl() else {
        assert!(
            std::env::var_os("CI").is_none(),
            "no openssl of 3.5 or newer: set OCCM_OPENSSL35"
        );
        println!("skipped: no openssl of 3.5 or newer; name one by OCCM_OPENSSL35");
        return;
    };
    if std::env::var_os(INSIDE).is_none() {
        if namespace_is_permitted() {
            run_inside();
            return;
        }
        println!("note: no network namespace, the mock server listens on all addresses");
    }
    let lab = Lab::new(&openssl);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut commands = vec![openssl];
    if lab::version(&PathBuf::from("openssl"))
        .is_some_and(|text| cmp::openssl::Version::parse(text.as_bytes()).is_ok())
    {
        commands.push(PathBuf::from("openssl"));
    }
    let mut wrong = Vec::new();
    for scenario in SCENARIOS {
        wrong.extend(runtime.block_on(native(&lab, scenario)).err());
        for command in &commands {
            wrong.extend(runtime.block_on(external(&lab, scenario, command)).err());
        }
    }
    for command in &commands {
        wrong.extend(runtime.block_on(through_tls(&lab, command)).err());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// TLS in front of the mock server: the command gets trust, name, version, groups and ciphers from us, and refuses a
/// server that is not the one.
async fn through_tls(lab: &Lab, command: &PathBuf) -> Result<(), String> {
    let scenario = SCENARIOS[2];
    let server = lab.serve(scenario.1);
    let address = terminate(lab, server.url()).await;
    let other = cmp::http::TlsAnchors::Certificates(pki::Anchors::new([lab.certificate("issued")]).unwrap());
    let right = cmp::http::TlsAnchors::Certificates(lab.anchors());
    for (anchors, name, trusted) in [
        (right.clone(), Some("ee.example"), true),
        (right, None, false),
        (other, None, false),
    ] {
        let mut tls = TlsConfig::new(anchors);
        tls.server_name = name.map(str::to_owned);
        tls.min_version = TlsVersion::Tls13;
        tls.groups = vec![TlsGroup::X25519MlKem768, TlsGroup::P384];
        tls.ciphers = vec![TlsCipher::Aes256GcmSha384, TlsCipher::EcdheEcdsaAes128GcmSha256];
        let mut http = HttpConfig::new(format!("https://{address}/pkix/").parse().unwrap());
        http.tls = Some(tls);
        let mut config = OpenSslConfig::new(http.clone());
        config.command.clone_from(command);
        let engine = OpenSsl::start(config).await.unwrap();
        let native = Native::new(Arc::new(HttpTransport::new(http).unwrap()));
        let engines: [&dyn Engine; 2] = [&engine, &native];
        for engine in engines {
            let failed = |text: String| format!("TLS, {}, name {name:?}: {text}", engine.name());
            match ask(lab, engine, scenario).await {
                Err(error) if !trusted => {
                    if (error.class, error.reached) != (Untrusted, cmp::Reached::No) {
                        return Err(failed(error.to_string()));
                    }
                }
                result if trusted => judge(lab, scenario, result).map_err(failed)?,
                result => return Err(failed(format!("{result:?}"))),
            }
        }
    }
    Ok(())
}

/// Takes TLS off in front of the server; shows the certificate `issued`, which is for `ee.example`.
async fn terminate(lab: &Lab, url: String) -> std::net::SocketAddr {
    let endpoint: cmp::http::Endpoint = url.parse().unwrap();
    let chain = vec![rustls::pki_types::CertificateDer::from(
        lab.certificate("issued").der().to_vec(),
    )];
    let key = lab.key.to_pkcs8_der().unwrap().to_vec();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(key);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(rustls::ALL_VERSIONS)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key.into())
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (acceptor, target) = (acceptor.clone(), endpoint.host_and_port());
            tokio::spawn(async move {
                if let Ok(mut client) = acceptor.accept(client).await {
                    let mut server = tokio::net::TcpStream::connect(target).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                }
            });
        }
    });
    address
}

/// The command for a new namespace in which we are root.
fn namespace() -> Command {
    let mut command = Command::new("unshare");
    command
        .args(["-rn", "/bin/sh", "-c", "ip link set lo up && exec \"$0\" \"$@\""])
        .stdin(Stdio::null());
    command
}

fn namespace_is_permitted() -> bool {
    let status = namespace()
        .arg("true")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

fn run_inside() {
    let program = std::env::current_exe().unwrap();
    let output = namespace()
        .arg(program)
        .args(["--exact", NAME, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}\n{errors}"
    );
}

async fn native(lab: &Lab, scenario: Scenario) -> Result<(), String> {
    let server = lab.serve(scenario.1);
    let transport = HttpTransport::new(HttpConfig::new(server.url().parse().unwrap())).unwrap();
    let engine = Native::new(Arc::new(transport));
    let result = ask(lab, &engine, scenario).await;
    judge(lab, scenario, result).map_err(|text| format!("native, {}: {text}", scenario.0))
}

async fn external(lab: &Lab, scenario: Scenario, command: &PathBuf) -> Result<(), String> {
    let server = lab.serve(scenario.1);
    let mut config = OpenSslConfig::new(HttpConfig::new(server.url().parse().unwrap()));
    config.command.clone_from(command);
    let engine = OpenSsl::start(config).await.unwrap();
    let version = engine.version();
    let result = ask(lab, &engine, scenario).await;
    let listed = REFUSED.iter().find(|row| {
        row.0 == scenario.0
            && row
                .1
                .is_none_or(|(major, minor)| version < cmp::openssl::Version::new(major, minor, 0))
    });
    let verdict = match (listed, result) {
        (None, result) => judge(lab, scenario, result),
        (Some((_, _, words, _)), Err(error))
            if error.to_string().contains(words) && error.class == Misconfigured =>
        {
            println!("openssl {version}, {}: {error}", scenario.0);
            Ok(())
        }
        (Some(_), result) => Err(format!("is on the list of refusals, but {result:?}")),
    };
    verdict.map_err(|text| format!("openssl {version}, {}: {text}", scenario.0))
}

/// What came of a scenario.
#[derive(Debug)]
enum Came {
    Certificate(Box<VerifiedCertificate>, PrivateKey),
    Outcome(Outcome),
}

fn judge(lab: &Lab, (_, _, _, _, end): Scenario, result: Result<Came, CmpError>) -> Result<(), String> {
    match (end, result) {
        (End::Issued, Ok(Came::Certificate(verified, key))) => {
            lab.judge(verified.certificate(), &key);
            let root = verified.root().is_some_and(|root| *root == lab.root);
            if root {
                Ok(())
            } else {
                Err("the root is not ours".to_owned())
            }
        }
        (End::Revoked, Ok(Came::Outcome(Outcome::Revoked { .. }))) => Ok(()),
        (End::CaCerts, Ok(Came::Outcome(Outcome::General(answer)))) => match *answer {
            GeneralAnswer::CaCerts(list) if list == [lab.root.clone()] => Ok(()),
            other => Err(format!("{other:?}")),
        },
        (End::Fails(class, words), Err(error))
            if error.class == class && error.to_string().contains(words) =>
        {
            Ok(())
        }
        (_, Ok(came)) => Err(format!("{came:?}")),
        (_, Err(error)) => Err(format!("{:?}: {error}", error.class)),
    }
}

async fn ask(lab: &Lab, engine: &dyn Engine, (name, server, ask, by, _): Scenario) -> Result<Came, CmpError> {
    let mut peer = Peer {
        recipient: Some(lab.server_name()),
        ..Peer::default()
    };
    peer.trust.responses = lab.anchors();
    peer.trust.certificates = lab.anchors();
    let secret = match by {
        By::WrongMac => "another",
        By::Mac | By::Signature(_) => SECRET,
    };
    let credentials = match by {
        By::Mac | By::WrongMac => Credentials::mac(
            REFERENCE,
            Secret::new(secret.as_bytes().to_vec()),
            MacAlgorithm::PBM,
        ),
        By::Signature(name) => {
            Credentials::signature(lab.private_key(name), lab.certificate(name), Vec::new()).unwrap()
        }
    };
    let enrolment = |kind| {
        Request::enrol(Enrolment {
            kind,
            template: lab.template.clone(),
            implicit_confirm: server.contains(&"-grant_implicitconf"),
            profile: (name == "cr with a profile").then(|| "profile1".to_owned()),
        })
    };
    let old = lab.certificate("issued");
    let request = match ask {
        Ask::Initialization => enrolment(EnrolmentKind::Initialization),
        Ask::Certification => enrolment(EnrolmentKind::Certification),
        Ask::KeyUpdate => enrolment(EnrolmentKind::KeyUpdate { old: Box::new(old) }),
        Ask::Pkcs10 => enrolment(EnrolmentKind::Pkcs10),
        Ask::Revocation => Request::Revoke {
            certificate: old,
            reason: RevocationReason::Superseded,
        },
        Ask::CaCerts => Request::General(General::CaCerts),
    };
    // The mock server gives the same certificate to everybody, so everybody has its key.
    let context = Context {
        credentials: &credentials,
        peer: &peer,
        key: Some(&lab.key),
        now: Timestamp::now(),
    };
    drive(engine, &request, context).await
}

/// Goes through a transaction as a user would who is restarted after each step.
async fn drive(engine: &dyn Engine, request: &Request, mut context: Context<'_>) -> Result<Came, CmpError> {
    let key = context
        .key
        .cloned()
        .unwrap_or_else(|| PrivateKey::generate(KeyAlgorithm::EcP256).unwrap());
    let mut transaction = engine.begin(request, &context)?;
    let mut verified = None;
    loop {
        let mut step = engine.exchange(&mut transaction, &context).await?;
        if let Step::Issued(answer) = &step {
            step = match transaction.verify(answer, context.peer, context.now) {
                Ok(found) => {
                    let step = transaction.accept(&found, &context)?;
                    verified = Some(found);
                    step
                }
                Err(error) => return Err(reject(engine, &mut transaction, &context, error).await),
            };
        }
        match step {
            // The CA's wait is in our hands: `now` is what we say.
            Step::Wait { until } => context.now = until,
            Step::Send | Step::Issued(_) => (),
            Step::Done(outcome) => {
                return Ok(match verified {
                    Some(found) => Came::Certificate(Box::new(found), key),
                    None => Came::Outcome(outcome),
                });
            }
        }
        let stored = serde_json::to_vec(&transaction).unwrap();
        transaction = serde_json::from_slice(&stored).unwrap();
    }
}

/// Tells the CA that we do not want its certificate, and makes sure that it has heard it.
async fn reject(
    engine: &dyn Engine,
    transaction: &mut Transaction,
    context: &Context<'_>,
    error: CmpError,
) -> CmpError {
    let mut step = transaction.reject(&error, context).unwrap();
    while !matches!(step, Step::Done(_)) {
        step = engine.exchange(transaction, context).await.unwrap();
    }
    assert_eq!(step, Step::Done(Outcome::Refused(RefusalKnown::Yes)));
    error
}
