//! An engine, a CA and a client, and the table of faults that every engine must meet.
//!
//! The native engine talks to the CA in memory, with a clock that is moved instead of waited for; the engine `openssl`
//! over HTTP, with the system's clock.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicI64, Ordering},
    },
};

use cmp::{
    Class, CmpError, Context, Credentials, Engine, Enrolment, EnrolmentKind, MacAlgorithm, Native, Outcome,
    Peer, Request, Step, Transaction, Trust,
    http::HttpConfig,
    openssl::{OpenSsl, OpenSslConfig},
    verify::VerifiedCertificate,
};
use devca::{Config, DevCa, FaultKind, InMemory, RequestKind, State, faults::ClaimedStatus, http};
use jiff::Timestamp;
use pki::{Anchors, CertificateTemplate, ExtendedKeyUsage, KeyUsage, PrivateKey, San, Secret};
use tokio::{net::TcpListener, runtime::Runtime, sync::oneshot};

use super::{Client, Identity, SECRET, config, name, start};

/// An engine to test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    Native,
    OpenSsl(PathBuf),
}

/// All engines that can be tested here. Without `openssl` the tests fail under CI.
pub fn engines() -> Vec<Which> {
    let mut engines = vec![Which::Native];
    engines.extend(programs().into_iter().map(Which::OpenSsl));
    engines
}

/// The `openssl` of the machine, and the program that `OCCM_OPENSSL35` names, if it is set.
pub fn programs() -> Vec<PathBuf> {
    let system = Command::new("openssl")
        .arg("version")
        .stdin(Stdio::null())
        .output();
    let mut programs = Vec::new();
    if system.is_ok_and(|output| output.status.success()) {
        programs.push(PathBuf::from("openssl"));
    }
    programs.extend(std::env::var_os("OCCM_OPENSSL35").map(PathBuf::from));
    if programs.is_empty() {
        let why = "there is no `openssl` on the path (Debian: apt-get install openssl)";
        assert!(std::env::var_os("CI").is_none(), "{why}");
        eprintln!("skipped: {why}");
    }
    programs
}

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap()
    })
}

/// How a request is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    Pbm,
    LegacyPbm,
    Pbmac1,
    Signature,
}

/// One CA, one client, one clock.
pub struct Bed {
    pub which: Which,
    pub ca: Arc<DevCa>,
    pub clock: Arc<AtomicI64>,
    pub engine: Box<dyn Engine>,
    pub identity: Identity,
    pub peer: Peer,
    stop: Option<oneshot::Sender<()>>,
}

impl Drop for Bed {
    fn drop(&mut self) {
        drop(self.stop.take());
    }
}

/// How a transaction ended.
#[derive(Debug)]
pub struct End {
    pub outcome: Outcome,
    pub verified: Option<VerifiedCertificate>,
    pub polls: u32,
}

impl Bed {
    pub fn new(which: &Which) -> Self {
        Self::with(which, config())
    }

    pub fn native() -> Self {
        Self::new(&Which::Native)
    }

    pub fn with(which: &Which, mut config: Config) -> Self {
        let begin = match which {
            Which::Native => start(),
            Which::OpenSsl(_) => Timestamp::now(),
        };
        if *which != Which::Native {
            // The command really waits.
            config.policy.check_after_seconds = 0;
        }
        let ca = Arc::new(DevCa::new(config, begin).unwrap());
        let identity = Client::mac(&ca).at(begin).enrol("CN=identity");
        let clock = Arc::new(AtomicI64::new(begin.as_second()));
        let (engine, stop) = match which {
            Which::Native => (native(&ca, &clock), None),
            Which::OpenSsl(program) => {
                let (engine, stop) = openssl(&ca, program);
                (engine, Some(stop))
            }
        };
        let anchors = Anchors::new([ca.root().clone()]).unwrap();
        let untrusted = vec![ca.issuing().clone()];
        let trust = Trust {
            responses: anchors.clone(),
            certificates: anchors,
            untrusted,
        };
        let subject = ca.signer().subject().clone();
        let peer = Peer {
            expected_sender: Some(subject),
            trust,
            ..Peer::default()
        };
        Self {
            which: which.clone(),
            ca,
            clock,
            engine,
            identity,
            peer,
            stop,
        }
    }

