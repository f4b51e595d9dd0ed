//! What the command is told: its arguments, and the files beside it. Pure; nothing is written or run here.
//!
//! The wish goes in as a PKCS#10 request for every kind of enrolment (`-csr`): the command copies subject, key and
//! extensions from it, so they are the very ones that the native engine sends, and no text of ours is parsed by
//! OpenSSL's configuration language or its name parser. Keys and secrets are files; only their names are arguments.

use pki::digest::HashAlgorithm;
use pki::{
    Attribute, Certificate, CertificateRequest, Name, PrivateKey, Secret, SignatureAlgorithm, to_pem_bundle,
};
use zeroize::Zeroizing;

use super::{Connections, OpenSslConfig, Version};
use crate::engine::{
    Context, Enrolment, EnrolmentKind, KeyUsageCheck, MacResponse, Peer, Request, RevocationReason,
};
use crate::error::{CmpError, ErrorKind, Stage};
use crate::http::{HttpConfig, Scheme, TlsAnchors, TlsConfig, TlsGroup};
use crate::protection::{Credentials, MacAlgorithm};

/// Files that the command writes.
pub(super) const CERTIFICATE: &str = "certificate.pem";
pub(super) const EXTRA: &str = "extra.pem";
pub(super) const CA_PUBS: &str = "capubs.pem";
pub(super) const CHAIN: &str = "chain.pem";
/// The configuration of the library, whether or not there is anything to configure: the system's is not read.
pub(super) const CONFIGURATION: &str = "openssl.cnf";

/// Longest line that OpenSSL reads from a file with a secret.
const MAX_SECRET_BYTES: usize = 1023;
const DAY_SECONDS: u64 = 24 * 3600;

/// Everything for one run.
pub(super) struct Plan {
    pub(super) arguments: Vec<String>,
    pub(super) files: Vec<(&'static str, Zeroizing<Vec<u8>>)>,
}

/// Plans the run for a request.
///
/// # Errors
///
/// Class Misconfigured: what the command, or this version of it, cannot do.
pub(super) fn plan(
    config: &OpenSslConfig,
    version: Version,
    request: &Request,
    context: &Context<'_>,
) -> Result<Plan, CmpError> {
    let mut plan = Plan {
        arguments: vec!["cmp".to_owned()],
        files: Vec::new(),
    };
    plan.pair("-config", "");
    plan.flag("-batch");
    plan.pair("-verbosity", "6");
    match request {
        Request::Enrol(enrolment) => plan.enrolment(version, enrolment, context)?,
        Request::Revoke { certificate, reason } => plan.revocation(certificate, *reason),
        Request::General(_) => return Err(unsupported("a general message by the engine openssl")),
    }
    plan.credentials(version, context.credentials)?;
    plan.peer(context.peer, context.credentials)?;
    plan.transfer(&config.http, config.connections)?;
    let tls =
        match config.http.url.scheme() {
            Scheme::Http => None,
            Scheme::Https => Some(config.http.tls.as_ref().ok_or_else(|| {
                CmpError::settings("https needs trust anchors for the server's certificate")
            })?),
        };
    match tls {
        Some(tls) => plan.tls(version, tls)?,
        None => plan.file(CONFIGURATION, b""),
    }
    Ok(plan)
}

fn unsupported(what: impl Into<String>) -> CmpError {
    CmpError::new(Stage::Preparing, ErrorKind::Unsupported { what: what.into() })
}

impl Plan {
    fn flag(&mut self, name: &str) {
        self.arguments.push(name.to_owned());
    }

    fn pair(&mut self, name: &str, value: impl Into<String>) {
        self.arguments.push(name.to_owned());
        self.arguments.push(value.into());
    }

    fn file(&mut self, name: &'static str, contents: &[u8]) {
        self.files.push((name, Zeroizing::new(contents.to_vec())));
    }

    /// A file, and the argument that names it.
    fn with_file(&mut self, argument: &str, name: &'static str, contents: &[u8]) {
        self.pair(argument, name);
        self.file(name, contents);
    }

    fn with_certificates<'a>(
        &mut self,
        argument: &str,
        name: &'static str,
        certificates: impl IntoIterator<Item = &'a Certificate>,
    ) {
        let pem = to_pem_bundle(certificates);
        if !pem.is_empty() {
            self.with_file(argument, name, pem.as_bytes());
        }
    }

