//! The decision over a finished path.
//!
//! For end entities rustls-webpki decides: it is small, fuzzed, used by millions of TLS clients, and knows name
//! constraints. It is given exactly the path that the walk has found, so its own search has nothing to search, and its
//! answer is about the certificates we think it is about.
//!
//! For CA certificates it has no answer: it refuses any leaf with the CA flag. There the signatures are checked here,
//! with the same library underneath, and paths that would need name constraints are refused. The walk has checked
//! everything else already.

use std::sync::LazyLock;
use std::time::Duration;

use aws_lc_rs::signature as lc;
use jiff::Timestamp;
use rustls_pki_types::{
    AlgorithmIdentifier, CertificateDer, InvalidSignature, SignatureVerificationAlgorithm, UnixTime, alg_id,
};
use webpki::{EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeIdIter};

use crate::certificate::Certificate;
use crate::chain::Anchors;
use crate::chain::error::{ChainError, shown};
use crate::chain::known;
use crate::chain::walk::check_signatures;

/// Accepts or refuses a path, leaf first, anchor last, that has passed all checks of the walk.
///
/// The verdict is about this path at this time; it is not kept. That a signature is right is (see `known`).
pub(super) fn judge(path: &[Certificate], anchors: &Anchors, now: Timestamp) -> Result<(), ChainError> {
    let Some((leaf, issuers)) = path.split_first() else {
        return Err(ChainError::TooComplex);
    };
    if leaf.is_ca() {
        return judge_ca(path, issuers);
    }
    confirmed(leaf, issuers, anchors, now).map_err(|verdict| {
        // rustls-webpki does not say which certificate it was. A wrong signature is the usual reason, and we can tell.
        check_signatures(path).err().unwrap_or(verdict)
    })
}

/// rustls-webpki takes no CA certificate as a leaf, so the signatures are checked here. Name constraints are the one
/// thing that then nobody judges; a path with them is refused.
fn judge_ca(path: &[Certificate], issuers: &[Certificate]) -> Result<(), ChainError> {
    if let Some(issuer) = issuers.iter().find(|c| c.has_name_constraints()) {
        return Err(ChainError::NameConstraintsOnCa {
            issuer: shown(issuer.subject()),
        });
    }
    check_signatures(path)
}

/// Lets rustls-webpki verify this path and no other.
///
/// Dates, CA flags and path lengths are checked by it a second time, which costs next to nothing and means that a
/// mistake in our walk alone cannot make a certificate trusted.
fn confirmed(
    leaf: &Certificate,
    issuers: &[Certificate],
    anchors: &Anchors,
    now: Timestamp,
) -> Result<(), ChainError> {
    let Some((anchor, intermediates)) = issuers.split_last() else {
        return Err(ChainError::TooComplex);
    };
    let index = anchors.certificates().iter().position(|c| c == anchor);
    let prepared = index
        .and_then(|i| anchors.0.prepared.get(i..=i))
        .unwrap_or_default();
    let der = CertificateDer::from(leaf.der());
    let end_entity = EndEntityCert::try_from(&der).map_err(|error| translated(leaf, &error))?;
    let ders: Vec<CertificateDer<'_>> = intermediates
        .iter()
        .map(|c| CertificateDer::from(c.der()))
        .collect();
    let seconds = u64::try_from(now.as_second()).unwrap_or(0);
    let time = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    let verified = end_entity
        .verify_for_usage(&ALGORITHMS, prepared, &ders, time, AnyUsage, None, None)
        .map_err(|error| translated(leaf, &error))?;
    // A path through fewer certificates would leave one of ours without a checked signature.
    if verified.intermediate_certificates().count() != intermediates.len() {
        return Err(ChainError::TooComplex);
    }
    Ok(())
}

fn translated(leaf: &Certificate, error: &webpki::Error) -> ChainError {
    let subject = shown(leaf.subject());
    match error {
        webpki::Error::NameConstraintViolation => ChainError::NameConstraint { subject },
        webpki::Error::UnsupportedCertVersion => ChainError::NotAcceptable {
            subject,
            reason: "it is not an X.509 version 3 certificate".to_owned(),
        },
        other => ChainError::NotAcceptable {
            subject,
            reason: format!("{other:?}"),
        },
    }
}

/// Accepts all extended key usages, and none: the purpose has been checked before.
///
/// rustls-webpki would apply its rule to the CAs of the path as well, and a CMP signer may have any usage or none.
struct AnyUsage;

impl ExtendedKeyUsageValidator for AnyUsage {
    fn validate(&self, _: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        Ok(())
    }
}

/// What rustls-webpki brings, and RSA-PSS signatures by keys that are marked for PSS (RFC 4055, 1.2), which it lacks.
///
/// rustls-webpki compares algorithm identifiers byte by byte, so each form needs an entry of its own.
static ALGORITHMS: LazyLock<Vec<&'static dyn SignatureVerificationAlgorithm>> = LazyLock::new(|| {
    let pss = PSS_KEYS
        .iter()
        .map(|algorithm| -> &dyn SignatureVerificationAlgorithm { algorithm });
    webpki::ALL_VERIFICATION_ALGS
        .iter()
        .copied()
        .chain(pss)
        .map(known::remembering)
        .collect()
});

/// `id-RSASSA-PSS` without parameters: a key for PSS with any hash.
/// These are the contents of the `AlgorithmIdentifier`, without its own tag and length.
const PSS_KEY: AlgorithmIdentifier =
    AlgorithmIdentifier::from_slice(&[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 0x0a]);

static PSS_KEYS: [PssKey; 6] = [
    PssKey {
        key: PSS_KEY,
        signature: alg_id::RSA_PSS_SHA256,
        verification: &lc::RSA_PSS_2048_8192_SHA256,
    },
    PssKey {
        key: PSS_KEY,
        signature: alg_id::RSA_PSS_SHA384,
        verification: &lc::RSA_PSS_2048_8192_SHA384,
    },
    PssKey {
        key: PSS_KEY,
        signature: alg_id::RSA_PSS_SHA512,
        verification: &lc::RSA_PSS_2048_8192_SHA512,
    },
    // Keys that are restricted to one hash carry the parameters of the signature.
    // A key that is restricted to one hash is used with that hash only; the entry says so by having both.
    PssKey {
        key: alg_id::RSA_PSS_SHA256,
        signature: alg_id::RSA_PSS_SHA256,
        verification: &lc::RSA_PSS_2048_8192_SHA256,
    },
    PssKey {
        key: alg_id::RSA_PSS_SHA384,
        signature: alg_id::RSA_PSS_SHA384,
        verification: &lc::RSA_PSS_2048_8192_SHA384,
    },
    PssKey {
        key: alg_id::RSA_PSS_SHA512,
        signature: alg_id::RSA_PSS_SHA512,
        verification: &lc::RSA_PSS_2048_8192_SHA512,
    },
];

#[derive(Debug)]
struct PssKey {
    key: AlgorithmIdentifier,
    signature: AlgorithmIdentifier,
    verification: &'static lc::RsaParameters,
}

impl SignatureVerificationAlgorithm for PssKey {
    fn verify_signature(&self, key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        lc::UnparsedPublicKey::new(self.verification, key)
            .verify(message, signature)
            .map_err(|_| InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.key
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.signature
    }
}
