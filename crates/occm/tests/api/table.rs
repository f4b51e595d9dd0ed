//! Every operation with the least role that may do it: the table that is tried on a directory and on a cluster.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "each test program uses a part of it"
)]

use serde_json::Value;

use crate::rest::{Client, certificate, issuer};
use crate::support::wait_for;

pub const ROLES: [&str; 4] = ["none", "view", "edit", "admin"];

pub type Tried = (&'static str, String, String, usize, &'static [u16]);

fn row(method: &'static str, path: &str, body: String, least: usize, good: &'static [u16]) -> Tried {
    (method, path.to_owned(), body, least, good)
}

/// Every operation with the least role that may do it: 0 = everybody, 1 = view, 2 = edit, 3 = admin, and what it answers.
pub fn operations() -> Vec<Tried> {
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
        row("GET", "/oidc/login", none(), 0, &[404, 303]),
        row("GET", "/oidc/callback", none(), 0, &[404, 401]),
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
pub const FOR_EACH: [&str; 6] = [
    "/limits",
    "/overview",
    "/identities",
    "/chains",
    "/changes?once=true",
    "/secrets",
];

/// With the header of a write that takes whatever stands there, or makes what is new.
pub fn whatever(client: &Client, path: &str) -> Client {
    match path.starts_with("/inputs") {
        true => client.with("If-None-Match", "*"),
        false => client.any(),
    }
}

/// Tries each operation as each role and as nobody, in this namespace instead of `team`. There must be a Certificate `web`
/// and an Issuer `lab`, and nothing else of the table.
pub fn tried(namespace: &str, nobody: &Client, as_role: &dyn Fn(&str) -> Client) {
    let mut wrong = Vec::new();
    for (method, path, body, least, good) in operations() {
        // Who logs out is nobody afterwards: the tests of sessions do it.
        if (method, path.as_str()) == ("DELETE", "/session") {
            continue;
        }
        let (path, body) = (path.replace("team", namespace), body.replace("team", namespace));
        for (rank, role) in ROLES.iter().enumerate() {
            let told = whatever(&as_role(role), &path).call(method, &path, &body);
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
        let told = whatever(nobody, &path).call(method, &path, &body);
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
        nobody.get(path).is(401);
        for role in ROLES {
            as_role(role).get(path).is(200);
        }
    }
}

/// Makes the same in the namespaces `red` and `blue`, and waits until something happened to both.
pub fn two_teams(owner: &Client) {
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
}

/// Whoever may do everything in `red`, and nothing elsewhere, learns nothing of `blue`.
pub fn nothing_of_the_other(red: &Client) {
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
