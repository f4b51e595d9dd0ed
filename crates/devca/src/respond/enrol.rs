//! ir, cr, kur and p10cr: who may have which certificate (RFC 9483, 4.1).

use cmp::asn1::{
    CertOrEncCert, CertRepMessage, CertReqMsg, CertResponse, CertTemplate, CertifiedKeyPair, Encoded,
    Extensions, GeneralTime, InfoTypeAndValue, PkiBody, PkiStatus, PkiStatusInfo, PopoSigningKey,
    ProofOfPossession, Time,
    der::{Decode, Encode},
    oid,
};
use jiff::{SignedDuration, Timestamp};
use pki::{Certificate, CertificateRequest, Name, PublicKey, SignatureAlgorithm};

use super::{Answer, Job, client::Standing};
use crate::{
    Entry, RequestKind, State,
    config::{ImplicitConfirm, KeyUpdateSigner, RaVerified},
    error::Error,
    profile::{self, Made, Wish},
    refusal::{Failure, Refusal},
    transactions::{Confirming, Phase},
};

/// A request that was looked at: what is wanted, under which number, in place of which certificate.
struct Wanted {
    request_id: i64,
    wish: Wish,
    replaces: Option<String>,
}

/// Issues, or says why not.
pub(super) fn answer(job: &Job<'_>) -> Result<Answer, Refusal> {
    job.client.require_good_standing(job.kind)?;
    let wanted = wanted(job)?;
    let made = profile::make(job.ca, &job.policy, wanted.wish, job.struck, job.now)?;
    let implicit = job.header.implicit_confirm() && job.policy.implicit_confirm == ImplicitConfirm::WhenAsked;
    let wait = SignedDuration::from_secs(
        i64::try_from(job.policy.confirm_wait_seconds).unwrap_or(i64::from(u32::MAX)),
    );
    let until = job.now.saturating_add(wait).unwrap_or(Timestamp::MAX);
    let state = if implicit {
        State::Confirmed
    } else {
        State::Issued { until }
    };
    job.ca.ledger.record(entry(job, &made, wanted.replaces, state));

    let mut info = Vec::new();
    if implicit {
        info.push(InfoTypeAndValue::implicit_confirm()?);
    } else if job.policy.send_confirm_wait_time {
        info.push(InfoTypeAndValue::new(
            oid::IT_CONFIRM_WAIT_TIME,
            &GeneralTime::from_timestamp(until),
        )?);
    }
    let mut extra = Vec::new();
    if job.policy.send_chain {
        extra.push(job.ca.issuing().clone());
    }
    let body = body(job.kind, granted(job, wanted.request_id, &made)?);
    let phase = if implicit {
        Phase::Closed
    } else {
        Phase::Confirming(Confirming {
            request_id: wanted.request_id,
            certificate: made.certificate,
            serial: made.serial,
        })
    };
    Ok(Answer {
        body,
        info,
        extra,
        phase,
    })
}

/// The answer to a refused request.
pub(super) fn refused(kind: RequestKind, request_id: i64, refusal: &Refusal) -> PkiBody {
    body(kind, response(request_id, refusal.status(), None))
}

/// The answer "come back later".
pub(super) fn waiting(kind: RequestKind, request_id: i64) -> PkiBody {
    body(
        kind,
        response(request_id, PkiStatusInfo::new(PkiStatus::Waiting), None),
    )
}

/// The certReqId that answers to this request name.
pub(super) fn request_id(body: &PkiBody, pkcs10_request_id: i8) -> i64 {
    match body {
        PkiBody::Ir(messages) | PkiBody::Cr(messages) | PkiBody::Kur(messages) => {
            messages.first().map_or(0, |message| message.cert_req.cert_req_id)
        }
        _ => i64::from(pkcs10_request_id),
    }
}

fn body(kind: RequestKind, message: CertRepMessage) -> PkiBody {
    match kind {
        RequestKind::Ir => PkiBody::Ip(message),
        RequestKind::Kur => PkiBody::Kup(message),
        _ => PkiBody::Cp(message),
    }
}

fn response(request_id: i64, status: PkiStatusInfo, pair: Option<CertifiedKeyPair>) -> CertRepMessage {
    let response = CertResponse {
        cert_req_id: request_id,
        status,
        certified_key_pair: pair,
        rsp_info: None,
    };
    CertRepMessage {
        ca_pubs: None,
        response: vec![response],
    }
}

fn granted(job: &Job<'_>, request_id: i64, made: &Made) -> Result<CertRepMessage, Refusal> {
    let status = if made.with_mods {
        PkiStatus::GrantedWithMods
    } else {
        PkiStatus::Accepted
    };
    let pair = CertifiedKeyPair {
        cert_or_enc_cert: CertOrEncCert::Certificate(Encoded::new(made.certificate.der())?),
        private_key: None,
        publication_info: None,
    };
    let mut message = response(request_id, PkiStatusInfo::new(status), Some(pair));
    if job.policy.send_ca_pubs && job.kind == RequestKind::Ir {
        message.ca_pubs = Some(vec![Encoded::new(job.ca.root().der())?]);
    }
    Ok(message)
}

