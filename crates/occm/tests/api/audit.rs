//! A line in the log for each write: who, what, when, from where, and how it ended.

use crate::rest::{Served, Told, certificate};
use crate::support::{Host, wait_for};
use crate::table::{ROLES, operations, whatever};

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
            let told = whatever(&crate::roles::as_user(&served, role), &path).call(method, &path, &body);
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
        let told = whatever(&served.nobody(), &path)
            .call(method, &path, &body)
            .is(401);
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

#[test]
fn a_write_whose_caller_is_gone_is_done_and_has_its_line() {
    let served = Served::start(Host::new(), &["OCCM_REQUESTS_PER_SECOND=1000"]);
    served.synced();
    // Writes stand still as long as somebody else changes the directory.
    served
        .admin()
        .post("/certificates", &certificate("default", "first").to_string())
        .is(201);
    let lock = std::fs::File::open(served.host.path().join(".occm/requests.lock")).unwrap();
    lock.lock().unwrap();
    let names: Vec<String> = (0..8).map(|i| format!("gone-{i}")).collect();
    let callers: Vec<_> = names
        .iter()
        .map(|name| {
            let body = certificate("default", name).to_string();
            served.admin().send("POST", "/certificates", &body)
        })
        .collect();
    std::thread::sleep(std::time::Duration::from_millis(500));
    drop(callers);
    std::thread::sleep(std::time::Duration::from_millis(500));
    lock.unlock().unwrap();
    wait_for("each is there and has its line", || {
        let listed = served.admin().get("/certificates").is(200).body;
        let log = served.host.log_text();
        let done = |name: &String| {
            let object = format!("object=\"Certificate default/{name}\"");
            let mut lines = log.lines().filter(|line| line.contains("audit=true"));
            listed.contains(&format!("\"name\":\"{name}\""))
                && lines.any(|line| line.contains(&object) && line.contains("result=\"Ok\""))
        };
        names.iter().all(done).then_some(())
    });
}

#[test]
fn a_write_whose_body_ends_early_is_no_large_one() {
    let served = Served::start(Host::new(), &[]);
    let api = served.admin().with("Content-Length", "5000");
    drop(api.send("POST", "/certificates", ""));
    let line = wait_for("the line", || {
        let log = served.host.log_text();
        log.lines()
            .find(|line| line.contains("audit=true"))
            .map(str::to_owned)
    });
    assert!(
        line.contains("result=\"InvalidRequest\"") && line.contains("who=\"admin\""),
        "{line}"
    );
}

#[test]
fn a_flood_of_writes_has_one_line() {
    let served = Served::start(Host::new(), &["OCCM_REQUESTS_PER_SECOND=1"]);
    let told: Vec<_> = (0..30)
        .map(|_| served.admin().post("/certificates", "{}"))
        .collect();
    let refused = told.iter().filter(|told| told.status == 429).count();
    assert!(refused >= 20, "{refused}");
    let lines = || {
        served
            .host
            .log_text()
            .matches("result=\"TooManyRequests\"")
            .count()
    };
    wait_for("the line", || (lines() > 0).then_some(()));
    // One more each time that a request passed in between.
    assert!(lines() <= 1 + 30 - refused, "{}", lines());
}
