//! The plan of an Issuer.

use std::collections::BTreeSet;
use std::time::Duration;

use pki::{CertificateTemplate, KeyAlgorithm, Name};

use crate::model::field::{FieldErrors, shown};
use crate::model::issuer::{
    CertificateAuthSpec, Confirmation, EngineKind, EnrolmentMessage, HttpVersion, IdentitySpec, IssuerSpec,
    KeyRef, MacAlgorithmSpec, MacHash, Modifications, SignerKeyUsage, TlsSpec, TlsVersion, TrustSource,
    UpdateSigner,
};
use crate::model::object::ObjectKey;
use crate::model::plan::{
    InputKey, InputRef, check_data_key, check_namespace, check_object_name, duration, key_algorithm, name,
};

/// A checked Issuer.
#[derive(Clone, Debug, PartialEq)]
pub struct IssuerPlan {
    /// Which Issuer.
    pub key: ObjectKey,
    /// Address of the CMP endpoint.
    pub url: String,
    /// Who speaks CMP.
    pub engine: EngineKind,
    /// Name that messages are addressed to.
    pub recipient: Option<Name>,
    /// Name that must have protected the answers.
    pub expected_sender: Option<Name>,
    /// What protects a key update.
    pub key_update_signer: UpdateSigner,
    /// What protects a revocation request.
    pub revocation_signer: UpdateSigner,
    /// First contact.
    pub initial: InitialPlan,
    /// The CMP identity, if one is wished for.
    pub identity: Option<IdentityPlan>,
    /// Anchors for CMP answers.
    pub trust_responses: Option<InputKey>,
    /// Anchors for issued certificates.
    pub trust_certificates: Option<InputKey>,
    /// TLS, if the address is `https`.
    pub tls: Option<TlsPlan>,
    /// HTTP version, proxy and time limits.
    pub http: HttpPlan,
    /// Whether certificates are confirmed.
    pub confirmation: Confirmation,
    /// Message of a first enrolment.
    pub enrolment: EnrolmentMessage,
    /// Certificate profile.
    pub profile: Option<String>,
    /// What to do with a certificate that differs from the request.
    pub modifications: Modifications,
    /// Whether signers must have `digital signature`.
    pub signer_key_usage: SignerKeyUsage,
    /// Requests in a second.
    pub rate_per_second: Option<u32>,
    /// Exchanges at one time.
    pub concurrency: usize,
    /// How long the same bytes are sent again.
    pub resend_window: Duration,
    /// Other namespaces that may use it.
    pub allowed_namespaces: BTreeSet<String>,
}

/// First contact with a CA.
#[derive(Clone, Debug, PartialEq)]
pub enum InitialPlan {
    /// A shared secret.
    Mac {
        /// `senderKID`.
        reference: String,
        /// Where the secret lies.
        secret: InputKey,
        /// How the key is derived.
        algorithm: MacAlgorithmSpec,
        /// Iterations of the derivation.
        iterations: u32,
        /// Hash of the HMAC.
        hash: MacHash,
    },
    /// A certificate and its key.
    Certificate(KeyPairInput),
}

/// Where a certificate and its key lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPairInput {
    /// The certificate and its chain.
    pub certificate: InputKey,
    /// The private key.
    pub private_key: InputKey,
}

/// The wish for a CMP identity.
#[derive(Clone, Debug, PartialEq)]
pub struct IdentityPlan {
    /// What is asked for.
    pub template: CertificateTemplate,
    /// Which key.
    pub key_algorithm: KeyAlgorithm,
}

/// TLS to the CA.
#[derive(Clone, Debug, PartialEq)]
pub struct TlsPlan {
    /// Anchors of the server.
    pub anchors: InputKey,
    /// Lowest version.
    pub min_version: TlsVersion,
    /// Groups in order of preference; empty = the library's.
    pub groups: Vec<String>,
    /// Cipher suites in order of preference; empty = the library's.
    pub cipher_suites: Vec<String>,
    /// Client certificate.
    pub client: Option<KeyPairInput>,
    /// Name in the server's certificate.
    pub server_name: Option<String>,
}