fn entry(job: &Job<'_>, made: &Made, replaces: Option<String>, state: State) -> Entry {
    let certificate = &made.certificate;
    Entry {
        number: 0,
        serial: made.serial.clone(),
        subject: certificate.subject().to_rfc4514(),
        sans: certificate.sans().iter().map(ToString::to_string).collect(),
        spki_sha256: pki::digest::hex(&pki::digest::sha256(certificate.public_key().spki_der())),
        certificate_sha256: certificate.fingerprint_sha256(),
        transaction: pki::digest::hex(job.transaction),
        client: job.client.name.clone(),
        sender: job.header.sender.name().map(Name::to_rfc4514).unwrap_or_default(),
        request: job.kind,
        replaces,
        issued_at: job.now,
        not_after: certificate.not_after(),
        state,
    }
}

fn wanted(job: &Job<'_>) -> Result<Wanted, Refusal> {
    match job.body {
        PkiBody::Ir(messages) | PkiBody::Cr(messages) => from_template(job, one(messages)?, None),
        PkiBody::Kur(messages) => {
            let message = one(messages)?;
            let old = old_certificate(job, message)?;
            from_template(job, message, Some(old))
        }
        PkiBody::P10cr(request) => from_pkcs10(job, request.der()),
        _ => Err(Refusal::new(
            Failure::BadRequest,
            "this is no request for a certificate",
        )),
    }
}

fn one(messages: &[CertReqMsg]) -> Result<&CertReqMsg, Refusal> {
    match messages {
        [message] => Ok(message),
        _ => Err(Refusal::new(
            Failure::BadRequest,
            "exactly one certificate can be requested in a message",
        )),
    }
}

// -- CRMF ---------------------------------------------------------------------------------------------------------

fn from_template(job: &Job<'_>, message: &CertReqMsg, old: Option<Old>) -> Result<Wanted, Refusal> {
    let template = &message.cert_req.cert_template;
    let key = template.public_key.as_ref().ok_or_else(|| {
        Refusal::new(
            Failure::BadCertTemplate,
            "this CA makes no keys: the template has none",
        )
    })?;
    let public_key = PublicKey::from_spki_der(key.der())
        .map_err(|error| Refusal::new(Failure::BadCertTemplate, error.to_string()))?;
    possession(job, message, &public_key)?;
    check_issuer(job, template)?;
    let before = old.as_ref().and_then(|old| old.certificate.as_ref());
    let subject = match (&template.subject, before) {
        (Some(subject), _) => subject.0.clone(),
        (None, Some(before)) => before.subject().clone(),
        (None, None) => Name::empty(),
    };
    let extensions = match (&template.extensions, before) {
        (Some(extensions), _) => extensions.clone(),
        (None, Some(before)) => extensions_of(before),
        (None, None) => Extensions::new(),
    };
    let validity = template.validity.as_ref();
    let wish = Wish {
        subject,
        public_key,
        extensions,
        not_before: validity
            .and_then(|validity| validity.not_before)
            .map(timestamp)
            .transpose()?,
        not_after: validity
            .and_then(|validity| validity.not_after)
            .map(timestamp)
            .transpose()?,
    };
    Ok(Wanted {
        request_id: message.cert_req.cert_req_id,
        wish,
        replaces: old.map(|old| old.serial),
    })
}

/// A client may name the CA that it wants; another than this one it cannot have.
fn check_issuer(job: &Job<'_>, template: &CertTemplate) -> Result<(), Refusal> {
    match &template.issuer {
        Some(issuer) if !issuer.0.is_empty() && !issuer.0.same_rdns(job.ca.issuing().subject()) => Err(
            Refusal::new(Failure::BadCertTemplate, "the issuer asked for is not this CA"),
        ),
        _ => Ok(()),
    }
}

fn timestamp(time: Time) -> Result<Timestamp, Refusal> {
    i64::try_from(time.to_unix_duration().as_secs())
        .ok()
        .and_then(|seconds| Timestamp::from_second(seconds).ok())
        .ok_or_else(|| Refusal::new(Failure::BadCertTemplate, "the validity asked for is no time"))
}

/// The extensions of a certificate, for an update that names none.
fn extensions_of(certificate: &Certificate) -> Extensions {
    x509_cert::Certificate::from_der(certificate.der())
        .ok()
        .and_then(|certificate| certificate.tbs_certificate().extensions().cloned())
        .unwrap_or_default()
}

