//! A received PKIMessage.
//!
//! [`Message::decode`] cuts the outer SEQUENCE into its four parts and keeps header and body as the bytes that came, so
//! that the protection is checked over exactly these (RFC 9810, 5.1.3). extraCerts are cut out but not parsed: one that
//! cannot be read does not spoil the rest.
//!
//! ```text
//!   30 len | header | body | [0] protection | [1] extraCerts
//!           └─ protected ─┘
//! ```

use der::asn1::BitString;
use der::{Decode, Encode, Header, Length, Reader, SliceReader, Tag, TagNumber};
use pki::Certificate;

use crate::asn1::{Asn1Error, Encoded, FreeText, PkiBody, PkiHeader, PkiStatusInfo};
use crate::engine::Limits;
use crate::error::ErrorKind;

/// Shortest nonce and transactionID (RFC 9483, 3.1), in bytes.
pub const NONCE_BYTES: usize = 16;

/// How a SEQUENCE of indefinite length begins, which BER allows and DER does not (X.690, 8.1.3.6).
const INDEFINITE: [u8; 2] = [0x30, 0x80];

/// A received message: syntax checked, bounded, nothing else checked.
#[derive(Clone, Debug)]
pub struct Message<'a> {
    /// The header.
    pub header: PkiHeader,
    /// The body.
    pub body: PkiBody,
    /// Header and body as they came.
    protected: &'a [u8],
    protection: Option<BitString>,
    extra_certs: Vec<&'a [u8]>,
}

impl<'a> Message<'a> {
    /// Cuts and decodes one message. All bounds on sizes and counts are checked here.
    pub fn decode(bytes: &'a [u8], limits: &Limits) -> Result<Self, ErrorKind> {
        if bytes.len() > limits.message_bytes {
            return Err(limit("message size in bytes", limits.message_bytes));
        }
        if bytes.starts_with(&INDEFINITE) {
            let what = "a message in BER with indefinite length (CMP is DER, RFC 9810, 5.1)".to_owned();
            return Err(ErrorKind::Unsupported { what });
        }
        let cut = Cut::new(bytes).map_err(|error| malformed("PKIMessage", error))?;
        let header = PkiHeader::from_der(cut.header).map_err(|error| malformed("PKIHeader", error))?;
        let extra_certs = match cut.extra_certs {
            Some(list) => split(list, limits.certificates)?,
            None => Vec::new(),
        };
        let body = PkiBody::from_der(cut.body).map_err(|error| malformed("PKIBody", error))?;
        check_header(&header, limits)?;
        check_body(&body, limits)?;
        Ok(Self {
            header,
            body,
            protected: cut.protected,
            protection: cut.protection,
            extra_certs,
        })
    }

    /// DER of ProtectedPart: the bytes that came, under a SEQUENCE header of their own.
    pub fn protected_part(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.protected.len().saturating_add(6));
        // Neither can fail: the length was read from a message that is far below the encoder's limit.
        if let Ok(length) = Length::try_from(self.protected.len()) {
            let _ = Header::new(Tag::Sequence, length).encode_to_vec(&mut out);
        }
        out.extend_from_slice(self.protected);
        out
    }

    /// The value of the protection; `None` if there is none, or it does not consist of whole bytes.
    pub fn protection(&self) -> Option<&[u8]> {
        self.protection.as_ref().and_then(BitString::as_bytes)
    }

    /// Is there a protection value or an algorithm? A message with either is not "unprotected".
    pub fn has_protection(&self) -> bool {
        self.protection.is_some() || self.header.protection_alg.is_some()
    }

    /// The extraCerts that can be read. They are hints for path building, never anchors.
    pub fn extra_certs(&self) -> Vec<Certificate> {
        self.extra_certs
            .iter()
            .filter_map(|der| Certificate::from_der(der).ok())
            .collect()
    }

    /// DER of all extraCerts.
    pub fn extra_certs_der(&self) -> &[&'a [u8]] {
        &self.extra_certs
    }

    /// transactionID, if there is one.
    pub fn transaction_id(&self) -> Option<&[u8]> {
        self.header.transaction_id.as_ref().map(|id| id.as_bytes())
    }
}

/// The parts of a message.
struct Cut<'a> {
    header: &'a [u8],
    body: &'a [u8],
    protected: &'a [u8],
    protection: Option<BitString>,
    extra_certs: Option<&'a [u8]>,
}

impl<'a> Cut<'a> {
    fn new(bytes: &'a [u8]) -> der::Result<Self> {
        let mut reader = SliceReader::new(bytes)?;
        let cut = reader.sequence(|r| -> der::Result<Self> {
            let start = r.clone();
            let header = r.tlv_bytes()?;
            let body = r.tlv_bytes()?;
            let protected_len = Length::try_from(header.len().saturating_add(body.len()))?;
            let protected = start.clone().read_slice(protected_len)?;
            let protection = r.context_specific(TagNumber(0), der::TagMode::Explicit)?;
            let extra_certs = explicit(r, 1)?;
            r.clone().finish()?;
            Ok(Self {
                header,
                body,
                protected,
                protection,
                extra_certs,
            })
        })?;
        reader.finish()?;
        Ok(cut)
    }
}

