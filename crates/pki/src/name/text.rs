//! The two text forms of a name, read and written.
//!
//! ```text
//! distinguishedName         = [ relativeDistinguishedName *( "," relativeDistinguishedName ) ]
//! relativeDistinguishedName = attributeTypeAndValue *( "+" attributeTypeAndValue )
//! attributeTypeAndValue     = attributeType "=" attributeValue
//! attributeValue            = string / "#" hexstring             ; RFC 4514, 3
//! ```
//!
//! Reading is more lax than the grammar where people are: blanks around separators, names in any case, more names.
//! It is not lax about characters that must be escaped: `;` and quotes mean something in older forms (RFC 1779), and
//! guessing what was meant would put a wrong name into a certificate.
//!
//! OpenSSL's form has no standard. Here it is what `openssl req -subj` of version 3 reads: `/` begins an RDN, `+` adds an
//! attribute to it, a backslash takes the next character as it is, blanks count.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::iter::Peekable;
use std::str::Chars;

use crate::digest::{from_hex, hex};
use crate::error::Error;
use crate::name::attributes::AttributeType;
use crate::name::{Attribute, Rdn};

/// Characters that RFC 4514, 2.4, wants escaped wherever they stand.
const SPECIAL: &str = "\"+,;<>\\";

/// How values are written that plain text would not bring back exactly.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Values {
    /// As text, whatever string type they have.
    Readable,
    /// As `#hex` unless reading the text gives the same DER.
    Exact,
}

/// Where we are in a text.
///
/// Positions are counted in characters, because that is what a person counts in an editor.
struct Cursor<'a> {
    chars: Peekable<Chars<'a>>,
    /// Characters consumed so far.
    position: usize,
}

/// How an attribute ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// Another attribute of the same RDN follows.
    Plus,
    /// Another RDN follows.
    Separator,
    /// The text is over.
    Text,
}

impl<'a> Cursor<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            chars: text.chars().peekable(),
            position: 0,
        }
    }

    fn next(&mut self) -> Option<char> {
        let next = self.chars.next();
        if next.is_some() {
            self.position = self.position.saturating_add(1);
        }
        next
    }

    fn peek(&mut self) -> Option<char> {
        self.chars.peek().copied()
    }

    fn skip_spaces(&mut self) {
        while self.peek() == Some(' ') {
            self.next();
        }
    }

    /// An error at the character that was read last.
    fn error(&self, reason: impl Into<Cow<'static, str>>) -> Error {
        Error::NameSyntax {
            position: self.position.max(1),
            reason: reason.into(),
        }
    }

    /// Reads the type and its `=`.
    fn attribute_type(&mut self) -> Result<AttributeType, Error> {
        self.skip_spaces();
        let mut text = String::new();
        loop {
            match self.next() {
                Some('=') => break,
                Some(c) if c.is_ascii_alphanumeric() || ".- ".contains(c) => text.push(c),
                Some(_) | None => {
                    return Err(self.error(
                        "expected an attribute such as CN=value; escape ',', '+' or '/' in a value with '\\'",
                    ));
                }
            }
        }
        AttributeType::from_text(text.trim_end()).map_err(|reason| self.error(reason))
    }

    /// Reads `#` and hexadecimal digits up to the end of the attribute.
    ///
    /// RFC 4514, 2.4: the way for values that are no strings, and for strings in an unusual type.
    fn hex_value(&mut self, kind: AttributeType, separator: char) -> Result<(Attribute, End), Error> {
        self.next();
        let mut digits = String::new();
        let end = loop {
            match self.next() {
                None => break End::Text,
                Some('+') => break End::Plus,
                Some(c) if c == separator => break End::Separator,
                Some(c) => digits.push(c),
            }
        };
        let der = from_hex(digits.trim_end()).ok_or_else(|| {
            self.error("'#' must be followed by hexadecimal digits; write a literal '#' as '\\#'")
        })?;
        let attribute = kind.attribute_der(der).map_err(|reason| self.error(reason))?;
        Ok((attribute, end))
    }
}

