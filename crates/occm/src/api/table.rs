//! The one list of operations.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::api::problem::{Code, Fault};
use crate::api::routes::{Content, List, Operation, Route, WriteQuery, allowed};
use crate::api::{
    Api, activity, acts, assets, bulk, caller, chain, changes, contact, dto, guard, list, looks, objects,
    oidc, openapi, secrets, session, system,
};

/// Where the API begins.
pub(crate) const BASE: &str = "/api/v1";

/// All operations, in the order of the document.
pub(crate) fn routes() -> Vec<Route> {
    let mut routes = about();
    routes.extend(kinds());
    routes.extend(requests());
    routes.extend(looks());
    routes
}

fn about() -> Vec<Route> {
    let system = "system";
    vec![
        Operation::get("/health", "health", system, "How this process is")
            .public()
            .answers::<system::Health>(200)
            .by(system::health),
        Operation::get("/version", "version", system, "What this program is")
            .public()
            .answers::<system::Version>(200)
            .by(system::version),
        Operation::get("/limits", "limits", system, "Bounds of this API")
            .answers::<system::LimitsAnswer>(200)
            .by(system::limits),
        Operation::get("/openapi.json", "openapi", system, "This document")
            .public()
            .gives(200, Content::Any)
            .by(openapi::show),
        Operation::get("/session", "showSession", "session", "Who is logged in, and how one may")
            .public()
            .answers::<session::SessionAnswer>(200)
            .by(session::show),
        Operation::post("/session", "logIn", "session", "Log in; the answer sets a cookie")
            .public()
            .body::<session::Login>()
            .gives(204, Content::Empty)
            .by(session::log_in),
        Operation::new(Method::DELETE, "/session", "logOut", "session", "Log out")
            .public()
            .gives(204, Content::Empty)
            .by(session::log_out),
        Operation::get("/oidc/login", "oidcLogin", "session", "Log in with OpenID Connect: goes to the provider")
            .public()
            .query::<oidc::LoginQuery>()
            .gives(303, Content::Empty)
            .by(oidc::login),
        Operation::get("/oidc/callback", "oidcCallback", "session", "The way back from the provider")
            .public()
            .query::<oidc::CallbackQuery>()
            .gives(303, Content::Empty)
            .by(oidc::callback),
        Operation::get("/log-level", "logLevel", system, "What this replica logs")
            .answers::<system::LogLevel>(200)
            .etag()
            .by(system::log_level),
        Operation::new(
            Method::PUT,
            "/log-level",
            "setLogLevel",
            system,
            "Change what this replica logs, for a time",
        )
        .query::<WriteQuery>()
        .if_match()
        .body::<system::WantedLevel>()
        .answers::<system::LogLevel>(200)
        .etag()
        .by(system::set_log_level),
        Operation::get("/changes", "changes", "changes", "Live changes of objects")
            .describe(
                "Server-sent events. `certificate` and `issuer` carry `{type: \"Applied\" or \"Deleted\", row}`, `event` carries \
                 an Event or an audit line as a row of the activity, `synced` carries `{complete}`: false means that changes were missed and \
                 lists must be read again. After a break, send `Last-Event-ID`; Events and audit lines are not told again. A \
                 comment comes every 15 seconds. The stream does not keep a session alive, and ends with it.",
            )
            .query::<changes::ChangesQuery>()
            .gives(200, Content::Events)
            .by(changes::stream),
    ]
}

fn kinds() -> Vec<Route> {
    let (i, c) = ("issuers", "certificates");
    vec![
        Operation::get("/issuers", "listIssuers", i, "List Issuers")
            .query::<list::IssuersQuery>()
            .answers::<List<dto::IssuerRow>>(200)
            .by(list::issuers),
        create("/issuers", "createIssuer", i, "Make an Issuer", "Issuer").by(objects::issuers::create),
        get_one(
            "/issuers/{namespace}/{name}",
            "getIssuer",
            i,
            "Read an Issuer",
            "Issuer",
        )
        .by(objects::issuers::get),
        replace(
            "/issuers/{namespace}/{name}",
            "replaceIssuer",
            i,
            "Replace an Issuer",
            "Issuer",
        )
        .by(objects::issuers::replace),
        patch(
            "/issuers/{namespace}/{name}",
            "patchIssuer",
            i,
            "Change an Issuer",
            "Issuer",
        )
        .by(objects::issuers::patch),
        delete(
            "/issuers/{namespace}/{name}",
            "deleteIssuer",
            i,
            "Delete an Issuer",
        )
        .by(objects::issuers::delete),
        Operation::get("/certificates", "listCertificates", c, "List Certificates")
            .query::<list::CertificatesQuery>()
            .answers::<List<dto::CertificateRow>>(200)
            .by(list::certificates),
        create(
            "/certificates",
            "createCertificate",
            c,
            "Make a Certificate",
            "Certificate",
        )
        .by(objects::certificates::create),
        get_one(
            "/certificates/{namespace}/{name}",
            "getCertificate",
            c,
            "Read a Certificate",
            "Certificate",
        )
        .by(objects::certificates::get),
        replace(
            "/certificates/{namespace}/{name}",
            "replaceCertificate",
            c,
            "Replace a Certificate",
            "Certificate",
        )
        .by(objects::certificates::replace),
        patch(
            "/certificates/{namespace}/{name}",
            "patchCertificate",
            c,
            "Change a Certificate",
            "Certificate",
        )
        .by(objects::certificates::patch),
        delete(
            "/certificates/{namespace}/{name}",
            "deleteCertificate",
            c,
            "Delete a Certificate",
        )
        .by(objects::certificates::delete),
    ]
}

