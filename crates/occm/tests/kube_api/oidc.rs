//! People who log in with an OpenID Connect provider: a real one, which also lies when it is told to. What they may do is
//! what the cluster's RBAC says of their name and groups.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::bed::{Bed, Replica};
use crate::rest::{Client, Told, certificate, issuer};
use crate::support::wait_for;
use crate::table::{ROLES, tried};

/// Address that the provider sends browsers back to; the tests themselves bring the answer to the right port.
const EXTERNAL: &str = "http://localhost:4711";
/// Right of its own account, so that the comparison with the chart can tell it apart.
const ACCOUNT: &str = "occm-oidc";
const CLIENT_SECRET: &str = "planted-client-secret-7d21";

/// The provider as a process.
struct Provider {
    child: Child,
    url: String,
}

impl Provider {
    /// `None` = skipped, which was said.
    fn start() -> Option<Self> {
        let console = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../console");
        if !console.join("node_modules/oidc-provider").exists() {
            let why = "the console's packages are not there; run `cargo xtask test --only kube`";
            assert!(
                !std::env::var("CI").is_ok_and(|ci| ci == "true"),
                "no provider: {why}"
            );
            println!("skipped: {why}");
            return None;
        }
        let mut child = Command::new("node")
            .arg("tests/support/provider.mjs")
            .args(["occm", CLIENT_SECRET, &format!("{EXTERNAL}/api/v1/oidc/callback")])
            .current_dir(console)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("node runs");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let url = lines.find_map(|line| Some(line.ok()?.strip_prefix("provider ")?.to_owned()));
        std::thread::spawn(move || lines.for_each(drop));
        Some(Self {
            child,
            url: url.expect("the provider says where it listens"),
        })
    }

    fn client(&self) -> Client {
        Client {
            address: self.url.trim_start_matches("http://").to_owned(),
            headers: Vec::new(),
        }
    }

    /// It lies in this way from now on.
    fn lies(&self, kind: &str) {
        let told = self.client().raw("POST", &format!("/faults?kind={kind}"), b"");
        assert_eq!(told.status, 204, "{told:?}");
    }

