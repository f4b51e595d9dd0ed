//! The way from a certificate to an anchor, from issuer to issuer.
//!
//! It follows RFC 5280, 6.1, as far as names, dates, CA flags, key usages, path lengths and critical extensions go.
//! Whether a finished path is accepted is the caller's decision; if it is not, the walk tries the next one.
//!
//! ```text
//!  step(path):
//!    head = last of path
//!    for each anchor with the name of head's issuer:       link fine? ──► accept(path + anchor)? ──► done
//!    for each candidate with that name, not in path yet:   CA, link, dates fine? ──► step(path + candidate)
//!    nothing left: the failure that came furthest
//! ```
//!
//! Its cost is bounded three ways: the number of candidates, the length of a path, and the number of signatures. Only a
//! name that several certificates share makes more than one way, and there each try costs a signature; so the budget of
//! signatures bounds the number of ways.

use jiff::Timestamp;

use crate::certificate::Certificate;
use crate::chain::error::{ChainError, shown};
use crate::chain::{Anchors, MAX_PATH, check_dates, check_issuer};
use crate::error::Error;

/// Most signatures that are checked in one walk. Each costs up to a tenth of a millisecond.
/// The Go library had to learn this limit (CVE-2018-16875), and rustls-webpki has the same one.
const MAX_SIGNATURES: usize = 100;

/// Decides over a finished path, leaf first, anchor last.
pub(super) type Accept = fn(&[Certificate], &Anchors, Timestamp) -> Result<(), ChainError>;

/// Finds a path from `leaf` to an anchor that `accept` accepts, or the reason why there is none.
pub(super) fn walk(
    leaf: &Certificate,
    candidates: &[Certificate],
    anchors: &Anchors,
    now: Timestamp,
    accept: Accept,
) -> Result<Vec<Certificate>, ChainError> {
    check_certificate(leaf, now)?;
    let mut walk = Walk {
        candidates,
        anchors,
        now,
        accept,
        signatures_left: MAX_SIGNATURES,
    };
    let mut path = vec![leaf.clone()];
    match walk.step(&mut path) {
        Ok(()) => Ok(path),
        Err(failure) => Err(failure.error),
    }
}

/// Did each certificate's issuer, the next in the path, sign it?
///
/// The first link that fails is reported, from the leaf on.
pub(super) fn check_signatures(path: &[Certificate]) -> Result<(), ChainError> {
    path.iter()
        .zip(path.iter().skip(1))
        .try_for_each(|(certificate, issuer)| check_signature(certificate, issuer))
}

struct Walk<'a> {
    candidates: &'a [Certificate],
    anchors: &'a Anchors,
    now: Timestamp,
    accept: Accept,
    signatures_left: usize,
}

/// Why one way failed, and how far it had come.
///
/// Of ten ways that fail, nine are of no interest: the one that came closest to an anchor is the one somebody meant.
struct Failure {
    depth: usize,
    error: ChainError,
}

