//! Key usage (RFC 5280, 4.2.1.3) and extended key usage (4.2.1.12), in the words of cert-manager.
//!
//! ```text
//! KeyUsage ::= BIT STRING { digitalSignature(0), nonRepudiation(1), keyEncipherment(2), dataEncipherment(3),
//!     keyAgreement(4), keyCertSign(5), cRLSign(6), encipherOnly(7), decipherOnly(8) }
//! ExtKeyUsageSyntax ::= SEQUENCE SIZE (1..MAX) OF KeyPurposeId
//! ```
//!
//! cert-manager has one list of words for both, so one list is read here as well. The words are part of stored records
//! and of the user's YAML; they are never changed, only added to.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use const_oid::ObjectIdentifier;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Input};

/// One bit of the key usage extension; the value is the bit's number in RFC 5280, 4.2.1.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum KeyUsage {
    /// Signatures other than on certificates and CRLs.
    DigitalSignature = 0,
    /// Signatures that cannot be denied later; called nonRepudiation before.
    ContentCommitment = 1,
    /// Encrypting keys, as TLS 1.2 with RSA key exchange does.
    KeyEncipherment = 2,
    /// Encrypting data directly.
    DataEncipherment = 3,
    /// Diffie-Hellman.
    KeyAgreement = 4,
    /// Signing certificates: for CAs.
    KeyCertSign = 5,
    /// Signing revocation lists.
    CrlSign = 6,
    /// With key agreement: encrypt only.
    EncipherOnly = 7,
    /// With key agreement: decrypt only.
    DecipherOnly = 8,
}

impl KeyUsage {
    /// All of them, by bit number.
    pub const ALL: [Self; 9] = [
        Self::DigitalSignature,
        Self::ContentCommitment,
        Self::KeyEncipherment,
        Self::DataEncipherment,
        Self::KeyAgreement,
        Self::KeyCertSign,
        Self::CrlSign,
        Self::EncipherOnly,
        Self::DecipherOnly,
    ];

    /// The word of cert-manager's `usages`.
    pub fn word(self) -> &'static str {
        match self {
            Self::DigitalSignature => "digital signature",
            Self::ContentCommitment => "content commitment",
            Self::KeyEncipherment => "key encipherment",
            Self::DataEncipherment => "data encipherment",
            Self::KeyAgreement => "key agreement",
            Self::KeyCertSign => "cert sign",
            Self::CrlSign => "crl sign",
            Self::EncipherOnly => "encipher only",
            Self::DecipherOnly => "decipher only",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        if word == "signing" {
            return Some(Self::DigitalSignature);
        }
        Self::ALL.into_iter().find(|usage| usage.word() == word)
    }
}

/// A set of key usages.
///
/// Whether a certificate without the extension may do everything is for the one who asks; an empty set here is empty.
///
/// Serialised as a list of words in the order of the bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct KeyUsages(u16);

impl KeyUsages {
    /// No usage.
    pub const NONE: Self = Self(0);

    /// Is this usage in the set?
    pub fn contains(self, usage: KeyUsage) -> bool {
        self.0 & 1 << usage as u8 != 0
    }

    /// Adds a usage.
    pub fn insert(&mut self, usage: KeyUsage) {
        self.0 |= 1 << usage as u8;
    }

    /// Is there no usage in it?
    pub fn is_empty(&self) -> bool {
        self.0 == 0
    }

    /// The usages by bit number.
    pub fn iter(self) -> impl Iterator<Item = KeyUsage> {
        KeyUsage::ALL
            .into_iter()
            .filter(move |usage| self.contains(*usage))
    }
}

impl FromIterator<KeyUsage> for KeyUsages {
    fn from_iter<I: IntoIterator<Item = KeyUsage>>(usages: I) -> Self {
        let mut set = Self::NONE;
        usages.into_iter().for_each(|usage| set.insert(usage));
        set
    }
}

impl fmt::Display for KeyUsages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.iter().map(KeyUsage::word).collect::<Vec<_>>().join(", "))
    }
}

impl Serialize for KeyUsages {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(KeyUsage::word))
    }
}

impl<'de> Deserialize<'de> for KeyUsages {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let words = Vec::<Cow<'de, str>>::deserialize(deserializer)?;
        let usage = |word: &Cow<'_, str>| {
            KeyUsage::from_word(word).ok_or_else(|| serde::de::Error::custom("unknown key usage"))
        };
        words.iter().map(usage).collect()
    }
}

