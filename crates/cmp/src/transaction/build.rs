//! The messages we send.

use std::time::Duration;

use der::Encode;
use der::asn1::{BitString, Int, UtcTime};
use jiff::Timestamp;
use pki::digest::HashAlgorithm;
use pki::{Certificate, CertificateRequest, CertificateTemplate, PrivateKey};

use super::general;
use super::wire::{Bytes, Nonce, Wire};
use crate::asn1::{
    AlgorithmIdentifier, AttributeTypeAndValue, CertId, CertReqMsg, CertRequest, CertStatus, CertTemplate,
    Dn, Encoded, Extension, FailureInfo, GeneralName, GeneralTime, InfoTypeAndValue, OptionalValidity,
    PkiBody, PkiHeader, PkiStatusInfo, PollReqEntry, PopoSigningKey, ProofOfPossession, ProtectedPart,
    RevDetails, Time, decode, oid,
};
use crate::engine::{Context, Enrolment, EnrolmentKind, General, Request, RevocationReason};
use crate::error::ErrorKind;
use crate::protection::{
    Credentials, MacParameters, encoding, general_name, hash_oid, octets, protect, signature_identifier,
};

/// cmp2000; cmp2021 is used only where its syntax is (RFC 9810, 7).
const CMP2000: i64 = 2;
const CMP2021: i64 = 3;
/// certReqId of the one request of a message (RFC 9483, 4.1.1).
pub(super) const CERT_REQ_ID: i64 = 0;
/// Longest profile name that is sent.
const MAX_PROFILE: usize = 128;
/// Longest reason that is sent with a rejection.
const MAX_REASON: usize = 256;

/// The request.
pub(super) fn first_message(id: Nonce, request: &Request, context: &Context<'_>) -> Result<Wire, ErrorKind> {
    check_settings(request, context)?;
    let nonce = Nonce::random()?;
    let (body, info) = match request {
        Request::Enrol(enrolment) => (enrolment_body(enrolment, context)?, enrolment_info(enrolment)?),
        Request::Revoke { certificate, reason } => (revocation_body(certificate, *reason)?, Vec::new()),
        Request::General(question) => (general::question(question)?, general_info(question)?),
    };
    let mac = match context.credentials {
        Credentials::Mac { algorithm, .. } => Some(MacParameters::generate(*algorithm)?),
        Credentials::Signature { .. } => None,
    };
    let mut header = header(id, nonce, CMP2000, context)?;
    header.general_info = (!info.is_empty()).then_some(info);
    let bytes = protect(
        ProtectedPart { header, body },
        context.credentials,
        mac.as_ref(),
        &[],
    )?;
    Ok(Wire::new(
        nonce,
        mac.map(|mac| mac.salt().to_vec()),
        bytes,
        context.now,
    ))
}

/// pollReq (5.3.22).
pub(super) fn poll_req(
    id: Nonce,
    wire: &mut Wire,
    cert_req_id: i64,
    context: &Context<'_>,
) -> Result<(), ErrorKind> {
    next_message(
        id,
        wire,
        PkiBody::PollReq(vec![PollReqEntry { cert_req_id }]),
        CMP2000,
        context,
    )
}

/// certConf (5.3.18), accepting the certificate, or rejecting it for a reason.
pub(super) fn cert_conf(
    id: Nonce,
    wire: &mut Wire,
    certificate: &Certificate,
    cert_req_id: i64,
    rejection: Option<&str>,
    context: &Context<'_>,
) -> Result<(), ErrorKind> {
    // A signature algorithm that names no hash (ML-DSA): we name one, and need the syntax of version 3 for it.
    let (hash, hash_alg, pvno) = match certificate.signature_algorithm() {
        Ok(algorithm) => (algorithm.digest(), None, CMP2000),
        Err(_) => {
            let oid = hash_oid(HashAlgorithm::Sha512);
            (
                HashAlgorithm::Sha512,
                Some(AlgorithmIdentifier {
                    oid,
                    parameters: None,
                }),
                CMP2021,
            )
        }
    };
    let status_info = match rejection {
        None => None,
        Some(reason) => {
            let failure = FailureInfo::named("badCertTemplate").ok_or(ErrorKind::State("no such failure"))?;
            Some(PkiStatusInfo::rejection(failure, cut(reason, MAX_REASON)))
        }
    };
    let cert_hash = octets(&hash.hash(certificate.der()))?;
    let status = CertStatus {
        cert_hash,
        cert_req_id,
        status_info,
        hash_alg,
    };
    next_message(id, wire, PkiBody::CertConf(vec![status]), pvno, context)
}