    pub fn now(&self) -> Timestamp {
        match self.which {
            Which::Native => Timestamp::from_second(self.clock.load(Ordering::SeqCst)).unwrap(),
            Which::OpenSsl(_) => Timestamp::now(),
        }
    }

    pub fn credentials(&self, by: By) -> Credentials {
        let mac = |algorithm| Credentials::mac("one", Secret::new(SECRET.to_vec()), algorithm);
        match by {
            By::Pbm => mac(MacAlgorithm::PBM),
            By::LegacyPbm => mac(MacAlgorithm::LEGACY_PBM),
            By::Pbmac1 => mac(MacAlgorithm::PBMAC1),
            By::Signature => self.identity.credentials(),
        }
    }

    pub fn context<'a>(&'a self, credentials: &'a Credentials, key: Option<&'a PrivateKey>) -> Context<'a> {
        Context {
            credentials,
            peer: &self.peer,
            key,
            now: self.now(),
        }
    }

    /// One round of the engine.
    pub fn exchange(&self, transaction: &mut Transaction, context: &Context<'_>) -> Result<Step, CmpError> {
        runtime().block_on(self.engine.exchange(transaction, context))
    }

    /// Runs a request to its end. Errors of class Retry are tried `tries` times with the same bytes.
    pub fn run(&self, request: &Request, by: By, key: &PrivateKey, tries: u32) -> Result<End, CmpError> {
        let credentials = self.credentials(by);
        let mut transaction = self
            .engine
            .begin(request, &self.context(&credentials, Some(key)))?;
        self.go_on(&mut transaction, &credentials, key, tries)
    }

    pub fn go_on(
        &self,
        transaction: &mut Transaction,
        credentials: &Credentials,
        key: &PrivateKey,
        mut tries: u32,
    ) -> Result<End, CmpError> {
        let (mut verified, mut polls, mut failure) = (None, 0, None);
        loop {
            let context = self.context(credentials, Some(key));
            let mut step = match self.exchange(transaction, &context) {
                Ok(step) => step,
                Err(error)
                    if error.class == Class::Retry && tries > 1 && transaction.outgoing().is_some() =>
                {
                    tries -= 1;
                    continue;
                }
                Err(error) => return Err(error),
            };
            if let Step::Issued(answer) = &step {
                step = match transaction.verify(answer, &self.peer, context.now) {
                    Ok(checked) => {
                        let next = transaction.accept(&checked, &context)?;
                        verified = Some(checked);
                        next
                    }
                    Err(error) => {
                        let next = transaction.reject(&error, &context)?;
                        failure = Some(error);
                        next
                    }
                };
            }
            match step {
                Step::Send => {}
                Step::Wait { until } => {
                    polls += 1;
                    self.clock
                        .store(until.as_second().max(self.now().as_second()), Ordering::SeqCst);
                }
                Step::Issued(_) => panic!("decided already"),
                Step::Done(outcome) => {
                    return match failure {
                        Some(error) => Err(error),
                        None => Ok(End {
                            outcome,
                            verified,
                            polls,
                        }),
                    };
                }
            }
        }
    }

    pub fn enrolment(&self, kind: EnrolmentKind) -> Enrolment {
        let template = CertificateTemplate {
            sans: vec![San::dns("host.example").unwrap()],
            key_usage: [KeyUsage::DigitalSignature].into_iter().collect(),
            extended_key_usages: vec![ExtendedKeyUsage::ServerAuth],
            ..CertificateTemplate::new(name("CN=host,O=Example"))
        };
        Enrolment {
            kind,
            template,
            implicit_confirm: false,
            profile: None,
        }
    }

    /// The four kinds of enrolment.
    pub fn kinds(&self) -> [(EnrolmentKind, RequestKind); 4] {
        let old = Box::new(self.identity.certificate.clone());
        [
            (EnrolmentKind::Initialization, RequestKind::Ir),
            (EnrolmentKind::Certification, RequestKind::Cr),
            (EnrolmentKind::Pkcs10, RequestKind::P10cr),
            (EnrolmentKind::KeyUpdate { old }, RequestKind::Kur),
        ]
    }

    /// The newest certificate of the ledger that is not the identity.
    pub fn newest(&self) -> Option<State> {
        self.ca
            .ledger()
            .entries(1, self.now())
            .last()
            .map(|entry| entry.state)
    }

    /// Certificates without the identity.
    pub fn issued(&self) -> u64 {
        self.ca.ledger().stats(self.now()).issued - 1
    }

    /// Can the engine do this at all?
    pub fn can(&self, by: By, kind: RequestKind) -> bool {
        let capabilities = self.engine.capabilities();
        match (by, kind) {
            (By::Pbm | By::LegacyPbm | By::Pbmac1, RequestKind::Kur) => false,
            (By::Pbmac1, _) => capabilities.pbmac1,
            (_, RequestKind::Genm) => capabilities.general,
            (By::Pbm | By::LegacyPbm | By::Signature, _) => true,
        }
    }
}

