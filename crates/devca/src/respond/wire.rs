//! Messages as bytes: reading requests, writing protected answers, and what faults do to them.

use cmp::{
    Credentials, Limits, Message,
    asn1::{
        AlgorithmIdentifier, GeneralName, GeneralTime, PbmParameter, PkiBody, PkiHeader, PkiMessage,
        ProtectedPart,
        der::{
            self, Decode, Encode,
            asn1::{Any, BitString, OctetString},
        },
        oid,
    },
    protection::{self, MacParameters},
};
use jiff::{SignedDuration, Timestamp};
use pki::Certificate;

use super::{Answer, Job, client::Proof};
use crate::{
    DevCa, FaultKind, Policy,
    config::{ErrorProtection, MacAnswers},
    error::Error,
    faults::Struck,
    refusal::Refusal,
};

/// Iterations that no client can want to do.
const HUGE: i64 = 2_000_000_000;

/// A request.
pub(super) struct Incoming<'a> {
    bytes: &'a [u8],
    pub(super) message: Message<'a>,
}

impl<'a> Incoming<'a> {
    pub(super) fn decode(bytes: &'a [u8]) -> Result<Self, String> {
        let message = Message::decode(bytes, &Limits::default()).map_err(|error| error.to_string())?;
        Ok(Self { bytes, message })
    }

    pub(super) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    pub(super) fn header(&self) -> &PkiHeader {
        &self.message.header
    }

    pub(super) fn body(&self) -> &PkiBody {
        &self.message.body
    }

    pub(super) fn transaction_id(&self) -> &[u8] {
        self.message.transaction_id().unwrap_or_default()
    }
}

/// How an answer is protected.
enum Protection<'a> {
    None,
    By(&'a Credentials, Option<&'a MacParameters>),
    /// Signed, but without senderKID and extraCerts.
    Sparse,
}

impl DevCa {
    /// Header, protection, faults. Gives the message and its senderNonce.
    pub(super) fn finish(&self, job: &Job<'_>, answer: Answer) -> (Vec<u8>, Vec<u8>) {
        let Answer {
            body,
            info,
            extra,
            phase: _,
        } = answer;
        let nonce = random();
        let mut header = self.header(job.header, &nonce, job.now);
        if !info.is_empty() {
            header.general_info = Some(info);
        }
        let impostor = self.impostor_credentials(job.struck, job.now);
        let protection = match (&impostor, &job.client.proof) {
            _ if !is_protected(&body, &job.policy, job.struck) => Protection::None,
            (Some(impostor), _) => Protection::By(impostor, None),
            (
                None,
                Proof::Mac {
                    credentials,
                    parameters,
                },
            ) if job.policy.mac_answers == MacAnswers::Mac => Protection::By(credentials, Some(parameters)),
            _ if is_sparse(&body, &job.policy) => Protection::Sparse,
            _ => Protection::By(&self.credentials, None),
        };
        let bytes = self.write(header, body, protection, &extra, job.struck);
        (bytes, nonce)
    }

    /// An error for somebody that we do not know: signed, because there is no secret that we share.
    pub(super) fn error_to_stranger(
        &self,
        request: &PkiHeader,
        refusal: &Refusal,
        policy: &Policy,
        struck: &Struck,
        now: Timestamp,
    ) -> Vec<u8> {
        let header = self.header(request, &random(), now);
        let body = super::error_body(refusal);
        let protection = match is_protected(&body, policy, struck) {
            true => Protection::By(&self.credentials, None),
            false => Protection::None,
        };
        self.write(header, body, protection, &[], struck)
    }

    /// An error that anybody could have written.
    pub(super) fn unprotected_error(
        &self,
        request: &PkiHeader,
        refusal: &Refusal,
        now: Timestamp,
    ) -> Vec<u8> {
        let header = self.header(request, &random(), now);
        self.write(
            header,
            super::error_body(refusal),
            Protection::None,
            &[],
            &Struck::default(),
        )
    }

    fn header(&self, request: &PkiHeader, nonce: &[u8], now: Timestamp) -> PkiHeader {
        let version = if request.pvno == 3 { 3 } else { 2 };
        let sender = GeneralName::directory(self.signer().subject().clone());
        let mut header = PkiHeader::new(version, sender, request.sender.clone());
        header.message_time = Some(GeneralTime::from_timestamp(now));
        header.transaction_id = request.transaction_id.clone();
        header.sender_nonce = OctetString::new(nonce).ok();
        header.recip_nonce = request.sender_nonce.clone();
        header
    }

