//! What the command said, as an error of ours or as hints beside its files.
//!
//! The exit code is 1 for everything, so the texts decide; those of 3.0 and 3.5 differ. The tables below were made from
//! recorded runs, which `tests/openssl_outcome.rs` reads. A text that no table knows is still an error: class Retry,
//! with the command's last words.
//!
//! The texts hold what the peer wrote. Whoever writes a status text that looks like a line of the command can choose
//! the class of his own refusal, not more: success is judged by the files, in `verify::issued`.

use std::time::Duration;

use super::run::{End, Finished};
use crate::asn1::{FailureInfo, PkiStatus};
use crate::error::{CertificateFault, Class, CmpError, ErrorKind, FieldFault, PeerStatus, Stage, escape};
use crate::transport::{Reached, TransportErrorKind};

/// What can be read off the output of one run.
pub(super) struct Report<'a> {
    errors: Vec<&'a str>,
    all: Vec<&'a str>,
    text: &'a str,
}

impl<'a> Report<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let all: Vec<&str> = text.lines().map(without_place).collect();
        let errors = all
            .iter()
            .filter_map(|line| line.strip_prefix("CMP error: "))
            .collect();
        Self { errors, all, text }
    }

    /// Was the status grantedWithMods?
    pub(super) fn granted_with_mods(&self) -> bool {
        self.says("CMP warning: received \"grantedWithMods\"")
            || self.text.contains("PKIStatus: granted with modifications")
    }

    /// The status text of a success, escaped; empty if there is none.
    pub(super) fn status_text(&self) -> String {
        self.all
            .iter()
            .find_map(|line| quoted(line, "StatusString: "))
            .unwrap_or_default()
    }

    /// Did some line begin so?
    fn says(&self, beginning: &str) -> bool {
        self.all.iter().any(|line| line.starts_with(beginning))
    }

    fn error_with(&self, part: &str) -> bool {
        self.errors.iter().any(|line| line.contains(part))
    }

    fn was_sent(&self) -> bool {
        self.says("CMP info: sending ")
    }

    fn stage(&self) -> Stage {
        if !self.was_sent() {
            Stage::Preparing
        } else if self.error_with("certificate not accepted") {
            Stage::Verifying
        } else {
            let sent = |line: &&&str| line.starts_with("CMP info: sending ");
            match self.all.iter().rev().find(sent) {
                Some(line) if line.ends_with("CERTCONF") => Stage::Confirming,
                Some(line) if line.ends_with("POLLREQ") => Stage::Polling,
                _ => Stage::Requesting,
            }
        }
    }
}

/// Cuts `function:file:line:` off a line.
fn without_place(line: &str) -> &str {
    match line.find("CMP ") {
        Some(at) if line.get(..at).is_some_and(is_place) => line.get(at..).unwrap_or(line),
        _ => line,
    }
}

fn is_place(text: &str) -> bool {
    text.ends_with(':') && !text.contains(' ') && text.contains(".c:")
}

/// The text between quotes that follows `key`.
fn quoted(line: &str, key: &str) -> Option<String> {
    let rest = line.split_once(key)?.1.strip_prefix('"')?;
    let end = rest.rfind('"')?;
    rest.get(..end).map(|text| escape(text.as_bytes()))
}

/// The error of a run that did not succeed.
pub(super) fn failure(finished: &Finished, limit: Duration) -> CmpError {
    let text = String::from_utf8_lossy(&finished.output);
    let report = Report::new(&text);
    let stage = report.stage();
    match finished.end {
        End::OutOfTime => {
            let message = format!("the command was stopped after {} s", limit.as_secs());
            transport(&report, TransportErrorKind::Timeout, Reached::Maybe, message)
        }
        End::Signal(number) => {
            let text = format!("the command ended by signal {number}");
            CmpError::new(stage, ErrorKind::Program(text)).with_reached(Reached::Maybe)
        }
        End::Success | End::Failure => refusal(&report)
            .or_else(|| transfer(&report))
            .or_else(|| checks(&report))
            .unwrap_or_else(|| setup(&report)),
    }
}

