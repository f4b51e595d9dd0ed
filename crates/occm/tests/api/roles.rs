//! Each action as each role and without one; nothing of a namespace that is not the caller's.

use std::collections::BTreeSet;

use crate::rest::{Client, Served, certificate, issuer, told_until};
use crate::support::{Host, wait_for};
use crate::table::{FOR_EACH, nothing_of_the_other, operations, tried, two_teams};

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

pub fn as_user(served: &Served, name: &str) -> Client {
    served.bearer(&format!("token-of-{name}"))
}

pub fn start() -> Served {
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
    tried("team", &served.nobody(), &|role| as_user(&served, role));
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
    two_teams(&owner);
    nothing_of_the_other(&as_user(&served, "red"));
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
    let told = told_until(lines, "shown");
    assert!(!told.contains("hidden"), "{told}");
}
