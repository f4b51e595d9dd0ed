//! PEM blocks (RFC 7468) in files that people have edited.
//!
//! Reading is lax where it does no harm: text around blocks, CRLF, any line length, blanks at line ends. It is strict
//! where a mistake would be silent: END must match BEGIN, nothing but Base64 inside, no header lines (those announce
//! the old OpenSSL encryption, RFC 1421). Base64 is decoded in constant time into buffers that are wiped.
//!
//! ```text
//! -----BEGIN CERTIFICATE-----          label, repeated at the end
//! MIIB...                              Base64, lines of 64 characters when we write
//! -----END CERTIFICATE-----
//! ```
//!
//! This module knows no labels. Which of them are certificates or keys is for its callers, who may find several kinds in
//! one file: servers want key and chain together, and OpenSSL writes curve parameters before a key.

use base64ct::{Base64, Encoding};
use zeroize::Zeroizing;

use crate::asn1;
use crate::error::{Error, Input};

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const DASHES: &[u8] = b"-----";
/// Characters of Base64 in a line, as OpenSSL and RFC 7468 write it.
const LINE: usize = 64;

/// One decoded block.
pub(crate) struct Block {
    /// The words between `BEGIN` and the dashes.
    pub(crate) label: String,
    /// The decoded contents.
    pub(crate) der: Zeroizing<Vec<u8>>,
}

/// Does this look like PEM rather than DER? A complete DER value is DER, whatever text it holds.
pub(crate) fn is_pem(bytes: &[u8]) -> bool {
    let is_der = bytes.first() == Some(&asn1::SEQUENCE) && asn1::first_value(bytes).is_some();
    !is_der && find(bytes, BEGIN).is_some()
}

/// All blocks of a file, in order; at most `limit` of them.
///
/// The caller has limited the file's size; the limit here keeps a file of empty blocks from becoming a long list. One
/// damaged block makes the whole file unreadable: to go on after it would be guessing where the next one begins.
pub(crate) fn blocks(input: Input, bytes: &[u8], limit: usize) -> Result<Vec<Block>, Error> {
    let mut found = Vec::new();
    let mut rest = bytes;
    while let Some(start) = find(rest, BEGIN) {
        if found.len() == limit {
            return Err(Error::TooLarge {
                input,
                limit,
                unit: "PEM blocks",
            });
        }
        let (block, after) = block(input, rest.get(start..).unwrap_or_default())?;
        found.push(block);
        rest = after;
    }
    Ok(found)
}

/// The only block with one of `labels`. Other blocks (say, EC parameters before a key) are passed over.
///
/// Two keys or two requests in a file are refused, because taking the first would be taking the wrong one in silence
/// half of the time.
pub(crate) fn single(input: Input, bytes: &[u8], labels: &[&str]) -> Result<Block, Error> {
    let mut wanted = blocks(input, bytes, 16)?
        .into_iter()
        .filter(|b| labels.contains(&b.label.as_str()));
    let Some(first) = wanted.next() else {
        return Err(Error::malformed(
            input,
            format!("no PEM block of type {}", labels.join(" or ")),
        ));
    };
    if wanted.next().is_some() {
        return Err(Error::malformed(
            input,
            format!("more than one PEM block of type {}", first.label),
        ));
    }
    Ok(first)
}

/// Writes one block with lines of 64 characters and a final newline.
///
/// The text may hold a private key, so it is wiped when dropped; callers with public contents take it out.
pub(crate) fn encode(label: &str, der: &[u8]) -> Zeroizing<String> {
    let base64 = Zeroizing::new(Base64::encode_string(der));
    // The final size is known, so the buffer never moves and leaves nothing unwiped behind.
    let size = base64.len() + base64.len() / LINE + 2 * label.len() + 40;
    let mut out = Zeroizing::new(String::with_capacity(size));
    for part in ["-----BEGIN ", label, "-----\n"] {
        out.push_str(part);
    }
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(LINE));
        out.push_str(line);
        out.push('\n');
        rest = after;
    }
    for part in ["-----END ", label, "-----\n"] {
        out.push_str(part);
    }
    out
}

