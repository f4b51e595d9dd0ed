//! Subject alternative names (RFC 5280, 4.2.1.6): host names, addresses, URIs and mail addresses.
//!
//! Names are checked when they are made, with the reason *and* what would be right: the text of a refusal is read by the
//! person who typed the name into a YAML file. The rules are those for names we *ask for*. Certificates of others hold
//! names that break them, so those are read with fewer rules.
//!
//! Not supported, since no server certificate needs them: other names, X.400 addresses, directory names, EDI parties,
//! registered identifiers.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Input};

const DNS_ALLOWED: &str = "labels of letters, digits and '-' joined by '.', at most 63 characters each and 253 in all, \
                           with '*' allowed as the whole first label";
const URI_ALLOWED: &str =
    "an absolute URI in ASCII such as spiffe://cluster/ns/a or urn:uuid:.., at most 2048 characters";
const EMAIL_ALLOWED: &str = "local-part@host in ASCII, at most 254 characters";
const IP_ALLOWED: &str =
    "an IPv4 or IPv6 address without prefix length or zone, such as 192.0.2.1 or 2001:db8::1";
const FORM_ALLOWED: &str = "DNS:host, IP:address, URI:uri or email:address";

/// A subject alternative name.
///
/// As text and when serialised: `DNS:a.example`, `IP:192.0.2.1`, `URI:urn:x`, `email:a@b.example`.
///
/// ```
/// use pki::San;
///
/// assert_eq!(San::dns("WWW.Lab.example"), "DNS:www.lab.example".parse());
/// let error = San::dns("a_b.example").unwrap_err().to_string();
/// assert!(error.contains("not a letter, digit, '-' or '.'") && error.contains("allowed: labels"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum San {
    /// A host name in lower case, perhaps with `*` as its first label.
    Dns(SanText),
    /// An address.
    Ip(IpAddr),
    /// A URI (RFC 3986).
    Uri(SanText),
    /// A mail address (RFC 5321).
    Email(SanText),
}

/// Text of an alternative name that has been checked for its kind.
///
/// Only this module makes it, so whoever holds one need not check again. It is ASCII, as IA5String wants.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SanText(String);

impl SanText {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SanText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl San {
    /// A host name. Letters become lower case, because DNS does not tell them apart and comparisons should not.
    ///
    /// # Errors
    ///
    /// Labels that are empty, too long or have other characters; a wildcard that is not the whole first label; names that
    /// end in a number, which browsers and DNS libraries take for an address.
    pub fn dns(text: &str) -> Result<Self, Error> {
        check_dns(text, Wildcard::Allowed).map_err(|reason| refused(reason, DNS_ALLOWED))?;
        Ok(Self::Dns(SanText(text.to_ascii_lowercase())))
    }

    /// An address.
    pub fn ip(text: &str) -> Result<Self, Error> {
        let address = text
            .parse()
            .map_err(|_| refused("is not an IP address", IP_ALLOWED))?;
        Ok(Self::Ip(address))
    }

    /// A URI with a scheme.
    ///
    /// Whether anything answers there is not our question; SPIFFE identifiers and URNs name things that nobody can fetch.
    pub fn uri(text: &str) -> Result<Self, Error> {
        check_uri(text).map_err(|reason| refused(reason, URI_ALLOWED))?;
        Ok(Self::Uri(SanText(text.to_owned())))
    }

    /// A mail address.
    pub fn email(text: &str) -> Result<Self, Error> {
        check_email(text).map_err(|reason| refused(reason, EMAIL_ALLOWED))?;
        Ok(Self::Email(SanText(text.to_owned())))
    }

    /// Text of a name in somebody else's certificate: any visible ASCII, since CAs issue what our rules for requests
    /// would refuse (for example host names with `_`). `None` for anything that could do harm in a log line.
    pub(crate) fn foreign(kind: ForeignKind, text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let visible = !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
        visible.then(|| match kind {
            ForeignKind::Dns => Self::Dns(SanText(text.to_ascii_lowercase())),
            ForeignKind::Uri => Self::Uri(SanText(text.to_owned())),
            ForeignKind::Email => Self::Email(SanText(text.to_owned())),
        })
    }
}

/// Which text an alternative name in a certificate is.
///
/// Addresses are octets, not text, and need no such care.
#[derive(Clone, Copy)]
pub(crate) enum ForeignKind {
    Dns,
    Uri,
    Email,
}

impl fmt::Display for San {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => write!(f, "DNS:{name}"),
            Self::Ip(address) => write!(f, "IP:{address}"),
            Self::Uri(uri) => write!(f, "URI:{uri}"),
            Self::Email(address) => write!(f, "email:{address}"),
        }
    }
}

