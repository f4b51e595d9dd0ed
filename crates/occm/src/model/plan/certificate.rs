//! The plan of a Certificate.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use litemap::LiteMap;
use pki::{CertificateTemplate, KeyAlgorithm, Name, San, Usages};
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::model::certificate::{
    CertificateSpec, Existing, Format, OnDelete, OnDrift, OutputKey, OutputSpec, Part, PrivateKeyEncoding,
    Purpose, RotationPolicy, SubjectSpec,
};
use crate::model::field::{FieldErrors, problem_of, shown};
use crate::model::object::{GROUP, ObjectKey};
use crate::model::plan::{
    MAX_SANS, SanKind, check_data_key, check_namespace, check_object_name, duration, key_algorithm, name,
    sans,
};
use crate::store::ContentHash;

/// Type of a Secret for TLS.
pub const TLS_TYPE: &str = "kubernetes.io/tls";
/// Type of any other Secret.
pub const OPAQUE_TYPE: &str = "Opaque";

/// A checked Certificate.
#[derive(Clone, Debug, PartialEq)]
pub struct CertificatePlan {
    /// Which Certificate.
    pub key: ObjectKey,
    /// Its Issuer.
    pub issuer: ObjectKey,
    /// What is asked of the CA.
    pub template: CertificateTemplate,
    /// Which key.
    pub key_algorithm: KeyAlgorithm,
    /// Whether a renewal makes a new key.
    pub rotation: KeyRotation,
    /// When to renew.
    pub renew: RenewRule,
    /// Where everything goes.
    pub outputs: Vec<OutputPlan>,
    /// What to do on drift.
    pub on_drift: OnDrift,
    /// What to do on deletion.
    pub on_delete: OnDelete,
    /// What to do with foreign Secrets.
    pub existing: Existing,
    /// What it is for.
    pub purpose: Purpose,
    /// Whether the record keeps the private key.
    pub keep_copy: bool,
    /// Hash of [`Self::wish`].
    pub wish_hash: ContentHash,
}

/// Whether a renewal makes a new key.
pub type KeyRotation = RotationPolicy;

/// When a certificate is renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenewRule {
    /// At two thirds of the actual life.
    Default,
    /// So long before its end.
    Before(Duration),
    /// When so many percent of the actual life are left.
    Percentage(u32),
}

/// One output: a Secret and what goes into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputPlan {
    /// The Secret.
    pub secret: ObjectKey,
    /// Its type.
    pub kind: SmolStr,
    /// What goes under which key.
    pub keys: Arc<Layout>,
    /// Labels besides ours.
    pub labels: BTreeMap<String, String>,
    /// Annotations besides ours.
    pub annotations: BTreeMap<String, String>,
}

/// Which part goes under which key of a Secret.
pub type Layout = LiteMap<SmolStr, OutputKey>;

/// What a wish comes down to when one asks "has it changed?": what the CA is asked for, and nothing else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NormalWish {
    /// Version of this normalisation.
    pub version: u32,
    /// What is asked of the CA.
    pub template: CertificateTemplate,
    /// Which key.
    pub key_algorithm: KeyAlgorithm,
}

impl NormalWish {
    /// Version that this program writes.
    pub const VERSION: u32 = 1;

    fn new(template: &CertificateTemplate, key_algorithm: KeyAlgorithm) -> Self {
        Self {
            version: Self::VERSION,
            template: template.clone(),
            key_algorithm,
        }
    }

    /// SHA-256 over the canonical JSON form.
    pub fn hash(&self) -> ContentHash {
        ContentHash::of(&serde_json::to_vec(self).unwrap_or_default())
    }

    /// The hash of the wish for this.
    pub fn hash_of(template: &CertificateTemplate, key_algorithm: KeyAlgorithm) -> ContentHash {
        Self::new(template, key_algorithm).hash()
    }
}

