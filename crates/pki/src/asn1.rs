//! The little DER that this crate writes and reads by hand.
//!
//! Reading goes through the `der` crate's checked reader. Whole fields are kept as raw slices wherever a signature or a
//! comparison is made over the bytes as they were received, because decoding and encoding again may change them.
//!
//! Writing is a handful of functions that put finished pieces together. What we write is small and fixed: names,
//! requests, extensions and algorithm identifiers. A derived encoder would need a type for each of them, and the types
//! could not hold the raw slices.
//!
//! Not here: BER. Certificates and requests are DER by definition (RFC 5280, 4.1); a message envelope that is not is
//! the business of the protocol crate.

use der::asn1::ObjectIdentifier;
use der::{Header, Reader, SliceReader, Tag};

use crate::error::{Error, Input};

// Tag octets of the universal class that we write (X.680, table 1); bit 6 is set where the value is constructed.
pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;

/// Tag octet of a primitive context-specific field `[number]`.
///
/// Used for `IMPLICIT` strings and integers, such as the alternatives of `GeneralName`.
pub(crate) const fn context(number: u8) -> u8 {
    0x80 | number
}

/// Tag octet of a constructed context-specific field `[number]`.
///
/// Used for every `EXPLICIT` field, and for `IMPLICIT` sequences and sets.
pub(crate) const fn context_constructed(number: u8) -> u8 {
    0xa0 | number
}

/// One DER value: tag, shortest length, contents (X.690, 8.1 and 10.1).
///
/// All tags we use are below 31, so one octet holds the tag. Implicit tagging keeps the contents and replaces the tag
/// (X.690, 8.14.3), so an `IMPLICIT` string needs nothing else than this.
pub(crate) fn tlv(tag: u8, contents: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(contents.len().saturating_add(6));
    out.push(tag);
    let length = contents.len();
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => out.push(short),
        _ => {
            let bytes = length.to_be_bytes();
            let significant: Vec<u8> = bytes.iter().copied().skip_while(|byte| *byte == 0).collect();
            // At most eight octets of length, so the sum fits.
            out.push(0x80 | u8::try_from(significant.len()).unwrap_or(0));
            out.extend(significant);
        }
    }
    out.extend_from_slice(contents);
    out
}

/// One constructed DER value made of finished parts.
///
/// The parts are complete values; their order is the caller's, also for a `SET OF`, which DER wants sorted.
pub(crate) fn constructed(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    tlv(tag, &parts.concat())
}

/// `OBJECT IDENTIFIER`.
///
/// The identifier's own bytes are its DER contents already (X.690, 8.19).
pub(crate) fn oid(oid: &ObjectIdentifier) -> Vec<u8> {
    tlv(OBJECT_IDENTIFIER, oid.as_bytes())
}

/// `BIT STRING` without unused bits, as it holds signatures and keys.
pub(crate) fn bit_string(bytes: &[u8]) -> Vec<u8> {
    constructed(BIT_STRING, &[&[0], bytes])
}

/// Runs `read` over all of `bytes`; left-over bytes are an error. Every decoding error becomes [`Error::Malformed`]
/// with the DER reader's reason, which names tags and positions but no contents.
///
/// The reader counts lengths before it hands out a slice, and nesting is limited to 64 levels, so neither a length that
/// lies nor a deeply nested value does harm.
pub(crate) fn read_all<'a, T>(
    input: Input,
    bytes: &'a [u8],
    read: impl FnOnce(&mut SliceReader<'a>) -> der::Result<T>,
) -> Result<T, Error> {
    let run = || {
        let mut reader = SliceReader::new(bytes)?;
        let value = read(&mut reader)?;
        reader.finish()?;
        Ok(value)
    };
    run().map_err(|error: der::Error| Error::malformed(input, error.to_string()))
}

/// Reads one value with its tag and gives the contents.
///
/// Indefinite lengths and lengths that are not the shortest are refused by the reader (X.690, 10.1).
pub(crate) fn any<'a>(reader: &mut SliceReader<'a>) -> der::Result<(Tag, &'a [u8])> {
    let header: Header = reader.decode()?;
    Ok((header.tag(), reader.read_slice(header.length())?))
}

/// Reads one value that must have `tag` and gives the contents.
pub(crate) fn contents<'a>(reader: &mut SliceReader<'a>, tag: Tag) -> der::Result<&'a [u8]> {
    let (found, contents) = any(reader)?;
    found.assert_eq(tag)?;
    Ok(contents)
}

/// Reads one value if it has `tag`.
///
/// At the end of the enclosing value there is none, which is no error: optional fields come last.
pub(crate) fn optional<'a>(reader: &mut SliceReader<'a>, tag: Tag) -> der::Result<Option<&'a [u8]>> {
    if reader.is_finished() || Tag::peek(reader)? != tag {
        return Ok(None);
    }
    contents(reader, tag).map(Some)
}

/// The context-specific tag `[number]`.
pub(crate) fn context_tag(number: u32, constructed: bool) -> Tag {
    Tag::ContextSpecific {
        constructed,
        number: der::TagNumber(number),
    }
}

/// Splits the length of one DER value off the front of `bytes`; `None` if there is no complete value.
/// The value is not looked into. This is how concatenated certificates are cut apart.
pub(crate) fn first_value(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut reader = SliceReader::new(bytes).ok()?;
    let value = reader.tlv_bytes().ok()?;
    Some((value, bytes.get(value.len()..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_take_the_shortest_form() {
        assert_eq!(tlv(SEQUENCE, &[]), [0x30, 0]);
        assert_eq!(tlv(OCTET_STRING, &[7; 0x7f])[..2], [4, 0x7f]);
        assert_eq!(tlv(OCTET_STRING, &[7; 0x80])[..3], [4, 0x81, 0x80]);
        assert_eq!(tlv(OCTET_STRING, &[7; 0x1234])[..4], [4, 0x82, 0x12, 0x34]);
    }

    #[test]
    fn the_der_crate_reads_what_we_write() {
        for length in [0usize, 1, 127, 128, 255, 256, 65_535, 65_536] {
            let bytes = tlv(OCTET_STRING, &vec![1; length]);
            let read = read_all(Input::Certificate, &bytes, |r| contents(r, Tag::OctetString)).unwrap();
            assert_eq!(read.len(), length);
            assert_eq!(first_value(&bytes), Some((&bytes[..], &[][..])));
        }
    }

    #[test]
    fn left_over_bytes_are_refused() {
        let error = read_all(Input::Name, &[5, 0, 0], |r| contents(r, Tag::Null)).unwrap_err();
        assert!(matches!(
            error,
            Error::Malformed {
                input: Input::Name,
                ..
            }
        ));
    }

    #[test]
    fn a_cut_value_is_no_value() {
        assert_eq!(first_value(&[0x30, 2, 0]), None);
        assert_eq!(first_value(&[]), None);
    }
}
