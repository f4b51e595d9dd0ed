//! Objects through the door: made, read, changed, deleted, asked for renewals, watched.

use serde_json::{Value, json};

use crate::bad;
use crate::rest::{Served, certificate, issuer, told_until};
use crate::support::{Ca, Host, certificate_yaml, wait_for};
use crate::table::whatever;

#[test]
fn an_object_is_made_read_changed_and_deleted_each_in_the_state_that_was_seen() {
    let served = Served::start(Host::new(), &[]);
    let api = served.admin();
    let made = api
        .post("/certificates", &certificate("default", "web").to_string())
        .is(201);
    let first = made.header("etag").unwrap().to_owned();
    assert_eq!(
        made.json()["metadata"]["resourceVersion"],
        first.trim_matches('"')
    );
    api.post("/certificates", &certificate("default", "web").to_string())
        .is(409);

    let path = "/certificates/default/web";
    assert_eq!(
        api.call("PUT", path, &certificate("default", "web").to_string())
            .is(428)
            .code(),
        "PreconditionRequired"
    );
    let mut other = certificate("default", "web");
    other["spec"]["dnsNames"] = json!(["web.example"]);
    let changed = api
        .with("If-Match", &first)
        .call("PUT", path, &other.to_string())
        .is(200);
    let second = changed.header("etag").unwrap().to_owned();
    assert_ne!(first, second);
    let stale = api
        .with("If-Match", &first)
        .call("PUT", path, &other.to_string())
        .is(412);
    assert_eq!(stale.code(), "PreconditionFailed");

    let patch = r#"{"spec":{"dnsNames":["a.example","b.example"]}}"#;
    api.with("If-Match", &first).call("PATCH", path, patch).is(412);
    let patched = api.with("If-Match", &second).call("PATCH", path, patch).is(200);
    assert_eq!(
        patched.json()["spec"]["dnsNames"],
        json!(["a.example", "b.example"])
    );
    let third = patched.header("etag").unwrap().to_owned();
    assert_eq!(api.get(path).is(200).header("etag"), Some(third.as_str()));

    api.call("DELETE", path, "").is(428);
    api.with("If-Match", &first).call("DELETE", path, "").is(412);
    api.with("If-Match", &third).call("DELETE", path, "").is(204);
    api.get(path).is(404);
}

#[test]
fn a_dry_run_answers_as_if_and_changes_nothing() {
    let served = Served::start(Host::new(), &[]);
    let api = served.admin();
    let text = certificate("default", "web").to_string();
    api.post("/certificates?dryRun=true", &text).is(201);
    api.get("/certificates/default/web").is(404);
    let made = api.post("/certificates", &text).is(201);
    let etag = made.header("etag").unwrap().to_owned();
    let path = "/certificates/default/web";
    let api = api.with("If-Match", &etag);
    let dry = api
        .call(
            "PATCH",
            &format!("{path}?dryRun=true"),
            r#"{"spec":{"onDrift":"Alert"}}"#,
        )
        .is(200);
    assert_eq!(dry.json()["spec"]["onDrift"], "Alert");
    api.call("DELETE", &format!("{path}?dryRun=true"), "").is(204);
    api.post(&format!("{path}/renew?dryRun=true"), "").is(202);
    let now = api.get(path).is(200);
    assert_eq!(now.header("etag"), Some(etag.as_str()));
    assert_ne!(now.json()["spec"]["onDrift"], "Alert");
}

