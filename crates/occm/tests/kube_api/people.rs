//! The cluster's RBAC is the role model: each action as each role, with the caller's own token, and nothing of elsewhere.

use std::collections::BTreeSet;

use crate::audit::written_by;
use crate::bed::{Bed, subject};
use crate::cluster::chart::Account;
use crate::rest::{Client, certificate, issuer, told_until};
use crate::support::wait_for;
use crate::table::{ROLES, nothing_of_the_other, tried, two_teams};

#[test]
fn each_action_as_each_role_of_the_chart_and_without_one() {
    let home = "roles-home";
    let values: Vec<String> = ROLES[1..].iter().map(|role| subject(role, home)).collect();
    let values: Vec<&str> = [
        &["--set=api.tls.enabled=false"][..],
        &values.iter().map(String::as_str).collect::<Vec<_>>(),
    ]
    .concat();
    let Some(bed) = Bed::new(home, &["team"], &values) else {
        return;
    };
    let people: Vec<Account> = ROLES.iter().map(|role| bed.person(role)).collect();
    let replica = bed.replica("uid-1", &[]);
    replica.synced();
    let client = |role: &str| {
        let place = ROLES.iter().position(|one| *one == role).unwrap();
        replica.with(&people[place])
    };
    let admin = client("admin");
    made(&admin, "/issuers", &issuer("team", "lab").to_string());
    made(&admin, "/certificates", &certificate("team", "web").to_string());
    wait_for("rows", || {
        let there = |path: &str| admin.get(path).json()["total"] == 1;
        (there("/certificates") && there("/issuers")).then_some(())
    });
    tried("team", &replica.nobody(), &client);
    // What the session says is what may be done.
    for (role, told) in [("view", "View"), ("edit", "Edit"), ("admin", "Admin")] {
        let session = client(role).get("/session").is(200).json();
        assert_eq!(session["roles"]["team"], told, "{session}");
        assert_eq!(session["user"], format!("system:serviceaccount:{home}:{role}"));
    }
    assert_eq!(
        client("none").get("/session").json()["namespaces"],
        serde_json::json!([])
    );

    // Real writes are the caller's, not occm's.
    let edit = client("edit");
    edit.post("/certificates", &certificate("team", "own").to_string())
        .is(201);
    edit.any()
        .call(
            "PATCH",
            "/certificates/team/own",
            r#"{"spec":{"onDrift":"Alert"}}"#,
        )
        .is(200);
    edit.any().post("/certificates/team/own/renew", "").is(202);
    edit.any().call("DELETE", "/certificates/team/own", "").is(204);
    admin
        .with("If-None-Match", "*")
        .post(
            "/inputs",
            r#"{"kind":"ConfigMap","namespace":"team","name":"roots","data":{"k":"c2VjcmV0"}}"#,
        )
        .is(200);
    let wrote = |account: &Account| -> BTreeSet<(String, String)> {
        let all = written_by(bed.cluster, account).into_iter();
        all.map(|one| (one.verb, one.resource)).collect()
    };
    let pair = |verb: &str, resource: &str| (verb.to_owned(), resource.to_owned());
    wait_for("the API server's log", || {
        let edits = ["create", "patch", "delete"].map(|verb| pair(verb, "certificates"));
        let admins = [pair("create", "issuers"), pair("create", "configmaps")];
        let told =
            wrote(&people[2]).is_superset(&edits.into()) && wrote(&people[3]).is_superset(&admins.into());
        told.then_some(())
    });
    let own = wrote(&bed.account);
    for (verb, resource) in [
        ("create", "certificates"),
        ("delete", "certificates"),
        ("create", "issuers"),
        ("create", "configmaps"),
    ] {
        assert!(!own.contains(&pair(verb, resource)), "{own:?}");
    }
    // And the log of occm says who it was.
    let log = replica.log_text();
    let line = log.lines().find(|line| {
        line.contains("\"audit\":true")
            && line.contains("Certificate team/own")
            && line.contains("\"what\":\"renew\"")
    });
    let line = line.unwrap_or_else(|| panic!("{log}"));
    for part in [
        &format!("system:serviceaccount:{home}:edit") as &str,
        "127.0.0.1",
        "\"Ok\"",
        "timestamp",
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
    for person in &people {
        assert!(!log.contains(&person.token), "a token is in the log");
    }
    replica.process.stop();
}

/// RBAC of a moment ago may not be known yet.
fn made(client: &Client, path: &str, body: &str) {
    wait_for(path, || (client.post(path, body).status == 201).then_some(()));
}

#[test]
fn a_token_for_one_namespace_sees_nothing_of_another() {
    let Some(bed) = Bed::new("apart-home", &["red", "blue"], &["--set=api.tls.enabled=false"]) else {
        return;
    };
    let (owner, red) = (bed.person("owner"), bed.person("crimson"));
    for namespace in ["apart-home", "red", "blue"] {
        bed.grant(&owner, "admin", namespace);
    }
    bed.grant(&red, "admin", "red");
    let replica = bed.replica("uid-1", &[]);
    let (owner, red) = (replica.synced().with(&owner), replica.with(&red));
    wait_for("the rights", || {
        let may = |client: &Client, namespace: &str| {
            client.get(&format!("/certificates?namespace={namespace}")).status == 200
        };
        (may(&owner, "red") && may(&owner, "blue") && may(&red, "red")).then_some(())
    });
    let mut lines = red.stream("/changes");
    assert!(lines.by_ref().any(|line| line == "event: synced"));
    two_teams(&owner);
    nothing_of_the_other(&red);
    owner
        .post("/certificates", &certificate("red", "shown").to_string())
        .is(201);
    let told = told_until(lines, "shown");
    assert!(!told.contains("blue"), "{told}");
    // A namespace that is not managed is one in which nobody may do anything, even its administrator.
    bed.kubectl(&["create", "namespace", "green"]).unwrap();
    let king = bed.person("king");
    bed.kubectl(&[
        "create",
        "clusterrolebinding",
        "king",
        "--clusterrole=cluster-admin",
        "--serviceaccount=apart-home:king",
    ])
    .unwrap();
    let king = replica.with(&king);
    wait_for("the rights", || {
        (king.get("/certificates").json()["total"].as_u64()? >= 3).then_some(())
    });
    king.post("/certificates", &certificate("green", "web").to_string())
        .is(403);
    king.get("/certificates/kube-system/web").is(403);
    replica.process.stop();
}

#[test]
fn what_the_cluster_grants_and_takes_holds_at_once() {
    let Some(bed) = Bed::new("rbac-home", &[], &["--set=api.tls.enabled=false"]) else {
        return;
    };
    let person = bed.person("newcomer");
    let replica = bed.replica("uid-1", &[]);
    let client = replica.synced().with(&person);
    client.get("/certificates?namespace=rbac-home").is(403);
    bed.grant(&person, "edit", "rbac-home");
    wait_for("the right is there", || {
        (client.get("/certificates?namespace=rbac-home").status == 200).then_some(())
    });
    client
        .post("/certificates", &certificate("rbac-home", "web").to_string())
        .is(201);
    let login = replica
        .nobody()
        .post("/session", &format!(r#"{{"token":"{}"}}"#, person.token))
        .is(204);
    let cookie = login
        .header("set-cookie")
        .unwrap()
        .split(';')
        .next()
        .unwrap()
        .to_owned();
    let browser = replica.nobody().with("Cookie", &cookie);
    browser.get("/certificates/rbac-home/web").is(200);

    bed.revoke(&person, "edit", "rbac-home");
    wait_for("the right is gone", || {
        let told = [
            client.get("/certificates?namespace=rbac-home"),
            browser.get("/certificates/rbac-home/web"),
        ];
        told.iter().all(|told| told.status == 403).then_some(())
    });
    client
        .any()
        .call("DELETE", "/certificates/rbac-home/web", "")
        .is(403);

    bed.kubectl(&["delete", "serviceaccount", "newcomer", "--namespace=rbac-home"])
        .unwrap();
    wait_for("nobody knows the token", || {
        let told = [client.get("/overview"), browser.get("/overview")];
        told.iter().all(|told| told.status == 401).then_some(())
    });
    replica.process.stop();
}