/// RFC 4514, section 3. The result is in DER order, which is the reverse of the text.
///
/// An empty text is the empty name.
pub(super) fn parse_rfc4514(text: &str) -> Result<Vec<Rdn>, Error> {
    let mut cursor = Cursor::new(text);
    cursor.skip_spaces();
    if cursor.peek().is_none() {
        return Ok(Vec::new());
    }
    let mut rdns = read_rdns(&mut cursor, |cursor, kind| {
        cursor.skip_spaces();
        match cursor.peek() {
            Some('#') => cursor.hex_value(kind, ','),
            _ => rfc4514_value(cursor, kind),
        }
    })?;
    rdns.reverse();
    Ok(rdns)
}

/// OpenSSL's `-subj` form: every RDN begins with `/`, a backslash takes the next character as it is.
///
/// A lone `/` is the empty name, as OpenSSL has it.
pub(super) fn parse_slash(text: &str) -> Result<Vec<Rdn>, Error> {
    let mut cursor = Cursor::new(text);
    cursor.next();
    if cursor.peek().is_none() {
        return Ok(Vec::new());
    }
    read_rdns(&mut cursor, |cursor, kind| match cursor.peek() {
        Some('#') => cursor.hex_value(kind, '/'),
        _ => slash_value(cursor, kind),
    })
}

