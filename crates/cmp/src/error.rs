//! What can go wrong in an exchange with a CA, and what may be done about it.
//!
//! A [`CmpError`] says three things to a program: its [`Class`] (may it be tried again?), its [`Stage`] (how far did the
//! exchange get?) and [`Reached`] (may the CA have seen the request?). To people it says [`ErrorKind`] and, if the CA
//! said anything, [`PeerStatus`]. Nothing of it is ever a secret or a whole message; what the peer wrote is cut and
//! escaped before it gets in here, so that it can go into a log as it is.

use std::fmt;
use std::time::Duration;

use pki::ChainError;

use crate::asn1::{FailureInfo, FreeText, PkiStatus, PkiStatusInfo};
use crate::transport::{Reached, TransportError, TransportErrorKind};

/// Longest text of a peer that is kept, in characters after escaping.
pub const MAX_PEER_TEXT: usize = 512;

/// What may be done about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// It may pass by itself: network, an overloaded CA, an answer that nobody signed. Try again later.
    Retry,
    /// The CA has refused, and the refusal is authentic.
    Rejected,
    /// An answer, a signer or a certificate did not stand up to our checks.
    Untrusted,
    /// Our settings (or the CA's) must change before another try makes sense.
    Misconfigured,
    /// Nothing has failed; the CA has asked us to come back later.
    Pending,
}

impl Class {
    /// The word used in logs, metrics and conditions.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "Retry",
            Self::Rejected => "Rejected",
            Self::Untrusted => "Untrusted",
            Self::Misconfigured => "Misconfigured",
            Self::Pending => "Pending",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How far the exchange had got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// The request was being made; nothing was sent.
    Preparing,
    /// The request was sent, or its answer read.
    Requesting,
    /// A pollReq was sent, or its answer read.
    Polling,
    /// The issued certificate was looked at.
    Verifying,
    /// The certConf was sent, or its answer read.
    Confirming,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Preparing => "preparing the request",
            Self::Requesting => "requesting",
            Self::Polling => "polling",
            Self::Verifying => "verifying the certificate",
            Self::Confirming => "confirming",
        })
    }
}

/// What the CA said about a failure (PKIStatusInfo, RFC 9810, 5.2.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    /// The status, by its name in the RFC.
    pub status: PkiStatus,
    /// Names of the bits of failInfo, as in the RFC: `badCertTemplate`.
    pub failure: Vec<&'static str>,
    /// statusString and errorDetails in one line: bounded, control characters escaped.
    pub text: String,
    /// `false`: the message was not protected, or its protection did not verify. Then this is a hint for people;
    /// anybody on the way may have written it.
    pub authentic: bool,
}

impl PeerStatus {
    /// From the wire; `details` is the errorDetails of an error message.
    pub fn new(info: &PkiStatusInfo, details: Option<&FreeText>) -> Self {
        let texts = info.status_string.iter().chain(details).flat_map(FreeText::iter);
        Self {
            status: info.status,
            failure: info
                .fail_info
                .as_ref()
                .map(FailureInfo::names)
                .unwrap_or_default(),
            text: escape_all(texts),
            authentic: true,
        }
    }

    /// Is this bit of failInfo set?
    pub fn has(&self, name: &str) -> bool {
        self.failure.contains(&name)
    }
}

impl fmt::Display for PeerStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        if !self.failure.is_empty() {
            write!(f, ", {}", self.failure.join(" "))?;
        }
        if !self.text.is_empty() {
            write!(f, ": \"{}\"", self.text)?;
        }
        if !self.authentic {
            f.write_str(" (not authenticated, a hint only)")?;
        }
        Ok(())
    }
}

/// Makes a peer's bytes harmless: control characters, direction marks and quotes are escaped, bad UTF-8 is replaced,
/// the end is cut at [`MAX_PEER_TEXT`].
pub fn escape(bytes: &[u8]) -> String {
    escape_all(std::iter::once(bytes))
}

fn escape_all<'a>(texts: impl Iterator<Item = &'a [u8]>) -> String {
    let mut out = String::new();
    for bytes in texts {
        if !out.is_empty() {
            out.push_str("; ");
        }
        // Escaping never shortens, so more input than this is never needed.
        let head = bytes.get(..MAX_PEER_TEXT.saturating_mul(4)).unwrap_or(bytes);
        for c in String::from_utf8_lossy(head).chars() {
            if out.chars().count() >= MAX_PEER_TEXT {
                out.push('…');
                return out;
            }
            if is_plain(c) {
                out.push(c)
            } else {
                out.extend(c.escape_unicode())
            }
        }
    }
    out
}