impl FromStr for San {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (kind, value) = text
            .split_once(':')
            .ok_or_else(|| refused("has no kind in front of ':'", FORM_ALLOWED))?;
        match kind.to_ascii_lowercase().as_str() {
            "dns" => Self::dns(value),
            "ip" => Self::ip(value),
            "uri" => Self::uri(value),
            "email" => Self::email(value),
            _ => Err(refused("is of an unknown kind", FORM_ALLOWED)),
        }
    }
}

impl Serialize for San {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for San {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

fn refused(reason: impl Into<Cow<'static, str>>, allowed: &'static str) -> Error {
    Error::not_allowed(Input::AlternativeName, reason, allowed)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wildcard {
    Allowed,
    Forbidden,
}

/// The "preferred name syntax" of RFC 1034, 3.5, as RFC 5280 wants it, with the wildcard of RFC 9525, 6.3.
///
/// Underscores are not in it, although DNS carries them: RFC 5280 points to the syntax for hosts, and public CAs refuse
/// them (ballot SC12 of the CA/Browser Forum).
fn check_dns(text: &str, wildcard: Wildcard) -> Result<(), &'static str> {
    if text.is_empty() {
        return Err("is empty");
    }
    if text.len() > 253 {
        return Err("is longer than 253 characters");
    }
    if !text.is_ascii() {
        return Err("has characters outside ASCII (write international names in their xn-- form)");
    }
    if text.ends_with('.') {
        return Err("ends with a dot");
    }
    let mut host = text;
    if let Some(rest) = text.strip_prefix("*.") {
        if wildcard == Wildcard::Forbidden {
            return Err("has a wildcard");
        }
        host = rest;
    }
    for label in host.split('.') {
        check_label(label)?;
    }
    let last = host.rsplit('.').next().unwrap_or_default();
    if last.bytes().all(|b| b.is_ascii_digit()) {
        return Err("ends with a number like an IP address, which is an alternative name of another kind");
    }
    Ok(())
}

fn check_label(label: &str) -> Result<(), &'static str> {
    if label.is_empty() {
        return Err("has an empty label");
    }
    if label.len() > 63 {
        return Err("has a label of more than 63 characters");
    }
    if label.contains('*') {
        return Err("has a '*' that is not the whole first label");
    }
    if !label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Err("has a character that is not a letter, digit, '-' or '.'");
    }
    if label.starts_with('-') || label.ends_with('-') {
        return Err("has a label that starts or ends with '-'");
    }
    Ok(())
}

/// RFC 5280, 4.2.1.6: absolute, with scheme and scheme-specific part, only the characters of RFC 3986, section 2.
///
/// Percent signs must be followed by two hexadecimal digits; nothing is decoded or normalised.
fn check_uri(text: &str) -> Result<(), &'static str> {
    if text.len() > 2048 {
        return Err("is longer than 2048 characters");
    }
    let (scheme, rest) = text.split_once(':').ok_or("has no scheme")?;
    let scheme_ok = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    if !scheme_ok {
        return Err("has no scheme");
    }
    if rest.is_empty() || rest == "//" {
        return Err("has nothing after its scheme");
    }
    let mut bytes = rest.bytes();
    while let Some(byte) = bytes.next() {
        let fine = match byte {
            b'%' => [bytes.next(), bytes.next()]
                .iter()
                .all(|d| d.is_some_and(|d| d.is_ascii_hexdigit())),
            _ => byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=".contains(&byte),
        };
        if !fine {
            return Err("has a character that a URI must write as '%' and two hexadecimal digits");
        }
    }
    Ok(())
}