fn next_message(
    id: Nonce,
    wire: &mut Wire,
    body: PkiBody,
    pvno: i64,
    context: &Context<'_>,
) -> Result<(), ErrorKind> {
    let nonce = Nonce::random()?;
    let mac = match (context.credentials, &wire.mac_salt) {
        (Credentials::Mac { algorithm, .. }, Some(Bytes(salt))) => {
            Some(MacParameters::with_salt(*algorithm, salt)?)
        }
        (Credentials::Signature { .. }, None) => None,
        _ => return Err(ErrorKind::State("it was begun with credentials of another kind")),
    };
    let mut header = header(id, nonce, pvno, context)?;
    header.recip_nonce = wire
        .peer_nonce
        .as_ref()
        .map(|Bytes(nonce)| octets(nonce))
        .transpose()?;
    let bytes = protect(
        ProtectedPart { header, body },
        context.credentials,
        mac.as_ref(),
        &[],
    )?;
    wire.replace_outgoing(nonce, bytes, context.now);
    Ok(())
}

/// The header (RFC 9483, 3.1); protectionAlg and senderKID come with the protection.
fn header(id: Nonce, nonce: Nonce, pvno: i64, context: &Context<'_>) -> Result<PkiHeader, ErrorKind> {
    let sender = GeneralName::directory(context.credentials.sender());
    let recipient = general_name(context.peer.recipient.as_ref());
    Ok(PkiHeader {
        message_time: Some(GeneralTime::from_timestamp(context.now)),
        transaction_id: Some(octets(&id.0)?),
        sender_nonce: Some(octets(&nonce.0)?),
        ..PkiHeader::new(pvno, sender, recipient)
    })
}

/// What can be known to be wrong before anything is sent.
fn check_settings(request: &Request, context: &Context<'_>) -> Result<(), ErrorKind> {
    let wrong = |text: &str| Err(ErrorKind::Settings(text.to_owned()));
    let mac = matches!(context.credentials, Credentials::Mac { .. });
    if !mac && context.peer.trust.responses.is_empty() {
        return wrong("there are no anchors to verify answers with");
    }
    match request {
        Request::Enrol(enrolment) => {
            if mac && matches!(enrolment.kind, EnrolmentKind::KeyUpdate { .. }) {
                // RFC 9483, 4.1.5.
                return wrong("a key update must be signed, not protected by a MAC");
            }
            if context.peer.trust.certificates.is_empty() {
                return wrong("there are no anchors to verify issued certificates with");
            }
            if enrolment.template.subject.is_empty() && enrolment.template.sans.is_empty() {
                return wrong("a request needs a subject or an alternative name");
            }
            check_profile(enrolment.profile.as_deref())
        }
        Request::General(General::RequestTemplate { profile }) => check_profile(profile.as_deref()),
        Request::General(_) | Request::Revoke { .. } => Ok(()),
    }
}

fn check_profile(profile: Option<&str>) -> Result<(), ErrorKind> {
    match profile {
        Some(name) if name.is_empty() || name.len() > MAX_PROFILE => Err(ErrorKind::Settings(format!(
            "profile must have 1 to {MAX_PROFILE} bytes"
        ))),
        _ => Ok(()),
    }
}

fn enrolment_info(enrolment: &Enrolment) -> Result<Vec<InfoTypeAndValue>, ErrorKind> {
    let mut info = profile_info(enrolment.profile.as_deref())?;
    if enrolment.implicit_confirm {
        info.push(InfoTypeAndValue::implicit_confirm().map_err(encoding)?);
    }
    Ok(info)
}

fn general_info(question: &General) -> Result<Vec<InfoTypeAndValue>, ErrorKind> {
    match question {
        General::RequestTemplate { profile } => profile_info(profile.as_deref()),
        General::CaCerts | General::RootUpdate { .. } | General::CrlUpdate { .. } => Ok(Vec::new()),
    }
}

/// certProfile: SEQUENCE OF UTF8String (5.1.1.4).
fn profile_info(profile: Option<&str>) -> Result<Vec<InfoTypeAndValue>, ErrorKind> {
    let names = profile.map(|name| vec![name.to_owned()]);
    let info = names
        .map(|names| InfoTypeAndValue::new(oid::IT_CERT_PROFILE, &names))
        .transpose()
        .map_err(encoding)?;
    Ok(info.into_iter().collect())
}

fn enrolment_body(enrolment: &Enrolment, context: &Context<'_>) -> Result<PkiBody, ErrorKind> {
    let key = context
        .key
        .ok_or_else(|| ErrorKind::Settings("an enrolment needs a new key".to_owned()))?;
    let template = &enrolment.template;
    let message = |old| cert_req_msg(template, key, old, context.now).map(|message| vec![message]);
    Ok(match &enrolment.kind {
        EnrolmentKind::Initialization => PkiBody::Ir(message(None)?),
        EnrolmentKind::Certification => PkiBody::Cr(message(None)?),
        EnrolmentKind::KeyUpdate { old } => PkiBody::Kur(message(Some(old))?),
        EnrolmentKind::Pkcs10 => {
            let request = CertificateRequest::create(template, key)?;
            PkiBody::P10cr(Encoded::new(request.der()).map_err(encoding)?)
        }
    })
}