/// HTTP to the CA.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpPlan {
    /// Version.
    pub version: HttpVersion,
    /// Proxy.
    pub proxy: Option<String>,
    /// Hosts without it.
    pub no_proxy: Vec<String>,
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// Longest wait for one answer.
    pub request_timeout: Duration,
}

const SCHEMES: &str = "http://HOST[:PORT]/PATH or https://HOST[:PORT]/PATH";

impl IssuerPlan {
    /// Checks a spec; the error lists every wrong field.
    pub fn check(key: ObjectKey, spec: &IssuerSpec) -> Result<Self, FieldErrors> {
        let mut errors = FieldErrors::default();
        let https = check_url("spec.url", &spec.url, &mut errors);
        let namespace = key.namespace.clone();
        let trust_responses = trust(
            "spec.trust.responses",
            &namespace,
            &spec.trust.responses,
            &mut errors,
        );
        let certificates = trust(
            "spec.trust.certificates",
            &namespace,
            &spec.trust.certificates,
            &mut errors,
        );
        let tls = tls_plan(&namespace, https, spec, &mut errors);
        let initial = initial(&namespace, spec, &mut errors);
        if trust_responses.is_none() && matches!(initial, Some(InitialPlan::Certificate(_))) {
            errors.push(
                "spec.trust.responses",
                "is missing, and answers to signed requests are signed",
                "a secretRef or configMapRef with the anchors of the CA",
            );
        }
        if trust_responses.is_none() && certificates.is_none() && trust_missing_matters(spec) {
            errors.push(
                "spec.trust.certificates",
                "is missing, and trust.responses is missing too",
                "a secretRef or configMapRef with the anchors of issued certificates",
            );
        }
        if spec.engine == EngineKind::OpenSSL {
            check_openssl(spec, &mut errors);
        }
        let requests = spec.requests.clone().unwrap_or_default();
        let plan = Self {
            key,
            url: spec.url.clone(),
            engine: spec.engine,
            recipient: optional_name("spec.recipient", spec.recipient.as_deref(), &mut errors),
            expected_sender: optional_name(
                "spec.expectedSender",
                spec.expected_sender.as_deref(),
                &mut errors,
            ),
            key_update_signer: spec.key_update_signer,
            revocation_signer: spec.revocation_signer,
            identity: spec
                .authentication
                .identity
                .as_ref()
                .and_then(|i| identity(i, &mut errors)),
            trust_certificates: certificates.or_else(|| trust_responses.clone()),
            trust_responses,
            tls,
            http: http_plan(spec, &mut errors),
            confirmation: requests.confirmation,
            enrolment: requests.enrolment,
            profile: requests.certificate_profile,
            modifications: requests.modifications,
            signer_key_usage: requests.signer_key_usage,
            rate_per_second: bounded(
                "spec.requests.ratePerSecond",
                requests.rate_per_second,
                1,
                1000,
                &mut errors,
            ),
            concurrency: bounded(
                "spec.requests.concurrency",
                requests.concurrency,
                1,
                64,
                &mut errors,
            )
            .map_or(8, |n| usize::try_from(n).unwrap_or(8)),
            resend_window: resend_window(requests.resend_window.as_deref(), &mut errors),
            allowed_namespaces: allowed_namespaces(spec, &mut errors),
            initial: initial.unwrap_or_else(|| InitialPlan::Mac {
                reference: String::new(),
                secret: InputKey::secret(&namespace, "", ""),
                algorithm: MacAlgorithmSpec::PBM,
                iterations: 0,
                hash: MacHash::SHA256,
            }),
        };
        errors.or(plan)
    }

