//! An API server that refuses: too many requests, errors of its own, a token that has expired.

use std::sync::atomic::{AtomicBool, Ordering};

use base64ct::{Base64UrlUnpadded, Encoding};
use k8s_openapi::api::authentication::v1::TokenReview;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::cluster::until;
use crate::life::{Bed, bytes};
use crate::support::certificate_yaml;

/// Applies an object that is in no namespace; it goes with the test's control plane.
async fn put_global(
    bed: &Bed,
    group: &str,
    version: &str,
    plural: &str,
    object: &Value,
) -> Api<DynamicObject> {
    let resource = kube::api::ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version: format!("{group}/{version}"),
        kind: object["kind"].as_str().unwrap().to_owned(),
        plural: plural.to_owned(),
    };
    let api: Api<DynamicObject> = Api::all_with(bed.client.clone(), &resource);
    let name = object["metadata"]["name"].as_str().unwrap();
    let parameters = PatchParams::apply("test").force();
    api.patch(name, &parameters, &Patch::Apply(object)).await.unwrap();
    api
}

/// How many requests the API server has put off for our schema.
async fn put_off(bed: &Bed) -> f64 {
    let request = http::Request::get("/metrics").body(Vec::new()).unwrap();
    let page = bed.client.request_text(request).await.unwrap();
    let lines = page.lines().filter(|line| {
        line.starts_with("apiserver_flowcontrol_rejected_requests_total") && line.contains("none-for-occm")
    });
    lines
        .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_wants_fewer_requests_is_asked_again_later() {
    let Some(mut bed) = Bed::new("throttled").await else {
        return;
    };
    bed.apply(&certificate_yaml("web", "")).await;
    bed.start();
    bed.ready("web").await;
    let before = bed.secret("web-tls").await;
    let (group, version) = ("flowcontrol.apiserver.k8s.io", "v1");
    let level = json!({
        "apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "PriorityLevelConfiguration",
        "metadata": {"name": "none-for-occm"},
        "spec": {"type": "Limited", "limited": {
            "nominalConcurrencyShares": 0, "lendablePercent": 0, "borrowingLimitPercent": 0,
            "limitResponse": {"type": "Reject"},
        }},
    });
    let schema = json!({
        "apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "FlowSchema", "metadata": {"name": "none-for-occm"},
        "spec": {
            "priorityLevelConfiguration": {"name": "none-for-occm"}, "matchingPrecedence": 2,
            "rules": [{
                "subjects": [{"kind": "ServiceAccount", "serviceAccount": {"name": "occm", "namespace": "throttled"}}],
                "resourceRules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"], "namespaces": ["*"], "clusterScope": true}],
            }],
        },
    });
    put_global(&bed, group, version, "prioritylevelconfigurations", &level).await;
    let schemas = put_global(&bed, group, version, "flowschemas", &schema).await;
    // One request at a time is let through; others of the same user, which are always there, make the manager wait.
    let mut config = bed.cluster.config().await;
    config.auth_info = kube::config::AuthInfo {
        token: Some(bed.token(3600).await.into()),
        ..Default::default()
    };
    let manager = kube::Client::try_from(config).unwrap();
    let enough = AtomicBool::new(false);
    let others = futures::future::join_all((0..16).map(|_| async {
        let secrets: Api<Secret> = Api::namespaced(manager.clone(), "throttled");
        while !enough.load(Ordering::Relaxed) {
            // The client of the test tries again by itself.
            drop(secrets.list(&ListParams::default()).await);
        }
    }));
    let story = async {
        until("the user is put off", async || put_off(&bed).await > 50.0).await;
        for _ in 0..5 {
            bed.delete_secret("web-tls").await;
            bed.back("web-tls", &before).await;
        }
        enough.store(true, Ordering::Relaxed);
    };
    futures::join!(others, story);
    schemas
        .delete("none-for-occm", &DeleteParams::default())
        .await
        .unwrap();
    bed.ready("web").await;
    assert_eq!(bed.issued_in_all(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_fails_at_a_write_is_asked_again() {
    let Some(mut bed) = Bed::new("errors").await else {
        return;
    };
    bed.apply(&certificate_yaml("web", "")).await;
    bed.start();
    bed.ready("web").await;
    let before = bed.secret("web-tls").await;
    // A webhook that nobody answers makes the server fail with 500.
    let hook = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "nobody-answers"},
        "webhooks": [{
            "name": "nobody.example.com", "failurePolicy": "Fail", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "clientConfig": {"url": "https://127.0.0.1:9/none"}, "timeoutSeconds": 1,
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "errors"}},
            "objectSelector": {"matchLabels": {"occm.dev/role": "output"}},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["secrets"], "operations": ["CREATE"]}],
        }],
    });
    let (group, plural) = ("admissionregistration.k8s.io", "validatingwebhookconfigurations");
    let hooks = put_global(&bed, group, "v1", plural, &hook).await;
    let probe = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "probe", "labels": {"occm.dev/role": "output"}}});
    until("creating fails", async || {
        let probe = serde_json::from_value(probe.clone()).unwrap();
        let dry = PostParams {
            dry_run: true,
            ..Default::default()
        };
        matches!(bed.secrets().create(&dry, &probe).await, Err(kube::Error::Api(status)) if status.code == 500)
    })
    .await;
    bed.delete_secret("web-tls").await;
    until("the failure is told", async || {
        bed.log_text().contains("store call failed")
    })
    .await;
    hooks
        .delete("nobody-answers", &DeleteParams::default())
        .await
        .unwrap();
    bed.back("web-tls", &before).await;
    assert_eq!(bed.issued_in_all(), 2);
}

