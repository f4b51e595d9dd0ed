//! The address of a CMP server or of a proxy: parsed once, then taken apart by the HTTP transport and by the
//! `openssl cmp` engine alike.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};

use hyper::Uri;

/// Whether the connection is wrapped in TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `http`, default port 80.
    Http,
    /// `https`, default port 443.
    Https,
}

impl Scheme {
    /// The port used when the URL names none.
    #[must_use]
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }

    /// The word before `://`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// A checked `http` or `https` URL without user information, fragment or control characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    scheme: Scheme,
    host: String,
    port: u16,
    path: String,
}

/// What is wrong with the text of an [`Endpoint`]. The text itself is not repeated: it may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// The text cannot be parsed as an absolute URL.
    #[error("not an absolute URL of the form http[s]://host[:port][/path]")]
    Syntax,
    /// Neither `http` nor `https`.
    #[error("the scheme is not http or https")]
    Scheme,
    /// `user:password@` in front of the host.
    #[error("user name and password do not belong into the URL")]
    UserInfo,
    /// `#...` at the end.
    #[error("a fragment (#...) does not belong into the URL")]
    Fragment,
    /// Port 0 or above 65535.
    #[error("the port is not between 1 and 65535")]
    Port,
    /// Longer than [`Endpoint::MAX_CHARS`].
    #[error("the URL is longer than {} characters", Endpoint::MAX_CHARS)]
    TooLong,
}

impl Endpoint {
    /// Longest URL that is accepted.
    pub const MAX_CHARS: usize = 2048;

    /// `http` or `https`.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Host name or address, in lower case; an IPv6 address without its brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, also where the URL left it out.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Path and query, at least `/`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// `host:port` with brackets around an IPv6 address; the port always stands there.
    #[must_use]
    pub fn host_and_port(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// The value of the `Host` header: without the port where it is the scheme's own.
    #[must_use]
    pub fn authority(&self) -> String {
        if self.port != self.scheme.default_port() {
            self.host_and_port()
        } else if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        }
    }

    /// The host as an address, if it is one.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        if text.len() > Self::MAX_CHARS {
            return Err(EndpointError::TooLong);
        }
        if text.contains('#') {
            return Err(EndpointError::Fragment);
        }
        let uri: Uri = text.parse().map_err(|_| EndpointError::Syntax)?;
        let scheme = match uri.scheme_str() {
            Some("http") => Scheme::Http,
            Some("https") => Scheme::Https,
            Some(_) => return Err(EndpointError::Scheme),
            None => return Err(EndpointError::Syntax),
        };
        let authority = uri.authority().ok_or(EndpointError::Syntax)?;
        if authority.as_str().contains('@') {
            return Err(EndpointError::UserInfo);
        }
        let host = authority.host();
        let port = match authority.as_str().get(host.len()..) {
            None | Some("") => scheme.default_port(),
            Some(rest) => {
                let digits = rest.strip_prefix(':').ok_or(EndpointError::Syntax)?;
                digits
                    .parse()
                    .ok()
                    .filter(|port| *port != 0)
                    .ok_or(EndpointError::Port)?
            }
        };
        let host = match host.strip_prefix('[') {
            Some(inner) => {
                let inner = inner.strip_suffix(']').ok_or(EndpointError::Syntax)?;
                inner.parse::<Ipv6Addr>().map_err(|_| EndpointError::Syntax)?;
                inner
            }
            None => host,
        };
        if host.is_empty() {
            return Err(EndpointError::Syntax);
        }
        let host = host.to_ascii_lowercase();
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let path = if path.is_empty() {
            "/".to_owned()
        } else {
            path.to_owned()
        };
        Ok(Self {
            scheme,
            host,
            port,
            path,
        })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{}://{}{}",
            self.scheme.as_str(),
            self.authority(),
            self.path
        )
    }
}

/// Hosts that are reached directly although a proxy is configured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NoProxy(Vec<String>);

impl NoProxy {
    /// Parses a list separated by commas or white space.
    ///
    /// An entry is `*` (everything), a host name (also matches every name below it, with or without a leading dot), an
    /// address, or an address block such as `10.0.0.0/8`.
    #[must_use]
    pub fn parse(list: &str) -> Self {
        let entries = list.split(|sign: char| sign == ',' || sign.is_whitespace());
        Self(
            entries
                .filter(|entry| !entry.is_empty())
                .map(str::to_ascii_lowercase)
                .collect(),
        )
    }

    /// The entries, in lower case.
    #[must_use]
    pub fn entries(&self) -> &[String] {
        &self.0
    }

