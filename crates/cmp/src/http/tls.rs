//! TLS below CMP: its own anchors and its own client certificate, apart from those of the messages.

use std::{fmt, str::FromStr, sync::Arc};

use pki::{Anchors, Certificate, PrivateKey};
use rustls::{
    CipherSuite, ClientConfig, RootCertStore, SupportedProtocolVersion,
    client::WebPkiServerVerifier,
    crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    version::{TLS12, TLS13},
};

use super::HttpConfigError;
use crate::transport::TransportErrorKind;

/// TLS to the CMP server. There is no way to leave the check of the server's certificate out.
#[derive(Clone, Debug)]
pub struct TlsConfig {
    /// Who may have issued the server's certificate.
    pub anchors: TlsAnchors,
    /// The lowest version that is spoken. Default: TLS 1.2.
    pub min_version: TlsVersion,
    /// Certificate and key that we show if the server asks for them.
    pub identity: Option<TlsIdentity>,
    /// Groups for the key exchange, best first. Empty: the library's defaults.
    pub groups: Vec<TlsGroup>,
    /// Cipher suites, best first. A protocol version of which none is listed keeps the library's defaults.
    pub ciphers: Vec<TlsCipher>,
    /// Name or address that is sent to the server and must be in its certificate, where it is not the host of the URL.
    pub server_name: Option<String>,
}

impl TlsConfig {
    /// TLS with these anchors and safe defaults.
    #[must_use]
    pub fn new(anchors: TlsAnchors) -> Self {
        Self {
            anchors,
            min_version: TlsVersion::default(),
            identity: None,
            groups: Vec::new(),
            ciphers: Vec::new(),
            server_name: None,
        }
    }
}

/// Who may have issued the server's certificate.
#[derive(Clone, Debug)]
pub enum TlsAnchors {
    /// These certificates alone. An empty set is refused.
    Certificates(Anchors),
    /// The operating system's list.
    System,
}

/// The lowest version of TLS that is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246) and 1.3.
    #[default]
    Tls12,
    /// TLS 1.3 (RFC 8446) only.
    Tls13,
}

impl TlsVersion {
    /// `TLSv1.2` or `TLSv1.3`, as in OpenSSL's `MinProtocol`.
    #[must_use]
    pub fn openssl_name(self) -> &'static str {
        match self {
            Self::Tls12 => "TLSv1.2",
            Self::Tls13 => "TLSv1.3",
        }
    }

    fn supported(self) -> &'static [&'static SupportedProtocolVersion] {
        static BOTH: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
        static NEW: [&SupportedProtocolVersion; 1] = [&TLS13];
        match self {
            Self::Tls12 => &BOTH,
            Self::Tls13 => &NEW,
        }
    }
}

/// The certificate that we show to the server.
#[derive(Clone, Debug)]
pub struct TlsIdentity {
    /// The key of the first certificate.
    pub key: PrivateKey,
    /// Our certificate, then its issuers without the root.
    pub chain: Vec<Certificate>,
}

/// A word that names no group or cipher that we know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what}; known are {known}")]
pub struct UnknownWord {
    /// `TLS group` or `TLS cipher suite`.
    pub what: &'static str,
    /// The words that are known.
    pub known: String,
}

/// A group for the key exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TlsGroup {
    /// X25519 with ML-KEM-768, safe against later quantum computers.
    X25519MlKem768,
    /// X25519.
    X25519,
    /// NIST P-256.
    P256,
    /// NIST P-384.
    P384,
}

impl TlsGroup {
    /// All groups.
    pub const ALL: [Self; 4] = [Self::X25519MlKem768, Self::X25519, Self::P256, Self::P384];

    /// The name in OpenSSL's `Groups`; also what [`FromStr`] takes, besides `secp256r1`, `prime256v1`, `secp384r1`.
    #[must_use]
    pub fn openssl_name(self) -> &'static str {
        match self {
            Self::X25519MlKem768 => "X25519MLKEM768",
            Self::X25519 => "X25519",
            Self::P256 => "P-256",
            Self::P384 => "P-384",
        }
    }

    fn supported(self) -> &'static dyn SupportedKxGroup {
        match self {
            Self::X25519MlKem768 => aws_lc_rs::kx_group::X25519MLKEM768,
            Self::X25519 => aws_lc_rs::kx_group::X25519,
            Self::P256 => aws_lc_rs::kx_group::SECP256R1,
            Self::P384 => aws_lc_rs::kx_group::SECP384R1,
        }
    }
}

impl FromStr for TlsGroup {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let plain = match text {
            "secp256r1" | "prime256v1" => "P-256",
            "secp384r1" => "P-384",
            other => other,
        };
        let found = Self::ALL
            .into_iter()
            .find(|group| group.openssl_name().eq_ignore_ascii_case(plain));
        found.ok_or_else(|| UnknownWord {
            what: "TLS group",
            known: Self::ALL.map(Self::openssl_name).join(", "),
        })
    }
}

impl fmt::Display for TlsGroup {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.openssl_name())
    }
}