/// A purpose of the extended key usage extension.
/// Purposes we do not know are kept by their identifier: 3GPP and vendors have their own.
///
/// Serialised as cert-manager's word, or as a dotted identifier.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ExtendedKeyUsage {
    /// Any purpose.
    Any,
    /// TLS server.
    ServerAuth,
    /// TLS client.
    ClientAuth,
    /// Signing programs.
    CodeSigning,
    /// S/MIME.
    EmailProtection,
    /// IPsec end system (historic; RFC 4945 forbids to rely on it).
    IpsecEndSystem,
    /// IPsec tunnel (historic).
    IpsecTunnel,
    /// IPsec user (historic).
    IpsecUser,
    /// Time stamps.
    Timestamping,
    /// OCSP answers.
    OcspSigning,
    /// Microsoft's server gated cryptography (historic).
    MicrosoftSgc,
    /// Netscape's server gated cryptography (historic).
    NetscapeSgc,
    /// A registration authority that may sign CMP messages for others (RFC 6402, 2.10; RFC 9483, 4.4).
    CmcRa,
    /// A CA that signs CMP messages (RFC 6402, 2.10).
    CmcCa,
    /// Any other purpose.
    Other(ObjectIdentifier),
}

/// Purpose, identifier, cert-manager's word. The CMP ones have no word there; the words are ours.
const PURPOSES: &[(ExtendedKeyUsage, &str, &str)] = &[
    (ExtendedKeyUsage::Any, "2.5.29.37.0", "any"),
    (ExtendedKeyUsage::ServerAuth, "1.3.6.1.5.5.7.3.1", "server auth"),
    (ExtendedKeyUsage::ClientAuth, "1.3.6.1.5.5.7.3.2", "client auth"),
    (ExtendedKeyUsage::CodeSigning, "1.3.6.1.5.5.7.3.3", "code signing"),
    (
        ExtendedKeyUsage::EmailProtection,
        "1.3.6.1.5.5.7.3.4",
        "email protection",
    ),
    (
        ExtendedKeyUsage::IpsecEndSystem,
        "1.3.6.1.5.5.7.3.5",
        "ipsec end system",
    ),
    (ExtendedKeyUsage::IpsecTunnel, "1.3.6.1.5.5.7.3.6", "ipsec tunnel"),
    (ExtendedKeyUsage::IpsecUser, "1.3.6.1.5.5.7.3.7", "ipsec user"),
    (
        ExtendedKeyUsage::Timestamping,
        "1.3.6.1.5.5.7.3.8",
        "timestamping",
    ),
    (ExtendedKeyUsage::OcspSigning, "1.3.6.1.5.5.7.3.9", "ocsp signing"),
    (
        ExtendedKeyUsage::MicrosoftSgc,
        "1.3.6.1.4.1.311.10.3.3",
        "microsoft sgc",
    ),
    (
        ExtendedKeyUsage::NetscapeSgc,
        "2.16.840.1.113730.4.1",
        "netscape sgc",
    ),
    (ExtendedKeyUsage::CmcCa, "1.3.6.1.5.5.7.3.27", "cmc ca"),
    (ExtendedKeyUsage::CmcRa, "1.3.6.1.5.5.7.3.28", "cmc ra"),
];

impl ExtendedKeyUsage {
    /// The object identifier.
    pub fn oid(&self) -> ObjectIdentifier {
        match (self, PURPOSES.iter().find(|(purpose, ..)| purpose == self)) {
            (Self::Other(oid), _) => *oid,
            // The table holds every other purpose and valid identifiers, as a test shows.
            (_, Some((_, oid, _))) => ObjectIdentifier::new(oid).unwrap_or(ANY),
            (_, None) => ANY,
        }
    }

    /// The purpose that an identifier stands for.
    pub fn from_oid(oid: ObjectIdentifier) -> Self {
        PURPOSES
            .iter()
            .find(|(_, text, _)| ObjectIdentifier::new(text) == Ok(oid))
            .map_or(Self::Other(oid), |(purpose, ..)| purpose.clone())
    }

    fn from_word(word: &str) -> Option<Self> {
        // cert-manager has two words for this purpose.
        let word = if word == "s/mime" {
            "email protection"
        } else {
            word
        };
        let known = PURPOSES
            .iter()
            .find(|(_, _, known)| *known == word)
            .map(|(purpose, ..)| purpose.clone());
        let dotted = || {
            word.contains('.')
                .then(|| ObjectIdentifier::new(word).ok())
                .flatten()
        };
        known.or_else(|| dotted().map(Self::from_oid))
    }
}

/// `anyExtendedKeyUsage`.
const ANY: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37.0");

impl fmt::Display for ExtendedKeyUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, PURPOSES.iter().find(|(purpose, ..)| purpose == self)) {
            (Self::Other(oid), _) => write!(f, "{oid}"),
            (_, known) => f.write_str(known.map_or("any", |(_, _, word)| word)),
        }
    }
}

impl FromStr for ExtendedKeyUsage {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::from_word(text).ok_or_else(unknown)
    }
}

