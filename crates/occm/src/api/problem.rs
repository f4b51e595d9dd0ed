//! Failures as problem documents (RFC 9457): one shape for all, with a code, the wrong fields and what is allowed.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::guard;
use crate::model::field::{FieldError, FieldErrors};
use crate::store::StoreError;

/// Result of an operation.
pub(crate) type Answer<T> = Result<T, Fault>;

/// A failure.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Problem {
    /// Names the kind of failure: `https://occm.dev/problems/` and the code.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// The kind of failure in a few words.
    pub(crate) title: String,
    /// Status of the answer.
    pub(crate) status: u16,
    /// What happened, in a sentence.
    pub(crate) detail: String,
    /// The kind of failure as one word, for programs.
    pub(crate) code: Code,
    /// Which fields are wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) errors: Vec<WrongField>,
    /// Names the request in logs.
    pub(crate) request_id: String,
}

/// A wrong field.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct WrongField {
    /// Path, for example `spec.dnsNames[0]`, or the name of a parameter.
    pub(crate) field: String,
    /// What is wrong.
    pub(crate) problem: String,
    /// What is allowed.
    pub(crate) allowed: String,
}

/// Kinds of failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) enum Code {
    /// A field or parameter is wrong.
    InvalidField,
    /// The request cannot be read.
    InvalidRequest,
    /// There is no such object or page.
    NotFound,
    /// The page exists, but not for this method.
    MethodNotAllowed,
    /// The object exists already, or something else stands against it.
    Conflict,
    /// The caller may not do that.
    Forbidden,
    /// Nobody is logged in.
    Unauthenticated,
    /// The body is too large.
    TooLarge,
    /// Not JSON.
    UnsupportedMediaType,
    /// Too many requests.
    TooManyRequests,
    /// `If-Match` is missing.
    PreconditionRequired,
    /// The object is no longer in the state that `If-Match` names.
    PreconditionFailed,
    /// The store or the API server does not answer now.
    Unavailable,
}

impl Code {
    fn status(self) -> StatusCode {
        match self {
            Self::InvalidField => StatusCode::UNPROCESSABLE_ENTITY,
            Self::InvalidRequest => StatusCode::BAD_REQUEST,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Conflict => StatusCode::CONFLICT,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            Self::PreconditionRequired => StatusCode::PRECONDITION_REQUIRED,
            Self::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::InvalidField => "a field is wrong",
            Self::InvalidRequest => "the request cannot be read",
            Self::NotFound => "not found",
            Self::MethodNotAllowed => "the method is not allowed here",
            Self::Conflict => "something stands against it",
            Self::Forbidden => "not allowed",
            Self::Unauthenticated => "nobody is logged in",
            Self::TooLarge => "too large",
            Self::UnsupportedMediaType => "not JSON",
            Self::TooManyRequests => "too many requests",
            Self::PreconditionRequired => "If-Match is missing",
            Self::PreconditionFailed => "the object was changed in the meantime",
            Self::Unavailable => "not available now",
        }
    }
}

/// A failure on its way to the caller.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) code: Code,
    pub(crate) detail: String,
    pub(crate) errors: Vec<WrongField>,
    pub(crate) retry_after: Option<u64>,
    pub(crate) allow: Option<String>,
}

impl Fault {
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
            errors: Vec::new(),
            retry_after: None,
            allow: None,
        }
    }

    /// A wrong parameter or field.
    pub(crate) fn field(
        field: impl Into<String>,
        problem: impl Into<String>,
        allowed: impl Into<String>,
    ) -> Self {
        let wrong = WrongField {
            field: field.into(),
            problem: problem.into(),
            allowed: allowed.into(),
        };
        Self {
            detail: format!("{}: {}; allowed: {}", wrong.field, wrong.problem, wrong.allowed),
            errors: vec![wrong],
            ..Self::new(Code::InvalidField, String::new())
        }
    }

    pub(crate) fn forbidden(what: impl std::fmt::Display) -> Self {
        Self::new(Code::Forbidden, format!("you may not {what}"))
    }

    pub(crate) fn not_found(what: impl std::fmt::Display) -> Self {
        Self::new(Code::NotFound, format!("{what} does not exist"))
    }

    /// One word that says how a request ended, for the audit line.
    pub(crate) fn word(&self) -> String {
        format!("{:?}", self.code)
    }

    pub(crate) fn problem(&self) -> Problem {
        Problem {
            kind: format!("https://occm.dev/problems/{:?}", self.code),
            title: self.code.title().to_owned(),
            status: self.code.status().as_u16(),
            detail: self.detail.clone(),
            code: self.code,
            errors: self.errors.clone(),
            request_id: guard::request_id(),
        }
    }
}

impl From<FieldErrors> for Fault {
    fn from(errors: FieldErrors) -> Self {
        let wrong = |error: FieldError| WrongField {
            field: error.path,
            problem: error.problem,
            allowed: error.allowed,
        };
        Self {
            errors: errors.0.iter().cloned().map(wrong).collect(),
            ..Self::new(Code::InvalidField, errors.to_string())
        }
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        let code = match &error {
            StoreError::NotFound(_) => Code::NotFound,
            StoreError::Conflict(_) => Code::PreconditionFailed,
            StoreError::Forbidden(..) => Code::Forbidden,
            StoreError::Terminating(_) => Code::Conflict,
            StoreError::Refused(..) => Code::InvalidField,
            StoreError::Malformed(..) => Code::Conflict,
            StoreError::Unavailable(..) | StoreError::LeaseLost => Code::Unavailable,
        };
        Self::new(code, error.to_string())
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let status = self.code.status();
        let mut response = (status, Json(self.problem())).into_response();
        response.extensions_mut().insert(self.code);
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if let Some(allow) = self.allow.and_then(|allow| allow.parse().ok()) {
            headers.insert(header::ALLOW, allow);
        }
        if self.code == Code::Unauthenticated {
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"occm\""),
            );
        }
        response
    }
}
