//! What a process wrote, from the log of the API server.
#![allow(dead_code, unreachable_pub, missing_docs)]
#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "tests only")]

use std::sync::OnceLock;

use serde_json::Value;

use crate::cluster::Cluster;
use crate::cluster::chart::Account;

/// A request that changed something.
#[derive(Clone, Debug)]
pub struct Written {
    pub verb: String,
    pub resource: String,
    pub name: String,
    pub at: jiff::Timestamp,
}

/// Arguments for a control plane that logs all requests.
pub fn arguments(program: &str) -> Vec<String> {
    if std::env::var_os("OCCM_AUDIT").is_some() {
        return Vec::new();
    }
    static LOG: OnceLock<String> = OnceLock::new();
    let log = LOG.get_or_init(|| {
        let log = format!("{}/{program}.jsonl", env!("CARGO_TARGET_TMPDIR"));
        let _ = std::fs::remove_file(&log);
        log
    });
    vec!["--audit-log".to_owned(), log.clone()]
}

/// What the holder of this token changed successfully, in order.
pub fn written_by(cluster: &Cluster, account: &Account) -> Vec<Written> {
    let id = token_id(&account.token);
    let log = std::fs::read_to_string(cluster.text("auditLog")).unwrap();
    let events = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let written = events.filter_map(|event| {
        let ids = event["user"]["extra"]["authentication.kubernetes.io/credential-id"].as_array()?;
        let verb = event["verb"].as_str()?;
        let code = event["responseStatus"]["code"].as_u64()?;
        let changes = matches!(verb, "create" | "update" | "patch" | "delete") && code < 300;
        (changes && ids.iter().any(|one| *one == id)).then(|| Written {
            verb: verb.to_owned(),
            resource: event["objectRef"]["resource"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
            name: event["objectRef"]["name"].as_str().unwrap_or_default().to_owned(),
            at: event["requestReceivedTimestamp"]
                .as_str()
                .unwrap()
                .parse()
                .unwrap(),
        })
    });
    written.collect()
}

/// How the API server names a token in its log.
fn token_id(token: &str) -> String {
    use base64ct::{Base64UrlUnpadded, Encoding};
    let claims = Base64UrlUnpadded::decode_vec(token.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    format!("JTI={}", claims["jti"].as_str().unwrap())
}
