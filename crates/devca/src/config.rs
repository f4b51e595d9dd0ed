//! Settings of the CA: [`Config`] is fixed when the CA starts, [`Policy`] can be changed while it runs.
//!
//! The defaults make a friendly CA that answers as RFC 9483 wants it. Everything that real CAs do differently is an
//! option here; everything that is wrong on purpose is a fault (see [`crate::faults`]).

use std::{collections::BTreeMap, fmt, path::PathBuf, time::Duration};

use pki::{Anchors, KeyAlgorithm, Name, Secret};
use serde::{Deserialize, Serialize};

/// Settings that are fixed when the CA starts.
#[derive(Debug, Clone)]
pub struct Config {
    /// Common name of the root; the issuing CA and the CMP signer are named after it.
    pub name: String,
    /// Kind of the CA's own keys. EC P-256 is the fastest to sign with.
    pub key_algorithm: KeyAlgorithm,
    /// Where keys, certificates and ledger are kept (directory mode 0700, files 0600). None: in memory only.
    pub directory: Option<PathBuf>,
    /// MAC clients: reference value (senderKID) and shared secret.
    pub secrets: BTreeMap<String, Secret>,
    /// Certificates under these anchors may sign requests, besides those that this CA issued.
    pub client_anchors: Anchors,
    /// Subjects of certificates that may revoke and update for everybody (RFC 9483, 5.3.2).
    pub registration_authorities: Vec<Name>,
    /// Which certificate signs CMP answers.
    pub signer: Signer,
    /// Entries that the ledger keeps; older ones are dropped and only counted. None: all of them.
    pub ledger_limit: Option<usize>,
    /// Transactions that are remembered at the same time, some 4 KiB each; beyond that the oldest is forgotten.
    pub transaction_limit: usize,
    /// What can be changed later.
    pub policy: Policy,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: "occm development CA".to_owned(),
            key_algorithm: KeyAlgorithm::EcP256,
            directory: None,
            secrets: BTreeMap::new(),
            client_anchors: Anchors::default(),
            registration_authorities: Vec::new(),
            signer: Signer::Separate,
            ledger_limit: None,
            transaction_limit: 20_000,
            policy: Policy::default(),
        }
    }
}

impl Config {
    /// The same settings with one more MAC client.
    #[must_use]
    pub fn with_secret(mut self, reference: impl Into<String>, secret: impl Into<Vec<u8>>) -> Self {
        self.secrets.insert(reference.into(), Secret::new(secret.into()));
        self
    }
}

/// Which certificate signs CMP answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Signer {
    /// A certificate of its own under the issuing CA, with the usage id-kp-cmcCA (RFC 9810, 4.5).
    Separate,
    /// The issuing CA's certificate, whose key usage is keyCertSign and cRLSign only, as many CAs have it.
    IssuingCa,
}

/// Settings that can be changed while the CA runs (`DevCa::set_policy`, `PUT /-/policy`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Policy {
    /// Life of a certificate whose request names none, in seconds.
    pub validity_seconds: u64,
    /// Longest life that a request can ask for, in seconds; longer wishes are shortened (grantedWithMods).
    pub max_validity_seconds: u64,
    /// How far notBefore lies in the past, in seconds. With 0, programs that use the coarse clock of Linux find a fresh
    /// certificate not yet valid in the first milliseconds of a second.
    pub backdate_seconds: u64,
    /// Is implicit confirmation granted?
    pub implicit_confirm: ImplicitConfirm,
    /// How long the CA waits for certConf before it revokes, in seconds (RFC 9810, 5.1.1.2).
    pub confirm_wait_seconds: u64,
    /// Is confirmWaitTime told to the client?
    pub send_confirm_wait_time: bool,
    /// How many pollReqs it takes to get the answer, by kind of request. Kinds without an entry are answered at once.
    pub polls: BTreeMap<RequestKind, u32>,
    /// checkAfter in pollRep, in seconds.
    pub check_after_seconds: u32,
    /// What the answer to a repeated request is.
    pub repeat: Repeat,
    /// Protection of answers to requests with a MAC.
    pub mac_answers: MacAnswers,
    /// Protection of errors.
    pub errors: ErrorProtection,
    /// Are extraCerts left out of everything but certificate answers and errors, as some products do?
    pub sparse_extra_certs: bool,
    /// Is the chain of an issued certificate sent in extraCerts?
    pub send_chain: bool,
    /// Is the root sent in caPubs of `ip`?
    pub send_ca_pubs: bool,
    /// Is raVerified accepted as proof of possession (RFC 9810, 5.2.8)?
    pub ra_verified: RaVerified,
    /// By whom a key update must be signed.
    pub key_update_signer: KeyUpdateSigner,
    /// Allowed difference between messageTime and our clock, in seconds.
    pub time_window_seconds: u64,
    /// How long a transaction is remembered after its last message, in seconds.
    pub transaction_seconds: u64,
    /// certReqId in answers to p10cr: -1 (RFC 9810) or, as servers in the field have it, 0.
    pub pkcs10_request_id: i8,
    /// Is an update of the root offered in answer to rootCaCert?
    pub root_update: RootUpdate,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            validity_seconds: 90 * 24 * 3600,
            max_validity_seconds: 2 * 366 * 24 * 3600,
            backdate_seconds: 1,
            implicit_confirm: ImplicitConfirm::WhenAsked,
            confirm_wait_seconds: 300,
            send_confirm_wait_time: true,
            polls: BTreeMap::new(),
            check_after_seconds: 1,
            repeat: Repeat::SameAnswer,
            mac_answers: MacAnswers::Mac,
            errors: ErrorProtection::Protected,
            sparse_extra_certs: false,
            send_chain: true,
            send_ca_pubs: false,
            ra_verified: RaVerified::Refused,
            key_update_signer: KeyUpdateSigner::Certificate,
            time_window_seconds: 300,
            transaction_seconds: 3600,
            pkcs10_request_id: -1,
            root_update: RootUpdate::None,
        }
    }
}