/// The CA said no.
fn refusal(report: &Report<'_>) -> Option<CmpError> {
    let line = report.errors.iter().find(|line| line.contains("PKIStatus: "))?;
    let status = line.split_once("PKIStatus: ")?.1;
    let known = [
        ("rejection", PkiStatus::Rejection),
        ("waiting", PkiStatus::Waiting),
        ("granted", PkiStatus::GrantedWithMods),
        ("accepted", PkiStatus::Accepted),
        ("revocation warning", PkiStatus::RevocationWarning),
        ("revocation notification", PkiStatus::RevocationNotification),
        ("key update", PkiStatus::KeyUpdateWarning),
    ];
    let status = known
        .iter()
        .find(|(text, _)| status.starts_with(text))
        .map_or(PkiStatus::Rejection, |(_, found)| *found);
    if status == PkiStatus::Waiting {
        let what =
            "a CA that lets wait for this kind of message by this version of openssl (it is from 3.3 on)";
        let kind = ErrorKind::Unsupported {
            what: what.to_owned(),
        };
        return Some(CmpError::new(report.stage(), kind));
    }
    let names = line
        .split_once("PKIFailureInfo: ")
        .map(|(_, rest)| rest.split(';').next().unwrap_or_default());
    let words: Vec<&str> = names.unwrap_or_default().split(',').map(str::trim).collect();
    let failure = FailureInfo::NAMES
        .into_iter()
        .filter(|name| words.contains(name))
        .collect();
    let peer = PeerStatus {
        status,
        failure,
        text: quoted(line, "StatusString: ").unwrap_or_default(),
        authentic: true,
    };
    Some(CmpError::refused(report.stage(), peer))
}

/// HTTP and below. The first row that fits decides.
const TRANSFER: [(&str, TransportErrorKind, Reached); 26] = {
    use Reached::{Maybe, No};
    use TransportErrorKind as Kind;
    [
        ("proxy connect", Kind::Proxy, No),
        ("name resolution", Kind::Resolve, No),
        ("Name or service not known", Kind::Resolve, No),
        ("No address associated", Kind::Resolve, No),
        ("certificate verify failed", Kind::TlsTrust, No),
        ("wrong version number", Kind::TlsSettings, No),
        ("unsupported protocol", Kind::TlsSettings, No),
        ("no protocols available", Kind::TlsSettings, No),
        // An alert is the server's refusal of the handshake; with TLS 1.3 that of our certificate comes behind the request,
        // which the server then has not read. 80 is its internal error (RFC 8446, 6.2), the others do not pass by waiting.
        ("SSL alert number 80", Kind::Tls, No),
        ("SSL alert number", Kind::TlsSettings, No),
        ("packet length too long", Kind::TlsSettings, No),
        ("The server does not support", Kind::TlsSettings, No),
        ("Connection refused", Kind::Connect, No),
        ("unreachable", Kind::Connect, No),
        ("No route to host", Kind::Connect, No),
        ("connect timeout", Kind::Timeout, No),
        ("connect error", Kind::Connect, No),
        ("transfer timeout", Kind::Timeout, Maybe),
        ("max resp len exceeded", Kind::TooLarge, Maybe),
        ("redirection", Kind::Status(302), Maybe),
        ("content type", Kind::NotCmp, Maybe),
        ("missing asn1 encoding", Kind::NotCmp, Maybe),
        ("inconsistent content length", Kind::Interrupted, Maybe),
        ("failed reading data", Kind::Interrupted, Maybe),
        ("error receiving", Kind::Interrupted, Maybe),
        ("error sending", Kind::Interrupted, Maybe),
    ]
};

fn transfer(report: &Report<'_>) -> Option<CmpError> {
    if report.error_with("total timeout") {
        let polls = report
            .all
            .iter()
            .filter(|line| line.ends_with("sending POLLREQ"))
            .count();
        if polls > 0 {
            let message = format!("the CA did not decide within the total time ({polls} polls)");
            return Some(transport(
                report,
                TransportErrorKind::Timeout,
                Reached::Maybe,
                message,
            ));
        }
        let message = "no complete answer within the total time".to_owned();
        return Some(transport(
            report,
            TransportErrorKind::Timeout,
            Reached::Maybe,
            message,
        ));
    }
    if !report.error_with("transfer error") {
        return None;
    }
    let mut codes = report
        .errors
        .iter()
        .filter_map(|line| Some((line, status_code(line)?)));
    if let Some((line, code)) = codes.find(|(_, code)| *code != 200) {
        let kind = TransportErrorKind::Status(code);
        return Some(transport(report, kind, Reached::Maybe, escape(line.as_bytes())));
    }
    let row = TRANSFER.iter().find(|(part, _, _)| report.error_with(part));
    let (part, kind, reached) =
        row.copied()
            .unwrap_or(("transfer error", TransportErrorKind::Interrupted, Reached::Maybe));
    let line = report
        .errors
        .iter()
        .find(|line| line.contains(part))
        .copied()
        .unwrap_or_default();
    Some(transport(report, kind, reached, escape(line.as_bytes())))
}

