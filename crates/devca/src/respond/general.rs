//! genm: questions that change nothing (RFC 9483, 4.3).

use cmp::asn1::{
    AlgorithmIdentifier, AttributeTypeAndValue, CertReqTemplateContent, CertTemplate, CrlSourceChoice,
    CrlStatus, Dn, Encoded, GeneralName, InfoTypeAndValue, ObjectIdentifier, PkiBody, RootCaKeyUpdate,
    der::asn1::Any, oid,
};
use jiff::Timestamp;
use pki::Name;

use super::{Answer, Job};
use crate::{
    config::RootUpdate,
    refusal::{Failure, Refusal},
    transactions::Phase,
};

const EC_PUBLIC_KEY: ObjectIdentifier = const_oid::db::rfc5912::ID_EC_PUBLIC_KEY;
const P256: ObjectIdentifier = const_oid::db::rfc5912::SECP_256_R_1;

/// Answers every question in the order asked. Unknown ones come back without a value.
pub(super) fn answer(job: &Job<'_>) -> Result<Answer, Refusal> {
    job.client.require_good_standing(job.kind)?;
    let PkiBody::Genm(questions) = job.body else {
        return Err(Refusal::new(Failure::BadRequest, "this is no general message"));
    };
    if questions.len() > 16 {
        return Err(Refusal::new(Failure::BadRequest, "more than 16 questions"));
    }
    let answers = questions
        .iter()
        .map(|question| reply(job, question))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Answer {
        body: PkiBody::Genp(answers),
        info: Vec::new(),
        extra: Vec::new(),
        phase: Phase::Closed,
    })
}

fn reply(job: &Job<'_>, question: &InfoTypeAndValue) -> Result<InfoTypeAndValue, Refusal> {
    match question.info_type {
        oid::IT_CA_CERTS => {
            let certificates = [job.ca.issuing(), job.ca.root()];
            let encoded = certificates
                .iter()
                .map(|c| Encoded::new(c.der()))
                .collect::<Result<Vec<_>, _>>()?;
            Ok(InfoTypeAndValue::new(oid::IT_CA_CERTS, &encoded)?)
        }
        oid::IT_ROOT_CA_CERT => root_update(job, question),
        oid::IT_CERT_REQ_TEMPLATE => Ok(InfoTypeAndValue::new(
            oid::IT_CERT_REQ_TEMPLATE,
            &request_template()?,
        )?),
        oid::IT_CRL_STATUS_LIST => crls(job, question),
        other => Ok(InfoTypeAndValue::bare(other)),
    }
}

fn root_update(job: &Job<'_>, question: &InfoTypeAndValue) -> Result<InfoTypeAndValue, Refusal> {
    let asked = question.value::<Encoded>();
    let ours = asked
        .as_ref()
        .is_none_or(|asked| asked.der() == job.ca.root().der());
    let offered = job.policy.root_update == RootUpdate::Offered && ours;
    let Some(next) = offered.then(|| job.ca.next_root(job.now)).flatten() else {
        return Ok(InfoTypeAndValue::bare(oid::IT_ROOT_CA_KEY_UPDATE));
    };
    let update = RootCaKeyUpdate {
        new_with_new: Encoded::new(next.new_with_new.der())?,
        new_with_old: Some(Encoded::new(next.new_with_old.der())?),
        old_with_new: Some(Encoded::new(next.old_with_new.der())?),
    };
    Ok(InfoTypeAndValue::new(oid::IT_ROOT_CA_KEY_UPDATE, &update)?)
}

/// An organisation to be used as it is, a common name to be filled in, and two kinds of key.
fn request_template() -> Result<CertReqTemplateContent, Refusal> {
    let subject =
        Name::from_parts(&[("O", "occm"), ("CN", "")]).or_else(|_| Name::from_parts(&[("O", "occm")]))?;
    let ec = AlgorithmIdentifier {
        oid: EC_PUBLIC_KEY,
        parameters: Some(Any::encode_from(&P256)?),
    };
    let key_spec = vec![
        AttributeTypeAndValue {
            kind: oid::REG_CTRL_ALG_ID,
            value: Any::encode_from(&ec)?,
        },
        AttributeTypeAndValue {
            kind: oid::REG_CTRL_RSA_KEY_LEN,
            value: Any::encode_from(&2048_u32)?,
        },
    ];
    let cert_template = CertTemplate {
        subject: Some(Dn(subject)),
        ..CertTemplate::default()
    };
    Ok(CertReqTemplateContent {
        cert_template,
        key_spec: Some(key_spec),
    })
}

/// The CRL, if the client asks for ours and has an older one or none.
fn crls(job: &Job<'_>, question: &InfoTypeAndValue) -> Result<InfoTypeAndValue, Refusal> {
    let list = question
        .value::<Vec<CrlStatus>>()
        .ok_or_else(|| Refusal::new(Failure::BadDataFormat, "crlStatusList cannot be decoded"))?;
    let (crl, this_update) = job.ca.crl_with_time(job.now)?;
    let wanted = list
        .iter()
        .any(|status| is_ours(job, status) && is_older(status, this_update));
    if !wanted {
        return Ok(InfoTypeAndValue::bare(oid::IT_CRLS));
    }
    Ok(InfoTypeAndValue::new(oid::IT_CRLS, &vec![Encoded::new(&crl)?])?)
}

/// Our certificates name no distribution point, so whatever point a client names is taken as ours.
fn is_ours(job: &Job<'_>, status: &CrlStatus) -> bool {
    match &status.source {
        CrlSourceChoice::DistributionPoint(_) => true,
        CrlSourceChoice::Issuer(names) => names
            .iter()
            .filter_map(GeneralName::name)
            .any(|name| name == job.ca.issuing().subject()),
    }
}

fn is_older(status: &CrlStatus, this_update: Timestamp) -> bool {
    let Some(has) = status.this_update else {
        return true;
    };
    let ours = u64::try_from(this_update.as_second()).unwrap_or(0);
    has.to_unix_duration().as_secs() < ours
}