    /// Somebody's browser at the provider: from the address that occm sends it to, to the one that it is sent back to.
    fn visit(&self, location: &str, user: &str) -> String {
        let mut cookies: Vec<String> = Vec::new();
        let mut path = location
            .strip_prefix(&self.url)
            .expect("it is the provider's")
            .to_owned();
        let mut form = String::new();
        for _ in 0..8 {
            let method = if form.is_empty() { "GET" } else { "POST" };
            let client = self
                .client()
                .with("Cookie", &cookies.join("; "))
                .with("Content-Type", "application/x-www-form-urlencoded");
            let told = client.raw(method, &path, form.as_bytes());
            form.clear();
            cookies.extend(set_cookies(&told));
            match told.header("location") {
                Some(back) if back.starts_with(EXTERNAL) => {
                    return back.trim_start_matches(EXTERNAL).to_owned();
                }
                Some(next) => path = next.trim_start_matches(&self.url).to_owned(),
                None => {
                    assert!(told.body.contains("Who are you?"), "{told:?}");
                    form = format!("user={}", user.replace(':', "%3A").replace(',', "%2C"));
                }
            }
        }
        panic!("the provider sends {user} around in circles")
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn set_cookies(told: &Told) -> Vec<String> {
    let lines = told.head.lines().filter_map(|line| line.split_once(": "));
    let set = lines.filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
    set.map(|(_, value)| value.split(';').next().unwrap().to_owned())
        .collect()
}

/// A login that has begun: the provider's address, and the cookie that goes with it.
fn begun(replica: &Replica) -> (String, String) {
    let told = replica.nobody().get("/oidc/login?return=/certificates").is(303);
    let location = told.header("location").unwrap().to_owned();
    for part in [
        "code_challenge_method=S256",
        "code_challenge=",
        "state=",
        "nonce=",
        "response_type=code",
    ] {
        assert!(location.contains(part), "{location}");
    }
    let cookie = set_cookies(&told).remove(0);
    (location, cookie)
}

/// What occm says to a browser that comes back.
fn back(replica: &Replica, path: &str, pending: &str) -> Told {
    replica.nobody().with("Cookie", pending).raw("GET", path, b"")
}

fn session_of(told: &Told) -> Option<String> {
    let cookies = set_cookies(told);
    cookies
        .into_iter()
        .find(|cookie| cookie.starts_with("occm=") && cookie.len() > 5)
}

/// The browser of somebody who is logged in.
fn browser(replica: &Replica, provider: &Provider, user: &str) -> Client {
    let (location, pending) = begun(replica);
    let told = back(replica, &provider.visit(&location, user), &pending);
    assert_eq!(
        (told.status, told.header("location")),
        (303, Some("/certificates")),
        "{told:?}"
    );
    let cookie = session_of(&told).unwrap_or_else(|| panic!("no session: {told:?}"));
    let client = replica.nobody().with("Cookie", &cookie);
    let session = client.get("/session").is(200).json();
    assert_eq!(session["kind"], "Oidc");
    client.with("X-CSRF-Token", session["csrfToken"].as_str().unwrap())
}

/// A release whose people come from the provider, and a replica of it.
fn start(home: &str, others: &[&str], provider: &Provider) -> Option<(Bed, Replica)> {
    let group = |role: &str, kind: &str, name: &str| {
        format!("--set=roles.{role}[0].kind={kind},roles.{role}[0].name={name}")
    };
    let issuer = format!(
        "--set=api.oidc.issuer={},api.externalUrl={EXTERNAL}",
        provider.url
    );
    let account = format!("--set=serviceAccount.name={ACCOUNT}");
    let values = [
        "--set=api.tls.enabled=false,api.oidc.clientId=occm,api.oidc.clientSecretName=oidc-client,api.oidc.name=Lab",
        &issuer,
        &account,
        &group("view", "User", "oidc:vera"),
        &group("edit", "Group", "oidc:operators"),
        &group("admin", "Group", "oidc:admins"),
    ];
    let bed = Bed::with_account(home, others, &values, ACCOUNT)?;
    let secret = bed.dir.path().join("client-secret");
    std::fs::write(&secret, format!("{CLIENT_SECRET}\n")).unwrap();
    let replica = bed.replica(
        "uid-1",
        &[("OCCM_OIDC_CLIENT_SECRET_FILE", secret.to_str().unwrap())],
    );
    replica.synced();
    wait_for("the keys of cookies", || {
        (replica.nobody().get("/oidc/login").status == 303).then_some(())
    });
    Some((bed, replica))
}

#[test]
fn people_of_a_provider_may_do_what_the_cluster_says_of_their_names_and_groups() {
    let Some(provider) = Provider::start() else { return };
    let Some((bed, replica)) = start("oidc-home", &["crew"], &provider) else {
        return;
    };
    let way = replica.nobody().get("/session").is(200).json();
    assert_eq!(
        (&way["login"]["oidc"], &way["login"]["oidcName"]),
        (&true.into(), &"Lab".into())
    );
    let people = [
        // A group of the cluster itself is another one with the prefix.
        browser(&replica, &provider, "nina:system:masters"),
        browser(&replica, &provider, "vera"),
        browser(&replica, &provider, "otto:others,operators"),
        browser(&replica, &provider, "alma:admins"),
    ];
    let [_, vera, otto, alma] = &people;
    wait_for("the rights", || {
        (alma.post("/issuers", &issuer("crew", "lab").to_string()).status == 201).then_some(())
    });
    let mut live = vera.stream("/changes");
    assert!(live.by_ref().any(|line| line == "event: synced"));
    alma.post("/certificates", &certificate("crew", "web").to_string())
        .is(201);
    assert!(live.any(|line| line == "event: event"), "what happens is told");
    wait_for("rows", || {
        let there = |path: &str| alma.get(path).json()["total"] == 1;
        (there("/certificates") && there("/issuers")).then_some(())
    });
    tried("crew", &replica.nobody(), &|role| {
        people[ROLES.iter().position(|one| *one == role).unwrap()].clone()
    });
    let roots = r#"{"kind":"ConfigMap","namespace":"crew","name":"roots","data":{"k":"c2VjcmV0"}}"#;
    for (header, status) in [("If-None-Match", 200), ("If-None-Match", 412), ("If-Match", 200)] {
        alma.with(header, "*").post("/inputs", roots).is(status);
    }
    otto.any().post("/inputs", roots).is(403);
    otto.any().post("/certificates/crew/web/renew", "").is(202);
    let log = replica.log_text();
    let mut lines = log.lines().filter(|line| line.contains("\"audit\":true"));
    assert!(
        lines.any(|line| line.contains("oidc:otto") && line.contains("renew") && line.contains("crew/web")),
        "{log}"
    );
    assert!(!log.contains(CLIENT_SECRET));

    // What the cluster takes away is gone, though the session goes on.
    bed.kubectl(&["delete", "rolebinding", "occm-edit", "--namespace=crew"])
        .unwrap();
    wait_for("the right is gone", || {
        (otto.any().post("/certificates/crew/web/renew", "").status == 403).then_some(())
    });
    replica.process.stop();
}

#[test]
fn a_login_that_is_wrong_in_any_part_is_refused() {
    let Some(provider) = Provider::start() else { return };
    let Some((_bed, replica)) = start("liar-home", &[], &provider) else {
        return;
    };
    let refused = |what: &str, told: Told| {
        assert_eq!(told.status, 401, "{what}: {told:?}");
        assert!(session_of(&told).is_none(), "{what}: {told:?}");
        assert!(!told.body.contains("eyJ"), "{what}: a token in {told:?}");
    };
    let login = || {
        let (location, pending) = begun(&replica);
        (provider.visit(&location, "vera"), pending)
    };
    let part = |path: &str, name: &str| {
        let from = path.split(&format!("{name}=")).nth(1).unwrap();
        from.split('&').next().unwrap().to_owned()
    };

    let (path, pending) = login();
    let state = part(&path, "state");
    refused(
        "another state",
        back(
            &replica,
            &path.replace(&state, &"x".repeat(state.len())),
            &pending,
        ),
    );
    refused(
        "no state",
        back(&replica, &path.replace(&format!("state={state}"), ""), &pending),
    );
    refused("no login in this browser", back(&replica, &path, "a=b"));
    refused("a changed cookie", back(&replica, &path, &format!("{pending}A")));
    let (other, _) = login();
    refused("the end of another login", back(&replica, &other, &pending));
    let (location, own) = begun(&replica);
    let own_state = part(&location, "state");
    let stolen = format!(
        "/api/v1/oidc/callback?code={}&state={own_state}",
        part(&path, "code")
    );
    refused(
        "a code of another login, whose verifier nobody has",
        back(&replica, &stolen, &own),
    );
    refused(
        "no code",
        back(
            &replica,
            &format!("/api/v1/oidc/callback?state={own_state}"),
            &own,
        ),
    );
    refused(
        "an error",
        back(
            &replica,
            &format!("/api/v1/oidc/callback?error=access_denied&state={own_state}"),
            &own,
        ),
    );
    let (path, pending) = login();
    let iss = part(&path, "iss");
    refused(
        "another provider's answer",
        back(
            &replica,
            &path.replace(&iss, "https%3A%2F%2Fanother.example"),
            &pending,
        ),
    );

    let (path, pending) = login();
    assert!(
        session_of(&back(&replica, &path, &pending)).is_some(),
        "the same is right once"
    );
    refused("a code that was used", back(&replica, &path, &pending));

    provider.lies("code");
    let (path, pending) = login();
    let got = std::time::Instant::now();
    wait_for("the end of the code", || {
        (got.elapsed().as_millis() > 2100).then_some(())
    });
    refused("an expired code", back(&replica, &path, &pending));

    for lie in [
        "nonce",
        "audience",
        "audiences",
        "issuer",
        "expired",
        "signature",
        "unsigned",
    ] {
        provider.lies(lie);
        let (path, pending) = login();
        refused(lie, back(&replica, &path, &pending));
    }
    // A name of the cluster itself is another one with the prefix.
    provider.lies("system");
    let (path, pending) = login();
    let cookie = session_of(&back(&replica, &path, &pending)).unwrap();
    let told = replica.nobody().with("Cookie", &cookie);
    assert_eq!(told.get("/session").json()["user"], "oidc:system:admin");
    told.get("/certificates?namespace=liar-home").is(403);

    // A person sees a page.
    provider.lies("nonce");
    let (path, pending) = login();
    let told = replica
        .nobody()
        .with("Cookie", &pending)
        .with("Accept", "text/html")
        .raw("GET", &path, b"");
    assert!(
        told.status == 303 && told.header("location").unwrap().starts_with("/login#error="),
        "{told:?}"
    );
    provider.lies("none");
    let (path, pending) = login();
    assert!(session_of(&back(&replica, &path, &pending)).is_some());
    let log = replica.log_text();
    let failed = log
        .lines()
        .filter(|line| line.contains("\"audit\":true") && line.contains("Unauthenticated"))
        .count();
    assert!(failed >= 15, "{failed} audit lines of failed logins");
    replica.process.stop();
}