#[test]
fn each_bad_object_is_refused_with_its_field_and_what_is_allowed() {
    let served = Served::start(Host::new(), &["OCCM_REQUESTS_PER_SECOND=1000"]);
    let api = served.admin();
    let mut wrong = Vec::new();
    for row in bad::rows() {
        let mut object = row.object("x");
        object["metadata"]["namespace"] = "team".into();
        let list = format!("/{}s", row.kind.to_lowercase());
        for path in [list.clone(), format!("{list}?dryRun=true")] {
            let told = api.post(&path, &object.to_string());
            let errors = told.json()["errors"].as_array().cloned().unwrap_or_default();
            let complete = errors.iter().all(|error| {
                let allowed = error["allowed"].as_str().unwrap_or_default();
                !allowed.is_empty() && !error["problem"].as_str().unwrap_or_default().is_empty()
            });
            let named = |error: &Value| error["field"].as_str().unwrap_or_default().contains(&row.path);
            let found = match row.path.as_str() {
                "unreadable" => errors
                    .iter()
                    .any(|error| error["field"].as_str().unwrap_or_default().starts_with("spec")),
                _ => errors.iter().any(named),
            };
            if told.status != 422 || !complete || !found {
                wrong.push(format!("{}: expected {}, told {told:?}", row.name, row.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(served.synced().admin().get("/certificates").json()["total"], 0);
    assert_eq!(served.admin().get("/issuers").json()["total"], 0);
}

#[test]
fn what_is_wrong_with_a_request_itself_is_told() {
    let served = Served::start(Host::new(), &[]);
    let api = served.admin();
    for (body, code, status) in [
        ("{", "InvalidRequest", 400),
        ("{} {}", "InvalidRequest", 400),
        ("[]", "InvalidField", 422),
        ("\"text\"", "InvalidField", 422),
        (r#"{"kind":"Pod"}"#, "InvalidField", 422),
    ] {
        assert_eq!(api.post("/certificates", body).is(status).code(), code, "{body}");
    }
    let text = certificate("default", "web").to_string();
    let plain = api
        .with("Content-Type", "text/plain")
        .post("/certificates", &text)
        .is(415);
    assert_eq!(plain.code(), "UnsupportedMediaType");
    assert_eq!(
        api.post("/issuers", &text).is(422).json()["errors"][0]["field"],
        "kind"
    );
    let told = api
        .any()
        .call("PUT", "/certificates/default/other", &text)
        .is(422);
    assert_eq!(told.json()["errors"][0]["field"], "metadata.name");
    for query in [
        "limit=0",
        "limit=501",
        "limit=x",
        "sort=size",
        "band=8",
        "state=Good",
        "label=x",
        "nothing=1",
    ] {
        assert_eq!(
            api.get(&format!("/certificates?{query}")).is(422).code(),
            "InvalidField",
            "{query}"
        );
    }
    api.get("/nothing").is(404);
    api.get("/certificates/UPPER/x").is(404);
    let told = api.call("DELETE", "/certificates", "").is(405);
    assert_eq!(told.header("allow"), Some("GET, HEAD, POST, OPTIONS"));
    api.with("If-Match", "no-tag")
        .call("DELETE", "/certificates/default/web", "")
        .is(422);
}

#[test]
fn a_status_is_not_taken_from_anybody() {
    let served = Served::start(Host::new(), &[]);
    let api = served.admin();
    let mut object = certificate("default", "web");
    object["status"] = json!({"revision": 7, "serialNumber": "planted"});
    let made = api.post("/certificates", &object.to_string()).is(201);
    assert!(!made.body.contains("planted"), "{made:?}");
    let told = api
        .any()
        .call(
            "PATCH",
            "/certificates/default/web",
            r#"{"status":{"revision":7}}"#,
        )
        .is(422);
    assert_eq!(told.json()["errors"][0]["field"], "status");
}

#[test]
fn lists_are_filtered_sorted_and_cut_into_pages() {
    let served = Served::start(Host::new(), &["OCCM_REQUESTS_PER_SECOND=1000"]);
    let api = served.admin();
    for i in 0..25 {
        let mut object = certificate(if i % 2 == 0 { "even" } else { "odd" }, &format!("c{i:02}"));
        object["metadata"]["labels"] = json!({"nf": if i < 5 { "nrf" } else { "smf" }});
        if i == 3 {
            object["spec"]["privateKey"] = json!({"algorithm": "RSA", "size": 3072});
        }
        api.post("/certificates", &object.to_string()).is(201);
    }
    wait_for("all rows", || {
        (api.get("/certificates").json()["total"] == 25).then_some(())
    });
    let names = |query: &str| -> Vec<String> {
        let told = api.get(&format!("/certificates?{query}")).is(200).json();
        let items = told["items"].as_array().unwrap();
        items
            .iter()
            .map(|row| row["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names("limit=3"), ["c00", "c01", "c02"]);
    assert_eq!(names("limit=2&sort=-name"), ["c24", "c23"]);
    assert_eq!(names("sort=namespace&limit=2"), ["c00", "c02"]);
    assert_eq!(names("namespace=odd&limit=2"), ["c01", "c03"]);
    assert_eq!(names("label=nf%3Dnrf"), ["c00", "c01", "c02", "c03", "c04"]);
    assert_eq!(names("algorithm=rsa"), ["c03"]);
    assert_eq!(names("q=C07.odd"), ["c07"]);
    assert_eq!(names("q=c08-tls"), ["c08"]);
    assert_eq!(names("issuer=odd%2Flab&limit=1"), ["c01"]);
    assert_eq!(names("band=7"), Vec::<String>::new());
    assert_eq!(names("band=none,ok&limit=1"), ["c00"]);
    let mut seen = Vec::new();
    let mut next = String::new();
    loop {
        let page = api.get(&format!("/certificates?limit=10{next}")).is(200).json();
        assert_eq!(page["total"], 25);
        seen.extend(
            page["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|row| row["name"].as_str().unwrap().to_owned()),
        );
        match page["continue"].as_str() {
            Some(text) => next = format!("&continue={text}"),
            None => break,
        }
    }
    let expected: Vec<String> = (0..25).map(|i| format!("c{i:02}")).collect();
    assert_eq!(seen, expected);
    api.get("/certificates?continue=nonsense").is(422);
}

#[test]
fn a_certificate_is_issued_renewed_looked_at_and_revoked_through_the_api() {
    let ca = Ca::start("{}");
    let host = Host::with_issuer(&ca, "");
    host.write("web.yaml", &certificate_yaml("web", ""));
    let served = Served::start(host, &[]);
    let api = served.admin();
    served.host.wait_ready_file("Certificate", "web");
    let path = "/certificates/default/web";
    let ready = || {
        let row = api.get("/certificates?q=web").json()["items"][0].clone();
        (row["state"] == "Ready").then_some(row)
    };
    let row = wait_for("the row is ready", ready);
    assert_eq!(row["revision"], 1);
    assert_eq!(row["issuer"], json!({"namespace": "default", "name": "ca"}));

    let chain = api.get(&format!("{path}/chain")).is(200).json();
    assert_eq!(chain["verdict"], "Valid", "{chain}");
    let links = chain["certificates"].as_array().unwrap();
    assert!(
        links.len() >= 3 && links[0]["subject"].as_str().unwrap().contains("web.example"),
        "{chain}"
    );
    assert_eq!(links[0]["serialNumber"], row["serialNumber"]);

    let etag = api.get(path).is(200).header("etag").unwrap().to_owned();
    let asked = api
        .with("If-Match", &etag)
        .post(&format!("{path}/renew"), "")
        .is(202);
    assert!(!asked.json()["token"].as_str().unwrap().is_empty());
    served.host.wait_revision("web", 2);
    let before = served.host.read("web-tls", "tls.key");
    api.any()
        .post(&format!("{path}/recreate"), r#"{"overBudget":true}"#)
        .is(202);
    served.host.wait_revision("web", 3);
    assert_ne!(before, served.host.read("web-tls", "tls.key"));
    api.any().post(&format!("{path}/revoke"), "{}").is(202);
    served.host.wait_revision("web", 4);
    api.any()
        .post(&format!("{path}/renew"), r#"{"overBudgett":true}"#)
        .is(422);
    api.any().post("/certificates/default/none/renew", "").is(404);

    let tested = api.post("/issuers/default/ca/test", "").is(200).json();
    assert_eq!(tested["ok"], true, "{tested}");
    let overview = api.get("/overview").is(200).json();
    assert_eq!(overview["counts"]["total"], 1, "{overview}");
    let events = api.get(&format!("{path}/events")).is(200).json();
    let issued = events["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["reason"] == "Issued");
    assert!(issued.count() >= 1, "{events}");
    assert_eq!(events["source"], "Directory");
    let activity = api.get("/activity?object=Certificate/default/web").is(200).json();
    let audit = activity["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["kind"] == "Audit");
    let told: Vec<(&str, &str, &str)> = audit
        .map(|row| {
            (
                row["who"].as_str().unwrap(),
                row["what"].as_str().unwrap(),
                row["result"].as_str().unwrap(),
            )
        })
        .collect();
    assert!(told.contains(&("admin", "recreate", "Ok")), "{told:?}");
    assert_eq!(
        api.get("/identities").is(200).json()["items"][0]["state"],
        "Ready"
    );
    assert!(api.get("/chains").is(200).json()["total"].as_u64().unwrap() >= 1);
    assert!(
        !api.get("/calendar").is(200).json()["items"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    let secrets = api.get("/secrets").is(200).json();
    let state = |name: &str| {
        let all = secrets["items"].as_array().unwrap();
        all.iter()
            .find(|row| row["name"] == name)
            .map(|row| row["state"].clone())
    };
    assert_eq!(state("web-tls"), Some("InSync".into()), "{secrets}");
    assert_eq!(state("mac"), Some("InSync".into()), "{secrets}");
}

#[test]
fn a_test_of_a_connection_says_where_it_ends() {
    let ca = Ca::start("{}");
    let host = Host::with_issuer(&ca, "");
    let served = Served::start(host, &[]);
    let api = served.admin();
    let mut object = issuer("default", "nowhere");
    object["spec"]["url"] = "http://127.0.0.1:1/cmp".into();
    api.post("/issuers", &object.to_string()).is(201);
    let tested = api.post("/issuers/default/nowhere/test", "").is(200).json();
    let last = tested["steps"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(
        (tested["ok"].clone(), last["name"].clone()),
        (false.into(), "Prepare".into()),
        "{tested}"
    );
    let data = format!(
        r#"{{"kind":"Secret","namespace":"default","name":"mac","data":{{"k":"{}"}}}}"#,
        "c2VjcmV0"
    );
    // The MAC secret of the test's own Issuer stands in a file and is not ours to write.
    let written = data.replace("\"mac\"", "\"trust-2\"");
    whatever(&api, "/inputs").post("/inputs", &written).is(200);
    api.post("/issuers/default/none/test", "").is(404);
}

#[test]
fn what_happens_comes_live() {
    let served = Served::start(Host::new(), &[]);
    served.synced();
    let api = served.admin();
    let mut lines = api.stream("/changes");
    assert!(lines.by_ref().any(|line| line == "event: synced"));
    api.post("/certificates", &certificate("default", "live").to_string())
        .is(201);
    let data = lines
        .by_ref()
        .filter_map(|line| line.strip_prefix("data: ").map(str::to_owned))
        .find(|data| data.contains("\"kind\":\"Event\""))
        .unwrap();
    let told: Value = serde_json::from_str(&data).unwrap();
    assert_eq!(told["object"]["name"], "live", "{told}");
    let listed = api.get("/certificates/default/live/events").is(200).json();
    let reasons: Vec<&Value> = listed["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["reason"])
        .collect();
    assert!(reasons.contains(&&told["reason"]), "{told} {listed}");
}

#[test]
fn an_input_is_made_or_changed_as_its_header_says() {
    let served = Served::start(Host::new(), &[]);
    let api = served.admin();
    let body = r#"{"kind":"Secret","namespace":"default","name":"mac","data":{"k":"c2VjcmV0"}}"#;
    let write = |name: &str, value: &str| api.with(name, value).post("/inputs", body);
    assert_eq!(api.post("/inputs", body).is(428).code(), "PreconditionRequired");
    write("If-None-Match", "\"1\"").is(422);
    api.any().with("If-None-Match", "*").post("/inputs", body).is(422);
    write("If-Match", "*").is(412);
    let dry = api
        .with("If-None-Match", "*")
        .post("/inputs?dryRun=true", body)
        .is(200);
    assert!(dry.header("etag").is_some());
    let made = write("If-None-Match", "*").is(200);
    let first = made.header("etag").unwrap().to_owned();
    assert_eq!(format!("{}", made.json()["resourceVersion"]), first);
    let refused = write("If-None-Match", "*").is(412);
    assert!(
        refused.json()["detail"]
            .as_str()
            .unwrap()
            .contains("Secret default/mac exists")
    );
    write("If-Match", "\"other\"").is(412);
    let other = body.replace("c2VjcmV0", "b3RoZXI=");
    let changed = api.with("If-Match", &first).post("/inputs", &other).is(200);
    assert_ne!(changed.header("etag"), Some(first.as_str()));
    write("If-Match", &first).is(412);
    write("If-Match", "*").is(200);
}

#[test]
fn what_people_do_comes_live_and_in_new_namespaces_too() {
    let served = Served::start(Host::new(), &[]);
    served.synced();
    let api = served.admin();
    let mut lines = api.stream("/changes");
    assert!(lines.by_ref().any(|line| line == "event: synced"));
    let body = certificate("newly-made", "live").to_string();
    api.post("/certificates", &body).is(201);
    let (mut audit, mut event) = (false, false);
    for line in lines {
        audit |= line.contains("\"kind\":\"Audit\"") && line.contains("\"namespace\":\"newly-made\"");
        event |= line.contains("\"kind\":\"Event\"") && line.contains("\"namespace\":\"newly-made\"");
        if audit && event {
            break;
        }
    }
    assert!(audit && event, "audit line: {audit}, Event: {event}");
    // Who filters is told only of what was asked for.
    let mut lines = api.stream("/changes?namespace=default");
    api.post("/certificates", &certificate("other", "web").to_string())
        .is(201);
    api.post("/certificates", &certificate("default", "web").to_string())
        .is(201);
    let told = told_until(&mut lines, "web");
    assert!(
        told.contains("\"default\"") && !told.contains("\"other\""),
        "{told}"
    );
}

#[test]
fn the_activity_says_how_far_back_each_of_its_parts_reaches() {
    let served = Served::start(Host::new(), &[]);
    let api = served.admin();
    let since = served.nobody().get("/health").json()["since"].clone();
    let told = api.get("/activity").is(200).json();
    assert_eq!(told["auditReachesBackTo"], since, "{told}");
    assert_eq!(told["replica"], served.nobody().get("/health").json()["holder"]);
    api.post("/certificates", &certificate("default", "web").to_string())
        .is(201);
    wait_for("an Event", || {
        let told = api.get("/activity").is(200).json();
        told["eventsReachBackTo"].is_string().then_some(())
    });
}

#[test]
fn a_field_that_is_there_twice_is_refused() {
    let served = Served::start(Host::new(), &[]);
    let api = served.admin();
    let good = certificate("default", "web").to_string();
    for twice in [
        good.replacen("\"spec\":{", "\"spec\":{\"commonName\":\"other.example\",", 1),
        good.replacen('{', "{\"kind\":\"Certificate\",", 1),
    ] {
        let refused = api.post("/certificates", &twice).is(422);
        assert!(refused.body.contains("is there twice"), "{}", refused.body);
    }
    api.post("/certificates", &good).is(201);
    api.any()
        .call(
            "PATCH",
            "/certificates/default/web",
            r#"{"spec":{"onDrift":"Alert","onDrift":"Restore"}}"#,
        )
        .is(422);
}

#[test]
fn a_parameter_that_is_not_there_is_refused_everywhere() {
    let served = Served::start(Host::new(), &[]);
    let api = served.admin();
    api.post("/certificates", &certificate("default", "web").to_string())
        .is(201);
    for path in [
        "/health",
        "/version",
        "/limits",
        "/session",
        "/overview",
        "/chains",
        "/certificates/default/web",
        "/certificates",
    ] {
        let refused = api.get(&format!("{path}?dryrun=true")).is(422);
        assert!(refused.body.contains("dryrun"), "{path}: {}", refused.body);
    }
    api.get("/health?").is(200);
    let told = api.call("OPTIONS", "/certificates", "").is(204);
    assert_eq!(told.header("allow"), Some("GET, HEAD, POST, OPTIONS"));
}

#[test]
fn changes_come_live_and_are_told_again_after_a_break() {
    let served = Served::start(Host::new(), &[]);
    served.synced();
    let api = served.admin();
    let mut lines = api.stream("/changes");
    assert!(lines.by_ref().any(|line| line == "event: synced"));
    let id = lines
        .by_ref()
        .find_map(|line| line.strip_prefix("id: ").map(str::to_owned))
        .unwrap();
    api.post("/certificates", &certificate("default", "live").to_string())
        .is(201);
    assert!(lines.by_ref().any(|line| line == "event: certificate"));
    let data = lines
        .by_ref()
        .find_map(|line| line.strip_prefix("data: ").map(str::to_owned))
        .unwrap();
    let told: Value = serde_json::from_str(&data).unwrap();
    assert_eq!(
        (told["type"].clone(), told["row"]["name"].clone()),
        ("Applied".into(), "live".into())
    );
    drop(lines);
    api.any().call("DELETE", "/certificates/default/live", "").is(204);
    let told = wait_for("the deletion is told", || {
        let missed = api
            .with("Last-Event-ID", &id)
            .get("/changes?once=true")
            .is(200)
            .body;
        missed.contains("\"Deleted\"").then_some(missed)
    });
    assert!(told.contains("{\"complete\":true}"), "{told}");
    let unknown = api
        .with("Last-Event-ID", "other-5")
        .get("/changes?once=true")
        .is(200)
        .body;
    assert!(unknown.contains("{\"complete\":false}"), "{unknown}");
}

#[test]
fn a_broken_object_is_in_the_list_with_its_fault() {
    let host = Host::new();
    host.write(
        "bad.yaml",
        "apiVersion: occm.dev/v1alpha1\nkind: Certificate\nmetadata: {name: bad}\nspec: {issuerRef: 7}\n",
    );
    let served = Served::start(host, &[]);
    served.synced();
    let row = wait_for("the row", || {
        let told = served.admin().get("/certificates").json();
        told["items"].get(0).cloned()
    });
    assert_eq!(
        (row["state"].clone(), row["reason"].clone()),
        ("Failed".into(), "InvalidSpec".into())
    );
    assert!(row["message"].as_str().unwrap().contains("bad.yaml"), "{row}");
}