/// A token as the API server signs it, which ends at this time.
fn token(bed: &Bed, like: &str, ends: i64) -> String {
    let mut parts = like.split('.');
    let header = parts.next().unwrap();
    let claims = Base64UrlUnpadded::decode_vec(parts.next().unwrap()).unwrap();
    let mut claims: Value = serde_json::from_slice(&claims).unwrap();
    claims["exp"] = ends.into();
    let claims = Base64UrlUnpadded::encode_string(claims.to_string().as_bytes());
    let folder = std::path::PathBuf::from(bed.cluster.instance["dataDir"].as_str().unwrap());
    let key = std::fs::read(folder.join("pki/service-accounts.key")).unwrap();
    let key = pki::PrivateKey::from_bytes(&key).unwrap();
    let signed = format!("{header}.{claims}");
    let signature = key
        .sign(pki::SignatureAlgorithm::EcdsaSha256, signed.as_bytes())
        .unwrap();
    format!("{signed}.{}", Base64UrlUnpadded::encode_string(&raw(&signature)))
}

/// The two numbers of an ECDSA signature in 32 bytes each, as RFC 7518, 3.4, has them.
fn raw(der: &[u8]) -> Vec<u8> {
    let (length, rest) = (usize::from(der[3]), &der[4..]);
    let (r, s) = (&rest[..length], &rest[length + 2..]);
    let number = |bytes: &[u8]| {
        let start = bytes.len().saturating_sub(32);
        let mut fixed = vec![0; 32 - bytes.len().min(32)];
        fixed.extend_from_slice(&bytes[start..]);
        fixed
    };
    [number(r), number(s)].concat()
}

async fn is_taken(bed: &Bed, token: &str) -> bool {
    let reviews: Api<TokenReview> = Api::all(bed.client.clone());
    let review = serde_json::from_value(json!({"spec": {"token": token}})).unwrap();
    let answer = reviews.create(&PostParams::default(), &review).await.unwrap();
    answer
        .status
        .and_then(|status| status.authenticated)
        .unwrap_or(false)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_expires_while_the_manager_runs_is_replaced_by_the_next_one() {
    let Some(mut bed) = Bed::new("tokens").await else {
        return;
    };
    let good = bed.token(3600).await;
    let now = jiff::Timestamp::now().as_second();
    // The API server takes a token for a minute after its end.
    let short = token(&bed, &good, now - 60 + 6);
    assert!(
        is_taken(&bed, &short).await,
        "the token is signed as the server does"
    );
    bed.write_token(&short);
    bed.apply(&certificate_yaml("web", "")).await;
    bed.start();
    bed.ready("web").await;
    let before = bed.secret("web-tls").await;
    assert!(!bytes(&before, "tls.key").is_empty());
    until("the token has expired", async || !is_taken(&bed, &short).await).await;
    until("the manager is refused", async || {
        let log = bed.log_text();
        log.contains("401") || log.contains("Unauthorized")
    })
    .await;
    bed.delete_secret("web-tls").await;
    bed.write_token(&good);
    bed.back("web-tls", &before).await;
    assert_eq!(bed.issued_in_all(), 2);
}
