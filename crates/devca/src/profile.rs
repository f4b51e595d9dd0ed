//! From what a client wants to what goes into its certificate: the only rules this CA has.
//!
//! | Wish | Rule |
//! | --- | --- |
//! | subject | taken as it is; may be empty if there are alternative names |
//! | validity | as wished, up to the policy's longest life; the policy's life if there is no wish |
//! | subjectAltName, keyUsage, extendedKeyUsage | taken; both ends of TLS if no usage is asked for |
//! | basicConstraints | a CA is refused |
//! | key identifiers | made by us |
//! | other extensions | copied |

use der::Decode;
use jiff::{SignedDuration, Timestamp};
use pki::{Certificate, KeyAlgorithm, Name, PrivateKey, PublicKey};
use x509_cert::ext::{
    Extension, Extensions,
    pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAltName},
};

use crate::{
    DevCa,
    config::Policy,
    error::Error,
    faults::{ClaimedStatus, FaultKind, Struck},
    issue::{self, Contents, Criticality},
    refusal::{Failure, Refusal},
};

/// Most extensions of a request.
const MAX_EXTENSIONS: usize = 32;
/// Most bytes of extensions of a request.
const MAX_EXTENSION_BYTES: usize = 32 * 1024;

/// What a client wants.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    pub(crate) subject: Name,
    pub(crate) public_key: PublicKey,
    pub(crate) extensions: Extensions,
    pub(crate) not_before: Option<Timestamp>,
    pub(crate) not_after: Option<Timestamp>,
}

/// What it gets.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    pub(crate) certificate: Certificate,
    pub(crate) serial: String,
    /// It is something else than the wish, and the CA says so.
    pub(crate) with_mods: bool,
}

/// Makes a certificate, or says why not.
pub(crate) fn make(
    ca: &DevCa,
    policy: &Policy,
    wish: Wish,
    struck: &Struck,
    now: Timestamp,
) -> Result<Made, Refusal> {
    let (contents, shortened) = contents(policy, wish, now)?;
    let twisted = twist(contents, struck, now)?;
    let serial = pki::digest::hex(&twisted.contents.serial);
    let issuer = match ca.impostor(now) {
        Some(impostor) if struck.has(&FaultKind::ForeignIssuer) => &impostor.issuer,
        _ => &ca.authority.issuer,
    };
    let der = issue::certificate(issuer, twisted.contents)?;
    let certificate = Certificate::from_der(&der).map_err(Error::from)?;
    Ok(Made {
        certificate,
        serial,
        with_mods: shortened || twisted.admitted,
    })
}

fn contents(policy: &Policy, wish: Wish, now: Timestamp) -> Result<(Contents, bool), Refusal> {
    let extensions = extensions(wish.extensions, &wish.public_key, &wish.subject)?;
    let (not_before, not_after, shortened) = validity(policy, wish.not_before, wish.not_after, now)?;
    let contents = Contents {
        serial: issue::random_serial()?,
        subject: wish.subject.der().to_vec(),
        public_key: wish.public_key,
        not_before,
        not_after,
        extensions,
    };
    Ok((contents, shortened))
}

fn validity(
    policy: &Policy,
    from: Option<Timestamp>,
    until: Option<Timestamp>,
    now: Timestamp,
) -> Result<(Timestamp, Timestamp, bool), Refusal> {
    let seconds = |count: u64| SignedDuration::from_secs(i64::try_from(count).unwrap_or(i64::from(u32::MAX)));
    let not_before = match from {
        Some(from) => from,
        None => now
            .saturating_sub(seconds(policy.backdate_seconds))
            .unwrap_or(now),
    };
    let longest = from
        .unwrap_or(now)
        .saturating_add(seconds(policy.max_validity_seconds))
        .unwrap_or(Timestamp::MAX);
    let default = now
        .saturating_add(seconds(policy.validity_seconds))
        .unwrap_or(Timestamp::MAX);
    let wanted = until.unwrap_or(default);
    if wanted <= not_before || wanted <= now {
        return Err(Refusal::new(
            Failure::BadCertTemplate,
            "the validity asked for is empty or in the past",
        ));
    }
    Ok((
        not_before,
        wanted.min(longest),
        until.is_some() && wanted > longest,
    ))
}

