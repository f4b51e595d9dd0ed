//! What operations are made of: readers of requests, answers, and the description that the OpenAPI document comes from.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::handler::Handler;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter};
use http_body_util::LengthLimitError;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{DeserializeOwned, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::api::Api;
use crate::api::bounds;
use crate::api::problem::{Code, Fault};
use crate::client::{Expected, Run};
use crate::model::object::ObjectKey;
use crate::model::plan::{is_namespace, is_object_name};

// -- Requests -----------------------------------------------------------------------------------------------------

/// A JSON body, bounded and read once.
pub(crate) struct Body<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Arc<Api>> for Body<T> {
    type Rejection = Response;

    async fn from_request(request: Request, api: &Arc<Api>) -> Result<Self, Response> {
        read_body(request, api)
            .await
            .map(Self)
            .map_err(IntoResponse::into_response)
    }
}

async fn read_body<T: DeserializeOwned>(request: Request, api: &Api) -> Result<T, Fault> {
    let kind = request.headers().get(header::CONTENT_TYPE).cloned();
    let limit = api.limits.body_bytes;
    let bytes = axum::body::to_bytes(request.into_body(), limit)
        .await
        .map_err(|error| {
            let too_large =
                std::error::Error::source(&error).is_some_and(|source| source.is::<LengthLimitError>());
            match too_large {
                true => Fault::new(Code::TooLarge, format!("the body has more than {limit} bytes")),
                false => Fault::new(Code::InvalidRequest, format!("the body cannot be read: {error}")),
            }
        })?;
    if !bytes.is_empty() && !is_json(kind.as_ref()) {
        return Err(Fault::new(
            Code::UnsupportedMediaType,
            "the body is not said to be JSON; allowed: Content-Type application/json, or application/merge-patch+json",
        ));
    }
    let text: &[u8] = if bytes.is_empty() { b"null" } else { &bytes };
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let (path, inner) = (error.path().to_string(), error.inner());
        if inner.is_syntax() || inner.is_eof() {
            // The reader repeats no content there, only the place.
            return Fault::new(Code::InvalidRequest, format!("the body is not JSON: {inner}"));
        }
        let path = if path == "." { "body".to_owned() } else { path };
        Fault::field(
            path,
            without_values(&inner.to_string()),
            "what the OpenAPI document says",
        )
    })?;
    reader.end().map_err(|_| {
        Fault::new(
            Code::InvalidRequest,
            "there is more than one JSON value in the body",
        )
    })?;
    Ok(value)
}

/// An object as somebody wrote it. A field that is there twice is refused, as files refuse it: one of the two would be lost.
pub(crate) struct Written(pub(crate) Value);

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AsWritten).map(Self)
    }
}

struct AsWritten;

impl<'de> Visitor<'de> for AsWritten {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Written(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut object = serde_json::Map::new();
        while let Some((name, Written(value))) = fields.next_entry::<String, _>()? {
            if object.contains_key(&name) {
                let name = crate::model::field::shown(&name);
                return Err(serde::de::Error::custom(format_args!("{name} is there twice")));
            }
            object.insert(name, value);
        }
        Ok(object.into())
    }
}

/// A message of the reader without the value that it repeats: it may be a secret under a wrong name.
fn without_values(message: &str) -> String {
    match message.strip_prefix("invalid type: ") {
        Some(rest) => match rest.rsplit_once(", expected ") {
            Some((_, expected)) => {
                let expected = expected.split(" at line ").next().unwrap_or(expected);
                format!("is of a wrong type, expected {expected}")
            }
            None => "is of a wrong type".to_owned(),
        },
        None => message.split(" at line ").next().unwrap_or(message).to_owned(),
    }
}

fn is_json(kind: Option<&HeaderValue>) -> bool {
    let Some(kind) = kind.and_then(|kind| kind.to_str().ok()) else {
        return false;
    };
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json") || kind.eq_ignore_ascii_case("application/merge-patch+json")
}

/// Parameters of the query.
pub(crate) struct Params<T>(pub(crate) T);

impl<T: DeserializeOwned + JsonSchema> FromRequestParts<Arc<Api>> for Params<T> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Api>) -> Result<Self, Response> {
        if let Some(fault) = bounds::broken::<T>(&parts.uri) {
            return Err(fault.into_response());
        }
        match Query::<T>::try_from_uri(&parts.uri) {
            Ok(Query(value)) => Ok(Self(value)),
            Err(error) => {
                let text = crate::model::condition::cut(error.body_text(), 300);
                let text = text.trim_start_matches("Failed to deserialize query string: ");
                Err(Fault::field("query", text, "the parameters in the OpenAPI document").into_response())
            }
        }
    }
}

/// Namespace and name in the path.
pub(crate) struct Key(pub(crate) ObjectKey);