    /// Says whether `endpoint` is reached without the proxy.
    #[must_use]
    pub fn matches(&self, endpoint: &Endpoint) -> bool {
        self.0.iter().any(|entry| entry_matches(entry, endpoint))
    }
}

fn entry_matches(entry: &str, endpoint: &Endpoint) -> bool {
    if entry == "*" {
        return true;
    }
    if let Some(address) = endpoint.ip() {
        return match entry.split_once('/') {
            Some((network, bits)) => match (network.parse(), bits.parse()) {
                (Ok(network), Ok(bits)) => in_block(address, network, bits),
                _ => false,
            },
            None => entry.trim_matches(['[', ']']).parse::<IpAddr>() == Ok(address),
        };
    }
    let name = entry.trim_start_matches('.');
    match endpoint.host().strip_suffix(name) {
        Some(head) => !name.is_empty() && (head.is_empty() || head.ends_with('.')),
        None => false,
    }
}

fn in_block(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) if bits <= 32 => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            address.to_bits() & mask == network.to_bits() & mask
        }
        (IpAddr::V6(address), IpAddr::V6(network)) if bits <= 128 => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            address.to_bits() & mask == network.to_bits() & mask
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(text: &str) -> Endpoint {
        text.parse().unwrap()
    }

    #[test]
    fn a_url_is_taken_apart() {
        let table = [
            ("http://ca.example", "ca.example:80", "/", "ca.example"),
            (
                "https://CA.example/p?x=1",
                "ca.example:443",
                "/p?x=1",
                "ca.example",
            ),
            (
                "http://127.0.0.1:8080/.well-known/cmp",
                "127.0.0.1:8080",
                "/.well-known/cmp",
                "127.0.0.1:8080",
            ),
            ("https://[::1]:8443/x", "[::1]:8443", "/x", "[::1]:8443"),
            ("https://[::1]/x", "[::1]:443", "/x", "[::1]"),
        ];
        for (text, socket, path, authority) in table {
            let parsed = endpoint(text);
            assert_eq!(
                (parsed.host_and_port().as_str(), parsed.path()),
                (socket, path),
                "{text}"
            );
            assert_eq!(parsed.authority(), authority, "{text}");
            assert_eq!(endpoint(&parsed.to_string()), parsed, "{text}");
        }
    }

    #[test]
    fn what_is_not_a_plain_url_is_refused_by_name() {
        let table = [
            ("ca.example", EndpointError::Syntax),
            ("/path", EndpointError::Syntax),
            ("http://", EndpointError::Syntax),
            ("http://a b/", EndpointError::Syntax),
            ("http://ca\r\nHost: x/", EndpointError::Syntax),
            ("http://[zz]/", EndpointError::Syntax),
            ("ftp://ca.example/", EndpointError::Scheme),
            ("http://user:secret@ca.example/", EndpointError::UserInfo),
            ("http://ca.example/#x", EndpointError::Fragment),
            ("http://ca.example:0/", EndpointError::Port),
            ("http://ca.example:/", EndpointError::Port),
        ];
        for (text, error) in table {
            assert_eq!(text.parse::<Endpoint>(), Err(error), "{text}");
        }
        let long = format!("http://ca.example/{}", "x".repeat(Endpoint::MAX_CHARS));
        assert_eq!(long.parse::<Endpoint>(), Err(EndpointError::TooLong));
    }

    #[test]
    fn no_proxy_knows_names_addresses_and_blocks() {
        let list = NoProxy::parse("example.org, .internal 10.0.0.0/8,::1 fd00::/8,192.0.2.7");
        for inside in [
            "http://example.org",
            "http://a.example.org",
            "http://ca.internal",
            "http://internal",
            "http://10.9.8.7",
            "http://[::1]",
            "http://[fd12::1]",
            "http://192.0.2.7",
        ] {
            assert!(list.matches(&endpoint(inside)), "{inside}");
        }
        for outside in [
            "http://badexample.org",
            "http://11.0.0.1",
            "http://[fe80::1]",
            "http://192.0.2.8",
        ] {
            assert!(!list.matches(&endpoint(outside)), "{outside}");
        }
        assert!(NoProxy::parse("*").matches(&endpoint("http://anything")));
        assert!(NoProxy::parse("0.0.0.0/0").matches(&endpoint("http://203.0.113.9")));
        assert!(!NoProxy::parse("10.0.0.0/99,/8,.").matches(&endpoint("http://10.0.0.1")));
    }
}