fn requests() -> Vec<Route> {
    let ask = |path, id, summary| {
        Operation::post(path, id, "certificates", summary)
            .query::<WriteQuery>()
            .if_match()
            .optional_body::<acts::Asked>()
            .answers::<acts::Accepted>(202)
            .etag()
    };
    vec![
        ask(
            "/certificates/{namespace}/{name}/renew",
            "renewCertificate",
            "Ask for a renewal now",
        )
        .by(acts::renew),
        ask(
            "/certificates/{namespace}/{name}/recreate",
            "recreateCertificate",
            "Ask for a fresh enrolment with a new key now",
        )
        .by(acts::recreate),
        ask(
            "/certificates/{namespace}/{name}/revoke",
            "revokeCertificate",
            "Ask for a new certificate and for revocation of the one in use",
        )
        .by(acts::revoke),
    ]
}

fn looks() -> Vec<Route> {
    let (i, c, all) = ("issuers", "certificates", "everything");
    vec![
        Operation::get(
            "/certificates/{namespace}/{name}/chain",
            "certificateChain",
            c,
            "The certificates of a Certificate, with a verdict",
        )
        .answers::<chain::Chain>(200)
        .by(chain::chain),
        Operation::get(
            "/certificates/{namespace}/{name}/events",
            "certificateEvents",
            c,
            "What happened to a Certificate",
        )
        .answers::<activity::EventsAnswer>(200)
        .by(activity::certificate_events),
        Operation::get(
            "/issuers/{namespace}/{name}/events",
            "issuerEvents",
            i,
            "What happened to an Issuer",
        )
        .answers::<activity::EventsAnswer>(200)
        .by(activity::issuer_events),
        Operation::post(
            "/issuers/{namespace}/{name}/test",
            "testIssuer",
            i,
            "Test the connection to the CA by a general message; nothing is enrolled",
        )
        .answers::<contact::Test>(200)
        .by(contact::test),
        Operation::get("/overview", "overview", all, "Everything at once")
            .answers::<looks::Overview>(200)
            .by(looks::overview),
        Operation::get("/identities", "listIdentities", all, "CMP identities")
            .answers::<List<looks::Identity>>(200)
            .by(looks::identities),
        Operation::get("/chains", "listChains", all, "CA certificates that are known")
            .answers::<List<chain::CaCertificate>>(200)
            .by(chain::chains),
        Operation::get(
            "/secrets",
            "listSecrets",
            all,
            "Secrets and ConfigMaps that occm writes or reads",
        )
        .query::<secrets::SecretsQuery>()
        .answers::<List<secrets::Watched>>(200)
        .by(secrets::monitor),
        Operation::post(
            "/inputs",
            "writeInput",
            all,
            "Write a shared secret, a trust store or an initial certificate; it is never given back",
        )
        .query::<WriteQuery>()
        .conditional()
        .body::<secrets::Input>()
        .answers::<secrets::InputWritten>(200)
        .etag()
        .by(secrets::write_input),
        Operation::post(
            "/migrate",
            "migrate",
            c,
            "Move Certificates to another Issuer, or try it",
        )
        .query::<WriteQuery>()
        .body::<bulk::Migration>()
        .answers::<List<bulk::Moved>>(200)
        .by(bulk::migrate),
        Operation::get(
            "/adopt/candidates",
            "adoptCandidates",
            c,
            "Secrets of others that could be taken over",
        )
        .query::<bulk::CandidatesQuery>()
        .answers::<List<bulk::CandidateRow>>(200)
        .by(bulk::candidates),
        Operation::post("/adopt", "adopt", c, "Take over Secrets of others, or try it")
            .query::<WriteQuery>()
            .body::<bulk::Adoption>()
            .answers::<List<bulk::Adopted>>(200)
            .by(bulk::adopt),
        Operation::get("/activity", "activity", all, "What happened")
            .query::<activity::ActivityQuery>()
            .answers::<activity::Activity>(200)
            .by(activity::activity),
        Operation::get(
            "/calendar",
            "calendar",
            all,
            "When certificates end and are renewed",
        )
        .query::<looks::CalendarQuery>()
        .answers::<List<looks::Day>>(200)
        .by(looks::calendar),
    ]
}