/// The contents of an optional constructed `[number]`.
fn explicit<'a>(reader: &mut SliceReader<'a>, number: u32) -> der::Result<Option<&'a [u8]>> {
    let tag = Tag::ContextSpecific {
        constructed: true,
        number: TagNumber(number),
    };
    if reader.is_finished() || Tag::peek(reader)? != tag {
        return Ok(None);
    }
    let header = Header::decode(reader)?;
    reader.read_slice(header.length()).map(Some)
}

/// Cuts a SEQUENCE OF into its elements.
fn split(list: &[u8], most: usize) -> Result<Vec<&[u8]>, ErrorKind> {
    let run = |list| -> der::Result<(Vec<_>, usize)> {
        let mut reader = SliceReader::new(list)?;
        let cut = reader.sequence(|r| -> der::Result<_> {
            let (mut elements, mut count) = (Vec::new(), 0usize);
            while !r.is_finished() {
                let element = r.tlv_bytes()?;
                count = count.saturating_add(1);
                if count <= most {
                    elements.push(element);
                }
            }
            Ok((elements, count))
        })?;
        reader.finish()?;
        Ok(cut)
    };
    match run(list) {
        Ok((elements, count)) if count <= most => Ok(elements),
        Ok(_) => Err(limit("number of extraCerts", most)),
        Err(error) => Err(malformed("extraCerts", error)),
    }
}

fn check_header(header: &PkiHeader, limits: &Limits) -> Result<(), ErrorKind> {
    check_text(header.free_text.as_ref(), limits)?;
    check_count(
        "entries of generalInfo",
        header.general_info.as_deref(),
        limits.entries,
    )?;
    let ids = [
        &header.sender_kid,
        &header.recip_kid,
        &header.transaction_id,
        &header.sender_nonce,
        &header.recip_nonce,
    ];
    for id in ids.into_iter().flatten() {
        if id.as_bytes().len() > limits.text_bytes {
            return Err(limit("length of an identifier in bytes", limits.text_bytes));
        }
    }
    Ok(())
}

fn check_body(body: &PkiBody, limits: &Limits) -> Result<(), ErrorKind> {
    let entries = limits.entries;
    match body {
        PkiBody::Ip(rep) | PkiBody::Cp(rep) | PkiBody::Kup(rep) => {
            check_count(
                "certificates in caPubs",
                rep.ca_pubs.as_deref(),
                limits.certificates,
            )?;
            check_count("responses", Some(&rep.response), entries)?;
            rep.response
                .iter()
                .try_for_each(|response| check_status(&response.status, limits))
        }
        PkiBody::Rp(rep) => {
            check_count("statuses", Some(&rep.status), entries)?;
            rep.status
                .iter()
                .try_for_each(|status| check_status(status, limits))
        }
        PkiBody::Error(error) => {
            check_text(error.error_details.as_ref(), limits)?;
            check_status(&error.status, limits)
        }
        PkiBody::PollRep(rep) => {
            check_count("polls", Some(rep), entries)?;
            rep.iter()
                .try_for_each(|entry| check_text(entry.reason.as_ref(), limits))
        }
        PkiBody::CertConf(confirm) => {
            check_count("confirmations", Some(confirm), entries)?;
            let statuses = confirm.iter().filter_map(|status| status.status_info.as_ref());
            statuses
                .into_iter()
                .try_for_each(|status| check_status(status, limits))
        }
        PkiBody::Ir(requests) | PkiBody::Cr(requests) | PkiBody::Kur(requests) => {
            check_count("requests", Some(requests), entries)
        }
        PkiBody::Rr(requests) => check_count("requests", Some(requests), entries),
        PkiBody::PollReq(requests) => check_count("polls", Some(requests), entries),
        PkiBody::Genm(content) | PkiBody::Genp(content) => {
            check_count("general messages", Some(content), entries)
        }
        PkiBody::P10cr(_) | PkiBody::PkiConf(_) | PkiBody::Other(..) => Ok(()),
    }
}

fn check_status(status: &PkiStatusInfo, limits: &Limits) -> Result<(), ErrorKind> {
    check_text(status.status_string.as_ref(), limits)
}

fn check_text(text: Option<&FreeText>, limits: &Limits) -> Result<(), ErrorKind> {
    match text {
        Some(text) if text.total_bytes() > limits.text_bytes => {
            Err(limit("length of a text in bytes", limits.text_bytes))
        }
        _ => Ok(()),
    }
}

fn check_count<T>(what: &'static str, list: Option<&[T]>, most: usize) -> Result<(), ErrorKind> {
    match list {
        Some(list) if list.len() > most => Err(limit(what, most)),
        _ => Ok(()),
    }
}

pub(crate) fn limit(what: &'static str, limit: usize) -> ErrorKind {
    ErrorKind::Limit {
        what,
        limit: u64::try_from(limit).unwrap_or(u64::MAX),
    }
}

pub(crate) fn malformed(what: &'static str, error: der::Error) -> ErrorKind {
    Asn1Error {
        what,
        reason: error.to_string(),
    }
    .into()
}

/// Certificates out of a list of the protocol. One that cannot be read is left out.
pub(crate) fn readable(list: &[Encoded]) -> Vec<Certificate> {
    list.iter()
        .filter_map(|encoded| Certificate::from_der(encoded.der()).ok())
        .collect()
}
