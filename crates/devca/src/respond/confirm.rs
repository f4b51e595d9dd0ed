//! certConf: a client accepts or rejects its certificate (RFC 9810, 5.3.18).

use cmp::asn1::{CertStatus, PkiBody, PkiStatus, der::asn1::Null, oid};
use pki::{Certificate, digest::HashAlgorithm};

use super::{Answer, Job};
use crate::{
    State,
    refusal::{Failure, Refusal},
    transactions::{Confirming, Phase},
};

/// Takes note of the client's decision.
pub(super) fn answer(job: &Job<'_>, confirming: &Confirming) -> Result<Answer, Refusal> {
    let PkiBody::CertConf(statuses) = job.body else {
        return Err(Refusal::new(Failure::BadRequest, "this is no certConf"));
    };
    match job.ca.ledger.find(&confirming.serial).map(|entry| entry.state) {
        Some(State::Unconfirmed { .. }) => {
            return Err(Refusal::new(
                Failure::CertRevoked,
                "the certificate was not confirmed in time",
            ));
        }
        Some(State::Issued { .. }) | None => {}
        Some(State::Confirmed | State::Rejected { .. } | State::Revoked { .. }) => {
            return Err(Refusal::new(
                Failure::CertConfirmed,
                "the certificate is confirmed or revoked already",
            ));
        }
    }
    let state = match statuses.as_slice() {
        // An empty list rejects everything.
        [] => State::Rejected { at: job.now },
        [status] => decision(job, status, confirming)?,
        _ => {
            return Err(Refusal::new(
                Failure::BadRequest,
                "there is one certificate to confirm, not more",
            ));
        }
    };
    job.ca.ledger.set_state(&confirming.serial, state);
    Ok(confirmed())
}

/// pkiConf.
pub(super) fn confirmed() -> Answer {
    Answer {
        body: PkiBody::PkiConf(Null),
        info: Vec::new(),
        extra: Vec::new(),
        phase: Phase::Closed,
    }
}

/// Revokes a certificate whose client broke off.
pub(super) fn give_up(job: &Job<'_>, confirming: &Confirming) {
    job.ca
        .ledger
        .set_state(&confirming.serial, State::Rejected { at: job.now });
}

fn decision(job: &Job<'_>, status: &CertStatus, confirming: &Confirming) -> Result<State, Refusal> {
    let right_id = status.cert_req_id == confirming.request_id
        // RFC 9810 wants −1 for p10cr, servers and clients in the field use 0.
        || (matches!(status.cert_req_id, -1 | 0) && matches!(confirming.request_id, -1 | 0));
    if !right_id {
        return Err(Refusal::new(
            Failure::BadRequest,
            "certReqId is not that of the answer",
        ));
    }
    let rejected = status
        .status_info
        .as_ref()
        .is_some_and(|info| !matches!(info.status, PkiStatus::Accepted | PkiStatus::GrantedWithMods));
    let expected = expected_hash(status, &confirming.certificate)?;
    if !pki::constant_time_eq(&expected, status.cert_hash.as_bytes()) {
        job.ca
            .ledger
            .set_state(&confirming.serial, State::Rejected { at: job.now });
        return Err(Refusal::new(
            Failure::BadCertId,
            "certHash is not the hash of the certificate",
        ));
    }
    Ok(if rejected {
        State::Rejected { at: job.now }
    } else {
        State::Confirmed
    })
}

/// By the hash of the certificate's signature, unless hashAlg names another.
fn expected_hash(status: &CertStatus, certificate: &Certificate) -> Result<Vec<u8>, Refusal> {
    let algorithm = match &status.hash_alg {
        None => certificate.signature_algorithm()?.digest(),
        Some(named) if named.oid == oid::SHA256 => HashAlgorithm::Sha256,
        Some(named) if named.oid == oid::SHA384 => HashAlgorithm::Sha384,
        Some(named) if named.oid == oid::SHA512 => HashAlgorithm::Sha512,
        Some(_) => return Err(Refusal::new(Failure::BadAlg, "hashAlg is not supported")),
    };
    Ok(algorithm.hash(certificate.der()))
}
