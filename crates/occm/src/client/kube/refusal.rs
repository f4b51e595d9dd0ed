//! Refusals of the API server in the words of a client, with the fields that it names.

use http::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::client::{ClientError, ClientResult};
use crate::model::condition::cut;
use crate::model::field::{FieldError, FieldErrors};
use crate::store::kube::door::Reply;

/// Longest message that is repeated, in bytes.
const MAX_MESSAGE: usize = 1024;
/// Most wrong fields that are told.
const MAX_FIELDS: usize = 50;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    message: String,
    reason: String,
    details: Option<Details>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Details {
    causes: Vec<Cause>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Cause {
    message: String,
    field: String,
}

/// Parses an answer, or tells why there is none. An answer that cannot be parsed is not repeated.
pub(super) fn answer<T: DeserializeOwned>(what: &str, reply: &Reply) -> ClientResult<T> {
    if !reply.status.is_success() {
        return Err(refusal(what, reply));
    }
    serde_json::from_slice(&reply.body).map_err(|error| {
        let place = format!(
            "its answer cannot be read (line {} column {})",
            error.line(),
            error.column()
        );
        ClientError::Unavailable("API server".to_owned(), place)
    })
}

/// Why the API server did not do it.
pub(super) fn refusal(what: &str, reply: &Reply) -> ClientError {
    let status: Status = serde_json::from_slice(&reply.body).unwrap_or_default();
    let what = what.to_owned();
    let message = match status.message.as_str() {
        "" => reply.status.to_string(),
        text => cut(text.to_owned(), MAX_MESSAGE),
    };
    match reply.status {
        StatusCode::UNAUTHORIZED => ClientError::Unauthenticated(message),
        StatusCode::FORBIDDEN => ClientError::Forbidden(what, message),
        StatusCode::NOT_FOUND if message.starts_with("namespaces ") => {
            ClientError::NotFound(format!("the namespace of {what}"))
        }
        StatusCode::NOT_FOUND if message.contains("the server could not find the requested resource") => {
            ClientError::NotFound(format!(
                "the kind of {what} (are occm's definitions installed? see `occm crds`)"
            ))
        }
        StatusCode::NOT_FOUND => ClientError::NotFound(what),
        StatusCode::CONFLICT if status.reason == "AlreadyExists" => ClientError::Exists(what),
        StatusCode::CONFLICT => ClientError::Conflict(what),
        StatusCode::BAD_REQUEST
        | StatusCode::UNPROCESSABLE_ENTITY
        | StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::UNSUPPORTED_MEDIA_TYPE
        | StatusCode::METHOD_NOT_ALLOWED => ClientError::Invalid(what, fields(status, message)),
        _ => ClientError::Unavailable("API server".to_owned(), message),
    }
}

fn fields(status: Status, message: String) -> FieldErrors {
    let causes = status.details.unwrap_or_default().causes;
    let mut errors: Vec<FieldError> = causes
        .into_iter()
        .filter(|cause| !cause.field.is_empty() && cause.field != "<nil>")
        .take(MAX_FIELDS)
        .map(|cause| {
            let message = cut(cause.message, MAX_MESSAGE);
            // Our own rules say what is allowed in their message.
            match message.split_once("; allowed: ") {
                Some((problem, allowed)) => FieldError::new(cause.field, problem, allowed),
                None => FieldError::new(cause.field, message, "what `kubectl explain` says"),
            }
        })
        .collect();
    if errors.is_empty() {
        errors.push(FieldError::new("object", message, "what `kubectl explain` says"));
    }
    FieldErrors(errors)
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;

    fn of(code: u16, body: &str) -> ClientError {
        let reply = Reply {
            status: StatusCode::from_u16(code).unwrap(),
            body: Zeroizing::new(body.as_bytes().to_vec()),
        };
        refusal("Certificate a/b", &reply)
    }

    #[test]
    fn refusals_are_told_apart() {
        let what = "Certificate a/b".to_owned();
        assert_eq!(
            of(401, ""),
            ClientError::Unauthenticated("401 Unauthorized".into())
        );
        assert_eq!(
            of(403, r#"{"message":"no"}"#),
            ClientError::Forbidden(what.clone(), "no".into())
        );
        assert_eq!(
            of(409, r#"{"reason":"AlreadyExists"}"#),
            ClientError::Exists(what.clone())
        );
        assert_eq!(
            of(409, r#"{"reason":"Conflict"}"#),
            ClientError::Conflict(what.clone())
        );
        assert_eq!(
            of(404, r#"{"message":"certificates.occm.dev \"b\" not found"}"#),
            ClientError::NotFound(what)
        );
        for code in [429, 500, 502, 503, 504] {
            assert!(matches!(of(code, ""), ClientError::Unavailable(..)), "{code}");
        }
    }

    #[test]
    fn a_missing_kind_or_namespace_is_not_a_missing_object() {
        let kind = of(
            404,
            r#"{"message":"the server could not find the requested resource"}"#,
        );
        assert!(kind.to_string().contains("occm crds"), "{kind}");
        let namespace = of(404, r#"{"message":"namespaces \"a\" not found"}"#);
        assert_eq!(
            namespace.to_string(),
            "the namespace of Certificate a/b does not exist"
        );
    }

    #[test]
    fn wrong_fields_come_with_their_paths() {
        let body = r#"{"message":"all","details":{"causes":[
            {"reason":"FieldValueInvalid","message":"has both; allowed: one of them","field":"spec.trust"},
            {"reason":"FieldValueRequired","message":"Required value","field":"spec.url"}]}}"#;
        let ClientError::Invalid(_, errors) = of(422, body) else {
            panic!()
        };
        assert_eq!(
            errors.to_string(),
            "spec.trust: has both; allowed: one of them\nspec.url: Required value; allowed: what `kubectl explain` says"
        );
    }

    #[test]
    fn an_unreadable_answer_is_not_repeated() {
        let reply = Reply {
            status: StatusCode::OK,
            body: Zeroizing::new(b"\"planted".to_vec()),
        };
        let error = answer::<u32>("x", &reply).unwrap_err();
        assert!(!error.to_string().contains("planted"), "{error}");
    }
}