/// Letters, digits, signs and the space; nothing that moves a cursor, turns the direction of writing or hides.
fn is_plain(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '"' | '\\' | '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{feff}')
        && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        && !matches!(c, '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// What was wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No answer came, or none that is a CMP message.
    #[error("{kind}: {message}")]
    Transport {
        /// What kind of failure.
        kind: TransportErrorKind,
        /// For people.
        message: String,
    },
    /// A message does not follow its syntax.
    #[error("{what} is malformed: {reason}")]
    Malformed {
        /// Which part.
        what: &'static str,
        /// The decoder's reason: tags and positions, no contents.
        reason: String,
    },
    /// A message asks for more than we are willing to do (reference: [`crate::Limits`]).
    #[error("{what} is over the limit of {limit}")]
    Limit {
        /// What is too much.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// A message must be protected and is not (RFC 9810, 5.1.3).
    #[error("answer is not protected")]
    Unprotected,
    /// A message has a protection, but of the wrong kind.
    #[error("answer is protected by {found}, expected {expected}")]
    WrongProtection {
        /// What this exchange needs.
        expected: &'static str,
        /// What came.
        found: &'static str,
    },
    /// The MAC is wrong: another secret, or a changed message.
    #[error("MAC of the answer does not verify (wrong shared secret?)")]
    BadMac,
    /// The signature is wrong.
    #[error("signature of the answer does not verify")]
    BadSignature,
    /// An algorithm or parameter that we do not support.
    #[error("{what} is not supported")]
    Unsupported {
        /// Which.
        what: String,
    },
    /// Nobody known could have signed the answer.
    #[error("no certificate for the signer of the answer: {reason}")]
    NoSigner {
        /// Why not.
        reason: &'static str,
    },
    /// The signer has no path to the anchors for answers.
    #[error("signer of the answer is not trusted: {0}")]
    SignerUntrusted(ChainError),
    /// The signer's certificate does not allow this use.
    #[error("signer of the answer may not sign: {reason}")]
    SignerUsage {
        /// Which usage is missing.
        reason: &'static str,
    },
    /// The sender is not who was expected.
    #[error("sender of the answer is \"{found}\", expected \"{expected}\"")]
    WrongSender {
        /// Name in the settings.
        expected: String,
        /// Name in the answer, escaped.
        found: String,
    },
    /// The senderKID is not the key identifier of the signer.
    #[error("senderKID of the answer is not that of its signer")]
    WrongSenderKeyId,
    /// Another transactionID than ours (RFC 9810, 5.1.1).
    #[error("transactionID of the answer is {0}")]
    TransactionId(FieldFault),
    /// recipNonce is not our senderNonce.
    #[error("recipNonce of the answer is {0}")]
    RecipientNonce(FieldFault),
    /// senderNonce is missing or too short.
    #[error("senderNonce of the answer is {0}")]
    SenderNonce(FieldFault),
    /// messageTime is too far from our clock.
    #[error("messageTime of the answer is {seconds} s away from our clock")]
    MessageTime {
        /// Positive: the peer's clock is ahead.
        seconds: i64,
    },
    /// pvno is not the one that was asked for.
    #[error("protocol version {found} of the answer is not supported")]
    Version {
        /// pvno.
        found: i64,
    },
    /// An answer of the wrong type.
    #[error("answer is a {found}, expected {expected}")]
    UnexpectedBody {
        /// What could have come.
        expected: &'static str,
        /// What came.
        found: &'static str,
    },
    /// An answer for something that was not asked.
    #[error("answer does not fit the request: {reason}")]
    WrongAnswer {
        /// In which way.
        reason: &'static str,
    },
    /// The CA has said no, see [`CmpError::peer`].
    #[error("refused by the CA")]
    Refused,
    /// Somebody said no, but nobody vouches for it, see [`CmpError::peer`].
    #[error("unauthenticated refusal")]
    Hint,
    /// The issued certificate cannot be used.
    #[error("certificate is not acceptable: {0}")]
    Certificate(CertificateFault),
    /// The CA has let us wait for longer than the limits allow.
    #[error("the CA did not decide: gave up after {polls} polls and {seconds} s")]
    WaitedTooLong {
        /// Number of polls.
        polls: u32,
        /// Since the first message.
        seconds: i64,
    },
    /// A poll is not due yet.
    #[error("the CA has asked to wait")]
    NotYet,
    /// The settings do not make a valid request.
    #[error("{0}")]
    Settings(String),
    /// The transaction is not in a state for this call.
    #[error("transaction is over or in another state: {0}")]
    State(&'static str),
    /// A key, a certificate or the cryptographic library.
    #[error(transparent)]
    Pki(#[from] pki::Error),
    /// The external program failed.
    #[error("{0}")]
    Program(String),
}

/// In which way a header field is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldFault {
    /// Not there.
    Missing,
    /// Shorter than 16 bytes (RFC 9483, 3.5).
    Short,
    /// Not the value of this transaction.
    Different,
}

impl fmt::Display for FieldFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "missing",
            Self::Short => "shorter than 16 bytes",
            Self::Different => "not that of this transaction",
        })
    }
}

