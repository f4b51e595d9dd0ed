//! Sessions of browsers on two replicas.

use serde_json::Value;

use crate::bed::{Bed, subject};
use crate::rest::certificate;
use crate::support::wait_for;

#[test]
fn a_session_of_one_replica_is_good_at_the_other() {
    let home = "two-home";
    let values = [
        &subject("edit", home) as &str,
        "--set=api.tls.enabled=false",
        "--set=replicas=2",
        "--set=api.banner=for authorised people only",
    ];
    let Some(bed) = Bed::new(home, &[], &values) else {
        return;
    };
    let person = bed.person("edit");
    let banner = bed.dir.path().join("banner");
    let text = bed
        .kubectl(&[
            "get",
            "configmap",
            "occm-banner",
            "--namespace",
            home,
            "--output=jsonpath={.data.banner}",
        ])
        .unwrap();
    std::fs::write(&banner, text).unwrap();
    let volumes = [("OCCM_LOGIN_BANNER", banner.to_str().unwrap())];
    let (first, second) = (bed.replica("uid-1", &volumes), bed.replica("uid-2", &volumes));
    first.synced();
    second.synced();
    let body = format!(r#"{{"token":"{}"}}"#, person.token);
    let login = wait_for("the keys of cookies", || {
        let told = first.nobody().post("/session", &body);
        assert!([204, 401, 503].contains(&told.status), "{told:?}");
        (told.status == 204).then_some(told)
    });
    let line = login.header("set-cookie").unwrap().to_owned();
    assert!(!line.contains(&person.token), "the token is sealed");
    let cookie = line.split(';').next().unwrap();
    let there = wait_for("the other replica has read the keys", || {
        let told = second.nobody().with("Cookie", cookie).get("/session");
        (told.json()["kind"] == "Bearer").then_some(told)
    });
    let session: Value = there.is(200).json();
    assert_eq!(session["user"], format!("system:serviceaccount:{home}:edit"));
    assert_eq!(session["banner"], "for authorised people only");
    let csrf = session["csrfToken"].as_str().unwrap();
    let object = certificate(home, "web").to_string();
    let browser = second.nobody().with("Cookie", cookie);
    browser.post("/certificates", &object).is(403);
    browser
        .with("X-CSRF-Token", csrf)
        .post("/certificates", &object)
        .is(201);

    // One Secret for both, which is no output and no record, and which outlives a replica.
    let secret = || {
        bed.kubectl(&[
            "get",
            "secret",
            "occm-cookie-keys",
            "--namespace",
            home,
            "--output=jsonpath={.metadata.uid} {.data.keys}",
        ])
        .unwrap()
    };
    let before = secret();
    first.process.kill();
    browser.get("/overview").is(200);
    let again = bed.replica("uid-3", &volumes);
    wait_for("a new replica knows the session", || {
        (again.nobody().with("Cookie", cookie).get("/overview").status == 200).then_some(())
    });
    assert_eq!(secret(), before);
    second.process.stop();
    again.process.stop();
}