impl CertificatePlan {
    /// Checks a spec; the error lists every wrong field.
    ///
    /// `home` is occm's own namespace: only there may a Certificate name outputs elsewhere, and only an Issuer of that
    /// namespace may be used from another one.
    pub fn check(key: ObjectKey, spec: &CertificateSpec, home: &str) -> Result<Self, FieldErrors> {
        let mut errors = FieldErrors::default();
        let private_key = spec.private_key.clone().unwrap_or_default();
        let key_algorithm = key_algorithm("spec.privateKey", &private_key, &mut errors);
        let issuer = issuer_ref(&key, spec, home, &mut errors);
        let template = template("spec", spec, key_algorithm, &mut errors);
        check_names_present(spec, &mut errors);
        let outputs = outputs(&key, spec, home, key_algorithm, &mut errors);
        let renew = renew_rule(spec, &mut errors);
        check_secret_template(spec, &mut errors);
        let Some(template) = template else {
            return Err(errors);
        };
        errors.or(Self {
            key,
            issuer,
            wish_hash: NormalWish::hash_of(&template, key_algorithm),
            template,
            key_algorithm,
            rotation: private_key.rotation_policy,
            renew,
            outputs,
            on_drift: spec.on_drift,
            on_delete: spec.on_delete,
            existing: spec.existing,
            purpose: spec.purpose,
            keep_copy: spec.keep_copy,
        })
    }

    /// The wish as it is compared with the wish of the current certificate.
    pub fn wish(&self) -> NormalWish {
        NormalWish::new(&self.template, self.key_algorithm)
    }
}

/// The Secrets that a spec names as outputs, each once, whether or not the rest of it is right: a repair needs no more.
pub fn named_outputs(key: &ObjectKey, spec: &CertificateSpec) -> Box<[ObjectKey]> {
    let short = spec
        .secret_name
        .iter()
        .map(|name| ObjectKey::new(key.namespace.clone(), name));
    let long = spec.outputs.iter().map(|output| secret_key(key, output));
    let named: BTreeSet<ObjectKey> = short.chain(long).collect();
    named.into_iter().collect()
}

fn secret_key(key: &ObjectKey, output: &OutputSpec) -> ObjectKey {
    let namespace = output
        .secret
        .namespace
        .as_ref()
        .map_or_else(|| key.namespace.clone(), Into::into);
    ObjectKey::new(namespace, &output.secret.name)
}

fn issuer_ref(key: &ObjectKey, spec: &CertificateSpec, home: &str, errors: &mut FieldErrors) -> ObjectKey {
    let reference = &spec.issuer_ref;
    check_object_name("spec.issuerRef.name", &reference.name, errors);
    if reference.kind.as_deref().is_some_and(|kind| kind != "Issuer") {
        errors.push("spec.issuerRef.kind", "is not a kind of occm", "Issuer");
    }
    if reference.group.as_deref().is_some_and(|group| group != GROUP) {
        errors.push("spec.issuerRef.group", "is not the group of occm", GROUP);
    }
    let namespace = reference.namespace.as_deref().unwrap_or(&key.namespace);
    if namespace != key.namespace && namespace != home {
        errors.push(
            "spec.issuerRef.namespace",
            format!("{} is another namespace", shown(namespace)),
            format!("the Certificate's own namespace or {home}"),
        );
    }
    ObjectKey::new(namespace, &reference.name)
}

/// What is asked of the CA.
pub(super) fn template(
    path: &str,
    spec: &CertificateSpec,
    key_algorithm: KeyAlgorithm,
    errors: &mut FieldErrors,
) -> Option<CertificateTemplate> {
    let subject = subject(path, spec, errors)?;
    let mut names: Vec<San> = Vec::new();
    sans(
        SanKind::Dns,
        &format!("{path}.dnsNames"),
        &spec.dns_names,
        &mut names,
        errors,
    );
    sans(
        SanKind::Ip,
        &format!("{path}.ipAddresses"),
        &spec.ip_addresses,
        &mut names,
        errors,
    );
    sans(
        SanKind::Uri,
        &format!("{path}.uris"),
        &spec.uris,
        &mut names,
        errors,
    );
    sans(
        SanKind::Email,
        &format!("{path}.emailAddresses"),
        &spec.email_addresses,
        &mut names,
        errors,
    );
    if names.len() > MAX_SANS {
        errors.push(
            path,
            format!("has {} alternative names", names.len()),
            format!("at most {MAX_SANS}"),
        );
    }
    names.shrink_to_fit();
    let usages = usages(path, spec, key_algorithm, errors);
    let life = duration(
        &format!("{path}.duration"),
        spec.duration.as_deref(),
        Duration::from_secs(60),
        errors,
    );
    Some(CertificateTemplate {
        subject,
        sans: names,
        key_usage: usages.key_usage,
        extended_key_usages: usages.extended_key_usages,
        is_ca: spec.is_ca,
        duration: life,
    })
}

