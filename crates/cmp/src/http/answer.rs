//! What an HTTP answer means for the exchange (RFC 9811, 3.1), decided without I/O.
//!
//! ```text
//!   200, media type of CMP               the answer
//!   200, 4xx, 5xx with a CMP message     the answer, with a note if the media type is not that of CMP
//!   503, 429, 408 ..  without            come again, not before Retry-After
//!   3xx                                  refused: redirects are never followed (RFC 9811, 5)
//!   everything else                      refused
//! ```

use std::time::Duration;

use hyper::{HeaderMap, StatusCode, header};
use jiff::{Timestamp, fmt::rfc2822::DateTimeParser};

use crate::error::escape;
use crate::transport::{Reached, Response, TransportError, TransportErrorKind};

/// The media type of our messages (RFC 9811, 3.2).
pub(super) const MEDIA_TYPE: &str = "application/pkixcmp";
/// What old servers call a polling answer; its body is the same.
const POLL_MEDIA_TYPE: &str = "application/pkixcmp-poll";

/// Shortest and longest pause that a server can ask for.
const RETRY_AFTER_MIN: Duration = Duration::from_secs(1);
const RETRY_AFTER_MAX: Duration = Duration::from_secs(1800);

/// Judges a complete answer. `now` is used where Retry-After is a date and the answer has no Date of its own.
pub(super) fn judge(
    status: StatusCode,
    headers: &HeaderMap,
    body: Vec<u8>,
    now: Timestamp,
) -> Result<Response, TransportError> {
    let date = headers
        .get(header::DATE)
        .and_then(|value| timestamp(value.as_bytes()));
    let media_type = media_type(headers);
    let typed = media_type
        .as_deref()
        .is_some_and(|found| found == MEDIA_TYPE || found == POLL_MEDIA_TYPE);
    let refusal = |kind, message: String| TransportError::new(Reached::Maybe, kind, message);

    if status.is_redirection() {
        let text = match headers.get(header::LOCATION) {
            Some(place) => format!("redirect to \"{}\" not followed", escape(place.as_bytes())),
            None => "redirect not followed".to_owned(),
        };
        return Err(refusal(TransportErrorKind::Status(status.as_u16()), text));
    }
    let speaks = status == StatusCode::OK || status.is_client_error() || status.is_server_error();
    if speaks && looks_like_cmp(&body) {
        let note = (!typed).then(|| format!("a CMP message came as {}", describe(media_type.as_deref())));
        return Ok(Response { body, date, note });
    }
    if status == StatusCode::OK {
        // A body of the right type that is no CMP message is the decoder's to refuse; an empty one is nobody's.
        return if typed && !body.is_empty() {
            Ok(Response {
                body,
                date,
                note: None,
            })
        } else {
            let size = body.len();
            let found = describe(media_type.as_deref());
            Err(refusal(
                TransportErrorKind::NotCmp,
                format!("{size} bytes of {found}"),
            ))
        };
    }
    let mut error = refusal(
        TransportErrorKind::Status(status.as_u16()),
        format!("{} bytes of {}", body.len(), describe(media_type.as_deref())),
    );
    error.retry_after = retry_after(headers, date.unwrap_or(now));
    Err(error)
}

/// The media type in lower case, without its parameters.
fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?;
    let text = value.to_str().unwrap_or("?");
    let name = text.split(';').next().unwrap_or_default();
    Some(name.trim().to_ascii_lowercase())
}

fn describe(media_type: Option<&str>) -> String {
    match media_type {
        Some(name) => format!("media type \"{}\"", escape(name.as_bytes())),
        None => "no media type".to_owned(),
    }
}

/// Does it begin like `SEQUENCE { SEQUENCE { INTEGER`, with a length that fits the body?
fn looks_like_cmp(body: &[u8]) -> bool {
    let Some((outer, inside)) = open_sequence(body) else {
        return false;
    };
    if outer.is_some_and(|length| length != inside.len()) {
        return false;
    }
    open_sequence(inside).is_some_and(|(_, header)| header.first() == Some(&0x02))
}

/// Cuts tag and length off a SEQUENCE; gives its length (`None` if indefinite) and the bytes after the length.
fn open_sequence(bytes: &[u8]) -> Option<(Option<usize>, &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    if tag != 0x30 {
        return None;
    }
    if first < 0x80 {
        return Some((Some(usize::from(first)), rest));
    }
    let count = usize::from(first & 0x7f);
    if count == 0 {
        return Some((None, rest));
    }
    if count > 4 || rest.len() < count {
        return None;
    }
    let (digits, rest) = rest.split_at(count);
    let length = digits
        .iter()
        .fold(0_usize, |sum, digit| (sum << 8) | usize::from(*digit));
    Some((Some(length), rest))
}

/// An HTTP date (RFC 9110, 5.6.7).
fn timestamp(value: &[u8]) -> Option<Timestamp> {
    DateTimeParser::new().parse_timestamp(value).ok()
}

