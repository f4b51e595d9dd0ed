//! A small CA for tests: it issues what it is told to issue and answers what it is told to answer, right or wrong.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]

use std::time::Duration;

use cmp::asn1::der::asn1::{Any, BitString, Int, Null, OctetString, UtcTime};
use cmp::asn1::der::{Encode, Sequence};
use cmp::asn1::{
    AlgorithmIdentifier, CertOrEncCert, CertRepMessage, CertResponse, CertifiedKeyPair, Encoded, ErrorMsg,
    Extension, FailureInfo, GeneralName, GeneralTime, InfoTypeAndValue, PkiBody, PkiHeader, PkiStatus,
    PkiStatusInfo, PollRepEntry, ProtectedPart, Time, decode,
};
use cmp::engine::{Enrolment, EnrolmentKind, Limits};
use cmp::protection::{protect, unprotected};
use cmp::{CmpError, Context, Credentials, MacAlgorithm, Message, Peer, Request, Step, Transaction, Trust};
use jiff::{SignedDuration, Timestamp};
use pki::{
    Anchors, Certificate, CertificateTemplate, KeyAlgorithm, KeyUsages, Name, PrivateKey, PublicKey, San,
    Secret, SignatureAlgorithm,
};

pub const SECRET: &str = "planted-mac-secret-7f3a";
pub const REFERENCE: &str = "ref-4711";

pub fn now() -> Timestamp {
    "2026-11-24T12:00:00Z".parse().unwrap()
}

pub fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub fn key() -> PrivateKey {
    PrivateKey::generate(KeyAlgorithm::EcP256).unwrap()
}

#[derive(Sequence)]
struct Tbs {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    version: u8,
    serial: Int,
    signature: AlgorithmIdentifier,
    issuer: Any,
    validity: Validity,
    subject: Any,
    key: Encoded,
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT")]
    extensions: Vec<Extension>,
}

#[derive(Sequence)]
struct Validity {
    not_before: Time,
    not_after: Time,
}

#[derive(Sequence)]
struct Signed {
    tbs: Encoded,
    algorithm: AlgorithmIdentifier,
    signature: BitString,
}

/// What a certificate is to be like.
#[derive(Clone)]
pub struct Wish {
    pub template: CertificateTemplate,
    pub key: PublicKey,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    pub ski: bool,
}

impl Wish {
    pub fn new(subject: &str, key: &PrivateKey) -> Self {
        let day = Duration::from_secs(86400);
        Self {
            template: CertificateTemplate::new(name(subject)),
            key: key.public_key().clone(),
            not_before: now() - day,
            not_after: now() + day * 30,
            ski: true,
        }
    }

    pub fn ca(mut self) -> Self {
        self.template.is_ca = true;
        self
    }

    pub fn sans(mut self, sans: &[&str]) -> Self {
        self.template.sans = sans.iter().map(|san| san.parse::<San>().unwrap()).collect();
        self
    }

    pub fn usage(mut self, words: &[&str]) -> Self {
        self.template.key_usage = usages(words);
        self
    }

    pub fn without_ski(mut self) -> Self {
        self.ski = false;
        self
    }

    pub fn valid(mut self, from: &str, to: &str) -> Self {
        self.not_before = from.parse().unwrap();
        self.not_after = to.parse().unwrap();
        self
    }
}

pub fn usages(words: &[&str]) -> KeyUsages {
    pki::Usages::from_words(words.iter().copied()).unwrap().key_usage
}

/// A key with a certificate that may issue others.
pub struct Ca {
    pub key: PrivateKey,
    pub certificate: Certificate,
}

impl Ca {
    pub fn root(subject: &str) -> Self {
        let key = key();
        let wish = Wish::new(subject, &key)
            .ca()
            .usage(&["cert sign", "crl sign", "digital signature"]);
        let certificate = issue(&wish.template.subject, &key, &wish);
        Self { key, certificate }
    }

    pub fn issue(&self, wish: &Wish) -> Certificate {
        issue(self.certificate.subject(), &self.key, wish)
    }

    pub fn anchors(&self) -> Anchors {
        Anchors::new([self.certificate.clone()]).unwrap()
    }
}

