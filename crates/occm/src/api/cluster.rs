//! Callers in Kubernetes: the cluster knows who they are and what they may do.
//!
//! | Caller | Who it is | What it may do | Its writes |
//! | --- | --- | --- | --- |
//! | with a token of the cluster | SelfSubjectReview | SelfSubjectAccessReview | with the token |
//! | logged in by OpenID Connect | the provider's claims | LocalSubjectAccessReview in the namespace | with occm's own rights |
//!
//! Nothing of this needs a right beyond the managed namespaces. Answers are remembered for a few seconds.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::api::access::{Resource, Verb};
use crate::api::caller::Caller;
use crate::api::problem::{Answer, Code, Fault};
use crate::api::seal::{self, Seal};
use crate::client::kube::{KubeCallers, KubeObjects};
use crate::client::{ClientError, InputValues, Objects};
use crate::model::object::ObjectKey;
use crate::model::plan::{InputKind, InputRef};
use crate::store::{ContentHash, Store};

/// How long it is remembered whose a token is.
const IDENTITY: Duration = Duration::from_secs(20);
/// How long it is remembered what somebody may do.
const ACCESS: Duration = Duration::from_secs(10);
/// Most answers that are remembered.
const MAX_REMEMBERED: usize = 50_000;
/// Longest name of a user.
const MAX_USER: usize = 1024;

/// How often the Secret with the keys of cookies is read, unless something could not be opened.
const KEYS_AGAIN: Duration = Duration::from_secs(60);
/// How soon it is read again after a failure, and at the most often.
const KEYS_SOON: Duration = Duration::from_secs(5);
/// Key in that Secret.
const KEYS: &str = "keys";

/// The cluster as the authority on callers.
pub(crate) struct Cluster {
    callers: KubeCallers,
    /// With occm's own rights.
    own: KubeObjects,
    identities: Remembered<ContentHash, Option<Arc<str>>>,
    access: Remembered<(String, Verb, Resource, String), bool>,
}

impl Cluster {
    /// The cluster that `config` names.
    pub(crate) fn new(config: &kube::Config, home: &str) -> Result<Self, kube::Error> {
        Ok(Self {
            callers: KubeCallers::new(config)?.managed_as("occm-api").at_home(home),
            own: KubeObjects::new(config)?.managed_as("occm-api").at_home(home),
            identities: Remembered::new(),
            access: Remembered::new(),
        })
    }

    /// Objects with occm's own rights, for what this replica knows.
    pub(crate) fn own(&self) -> &KubeObjects {
        &self.own
    }

    /// The objects, with the caller's own rights where there is a token for them.
    pub(crate) fn objects(&self, caller: &Caller) -> Answer<Arc<dyn Objects>> {
        match &caller.token {
            Some(token) => Ok(Arc::new(self.callers.with_token(token)?)),
            None => Ok(Arc::new(self.own.clone())),
        }
    }

    /// Name of the owner of a token; `None` if the cluster does not know it.
    pub(crate) async fn owner(&self, token: &pki::Secret) -> Answer<Option<String>> {
        let hash = ContentHash::of(token.expose());
        if let Some(known) = self.identities.get(&hash) {
            return Ok(known.map(|name| name.as_ref().to_owned()));
        }
        let review = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview" });
        let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
        let reviewed = match self.callers.with_token(token) {
            Ok(objects) => objects.review(path, review).await,
            Err(error) => Err(error),
        };
        let name = match reviewed {
            Ok(answer) => {
                let name = answer
                    .pointer("/status/userInfo/username")
                    .and_then(Value::as_str);
                name.filter(|name| !name.is_empty() && name.len() <= MAX_USER && *name != "system:anonymous")
                    .map(str::to_owned)
            }
            Err(ClientError::Unauthenticated(_) | ClientError::Forbidden(..)) => None,
            Err(error) => return Err(error.into()),
        };
        self.identities
            .put(hash, name.as_deref().map(Arc::from), IDENTITY);
        Ok(name)
    }

