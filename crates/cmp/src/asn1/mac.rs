//! Parameters of the two password-based MACs (RFC 9481, 6.1).

use der::asn1::OctetString;
use der::{Choice, Sequence};

use super::AlgorithmIdentifier;

/// ```text
/// PBMParameter ::= SEQUENCE {                     -- RFC 4211, 4.4
///     salt            OCTET STRING,
///     owf             AlgorithmIdentifier,
///     iterationCount  INTEGER,
///     mac             AlgorithmIdentifier }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub struct PbmParameter {
    /// Random.
    pub salt: OctetString,
    /// One-way function.
    pub owf: AlgorithmIdentifier,
    /// How often.
    pub iteration_count: i64,
    /// The MAC.
    pub mac: AlgorithmIdentifier,
}

/// ```text
/// PBMAC1-params ::= SEQUENCE {                    -- RFC 8018, A.5
///     keyDerivationFunc  AlgorithmIdentifier,     -- PBKDF2
///     messageAuthScheme  AlgorithmIdentifier }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub struct Pbmac1Params {
    /// PBKDF2 with [`Pbkdf2Params`].
    pub key_derivation_func: AlgorithmIdentifier,
    /// The MAC.
    pub message_auth_scheme: AlgorithmIdentifier,
}

/// ```text
/// PBKDF2-params ::= SEQUENCE {                    -- RFC 8018, A.2
///     salt            CHOICE { specified OCTET STRING, otherSource AlgorithmIdentifier },
///     iterationCount  INTEGER (1..MAX),
///     keyLength       INTEGER (1..MAX) OPTIONAL,
///     prf             AlgorithmIdentifier DEFAULT algid-hmacWithSHA1 }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub struct Pbkdf2Params {
    /// Random.
    pub salt: Pbkdf2Salt,
    /// How often.
    pub iteration_count: i64,
    /// Bytes of the key; RFC 9579, 4, wants it to be there.
    #[asn1(optional = "true")]
    pub key_length: Option<i64>,
    /// The pseudo-random function; absent means hmacWithSHA1.
    #[asn1(optional = "true")]
    pub prf: Option<AlgorithmIdentifier>,
}

/// The salt of PBKDF2.
#[derive(Clone, Debug, PartialEq, Eq, Choice)]
pub enum Pbkdf2Salt {
    /// Given.
    #[asn1(type = "OCTET STRING")]
    Specified(OctetString),
    /// From elsewhere; nobody uses it.
    OtherSource(AlgorithmIdentifier),
}
