//! A client that says exactly what a test wants it to say: no transaction logic, no checks but those of the test.

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "every test file uses its part of it"
)]

use std::sync::Arc;

use cmp::{
    Credentials, Limits, MacAlgorithm, Message,
    asn1::{
        CertId, CertOrEncCert, CertRepMessage, CertReqMsg, CertRequest, CertStatus, CertTemplate, Controls,
        Dn, Encoded, GeneralName, GeneralTime, InfoTypeAndValue, PkiBody, PkiHeader, PkiStatus,
        PkiStatusInfo, PollReqEntry, PopoSigningKey, ProofOfPossession, ProtectedPart, RevDetails,
        der::{
            Decode, Encode,
            asn1::{Any, BitString, Int, Null, OctetString},
        },
        oid,
    },
    protection,
};
use devca::{Config, Delivery, DevCa, Reply, State};
use jiff::{SignedDuration, Timestamp};
use pki::{Certificate, KeyAlgorithm, Name, PrivateKey, Secret};

pub mod bed;

pub const SECRET: &[u8] = b"a secret of one client";
pub const OTHER_SECRET: &[u8] = b"the secret of another";

pub fn start() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

pub fn later(seconds: i64) -> Timestamp {
    start() + SignedDuration::from_secs(seconds)
}

pub fn config() -> Config {
    Config::default()
        .with_secret("one", SECRET)
        .with_secret("two", OTHER_SECRET)
}

pub fn ca_with(config: Config) -> Arc<DevCa> {
    Arc::new(DevCa::new(config, start()).unwrap())
}

pub fn ca() -> Arc<DevCa> {
    ca_with(config())
}

pub fn key() -> PrivateKey {
    PrivateKey::generate(KeyAlgorithm::EcP256).unwrap()
}

pub fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub fn octets(bytes: &[u8]) -> OctetString {
    OctetString::new(bytes).unwrap()
}

/// One transaction of one client.
pub struct Client {
    pub ca: Arc<DevCa>,
    pub credentials: Credentials,
    pub now: Timestamp,
    pub transaction: Vec<u8>,
    pub nonce: Vec<u8>,
    pub recip_nonce: Option<Vec<u8>>,
    pub pvno: i64,
    pub message_time: Option<Timestamp>,
    pub implicit: bool,
    /// The bytes that were sent last.
    pub sent: Vec<u8>,
}

/// An answer, cut into what tests look at.
#[derive(Debug, Clone)]
pub struct Answer {
    pub bytes: Vec<u8>,
    pub header: PkiHeader,
    pub body: PkiBody,
    pub extra: Vec<Certificate>,
}

impl Client {
    pub fn new(ca: &Arc<DevCa>, credentials: Credentials) -> Self {
        Self {
            ca: Arc::clone(ca),
            credentials,
            now: start(),
            transaction: random(),
            nonce: random(),
            recip_nonce: None,
            pvno: 2,
            message_time: None,
            implicit: false,
            sent: Vec::new(),
        }
    }

    pub fn mac(ca: &Arc<DevCa>) -> Self {
        Self::new(ca, mac("one", SECRET))
    }

    pub fn signed(ca: &Arc<DevCa>, identity: &Identity) -> Self {
        Self::new(ca, identity.credentials())
    }

    #[must_use]
    pub fn at(mut self, now: Timestamp) -> Self {
        self.now = now;
        self
    }

    #[must_use]
    pub fn implicit(mut self) -> Self {
        self.implicit = true;
        self
    }

    pub fn encode(&self, body: PkiBody) -> Vec<u8> {
        let sender = GeneralName::directory(self.credentials.sender());
        let mut header = PkiHeader::new(self.pvno, sender, GeneralName::directory(Name::empty()));
        header.message_time = Some(GeneralTime::from_timestamp(self.message_time.unwrap_or(self.now)));
        header.transaction_id = Some(octets(&self.transaction));
        header.sender_nonce = Some(octets(&self.nonce));
        header.recip_nonce = self.recip_nonce.as_deref().map(octets);
        if self.implicit {
            header.general_info = Some(vec![InfoTypeAndValue::implicit_confirm().unwrap()]);
        }
        protection::protect(ProtectedPart { header, body }, &self.credentials, None, &[]).unwrap()
    }