fn transport(report: &Report<'_>, kind: TransportErrorKind, reached: Reached, message: String) -> CmpError {
    let stage = match report.stage() {
        Stage::Preparing => Stage::Requesting,
        stage => stage,
    };
    // Only the first message can be the one that nobody got.
    let first = report
        .all
        .iter()
        .filter(|line| line.starts_with("CMP info: sending "))
        .count()
        <= 1;
    let reached = if first { reached } else { Reached::Maybe };
    CmpError::new(stage, ErrorKind::Transport { kind, message }).with_reached(reached)
}

/// `code=404` of 3.0, `http code 503` of 3.5.
fn status_code(line: &str) -> Option<u16> {
    let rest = line
        .split_once("code=")
        .or_else(|| line.split_once("http code "))?
        .1;
    let digits = rest.get(..3)?;
    digits.parse().ok().filter(|code| (100..=599).contains(code))
}

/// The command did not believe the answer or the certificate.
///
/// An error message that nobody vouches for is a hint to come again, as with the native engine: anybody on the way may
/// have written it, and a CA that does not know our secret cannot do better.
fn checks(report: &Report<'_>) -> Option<CmpError> {
    let error = disbelief(report)?;
    // The names of messages are in capitals; `received 1 extra certificate(s)` is about a file.
    let message = |line: &&str| {
        let rest = line.strip_prefix("CMP info: received ")?;
        rest.starts_with(|c: char| c.is_ascii_uppercase())
            .then_some(rest.starts_with("ERROR"))
    };
    let is_error = report.all.iter().rev().find_map(message).unwrap_or(false);
    Some(if is_error && error.step != Stage::Verifying {
        error.with_class(Class::Retry)
    } else {
        error
    })
}

/// The first row that fits decides.
fn disbelief(report: &Report<'_>) -> Option<CmpError> {
    let stage = report.stage();
    let kind = if report.error_with("certificate not accepted") {
        if report.error_with("public key in new certificate does not match") {
            ErrorKind::Certificate(CertificateFault::OtherKey)
        } else {
            let text = format!("openssl rejected the certificate: {}", chain_reason(report));
            return Some(CmpError::new(stage, ErrorKind::Program(text)).with_class(Class::Untrusted));
        }
    } else if report.error_with("wrong pbm value") {
        ErrorKind::BadMac
    } else if report.error_with("missing protection") {
        ErrorKind::Unprotected
    } else if let Some(found) = unexpected_sender(report) {
        found
    } else if report.error_with("transactionid unmatched") {
        ErrorKind::TransactionId(FieldFault::Different)
    } else if report.error_with("recipnonce unmatched") {
        ErrorKind::RecipientNonce(FieldFault::Different)
    } else if report.error_with("missing key usage digitalsignature") {
        ErrorKind::SignerUsage {
            reason: "its certificate lacks the key usage digitalSignature",
        }
    } else if report.error_with("no suitable sender cert")
        || report.error_with("certificate verification failed")
    {
        let text = format!(
            "openssl does not trust the signer of the answer: {}",
            chain_reason(report)
        );
        return Some(CmpError::new(stage, ErrorKind::Program(text)).with_class(Class::Untrusted));
    } else if report.error_with("error validating protection")
        || report.error_with("error validating signature")
    {
        ErrorKind::BadSignature
    } else if report.error_with("unexpected pkibody") {
        ErrorKind::UnexpectedBody {
            expected: "answer to the request",
            found: "message of another type",
        }
    } else {
        return None;
    };
    Some(CmpError::new(stage, kind))
}

fn unexpected_sender(report: &Report<'_>) -> Option<ErrorKind> {
    let after = |key: &str| {
        let rest = report.all.iter().find_map(|line| line.split_once(key));
        rest.map(|(_, name)| escape(name.trim_start_matches(['=', ' ']).as_bytes()))
    };
    Some(ErrorKind::WrongSender {
        expected: after("does not match expected sender")?,
        found: after("actual name in sender DN field").unwrap_or_default(),
    })
}