/// Is implicit confirmation granted (RFC 9810, 5.1.1.1)?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImplicitConfirm {
    /// To clients that ask for it.
    WhenAsked,
    /// To nobody.
    Never,
}

/// The answer to a request whose transactionID is known already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Repeat {
    /// The same bytes again.
    SameAnswer,
    /// An error with transactionIdInUse.
    TransactionIdInUse,
    /// An error with badRequest.
    BadRequest,
}

/// Protection of answers to requests with a MAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MacAnswers {
    /// A MAC of the same kind and with the same secret.
    Mac,
    /// The CA's signature.
    Signature,
}

/// Protection of errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorProtection {
    /// Like other answers; signed where the client could not be authenticated.
    Protected,
    /// None, as some CAs do.
    Unprotected,
}

/// Is raVerified accepted as proof of possession?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RaVerified {
    /// It is badPOP.
    Refused,
    /// From everybody who can enrol.
    Accepted,
}

/// By whom a key update must be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyUpdateSigner {
    /// By the certificate to be updated (RFC 9483, 4.1.3).
    Certificate,
    /// By that or another certificate of the same client.
    SameClient,
}

/// Is an update of the root offered in answer to rootCaCert?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RootUpdate {
    /// There is none.
    None,
    /// newWithNew, newWithOld and oldWithNew for a root made for this purpose.
    Offered,
}

/// Kinds of request, by the name of the message body (RFC 9810, 5.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RequestKind {
    /// Initialization request.
    Ir,
    /// Certification request.
    Cr,
    /// Key update request.
    Kur,
    /// PKCS#10 request.
    P10cr,
    /// Revocation request.
    Rr,
    /// General message.
    Genm,
    /// Certificate confirmation.
    CertConf,
    /// Polling request.
    PollReq,
    /// Error message from a client.
    Error,
    /// Anything else, also what cannot be decoded.
    Other,
}

impl RequestKind {
    /// All of them, in the order of the counters.
    pub const ALL: [Self; 10] = [
        Self::Ir,
        Self::Cr,
        Self::Kur,
        Self::P10cr,
        Self::Rr,
        Self::Genm,
        Self::CertConf,
        Self::PollReq,
        Self::Error,
        Self::Other,
    ];

    /// The name of the body, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ir => "ir",
            Self::Cr => "cr",
            Self::Kur => "kur",
            Self::P10cr => "p10cr",
            Self::Rr => "rr",
            Self::Genm => "genm",
            Self::CertConf => "certconf",
            Self::PollReq => "pollreq",
            Self::Error => "error",
            Self::Other => "other",
        }
    }

    /// Does the client ask for a certificate?
    pub fn is_enrolment(self) -> bool {
        match self {
            Self::Ir | Self::Cr | Self::Kur | Self::P10cr => true,
            Self::Rr | Self::Genm | Self::CertConf | Self::PollReq | Self::Error | Self::Other => false,
        }
    }
}

impl fmt::Display for RequestKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Policy {
    /// Life of a certificate whose request names none.
    pub fn validity(&self) -> Duration {
        Duration::from_secs(self.validity_seconds)
    }
}