    /// Whether a caller may do something in a namespace.
    pub(crate) async fn may(
        &self,
        caller: &Caller,
        verb: Verb,
        resource: Resource,
        namespace: &str,
    ) -> Answer<bool> {
        let who = match &caller.token {
            Some(token) => ContentHash::of(token.expose()).to_hex(),
            None => {
                ContentHash::of(format!("{}\n{}", caller.user, caller.groups.join("\n")).as_bytes()).to_hex()
            }
        };
        let place = (who, verb, resource, namespace.to_owned());
        if let Some(known) = self.access.get(&place) {
            return Ok(known);
        }
        let (group, plural) = resource.names();
        let attributes = json!({
            "namespace": namespace, "verb": verb.as_str(), "group": group, "resource": plural,
        });
        let answer = match &caller.token {
            Some(token) => {
                let review = json!({
                    "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
                    "spec": { "resourceAttributes": attributes },
                });
                let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
                self.callers.with_token(token)?.review(path, review).await
            }
            None => {
                let review = json!({
                    "apiVersion": "authorization.k8s.io/v1", "kind": "LocalSubjectAccessReview",
                    "metadata": { "namespace": namespace },
                    "spec": { "resourceAttributes": attributes, "user": caller.user, "groups": caller.groups },
                });
                let path =
                    format!("/apis/authorization.k8s.io/v1/namespaces/{namespace}/localsubjectaccessreviews");
                self.own.review(&path, review).await
            }
        };
        let allowed = match answer {
            Ok(answer) => answer.pointer("/status/allowed") == Some(&Value::Bool(true)),
            Err(ClientError::Forbidden(what, why)) if caller.token.is_none() => {
                let detail =
                    format!("occm itself may not ask what people may do in {namespace}: {what}: {why}");
                return Err(Fault::new(Code::Unavailable, detail));
            }
            // A namespace that does not exist is one in which nobody may do anything.
            Err(ClientError::NotFound(_) | ClientError::Forbidden(..)) => false,
            Err(error) => return Err(error.into()),
        };
        self.access.put(place, allowed, ACCESS);
        Ok(allowed)
    }
}

/// Keeps a seal supplied with the keys in a Secret that all replicas share. The first one that misses it makes it.
pub(crate) async fn follow_keys(seal: Arc<Seal>, own: KubeObjects, store: Arc<dyn Store>, secret: ObjectKey) {
    let mut known = None;
    let mut told = false;
    loop {
        let pause = match keys(&own, store.as_ref(), &secret).await {
            Ok(text) => {
                let hash = ContentHash::of(text.expose());
                if known != Some(hash) {
                    let text = String::from_utf8_lossy(text.expose());
                    match seal.take(&format!("Secret {secret}"), &text) {
                        Ok(()) => tracing::info!(%secret, "keys of session cookies were read"),
                        Err(error) => tracing::error!(%error, "keys of session cookies cannot be used"),
                    }
                    known = Some(hash);
                }
                told = false;
                KEYS_AGAIN
            }
            Err(error) => {
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!(%secret, %error, "keys of session cookies cannot be read; trying again");
                }
                KEYS_SOON
            }
        };
        tokio::time::sleep(KEYS_SOON).await;
        let _ = tokio::time::timeout(pause.saturating_sub(KEYS_SOON), seal.unopened.notified()).await;
    }
}

async fn keys(own: &KubeObjects, store: &dyn Store, secret: &ObjectKey) -> Result<pki::Secret, ClientError> {
    let input = InputRef {
        kind: InputKind::Secret,
        object: secret.clone(),
    };
    for _ in 0..2 {
        if let Some(mut data) = store.read_input(&input).await? {
            return data
                .remove(KEYS)
                .ok_or_else(|| ClientError::NotFound(format!("key {KEYS} of Secret {secret}")));
        }
        let line = seal::new_line()
            .map_err(|error| ClientError::Unavailable("random numbers".to_owned(), format!("{error:#}")))?;
        let value = pki::Secret::new(line.as_bytes().to_vec());
        let values = InputValues([(KEYS.to_owned(), value)].into());
        // Another replica may be first: then its keys are read.
        match own.make_secret(secret, &values).await {
            Ok(()) | Err(ClientError::Exists(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Err(ClientError::NotFound(format!("Secret {secret}")))
}

/// Answers that are good for a while.
struct Remembered<K, V>(Mutex<HashMap<K, (V, Instant)>>);

impl<K: Eq + Hash, V: Clone> Remembered<K, V> {
    fn new() -> Self {
        Self(Mutex::new(HashMap::new()))
    }

    fn get(&self, key: &K) -> Option<V> {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (value, until) = held.get(key)?;
        (*until > Instant::now()).then(|| value.clone())
    }

    fn put(&self, key: K, value: V, time: Duration) {
        let now = Instant::now();
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if held.len() >= MAX_REMEMBERED {
            held.retain(|_, (_, until)| *until > now);
        }
        if held.len() < MAX_REMEMBERED {
            held.insert(key, (value, now + time));
        }
    }
}