/// RFC 5321, 4.1.2, without quoted strings and address literals, which certificates do not use.
fn check_email(text: &str) -> Result<(), &'static str> {
    if text.len() > 254 {
        return Err("is longer than 254 characters");
    }
    let (local, host) = text.rsplit_once('@').ok_or("has no '@'")?;
    if local.is_empty() || local.len() > 64 {
        return Err("must have 1 to 64 characters before '@'");
    }
    let dots_fine = !local.starts_with('.') && !local.ends_with('.') && !local.contains("..");
    let atext = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&b);
    if !dots_fine || !local.bytes().all(atext) {
        return Err("has a character or dot before '@' that is not allowed there");
    }
    check_dns(host, Wildcard::Forbidden).map_err(|_| "has no valid host name after '@'")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reason(result: Result<San, Error>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn usual_names_are_accepted_and_read_back() {
        let long = format!("{}.example", vec!["a".repeat(60); 4].join("."));
        for text in [
            "DNS:a.example",
            "DNS:*.a.example",
            "DNS:localhost",
            "DNS:xn--bcher-kva.example",
            "DNS:1.a",
            "IP:192.0.2.1",
            "IP:2001:db8::1",
            "URI:spiffe://cluster.local/ns/a/sa/b",
            "URI:urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
            "URI:https://[2001:db8::1]:8443/a%20b?x=1#y",
            "email:o'neil+tag@a.example",
            &format!("DNS:{long}"),
        ] {
            assert_eq!(text.parse::<San>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn host_names_become_lower_case() {
        assert_eq!(San::dns("WWW.Example").unwrap(), San::dns("www.example").unwrap());
    }

    #[test]
    fn wrong_host_names_are_refused_with_what_is_wrong_and_what_is_allowed() {
        let cases = [
            ("", "is empty"),
            ("a..b", "empty label"),
            (".a", "empty label"),
            ("a.", "ends with a dot"),
            ("-a.b", "'-'"),
            ("a-.b", "'-'"),
            ("a_b.c", "not a letter"),
            ("a b", "not a letter"),
            ("a.*.b", "not the whole first label"),
            ("*a.b", "not the whole first label"),
            ("*", "not the whole first label"),
            ("*.*.b", "not the whole first label"),
            ("bücher.example", "xn--"),
            ("192.0.2.1", "like an IP address"),
            ("a\n.b", "not a letter"),
            ("a\0.b", "not a letter"),
        ];
        for (text, part) in cases {
            let reason = reason(San::dns(text));
            assert!(
                reason.contains(part) && reason.contains("allowed: labels"),
                "{text:?}: {reason}"
            );
        }
        assert!(reason(San::dns(&"a".repeat(64))).contains("63"));
        assert!(reason(San::dns(&"a.".repeat(127).repeat(2))).contains("253"));
    }

    #[test]
    fn wrong_addresses_are_refused() {
        for text in [
            "",
            "1.2.3",
            "1.2.3.256",
            "01.2.3.4",
            "1.2.3.4/24",
            "fe80::1%eth0",
            "::g",
            "a.example",
        ] {
            assert!(reason(San::ip(text)).contains("not an IP address"), "{text}");
        }
    }

    #[test]
    fn wrong_uris_are_refused() {
        let cases = [
            ("", "no scheme"),
            ("//host/path", "no scheme"),
            ("path", "no scheme"),
            ("1a:b", "no scheme"),
            (":b", "no scheme"),
            ("a:", "nothing after"),
            ("https://", "nothing after"),
            ("a:b c", "'%'"),
            ("a:b%2", "'%'"),
            ("a:b%zz", "'%'"),
            ("a:ü", "'%'"),
            ("a:b\n", "'%'"),
            ("a:<b>", "'%'"),
        ];
        for (text, part) in cases {
            assert!(
                reason(San::uri(text)).contains(part),
                "{text:?}: {}",
                reason(San::uri(text))
            );
        }
        assert!(reason(San::uri(&format!("a:{}", "b".repeat(2048)))).contains("2048"));
    }

    #[test]
    fn wrong_mail_addresses_are_refused() {
        let long = format!("{}@a.example", "a".repeat(65));
        for text in [
            "",
            "a",
            "@a.b",
            "a@",
            "a@b_c",
            "a@*.b",
            ".a@b.c",
            "a..b@c.d",
            "a b@c.d",
            "ä@b.c",
            "a@[1.2.3.4]",
            &long,
        ] {
            assert!(
                reason(San::email(text)).contains("allowed: local-part@host"),
                "{text}"
            );
        }
    }

    #[test]
    fn the_kind_must_be_there_and_known() {
        assert!(reason("a.example".parse()).contains("no kind"));
        assert!(reason("dirName:a".parse()).contains("unknown kind"));
    }

    #[test]
    fn foreign_names_keep_odd_characters_but_not_invisible_ones() {
        assert_eq!(
            San::foreign(ForeignKind::Dns, b"A_b").unwrap().to_string(),
            "DNS:a_b"
        );
        for bytes in [&b""[..], b"a\n", b"a\0b", b"\xff", "ü".as_bytes()] {
            assert_eq!(San::foreign(ForeignKind::Uri, bytes), None);
        }
    }

    proptest! {
        #[test]
        fn random_text_never_panics(text in any::<String>()) {
            let _ = text.parse::<San>();
            let _ = (San::dns(&text), San::ip(&text), San::uri(&text), San::email(&text));
        }

        #[test]
        fn accepted_names_survive_serialisation(
            text in "(DNS:(\\*\\.)?[a-z0-9]{1,9}(\\.[a-z]{1,9}){0,3}|IP:[0-9]{1,3}(\\.[0-9]{1,3}){3}|email:[a-z.]{1,8}@[a-z]{1,8})"
        ) {
            if let Ok(san) = text.parse::<San>() {
                let json = serde_json::to_string(&san).unwrap();
                prop_assert_eq!(serde_json::from_str::<San>(&json).unwrap(), san);
            }
        }
    }
}
