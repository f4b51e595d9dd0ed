//! General messages: the questions of RFC 9483, 4.3, and their answers.
//!
//! Answers are authenticated like all others; still, no certificate in them becomes an anchor. A successor of a root is
//! given out only if the root that is trusted today has signed its key (RFC 9810, 4.4; CVE-2026-42769).

use der::{Decode, Encode};
use pki::{Anchors, Certificate, Purpose, verify_chain};

use super::build::asn1_time;
use crate::asn1::{
    AlgorithmIdentifier, CertReqTemplateContent, CrlSourceChoice, CrlStatus, DistributionPointName, Encoded,
    GenContent, GeneralName, InfoTypeAndValue, ObjectIdentifier, PkiBody, RootCaKeyUpdate, oid,
};
use crate::engine::{Context, CrlSource, General, GeneralAnswer, RequestTemplate, RootUpdate};
use crate::error::{CertificateFault, ErrorKind};
use crate::message::{limit, malformed, readable};
use crate::protection::encoding;

/// genm with one question.
pub(super) fn question(question: &General) -> Result<PkiBody, ErrorKind> {
    let info = match question {
        General::CaCerts => InfoTypeAndValue::bare(oid::IT_CA_CERTS),
        General::RequestTemplate { .. } => InfoTypeAndValue::bare(oid::IT_CERT_REQ_TEMPLATE),
        General::RootUpdate { current } => {
            let current = Encoded::new(current.der()).map_err(encoding)?;
            InfoTypeAndValue::new(oid::IT_ROOT_CA_CERT, &current).map_err(encoding)?
        }
        General::CrlUpdate { source, this_update } => {
            let status = CrlStatus {
                source: crl_source(source)?,
                this_update: this_update.map(asn1_time).transpose()?,
            };
            InfoTypeAndValue::new(oid::IT_CRL_STATUS_LIST, &vec![status]).map_err(encoding)?
        }
    };
    Ok(PkiBody::Genm(vec![info]))
}

fn crl_source(source: &CrlSource) -> Result<CrlSourceChoice, ErrorKind> {
    match source {
        CrlSource::Issuer(name) => Ok(CrlSourceChoice::Issuer(vec![GeneralName::directory(
            name.clone(),
        )])),
        CrlSource::DistributionPoint(uri) if uri.is_ascii() && !uri.is_empty() => {
            let names = vec![GeneralName::Uri(uri.as_bytes().to_vec())];
            Ok(CrlSourceChoice::DistributionPoint(
                DistributionPointName::FullName(names),
            ))
        }
        CrlSource::DistributionPoint(_) => Err(ErrorKind::Settings(
            "URI of a distribution point must be ASCII and not empty".to_owned(),
        )),
    }
}

/// Reads genp. Entries of other types are ignored (RFC 9810, 5.3.20); without a value the CA has nothing for us.
pub(super) fn answer(
    question: &General,
    content: &GenContent,
    context: &Context<'_>,
) -> Result<GeneralAnswer, ErrorKind> {
    match question {
        General::CaCerts => {
            let list: Option<Vec<Encoded>> = value(content, oid::IT_CA_CERTS, "CaCertsValue")?;
            let list = bounded("certificates in caCerts", list, context)?;
            Ok(GeneralAnswer::CaCerts(readable(&list)))
        }
        General::RootUpdate { current } => {
            let update: Option<RootCaKeyUpdate> =
                value(content, oid::IT_ROOT_CA_KEY_UPDATE, "RootCaKeyUpdateContent")?;
            let update = update
                .map(|update| root_update(current, &update, context))
                .transpose()?;
            Ok(GeneralAnswer::RootUpdate(update.map(Box::new)))
        }
        General::RequestTemplate { .. } => {
            let template: Option<CertReqTemplateContent> =
                value(content, oid::IT_CERT_REQ_TEMPLATE, "CertReqTemplateContent")?;
            let template = template.map(request_template).transpose()?;
            Ok(GeneralAnswer::RequestTemplate(template.map(Box::new)))
        }
        General::CrlUpdate { .. } => {
            let crls: Option<Vec<Encoded>> = value(content, oid::IT_CRLS, "CRLsValue")?;
            let crls = bounded("CRLs", crls, context)?;
            Ok(GeneralAnswer::Crls(
                crls.iter().map(|crl| crl.der().to_vec()).collect(),
            ))
        }
    }
}

