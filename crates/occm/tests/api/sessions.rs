//! Sessions of browsers: cookies, CSRF, their end, the ways to log in.

use std::process::{Command, Stdio};

use crate::audit::logged;
use crate::rest::{Client, Served, certificate};
use crate::support::{BIN, Host, wait_for};

fn cookie(told: &crate::rest::Told) -> String {
    let line = told
        .header("set-cookie")
        .unwrap_or_else(|| panic!("no cookie: {told:?}"));
    line.split(';').next().unwrap().to_owned()
}

fn logged_in(served: &Served, body: &str) -> Client {
    let told = served.nobody().post("/session", body).is(204);
    served.nobody().with("Cookie", &cookie(&told))
}

fn printed_login(served: &Served) -> String {
    let link = std::fs::read_to_string(served.host.path().join(".occm/api/login")).unwrap();
    link.split("token=").nth(1).unwrap().to_owned()
}

#[test]
fn a_printed_login_is_good_once() {
    let served = Served::start(Host::new(), &[]);
    let token = printed_login(&served);
    let body = format!(r#"{{"token":"{token}"}}"#);
    let told = served.nobody().post("/session", &body).is(204);
    let line = told.header("set-cookie").unwrap().to_owned();
    for wanted in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age="] {
        assert!(line.contains(wanted), "{line}");
    }
    assert!(!line.contains(&token), "{line}");
    assert_eq!(
        served.nobody().post("/session", &body).is(401).code(),
        "Unauthenticated"
    );
    let next = printed_login(&served);
    assert_ne!(token, next);
    served
        .nobody()
        .post("/session", &format!(r#"{{"token":"{next}"}}"#))
        .is(204);
    // It is no token for programs.
    served.bearer(&printed_login(&served)).get("/overview").is(401);
}

#[test]
fn a_browser_writes_only_with_the_token_of_its_session() {
    let served = Served::start(Host::new(), &[]);
    let browser = logged_in(&served, &format!(r#"{{"token":"{}"}}"#, served.token));
    let session = browser.get("/session").is(200).json();
    assert_eq!(
        (session["user"].clone(), session["kind"].clone()),
        ("admin".into(), "Local".into())
    );
    let text = certificate("default", "web").to_string();
    for browser in [
        browser.clone(),
        browser.with("X-CSRF-Token", "wrong"),
        browser.with("X-CSRF-Token", ""),
    ] {
        assert_eq!(browser.post("/certificates", &text).is(403).code(), "Forbidden");
        browser.call("DELETE", "/session", "").is(403);
    }
    let browser = browser.with("X-CSRF-Token", session["csrfToken"].as_str().unwrap());
    browser.post("/certificates", &text).is(201);
    let told = browser.call("DELETE", "/session", "").is(204);
    assert!(
        told.header("set-cookie").unwrap().contains("Max-Age=0"),
        "{told:?}"
    );
}

#[test]
fn a_changed_or_foreign_cookie_is_nobody() {
    let served = Served::start(Host::new(), &[]);
    let told = served
        .nobody()
        .post("/session", &format!(r#"{{"token":"{}"}}"#, served.token))
        .is(204);
    let cookie = cookie(&told);
    served.nobody().with("Cookie", &cookie).get("/overview").is(200);
    let (name, value) = cookie.split_once('=').unwrap();
    let flipped: String = value.chars().rev().collect();
    for value in [flipped.as_str(), "", "x", &value[..value.len() - 1]] {
        served
            .nobody()
            .with("Cookie", &format!("{name}={value}"))
            .get("/overview")
            .is(401);
    }
    let other = Served::start(Host::new(), &[]);
    other.nobody().with("Cookie", &cookie).get("/overview").is(401);
}

#[test]
fn a_session_that_is_not_used_ends() {
    let served = Served::start(
        Host::new(),
        &["OCCM_IDLE_TIMEOUT=2s", "OCCM_REQUESTS_PER_SECOND=1000"],
    );
    let browser = logged_in(&served, &format!(r#"{{"token":"{}"}}"#, served.token));
    browser.get("/overview").is(200);
    // The cookie stays the old one: what a use writes down is in the cookie of its answer, which is thrown away here.
    wait_for("the end of the session", || {
        (browser.get("/overview").status == 401).then_some(())
    });
    // One that is used goes on.
    let mut cookie_now = cookie(
        &served
            .nobody()
            .post("/session", &format!(r#"{{"token":"{}"}}"#, served.token))
            .is(204),
    );
    let begun = std::time::Instant::now();
    wait_for("twice the idle time", || {
        let told = served
            .nobody()
            .with("Cookie", &cookie_now)
            .get("/overview")
            .is(200);
        if told.header("set-cookie").is_some() {
            cookie_now = cookie(&told);
        }
        (begun.elapsed().as_secs() >= 4).then_some(())
    });
}

#[test]
fn what_a_page_reads_by_itself_keeps_no_session_alive() {
    let served = Served::start(
        Host::new(),
        &["OCCM_IDLE_TIMEOUT=3s", "OCCM_REQUESTS_PER_SECOND=1000"],
    );
    let browser = logged_in(&served, &format!(r#"{{"token":"{}"}}"#, served.token));
    let begun = std::time::Instant::now();
    let mut live = browser.stream("/changes");
    assert!(live.by_ref().any(|line| line == "event: synced"));
    std::thread::sleep(std::time::Duration::from_secs(1));
    let told = browser.with("X-Occm-Background", "1").get("/overview").is(200);
    assert!(told.header("set-cookie").is_none());
    let told = browser.get("/changes?once=true").is(200);
    assert!(told.header("set-cookie").is_none());
    assert!(browser.get("/overview").is(200).header("set-cookie").is_some());
    // Its stream ends with the session, though it is read all the time.
    assert_eq!(live.last().as_deref().map(str::is_empty), Some(true));
    assert!(begun.elapsed() >= std::time::Duration::from_secs(3));
    browser.get("/overview").is(401);
}

#[test]
fn a_session_that_was_logged_out_is_over_with_its_stream() {
    let served = Served::start(Host::new(), &[]);
    let login = format!(r#"{{"token":"{}"}}"#, served.token);
    let (browser, other) = (logged_in(&served, &login), logged_in(&served, &login));
    let mut live = browser.stream("/changes");
    assert!(live.by_ref().any(|line| line == "event: synced"));
    let session = browser.get("/session").is(200).json();
    let csrf = session["csrfToken"].as_str().unwrap();
    browser
        .with("X-CSRF-Token", csrf)
        .call("DELETE", "/session", "")
        .is(204);
    // Somebody kept the cookie.
    browser.get("/overview").is(401);
    other.get("/overview").is(200);
    let ends = std::thread::spawn(move || live.count());
    wait_for("the end of the stream", || ends.is_finished().then_some(()));
}

#[test]
fn users_of_a_file_log_in_by_password_and_are_gone_with_their_line() {
    let hash = {
        let mut child = Command::new(BIN)
            .arg("password")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"correct horse\n").unwrap();
        String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
    };
    let host = Host::new();
    let file = host.path().with_extension("people");
    let text = format!(
        "users:\n- {{name: anna, password: '{}', roles: {{'*': View}}}}\n",
        hash.trim()
    );
    std::fs::write(&file, &text).unwrap();
    let banner = host.path().with_extension("banner");
    std::fs::write(&banner, "for authorised people only").unwrap();
    let served = Served::start(
        host,
        &[
            &format!("OCCM_USERS={}", file.display()),
            &format!("OCCM_LOGIN_BANNER={}", banner.display()),
        ],
    );
    let session = served.nobody().get("/session").is(200).json();
    assert_eq!(session["kind"], "None");
    assert_eq!(session["login"]["local"], true);
    assert_eq!(session["banner"], "for authorised people only");
    for body in [
        r#"{"user":"anna","password":"wrong horse"}"#,
        r#"{"user":"bert","password":"correct horse"}"#,
        r#"{"token":"correct horse"}"#,
    ] {
        served.nobody().post("/session", body).is(401);
    }
    for body in [
        r#"{}"#,
        r#"{"user":"anna"}"#,
        r#"{"user":"a","password":"b","token":"c"}"#,
    ] {
        served.nobody().post("/session", body).is(422);
    }
    let anna = logged_in(&served, r#"{"user":"anna","password":"correct horse"}"#);
    assert_eq!(anna.get("/session").json()["user"], "anna");
    std::fs::write(&file, text.replace("anna", "carl")).unwrap();
    wait_for("anna is gone", || {
        (anna.get("/overview").status == 401).then_some(())
    });
    std::fs::remove_file(file).unwrap();
}

#[test]
fn the_log_has_a_line_for_each_login() {
    let served = Served::start(Host::new(), &[]);
    served
        .nobody()
        .post("/session", r#"{"token":"wrong-token-planted"}"#)
        .is(401);
    let told = served
        .nobody()
        .post("/session", &format!(r#"{{"token":"{}"}}"#, served.token))
        .is(204);
    logged(&served, &told, &["log in", "127.0.0.1", "Ok", "admin"]);
    let log = served.host.log_text();
    assert!(log.contains("Unauthenticated") && !log.contains("wrong-token-planted"));
    assert!(!log.contains(&served.token), "{log}");
}

#[test]
fn a_log_level_holds_for_this_replica_and_a_time() {
    let served = Served::start(Host::new(), &[]);
    let api = served.admin();
    let body = r#"{"level":"warn","minutes":5}"#;
    api.call("PUT", "/log-level", body).is(428);
    let before = api.get("/log-level").is(200);
    let api = api.with("If-Match", before.header("etag").unwrap());
    api.call("PUT", "/log-level?dryRun=true", body).is(200);
    assert_eq!(api.get("/log-level").is(200).json(), before.json());
    let told = api.call("PUT", "/log-level", body).is(200);
    let (version, told) = (told.header("etag").unwrap().to_owned(), told.json());
    assert_eq!(told["level"], "warn");
    assert!(told["until"].is_string() && told["replica"].is_string(), "{told}");
    let now = api.get("/log-level").is(200);
    assert_eq!((now.json(), now.header("etag")), (told, Some(version.as_str())));
    api.call("PUT", "/log-level", body).is(412);
    let api = served.admin().any();
    for body in [
        r#"{"level":"loud=="}"#,
        r#"{"level":"info","minutes":0}"#,
        r#"{"level":"info","minutes":2000}"#,
    ] {
        api.call("PUT", "/log-level", body).is(422);
    }
}