impl FromRequestParts<Arc<Api>> for Key {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Response> {
        let read = Path::<(String, String)>::from_request_parts(parts, api).await;
        match read {
            Ok(Path((namespace, name))) if is_namespace(&namespace) && is_object_name(&name) => {
                Ok(Self(ObjectKey::new(namespace, name)))
            }
            _ => {
                Err(Fault::new(Code::NotFound, "no object can have that namespace and name").into_response())
            }
        }
    }
}

/// The version that a write expects; `None` = any.
pub(crate) struct IfMatch(pub(crate) Option<String>);

impl FromRequestParts<Arc<Api>> for IfMatch {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Api>) -> Result<Self, Response> {
        let Some(value) = parts.headers.get(header::IF_MATCH) else {
            let detail =
                "the header If-Match is missing; allowed: the ETag that the object was read with, or *";
            return Err(Fault::new(Code::PreconditionRequired, detail).into_response());
        };
        version_in(value).map(Self).map_err(IntoResponse::into_response)
    }
}

/// The version that `If-Match` names; `None` = any.
fn version_in(value: &HeaderValue) -> Result<Option<String>, Fault> {
    let text = value.to_str().unwrap_or_default().trim();
    if text == "*" {
        return Ok(None);
    }
    let inner = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
        .filter(|text| !text.is_empty() && !text.contains('"'));
    match inner {
        Some(version) => Ok(Some(version.to_owned())),
        None => Err(Fault::field(
            "If-Match",
            "is no ETag",
            "one ETag in quotation marks, or *",
        )),
    }
}

/// What must stand where a write makes or changes something.
pub(crate) struct Condition(pub(crate) Expected);

impl FromRequestParts<Arc<Api>> for Condition {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Api>) -> Result<Self, Response> {
        let headers = (
            parts.headers.get(header::IF_NONE_MATCH),
            parts.headers.get(header::IF_MATCH),
        );
        let expected = match headers {
            (Some(value), None) if value.as_bytes().trim_ascii() == b"*" => Ok(Expected::Nothing),
            (Some(_), None) => Err(Fault::field("If-None-Match", "is no *", "*, or If-Match")),
            (None, Some(value)) => version_in(value).map(|version| match version {
                Some(version) => Expected::Version(version),
                None => Expected::Something,
            }),
            (Some(_), Some(_)) => Err(Fault::field(
                "If-None-Match",
                "excludes If-Match",
                "one of the two",
            )),
            (None, None) => Err(Fault::new(
                Code::PreconditionRequired,
                "neither If-None-Match nor If-Match is there; allowed: If-None-Match: * to make it, If-Match with * or the \
                 ETag of the last write to change it",
            )),
        };
        expected.map(Self).map_err(IntoResponse::into_response)
    }
}

/// Parameters of every write.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct WriteQuery {
    /// Whether everything is checked and answered as if, and nothing changes.
    #[serde(default)]
    dry_run: bool,
}

impl WriteQuery {
    pub(crate) fn run(self) -> Run {
        self.run_or(false)
    }

    /// A body may say it, too.
    pub(crate) fn run_or(self, dry_run: bool) -> Run {
        if self.dry_run || dry_run {
            Run::Dry
        } else {
            Run::Real
        }
    }
}

// -- Answers ------------------------------------------------------------------------------------------------------

/// A JSON answer.
pub(crate) struct Reply<T> {
    status: StatusCode,
    etag: Option<String>,
    body: T,
}

impl<T> Reply<T> {
    pub(crate) fn ok(body: T) -> Self {
        Self {
            status: StatusCode::OK,
            etag: None,
            body,
        }
    }

    pub(crate) fn with(status: StatusCode, body: T) -> Self {
        Self {
            status,
            etag: None,
            body,
        }
    }

    pub(crate) fn version(mut self, version: &str) -> Self {
        self.etag = Some(format!("\"{version}\""));
        self
    }
}

impl<T: Serialize> IntoResponse for Reply<T> {
    fn into_response(self) -> Response {
        let mut response = (self.status, axum::Json(self.body)).into_response();
        if let Some(etag) = self.etag.and_then(|etag| HeaderValue::from_str(&etag).ok()) {
            response.headers_mut().insert(header::ETAG, etag);
        }
        response
    }
}

/// A page of a list.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "{T}List")]
pub(crate) struct List<T> {
    /// The items of this page.
    pub(crate) items: Vec<T>,
    /// How many there are on all pages.
    pub(crate) total: usize,
    /// Where the next page begins; absent on the last one.
    #[serde(rename = "continue", skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
}

impl<T> List<T> {
    /// Everything on one page.
    pub(crate) fn whole(items: Vec<T>) -> Self {
        Self {
            total: items.len(),
            items,
            next: None,
        }
    }
}

// -- Operations ---------------------------------------------------------------------------------------------------

type MakeSchema = fn(&mut SchemaGenerator) -> Schema;