fn time(time: Timestamp) -> Time {
    let seconds = Duration::from_secs(u64::try_from(time.as_second()).unwrap());
    Time::UtcTime(UtcTime::from_unix_duration(seconds).unwrap())
}

fn extension(oid: &str, value: &[u8]) -> Extension {
    Extension {
        extn_id: oid.parse().unwrap(),
        critical: false,
        extn_value: OctetString::new(value).unwrap(),
    }
}

pub fn issue(issuer: &Name, signer: &PrivateKey, wish: &Wish) -> Certificate {
    let mut extensions: Vec<Extension> = wish
        .template
        .extensions_der()
        .map(|der| decode("Extensions", &der).unwrap())
        .unwrap_or_default();
    if wish.ski {
        let id = OctetString::new(wish.key.key_id_sha1().to_vec()).unwrap();
        extensions.push(extension("2.5.29.14", &id.to_der().unwrap()));
    }
    let algorithm = signer.default_signature();
    let identifier: AlgorithmIdentifier = decode("AlgorithmIdentifier", &algorithm.to_der()).unwrap();
    let mut serial = [0; 8];
    aws_lc_rs::rand::fill(&mut serial).unwrap();
    serial[0] = 0x5a;
    let tbs = Tbs {
        version: 2,
        serial: Int::new(&serial).unwrap(),
        signature: identifier.clone(),
        issuer: decode("Name", issuer.der()).unwrap(),
        validity: Validity {
            not_before: time(wish.not_before),
            not_after: time(wish.not_after),
        },
        subject: decode("Name", wish.template.subject.der()).unwrap(),
        key: Encoded::new(wish.key.spki_der()).unwrap(),
        extensions,
    };
    let tbs = tbs.to_der().unwrap();
    let signature = BitString::from_bytes(&signer.sign(algorithm, &tbs).unwrap()).unwrap();
    let signed = Signed {
        tbs: Encoded::new(&tbs).unwrap(),
        algorithm: identifier,
        signature,
    };
    Certificate::from_der(&signed.to_der().unwrap()).unwrap()
}

/// A PKI with everything a test needs.
pub struct World {
    pub root: Ca,
    /// Signs the CA's answers; issued by the root.
    pub signer_key: PrivateKey,
    pub signer: Certificate,
    /// Our identity.
    pub own_key: PrivateKey,
    pub own: Certificate,
    /// The key to be certified.
    pub new_key: PrivateKey,
    pub peer: Peer,
}

pub const CA_NAME: &str = "CN=CMP Responder,O=Lab";
pub const SUBJECT: &str = "CN=a.example,O=Lab";
pub const SANS: [&str; 2] = ["DNS:a.example", "IP:192.0.2.7"];

impl World {
    pub fn new() -> Self {
        let root = Ca::root("CN=Root,O=Lab");
        let (signer_key, own_key, new_key) = (key(), key(), key());
        let signer = root.issue(&Wish::new(CA_NAME, &signer_key).usage(&["digital signature"]));
        let own = root.issue(&Wish::new("CN=device,O=Lab", &own_key).usage(&["digital signature"]));
        let trust = Trust {
            responses: root.anchors(),
            certificates: root.anchors(),
            untrusted: Vec::new(),
        };
        let peer = Peer {
            recipient: Some(name(CA_NAME)),
            trust,
            ..Peer::default()
        };
        Self {
            root,
            signer_key,
            signer,
            own_key,
            own,
            new_key,
            peer,
        }
    }

    pub fn enrolment(&self, kind: EnrolmentKind) -> Enrolment {
        let wish = Wish::new(SUBJECT, &self.new_key).sans(&SANS);
        Enrolment {
            kind,
            template: wish.template,
            implicit_confirm: false,
            profile: None,
        }
    }

    pub fn request(&self, kind: EnrolmentKind) -> Request {
        Request::enrol(self.enrolment(kind))
    }

    pub fn mac(&self) -> Credentials {
        self.mac_with(MacAlgorithm::Pbm {
            owf: pki::digest::HashAlgorithm::Sha256,
            mac: pki::digest::HashAlgorithm::Sha256,
            iterations: 100,
            salt_len: 16,
        })
    }

    pub fn mac_with(&self, algorithm: MacAlgorithm) -> Credentials {
        Credentials::mac(REFERENCE, Secret::from(SECRET.to_owned()), algorithm)
    }