/// A cipher suite: all of TLS 1.3, and those of TLS 1.2 with forward secrecy and authenticated encryption.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TlsCipher {
    /// TLS 1.3.
    Aes256GcmSha384,
    /// TLS 1.3.
    Aes128GcmSha256,
    /// TLS 1.3.
    Chacha20Poly1305Sha256,
    /// TLS 1.2.
    EcdheEcdsaAes256GcmSha384,
    /// TLS 1.2.
    EcdheEcdsaAes128GcmSha256,
    /// TLS 1.2.
    EcdheEcdsaChacha20Poly1305,
    /// TLS 1.2.
    EcdheRsaAes256GcmSha384,
    /// TLS 1.2.
    EcdheRsaAes128GcmSha256,
    /// TLS 1.2.
    EcdheRsaChacha20Poly1305,
}

impl TlsCipher {
    /// All cipher suites.
    pub const ALL: [Self; 9] = [
        Self::Aes256GcmSha384,
        Self::Aes128GcmSha256,
        Self::Chacha20Poly1305Sha256,
        Self::EcdheEcdsaAes256GcmSha384,
        Self::EcdheEcdsaAes128GcmSha256,
        Self::EcdheEcdsaChacha20Poly1305,
        Self::EcdheRsaAes256GcmSha384,
        Self::EcdheRsaAes128GcmSha256,
        Self::EcdheRsaChacha20Poly1305,
    ];

    /// Name in OpenSSL, name at IANA, and the number.
    fn names(self) -> (&'static str, &'static str, CipherSuite) {
        match self {
            Self::Aes256GcmSha384 => (
                "TLS_AES_256_GCM_SHA384",
                "TLS_AES_256_GCM_SHA384",
                CipherSuite::TLS13_AES_256_GCM_SHA384,
            ),
            Self::Aes128GcmSha256 => (
                "TLS_AES_128_GCM_SHA256",
                "TLS_AES_128_GCM_SHA256",
                CipherSuite::TLS13_AES_128_GCM_SHA256,
            ),
            Self::Chacha20Poly1305Sha256 => (
                "TLS_CHACHA20_POLY1305_SHA256",
                "TLS_CHACHA20_POLY1305_SHA256",
                CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
            ),
            Self::EcdheEcdsaAes256GcmSha384 => (
                "ECDHE-ECDSA-AES256-GCM-SHA384",
                "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
                CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            ),
            Self::EcdheEcdsaAes128GcmSha256 => (
                "ECDHE-ECDSA-AES128-GCM-SHA256",
                "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
                CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            ),
            Self::EcdheEcdsaChacha20Poly1305 => (
                "ECDHE-ECDSA-CHACHA20-POLY1305",
                "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
                CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
            ),
            Self::EcdheRsaAes256GcmSha384 => (
                "ECDHE-RSA-AES256-GCM-SHA384",
                "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
                CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
            ),
            Self::EcdheRsaAes128GcmSha256 => (
                "ECDHE-RSA-AES128-GCM-SHA256",
                "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
                CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
            ),
            Self::EcdheRsaChacha20Poly1305 => (
                "ECDHE-RSA-CHACHA20-POLY1305",
                "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
                CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
            ),
        }
    }

    /// The name in OpenSSL's `CipherString` or `Ciphersuites`.
    #[must_use]
    pub fn openssl_name(self) -> &'static str {
        self.names().0
    }

    /// Is it a cipher suite of TLS 1.3 (and of no other version)?
    #[must_use]
    pub fn is_tls13(self) -> bool {
        matches!(
            self,
            Self::Aes256GcmSha384 | Self::Aes128GcmSha256 | Self::Chacha20Poly1305Sha256
        )
    }
}

impl FromStr for TlsCipher {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let found = Self::ALL.into_iter().find(|cipher| {
            let (openssl, iana, _) = cipher.names();
            openssl.eq_ignore_ascii_case(text) || iana.eq_ignore_ascii_case(text)
        });
        found.ok_or_else(|| UnknownWord {
            what: "TLS cipher suite",
            known: Self::ALL.map(Self::openssl_name).join(", "),
        })
    }
}

impl fmt::Display for TlsCipher {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.openssl_name())
    }
}

/// Makes rustls' configuration.
pub(super) fn client_config(config: &TlsConfig) -> Result<ClientConfig, HttpConfigError> {
    let provider = Arc::new(provider(config));
    let verifier =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots(&config.anchors)?), Arc::clone(&provider))
            .build()
            .map_err(|error| HttpConfigError::Tls(error.to_string()))?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(config.min_version.supported())
        .map_err(|error| HttpConfigError::Tls(error.to_string()))?
        .with_webpki_verifier(verifier);
    let Some(identity) = &config.identity else {
        return Ok(builder.with_no_client_auth());
    };
    let chain = identity
        .chain
        .iter()
        .map(|certificate| CertificateDer::from(certificate.der().to_vec()));
    let key = identity
        .key
        .to_pkcs8_der()
        .map_err(|error| HttpConfigError::Tls(error.to_string()))?;
    builder
        .with_client_auth_cert(
            chain.collect(),
            PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.to_vec())),
        )
        .map_err(|error| HttpConfigError::Tls(format!("client certificate: {error}")))
}