/// Why an issued certificate cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateFault {
    /// It holds another public key than ours.
    #[error("public key is not ours")]
    OtherKey,
    /// Its subject is not the one asked for.
    #[error("subject is \"{found}\", expected \"{expected}\"")]
    Subject {
        /// Asked for.
        expected: String,
        /// Issued, escaped.
        found: String,
    },
    /// Its alternative names are not those asked for.
    #[error("alternative names were changed: {missing} missing, {added} added")]
    AlternativeNames {
        /// How many of ours are not there.
        missing: usize,
        /// How many are there that we did not ask for.
        added: usize,
    },
    /// It is a CA certificate or may sign certificates, and that was not asked for.
    #[error("it is a CA certificate, and none was asked for")]
    Authority,
    /// It is no CA certificate, and one was asked for.
    #[error("it is not a CA certificate, and one was asked for")]
    NoAuthority,
    /// It may not be used for what was asked for.
    #[error("usages were changed: missing {missing}")]
    Usages {
        /// The words of what is not there.
        missing: String,
    },
    /// It is not yet or no longer valid.
    #[error("validity from {not_before} to {not_after} does not include now")]
    Validity {
        /// notBefore.
        not_before: jiff::Timestamp,
        /// notAfter.
        not_after: jiff::Timestamp,
    },
    /// It has no path to the anchors for certificates.
    #[error("{0}")]
    Chain(ChainError),
    /// It cannot be read.
    #[error("{0}")]
    Malformed(String),
}

/// A failed exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CmpError {
    /// What may be done.
    pub class: Class,
    /// How far it got.
    pub step: Stage,
    /// What was wrong.
    pub kind: ErrorKind,
    /// What the CA said, if it said anything.
    pub peer: Option<Box<PeerStatus>>,
    /// May the CA have seen a message of this transaction? `Maybe` also if an answer was read.
    pub reached: Reached,
    /// How long the peer has asked us to stay away (HTTP `Retry-After`), within the bounds of the transport.
    pub retry_after: Option<Duration>,
}

impl CmpError {
    /// An error of the class that its kind implies; `reached` is `No` only while preparing.
    pub fn new(step: Stage, kind: ErrorKind) -> Self {
        let reached = if step == Stage::Preparing {
            Reached::No
        } else {
            Reached::Maybe
        };
        Self {
            class: kind.class(),
            step,
            kind,
            peer: None,
            reached,
            retry_after: None,
        }
    }

    /// Wrong settings, found before anything was sent.
    pub fn settings(text: impl Into<String>) -> Self {
        Self::new(Stage::Preparing, ErrorKind::Settings(text.into()))
    }

    /// The CA's refusal; the class comes from failInfo.
    pub fn refused(step: Stage, peer: PeerStatus) -> Self {
        let (class, kind) = if peer.authentic {
            (class_of_refusal(&peer), ErrorKind::Refused)
        } else {
            (Class::Retry, ErrorKind::Hint)
        };
        Self {
            class,
            step,
            kind,
            peer: Some(Box::new(peer)),
            reached: Reached::Maybe,
            retry_after: None,
        }
    }

    /// The same error with another class.
    #[must_use]
    pub fn with_class(mut self, class: Class) -> Self {
        self.class = class;
        self
    }

    /// The same error with what the peer said.
    #[must_use]
    pub fn with_peer(mut self, peer: PeerStatus) -> Self {
        self.peer = Some(Box::new(peer));
        self
    }

    /// A message that did not get through, or whose answer did not.
    pub fn transport(step: Stage, error: TransportError) -> Self {
        let TransportError {
            reached,
            kind,
            message,
            retry_after,
        } = error;
        let kind = ErrorKind::Transport { kind, message };
        Self {
            reached,
            retry_after,
            ..Self::new(step, kind)
        }
    }

    /// The same error with another answer to "may the CA have seen it?".
    #[must_use]
    pub fn with_reached(mut self, reached: Reached) -> Self {
        self.reached = reached;
        self
    }
}

impl fmt::Display for CmpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.step, self.kind)?;
        match &self.peer {
            Some(peer) => write!(f, ": {peer}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for CmpError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            ErrorKind::Pki(error) => Some(error),
            ErrorKind::Certificate(fault) => Some(fault),
            ErrorKind::SignerUntrusted(error) => Some(error),
            _ => None,
        }
    }
}