/// Retry-After in either form, clamped.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match value.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let seconds = timestamp(value.as_bytes())?.as_second() - now.as_second();
            Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
        }
    };
    Some(wait.clamp(RETRY_AFTER_MIN, RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CMP: &[u8] = &[0x30, 0x05, 0x30, 0x03, 0x02, 0x01, 0x02];

    fn headers(list: &[(&str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &str)| {
            let name: header::HeaderName = name.parse().unwrap();
            (name, value.parse().unwrap())
        };
        list.iter().map(pair).collect()
    }

    fn judged(status: u16, list: &[(&str, &str)], body: &[u8]) -> Result<Response, TransportError> {
        let now = "2026-11-24T12:00:00Z".parse().unwrap();
        judge(
            StatusCode::from_u16(status).unwrap(),
            &headers(list),
            body.to_vec(),
            now,
        )
    }

    #[test]
    fn the_media_type_is_compared_without_case_and_parameters() {
        for name in [
            "application/pkixcmp",
            "Application/PKIXCMP; charset=utf-8",
            "application/pkixcmp-poll ",
        ] {
            let answer = judged(200, &[("content-type", name)], CMP).unwrap();
            assert_eq!((answer.body.as_slice(), answer.note), (CMP, None), "{name}");
        }
    }

    #[test]
    fn a_cmp_message_of_another_media_type_is_taken_with_a_note() {
        let answer = judged(200, &[("content-type", "application/octet-stream")], CMP).unwrap();
        assert_eq!(
            answer.note.as_deref(),
            Some("a CMP message came as media type \"application/octet-stream\"")
        );
        let answer = judged(500, &[], CMP).unwrap();
        assert_eq!(
            answer.note.as_deref(),
            Some("a CMP message came as no media type")
        );
    }

    #[test]
    fn a_cmp_message_in_an_error_answer_is_processed() {
        for status in [400, 404, 500, 503] {
            let answer = judged(status, &[("content-type", "application/pkixcmp")], CMP).unwrap();
            assert_eq!((answer.body.as_slice(), answer.note), (CMP, None), "{status}");
        }
    }

    #[test]
    fn success_is_exactly_200() {
        for status in [201, 202, 204, 206] {
            let error = judged(status, &[("content-type", "application/pkixcmp")], CMP).unwrap_err();
            assert_eq!(error.kind, TransportErrorKind::Status(status));
        }
    }

    #[test]
    fn redirects_are_named_and_not_followed() {
        let list = [
            ("location", "http://elsewhere/\t"),
            ("content-type", "application/pkixcmp"),
        ];
        let error = judged(302, &list, CMP).unwrap_err();
        assert_eq!(error.kind, TransportErrorKind::Status(302));
        assert!(error.message.contains("http://elsewhere/"), "{error}");
    }

    #[test]
    fn other_bodies_are_refused() {
        for (list, body) in [
            (vec![("content-type", "text/html")], b"<html>".as_slice()),
            (
                vec![("content-type", "text/html")],
                &[0x30, 0x05, 0x30, 0x03, 0x02, 0x01],
            ),
            (vec![("content-type", "text/html")], &[0x30, 0x85, 1, 1, 1, 1, 1]),
            (vec![("content-type", "text/html")], &[0x30]),
            (vec![("content-type", "application/pkixcmp")], b""),
            (vec![], b""),
        ] {
            let error = judged(200, &list, body).unwrap_err();
            assert_eq!(
                (error.kind, error.reached),
                (TransportErrorKind::NotCmp, Reached::Maybe)
            );
        }
    }

    #[test]
    fn a_busy_server_says_when_to_come_again_within_bounds() {
        let table = [
            (vec![("retry-after", "7")], Some(7)),
            (vec![("retry-after", "0")], Some(1)),
            (vec![("retry-after", "99999999")], Some(1800)),
            (vec![("retry-after", "Tue, 24 Nov 2026 12:01:00 GMT")], Some(60)),
            (vec![("retry-after", "Mon, 23 Nov 2026 12:01:00 GMT")], Some(1)),
            (
                vec![
                    ("retry-after", "Tue, 24 Nov 2026 12:01:00 GMT"),
                    ("date", "Tue, 24 Nov 2026 12:00:30 GMT"),
                ],
                Some(30),
            ),
            (vec![("retry-after", "soon")], None),
            (vec![], None),
        ];
        for (mut list, seconds) in table {
            list.push(("content-type", "text/html"));
            let error = judged(503, &list, b"<html>busy</html>").unwrap_err();
            assert_eq!(error.kind, TransportErrorKind::Status(503));
            assert_eq!(error.retry_after, seconds.map(Duration::from_secs), "{list:?}");
        }
    }

    #[test]
    fn the_date_of_the_answer_is_given_and_a_bad_one_ignored() {
        let typed = ("content-type", "application/pkixcmp");
        let answer = judged(200, &[typed, ("date", "Sun, 06 Nov 1994 08:49:37 GMT")], CMP).unwrap();
        assert_eq!(answer.date, Some("1994-11-06T08:49:37Z".parse().unwrap()));
        assert_eq!(
            judged(200, &[typed, ("date", "yesterday")], CMP).unwrap().date,
            None
        );
    }
}