fn extensions(wanted: Extensions, key: &PublicKey, subject: &Name) -> Result<Extensions, Refusal> {
    let size: usize = wanted
        .iter()
        .map(|extension| extension.extn_value.as_bytes().len())
        .sum();
    if wanted.len() > MAX_EXTENSIONS || size > MAX_EXTENSION_BYTES {
        return Err(Refusal::new(Failure::BadCertTemplate, "too many extensions"));
    }
    let mut taken: Extensions = Vec::with_capacity(wanted.len() + 4);
    for extension in wanted {
        if taken.iter().any(|other| other.extn_id == extension.extn_id) {
            return Err(Refusal::new(
                Failure::BadCertTemplate,
                "an extension is there twice",
            ));
        }
        match checked(extension, subject)? {
            Some(extension) => taken.push(extension),
            None => continue,
        }
    }
    let has = |id| taken.iter().any(|extension| extension.extn_id == id);
    let (has_san, has_usage) = (has(issue::SUBJECT_ALT_NAME), has(issue::KEY_USAGE));
    let has_purpose = has(issue::EXTENDED_KEY_USAGE);
    if subject.is_empty() && !has_san {
        return Err(Refusal::new(
            Failure::BadCertTemplate,
            "neither a subject nor alternative names",
        ));
    }
    if !has_usage {
        taken.push(issue::default_key_usage(key)?);
    }
    if !has_purpose {
        taken.push(issue::default_extended_key_usage()?);
    }
    let constraints = BasicConstraints {
        ca: false,
        path_len_constraint: None,
    };
    taken.push(issue::extension(
        issue::BASIC_CONSTRAINTS,
        Criticality::Yes,
        &constraints,
    )?);
    Ok(taken)
}

/// An extension as it goes into the certificate, or none if we make it ourselves.
fn checked(mut extension: Extension, subject: &Name) -> Result<Option<Extension>, Refusal> {
    let value = extension.extn_value.as_bytes();
    let malformed = |_: der::Error| Refusal::new(Failure::BadCertTemplate, "an extension cannot be decoded");
    match extension.extn_id {
        issue::SUBJECT_ALT_NAME => {
            if SubjectAltName::from_der(value).map_err(malformed)?.0.is_empty() {
                return Err(Refusal::new(
                    Failure::BadCertTemplate,
                    "the alternative names are an empty list",
                ));
            }
            extension.critical = subject.is_empty();
        }
        issue::KEY_USAGE => drop(KeyUsage::from_der(value).map_err(malformed)?),
        issue::EXTENDED_KEY_USAGE => drop(ExtendedKeyUsage::from_der(value).map_err(malformed)?),
        issue::BASIC_CONSTRAINTS => {
            if BasicConstraints::from_der(value).map_err(malformed)?.ca {
                return Err(Refusal::new(
                    Failure::BadCertTemplate,
                    "this CA makes no CA certificates",
                ));
            }
            return Ok(None);
        }
        id if issue::is_key_identifier(id) => return Ok(None),
        _ => {}
    }
    Ok(Some(extension))
}

/// Contents after the faults, and whether the CA admits that they are not what was asked for.
struct Twisted {
    contents: Contents,
    admitted: bool,
}

fn twist(mut contents: Contents, struck: &Struck, now: Timestamp) -> Result<Twisted, Refusal> {
    let hours = |count| {
        now.saturating_add(SignedDuration::from_hours(count))
            .unwrap_or(now)
    };
    let mut admitted = false;
    for fault in struck.iter() {
        match fault {
            FaultKind::OtherKey => {
                let key = PrivateKey::generate(KeyAlgorithm::EcP256).map_err(Error::from)?;
                contents.public_key = key.public_key().clone();
            }
            FaultKind::OtherSubject { status } => {
                let other = Name::from_parts(&[("CN", "somebody else")]).map_err(Error::from)?;
                contents.subject = other.der().to_vec();
                admitted |= *status == ClaimedStatus::GrantedWithMods;
            }
            FaultKind::OtherSan { status } => {
                replace(&mut contents.extensions, issue::other_names()?);
                admitted |= *status == ClaimedStatus::GrantedWithMods;
            }
            FaultKind::OtherUsage => replace(&mut contents.extensions, issue::other_usage()?),
            FaultKind::Authority => replace(&mut contents.extensions, issue::authority()?),
            FaultKind::PastValidity => (contents.not_before, contents.not_after) = (hours(-48), hours(-24)),
            FaultKind::FutureValidity => (contents.not_before, contents.not_after) = (hours(24), hours(48)),
            _ => {}
        }
    }
    Ok(Twisted { contents, admitted })
}

fn replace(extensions: &mut Extensions, by: Extension) {
    extensions.retain(|extension| extension.extn_id != by.extn_id);
    extensions.push(by);
}