/// `error = 19 (self-signed certificate in certificate chain)`, without the dump of certificates that follows.
fn chain_reason(report: &Report<'_>) -> String {
    let line = report
        .errors
        .iter()
        .find(|line| line.contains("certificate verification failed"));
    let reason = line
        .and_then(|line| line.split_once("error = "))
        .map(|(_, reason)| reason);
    let other = || report.errors.last().copied().unwrap_or("no reason given");
    escape(reason.unwrap_or_else(other).as_bytes())
}

/// The command gave up before it sent anything, or for a reason that no table knows.
fn setup(report: &Report<'_>) -> CmpError {
    let last = report.errors.last().copied();
    let last = last.or_else(|| {
        report
            .all
            .iter()
            .rev()
            .copied()
            .find(|line| !line.trim().is_empty())
    });
    let text = escape(last.unwrap_or("it said nothing").as_bytes());
    if report.was_sent() {
        return CmpError::new(
            report.stage(),
            ErrorKind::Program(format!("openssl cmp failed: {text}")),
        );
    }
    let first = report
        .errors
        .first()
        .map(|line| escape(line.as_bytes()))
        .unwrap_or_default();
    let text = if first.is_empty() || first == text {
        text
    } else {
        format!("{first}: {text}")
    };
    CmpError::settings(format!("openssl cmp did not take the settings: {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(text: &str) -> CmpError {
        let finished = Finished {
            end: End::Failure,
            output: text.as_bytes().to_vec(),
        };
        failure(&finished, Duration::from_secs(9))
    }

    #[test]
    fn a_run_that_was_stopped_may_have_reached_the_ca() {
        let finished = Finished {
            end: End::OutOfTime,
            output: b"CMP info: sending IR\n".to_vec(),
        };
        let error = failure(&finished, Duration::from_secs(9));
        assert_eq!((error.class, error.reached), (Class::Retry, Reached::Maybe));
        assert!(error.to_string().contains("9 s"), "{error}");
    }

    #[test]
    fn a_crash_is_named() {
        let error = failure(
            &Finished {
                end: End::Signal(11),
                output: Vec::new(),
            },
            Duration::from_secs(9),
        );
        assert_eq!((error.class, error.reached), (Class::Retry, Reached::Maybe));
        assert!(error.to_string().contains("signal 11"), "{error}");
    }

    #[test]
    fn a_connection_lost_at_the_certconf_is_not_one_that_reached_nobody() {
        let error = failed(
            "CMP info: sending IR\nCMP info: received IP\nCMP info: sending CERTCONF\n\
             CMP error: Connection refused:calling connect()\nCMP error: transfer error:request sent: CERTCONF\n",
        );
        assert_eq!((error.step, error.reached), (Stage::Confirming, Reached::Maybe));
    }

    #[test]
    fn a_wrong_mac_is_a_hint_in_an_error_message_and_untrusted_elsewhere() {
        for (received, class) in [("ERROR", Class::Retry), ("IP", Class::Untrusted)] {
            let error = failed(&format!(
                "CMP info: sending IR\nCMP info: received {received}\nCMP error: wrong pbm value\n"
            ));
            assert_eq!(
                (error.class, &error.kind),
                (class, &ErrorKind::BadMac),
                "{received}"
            );
        }
    }

    #[test]
    fn certificates_that_are_saved_are_not_taken_for_a_message() {
        let error = failed(
            "CMP info: sending CERTCONF\nCMP info: received ERROR\nCMP error: missing protection\n\
             CMP info: received 1 extra certificate(s), saving to file 'extra.pem'\n",
        );
        assert_eq!(error.class, Class::Retry, "{error}");
    }

    #[test]
    fn words_that_nobody_knows_are_an_error_to_retry_with_those_words() {
        let error = failed("CMP info: sending IR\nCMP error: the moon is full\n");
        assert_eq!((error.class, error.reached), (Class::Retry, Reached::Maybe));
        assert!(error.to_string().contains("the moon is full"), "{error}");
        assert_eq!(failed("").class, Class::Misconfigured);
    }

    #[test]
    fn what_the_peer_wrote_is_escaped() {
        let error = failed(
            "CMP info: sending IR\nCMP error: request rejected by server:PKIStatus: rejection; \
             PKIFailureInfo: badRequest; StatusString: \"a \u{1b}[31m\"; cannot extract certificate\n",
        );
        assert_eq!(error.peer.unwrap().text, "a \\u{1b}[31m");
    }
}
