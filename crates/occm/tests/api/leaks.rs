//! No private key and no shared secret is in any answer.

use base64ct::Encoding;

use crate::rest::Served;
use crate::support::{Ca, Host, SECRET, certificate_yaml, wait_for};
use crate::table::whatever;

/// Everything that must not be told, in the forms that it might be told in.
fn needles(served: &Served) -> Vec<(String, String)> {
    let mut needles = vec![("the MAC secret".to_owned(), SECRET.to_owned())];
    let add = |needles: &mut Vec<(String, String)>, what: &str, bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        for line in text
            .lines()
            .filter(|line| line.len() > 40 && !line.contains("-----"))
        {
            needles.push((what.to_owned(), line.to_owned()));
        }
        if let Ok(key) = pki::PrivateKey::from_bytes(bytes) {
            let der = key.to_pkcs8_der().unwrap();
            let whole = base64ct::Base64::encode_string(&der);
            needles.push((what.to_owned(), whole[whole.len() - 48..].to_owned()));
            needles.push((what.to_owned(), pki::digest::hex(&der[der.len() - 24..])));
        }
        let again = base64ct::Base64::encode_string(bytes);
        needles.push((
            what.to_owned(),
            again[again.len().saturating_sub(60)..].to_owned(),
        ));
    };
    for name in ["web-tls", "api-tls"] {
        add(&mut needles, name, &served.host.read(name, "tls.key").unwrap());
    }
    let records = served.host.path().join(".occm/records/default");
    for entry in std::fs::read_dir(records).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        let record: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        let key = record["current"]["key"].as_str().unwrap().to_owned();
        add(
            &mut needles,
            "a record",
            &base64ct::Base64::decode_vec(&key).unwrap(),
        );
        needles.push(("a record".to_owned(), key));
    }
    needles
}

#[test]
fn no_answer_holds_a_key_or_a_secret() {
    let ca = Ca::start("{}");
    let host = Host::with_issuer(&ca, "");
    for name in ["web", "api"] {
        host.write(&format!("{name}.yaml"), &certificate_yaml(name, ""));
    }
    let served = Served::start(host, &["OCCM_REQUESTS_PER_SECOND=1000"]);
    for name in ["web", "api"] {
        served.host.wait_ready_file("Certificate", name);
    }
    let api = served.admin();
    wait_for("rows", || {
        (api.get("/certificates?state=Ready").json()["total"] == 2).then_some(())
    });
    let data = base64ct::Base64::encode_string(b"planted-input-value");
    let body =
        format!(r#"{{"kind":"Secret","namespace":"default","name":"later","data":{{"secret":"{data}"}}}}"#);
    let write = |body: &str| whatever(&api, "/inputs").post("/inputs", body);
    let mut answers = vec![("POST /inputs".to_owned(), write(&body).is(200))];
    let wrong = body.replace("\"data\"", "\"dta\"");
    answers.push((
        "POST /inputs with a wrong field".to_owned(),
        write(&wrong).is(422),
    ));
    let wrong = format!(r#"{{"kind":"Secret","namespace":"default","name":"later","data":"{data}"}}"#);
    answers.push(("POST /inputs with a wrong type".to_owned(), write(&wrong).is(422)));
    let wrong = body.replace(&data, "planted-input-value!");
    answers.push(("POST /inputs without base64".to_owned(), write(&wrong).is(422)));
    let document = api.get("/openapi.json").json();
    for (path, operations) in document["paths"].as_object().unwrap() {
        if operations.get("get").is_none() || path.starts_with("/oidc") {
            continue;
        }
        let kinds: &[&str] = if path.starts_with("/issuers") {
            &["ca"]
        } else {
            &["web", "api"]
        };
        for name in kinds {
            let path = path.replace("{namespace}", "default").replace("{name}", name);
            let asked = if path == "/changes" {
                format!("{path}?once=true")
            } else {
                path.clone()
            };
            answers.push((format!("GET {path}"), api.get(&asked).is(200)));
        }
    }
    answers.push((
        "POST test".to_owned(),
        api.post("/issuers/default/ca/test", "").is(200),
    ));
    assert!(answers.len() > 20);
    let mut needles = needles(&served);
    assert!(needles.len() > 10);
    needles.push(("an input".to_owned(), "planted-input-value".to_owned()));
    needles.push(("an input".to_owned(), data));
    let log = served.host.log_text();
    for (what, needle) in needles {
        for (asked, told) in &answers {
            assert!(
                !told.body.contains(&needle) && !told.head.contains(&needle),
                "{asked} tells {what}"
            );
        }
        assert!(!log.contains(&needle), "the log tells {what}");
    }
    for (asked, told) in &answers {
        assert!(!told.body.contains("PRIVATE KEY"), "{asked}");
    }
    // The input is there for the manager, and stays unreadable.
    assert_eq!(
        served.host.read("later", "secret").as_deref(),
        Some(b"planted-input-value".as_slice())
    );
}