    /// Sends a body and takes over the nonce of the answer.
    pub fn send(&mut self, body: PkiBody) -> Answer {
        self.nonce = random();
        self.sent = self.encode(body);
        let answer = self.again();
        self.recip_nonce = answer
            .header
            .sender_nonce
            .as_ref()
            .map(|nonce| nonce.as_bytes().to_vec());
        answer
    }

    /// Sends the last bytes once more.
    pub fn again(&self) -> Answer {
        let answer = read(&answered(self.ca.respond(&self.sent, self.now)));
        assert_eq!(answer.header.recip_nonce, Some(octets(&self.nonce)));
        answer
    }

    /// An ir whose certificate is confirmed. Gives the identity.
    pub fn enrol(mut self, subject: &str) -> Identity {
        let key = key();
        let answer = self.send(PkiBody::Ir(vec![request(&template(subject, &key), None, &key)]));
        let certificate = answer.certificate();
        if !self.implicit {
            let confirmed = self.send(confirm(&certificate, None));
            assert!(matches!(confirmed.body, PkiBody::PkiConf(_)), "{confirmed:?}");
        }
        Identity {
            key,
            certificate,
            issuing: self.ca.issuing().clone(),
        }
    }
}

pub struct Identity {
    pub key: PrivateKey,
    pub certificate: Certificate,
    pub issuing: Certificate,
}

impl Identity {
    pub fn credentials(&self) -> Credentials {
        Credentials::signature(
            self.key.clone(),
            self.certificate.clone(),
            vec![self.issuing.clone()],
        )
        .unwrap()
    }
}

impl Answer {
    pub fn responses(&self) -> &CertRepMessage {
        match &self.body {
            PkiBody::Ip(message) | PkiBody::Cp(message) | PkiBody::Kup(message) => message,
            other => panic!("no certificate answer: {other:?}"),
        }
    }

    pub fn certificate(&self) -> Certificate {
        let response = &self.responses().response[0];
        let pair = response
            .certified_key_pair
            .as_ref()
            .unwrap_or_else(|| panic!("{:?}", response.status));
        match &pair.cert_or_enc_cert {
            CertOrEncCert::Certificate(encoded) => Certificate::from_der(encoded.der()).unwrap(),
            CertOrEncCert::EncryptedCert(_) => panic!("encrypted"),
        }
    }

    pub fn status(&self) -> &PkiStatusInfo {
        match &self.body {
            PkiBody::Error(error) => &error.status,
            PkiBody::Rp(reply) => &reply.status[0],
            _ => &self.responses().response[0].status,
        }
    }

    /// The one bit of failInfo of a rejection.
    pub fn failure(&self) -> &'static str {
        let status = self.status();
        assert_eq!(status.status, PkiStatus::Rejection, "{self:?}");
        status.fail_info.as_ref().unwrap().names()[0]
    }

    pub fn is_waiting(&self) -> bool {
        self.status().status == PkiStatus::Waiting
    }

    pub fn is_error(&self) -> bool {
        matches!(self.body, PkiBody::Error(_))
    }

    pub fn is_confirmation(&self) -> bool {
        matches!(self.body, PkiBody::PkiConf(_))
    }
}

pub fn mac(reference: &str, secret: &[u8]) -> Credentials {
    Credentials::mac(reference, Secret::new(secret.to_vec()), MacAlgorithm::PBM)
}

pub fn answered(reply: Reply) -> Vec<u8> {
    match reply.delivery {
        Delivery::Answer {
            status: 200, body, ..
        } => body,
        other => panic!("no answer: {other:?}"),
    }
}