/// RFC 4211, 4: the signature is over the DER of the CertRequest, or of poposkInput where that is there.
fn possession(job: &Job<'_>, message: &CertReqMsg, key: &PublicKey) -> Result<(), Refusal> {
    match &message.popo {
        Some(ProofOfPossession::Signature(proof)) => {
            let signed = match &proof.poposk_input {
                None => message.cert_req.to_der()?,
                Some(input) if input.public_key.der() == key.spki_der() => input.to_der()?,
                Some(_) => return Err(Refusal::new(Failure::BadPop, "poposkInput is about another key")),
            };
            verify_possession(proof, key, &signed)
        }
        Some(ProofOfPossession::RaVerified(_)) if job.policy.ra_verified == RaVerified::Accepted => Ok(()),
        Some(ProofOfPossession::RaVerified(_)) => Err(Refusal::new(
            Failure::BadPop,
            "raVerified is not accepted from this client",
        )),
        Some(ProofOfPossession::KeyEncipherment(_) | ProofOfPossession::KeyAgreement(_)) => {
            Err(Refusal::new(
                Failure::BadPop,
                "proof of possession by encryption is not supported",
            ))
        }
        None => Err(Refusal::new(Failure::BadPop, "there is no proof of possession")),
    }
}

fn verify_possession(proof: &PopoSigningKey, key: &PublicKey, signed: &[u8]) -> Result<(), Refusal> {
    let algorithm = SignatureAlgorithm::from_der(&proof.algorithm.to_der()?)
        .map_err(|error| Refusal::new(Failure::BadAlg, error.to_string()))?;
    let signature = proof.signature.as_bytes().unwrap_or_default();
    key.verify(algorithm, signed, signature)
        .map_err(|_| Refusal::new(Failure::BadPop, "the proof of possession does not verify"))
}

// -- KUR ----------------------------------------------------------------------------------------------------------

/// The certificate to be updated.
struct Old {
    serial: String,
    /// At hand only if it is the one that signed the request.
    certificate: Option<Certificate>,
}

fn old_certificate(job: &Job<'_>, message: &CertReqMsg) -> Result<Old, Refusal> {
    let signer = job.client.signer().ok_or_else(|| {
        Refusal::new(
            Failure::WrongIntegrity,
            "a key update must be signed, not protected by a MAC",
        )
    })?;
    let named = match message.cert_req.controls.as_ref() {
        Some(controls) if controls.iter().any(|c| c.kind == oid::REG_CTRL_OLD_CERT_ID) => message
            .cert_req
            .old_cert_id()
            .map(Some)
            .ok_or_else(|| Refusal::new(Failure::BadDataFormat, "oldCertID cannot be decoded"))?,
        _ => None,
    };
    let Some(id) = named else {
        // Without the control the certificate that signed is meant.
        return own_certificate(job, signer).ok_or_else(unknown);
    };
    let ours = id.issuer.name() == Some(job.ca.issuing().subject());
    let serial = super::serial(&id.serial_number);
    if let Some(own) = own_certificate(job, signer)
        && ours
        && own.serial == serial
    {
        return Ok(own);
    }
    let entry = ours
        .then(|| job.ca.ledger.find(&serial))
        .flatten()
        .ok_or_else(unknown)?;
    super::client::require_good(Standing::of(&entry, job.now), RequestKind::Kur)?;
    let same_client =
        job.policy.key_update_signer == KeyUpdateSigner::SameClient && entry.client == job.client.name;
    if !same_client && !job.client.is_registration_authority {
        return Err(Refusal::new(
            Failure::NotAuthorized,
            "the update is not signed by the certificate to be updated",
        ));
    }
    Ok(Old {
        serial,
        certificate: None,
    })
}

fn own_certificate(job: &Job<'_>, signer: &Certificate) -> Option<Old> {
    let ours = signer.issuer() == job.ca.issuing().subject();
    ours.then(|| Old {
        serial: signer.serial(),
        certificate: Some(signer.clone()),
    })
}

fn unknown() -> Refusal {
    Refusal::new(
        Failure::BadCertId,
        "the certificate to be updated is not one of this CA",
    )
}

// -- PKCS#10 ------------------------------------------------------------------------------------------------------

fn from_pkcs10(job: &Job<'_>, der: &[u8]) -> Result<Wanted, Refusal> {
    let request = CertificateRequest::from_der(der)
        .map_err(|error| Refusal::new(Failure::BadDataFormat, error.to_string()))?;
    request.verify().map_err(|_| {
        Refusal::new(
            Failure::BadPop,
            "the signature of the PKCS#10 request does not verify",
        )
    })?;
    let extensions = match request.extensions_der() {
        Some(der) => Extensions::from_der(der)
            .map_err(|_| Refusal::new(Failure::BadCertTemplate, "the extensions cannot be decoded"))?,
        None => Extensions::new(),
    };
    let wish = Wish {
        subject: request.subject().clone(),
        public_key: request.public_key().clone(),
        extensions,
        not_before: None,
        not_after: None,
    };
    Ok(Wanted {
        request_id: i64::from(job.policy.pkcs10_request_id),
        wish,
        replaces: None,
    })
}

impl From<pki::Error> for Refusal {
    fn from(error: pki::Error) -> Self {
        Error::from(error).into()
    }
}