fn subject(path: &str, spec: &CertificateSpec, errors: &mut FieldErrors) -> Option<Name> {
    if let Some(literal) = &spec.literal_subject {
        if spec.common_name.is_some() || spec.subject.is_some() {
            errors.push(
                format!("{path}.literalSubject"),
                "excludes commonName and subject",
                "literalSubject alone, or commonName and subject",
            );
        }
        return name(&format!("{path}.literalSubject"), literal, errors);
    }
    let mut parts: Vec<(&str, &str)> = Vec::new();
    let empty = SubjectSpec::default();
    let subject = spec.subject.as_ref().unwrap_or(&empty);
    let lists = [
        ("C", "countries", &subject.countries),
        ("ST", "provinces", &subject.provinces),
        ("L", "localities", &subject.localities),
        ("O", "organizations", &subject.organizations),
        ("OU", "organizationalUnits", &subject.organizational_units),
    ];
    for (kind, field, values) in lists {
        for (i, value) in values.iter().enumerate() {
            check_name_part(&format!("{path}.subject.{field}[{i}]"), value, errors);
            parts.push((kind, value));
        }
    }
    if let Some(common_name) = &spec.common_name {
        check_name_part(&format!("{path}.commonName"), common_name, errors);
        parts.push(("CN", common_name));
    }
    if let Some(serial) = &subject.serial_number {
        check_name_part(&format!("{path}.subject.serialNumber"), serial, errors);
        parts.push(("serialNumber", serial));
    }
    match Name::from_parts(&parts) {
        Ok(name) => Some(name),
        Err(error) => {
            errors.push(
                format!("{path}.subject"),
                format!("cannot be used: {error}"),
                "printable text",
            );
            None
        }
    }
}

fn check_name_part(path: &str, value: &str, errors: &mut FieldErrors) {
    let length = value.chars().count();
    if length == 0 || length > 64 {
        errors.push(
            path,
            format!("{} has {length} characters", shown(value)),
            "1 to 64 characters",
        );
    }
}

fn check_names_present(spec: &CertificateSpec, errors: &mut FieldErrors) {
    let no_subject = spec.common_name.is_none() && spec.literal_subject.is_none() && spec.subject.is_none();
    let no_names = spec.dns_names.is_empty()
        && spec.ip_addresses.is_empty()
        && spec.uris.is_empty()
        && spec.email_addresses.is_empty();
    if no_subject && no_names {
        errors.push(
            "spec",
            "names nothing to certify",
            "at least one of commonName, literalSubject, subject, dnsNames, ipAddresses, uris, emailAddresses",
        );
    }
}

fn usages(
    path: &str,
    spec: &CertificateSpec,
    key_algorithm: KeyAlgorithm,
    errors: &mut FieldErrors,
) -> Usages {
    let mut usages = Usages::default();
    for (i, word) in spec.usages.iter().enumerate() {
        if let Err(error) = usages.add(word) {
            let problem = format!("{} cannot be used: {}", shown(word), problem_of(&error));
            errors.push(format!("{path}.usages[{i}]"), problem, Usages::ALLOWED);
        }
    }
    if spec.usages.is_empty() {
        let rsa = matches!(
            key_algorithm,
            KeyAlgorithm::Rsa2048 | KeyAlgorithm::Rsa3072 | KeyAlgorithm::Rsa4096
        );
        let default: &[&str] = if spec.is_ca {
            &["cert sign", "crl sign"]
        } else if rsa {
            &["digital signature", "key encipherment"]
        } else {
            &["digital signature"]
        };
        for word in default {
            // The words are ours and known to be usages.
            let _ = usages.add(word);
        }
    }
    usages
}

