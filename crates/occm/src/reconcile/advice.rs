//! What a person can look at when an exchange fails: the field of the Issuer that most likely is wrong.
//!
//! `cmp` knows nothing of our fields; its error says what happened, this adds where to look.

use cmp::error::CertificateFault;
use cmp::{CmpError, ErrorKind, TransportErrorKind};

/// The error as people are told it: what happened, and which field to look at if one can help.
pub(super) fn told(error: &CmpError) -> String {
    match advice(error) {
        Some(field) => format!("{error}; look at {field} of the Issuer"),
        None => error.to_string(),
    }
}

fn advice(error: &CmpError) -> Option<&'static str> {
    match &error.kind {
        ErrorKind::Transport { kind, .. } => of_transport(*kind),
        ErrorKind::Certificate(fault) => of_certificate(fault),
        ErrorKind::BadMac => Some("spec.authentication.initial.mac"),
        ErrorKind::WrongProtection { .. }
        | ErrorKind::BadSignature
        | ErrorKind::NoSigner { .. }
        | ErrorKind::SignerUntrusted(_) => Some("spec.trust.responses"),
        ErrorKind::SignerUsage { .. } => Some("spec.requests.signerKeyUsage"),
        ErrorKind::WrongSender { .. } => Some("spec.expectedSender and spec.recipient"),
        ErrorKind::Refused | ErrorKind::Hint => of_refusal(error),
        _ => None,
    }
}

fn of_transport(kind: TransportErrorKind) -> Option<&'static str> {
    match kind {
        TransportErrorKind::Resolve
        | TransportErrorKind::Connect
        | TransportErrorKind::Status(300..=499)
        | TransportErrorKind::NotCmp => Some("spec.url"),
        TransportErrorKind::Proxy => Some("spec.http.proxy"),
        TransportErrorKind::TlsTrust => Some("spec.trust.tls and spec.tls.serverName"),
        TransportErrorKind::TlsSettings => Some("spec.url and spec.tls"),
        _ => None,
    }
}

fn of_certificate(fault: &CertificateFault) -> Option<&'static str> {
    match fault {
        CertificateFault::Chain(_) => Some("spec.trust.certificates"),
        CertificateFault::Subject { .. }
        | CertificateFault::AlternativeNames { .. }
        | CertificateFault::Usages { .. } => Some("spec.requests.modifications"),
        _ => None,
    }
}

fn of_refusal(error: &CmpError) -> Option<&'static str> {
    const FIELDS: [(&str, &str); 5] = [
        ("badMessageCheck", "spec.authentication.initial"),
        ("signerNotTrusted", "spec.authentication"),
        ("wrongAuthority", "spec.recipient"),
        ("badAlg", "spec.authentication.initial.mac"),
        ("unacceptedPolicy", "spec.requests.certificateProfile"),
    ];
    let peer = error.peer.as_ref()?;
    FIELDS
        .iter()
        .find(|(bit, _)| peer.has(bit))
        .map(|(_, field)| *field)
}

#[cfg(test)]
mod tests {
    use cmp::{Reached, Stage, TransportError};

    use super::*;

    #[test]
    fn a_wrong_path_names_the_url() {
        let error = TransportError::new(Reached::Maybe, TransportErrorKind::Status(404), "147 bytes");
        let error = CmpError::transport(Stage::Requesting, error);
        assert_eq!(
            told(&error),
            "requesting: HTTP status 404: 147 bytes; look at spec.url of the Issuer"
        );
    }

    #[test]
    fn what_no_setting_can_mend_names_none() {
        let error = TransportError::new(Reached::Maybe, TransportErrorKind::Status(503), "busy");
        let error = CmpError::transport(Stage::Requesting, error);
        assert_eq!(told(&error), error.to_string());
        let error = CmpError::new(
            Stage::Verifying,
            ErrorKind::Certificate(CertificateFault::OtherKey),
        );
        assert_eq!(told(&error), error.to_string());
    }
}
