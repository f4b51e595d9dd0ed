//! A line in the log for each write: who, what, when, from where, and how it ended.

use crate::rest::{Served, Told, certificate};
use crate::support::{Host, wait_for};
use crate::table::{ROLES, operations};

/// The one audit line of a request has all of this, and a time.
pub fn logged(served: &Served, told: &Told, parts: &[&str]) {
    let id = told.header("x-request-id").unwrap();
    let lines: Vec<String> = wait_for(&format!("the audit line of {told:?}"), || {
        let log = served.host.log_text();
        let lines = log
            .lines()
            .filter(|line| line.contains("audit=true") && line.contains(id));
        let lines: Vec<String> = lines.map(str::to_owned).collect();
        (!lines.is_empty()).then_some(lines)
    });
    assert_eq!(lines.len(), 1, "one line each: {lines:#?}");
    for part in parts {
        assert!(lines[0].contains(part), "{part} in {}", lines[0]);
    }
    let time = lines[0].split_whitespace().next().unwrap();
    assert!(time.parse::<jiff::Timestamp>().is_ok(), "{time}");
}

#[test]
fn each_write_of_each_role_has_its_line() {
    let served = crate::roles::start();
    let mut tried = 0;
    for (method, path, body, least, good) in operations() {
        if method == "GET" || path == "/session" {
            continue;
        }
        tried += 1;
        for (rank, role) in ROLES.iter().enumerate() {
            let told = crate::roles::as_user(&served, role)
                .any()
                .call(method, &path, &body);
            let result = if rank >= least { "Ok" } else { "Forbidden" };
            assert!(rank < least || good.contains(&told.status));
            let object = path
                .strip_prefix("/certificates/team/web")
                .map_or("", |_| "Certificate team/web");
            logged(
                &served,
                &told,
                &[
                    &format!("who=\"{role}\""),
                    "from=\"127.0.0.1\"",
                    &format!("result=\"{result}\""),
                    "what=\"",
                    object,
                ],
            );
        }
        let told = served.nobody().any().call(method, &path, &body).is(401);
        logged(
            &served,
            &told,
            &["who=\"nobody\"", "from=\"127.0.0.1\"", "Unauthenticated", method],
        );
    }
    assert!(tried >= 15, "{tried} writes");
}

#[test]
fn a_write_that_comes_to_nothing_has_its_line_too() {
    let served = Served::start(Host::new(), &[]);
    let api = served.admin();
    let web = certificate("default", "web").to_string();
    api.post("/certificates", &web).is(201);
    let other = certificate("default", "other").to_string();
    for (told, result) in [
        (api.post("/certificates", &web).is(409), "Conflict"),
        (api.post("/certificates", "{").is(400), "InvalidRequest"),
        (api.post("/certificates", "[]").is(422), "InvalidField"),
        (
            api.any().call("PUT", "/certificates/default/web", &other).is(422),
            "InvalidField",
        ),
        (
            api.call("DELETE", "/certificates/default/web", "").is(428),
            "PreconditionRequired",
        ),
        (
            api.with("If-Match", "\"1\"")
                .call("DELETE", "/certificates/default/web", "")
                .is(412),
            "PreconditionFailed",
        ),
        (
            api.any()
                .call("DELETE", "/certificates/default/no-such", "")
                .is(404),
            "NotFound",
        ),
    ] {
        logged(
            &served,
            &told,
            &[
                "who=\"admin\"",
                "from=\"127.0.0.1\"",
                &format!("result=\"{result}\""),
            ],
        );
    }
    // Reading leaves none.
    let told = api.get("/certificates").is(200);
    assert!(
        !served
            .host
            .log_text()
            .contains(told.header("x-request-id").unwrap())
    );
}