/// The value of the entry that answers; an answer without such an entry is none.
fn value<'a, T>(
    content: &'a GenContent,
    info_type: ObjectIdentifier,
    what: &'static str,
) -> Result<Option<T>, ErrorKind>
where
    T: Decode<'a, Error = der::Error> + der::DecodeValue<'a, Error = der::Error> + der::FixedTag,
{
    let entry = content
        .iter()
        .find(|entry| entry.info_type == info_type)
        .ok_or(ErrorKind::WrongAnswer {
            reason: "genp has no entry of the type asked for",
        })?;
    entry
        .info_value
        .as_ref()
        .map(|value| value.decode_as())
        .transpose()
        .map_err(|error| malformed(what, error))
}

fn bounded(
    what: &'static str,
    list: Option<Vec<Encoded>>,
    context: &Context<'_>,
) -> Result<Vec<Encoded>, ErrorKind> {
    let most = context.peer.limits.certificates;
    let list = list.unwrap_or_default();
    if list.len() > most {
        Err(limit(what, most))
    } else {
        Ok(list)
    }
}

/// The new key must be signed by the root that is trusted today, and the new root by the new key.
fn root_update(
    current: &Certificate,
    update: &RootCaKeyUpdate,
    context: &Context<'_>,
) -> Result<RootUpdate, ErrorKind> {
    let wrong = |reason| Err(ErrorKind::WrongAnswer { reason });
    let read = |encoded: &Encoded| {
        Certificate::from_der(encoded.der())
            .map_err(|error| ErrorKind::Certificate(CertificateFault::Malformed(error.to_string())))
    };
    if !context.peer.trust.certificates.contains(current) {
        return Err(ErrorKind::Settings(
            "the root asked about is not one of the anchors".to_owned(),
        ));
    }
    let Some(new_with_old) = &update.new_with_old else {
        return wrong("the successor of the root is not signed by the root");
    };
    let (new_with_new, new_with_old) = (read(&update.new_with_new)?, read(new_with_old)?);
    let chain = |leaf: &Certificate, anchor: &Certificate| {
        let anchors = Anchors::new([anchor.clone()])?;
        verify_chain(leaf, &[], &anchors, context.now, Purpose::AnyEku)
            .map_err(|error| ErrorKind::Certificate(CertificateFault::Chain(error)))
    };
    chain(&new_with_old, current)?;
    if new_with_old.public_key() != new_with_new.public_key() {
        return wrong("the successor of the root has another key than the one that the root has signed");
    }
    if !new_with_new.is_ca() || !new_with_new.is_self_issued() {
        return wrong("the successor of the root is not a root");
    }
    new_with_new.verify_signed_by(new_with_new.public_key())?;
    chain(&new_with_new, &new_with_new)?;
    let old_with_new = update.old_with_new.as_ref().map(read).transpose()?;
    if let Some(old_with_new) = &old_with_new
        && (old_with_new.public_key() != current.public_key()
            || old_with_new.verify_signed_by(new_with_new.public_key()).is_err())
    {
        return wrong("oldWithNew is not the old key signed by the new root");
    }
    Ok(RootUpdate {
        new_with_new,
        new_with_old,
        old_with_new,
    })
}

fn request_template(content: CertReqTemplateContent) -> Result<RequestTemplate, ErrorKind> {
    let template = content.cert_template.to_der().map_err(encoding)?;
    let controls = content.key_spec.unwrap_or_default();
    let of = |kind| controls.iter().filter(move |control| control.kind == kind);
    let key_algorithms = of(oid::REG_CTRL_ALG_ID)
        .filter_map(|control| control.value.decode_as::<AlgorithmIdentifier>().ok())
        .map(|algorithm| algorithm.oid.to_string())
        .collect();
    let rsa_key_bits = of(oid::REG_CTRL_RSA_KEY_LEN)
        .filter_map(|control| control.value.decode_as::<u32>().ok())
        .collect();
    let subject = content.cert_template.subject.map(|subject| subject.0);
    Ok(RequestTemplate {
        subject,
        template,
        key_algorithms,
        rsa_key_bits,
    })
}