/// Reads attributes to the end of the text and groups them into RDNs.
fn read_rdns(
    cursor: &mut Cursor<'_>,
    mut value: impl FnMut(&mut Cursor<'_>, AttributeType) -> Result<(Attribute, End), Error>,
) -> Result<Vec<Rdn>, Error> {
    let mut rdns = Vec::new();
    let mut rdn = Vec::new();
    loop {
        let kind = cursor.attribute_type()?;
        let (attribute, end) = value(cursor, kind)?;
        rdn.push(attribute);
        if end != End::Plus {
            rdns.push(std::mem::take(&mut rdn));
        }
        if end == End::Text {
            return Ok(rdns);
        }
    }
}

fn rfc4514_value(cursor: &mut Cursor<'_>, kind: AttributeType) -> Result<(Attribute, End), Error> {
    let mut bytes = Vec::new();
    // Blanks at the end do not count unless they are escaped.
    let mut significant = 0;
    let end = loop {
        match cursor.next() {
            None => break End::Text,
            Some(',') => break End::Separator,
            Some('+') => break End::Plus,
            Some('\\') => {
                escaped(cursor, &mut bytes)?;
                significant = bytes.len();
            }
            Some(c) if SPECIAL.contains(c) || c == '\0' => {
                return Err(cursor.error("this character must be escaped with '\\'"));
            }
            Some(' ') => bytes.push(b' '),
            Some(c) => {
                push_char(&mut bytes, c);
                significant = bytes.len();
            }
        }
    };
    bytes.truncate(significant);
    let text = String::from_utf8(bytes).map_err(|_| cursor.error("escaped bytes are not UTF-8"))?;
    let attribute = kind.attribute(&text).map_err(|reason| cursor.error(reason))?;
    Ok((attribute, end))
}

/// What follows a backslash: a special character or two hexadecimal digits, which are one byte of UTF-8.
///
/// `/` and `=` need no escape here; they are accepted with one, because people escape them.
fn escaped(cursor: &mut Cursor<'_>, bytes: &mut Vec<u8>) -> Result<(), Error> {
    const ALLOWED: &str =
        "'\\' must be followed by one of ,+\"\\<>;=# or a blank, or by two hexadecimal digits";
    match cursor.next() {
        Some(c) if SPECIAL.contains(c) || " #=/".contains(c) => bytes.push(c as u8),
        Some(high) if high.is_ascii_hexdigit() => {
            let low = cursor.next();
            let byte = high.to_digit(16).zip(low.and_then(|low| low.to_digit(16)));
            let byte = byte.and_then(|(high, low)| u8::try_from(high << 4 | low).ok());
            bytes.push(byte.ok_or_else(|| cursor.error(ALLOWED))?);
        }
        Some(_) | None => return Err(cursor.error(ALLOWED)),
    }
    Ok(())
}

fn slash_value(cursor: &mut Cursor<'_>, kind: AttributeType) -> Result<(Attribute, End), Error> {
    let mut text = String::new();
    let end = loop {
        match cursor.next() {
            None => break End::Text,
            Some('/') => break End::Separator,
            Some('+') => break End::Plus,
            Some('\\') => {
                let next = cursor.next();
                text.push(next.ok_or_else(|| cursor.error("'\\' must be followed by a character"))?);
            }
            Some(c) => text.push(c),
        }
    };
    let attribute = kind.attribute(&text).map_err(|reason| cursor.error(reason))?;
    Ok((attribute, end))
}

/// Writes RFC 4514.
///
/// Attributes of a set are written in the order of the DER; RFC 4514, 2.2, leaves it open.
pub(super) fn rfc4514(rdns: &[Rdn], values: Values) -> String {
    let mut out = String::new();
    for (i, rdn) in rdns.iter().rev().enumerate() {
        if i > 0 {
            out.push(',');
        }
        for (j, attribute) in rdn.iter().enumerate() {
            if j > 0 {
                out.push('+');
            }
            let name = attribute.type_name();
            // The one short name of RFC 4514, section 3, that OpenSSL writes differently.
            out.push_str(if name == "street" { "STREET" } else { &name });
            out.push('=');
            match written_text(attribute, values) {
                Some(text) => escape_rfc4514(&text, &mut out),
                None => push_hex(attribute, &mut out),
            }
        }
    }
    out
}

/// Writes OpenSSL's form.
pub(super) fn slash(rdns: &[Rdn]) -> String {
    if rdns.is_empty() {
        return "/".to_owned();
    }
    let mut out = String::new();
    for rdn in rdns {
        for (i, attribute) in rdn.iter().enumerate() {
            out.push(if i == 0 { '/' } else { '+' });
            out.push_str(&attribute.type_name());
            out.push('=');
            match attribute.text() {
                Some(text) => escape_slash(&text, &mut out),
                None => push_hex(attribute, &mut out),
            }
        }
    }
    out
}

fn written_text(attribute: &Attribute, values: Values) -> Option<String> {
    let text = attribute.text()?;
    match values {
        Values::Readable => Some(text),
        Values::Exact => {
            let again = AttributeType::from_oid(attribute.oid()).attribute(&text).ok()?;
            (again == *attribute).then_some(text)
        }
    }
}

fn escape_rfc4514(text: &str, out: &mut String) {
    let last = text.chars().count().saturating_sub(1);
    for (i, c) in text.chars().enumerate() {
        let at_edge = i == 0 && (c == ' ' || c == '#') || i == last && c == ' ';
        if at_edge || SPECIAL.contains(c) {
            out.push('\\');
            out.push(c);
        } else if is_invisible(c) {
            let mut buffer = [0; 4];
            for byte in c.encode_utf8(&mut buffer).bytes() {
                // Writing into a String cannot fail.
                let _ = write!(out, "\\{byte:02X}");
            }
        } else {
            out.push(c);
        }
    }
}

/// Characters that would break a line, move a cursor or turn the direction of writing.
///
/// RFC 4514, 2.4, allows to escape any character. Names of peers go into logs and terminals, where these do harm.
fn is_invisible(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn escape_slash(text: &str, out: &mut String) {
    for (i, c) in text.chars().enumerate() {
        if "/+\\".contains(c) || i == 0 && c == '#' {
            out.push('\\');
        }
        out.push(c);
    }
}

fn push_hex(attribute: &Attribute, out: &mut String) {
    out.push('#');
    out.push_str(&hex(attribute.value_der()));
}

fn push_char(bytes: &mut Vec<u8>, c: char) {
    let mut buffer = [0; 4];
    bytes.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes());
}