    pub fn signature(&self) -> Credentials {
        Credentials::signature(self.own_key.clone(), self.own.clone(), Vec::new()).unwrap()
    }

    /// What the CA signs its answers with.
    pub fn ca_credentials(&self) -> Credentials {
        Credentials::signature(self.signer_key.clone(), self.signer.clone(), Vec::new()).unwrap()
    }

    pub fn context<'a>(&'a self, credentials: &'a Credentials) -> Context<'a> {
        Context {
            credentials,
            peer: &self.peer,
            key: Some(&self.new_key),
            now: now(),
        }
    }

    pub fn context_at<'a>(&'a self, credentials: &'a Credentials, at: Timestamp) -> Context<'a> {
        Context {
            now: at,
            ..self.context(credentials)
        }
    }

    /// The certificate that was asked for.
    pub fn issue(&self) -> Certificate {
        self.root.issue(&Wish::new(SUBJECT, &self.new_key).sans(&SANS))
    }

    /// The right answer's body.
    pub fn granted(&self, kind: &EnrolmentKind) -> PkiBody {
        rep_for(kind, accepted(0, &self.issue()))
    }

    /// An answer in the CA's name, protected as the request was.
    pub fn reply(&self, request: &[u8], credentials: &Credentials, body: PkiBody) -> Reply {
        let protection = match credentials {
            Credentials::Mac { .. } => credentials.clone(),
            Credentials::Signature { .. } => self.ca_credentials(),
        };
        Reply::new(request, protection, body)
    }

    /// One round with the right answer.
    pub fn answer(
        &self,
        transaction: &mut Transaction,
        credentials: &Credentials,
        body: PkiBody,
    ) -> Result<Step, CmpError> {
        let reply = self.reply(transaction.outgoing().unwrap(), credentials, body);
        transaction.receive(&reply.der(), &self.context(credentials))
    }
}

pub fn accepted(cert_req_id: i64, certificate: &Certificate) -> CertResponse {
    CertResponse {
        cert_req_id,
        status: PkiStatusInfo::new(PkiStatus::Accepted),
        certified_key_pair: Some(CertifiedKeyPair {
            cert_or_enc_cert: CertOrEncCert::Certificate(encoded(certificate)),
            private_key: None,
            publication_info: None,
        }),
        rsp_info: None,
    }
}

pub fn waiting(cert_req_id: i64) -> CertResponse {
    let status = PkiStatusInfo::new(PkiStatus::Waiting);
    CertResponse {
        cert_req_id,
        status,
        certified_key_pair: None,
        rsp_info: None,
    }
}

pub fn rejected(cert_req_id: i64, failure: &str, text: &str) -> CertResponse {
    let status = PkiStatusInfo::rejection(FailureInfo::named(failure).unwrap(), text);
    CertResponse {
        cert_req_id,
        status,
        certified_key_pair: None,
        rsp_info: None,
    }
}

pub fn encoded(certificate: &Certificate) -> Encoded {
    Encoded::new(certificate.der()).unwrap()
}

pub fn rep_for(kind: &EnrolmentKind, response: CertResponse) -> PkiBody {
    let rep = CertRepMessage {
        ca_pubs: None,
        response: vec![response],
    };
    match kind {
        EnrolmentKind::Initialization => PkiBody::Ip(rep),
        EnrolmentKind::Certification | EnrolmentKind::Pkcs10 => PkiBody::Cp(rep),
        EnrolmentKind::KeyUpdate { .. } => PkiBody::Kup(rep),
    }
}

pub fn error(status: PkiStatusInfo) -> PkiBody {
    PkiBody::Error(ErrorMsg {
        status,
        error_code: None,
        error_details: None,
    })
}

pub fn error_waiting() -> PkiBody {
    error(PkiStatusInfo::new(PkiStatus::Waiting))
}

pub fn poll_rep(cert_req_id: i64, check_after: i64) -> PkiBody {
    PkiBody::PollRep(vec![PollRepEntry {
        cert_req_id,
        check_after,
        reason: None,
    }])
}

pub fn pki_conf() -> PkiBody {
    PkiBody::PkiConf(Null)
}

pub fn random() -> OctetString {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).unwrap();
    OctetString::new(bytes.to_vec()).unwrap()
}