/// CertReqMsg (RFC 4211, 3; RFC 9483, 4.1.1). The proof of possession is a signature over the CertRequest, which holds
/// subject and key, so poposkInput is absent.
fn cert_req_msg(
    template: &CertificateTemplate,
    key: &PrivateKey,
    old: Option<&Certificate>,
    now: Timestamp,
) -> Result<CertReqMsg, ErrorKind> {
    let extensions: Option<Vec<Extension>> = template
        .extensions_der()
        .map(|der| decode("Extensions", &der))
        .transpose()?;
    let cert_template = CertTemplate {
        validity: template
            .duration
            .map(|duration| validity(now, duration))
            .transpose()?,
        subject: Some(Dn(template.subject.clone())),
        public_key: Some(Encoded::new(key.public_key().spki_der()).map_err(encoding)?),
        extensions,
        ..CertTemplate::default()
    };
    let controls = old
        .map(|old| old_cert_id(old).map(|control| vec![control]))
        .transpose()?;
    let cert_req = CertRequest {
        cert_req_id: CERT_REQ_ID,
        cert_template,
        controls,
    };
    let algorithm = key.default_signature();
    let signature = key.sign(algorithm, &cert_req.to_der().map_err(encoding)?)?;
    let popo = PopoSigningKey {
        poposk_input: None,
        algorithm: signature_identifier(algorithm)?,
        signature: BitString::from_bytes(&signature).map_err(encoding)?,
    };
    Ok(CertReqMsg {
        cert_req,
        popo: Some(ProofOfPossession::Signature(popo)),
        reg_info: None,
    })
}

/// oldCertID (RFC 4211, 6.5; RFC 9483, 4.1.3).
fn old_cert_id(old: &Certificate) -> Result<AttributeTypeAndValue, ErrorKind> {
    let id = CertId {
        issuer: GeneralName::directory(old.issuer().clone()),
        serial_number: serial(old)?,
    };
    let value = der::asn1::Any::encode_from(&id).map_err(encoding)?;
    Ok(AttributeTypeAndValue {
        kind: oid::REG_CTRL_OLD_CERT_ID,
        value,
    })
}

fn serial(certificate: &Certificate) -> Result<Int, ErrorKind> {
    Int::new(certificate.serial_bytes()).map_err(encoding)
}

/// From now for this long. Times up to 2049 are UTCTime (RFC 5280, 4.1.2.5).
fn validity(now: Timestamp, duration: Duration) -> Result<OptionalValidity, ErrorKind> {
    let end = now
        .checked_add(duration)
        .map_err(|_| ErrorKind::Settings("duration is too long".to_owned()))?;
    Ok(OptionalValidity {
        not_before: Some(asn1_time(now)?),
        not_after: Some(asn1_time(end)?),
    })
}

pub(super) fn asn1_time(time: Timestamp) -> Result<Time, ErrorKind> {
    let wrong = |_| ErrorKind::Settings("time is out of range".to_owned());
    let seconds = Duration::from_secs(u64::try_from(time.as_second()).unwrap_or_default());
    match UtcTime::from_unix_duration(seconds) {
        Ok(time) => Ok(Time::UtcTime(time)),
        Err(_) => der::asn1::GeneralizedTime::from_unix_duration(seconds)
            .map(Time::GeneralTime)
            .map_err(wrong),
    }
}

/// rr (5.3.9; RFC 9483, 4.2): issuer and serial number, and the reason as a CRL entry extension.
fn revocation_body(certificate: &Certificate, reason: RevocationReason) -> Result<PkiBody, ErrorKind> {
    // ENUMERATED, one byte.
    let reason_code = [0x0a, 1, reason.code()];
    let details = RevDetails {
        cert_details: CertTemplate {
            serial_number: Some(serial(certificate)?),
            issuer: Some(Dn(certificate.issuer().clone())),
            ..CertTemplate::default()
        },
        crl_entry_details: Some(vec![Extension {
            extn_id: oid::CE_CRL_REASON,
            critical: false,
            extn_value: octets(&reason_code)?,
        }]),
    };
    Ok(PkiBody::Rr(vec![details]))
}

/// At most this many bytes of a text, at a character's end.
fn cut(text: &str, most: usize) -> &str {
    text.char_indices()
        .map(|(at, c)| at.saturating_add(c.len_utf8()))
        .take_while(|end| *end <= most)
        .last()
        .map_or("", |end| text.get(..end).unwrap_or_default())
}