fn renew_rule(spec: &CertificateSpec, errors: &mut FieldErrors) -> RenewRule {
    let before = duration(
        "spec.renewBefore",
        spec.renew_before.as_deref(),
        Duration::from_secs(10),
        errors,
    );
    if let (Some(before), Some(life)) = (before, spec.duration.as_deref())
        && let Ok(life) = crate::model::duration::parse(life)
        && before >= life
    {
        errors.push(
            "spec.renewBefore",
            "is not shorter than duration",
            "less than spec.duration",
        );
    }
    match (before, spec.renew_before_percentage) {
        (None, None) => RenewRule::Default,
        (Some(before), None) => RenewRule::Before(before),
        (None, Some(percent @ 1..=99)) => RenewRule::Percentage(percent),
        (None, Some(percent)) => {
            errors.push(
                "spec.renewBeforePercentage",
                format!("{percent} is out of range"),
                "1 to 99",
            );
            RenewRule::Default
        }
        (Some(_), Some(_)) => {
            errors.push(
                "spec.renewBeforePercentage",
                "excludes renewBefore",
                "one of the two",
            );
            RenewRule::Default
        }
    }
}

fn check_secret_template(spec: &CertificateSpec, errors: &mut FieldErrors) {
    let Some(template) = &spec.secret_template else {
        return;
    };
    for (field, map) in [
        ("labels", &template.labels),
        ("annotations", &template.annotations),
    ] {
        if map.len() > 64 {
            errors.push(
                format!("spec.secretTemplate.{field}"),
                "has too many entries",
                "at most 64",
            );
        }
        for key in map.keys() {
            if key.is_empty() || key.starts_with("occm.dev/") || key.len() > 317 {
                let path = format!("spec.secretTemplate.{field}[{}]", shown(key));
                errors.push(path, "cannot be set", "keys outside occm.dev/, at most 317 bytes");
            }
        }
    }
}

fn outputs(
    key: &ObjectKey,
    spec: &CertificateSpec,
    home: &str,
    algorithm: KeyAlgorithm,
    errors: &mut FieldErrors,
) -> Vec<OutputPlan> {
    let template = spec.secret_template.clone().unwrap_or_default();
    let mut plans: Vec<OutputPlan> = Vec::new();
    if let Some(secret_name) = &spec.secret_name {
        check_object_name("spec.secretName", secret_name, errors);
        plans.push(OutputPlan {
            secret: ObjectKey::new(key.namespace.clone(), secret_name),
            kind: SmolStr::new_static(TLS_TYPE),
            keys: tls_layout(spec),
            labels: template.labels.clone(),
            annotations: template.annotations.clone(),
        });
    }
    for (i, output) in spec.outputs.iter().enumerate() {
        let path = format!("spec.outputs[{i}]");
        check_output(&path, key, output, home, algorithm, errors);
        let plan = OutputPlan {
            secret: secret_key(key, output),
            kind: output.secret.kind.as_deref().unwrap_or(OPAQUE_TYPE).into(),
            keys: Arc::new(
                output
                    .keys
                    .iter()
                    .map(|(key, wanted)| (key.into(), *wanted))
                    .collect(),
            ),
            labels: template.labels.clone(),
            annotations: template.annotations.clone(),
        };
        if plans.iter().any(|p| p.secret == plan.secret) {
            let problem = format!("{} is named twice", shown(&plan.secret.name));
            errors.push(
                format!("{path}.secret.name"),
                problem,
                "one output for each Secret",
            );
        }
        plans.push(plan);
    }
    if plans.is_empty() && spec.purpose == Purpose::EndEntity {
        errors.push(
            "spec",
            "has neither secretName nor outputs",
            "at least one of them",
        );
    }
    plans.shrink_to_fit();
    plans
}