pub fn octets(bytes: &[u8]) -> OctetString {
    OctetString::new(bytes.to_vec()).unwrap()
}

/// An answer before it is encoded: all of it may be spoiled.
#[derive(Clone)]
pub struct Reply {
    pub header: PkiHeader,
    pub body: PkiBody,
    /// `None`: no protection at all.
    pub protection: Option<Credentials>,
    pub extra: Vec<Certificate>,
}

impl Reply {
    pub fn new(request: &[u8], protection: Credentials, body: PkiBody) -> Self {
        let limits = Limits::default();
        let request = Message::decode(request, &limits).unwrap();
        let sender = match &protection {
            Credentials::Mac { .. } => name(CA_NAME),
            Credentials::Signature { certificate, .. } => certificate.subject().clone(),
        };
        let mut header = PkiHeader::new(2, GeneralName::directory(sender), request.header.sender.clone());
        header.message_time = Some(GeneralTime::from_timestamp(now()));
        header.transaction_id = request.header.transaction_id.clone();
        header.recip_nonce = request.header.sender_nonce.clone();
        header.sender_nonce = Some(random());
        Self {
            header,
            body,
            protection: Some(protection),
            extra: Vec::new(),
        }
    }

    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    pub fn implicit_confirm(self) -> Self {
        self.with(|reply| {
            reply.header.general_info = Some(vec![InfoTypeAndValue::implicit_confirm().unwrap()])
        })
    }

    pub fn der(&self) -> Vec<u8> {
        let part = ProtectedPart {
            header: self.header.clone(),
            body: self.body.clone(),
        };
        match &self.protection {
            Some(credentials) => protect(part, credentials, None, &self.extra).unwrap(),
            None => unprotected(part, &self.extra).unwrap(),
        }
    }
}

/// Through JSON and back, as after a restart.
pub fn restart(transaction: &Transaction) -> Transaction {
    let json = serde_json::to_string(transaction).unwrap();
    let again: Transaction = serde_json::from_str(&json).unwrap();
    assert_eq!(again.outgoing(), transaction.outgoing());
    assert_eq!(again.id(), transaction.id());
    assert_eq!(serde_json::to_string(&again).unwrap(), json);
    again
}

/// The request inside a message of ours.
pub fn sent(transaction: &Transaction) -> PkiBody {
    let limits = Limits::default();
    Message::decode(transaction.outgoing().unwrap(), &limits)
        .unwrap()
        .body
}

pub fn issued(step: Step) -> cmp::Answer {
    match step {
        Step::Issued(answer) => *answer,
        other => panic!("expected a certificate, got {other:?}"),
    }
}

/// Signature algorithms that a key of ours can make.
pub fn signatures_of(algorithm: KeyAlgorithm) -> Vec<SignatureAlgorithm> {
    let own = PrivateKey::generate(algorithm).unwrap();
    SignatureAlgorithm::ALL
        .into_iter()
        .filter(|signature| own.sign(*signature, b"x").is_ok())
        .collect()
}

/// One poll at once, a wait of a minute, and a second poll that is outgoing at the end.
pub fn poll(
    world: &World,
    credentials: &Credentials,
    transaction: &mut Transaction,
    first: PkiBody,
    id: i64,
) {
    let step = world.answer(transaction, credentials, first).unwrap();
    assert_eq!(step, Step::Send);
    *transaction = restart(transaction);
    assert!(matches!(sent(transaction), PkiBody::PollReq(polls) if polls[0].cert_req_id == id));
    let step = world.answer(transaction, credentials, poll_rep(id, 60)).unwrap();
    let until = now() + SignedDuration::from_secs(60);
    assert_eq!(step, Step::Wait { until });
    *transaction = restart(transaction);
    assert_eq!(
        (transaction.outgoing(), transaction.wait_until()),
        (None, Some(until))
    );
    let early = world.context_at(credentials, until - SignedDuration::from_secs(1));
    assert_eq!(transaction.prepare(&early).unwrap(), Some(until));
    assert_eq!(
        transaction
            .prepare(&world.context_at(credentials, until))
            .unwrap(),
        None
    );
    *transaction = restart(transaction);
    assert!(matches!(sent(transaction), PkiBody::PollReq(polls) if polls[0].cert_req_id == id));
}