impl Walk<'_> {
    /// Extends a path, whose certificates are all fine, up to an anchor.
    ///
    /// On success the path is complete; on failure it is as it was.
    fn step(&mut self, path: &mut Vec<Certificate>) -> Result<(), Failure> {
        let depth = path.len();
        let Some(head) = path.last().cloned() else {
            return Err(Failure {
                depth,
                error: ChainError::TooComplex,
            });
        };
        if depth >= MAX_PATH {
            return Err(Failure {
                depth,
                error: ChainError::TooComplex,
            });
        }
        let (anchors, candidates) = (self.anchors, self.candidates);
        let named = |c: &&Certificate| c.subject() == head.issuer();
        let named_anchors: Vec<&Certificate> = anchors.certificates().iter().filter(named).collect();
        let named_candidates: Vec<&Certificate> = candidates.iter().filter(named).collect();
        let rivals = match named_anchors.len().saturating_add(named_candidates.len()) {
            0 | 1 => Rivals::None,
            _ => Rivals::Some,
        };
        let mut failure = Failure {
            depth,
            error: unknown_issuer(&head),
        };
        for anchor in named_anchors {
            match self.check_link(&head, anchor, depth, rivals) {
                Ok(()) => {}
                Err(error) => {
                    failure.improve(depth, error);
                    continue;
                }
            }
            path.push(anchor.clone());
            match self.finish(path) {
                Ok(()) => return Ok(()),
                Err(error) => failure.improve(path.len(), error),
            }
            path.pop();
        }
        for issuer in named_candidates {
            // The same key under the same name once more would be a loop (RFC 4158, 5.2).
            if path
                .iter()
                .any(|c| c.subject() == issuer.subject() && c.public_key() == issuer.public_key())
            {
                continue;
            }
            if let Err(error) = self.check_intermediate(&head, issuer, depth, rivals) {
                failure.improve(depth, error);
                continue;
            }
            path.push(issuer.clone());
            match self.step(path) {
                Ok(()) => return Ok(()),
                Err(deeper) => failure.improve(deeper.depth, deeper.error),
            }
            path.pop();
        }
        Err(failure)
    }

    /// Asks for the decision over a whole path, which costs a signature for each certificate below the anchor.
    fn finish(&mut self, path: &[Certificate]) -> Result<(), ChainError> {
        let signatures = path.len().saturating_sub(1);
        self.signatures_left = self
            .signatures_left
            .checked_sub(signatures)
            .ok_or(ChainError::TooComplex)?;
        (self.accept)(path, self.anchors, self.now)
    }

    fn check_intermediate(
        &mut self,
        head: &Certificate,
        issuer: &Certificate,
        depth: usize,
        rivals: Rivals,
    ) -> Result<(), ChainError> {
        if !issuer.is_ca() {
            return Err(ChainError::NotACa {
                subject: shown(issuer.subject()),
            });
        }
        self.check_link(head, issuer, depth, rivals)?;
        check_certificate(issuer, self.now)
    }

    /// Is `issuer`, intermediate or anchor, the issuer of `head`, and may it be?
    ///
    /// A certificate with the right name and the wrong key is not the issuer, so the signature comes first: that an
    /// impostor has expired is of no interest.
    fn check_link(
        &mut self,
        head: &Certificate,
        issuer: &Certificate,
        depth: usize,
        rivals: Rivals,
    ) -> Result<(), ChainError> {
        if rivals == Rivals::Some {
            self.signatures_left = self
                .signatures_left
                .checked_sub(1)
                .ok_or(ChainError::TooComplex)?;
            check_signature(head, issuer)?;
        }
        check_dates(issuer, self.now)?;
        check_issuer(issuer, depth.saturating_sub(1))
    }
}

/// Are there several certificates with the issuer's name, so that only the signature tells which is the right one?
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rivals {
    None,
    Some,
}

fn check_signature(certificate: &Certificate, issuer: &Certificate) -> Result<(), ChainError> {
    let subject = || shown(certificate.subject());
    certificate
        .verify_signed_by(issuer.public_key())
        .map_err(|error| match error {
            Error::BadSignature { .. } | Error::KeyMismatch { .. } => ChainError::BadSignature {
                subject: subject(),
                issuer: shown(issuer.subject()),
            },
            reason => ChainError::UnsupportedSignature {
                subject: subject(),
                reason,
            },
        })
}

impl Failure {
    /// Keeps the failure that came furthest; at the same place, one that knows more than "unknown issuer" or "not
    /// signed by this one of several".
    fn improve(&mut self, depth: usize, error: ChainError) {
        let vague = matches!(
            self.error,
            ChainError::UnknownIssuer { .. } | ChainError::BadSignature { .. }
        );
        if depth > self.depth || depth == self.depth && vague {
            *self = Self { depth, error };
        }
    }
}

/// What every certificate but an anchor must fulfil by itself.
///
/// Anchors are trusted as they are (RFC 5280, 6.1.1 d); of them only dates, key usage and path length are looked at.
fn check_certificate(certificate: &Certificate, now: Timestamp) -> Result<(), ChainError> {
    check_dates(certificate, now)?;
    let subject = || shown(certificate.subject());
    if let Some(oid) = certificate.unknown_critical_extension() {
        return Err(ChainError::CriticalExtension {
            subject: subject(),
            oid,
        });
    }
    Ok(())
}

fn unknown_issuer(certificate: &Certificate) -> ChainError {
    ChainError::UnknownIssuer {
        subject: shown(certificate.subject()),
        issuer: shown(certificate.issuer()),
    }
}