pub fn read(bytes: &[u8]) -> Answer {
    let message = Message::decode(bytes, &Limits::default()).unwrap();
    let extra = message.extra_certs();
    Answer {
        bytes: bytes.to_vec(),
        extra,
        header: message.header,
        body: message.body,
    }
}

pub fn template(subject: &str, key: &PrivateKey) -> CertTemplate {
    CertTemplate {
        subject: Some(Dn(name(subject))),
        public_key: Some(Encoded::new(key.public_key().spki_der()).unwrap()),
        ..CertTemplate::default()
    }
}

pub fn request(template: &CertTemplate, controls: Option<Controls>, key: &PrivateKey) -> CertReqMsg {
    let cert_req = CertRequest {
        cert_req_id: 0,
        cert_template: template.clone(),
        controls,
    };
    let algorithm = key.default_signature();
    let signature = key.sign(algorithm, &cert_req.to_der().unwrap()).unwrap();
    let proof = PopoSigningKey {
        poposk_input: None,
        algorithm: cmp::asn1::AlgorithmIdentifier::from_der(&algorithm.to_der()).unwrap(),
        signature: BitString::from_bytes(&signature).unwrap(),
    };
    CertReqMsg {
        cert_req,
        popo: Some(ProofOfPossession::Signature(proof)),
        reg_info: None,
    }
}

pub fn ir(subject: &str) -> PkiBody {
    let key = key();
    PkiBody::Ir(vec![request(&template(subject, &key), None, &key)])
}

pub fn old_cert_id(issuer: &Name, serial: &[u8]) -> Controls {
    let id = CertId {
        issuer: GeneralName::directory(issuer.clone()),
        serial_number: Int::new(serial).unwrap(),
    };
    vec![cmp::asn1::AttributeTypeAndValue {
        kind: oid::REG_CTRL_OLD_CERT_ID,
        value: Any::encode_from(&id).unwrap(),
    }]
}

pub fn kur(old: &Certificate) -> PkiBody {
    let key = key();
    let controls = old_cert_id(old.issuer(), old.serial_bytes());
    PkiBody::Kur(vec![request(&template("CN=updated", &key), Some(controls), &key)])
}

pub fn rr(certificate: &Certificate) -> PkiBody {
    let cert_details = CertTemplate {
        serial_number: Some(Int::new(certificate.serial_bytes()).unwrap()),
        issuer: Some(Dn(certificate.issuer().clone())),
        ..CertTemplate::default()
    };
    PkiBody::Rr(vec![RevDetails {
        cert_details,
        crl_entry_details: None,
    }])
}

pub fn confirm(certificate: &Certificate, status: Option<PkiStatus>) -> PkiBody {
    let hash = certificate
        .signature_algorithm()
        .unwrap()
        .digest()
        .hash(certificate.der());
    PkiBody::CertConf(vec![CertStatus {
        cert_hash: octets(&hash),
        cert_req_id: 0,
        status_info: status.map(PkiStatusInfo::new),
        hash_alg: None,
    }])
}

pub fn poll(cert_req_id: i64) -> PkiBody {
    PkiBody::PollReq(vec![PollReqEntry { cert_req_id }])
}

pub fn genm() -> PkiBody {
    PkiBody::Genm(vec![InfoTypeAndValue::bare(oid::IT_CA_CERTS)])
}

pub fn state(ca: &DevCa, certificate: &Certificate) -> State {
    ca.ledger().find(&certificate.serial()).unwrap().state
}

/// Different in every call of a process; nothing here must be unpredictable.
pub fn random() -> Vec<u8> {
    use std::sync::atomic::{AtomicU64, Ordering};
    static COUNTER: AtomicU64 = AtomicU64::new(1);
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    pki::digest::sha256(&count.to_be_bytes())[..16].to_vec()
}

pub fn null() -> Null {
    Null
}