    /// An answer that cannot be encoded is no answer: the client sees an empty body.
    fn write(
        &self,
        mut header: PkiHeader,
        body: PkiBody,
        protection: Protection<'_>,
        extra: &[Certificate],
        struck: &Struck,
    ) -> Vec<u8> {
        for fault in struck.iter() {
            if let FaultKind::ClockSkew { seconds } = fault {
                header.message_time = header
                    .message_time
                    .as_ref()
                    .and_then(GeneralTime::timestamp)
                    .and_then(|time| time.checked_add(SignedDuration::from_secs(*seconds)).ok())
                    .map(GeneralTime::from_timestamp);
            }
        }
        if struck.has(&FaultKind::WrongNonce) {
            header.recip_nonce = OctetString::new(random()).ok();
        }
        if struck.has(&FaultKind::WrongTransactionId) {
            header.transaction_id = OctetString::new(random()).ok();
        }
        let part = ProtectedPart { header, body };
        let bytes = match protection {
            Protection::None => protection::unprotected(part, extra).unwrap_or_default(),
            Protection::By(credentials, mac) => {
                protection::protect(part, credentials, mac, extra).unwrap_or_default()
            }
            Protection::Sparse => self.sign_sparsely(part).unwrap_or_default(),
        };
        damaged(bytes, struck)
    }

    fn sign_sparsely(&self, part: ProtectedPart) -> Result<Vec<u8>, Error> {
        let ProtectedPart { mut header, body } = part;
        let key = &self.authority.signer.key;
        let algorithm = key.default_signature();
        header.protection_alg = Some(AlgorithmIdentifier::from_der(&algorithm.to_der())?);
        let part = ProtectedPart { header, body };
        let signature = key.sign(algorithm, &part.to_der()?)?;
        let ProtectedPart { header, body } = part;
        let protection = Some(BitString::from_bytes(&signature)?);
        Ok(PkiMessage {
            header,
            body,
            protection,
            extra_certs: None,
        }
        .to_der()?)
    }

    fn impostor_credentials(&self, struck: &Struck, now: Timestamp) -> Option<Credentials> {
        if !struck.has(&FaultKind::ForeignSigner) {
            return None;
        }
        let impostor = self.impostor(now)?;
        let chain = vec![impostor.issuing.certificate.clone()];
        Credentials::signature(
            impostor.signer.key.clone(),
            impostor.signer.certificate.clone(),
            chain,
        )
        .ok()
    }
}

fn is_protected(body: &PkiBody, policy: &Policy, struck: &Struck) -> bool {
    let is_bare_error = matches!(body, PkiBody::Error(_)) && policy.errors == ErrorProtection::Unprotected;
    !is_bare_error && !struck.has(&FaultKind::NoProtection)
}

/// Products exist that leave out extraCerts and senderKID where no certificate or error is told.
fn is_sparse(body: &PkiBody, policy: &Policy) -> bool {
    let is_rich = matches!(
        body,
        PkiBody::Ip(_) | PkiBody::Cp(_) | PkiBody::Kup(_) | PkiBody::Error(_)
    );
    policy.sparse_extra_certs && !is_rich
}

/// Faults of the finished message.
fn damaged(bytes: Vec<u8>, struck: &Struck) -> Vec<u8> {
    let wrong = struck.has(&FaultKind::WrongProtection);
    let huge = struck.has(&FaultKind::HugeIterations);
    if !wrong && !huge {
        return bytes;
    }
    damage(&bytes, wrong, huge).unwrap_or(bytes)
}

fn damage(bytes: &[u8], wrong: bool, huge: bool) -> der::Result<Vec<u8>> {
    let mut message = PkiMessage::from_der(bytes)?;
    if wrong && let Some(value) = message.protection.as_ref().and_then(BitString::as_bytes) {
        let mut value = value.to_vec();
        if let Some(last) = value.last_mut() {
            *last ^= 1;
        }
        message.protection = Some(BitString::from_bytes(&value)?);
    }
    if huge {
        let parameters = PbmParameter {
            salt: OctetString::new(random())?,
            owf: AlgorithmIdentifier {
                oid: oid::SHA256,
                parameters: None,
            },
            iteration_count: HUGE,
            mac: AlgorithmIdentifier {
                oid: oid::HMAC_SHA256,
                parameters: None,
            },
        };
        let parameters = Some(Any::encode_from(&parameters)?);
        message.header.protection_alg = Some(AlgorithmIdentifier {
            oid: oid::PASSWORD_BASED_MAC,
            parameters,
        });
    }
    message.to_der()
}

/// 128 random bits. A generator that fails gives zeros, which no client takes for ours: it would send them as well.
fn random() -> Vec<u8> {
    let mut bytes = [0; 16];
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    bytes.to_vec()
}