impl Serialize for ExtendedKeyUsage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ExtendedKeyUsage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Both kinds of usage, filled from one list of words as cert-manager's `usages` has it.
///
/// ```
/// use pki::{ExtendedKeyUsage, KeyUsage, Usages};
///
/// # fn main() -> pki::Result<()> {
/// let usages = Usages::from_words(["digital signature", "server auth"])?;
/// assert!(usages.key_usage.contains(KeyUsage::DigitalSignature));
/// assert_eq!(usages.extended_key_usages, [ExtendedKeyUsage::ServerAuth]);
/// assert!(Usages::from_words(["serverAuth"]).is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usages {
    /// Words that are key usages.
    pub key_usage: KeyUsages,
    /// Words that are extended key usages, in the order they came.
    pub extended_key_usages: Vec<ExtendedKeyUsage>,
}

impl Usages {
    /// The words that [`Usages::add`] understands.
    pub const ALLOWED: &str = "signing, digital signature, content commitment, key encipherment, key agreement, \
        data encipherment, cert sign, crl sign, encipher only, decipher only, any, server auth, client auth, \
        code signing, email protection, s/mime, ipsec end system, ipsec tunnel, ipsec user, timestamping, \
        ocsp signing, microsoft sgc, netscape sgc, cmc ca, cmc ra, or the dotted identifier of an extended key usage";

    /// Adds one word. A word that is there already changes nothing.
    ///
    /// # Errors
    ///
    /// [`Error::NotAllowed`] with [`Usages::ALLOWED`]. Letter case and blanks count, as they do in cert-manager.
    pub fn add(&mut self, word: &str) -> Result<(), Error> {
        if let Some(usage) = KeyUsage::from_word(word) {
            self.key_usage.insert(usage);
            return Ok(());
        }
        let purpose = ExtendedKeyUsage::from_word(word).ok_or_else(unknown)?;
        if !self.extended_key_usages.contains(&purpose) {
            self.extended_key_usages.push(purpose);
        }
        Ok(())
    }

    /// Reads a list of words.
    pub fn from_words<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Self, Error> {
        let mut usages = Self::default();
        words.into_iter().try_for_each(|word| usages.add(word))?;
        Ok(usages)
    }
}

fn unknown() -> Error {
    Error::not_allowed(Input::Usage, "is unknown", Usages::ALLOWED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_allowed_word_is_understood() {
        let words = Usages::ALLOWED
            .split(", ")
            .filter(|word| !word.starts_with("or the"));
        let usages = Usages::from_words(words).unwrap();
        assert_eq!(usages.key_usage.iter().count(), 9);
        assert_eq!(usages.extended_key_usages.len(), PURPOSES.len());
    }

    #[test]
    fn the_table_of_purposes_is_consistent() {
        for (purpose, oid, word) in PURPOSES {
            assert_eq!(purpose.oid().to_string(), *oid);
            assert_eq!(
                &ExtendedKeyUsage::from_oid(ObjectIdentifier::new_unwrap(oid)),
                purpose
            );
            assert_eq!(word.parse::<ExtendedKeyUsage>().unwrap(), *purpose);
            assert_eq!(purpose.to_string(), *word);
        }
    }

    #[test]
    fn words_with_two_names_mean_the_same() {
        let usages =
            Usages::from_words(["signing", "digital signature", "s/mime", "email protection"]).unwrap();
        assert_eq!(usages.key_usage.to_string(), "digital signature");
        assert_eq!(usages.extended_key_usages, [ExtendedKeyUsage::EmailProtection]);
    }

    #[test]
    fn dotted_identifiers_are_extended_key_usages() {
        let usages = Usages::from_words(["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.17"]).unwrap();
        assert_eq!(usages.extended_key_usages[0], ExtendedKeyUsage::ServerAuth);
        assert_eq!(usages.extended_key_usages[1].to_string(), "1.3.6.1.5.5.7.3.17");
    }

    #[test]
    fn unknown_words_are_refused_with_the_list_of_words() {
        for word in ["", "Server Auth", "serverAuth", "1", "1.", "9.9", "server auth "] {
            let error = Usages::default().add(word).unwrap_err().to_string();
            assert!(error.contains("allowed: signing, digital signature"), "{error}");
        }
    }

    #[test]
    fn sets_serialise_as_words_and_come_back() {
        let usages: KeyUsages = [KeyUsage::KeyAgreement, KeyUsage::DigitalSignature]
            .into_iter()
            .collect();
        let json = serde_json::to_string(&usages).unwrap();
        assert_eq!(json, r#"["digital signature","key agreement"]"#);
        assert_eq!(serde_json::from_str::<KeyUsages>(&json).unwrap(), usages);
        assert!(serde_json::from_str::<KeyUsages>(r#"["server auth"]"#).is_err());
        assert!(serde_json::from_str::<ExtendedKeyUsage>(r#""key agreement""#).is_err());
    }
}