    fn with_key(&mut self, argument: &str, name: &'static str, key: &PrivateKey) -> Result<(), CmpError> {
        let pem = key
            .to_pkcs8_pem()
            .map_err(|error| CmpError::new(Stage::Preparing, ErrorKind::Pki(error)))?;
        self.with_file(argument, name, pem.as_bytes());
        Ok(())
    }

    fn enrolment(
        &mut self,
        version: Version,
        enrolment: &Enrolment,
        context: &Context<'_>,
    ) -> Result<(), CmpError> {
        let key = context
            .key
            .ok_or_else(|| CmpError::settings("an enrolment needs a new key"))?;
        if context.peer.trust.certificates.is_empty() {
            return Err(CmpError::settings(
                "there is no trust anchor for issued certificates",
            ));
        }
        let command = match &enrolment.kind {
            EnrolmentKind::Initialization => "ir",
            EnrolmentKind::Certification => "cr",
            EnrolmentKind::KeyUpdate { .. } => "kur",
            EnrolmentKind::Pkcs10 => "p10cr",
        };
        self.pair("-cmd", command);
        let csr = CertificateRequest::create(&enrolment.template, key)
            .map_err(|error| CmpError::new(Stage::Preparing, ErrorKind::Pki(error)))?;
        self.with_file("-csr", "request.pem", csr.to_pem().as_bytes());
        // A p10cr holds a signed request already: the command need not see the key.
        if enrolment.kind != EnrolmentKind::Pkcs10 {
            // Else the names of our own certificate are added to those of the request.
            self.flag("-san_nodefault");
            self.with_key("-newkey", "new.key", key)?;
            self.with_certificates(
                "-out_trusted",
                "issuers.pem",
                context.peer.trust.certificates.certificates(),
            );
        }
        if let EnrolmentKind::KeyUpdate { old } = &enrolment.kind {
            if matches!(context.credentials, Credentials::Mac { .. }) {
                return Err(CmpError::settings(
                    "a KUR is never protected by a MAC (RFC 9483, 4.1.5)",
                ));
            }
            self.with_certificates("-oldcert", "old.pem", [old.as_ref()]);
        }
        if let Some(duration) = enrolment.template.duration {
            let seconds = duration.as_secs();
            if seconds == 0 || seconds % DAY_SECONDS != 0 {
                return Err(unsupported(
                    "a validity that is not a whole number of days by the engine openssl",
                ));
            }
            if enrolment.kind != EnrolmentKind::Pkcs10 {
                self.pair("-days", (seconds / DAY_SECONDS).to_string());
            }
        }
        if let Some(profile) = &enrolment.profile {
            if !version.knows_profiles() {
                return Err(unsupported(format!(
                    "certProfile by openssl {version} (it is from 3.3 on)"
                )));
            }
            self.pair("-profile", profile);
        }
        if enrolment.implicit_confirm {
            self.flag("-implicit_confirm");
        }
        self.pair("-certout", CERTIFICATE);
        self.pair("-extracertsout", EXTRA);
        self.pair("-cacertsout", CA_PUBS);
        self.pair("-chainout", CHAIN);
        Ok(())
    }

    fn revocation(&mut self, certificate: &Certificate, reason: RevocationReason) {
        self.pair("-cmd", "rr");
        self.with_certificates("-oldcert", "old.pem", [certificate]);
        // No reason is said by leaving the extension out (RFC 5280, 5.3.1).
        if reason != RevocationReason::Unspecified {
            self.pair("-revreason", reason.code().to_string());
        }
    }

    fn credentials(&mut self, version: Version, credentials: &Credentials) -> Result<(), CmpError> {
        match credentials {
            Credentials::Mac {
                reference,
                secret,
                algorithm,
            } => {
                let reference = std::str::from_utf8(reference)
                    .ok()
                    .filter(|text| !text.contains('\0'));
                let reference = reference
                    .ok_or_else(|| unsupported("a MAC reference that is not text by the engine openssl"))?;
                self.pair("-ref", reference);
                self.pair("-mac", mac(*algorithm)?);
                self.pair("-secret", "file:secret");
                self.file("secret", secret_line(secret)?);
                Ok(())
            }
            Credentials::Signature {
                key,
                algorithm,
                certificate,
                chain,
            } => {
                self.with_certificates("-cert", "own.pem", [certificate]);
                self.with_key("-key", "own.key", key)?;
                self.with_certificates("-extracerts", "own-chain.pem", chain);
                self.pair("-digest", digest(version, *algorithm)?);
                Ok(())
            }
        }
    }