fn provider(config: &TlsConfig) -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    if !config.groups.is_empty() {
        provider.kx_groups = config.groups.iter().map(|group| group.supported()).collect();
    }
    let defaults = std::mem::take(&mut provider.cipher_suites);
    for tls13 in [true, false] {
        let wanted: Vec<CipherSuite> = config
            .ciphers
            .iter()
            .filter(|cipher| cipher.is_tls13() == tls13)
            .map(|cipher| cipher.names().2)
            .collect();
        let mut suites: Vec<_> = defaults
            .iter()
            .filter(|suite| suite.tls13().is_some() == tls13)
            .copied()
            .collect();
        if !wanted.is_empty() {
            suites.retain(|suite| wanted.contains(&suite.suite()));
            suites.sort_by_key(|suite| wanted.iter().position(|number| *number == suite.suite()));
        }
        provider.cipher_suites.extend(suites);
    }
    provider
}

fn roots(anchors: &TlsAnchors) -> Result<RootCertStore, HttpConfigError> {
    let mut store = RootCertStore::empty();
    match anchors {
        TlsAnchors::Certificates(anchors) => {
            for certificate in anchors.certificates() {
                store
                    .add(CertificateDer::from(certificate.der().to_vec()))
                    .map_err(|error| HttpConfigError::Tls(format!("anchor: {error}")))?;
            }
        }
        TlsAnchors::System => {
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if store.is_empty() {
        Err(HttpConfigError::NoAnchors)
    } else {
        Ok(store)
    }
}

/// What a failure of TLS means: distrust of the server, settings that cannot work, or something that may pass.
pub(super) fn kind(error: &rustls::Error) -> TransportErrorKind {
    use rustls::{AlertDescription as Alert, Error};
    match error {
        Error::InvalidCertificate(_) | Error::NoCertificatesPresented => TransportErrorKind::TlsTrust,
        Error::PeerIncompatible(_) => TransportErrorKind::TlsSettings,
        Error::AlertReceived(alert) if is_refusal(*alert) => TransportErrorKind::TlsSettings,
        Error::AlertReceived(
            Alert::ProtocolVersion
            | Alert::InsufficientSecurity
            | Alert::IllegalParameter
            | Alert::UnsupportedExtension
            | Alert::UnrecognisedName
            | Alert::NoApplicationProtocol,
        ) => TransportErrorKind::TlsSettings,
        _ => TransportErrorKind::Tls,
    }
}

/// Does the server refuse us, so that it has not read what we sent behind the handshake?
pub(super) fn is_refusal(alert: rustls::AlertDescription) -> bool {
    use rustls::AlertDescription as Alert;
    matches!(
        alert,
        Alert::CertificateRequired
            | Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::AccessDenied
            | Alert::DecryptError
            | Alert::HandshakeFailure
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_and_ciphers_are_read_by_their_known_names() {
        for group in TlsGroup::ALL {
            assert_eq!(group.to_string().parse(), Ok(group));
        }
        assert_eq!("secp384r1".parse(), Ok(TlsGroup::P384));
        for cipher in TlsCipher::ALL {
            assert_eq!(cipher.to_string().parse(), Ok(cipher));
            assert_eq!(cipher.names().1.parse(), Ok(cipher));
        }
        let error = "RC4-MD5".parse::<TlsCipher>().unwrap_err();
        assert!(
            error.to_string().contains("ECDHE-RSA-AES128-GCM-SHA256"),
            "{error}"
        );
        assert!("K-163".parse::<TlsGroup>().is_err());
    }

    #[test]
    fn a_version_without_listed_ciphers_keeps_its_own() {
        let mut config = TlsConfig::new(TlsAnchors::System);
        config.ciphers = vec![
            TlsCipher::EcdheRsaAes128GcmSha256,
            TlsCipher::EcdheEcdsaAes256GcmSha384,
        ];
        config.groups = vec![TlsGroup::P384];
        let made = provider(&config);
        let (tls13, tls12): (Vec<_>, Vec<_>) = made
            .cipher_suites
            .iter()
            .partition(|suite| suite.tls13().is_some());
        assert_eq!(tls13.len(), 3);
        let tls12: Vec<_> = tls12
            .iter()
            .map(|suite: &&rustls::SupportedCipherSuite| suite.suite())
            .collect();
        assert_eq!(
            tls12,
            [
                CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
                CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
            ]
        );
        assert_eq!(made.kx_groups.len(), 1);
    }

    #[test]
    fn every_cipher_of_the_table_exists_in_the_library() {
        let known = aws_lc_rs::default_provider().cipher_suites;
        for cipher in TlsCipher::ALL {
            let suite = known.iter().find(|suite| suite.suite() == cipher.names().2);
            assert_eq!(
                suite.map(|suite| suite.tls13().is_some()),
                Some(cipher.is_tls13()),
                "{cipher}"
            );
        }
    }
}
