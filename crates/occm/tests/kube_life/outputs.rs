//! What outputs look like, where they may be, and what becomes of them when the Certificate goes.

use kube::api::DeleteParams;
use serde_json::Value;

use crate::cluster::until;
use crate::life::{Bed, bytes, same_content};
use crate::support::{Ca, certificate_yaml, reason};

#[tokio::test(flavor = "multi_thread")]
async fn one_certificate_goes_into_several_secrets_in_any_form() {
    let Some(mut bed) = Bed::with("forms", &["forms-far"], Ca::start("{}"), "").await else {
        return;
    };
    let more = "  privateKey: {algorithm: RSA, size: 2048}\n  secretTemplate: {labels: {app: web}, annotations: {example.com/owner: net}}\n\
                \x20 outputs:\n  - secret: {name: parts}\n    keys:\n      p1.key: {part: Key, format: PKCS1PEM}\n      p1.der: {part: Key, format: PKCS1DER}\n\
                \x20     p8.der: {part: Key, format: PKCS8DER}\n      leaf.der: {part: Certificate, format: DER}\n      chain.pem: {part: Chain}\n\
                \x20     root.der: {part: CA, format: DER}\n      all.pem: {part: Bundle}\n\
                \x20 - secret: {name: far, namespace: forms-far, type: kubernetes.io/tls}\n    keys: {tls.key: {part: Key}, tls.crt: {part: CertificateAndChain}}\n";
    bed.apply(&certificate_yaml("web", more)).await;
    bed.start();
    bed.ready("web").await;
    let (main, parts) = (bed.secret("web-tls").await, bed.secret("parts").await);
    let far = bed.secrets_of("forms-far").get("far").await.unwrap();
    let key = pki::PrivateKey::from_bytes(&bytes(&main, "tls.key")).unwrap();
    for name in ["p1.key", "p1.der", "p8.der"] {
        let other = pki::PrivateKey::from_bytes(&bytes(&parts, name)).unwrap();
        assert_eq!(
            other.public_key().spki_der(),
            key.public_key().spki_der(),
            "{name}"
        );
    }
    assert!(bytes(&parts, "p1.key").starts_with(b"-----BEGIN RSA PRIVATE KEY-----"));
    let chain = pki::parse_certificates(&bytes(&main, "tls.crt")).unwrap();
    let leaf = &chain[0];
    assert_eq!(bytes(&parts, "leaf.der"), leaf.der());
    assert_eq!(
        pki::parse_certificates(&bytes(&parts, "chain.pem")).unwrap(),
        chain[1..]
    );
    assert_eq!(
        pki::parse_certificates(&bytes(&parts, "root.der")).unwrap(),
        pki::parse_certificates(&bytes(&main, "ca.crt")).unwrap()
    );
    let bundle = bytes(&parts, "all.pem");
    assert!(
        pki::PrivateKey::from_bytes(&bundle).is_ok() && pki::parse_certificates(&bundle).unwrap() == chain
    );
    assert_eq!(bytes(&far, "tls.crt"), bytes(&main, "tls.crt"));
    assert_eq!(
        (parts.type_.as_deref(), far.type_.as_deref()),
        (Some("Opaque"), Some("kubernetes.io/tls"))
    );
    for secret in [&main, &parts, &far] {
        assert_eq!(secret.metadata.labels.as_ref().unwrap()["app"], "web");
        assert_eq!(
            secret.metadata.annotations.as_ref().unwrap()["example.com/owner"],
            "net"
        );
    }
    // A renewal reaches all; a deletion of any is put back.
    bed.annotate("web", "occm.dev/renew", "1").await;
    bed.revision("web", 2).await;
    let (parts, far) = (
        bed.secret("parts").await,
        bed.secrets_of("forms-far").get("far").await.unwrap(),
    );
    assert_eq!(
        pki::parse_certificates(&bytes(&far, "tls.crt")).unwrap()[0].der(),
        bytes(&parts, "leaf.der")
    );
    bed.secrets_of("forms-far")
        .delete("far", &DeleteParams::default())
        .await
        .unwrap();
    bed.delete_secret("parts").await;
    bed.back("parts", &parts).await;
    until("the far output is back", async || {
        let now = bed.secrets_of("forms-far").get_opt("far").await.unwrap();
        now.is_some_and(|now| same_content(&now, &far))
    })
    .await;
    // Changed labels and keys of the wish are written, and cost no certificate.
    let less = "  privateKey: {algorithm: RSA, size: 2048}\n  secretTemplate: {labels: {app: other}}\n\
                \x20 outputs:\n  - secret: {name: parts}\n    keys: {new.pem: {part: Bundle}}\n";
    bed.apply(&certificate_yaml("web", less)).await;
    let wanted = |found: &Value| {
        found["metadata"]["labels"]["app"] == "other"
            && found["data"].as_object().is_some_and(|data| data.len() == 1)
    };
    bed.wait("has the new form", "Secret", "parts", wanted).await;
    assert_eq!(bed.issued("web"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_certificate_at_home_writes_elsewhere_and_only_allowed_ones_use_its_issuer() {
    let ca = Ca::start("{}");
    let Some(mut bed) = Bed::with(
        "rules",
        &["rules-a", "rules-b"],
        ca,
        "  allowedNamespaces: [rules-a]\n",
    )
    .await
    else {
        return;
    };
    let home = |name: &str, more: &str| {
        certificate_yaml(name, more).replace("{name: ca}", "{name: ca, namespace: rules}")
    };
    bed.apply_in("rules-a", &home("may", "")).await;
    bed.apply_in("rules-b", &home("not", "")).await;
    let elsewhere =
        "  outputs:\n  - secret: {name: out, namespace: rules-b}\n    keys: {a: {part: Bundle}}\n";
    bed.apply_in("rules-a", &home("reaches", elsewhere)).await;
    bed.start();
    let is = |wanted: &'static str| move |found: &Value| reason(&found["status"], "Ready") == wanted;
    bed.wait_in("rules-a", "may is ready", "Certificate", "may", is("UpToDate"))
        .await;
    bed.wait_in(
        "rules-b",
        "not is refused",
        "Certificate",
        "not",
        is("IssuerNotAllowed"),
    )
    .await;
    bed.wait_in(
        "rules-a",
        "reaches is refused",
        "Certificate",
        "reaches",
        is("InvalidSpec"),
    )
    .await;
    assert_eq!(bed.issued_in_all(), 2);
    assert!(bed.secrets_of("rules-b").get_opt("out").await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_certificate_keeps_deletes_or_revokes_as_it_says() {
    let Some(mut bed) = Bed::new("deletes").await else {
        return;
    };
    for (name, more) in [
        ("keep", ""),
        ("delete", "  onDelete: Delete\n"),
        ("revoke", "  onDelete: Revoke\n"),
    ] {
        bed.apply(&certificate_yaml(name, more)).await;
    }
    bed.start();
    for name in ["keep", "delete", "revoke"] {
        bed.ready(name).await;
    }
    let kept = bed.secret("keep-tls").await;
    for name in ["keep", "delete", "revoke"] {
        bed.api("deletes", "Certificate")
            .delete(name, &DeleteParams::default())
            .await
            .unwrap();
        until("the object is gone", async || {
            bed.get("Certificate", name).await.is_none()
        })
        .await;
    }
    let revoked = bed.ca.issued_for("revoke.example");
    assert!(revoked[0]["state"].to_string().contains("revoked"), "{revoked:?}");
    for gone in [
        "delete-tls",
        "revoke-tls",
        "occm-record-delete",
        "occm-record-revoke",
    ] {
        assert!(bed.get("Secret", gone).await.is_none(), "{gone}");
    }
    // Made again under the same name it is bound, without an issuance.
    assert!(same_content(&bed.secret("keep-tls").await, &kept));
    bed.apply(&certificate_yaml("keep", "")).await;
    bed.ready("keep").await;
    assert!(same_content(&bed.secret("keep-tls").await, &kept));
    assert_eq!(bed.issued("keep"), 1);
    let unsafe_state = bed.ca.issued_for("delete.example")[0]["state"].to_string();
    assert!(!unsafe_state.contains("revoked"), "{unsafe_state}");
}

/// A Certificate with some keys of the Secret `pair`.
fn sharing(name: &str, keys: &str) -> String {
    let more = format!(
        "  onDelete: Delete\n  existing: Replace\n  outputs:\n  - secret: {{name: pair}}\n    keys: {{{keys}}}\n"
    );
    certificate_yaml(name, &more).replace(&format!("  secretName: {name}-tls\n"), "")
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_share_a_secret_and_none_takes_the_keys_of_another() {
    let Some(mut bed) = Bed::new("shares").await else {
        return;
    };
    bed.apply(&sharing(
        "rsa",
        "rsa.key: {part: Key}, rsa.crt: {part: Certificate}",
    ))
    .await;
    bed.start();
    bed.ready("rsa").await;
    let alone = bed.secret("pair").await;
    bed.apply(&sharing("ec", "ec.key: {part: Key}, ec.crt: {part: Certificate}"))
        .await;
    bed.ready("ec").await;
    bed.apply(&sharing(
        "greedy",
        "rsa.key: {part: Key}, own.crt: {part: Certificate}",
    ))
    .await;
    let message = bed.told("greedy", "Ready", "OwnedByAnother").await;
    assert!(
        message.contains("rsa.key") && message.contains("shares/rsa"),
        "{message}"
    );
    let shared = bed.secret("pair").await;
    assert_eq!(bytes(&shared, "rsa.key"), bytes(&alone, "rsa.key"));
    assert_eq!(shared.data.as_ref().unwrap().len(), 4);
    bed.delete_secret("pair").await;
    bed.back("pair", &shared).await;
    bed.annotate("rsa", "occm.dev/renew", "1").await;
    bed.revision("rsa", 2).await;
    let renewed = bed.secret("pair").await;
    assert_eq!(bytes(&renewed, "ec.key"), bytes(&shared, "ec.key"));
    assert_ne!(bytes(&renewed, "rsa.key"), bytes(&shared, "rsa.key"));
    let gone = async |name: &str| {
        bed.api("shares", "Certificate")
            .delete(name, &DeleteParams::default())
            .await
            .unwrap();
        until("the object is gone", async || {
            bed.get("Certificate", name).await.is_none()
        })
        .await;
    };
    gone("greedy").await;
    assert!(same_content(&bed.secret("pair").await, &renewed));
    gone("ec").await;
    let left = bed.secret("pair").await;
    assert_eq!(left.data.as_ref().unwrap().len(), 2);
    assert_eq!(bytes(&left, "rsa.key"), bytes(&renewed, "rsa.key"));
    bed.ready("rsa").await;
    gone("rsa").await;
    assert!(bed.get("Secret", "pair").await.is_none());
    assert_eq!(
        (bed.issued("rsa"), bed.issued("ec"), bed.issued("greedy")),
        (2, 1, 0)
    );
}