    fn peer(&mut self, peer: &Peer, credentials: &Credentials) -> Result<(), CmpError> {
        let recipient = peer.recipient.as_ref().filter(|name| !name.is_empty());
        self.pair("-recipient", recipient.map_or(Ok("/".to_owned()), slash)?);
        if let Some(sender) = peer
            .expected_sender
            .as_ref()
            .filter(|name| !name.is_empty())
            .or(recipient)
        {
            self.pair("-expect_sender", slash(sender)?);
        }
        let mac_only = peer.policy.mac_response == MacResponse::MacOnly;
        match credentials {
            Credentials::Mac { .. } if mac_only => (),
            Credentials::Signature { .. } if peer.trust.responses.is_empty() => {
                return Err(CmpError::settings("there is no trust anchor for signed answers"));
            }
            Credentials::Mac { .. } | Credentials::Signature { .. } => {
                self.with_certificates("-trusted", "signers.pem", peer.trust.responses.certificates());
            }
        }
        self.with_certificates("-untrusted", "untrusted.pem", &peer.trust.untrusted);
        // An anchor need not be self-signed.
        self.flag("-partial_chain");
        match peer.policy.key_usage {
            KeyUsageCheck::Warn => self.flag("-ignore_keyusage"),
            KeyUsageCheck::Strict => (),
        }
        Ok(())
    }

    fn transfer(&mut self, http: &HttpConfig, connections: Connections) -> Result<(), CmpError> {
        self.pair("-server", http.url.host_and_port());
        let path = http.url.path().trim_start_matches('/');
        if !path.is_empty() {
            self.pair("-path", path);
        }
        self.pair(
            "-keep_alive",
            match connections {
                Connections::PerMessage => "0",
                Connections::Kept => "1",
            },
        );
        self.pair("-msg_timeout", whole_seconds(http.request_timeout));
        self.pair("-total_timeout", whole_seconds(http.total_timeout));
        if let Some(proxy) = http.proxy.as_ref().filter(|_| !http.no_proxy.matches(&http.url)) {
            if proxy.credentials.is_some() {
                return Err(unsupported("a proxy with a password by the engine openssl"));
            }
            if proxy.url.scheme() == Scheme::Https {
                return Err(CmpError::settings("the proxy must have an http URL"));
            }
            self.pair("-proxy", format!("http://{}", proxy.url.host_and_port()));
        }
        Ok(())
    }

    fn tls(&mut self, version: Version, tls: &TlsConfig) -> Result<(), CmpError> {
        let anchors = match &tls.anchors {
            TlsAnchors::Certificates(anchors) => anchors.certificates().to_vec(),
            TlsAnchors::System => system_anchors(),
        };
        if anchors.is_empty() {
            // Without this file the command does not check the server's certificate at all.
            return Err(CmpError::settings(
                "https needs trust anchors for the server's certificate",
            ));
        }
        self.flag("-tls_used");
        self.with_certificates("-tls_trusted", "tls-anchors.pem", &anchors);
        if let Some(name) = &tls.server_name {
            self.pair("-tls_host", name);
        }
        if let Some(identity) = &tls.identity {
            self.with_certificates("-tls_cert", "tls.pem", &identity.chain);
            self.with_key("-tls_key", "tls.key", &identity.key)?;
        }
        let text = tls_configuration(version, tls)?;
        self.file(CONFIGURATION, text.as_bytes());
        Ok(())
    }
}

fn system_anchors() -> Vec<Certificate> {
    let found = rustls_native_certs::load_native_certs().certs;
    found
        .iter()
        .filter_map(|der| Certificate::from_der(der).ok())
        .collect()
}