/// What goes into the Secret of `secretName`: one copy for all.
fn tls_layout(spec: &CertificateSpec) -> Arc<Layout> {
    static PKCS8: LazyLock<Arc<Layout>> = LazyLock::new(|| tls_layout_with(Format::PKCS8PEM));
    static PKCS1: LazyLock<Arc<Layout>> = LazyLock::new(|| tls_layout_with(Format::PKCS1PEM));
    let encoding = spec
        .private_key
        .as_ref()
        .map_or(PrivateKeyEncoding::PKCS8, |k| k.encoding);
    match encoding {
        PrivateKeyEncoding::PKCS8 => Arc::clone(&PKCS8),
        PrivateKeyEncoding::PKCS1 => Arc::clone(&PKCS1),
    }
}

fn tls_layout_with(key_format: Format) -> Arc<Layout> {
    Arc::new(Layout::from_iter([
        (
            SmolStr::new_static("tls.key"),
            OutputKey {
                part: Part::Key,
                format: key_format,
            },
        ),
        (
            SmolStr::new_static("tls.crt"),
            OutputKey {
                part: Part::CertificateAndChain,
                format: Format::PEM,
            },
        ),
        (
            SmolStr::new_static("ca.crt"),
            OutputKey {
                part: Part::CA,
                format: Format::PEM,
            },
        ),
    ]))
}

fn check_output(
    path: &str,
    key: &ObjectKey,
    output: &OutputSpec,
    home: &str,
    algorithm: KeyAlgorithm,
    errors: &mut FieldErrors,
) {
    check_object_name(&format!("{path}.secret.name"), &output.secret.name, errors);
    if let Some(namespace) = &output.secret.namespace {
        check_namespace(&format!("{path}.secret.namespace"), namespace, errors);
        if *namespace != key.namespace && key.namespace != home {
            errors.push(
                format!("{path}.secret.namespace"),
                format!("{} is another namespace", shown(namespace)),
                format!("the Certificate's own namespace; others only from a Certificate in {home}"),
            );
        }
    }
    let kind = output.secret.kind.as_deref().unwrap_or(OPAQUE_TYPE);
    if ![TLS_TYPE, OPAQUE_TYPE].contains(&kind) {
        errors.push(
            format!("{path}.secret.type"),
            format!("{} is not supported", shown(kind)),
            "kubernetes.io/tls or Opaque",
        );
    }
    if kind == TLS_TYPE
        && !["tls.key", "tls.crt"]
            .iter()
            .all(|k| output.keys.contains_key(*k))
    {
        errors.push(
            format!("{path}.keys"),
            "lacks tls.key or tls.crt",
            "both, as the type kubernetes.io/tls demands",
        );
    }
    if output.keys.is_empty() || output.keys.len() > 16 {
        errors.push(
            format!("{path}.keys"),
            format!("has {} keys", output.keys.len()),
            "1 to 16 keys",
        );
    }
    for (name, wanted) in &output.keys {
        let path = format!("{path}.keys[{}]", shown(name));
        check_data_key(&path, name, errors);
        check_format(&path, *wanted, algorithm, errors);
    }
}

fn check_format(path: &str, wanted: OutputKey, algorithm: KeyAlgorithm, errors: &mut FieldErrors) {
    let traditional = matches!(wanted.format, Format::PKCS1PEM | Format::PKCS1DER);
    let key_format = traditional || matches!(wanted.format, Format::PKCS8PEM | Format::PKCS8DER);
    match wanted.part {
        Part::Key if traditional && algorithm == KeyAlgorithm::Ed25519 => {
            errors.push(
                format!("{path}.format"),
                "Ed25519 keys have no such form",
                "PEM, DER, PKCS8PEM or PKCS8DER",
            );
        }
        Part::Key => {}
        Part::Bundle if wanted.format != Format::PEM => {
            errors.push(format!("{path}.format"), "a bundle is always PEM", "PEM");
        }
        _ if key_format => {
            errors.push(format!("{path}.format"), "is a form of keys", "PEM or DER");
        }
        _ => {}
    }
}
