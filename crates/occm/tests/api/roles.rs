//! Each action as each role and without one; nothing of a namespace that is not the caller's.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::rest::{Client, Served, certificate, issuer};
use crate::support::{Host, wait_for};

const ROLES: [&str; 4] = ["none", "view", "edit", "admin"];

/// Users with tokens of their own names, and these roles.
pub fn users(host: &Host, users: &[(&str, &str)]) -> String {
    let mut text = "users:\n".to_owned();
    for (name, roles) in users {
        let hash = pki::digest::hex(&pki::digest::sha256(format!("token-of-{name}").as_bytes()));
        text.push_str(&format!(
            "- {{name: {name}, tokenSha256: {hash}, roles: {{{roles}}}}}\n"
        ));
    }
    let path = host.path().with_extension("users");
    std::fs::write(&path, text).unwrap();
    format!("OCCM_USERS={}", path.display())
}

fn as_user(served: &Served, name: &str) -> Client {
    served.bearer(&format!("token-of-{name}"))
}

type Tried = (&'static str, String, String, usize, &'static [u16]);

fn row(method: &'static str, path: &str, body: String, least: usize, good: &'static [u16]) -> Tried {
    (method, path.to_owned(), body, least, good)
}

/// Every operation with the least role that may do it: 0 = everybody, 1 = view, 2 = edit, 3 = admin, and what it answers.
fn operations() -> Vec<Tried> {
    let cert = |name: &str| certificate("team", name).to_string();
    let iss = |name: &str| issuer("team", name).to_string();
    let none = String::new;
    vec![
        row("GET", "/health", none(), 0, &[200]),
        row("GET", "/version", none(), 0, &[200]),
        row("GET", "/session", none(), 0, &[200]),
        row("GET", "/openapi.json", none(), 0, &[200]),
        row("POST", "/session", r#"{"token":"wrong"}"#.to_owned(), 0, &[401]),
        row("DELETE", "/session", none(), 0, &[204]),
        row("GET", "/oidc/login", none(), 0, &[404]),
        row("GET", "/oidc/callback", none(), 0, &[404]),
        row("GET", "/certificates?namespace=team", none(), 1, &[200]),
        row("GET", "/certificates/team/web", none(), 1, &[200]),
        row("GET", "/certificates/team/web/chain", none(), 1, &[200]),
        row("GET", "/certificates/team/web/events", none(), 1, &[200]),
        row("GET", "/issuers?namespace=team", none(), 1, &[200]),
        row("GET", "/issuers/team/lab", none(), 1, &[200]),
        row("GET", "/issuers/team/lab/events", none(), 1, &[200]),
        row("GET", "/secrets?namespace=team", none(), 1, &[200]),
        row("GET", "/activity?namespace=team", none(), 1, &[200]),
        row("GET", "/calendar?namespace=team", none(), 1, &[200]),
        row("POST", "/certificates?dryRun=true", cert("new"), 2, &[201]),
        row(
            "PUT",
            "/certificates/team/web?dryRun=true",
            cert("web"),
            2,
            &[200],
        ),
        row(
            "PATCH",
            "/certificates/team/web?dryRun=true",
            r#"{"spec":{"onDrift":"Alert"}}"#.to_owned(),
            2,
            &[200],
        ),
        row("DELETE", "/certificates/team/web?dryRun=true", none(), 2, &[204]),
        row(
            "POST",
            "/certificates/team/web/renew?dryRun=true",
            none(),
            2,
            &[202],
        ),
        row(
            "POST",
            "/certificates/team/web/recreate?dryRun=true",
            none(),
            2,
            &[202],
        ),
        row(
            "POST",
            "/certificates/team/web/revoke?dryRun=true",
            none(),
            2,
            &[202],
        ),
        row("POST", "/issuers?dryRun=true", iss("new"), 3, &[201]),
        row("PUT", "/issuers/team/lab?dryRun=true", iss("lab"), 3, &[200]),
        row(
            "PATCH",
            "/issuers/team/lab?dryRun=true",
            r#"{"spec":{"engine":"OpenSSL"}}"#.to_owned(),
            3,
            &[200],
        ),
        row("DELETE", "/issuers/team/lab?dryRun=true", none(), 3, &[204]),
        row("POST", "/issuers/team/lab/test", none(), 3, &[200]),
        row("POST", "/migrate", r#"{"certificates":[{"namespace":"team","name":"web"}],"to":{"namespace":"team","name":"lab"},"dryRun":true}"#.to_owned(), 2, &[200]),
        row("GET", "/adopt/candidates?namespace=team", none(), 3, &[200]),
        row("POST", "/adopt", r#"{"secrets":[{"namespace":"team","name":"no-such"}],"issuerRef":{"name":"lab"},"dryRun":true}"#.to_owned(), 3, &[200]),
        row("GET", "/log-level", none(), 3, &[200]),
        row(
            "PUT",
            "/log-level",
            r#"{"level":"trace","minutes":1}"#.to_owned(),
            3,
            &[200],
        ),
        row(
            "POST",
            "/inputs?dryRun=true",
            r#"{"kind":"Secret","namespace":"team","name":"in","data":{"k":"c2VjcmV0"}}"#.to_owned(),
            3,
            &[200],
        ),
    ]
}

/// Operations that everybody who is logged in may use and that show what the caller may see.
const FOR_EACH: [&str; 6] = [
    "/limits",
    "/overview",
    "/identities",
    "/chains",
    "/changes?once=true",
    "/secrets",
];

fn start() -> Served {
    let host = Host::new();
    let users = users(
        &host,
        &[
            ("none", ""),
            ("view", "team: View"),
            ("edit", "team: Edit"),
            ("admin", "team: Admin, default: Admin"),
            ("owner", "'*': Admin"),
        ],
    );
    let served = Served::start(host, &[&users, "OCCM_REQUESTS_PER_SECOND=1000"]);
    let owner = as_user(&served, "owner");
    owner.post("/issuers", &issuer("team", "lab").to_string()).is(201);
    owner
        .post("/certificates", &certificate("team", "web").to_string())
        .is(201);
    wait_for("rows", || {
        let there = |path: &str| owner.get(path).json()["total"] == 1;
        (there("/certificates") && there("/issuers")).then_some(())
    });
    served
}

#[test]
fn each_action_as_each_role_and_without_one() {
    let served = start();
    let mut wrong = Vec::new();
    for (method, path, body, least, good) in operations() {
        for (rank, role) in ROLES.iter().enumerate() {
            let told = as_user(&served, role).any().call(method, &path, &body);
            let right = if rank >= least {
                good.contains(&told.status)
            } else {
                told.status == 403
            };
            if !right {
                wrong.push(format!(
                    "{method} {path} as {role}: {} {}",
                    told.status, told.body
                ));
            }
        }
        let told = served.nobody().any().call(method, &path, &body);
        let right = if least == 0 {
            good.contains(&told.status)
        } else {
            told.status == 401
        };
        if !right {
            wrong.push(format!(
                "{method} {path} as nobody: {} {}",
                told.status, told.body
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    for path in FOR_EACH {
        served.nobody().get(path).is(401);
        for role in ROLES {
            as_user(&served, role).get(path).is(200);
        }
    }
    as_user(&served, "nobody-knows").get("/overview").is(401);
}

#[test]
fn no_operation_is_missing_in_the_table_of_roles() {
    let served = Served::start(Host::new(), &[]);
    let document = served.nobody().get("/openapi.json").is(200).json();
    let tried: BTreeSet<(String, String)> = operations()
        .iter()
        .map(|(method, path, ..)| (method.to_lowercase(), path.clone()))
        .chain(FOR_EACH.iter().map(|path| ("get".to_owned(), (*path).to_owned())))
        .map(|(method, path)| {
            let path = path.split('?').next().unwrap().to_owned();
            let general = path
                .replace("/team/web", "/{namespace}/{name}")
                .replace("/team/lab", "/{namespace}/{name}");
            (method, general)
        })
        .collect();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys() {
            let list = (method.clone(), path.clone());
            assert!(tried.contains(&list), "{method} {path} is tried as no role");
        }
    }
}

#[test]
fn a_user_of_one_namespace_sees_nothing_of_another() {
    let host = Host::new();
    let users = users(&host, &[("red", "red: Admin"), ("owner", "'*': Admin")]);
    let served = Served::start(host, &[&users, "OCCM_REQUESTS_PER_SECOND=1000"]);
    let owner = as_user(&served, "owner");
    for namespace in ["red", "blue"] {
        owner
            .post(
                "/issuers",
                &issuer(namespace, &format!("{namespace}-lab")).to_string(),
            )
            .is(201);
        let mut object = certificate(namespace, &format!("{namespace}-web"));
        // Both use the same name for their Issuer; each counts its own.
        object["spec"]["issuerRef"]["name"] = format!("{namespace}-lab").into();
        owner.post("/certificates", &object.to_string()).is(201);
    }
    wait_for("rows and events", || {
        let total = |path: &str| owner.get(path).json()["total"].as_u64().unwrap_or(0);
        let events = owner.get("/activity?namespace=blue").body.contains("\"Event\"");
        (total("/certificates") == 2 && total("/issuers") == 2 && events).then_some(())
    });
    let red = as_user(&served, "red");
    let mut answers = Vec::new();
    for path in [
        "/session",
        "/overview",
        "/certificates",
        "/issuers",
        "/secrets",
        "/activity?limit=500",
        "/identities",
        "/chains",
        "/calendar",
        "/changes?once=true",
        "/certificates?q=blue",
        "/certificates?issuer=blue%2Fblue-lab",
    ] {
        answers.push((path, red.get(path).is(200)));
    }
    for (path, told) in &answers {
        let echoed = told.body.replace("\"blue\"", "");
        assert!(!told.body.contains("blue"), "{path}: {echoed}");
    }
    assert_eq!(red.get("/certificates").json()["total"], 1);
    assert_eq!(red.get("/overview").json()["counts"]["total"], 1);
    assert_eq!(red.get("/issuers").json()["items"][0]["certificates"], 1);
    // What exists and what does not look the same from outside.
    for method in ["GET", "PUT", "DELETE", "PATCH"] {
        for name in ["blue-web", "no-such"] {
            let path = format!("/certificates/blue/{name}");
            let mut object: Value = certificate("blue", name);
            object["metadata"]["name"] = name.into();
            let body = if method == "GET" || method == "DELETE" {
                String::new()
            } else {
                object.to_string()
            };
            let told = red.any().call(method, &path, &body).is(403);
            let detail = told.json()["detail"].as_str().unwrap().to_owned();
            assert!(
                !detail.contains("exist") && !detail.contains(name),
                "{method} {path}: {detail}"
            );
        }
    }
    red.get("/certificates?namespace=blue").is(403);
    red.get("/activity?namespace=blue").is(403);
    let stream = red.get("/changes?once=true&namespace=blue").is(200).body;
    assert!(!stream.contains("certificate"), "{stream}");
    red.get("/log-level").is(403);
}

#[test]
fn a_stream_of_changes_tells_only_what_the_caller_may_see() {
    let host = Host::new();
    let users = users(&host, &[("red", "red: View"), ("owner", "'*': Admin")]);
    let served = Served::start(host, &[&users]);
    served.synced();
    let owner = as_user(&served, "owner");
    let mut lines = as_user(&served, "red").stream("/changes");
    assert!(lines.by_ref().any(|line| line == "event: synced"));
    owner
        .post("/certificates", &certificate("blue", "hidden").to_string())
        .is(201);
    owner
        .post("/certificates", &certificate("red", "shown").to_string())
        .is(201);
    let mut told = String::new();
    for line in lines {
        told.push_str(&line);
        if told.contains("\"name\":\"shown\"") {
            break;
        }
    }
    assert!(told.contains("shown") && !told.contains("hidden"), "{told}");
}
