//! rr: who may revoke what (RFC 9483, 4.2 and 5.3.2).

use cmp::asn1::{
    CertId, GeneralName, PkiBody, PkiStatus, PkiStatusInfo, RevDetails, RevRepContent,
    der::{Decode, Enumerated, asn1::Int},
    oid,
};

use super::{Answer, Job, client::Standing};
use crate::{
    config::KeyUpdateSigner,
    ledger::Revocation,
    refusal::{Failure, Refusal},
    transactions::Phase,
};

/// `CRLReason ::= ENUMERATED` (RFC 5280, 5.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enumerated)]
#[repr(u8)]
enum Reason {
    Unspecified = 0,
    KeyCompromise = 1,
    CaCompromise = 2,
    AffiliationChanged = 3,
    Superseded = 4,
    CessationOfOperation = 5,
    CertificateHold = 6,
    RemoveFromCrl = 8,
    PrivilegeWithdrawn = 9,
    AaCompromise = 10,
}

/// Revokes, or says why not.
pub(super) fn answer(job: &Job<'_>) -> Result<Answer, Refusal> {
    let PkiBody::Rr(details) = job.body else {
        return Err(Refusal::new(Failure::BadRequest, "this is no revocation request"));
    };
    let [details] = details.as_slice() else {
        return Err(Refusal::new(
            Failure::BadRequest,
            "exactly one certificate can be revoked in a message",
        ));
    };
    let reason = reason(details)?;
    let number = target(job, details)?;
    let serial = super::serial(&number);
    authorize(job, &serial)?;
    match job.ca.ledger.revoke(&serial, job.now, reason as u8) {
        Revocation::Done => Ok(done(job, number)),
        Revocation::AlreadyRevoked => Err(already_revoked()),
    }
}

/// The answer to a refused request.
pub(super) fn refused(refusal: &Refusal) -> PkiBody {
    PkiBody::Rp(RevRepContent {
        status: vec![refusal.status()],
        rev_certs: None,
        crls: None,
    })
}

fn done(job: &Job<'_>, serial_number: Int) -> Answer {
    let issuer = GeneralName::directory(job.ca.issuing().subject().clone());
    let body = PkiBody::Rp(RevRepContent {
        status: vec![PkiStatusInfo::new(PkiStatus::Accepted)],
        rev_certs: Some(vec![CertId {
            issuer,
            serial_number,
        }]),
        crls: None,
    });
    Answer {
        body,
        info: Vec::new(),
        extra: Vec::new(),
        phase: Phase::Closed,
    }
}

fn already_revoked() -> Refusal {
    Refusal::new(Failure::CertRevoked, "the certificate is revoked already")
}

fn reason(details: &RevDetails) -> Result<Reason, Refusal> {
    let extension = details
        .crl_entry_details
        .iter()
        .flatten()
        .find(|e| e.extn_id == oid::CE_CRL_REASON);
    match extension.map(|extension| Reason::from_der(extension.extn_value.as_bytes())) {
        None => Ok(Reason::Unspecified),
        Some(Ok(Reason::RemoveFromCrl)) => Err(Refusal::new(
            Failure::BadRequest,
            "this CA does not take back a revocation",
        )),
        Some(Ok(reason)) => Ok(reason),
        Some(Err(_)) => Err(Refusal::new(
            Failure::BadDataFormat,
            "the reason cannot be decoded",
        )),
    }
}

fn target(job: &Job<'_>, details: &RevDetails) -> Result<Int, Refusal> {
    let template = &details.cert_details;
    let ours = template
        .issuer
        .as_ref()
        .is_some_and(|issuer| &issuer.0 == job.ca.issuing().subject());
    match &template.serial_number {
        Some(serial) if ours => Ok(serial.clone()),
        _ => Err(Refusal::new(
            Failure::BadCertId,
            "issuer and serial number do not name a certificate of this CA",
        )),
    }
}

/// By the certificate itself, by a registration authority, or, if the policy allows it, by the same client.
fn authorize(job: &Job<'_>, serial: &str) -> Result<(), Refusal> {
    let Some(signer) = job.client.signer() else {
        return Err(Refusal::new(
            Failure::WrongIntegrity,
            "a revocation must be signed, not protected by a MAC",
        ));
    };
    let is_itself = signer.issuer() == job.ca.issuing().subject() && signer.serial() == serial;
    if is_itself {
        return match job.client.standing {
            Standing::Revoked => Err(already_revoked()),
            Standing::Expired | Standing::Good => Ok(()),
        };
    }
    job.client.require_good_standing(job.kind)?;
    let entry = job.ca.ledger.find(serial);
    // A limited ledger has forgotten some of its certificates.
    if entry.is_none() && job.ca.config.ledger_limit.is_none() {
        return Err(Refusal::new(
            Failure::BadCertId,
            "this CA has not issued such a certificate",
        ));
    }
    let same_client = job.policy.key_update_signer == KeyUpdateSigner::SameClient
        && entry.is_some_and(|entry| entry.client == job.client.name);
    if same_client || job.client.is_registration_authority {
        return Ok(());
    }
    Err(Refusal::new(
        Failure::NotAuthorized,
        "the signer may not revoke this certificate",
    ))
}
