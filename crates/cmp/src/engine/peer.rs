//! The CA as configured: its names, whom to trust, what to let pass, how much to bear. All defaults are strict.

use std::time::Duration;

use pki::{Anchors, Certificate, Name};

/// The CA (or RA) that a transaction talks to.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    /// Name to put into `recipient`; NULL-DN if unknown (RFC 9483, 3.1).
    pub recipient: Option<Name>,
    /// Name that signed answers must come from. Unset: `recipient`; if that is unset too, any sender whose certificate
    /// has a path to `trust.responses`.
    pub expected_sender: Option<Name>,
    /// Whom to trust.
    pub trust: Trust,
    /// What to let pass.
    pub policy: Policy,
    /// How much to bear.
    pub limits: Limits,
}

/// Anchors for the two questions that must not be mixed up, and helpers that answer none.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// Who may sign answers.
    pub responses: Anchors,
    /// Who may issue our certificates.
    pub certificates: Anchors,
    /// Intermediate certificates and pinned signers for path building. No trust comes from being here.
    pub untrusted: Vec<Certificate>,
}

/// Deviations from the strict profile that installed CAs may need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// How a request with a MAC may be answered.
    pub mac_response: MacResponse,
    /// Names in the certificate that differ from the request.
    pub name_changes: NameChanges,
    /// senderKID that is not the signer's.
    pub key_id: KeyIdCheck,
    /// Signers without the key usage digitalSignature.
    pub key_usage: KeyUsageCheck,
    /// How the signer's subject is compared with the sender.
    pub sender: SenderCheck,
    /// Answers from another time.
    pub message_time: MessageTimeCheck,
}

/// How a request that is protected by a MAC may be answered. A request with a signature must be answered with a
/// signature, always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MacResponse {
    /// With a MAC, or with a signature of a signer with a path to the anchors for answers (EJBCA signs all answers
    /// by default).
    #[default]
    AllowSignature,
    /// With a MAC only.
    MacOnly,
}

/// Subject or alternative names in the certificate that are not those of the request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum NameChanges {
    /// Refused, whatever status the CA gave.
    #[default]
    Refuse,
    /// The subject may differ if the CA says grantedWithMods; alternative names may not.
    SubjectIfSaid,
    /// Subject and alternative names may differ, and usages be missing, if the CA says grantedWithMods.
    AllIfSaid,
}

/// What a senderKID that is not the signer's key identifier means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum KeyIdCheck {
    /// The answer is refused.
    #[default]
    Strict,
    /// It is ignored (some CAs send back the senderKID of the request); name and signature must still fit.
    Ignore,
}

/// What a signer means whose key usage does not include digitalSignature.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum KeyUsageCheck {
    /// A warning: many CAs sign with a key that has keyCertSign and cRLSign only.
    #[default]
    Warn,
    /// The answer is refused.
    Strict,
}

/// How `sender` must fit the subject of the signer's certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SenderCheck {
    /// Byte by byte.
    #[default]
    Exact,
    /// The same RDNs in any order (EJBCA has answered revocations with a reversed name).
    AnyOrder,
}

/// How far messageTime may be from our clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageTimeCheck {
    /// At most this far, in either direction. An answer without a time passes.
    Within(Duration),
    /// Not looked at.
    Off,
}

impl Default for MessageTimeCheck {
    /// Five minutes.
    fn default() -> Self {
        Self::Within(Duration::from_secs(300))
    }
}

/// Bounds on what a peer can make us do. Each is checked before the work it bounds.
///
/// Keys are bounded where they are read: `pki` refuses RSA keys of more than 8192 bits and certificates of more than
/// 64 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest message, in bytes. Default 1 MiB.
    pub message_bytes: usize,
    /// Most certificates in extraCerts, caPubs or a general answer. Default 32.
    pub certificates: usize,
    /// Longest text, and longest sum of texts in one field, in bytes. Default 4 KiB.
    pub text_bytes: usize,
    /// Most entries of other lists. Default 64.
    pub entries: usize,
    /// Most iterations of a password-based MAC. Default 100,000.
    pub pbm_iterations: u32,
    /// Most iterations of PBKDF2. Default 1,000,000.
    pub pbkdf2_iterations: u32,
    /// Longest key to derive, in bytes. Default 64.
    pub mac_key_bytes: usize,
    /// Longest salt, in bytes. Default 1024.
    pub salt_bytes: usize,
    /// Shortest wait between polls, whatever the CA says. Default 1 s.
    pub check_after_min: Duration,
    /// Longest wait between polls, whatever the CA says. Default 1 h.
    pub check_after_max: Duration,
    /// Most polls of one transaction. Default 2,000.
    pub polls: u32,
    /// Longest life of a transaction that is being polled. Default 7 days.
    pub total_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes: 1024 * 1024,
            certificates: 32,
            text_bytes: 4096,
            entries: 64,
            pbm_iterations: 100_000,
            pbkdf2_iterations: 1_000_000,
            mac_key_bytes: 64,
            salt_bytes: 1024,
            check_after_min: Duration::from_secs(1),
            check_after_max: Duration::from_secs(3600),
            polls: 2_000,
            total_time: Duration::from_secs(7 * 24 * 3600),
        }
    }
}