/// What an answer or a body is.
pub(crate) enum Content {
    /// JSON of a type of ours.
    Json(MakeSchema),
    /// An Issuer or a Certificate, by the name of its schema.
    Object(&'static str),
    /// Any JSON object.
    Any,
    /// A stream of server-sent events.
    Events,
    /// A redirection or nothing.
    Empty,
}

/// Which header of a precondition a request must carry (RFC 9110, section 13).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Precondition {
    /// None.
    None,
    /// `If-Match`.
    IfMatch,
    /// `If-Match`, or `If-None-Match: *`.
    Either,
}

/// An operation as the OpenAPI document tells it.
pub(crate) struct Operation {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) id: &'static str,
    pub(crate) tag: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) description: Option<&'static str>,
    pub(crate) query: Option<MakeSchema>,
    pub(crate) body: Option<(Content, bool)>,
    pub(crate) answer: (u16, Content),
    pub(crate) etag: bool,
    pub(crate) precondition: Precondition,
    pub(crate) public: bool,
}

/// An operation and what does it.
pub(crate) struct Route {
    pub(crate) operation: Operation,
    pub(crate) does: MethodRouter<Arc<Api>>,
}

impl Operation {
    pub(crate) fn new(
        method: Method,
        path: &'static str,
        id: &'static str,
        tag: &'static str,
        summary: &'static str,
    ) -> Self {
        Self {
            method,
            path,
            id,
            tag,
            summary,
            description: None,
            query: None,
            body: None,
            answer: (200, Content::Empty),
            etag: false,
            precondition: Precondition::None,
            public: false,
        }
    }

    pub(crate) fn get(
        path: &'static str,
        id: &'static str,
        tag: &'static str,
        summary: &'static str,
    ) -> Self {
        Self::new(Method::GET, path, id, tag, summary)
    }

    pub(crate) fn post(
        path: &'static str,
        id: &'static str,
        tag: &'static str,
        summary: &'static str,
    ) -> Self {
        Self::new(Method::POST, path, id, tag, summary)
    }

    pub(crate) fn describe(mut self, description: &'static str) -> Self {
        self.description = Some(description);
        self
    }

    pub(crate) fn query<T: JsonSchema>(mut self) -> Self {
        self.query = Some(|schemas| T::json_schema(schemas));
        self
    }

    pub(crate) fn body<T: JsonSchema>(mut self) -> Self {
        self.body = Some((Content::Json(|schemas| schemas.subschema_for::<T>()), true));
        self
    }

    pub(crate) fn optional_body<T: JsonSchema>(mut self) -> Self {
        self.body = Some((
            Content::Json(|schemas| schemas.subschema_for::<Option<T>>()),
            false,
        ));
        self
    }

    pub(crate) fn takes(mut self, content: Content) -> Self {
        self.body = Some((content, true));
        self
    }

    pub(crate) fn answers<T: JsonSchema>(mut self, status: u16) -> Self {
        self.answer = (status, Content::Json(|schemas| schemas.subschema_for::<T>()));
        self
    }

    pub(crate) fn gives(mut self, status: u16, content: Content) -> Self {
        self.answer = (status, content);
        self
    }

    pub(crate) fn etag(mut self) -> Self {
        self.etag = true;
        self
    }

    pub(crate) fn if_match(mut self) -> Self {
        self.precondition = Precondition::IfMatch;
        self
    }

    pub(crate) fn conditional(mut self) -> Self {
        self.precondition = Precondition::Either;
        self
    }

    /// Nobody needs to be logged in.
    pub(crate) fn public(mut self) -> Self {
        self.public = true;
        self
    }

    /// What does it.
    pub(crate) fn by<H, T>(self, handler: H) -> Route
    where
        H: Handler<T, Arc<Api>>,
        T: 'static,
    {
        let filter = MethodFilter::try_from(self.method.clone()).unwrap_or(MethodFilter::GET);
        let mut does = axum::routing::on(filter, handler);
        if self.query.is_none() {
            does = does.layer(axum::middleware::from_fn(no_query));
        }
        Route {
            operation: self,
            does,
        }
    }
}

/// Refuses parameters where there are none.
async fn no_query(request: Request, next: Next) -> Response {
    let query = request.uri().query().unwrap_or_default();
    let Some(name) = query.split(['&', '=']).find(|part| !part.is_empty()) else {
        return next.run(request).await;
    };
    bounds::unknown(name, "no parameters").into_response()
}

/// The methods of each path, for what comes with another one.
pub(crate) fn allowed(routes: &[Route]) -> BTreeMap<&'static str, String> {
    let mut allowed: BTreeMap<&'static str, Vec<&str>> = BTreeMap::new();
    for route in routes {
        let methods = allowed.entry(route.operation.path).or_default();
        methods.push(route.operation.method.as_str());
        if route.operation.method == Method::GET {
            methods.push("HEAD");
        }
    }
    allowed
        .into_iter()
        .map(|(path, methods)| (path, format!("{}, OPTIONS", methods.join(", "))))
        .collect()
}