/// OpenSSL's own configuration for what has no argument. All words come from closed sets.
fn tls_configuration(version: Version, tls: &TlsConfig) -> Result<String, CmpError> {
    let mut lines = vec![
        "openssl_conf = occm".to_owned(),
        "[occm]".to_owned(),
        "ssl_conf = modules".to_owned(),
        "[modules]".to_owned(),
        "system_default = tls".to_owned(),
        "[tls]".to_owned(),
        format!("MinProtocol = {}", tls.min_version.openssl_name()),
    ];
    let list = |names: Vec<&str>| names.join(":");
    if !tls.groups.is_empty() {
        let known =
            |group: &&TlsGroup| **group != TlsGroup::X25519MlKem768 || version >= Version::new(3, 5, 0);
        let groups = list(
            tls.groups
                .iter()
                .filter(known)
                .map(|group| group.openssl_name())
                .collect(),
        );
        if groups.is_empty() {
            return Err(unsupported(format!(
                "each of the TLS groups by openssl {version}"
            )));
        }
        lines.push(format!("Groups = {groups}"));
    }
    for (word, tls13) in [("Ciphersuites", true), ("CipherString", false)] {
        let ciphers = tls.ciphers.iter().filter(|cipher| cipher.is_tls13() == tls13);
        let names = list(ciphers.map(|cipher| cipher.openssl_name()).collect());
        if !names.is_empty() {
            lines.push(format!("{word} = {names}"));
        }
    }
    Ok(lines.join("\n") + "\n")
}

/// At least 1: zero would mean for ever.
fn whole_seconds(time: std::time::Duration) -> String {
    time.as_millis().div_ceil(1000).max(1).to_string()
}

/// A name in the form `/type=value/..`, if the command can read it without loss.
fn slash(name: &Name) -> Result<String, CmpError> {
    let known = |attribute: &Attribute| {
        let numeric = attribute
            .type_name()
            .starts_with(|sign: char| sign.is_ascii_digit());
        !numeric && attribute.text().is_some()
    };
    if name.rdns().iter().flatten().all(known) {
        Ok(name.to_slash())
    } else {
        Err(unsupported(
            "a recipient or sender with an attribute that is not text of a known type by the engine openssl",
        ))
    }
}

/// The content of the file with the secret: OpenSSL takes its first line.
fn secret_line(secret: &Secret) -> Result<&[u8], CmpError> {
    let bytes = secret.expose();
    if bytes.is_empty()
        || bytes.len() > MAX_SECRET_BYTES
        || bytes.iter().any(|byte| matches!(byte, 0 | b'\n' | b'\r'))
    {
        return Err(unsupported(
            "a secret that is empty, longer than 1023 bytes, or holds a line break or a zero byte by the engine openssl",
        ));
    }
    Ok(bytes)
}

fn mac(algorithm: MacAlgorithm) -> Result<&'static str, CmpError> {
    match algorithm {
        MacAlgorithm::Pbmac1 { .. } => Err(unsupported("PBMAC1 by the engine openssl (no version has it)")),
        MacAlgorithm::Pbm {
            owf: HashAlgorithm::Sha256,
            mac,
            ..
        } => Ok(match mac {
            HashAlgorithm::Sha1 => "hmacWithSHA1",
            HashAlgorithm::Sha256 => "hmacWithSHA256",
            HashAlgorithm::Sha384 => "hmacWithSHA384",
            HashAlgorithm::Sha512 => "hmacWithSHA512",
        }),
        MacAlgorithm::Pbm { .. } => Err(unsupported(
            "a password-based MAC with another one-way function than SHA-256 by the engine openssl",
        )),
    }
}

fn digest(version: Version, algorithm: SignatureAlgorithm) -> Result<&'static str, CmpError> {
    use SignatureAlgorithm as Algorithm;
    match algorithm {
        Algorithm::RsaPkcs1Sha256 | Algorithm::EcdsaSha256 => Ok("sha256"),
        Algorithm::RsaPkcs1Sha384 | Algorithm::EcdsaSha384 => Ok("sha384"),
        Algorithm::RsaPkcs1Sha512 | Algorithm::EcdsaSha512 => Ok("sha512"),
        Algorithm::Ed25519 if version.signs_with_ed25519() => Ok("sha512"),
        Algorithm::Ed25519 => Err(unsupported(format!("signing with Ed25519 by openssl {version}"))),
        Algorithm::RsaPssSha256 | Algorithm::RsaPssSha384 | Algorithm::RsaPssSha512 => {
            Err(unsupported("signing with RSA-PSS by the engine openssl"))
        }
    }
}
