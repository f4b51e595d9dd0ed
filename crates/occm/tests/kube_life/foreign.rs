//! Secrets that are not ours, namespaces that end, rights that vanish.

use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::life::{Bed, bytes, fault, same_content};
use crate::support::{Ca, certificate_yaml, reason};

fn foreign(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": {"name": name},
        "data": {"tls.crt": "dGhlaXJz", "password": "eA=="},
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_of_somebody_else_is_left_alone_and_told_of_until_it_goes() {
    let Some(mut bed) = Bed::new("foreign").await else {
        return;
    };
    bed.put("foreign", &foreign("web-tls")).await;
    let theirs = bed.secret("web-tls").await;
    bed.apply(&certificate_yaml("web", "")).await;
    bed.apply(&certificate_yaml("good", "")).await;
    bed.start();
    let message = bed.told("web", "Ready", "ForeignSecret").await;
    assert!(message.contains("foreign/web-tls"), "{message}");
    bed.event("web", "ForeignSecret", "web-tls").await;
    bed.ready("good").await;
    let now = bed.secret("web-tls").await;
    assert_eq!(now.metadata.resource_version, theirs.metadata.resource_version);
    assert_eq!(
        bed.issued("web"),
        0,
        "nothing is asked for that could not be written"
    );
    bed.delete_secret("web-tls").await;
    bed.ready("web").await;
    assert_eq!(fault(&bed.secret("web-tls").await), None);
    assert_eq!(bed.issued("web"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_replace_a_secret_of_somebody_else_gets_our_keys_and_our_type() {
    let Some(mut bed) = Bed::new("replaces").await else {
        return;
    };
    bed.put("replaces", &foreign("web-tls")).await;
    let mut same_type = foreign("kept-tls");
    same_type["type"] = "kubernetes.io/tls".into();
    same_type["data"] = json!({"tls.crt": "dGhlaXJz", "tls.key": "dGhlaXJz", "password": "eA=="});
    bed.put("replaces", &same_type).await;
    bed.apply(&certificate_yaml("web", "  existing: Replace\n")).await;
    bed.apply(&certificate_yaml("kept", "  existing: Replace\n"))
        .await;
    bed.start();
    bed.ready("web").await;
    bed.ready("kept").await;
    let web = bed.secret("web-tls").await;
    assert_eq!(
        (fault(&web), web.type_.as_deref()),
        (None, Some("kubernetes.io/tls"))
    );
    let kept = bed.secret("kept-tls").await;
    assert_eq!(fault(&kept), None);
    assert_eq!(bytes(&kept, "password"), b"x", "their other keys stay");
    assert_eq!((bed.issued("web"), bed.issued("kept")), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_to_do_with_existing_secrets_can_be_changed_while_the_manager_runs() {
    let Some(mut bed) = Bed::new("existing").await else {
        return;
    };
    bed.apply(&certificate_yaml("donor", "")).await;
    bed.start();
    bed.ready("donor").await;
    let donor = bed.secret("donor-tls").await;
    let pair = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": {"name": "twin-tls"},
        "data": serde_json::to_value(&donor.data).unwrap(),
    });
    bed.put("existing", &pair).await;
    bed.put("existing", &foreign("web-tls")).await;
    let theirs = bed.secret("web-tls").await;
    let wish = |name: &str, existing: &str| certificate_yaml(name, &format!("  existing: {existing}\n"));
    let untouched = async || {
        let now = bed.secret("web-tls").await;
        now.metadata.resource_version == theirs.metadata.resource_version
    };
    for name in ["web", "twin"] {
        bed.apply(&wish(name, "Refuse")).await;
        bed.told(name, "Ready", "ForeignSecret").await;
        bed.event(name, "ForeignSecret", &format!("existing/{name}-tls"))
            .await;
    }
    let twin = wish("twin", "Adopt").replace("twin.example", "donor.example");
    bed.apply(&twin).await;
    bed.ready("twin").await;
    bed.event("twin", "Adopted", "existing/twin-tls").await;
    assert!(same_content(&bed.secret("twin-tls").await, &donor));
    bed.apply(&wish("web", "Adopt")).await;
    bed.told("web", "Ready", "AdoptRefused").await;
    bed.event("web", "AdoptRefused", "existing/web-tls").await;
    assert!(untouched().await);
    bed.apply(&wish("web", "Refuse")).await;
    bed.told("web", "Ready", "ForeignSecret").await;
    assert!(untouched().await);
    assert_eq!((bed.issued("web"), bed.issued("twin")), (0, 0));
    bed.apply(&wish("web", "Replace")).await;
    bed.ready("web").await;
    bed.event("web", "Issued", "revision 1").await;
    let ours = bed.secret("web-tls").await;
    assert_eq!(fault(&ours), None);
    // What is ours by now stays ours.
    bed.apply(&wish("web", "Refuse")).await;
    bed.delete_secret("web-tls").await;
    bed.back("web-tls", &ours).await;
    assert_eq!((bed.issued("web"), bed.issued("twin")), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_with_an_owner_of_its_own_is_not_fought_over() {
    let Some(mut bed) = Bed::new("owned").await else {
        return;
    };
    bed.apply(&certificate_yaml("web", "")).await;
    bed.start();
    bed.ready("web").await;
    let owner = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "trust", "controller": true,
        "uid": bed.get("ConfigMap", "trust").await.unwrap()["metadata"]["uid"]}]);
    let patch = json!({"metadata": {"ownerReferences": owner}, "data": {"tls.crt": "dGhlaXJz"}});
    let taken = bed.meddle("web-tls", "their-operator", patch).await;
    bed.told("web", "Ready", "OwnedByAnother").await;
    let now = bed.secret("web-tls").await;
    assert_eq!(now.metadata.resource_version, taken.metadata.resource_version);
    assert_eq!(bed.issued("web"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_ends_stops_only_its_own_and_starts_again_with_the_same_certificates() {
    let ca = Ca::start("{}");
    let Some(mut bed) = Bed::with(
        "outlives",
        &["ends-soon"],
        ca,
        "  allowedNamespaces: [ends-soon]\n",
    )
    .await
    else {
        return;
    };
    let there = "  outputs:\n  - secret: {name: far-tls, namespace: ends-soon, type: kubernetes.io/tls}\n    \
                 keys: {tls.key: {part: Key}, tls.crt: {part: CertificateAndChain}}\n";
    bed.apply(&certificate_yaml("web", there)).await;
    let within = certificate_yaml("inner", "").replace("{name: ca}", "{name: ca, namespace: outlives}");
    bed.apply_in("ends-soon", &within).await;
    bed.start();
    bed.ready("web").await;
    let inner = |found: &Value| crate::support::condition(&found["status"], "Ready") == "True";
    bed.wait_in("ends-soon", "inner is ready", "Certificate", "inner", inner)
        .await;
    let far = bed.secrets_of("ends-soon").get("far-tls").await.unwrap();
    // Something holds it in the state Terminating.
    let hold = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "holds", "finalizers": ["example.com/hold"]}});
    bed.put("ends-soon", &hold).await;
    bed.cluster.delete_namespace("ends-soon").await;
    let blocked = |found: &Value| {
        let why = reason(&found["status"], "Ready");
        ["NamespaceTerminating", "NoAccess", "OutputDeleted"].contains(&why.as_str())
            && found["status"]["outputs"][1]["state"] != "InSync"
    };
    bed.wait("cannot write there", "Certificate", "web", blocked)
        .await;
    // Its output at home is repaired all the while.
    let home = bed.secret("web-tls").await;
    bed.delete_secret("web-tls").await;
    bed.back("web-tls", &home).await;
    let free = json!({"metadata": {"finalizers": null}});
    let configs = bed.api("ends-soon", "ConfigMap");
    configs
        .patch("holds", &Default::default(), &kube::api::Patch::Merge(free))
        .await
        .unwrap();
    let spaces: kube::Api<k8s_openapi::api::core::v1::Namespace> = kube::Api::all(bed.client.clone());
    crate::cluster::until("the namespace is gone", async || {
        spaces.get_opt("ends-soon").await.unwrap().is_none()
    })
    .await;
    bed.cluster.namespace("ends-soon").await;
    bed.grant("ends-soon").await;
    let mut again = None;
    crate::cluster::until("the far output is back", async || {
        again = bed.secrets_of("ends-soon").get_opt("far-tls").await.unwrap();
        again.as_ref().is_some_and(|now| same_content(now, &far))
    })
    .await;
    bed.ready("web").await;
    assert_eq!(bed.issued("web"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_vanishes_is_told_and_its_return_is_enough() {
    let ca = Ca::start("{}");
    let Some(mut bed) = Bed::with("role-home", &["role-far"], ca, "").await else {
        return;
    };
    let there =
        "  outputs:\n  - secret: {name: far, namespace: role-far}\n    keys: {all.pem: {part: Bundle}}\n";
    bed.apply(&certificate_yaml("web", there)).await;
    bed.start();
    bed.ready("web").await;
    let far = bed.secrets_of("role-far").get("far").await.unwrap();
    // Reading goes on, writing is refused.
    let mut less = bed.get_in("role-far", "Role", "occm").await.unwrap();
    let rules = less["rules"].as_array_mut().unwrap();
    let secrets = rules
        .iter_mut()
        .find(|rule| rule["resources"][0] == "secrets")
        .unwrap();
    secrets["verbs"] = json!(["get", "list", "watch"]);
    let less = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "occm"}, "rules": less["rules"],
    });
    bed.put("role-far", &less).await;
    bed.secrets_of("role-far")
        .delete("far", &DeleteParams::default())
        .await
        .unwrap();
    for condition in ["Ready", "InSync"] {
        let message = bed.told("web", condition, "NoAccess").await;
        assert!(message.contains("role-far/far"), "{message}");
    }
    bed.grant("role-far").await;
    // The pause after a refusal is over by itself; a change ends it at once for the others.
    let mut again = None;
    crate::cluster::until("the far output is back", async || {
        again = bed.secrets_of("role-far").get_opt("far").await.unwrap();
        again.as_ref().is_some_and(|now| same_content(now, &far))
    })
    .await;
    bed.told("web", "InSync", "Restored").await;
    assert_eq!(bed.issued("web"), 1);
}