    /// Everything that this Issuer reads.
    pub fn inputs(&self) -> BTreeSet<InputRef> {
        let mut keys: Vec<&InputKey> = Vec::new();
        match &self.initial {
            InitialPlan::Mac { secret, .. } => keys.push(secret),
            InitialPlan::Certificate(pair) => keys.extend([&pair.certificate, &pair.private_key]),
        }
        keys.extend(&self.trust_responses);
        keys.extend(&self.trust_certificates);
        if let Some(tls) = &self.tls {
            keys.push(&tls.anchors);
            if let Some(pair) = &tls.client {
                keys.extend([&pair.certificate, &pair.private_key]);
            }
        }
        keys.into_iter().map(|k| k.input.clone()).collect()
    }

    /// The initial credentials' inputs: what a new bootstrap of the identity depends on.
    pub fn initial_inputs(&self) -> BTreeSet<InputRef> {
        match &self.initial {
            InitialPlan::Mac { secret, .. } => BTreeSet::from([secret.input.clone()]),
            InitialPlan::Certificate(pair) => {
                BTreeSet::from([pair.certificate.input.clone(), pair.private_key.input.clone()])
            }
        }
    }

    /// Whether a Certificate of this namespace may use the Issuer.
    pub fn allows(&self, namespace: &str) -> bool {
        namespace == self.key.namespace || self.allowed_namespaces.contains(namespace)
    }
}

fn trust_missing_matters(spec: &IssuerSpec) -> bool {
    spec.authentication.initial.mac.is_some()
}