fn native(ca: &Arc<DevCa>, clock: &Arc<AtomicI64>) -> Box<dyn Engine> {
    let clock = Arc::clone(clock);
    let now = move || Timestamp::from_second(clock.load(Ordering::SeqCst)).unwrap();
    Box::new(Native::new(Arc::new(InMemory::new(Arc::clone(ca), now))))
}

fn openssl(ca: &Arc<DevCa>, program: &std::path::Path) -> (Box<dyn Engine>, oneshot::Sender<()>) {
    let listener = runtime().block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let url = format!(
        "http://127.0.0.1:{}/.well-known/cmp",
        listener.local_addr().unwrap().port()
    );
    let (stop, stopped) = oneshot::channel::<()>();
    let shutdown = async {
        let _ = stopped.await;
    };
    runtime().spawn(http::serve(Arc::clone(ca), listener, shutdown));
    let command = program.to_owned();
    let config = OpenSslConfig {
        command,
        ..OpenSslConfig::new(HttpConfig::new(url.parse().unwrap()))
    };
    let engine = runtime().block_on(OpenSsl::start(config)).unwrap();
    (Box::new(engine), stop)
}

/// What a fault must lead to.
pub struct Case {
    pub fault: FaultKind,
    /// Class of the error when it strikes the request.
    pub class: Class,
    /// Has the CA issued?
    pub issues: bool,
    /// Does the native engine reject the certificate in certConf?
    pub rejects: bool,
}

impl Case {
    /// Is it a certificate with other contents than asked for?
    pub fn is_of_contents(&self) -> bool {
        self.rejects
    }
}

/// All faults that do harm.
pub fn faults() -> Vec<Case> {
    let case = |fault, class, issues, rejects| Case {
        fault,
        class,
        issues,
        rejects,
    };
    let message = |fault| case(fault, Class::Untrusted, true, false);
    let content = |fault| case(fault, Class::Untrusted, true, true);
    let reject = |failure, class| {
        let text = "no\u{1b}[0m".to_owned();
        case(FaultKind::Reject { failure, text }, class, false, false)
    };
    let claims = [ClaimedStatus::Accepted, ClaimedStatus::GrantedWithMods];
    let mut cases = vec![
        case(FaultKind::Down, Class::Retry, false, false),
        case(FaultKind::DropBefore, Class::Retry, false, false),
        case(FaultKind::DropAnswer, Class::Retry, true, false),
        case(FaultKind::HttpError { status: 503 }, Class::Retry, false, false),
        case(
            FaultKind::HttpError { status: 404 },
            Class::Misconfigured,
            false,
            false,
        ),
        case(FaultKind::Garbage, Class::Retry, true, false),
        case(FaultKind::Truncate, Class::Retry, true, false),
        case(
            FaultKind::ErrorUnprotected { failure: 2 },
            Class::Retry,
            false,
            false,
        ),
        case(
            FaultKind::Oversized {
                bytes: 2 * 1024 * 1024,
            },
            Class::Retry,
            true,
            false,
        ),
        message(FaultKind::WrongNonce),
        message(FaultKind::WrongTransactionId),
        message(FaultKind::NoProtection),
        message(FaultKind::WrongProtection),
        message(FaultKind::ForeignSigner),
        message(FaultKind::HugeIterations),
        content(FaultKind::OtherKey),
        content(FaultKind::OtherUsage),
        content(FaultKind::Authority),
        content(FaultKind::PastValidity),
        content(FaultKind::FutureValidity),
        content(FaultKind::ForeignIssuer),
        reject(19, Class::Misconfigured),
        reject(24, Class::Retry),
        reject(10, Class::Rejected),
    ];
    cases.extend(claims.map(|status| content(FaultKind::OtherSubject { status })));
    cases.extend(claims.map(|status| content(FaultKind::OtherSan { status })));
    cases
}