impl ErrorKind {
    /// The class of an error of this kind, unless its place says otherwise.
    pub fn class(&self) -> Class {
        match self {
            Self::Transport { kind, .. } => kind.class(),
            Self::Malformed { .. } | Self::WaitedTooLong { .. } | Self::Hint | Self::Program(_) => {
                Class::Retry
            }
            Self::Limit { .. }
            | Self::Unprotected
            | Self::WrongProtection { .. }
            | Self::BadMac
            | Self::BadSignature
            | Self::NoSigner { .. }
            | Self::SignerUntrusted(_)
            | Self::SignerUsage { .. }
            | Self::WrongSender { .. }
            | Self::WrongSenderKeyId
            | Self::TransactionId(_)
            | Self::RecipientNonce(_)
            | Self::SenderNonce(_)
            | Self::UnexpectedBody { .. }
            | Self::WrongAnswer { .. }
            | Self::Certificate(_) => Class::Untrusted,
            Self::MessageTime { .. }
            | Self::Version { .. }
            | Self::Unsupported { .. }
            | Self::Settings(_)
            | Self::State(_)
            | Self::Pki(_) => Class::Misconfigured,
            Self::Refused => Class::Rejected,
            Self::NotYet => Class::Pending,
        }
    }
}

/// What an authentic refusal means for the next try. The first group that has a bit set decides.
fn class_of_refusal(peer: &PeerStatus) -> Class {
    const FINAL: [&str; 2] = ["certRevoked", "wrongIntegrity"];
    const SETTINGS: [&str; 14] = [
        "badAlg",
        "badMessageCheck",
        "badTime",
        "badCertId",
        "badDataFormat",
        "wrongAuthority",
        "badPOP",
        "unacceptedPolicy",
        "unacceptedExtension",
        "badCertTemplate",
        "signerNotTrusted",
        "unsupportedVersion",
        "notAuthorized",
        "addInfoNotAvailable",
    ];
    // The last three want a new transaction, which is what a retry after an error makes.
    const LATER: [&str; 7] = [
        "systemUnavail",
        "systemFailure",
        "timeNotAvailable",
        "duplicateCertReq",
        "badRecipientNonce",
        "badSenderNonce",
        "transactionIdInUse",
    ];
    let any = |names: &[&str]| names.iter().any(|name| peer.has(name));
    if any(&FINAL) {
        Class::Rejected
    } else if any(&SETTINGS) {
        Class::Misconfigured
    } else if any(&LATER) {
        Class::Retry
    } else {
        Class::Rejected
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(failure: &[&'static str]) -> PeerStatus {
        PeerStatus {
            status: PkiStatus::Rejection,
            failure: failure.to_vec(),
            text: String::new(),
            authentic: true,
        }
    }

    #[test]
    fn authentic_refusals_are_classed_by_fail_info() {
        let cases: [(&[&str], Class); 8] = [
            (&[], Class::Rejected),
            (&["badRequest"], Class::Rejected),
            (&["certRevoked"], Class::Rejected),
            (&["certRevoked", "systemFailure"], Class::Rejected),
            (&["badCertTemplate"], Class::Misconfigured),
            (&["badMessageCheck"], Class::Misconfigured),
            (&["systemUnavail"], Class::Retry),
            (&["transactionIdInUse"], Class::Retry),
        ];
        for (failure, class) in cases {
            let failure: Vec<&'static str> = FailureInfo::NAMES
                .iter()
                .copied()
                .filter(|n| failure.contains(n))
                .collect();
            assert_eq!(
                CmpError::refused(Stage::Requesting, peer(&failure)).class,
                class,
                "{failure:?}"
            );
        }
    }

    #[test]
    fn refusals_that_nobody_signed_are_hints_to_retry_whatever_they_say() {
        for name in FailureInfo::NAMES {
            let mut status = peer(&[name]);
            status.authentic = false;
            let error = CmpError::refused(Stage::Requesting, status);
            assert_eq!((error.class, &error.kind), (Class::Retry, &ErrorKind::Hint));
            assert!(error.to_string().contains("a hint only"), "{error}");
        }
    }

    #[test]
    fn peer_text_is_cut_and_cannot_write_into_a_log() {
        let text = escape("first\nsecond\u{1b}[31m \u{202e}gnp.exe \"q\"".as_bytes());
        assert_eq!(
            text,
            "first\\u{a}second\\u{1b}[31m \\u{202e}gnp.exe \\u{22}q\\u{22}"
        );
        let long = escape(&vec![b'a'; 100_000]);
        assert_eq!(long.chars().count(), MAX_PEER_TEXT + 1);
        assert!(escape(&[0xff, 0xfe]).contains('\u{fffd}'));
    }

    #[test]
    fn messages_name_the_step_and_what_the_ca_said() {
        let mut status = peer(&["badCertTemplate"]);
        status.text = "key too short".to_owned();
        let error = CmpError::refused(Stage::Requesting, status);
        assert_eq!(
            error.to_string(),
            "requesting: refused by the CA: rejection, badCertTemplate: \"key too short\""
        );
    }
}