fn check_url(path: &str, url: &str, errors: &mut FieldErrors) -> bool {
    let rest = url
        .strip_prefix("http://")
        .map(|r| (false, r))
        .or_else(|| url.strip_prefix("https://").map(|r| (true, r)));
    let Some((https, rest)) = rest else {
        errors.push(
            path,
            format!("{} has no http or https scheme", shown(url)),
            SCHEMES,
        );
        return false;
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if url.len() > 2048 || url.chars().any(|c| c.is_whitespace() || c.is_control()) {
        errors.push(path, "is too long or has white space", SCHEMES);
    } else if authority.contains('@') {
        errors.push(
            path,
            "carries a user name or password",
            "credentials in authentication, not in the address",
        );
    } else if authority.is_empty() || authority.starts_with(':') {
        errors.push(path, format!("{} has no host", shown(url)), SCHEMES);
    } else if let Some((_, port)) = authority.rsplit_once(':')
        && !authority.ends_with(']')
        && !matches!(port.parse::<u16>(), Ok(1..))
    {
        errors.push(
            path,
            format!("{} has a wrong port", shown(url)),
            "a port from 1 to 65535",
        );
    }
    https
}

fn optional_name(path: &str, text: Option<&str>, errors: &mut FieldErrors) -> Option<Name> {
    text.and_then(|t| name(path, t, errors))
}

fn trust(path: &str, namespace: &str, source: &TrustSource, errors: &mut FieldErrors) -> Option<InputKey> {
    match (&source.secret_ref, &source.config_map_ref) {
        (None, None) => None,
        (Some(reference), None) => {
            check_key_ref(&format!("{path}.secretRef"), reference, errors);
            Some(InputKey::secret(namespace, &reference.name, &reference.key))
        }
        (None, Some(reference)) => {
            check_key_ref(&format!("{path}.configMapRef"), reference, errors);
            Some(InputKey::config_map(namespace, &reference.name, &reference.key))
        }
        (Some(_), Some(_)) => {
            errors.push(path, "has secretRef and configMapRef", "one of them");
            None
        }
    }
}

fn check_key_ref(path: &str, reference: &KeyRef, errors: &mut FieldErrors) {
    check_object_name(&format!("{path}.name"), &reference.name, errors);
    check_data_key(&format!("{path}.key"), &reference.key, errors);
}

fn key_pair(
    path: &str,
    namespace: &str,
    spec: &CertificateAuthSpec,
    errors: &mut FieldErrors,
) -> KeyPairInput {
    check_object_name(&format!("{path}.secretRef.name"), &spec.secret_ref.name, errors);
    check_data_key(&format!("{path}.certificateKey"), &spec.certificate_key, errors);
    check_data_key(&format!("{path}.privateKeyKey"), &spec.private_key_key, errors);
    KeyPairInput {
        certificate: InputKey::secret(namespace, &spec.secret_ref.name, &spec.certificate_key),
        private_key: InputKey::secret(namespace, &spec.secret_ref.name, &spec.private_key_key),
    }
}

fn initial(namespace: &str, spec: &IssuerSpec, errors: &mut FieldErrors) -> Option<InitialPlan> {
    const PATH: &str = "spec.authentication.initial";
    match (
        &spec.authentication.initial.mac,
        &spec.authentication.initial.certificate,
    ) {
        (Some(mac), None) => {
            check_key_ref(&format!("{PATH}.mac.secretRef"), &mac.secret_ref, errors);
            if mac.reference_value.is_empty() || mac.reference_value.len() > 256 {
                errors.push(
                    format!("{PATH}.mac.referenceValue"),
                    "is empty or too long",
                    "1 to 256 bytes",
                );
            }
            let default = match mac.algorithm {
                MacAlgorithmSpec::PBM => 1024,
                MacAlgorithmSpec::PBMAC1 => 10_000,
            };
            let path = format!("{PATH}.mac.iterations");
            let iterations = bounded(&path, mac.iterations, 100, 100_000, errors).unwrap_or(default);
            if mac.algorithm == MacAlgorithmSpec::PBMAC1 && mac.hash == MacHash::SHA1 {
                errors.push(
                    format!("{PATH}.mac.hash"),
                    "SHA1 does not go with PBMAC1",
                    "SHA256, SHA384 or SHA512",
                );
            }
            Some(InitialPlan::Mac {
                reference: mac.reference_value.clone(),
                secret: InputKey::secret(namespace, &mac.secret_ref.name, &mac.secret_ref.key),
                algorithm: mac.algorithm,
                iterations,
                hash: mac.hash,
            })
        }
        (None, Some(certificate)) => {
            let path = format!("{PATH}.certificate");
            Some(InitialPlan::Certificate(key_pair(
                &path,
                namespace,
                certificate,
                errors,
            )))
        }
        (None, None) => {
            errors.push(
                PATH,
                "has neither mac nor certificate",
                "exactly one of mac and certificate",
            );
            None
        }
        (Some(_), Some(_)) => {
            errors.push(
                PATH,
                "has both mac and certificate",
                "exactly one of mac and certificate",
            );
            None
        }
    }
}

fn identity(spec: &IdentitySpec, errors: &mut FieldErrors) -> Option<IdentityPlan> {
    const PATH: &str = "spec.authentication.identity";
    let wish = crate::model::certificate::CertificateSpec {
        common_name: spec.common_name.clone(),
        literal_subject: spec.literal_subject.clone(),
        dns_names: spec.dns_names.clone(),
        duration: spec.duration.clone(),
        usages: vec!["digital signature".to_owned()],
        ..Default::default()
    };
    let key_algorithm = key_algorithm(
        &format!("{PATH}.privateKey"),
        &spec.private_key.clone().unwrap_or_default(),
        errors,
    );
    let template = super::certificate::template(PATH, &wish, key_algorithm, errors)?;
    Some(IdentityPlan {
        template,
        key_algorithm,
    })
}

fn tls_plan(namespace: &str, https: bool, spec: &IssuerSpec, errors: &mut FieldErrors) -> Option<TlsPlan> {
    let anchors = trust("spec.trust.tls", namespace, &spec.trust.tls, errors);
    if !https {
        if spec.tls.is_some() {
            errors.push(
                "spec.tls",
                "goes with an https address only",
                "no tls, or an https address in spec.url",
            );
        }
        return None;
    }
    let Some(anchors) = anchors else {
        errors.push(
            "spec.trust.tls",
            "is missing and the address is https",
            "a secretRef or configMapRef with the anchors of the TLS server",
        );
        return None;
    };
    let tls: TlsSpec = spec.tls.clone().unwrap_or_default();
    Some(TlsPlan {
        anchors,
        min_version: tls.min_version.unwrap_or(TlsVersion::V1_2),
        groups: tls.groups,
        cipher_suites: tls.cipher_suites,
        client: tls
            .client_certificate
            .map(|c| key_pair("spec.tls.clientCertificate", namespace, &c, errors)),
        server_name: tls.server_name,
    })
}

fn http_plan(spec: &IssuerSpec, errors: &mut FieldErrors) -> HttpPlan {
    let http = spec.http.clone().unwrap_or_default();
    let second = Duration::from_secs(1);
    if let Some(proxy) = &http.proxy {
        check_proxy("spec.http.proxy", proxy, errors);
    }
    let connect = duration(
        "spec.http.connectTimeout",
        http.connect_timeout.as_deref(),
        second,
        errors,
    );
    let request = duration(
        "spec.http.requestTimeout",
        http.request_timeout.as_deref(),
        second,
        errors,
    );
    at_most(
        "spec.http.connectTimeout",
        connect,
        Duration::from_secs(60),
        errors,
    );
    at_most(
        "spec.http.requestTimeout",
        request,
        Duration::from_secs(600),
        errors,
    );
    HttpPlan {
        version: http.version.unwrap_or(HttpVersion::V1_1),
        proxy: http.proxy,
        no_proxy: http.no_proxy,
        connect_timeout: connect.unwrap_or(Duration::from_secs(10)),
        request_timeout: request.unwrap_or(Duration::from_secs(30)),
    }
}

fn check_proxy(path: &str, proxy: &str, errors: &mut FieldErrors) {
    if !proxy.starts_with("http://") {
        errors.push(
            path,
            format!("{} has no http scheme", shown(proxy)),
            "http://HOST:PORT",
        );
    }
}

fn at_most(path: &str, value: Option<Duration>, limit: Duration, errors: &mut FieldErrors) {
    if value.is_some_and(|v| v > limit) {
        errors.push(
            path,
            "is too long",
            format!("at most {}", crate::model::duration::format(limit)),
        );
    }
}

fn resend_window(text: Option<&str>, errors: &mut FieldErrors) -> Duration {
    let value = duration("spec.requests.resendWindow", text, Duration::ZERO, errors);
    at_most(
        "spec.requests.resendWindow",
        value,
        Duration::from_secs(1800),
        errors,
    );
    value.unwrap_or(Duration::from_secs(300))
}

fn bounded(path: &str, value: Option<u32>, low: u32, high: u32, errors: &mut FieldErrors) -> Option<u32> {
    let value = value?;
    if !(low..=high).contains(&value) {
        errors.push(
            path,
            format!("{value} is out of range"),
            format!("{low} to {high}"),
        );
    }
    Some(value)
}

fn allowed_namespaces(spec: &IssuerSpec, errors: &mut FieldErrors) -> BTreeSet<String> {
    for (i, namespace) in spec.allowed_namespaces.iter().enumerate() {
        check_namespace(&format!("spec.allowedNamespaces[{i}]"), namespace, errors);
    }
    spec.allowed_namespaces.iter().cloned().collect()
}

/// What the `openssl cmp` command cannot be told.
fn check_openssl(spec: &IssuerSpec, errors: &mut FieldErrors) {
    let Some(mac) = &spec.authentication.initial.mac else {
        return;
    };
    const PATH: &str = "spec.authentication.initial.mac";
    if mac.algorithm == MacAlgorithmSpec::PBMAC1 {
        errors.push(
            format!("{PATH}.algorithm"),
            "PBMAC1 does not go with engine OpenSSL",
            "PBM, or engine Native",
        );
    }
    if mac.iterations.is_some() {
        errors.push(
            format!("{PATH}.iterations"),
            "cannot be set with engine OpenSSL",
            "no iterations, or engine Native",
        );
    }
}