/// Reads the block that starts at the beginning of `bytes`; gives it and what follows.
///
/// The label is at most 64 visible characters, since it may be named in an error.
fn block(input: Input, bytes: &[u8]) -> Result<(Block, &[u8]), Error> {
    let malformed = |reason: &'static str| Error::malformed(input, reason);
    let after_begin = bytes.get(BEGIN.len()..).unwrap_or_default();
    let label_end = find(after_begin, DASHES).ok_or_else(|| malformed("PEM BEGIN line is not finished"))?;
    let label = after_begin.get(..label_end).unwrap_or_default();
    let label = std::str::from_utf8(label)
        .ok()
        .filter(|l| l.len() <= 64 && l.bytes().all(|b| b.is_ascii_graphic() || b == b' '))
        .ok_or_else(|| malformed("PEM BEGIN line has no readable type"))?;
    let body = after_begin.get(label_end + DASHES.len()..).unwrap_or_default();
    let body_end = find(body, END).ok_or_else(|| malformed("PEM block has no END line"))?;
    let footer = body.get(body_end + END.len()..).unwrap_or_default();
    let rest = footer
        .strip_prefix(label.as_bytes())
        .and_then(|f| f.strip_prefix(DASHES))
        .ok_or_else(|| malformed("PEM END line does not match the BEGIN line"))?;
    let der = decode(input, body.get(..body_end).unwrap_or_default())?;
    Ok((
        Block {
            label: label.to_owned(),
            der,
        },
        rest,
    ))
}

fn decode(input: Input, body: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
    if body.contains(&b':') {
        let reason = "PEM block has header lines; keys encrypted in the old OpenSSL way are not supported";
        return Err(Error::malformed(input, reason));
    }
    let mut base64 = Zeroizing::new(Vec::with_capacity(body.len()));
    base64.extend(body.iter().copied().filter(|byte| !byte.is_ascii_whitespace()));
    let mut der = Zeroizing::new(vec![0; base64.len()]);
    let length = Base64::decode(&*base64, &mut der)
        .map_err(|_| Error::malformed(input, "PEM block is not Base64"))?
        .len();
    der.truncate(length);
    Ok(der)
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const INPUT: Input = Input::Bundle;

    #[test]
    fn blocks_are_found_between_junk_and_with_foreign_line_ends() {
        let one = encode("CERTIFICATE", &[1; 100]);
        let two = encode("X", &[2; 3]).replace('\n', " \r\n");
        let file = format!("subject=CN = a\n\n{}issuer: b\r\n{two}tail", *one);
        let blocks = blocks(INPUT, file.as_bytes(), 10).unwrap();
        assert_eq!(blocks.len(), 2);
        assert_eq!(
            (blocks[0].label.as_str(), &blocks[0].der[..]),
            ("CERTIFICATE", &[1; 100][..])
        );
        assert_eq!((blocks[1].label.as_str(), &blocks[1].der[..]), ("X", &[2; 3][..]));
    }

    #[test]
    fn damaged_blocks_are_refused_with_a_reason() {
        let cases = [
            ("-----BEGIN A", "not finished"),
            ("-----BEGIN A-----\nAAAA", "no END"),
            ("-----BEGIN A-----\nAAAA\n-----END B-----", "does not match"),
            ("-----BEGIN A-----\nA*AA\n-----END A-----", "not Base64"),
            ("-----BEGIN A-----\nAAA\n-----END A-----", "not Base64"),
            (
                "-----BEGIN A-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END A-----",
                "header lines",
            ),
            (
                "-----BEGIN \u{1}-----\nAAAA\n-----END \u{1}-----",
                "no readable type",
            ),
        ];
        for (text, reason) in cases {
            let error = blocks(INPUT, text.as_bytes(), 10)
                .map(|_| ())
                .unwrap_err()
                .to_string();
            assert!(error.contains(reason), "{text:?}: {error}");
        }
    }

    #[test]
    fn more_blocks_than_allowed_are_refused() {
        let file = encode("A", &[1]).repeat(3);
        assert!(blocks(INPUT, file.as_bytes(), 3).is_ok());
        assert!(matches!(
            blocks(INPUT, file.as_bytes(), 2),
            Err(Error::TooLarge { limit: 2, .. })
        ));
    }

    #[test]
    fn a_single_block_must_be_single() {
        let file = encode("A", &[1]).to_string() + &encode("B", &[2]);
        assert_eq!(*single(INPUT, file.as_bytes(), &["B"]).unwrap().der, [2]);
        assert!(single(INPUT, file.as_bytes(), &["A", "B"]).is_err());
        assert!(single(INPUT, file.as_bytes(), &["C"]).is_err());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(der in proptest::collection::vec(any::<u8>(), 0..300)) {
            let text = encode("PRIVATE KEY", &der);
            prop_assert!(is_pem(text.as_bytes()));
            prop_assert!(text.lines().all(|line| line.len() <= 64));
            prop_assert_eq!(&*single(INPUT, text.as_bytes(), &["PRIVATE KEY"]).unwrap().der, &der);
        }

        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = blocks(INPUT, &[b"-----BEGIN A-----\n", &bytes[..], b"-----END A-----"].concat(), 10);
        }
    }
}