fn create(
    path: &'static str,
    id: &'static str,
    tag: &'static str,
    summary: &'static str,
    kind: &'static str,
) -> Operation {
    Operation::post(path, id, tag, summary)
        .query::<WriteQuery>()
        .takes(Content::Object(kind))
        .gives(201, Content::Object(kind))
        .etag()
}

fn get_one(
    path: &'static str,
    id: &'static str,
    tag: &'static str,
    summary: &'static str,
    kind: &'static str,
) -> Operation {
    Operation::get(path, id, tag, summary)
        .gives(200, Content::Object(kind))
        .etag()
}

fn replace(
    path: &'static str,
    id: &'static str,
    tag: &'static str,
    summary: &'static str,
    kind: &'static str,
) -> Operation {
    Operation::new(Method::PUT, path, id, tag, summary)
        .query::<WriteQuery>()
        .if_match()
        .takes(Content::Object(kind))
        .gives(200, Content::Object(kind))
        .etag()
}

fn patch(
    path: &'static str,
    id: &'static str,
    tag: &'static str,
    summary: &'static str,
    kind: &'static str,
) -> Operation {
    Operation::new(Method::PATCH, path, id, tag, summary)
        .describe("A merge patch (RFC 7396): null takes a field away.")
        .query::<WriteQuery>()
        .if_match()
        .takes(Content::Any)
        .gives(200, Content::Object(kind))
        .etag()
}

fn delete(path: &'static str, id: &'static str, tag: &'static str, summary: &'static str) -> Operation {
    Operation::new(Method::DELETE, path, id, tag, summary)
        .query::<WriteQuery>()
        .if_match()
        .gives(204, Content::Empty)
}

/// The router of everything that is served.
pub(crate) fn router(api: Arc<Api>) -> Router {
    let routes = routes();
    let allowed = Arc::new(allowed(&routes));
    let mut router = Router::new();
    for route in routes {
        router = router.route(&format!("{BASE}{}", route.operation.path), route.does);
    }
    for (path, methods) in allowed.iter() {
        let methods = methods.clone();
        router = router.route(
            &format!("{BASE}{path}"),
            axum::routing::MethodRouter::new()
                .options({
                    let methods = methods.clone();
                    move || options(methods.clone())
                })
                .fallback(move || wrong_method(methods.clone())),
        );
    }
    router
        .layer(axum::middleware::from_fn_with_state(
            Arc::clone(&api),
            caller::identify,
        ))
        .fallback(elsewhere)
        .layer(axum::middleware::from_fn_with_state(
            Arc::clone(&api),
            guard::guard,
        ))
        .with_state(api)
}

async fn options(methods: String) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    if let Ok(value) = HeaderValue::from_str(&methods) {
        response.headers_mut().insert(header::ALLOW, value);
    }
    response
}

async fn wrong_method(methods: String) -> Response {
    let mut fault = Fault::new(Code::MethodNotAllowed, format!("allowed here: {methods}"));
    fault.allow = Some(methods);
    fault.into_response()
}

/// Pages of the console; below the API there is nothing else.
async fn elsewhere(request: Request) -> Response {
    let uri = request.uri();
    if uri.path().starts_with("/api/") || uri.path() == "/api" {
        return Fault::new(Code::NotFound, "there is no such page").into_response();
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return wrong_method("GET, HEAD".to_owned()).await;
    }
    page(uri.path(), request.headers())
}

fn page(path: &str, headers: &HeaderMap) -> Response {
    let gzip = headers
        .get(header::ACCEPT_ENCODING)
        .and_then(|accepted| accepted.to_str().ok())
        .is_some_and(|accepted| accepted.split(',').any(|one| one.trim().starts_with("gzip")));
    let asset = assets::find(path, gzip);
    let mut response = Response::new(Body::from(asset.body.into_owned()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.content_type));
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static(asset.cache_control),
    );
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if asset.gzip {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}
