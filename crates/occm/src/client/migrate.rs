//! Moving Certificates to another Issuer: what it would mean for each, and doing it one by one.
//!
//! Pure but for [`run`]. A Certificate whose `issuerRef` changes is enrolled anew there at once, with a new key; what it has stays in
//! use until then. One that could not work at the new Issuer is not changed.

use std::collections::BTreeMap;

use futures::stream::{self, StreamExt};
use serde::Serialize;
use serde_json::{Value, json};

use crate::client::{ClientError, Item, Objects, Run};
use crate::model::certificate::{Certificate, Purpose};
use crate::model::condition::ConditionStatus;
use crate::model::issuer::Issuer;
use crate::model::object::{Kind, ObjectKey};
use crate::store::Seen;

/// Writes at one time.
const AT_ONCE: usize = 8;

/// Which Certificates; all conditions must hold.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Those of this Issuer.
    pub from: Option<ObjectKey>,
    /// Those of these names; empty = any.
    pub names: Vec<ObjectKey>,
    /// Those with these labels.
    pub labels: BTreeMap<String, String>,
}

/// What a migration means for one Certificate.
#[derive(Clone, Debug, PartialEq)]
pub struct Move {
    /// Which.
    pub key: ObjectKey,
    /// Its Issuer now, if it can be told.
    pub from: Option<ObjectKey>,
    /// What follows.
    pub step: Step,
}

/// What follows for one Certificate.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Its reference is changed: the expected version, the merge patch, and what will happen.
    Change {
        /// Version that the plan was made for.
        version: String,
        /// Merge patch.
        patch: Value,
        /// What will happen, in sentences.
        effect: String,
    },
    /// It is there already.
    Unchanged,
    /// It cannot be moved: why.
    Refuse(String),
}

/// How it went with one Certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Its Issuer before: `namespace/name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// In one word.
    pub result: MoveResult,
    /// What will happen, or would.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effect: Option<String>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// How it went, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum MoveResult {
    /// A dry run found nothing wrong.
    WouldChange,
    /// The reference was changed.
    Changed,
    /// It was not changed.
    Failed,
    /// It names the new Issuer already.
    Unchanged,
}

/// The new Issuer as far as it is known.
pub struct Destination<'a> {
    /// Namespace and name.
    pub key: ObjectKey,
    /// The Issuer; `None` = it does not exist.
    pub issuer: Option<&'a Item>,
}

/// What a migration means, for each selected Certificate. A name that is asked for and does not exist is told too.
pub fn plan(certificates: &[Item], selection: &Selection, to: &Destination<'_>) -> Vec<Move> {
    let mut moves: Vec<Move> = certificates
        .iter()
        .filter(|item| selection.has(item))
        .map(|item| one(item, to))
        .collect();
    for key in &selection.names {
        if !certificates.iter().any(|item| item.key == *key) {
            moves.push(Move {
                key: key.clone(),
                from: None,
                step: Step::Refuse("there is no such Certificate".to_owned()),
            });
        }
    }
    moves
}

impl Selection {
    fn has(&self, item: &Item) -> bool {
        let labels = item.value.pointer("/metadata/labels");
        let label = |name: &str| labels.and_then(|labels| labels.get(name)).and_then(Value::as_str);
        (self.names.is_empty() || self.names.contains(&item.key))
            && self.labels.iter().all(|(name, value)| label(name) == Some(value))
            && self
                .from
                .as_ref()
                .is_none_or(|from| issuer_of(item).as_ref() == Some(from))
    }
}

/// The Issuer that a Certificate names, also a broken one.
fn issuer_of(item: &Item) -> Option<ObjectKey> {
    let reference = item.value.pointer("/spec/issuerRef")?;
    let name = reference.get("name")?.as_str()?;
    let namespace = reference.get("namespace").and_then(Value::as_str);
    Some(ObjectKey::new(namespace.unwrap_or(&item.key.namespace), name))
}

fn one(item: &Item, to: &Destination<'_>) -> Move {
    let from = issuer_of(item);
    let step = match item.certificate() {
        _ if from.as_ref() == Some(&to.key) => Step::Unchanged,
        Seen::Broken(broken) => Step::Refuse(format!("the Certificate is not valid: {}", broken.errors)),
        Seen::Object(certificate) => match destination(item, to) {
            Err(why) => Step::Refuse(why),
            Ok(issuer) => Step::Change {
                version: item.version.clone(),
                patch: patch(item, to),
                effect: effect(&certificate, &issuer, to) + &source(item),
            },
        },
    };
    Move {
        key: item.key.clone(),
        from,
        step,
    }
}

/// The new Issuer, if this Certificate may use it.
fn destination(item: &Item, to: &Destination<'_>) -> Result<std::sync::Arc<Issuer>, String> {
    let issuer = to
        .issuer
        .ok_or_else(|| format!("Issuer {} does not exist", to.key))?;
    let issuer = match issuer.issuer() {
        Seen::Object(issuer) => issuer,
        Seen::Broken(broken) => return Err(format!("Issuer {} is not valid: {}", to.key, broken.errors)),
    };
    let namespace = &item.key.namespace;
    if to.key.namespace != *namespace
        && !issuer
            .spec
            .allowed_namespaces
            .iter()
            .any(|name| name == namespace)
    {
        return Err(format!(
            "Issuer {} does not allow namespace {namespace}; allowed: {}",
            to.key,
            match issuer.spec.allowed_namespaces.as_slice() {
                [] => "its own namespace alone".to_owned(),
                some => some.join(", "),
            }
        ));
    }
    Ok(issuer)
}

fn patch(item: &Item, to: &Destination<'_>) -> Value {
    let namespace = (to.key.namespace != item.key.namespace).then_some(to.key.namespace.as_str());
    json!({ "spec": { "issuerRef": { "name": to.key.name, "namespace": namespace } } })
}

fn effect(certificate: &Certificate, issuer: &Issuer, to: &Destination<'_>) -> String {
    let status = certificate.status.clone().unwrap_or_default();
    let mut text = match (certificate.spec.purpose, status.revision) {
        (Purpose::HealthCheck, _) => "the next health check is enrolled at the new Issuer".to_owned(),
        (_, None) => "it is enrolled at the new Issuer".to_owned(),
        (_, Some(revision)) => {
            format!(
                "a new key and certificate are enrolled at once; revision {revision} stays in use until then"
            )
        }
    };
    let conditions = issuer.status.as_ref().map(|status| status.conditions.as_slice());
    let ready = conditions.and_then(|all| all.iter().find(|condition| condition.kind == "Ready"));
    match ready {
        Some(ready) if ready.status == ConditionStatus::True => {}
        Some(ready) => {
            let what = format!(
                "; but Issuer {} is not ready ({}), so it waits",
                to.key, ready.reason
            );
            text.push_str(&what);
        }
        None => text.push_str(&format!("; but Issuer {} was not yet seen by a manager", to.key)),
    }
    text
}

/// Where a wish comes from that is written again and again: mark, and what it tells.
const SOURCES: [(&str, &str); 5] = [
    ("/annotations/argocd.argoproj.io~1tracking-id", "Argo CD"),
    ("/labels/kustomize.toolkit.fluxcd.io~1name", "Flux"),
    ("/labels/helm.toolkit.fluxcd.io~1name", "Flux"),
    ("/annotations/meta.helm.sh~1release-name", "Helm"),
    (
        "/annotations/kubectl.kubernetes.io~1last-applied-configuration",
        "kubectl apply",
    ),
];

/// Who would move it back, as far as it can be told.
fn source(item: &Item) -> String {
    if let Some(applier) = &item.applier {
        return format!(
            "; {applier} applies issuerRef server-side: change it in its source too, else its next apply is a conflict"
        );
    }
    let metadata = item.value.pointer("/metadata").unwrap_or(&Value::Null);
    let found = SOURCES.iter().find(|(mark, _)| metadata.pointer(mark).is_some());
    found.map_or_else(String::new, |(_, who)| {
        format!(
            "; it was written by {who}: change issuerRef in its source too, else the next time moves it back"
        )
    })
}

/// Does what was planned. One failure stops none of the others.
pub async fn run(objects: &dyn Objects, moves: &[Move], run: Run) -> Vec<Outcome> {
    // A list, not a closure over references: a server needs to know that the future can be sent for every lifetime.
    let each: Vec<_> = moves.iter().map(|each| carried_out(objects, each, run)).collect();
    stream::iter(each).buffered(AT_ONCE).collect().await
}

async fn carried_out(objects: &dyn Objects, each: &Move, run: Run) -> Outcome {
    let outcome = |result, effect: Option<String>, problem| Outcome {
        namespace: each.key.namespace.to_string(),
        name: each.key.name.to_string(),
        from: each.from.as_ref().map(ToString::to_string),
        result,
        effect,
        problem,
    };
    match &each.step {
        Step::Unchanged => outcome(MoveResult::Unchanged, None, None),
        Step::Refuse(why) => outcome(MoveResult::Failed, None, Some(why.clone())),
        Step::Change {
            version,
            patch,
            effect,
        } => {
            let done = objects
                .patch(Kind::Certificate, &each.key, patch, Some(version), run)
                .await;
            match (done, run) {
                (Ok(_), Run::Real) => outcome(MoveResult::Changed, Some(effect.clone()), None),
                (Ok(_), Run::Dry) => outcome(MoveResult::WouldChange, Some(effect.clone()), None),
                (Err(error), _) => outcome(MoveResult::Failed, None, Some(problem(&error))),
            }
        }
    }
}

/// An error without the name, which stands beside it.
pub(crate) fn problem(error: &ClientError) -> String {
    match error {
        ClientError::NotFound(_) => "it does not exist any more".to_owned(),
        ClientError::Exists(_) => "it exists already".to_owned(),
        ClientError::Conflict(_) => "it was changed in the meantime; try again".to_owned(),
        ClientError::Forbidden(_, why) => format!("no access: {why}"),
        ClientError::Invalid(_, errors) => errors.to_string(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(kind: Kind, key: &ObjectKey, spec: Value) -> Item {
        let value = json!({"apiVersion": "occm.dev/v1alpha1", "kind": kind.as_str(), "spec": spec,
            "metadata": {"namespace": key.namespace, "name": key.name, "resourceVersion": "7", "labels": {"app": key.name}}});
        Item {
            kind,
            key: key.clone(),
            version: "7".to_owned(),
            value,
            broken: None,
            applier: None,
        }
    }

    fn certificate(namespace: &str, name: &str, issuer: &str) -> Item {
        let spec = json!({"issuerRef": {"name": issuer}, "commonName": name, "secretName": name});
        item(Kind::Certificate, &ObjectKey::new(namespace, name), spec)
    }

    fn issuer(key: &ObjectKey, allowed: &[&str]) -> Item {
        let spec = json!({"url": "http://ca.example/cmp", "allowedNamespaces": allowed,
            "authentication": {"initial": {"mac": {"referenceValue": "1", "secretRef": {"name": "m", "key": "k"}}}},
            "trust": {"responses": {"secretRef": {"name": "t", "key": "k"}}}});
        item(Kind::Issuer, key, spec)
    }

    fn planned(certificates: &[Item], selection: &Selection, allowed: Option<&[&str]>) -> Vec<Move> {
        let key = ObjectKey::new("occm", "new");
        let issuer = allowed.map(|allowed| issuer(&key, allowed));
        let to = Destination {
            key,
            issuer: issuer.as_ref(),
        };
        plan(certificates, selection, &to)
    }

    #[test]
    fn what_is_selected_is_moved_and_the_rest_is_not() {
        let mut there = certificate("occm", "there", "new");
        let all = [
            certificate("occm", "a", "old"),
            certificate("occm", "b", "other"),
            certificate("nrf", "c", "old"),
        ];
        let names = |selection: &Selection| {
            let moves = planned(&all, selection, Some(&["nrf"]));
            moves
                .into_iter()
                .map(|each| each.key.name.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(names(&Selection::default()), ["a", "b", "c"]);
        let from = Some(ObjectKey::new("occm", "old"));
        assert_eq!(
            names(&Selection {
                from,
                ..Selection::default()
            }),
            ["a"]
        );
        let labels = BTreeMap::from([("app".to_owned(), "c".to_owned())]);
        assert_eq!(
            names(&Selection {
                labels,
                ..Selection::default()
            }),
            ["c"]
        );
        there.value["spec"]["issuerRef"] = json!({"name": "new", "namespace": "occm"});
        let moves = planned(&[there], &Selection::default(), Some(&[]));
        assert_eq!(moves[0].step, Step::Unchanged);
    }

    #[test]
    fn a_reference_to_another_namespace_names_it_and_one_to_the_own_does_not() {
        let moves = planned(
            &[certificate("occm", "a", "old"), certificate("nrf", "b", "old")],
            &Selection::default(),
            Some(&["nrf"]),
        );
        let patch_of = |at: usize| match &moves[at].step {
            Step::Change { patch, .. } => patch["spec"]["issuerRef"].clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!(patch_of(0), json!({"name": "new", "namespace": null}));
        assert_eq!(patch_of(1), json!({"name": "new", "namespace": "occm"}));
    }

    #[test]
    fn what_could_not_work_is_refused_with_its_reason() {
        let why = |moves: Vec<Move>| match &moves[0].step {
            Step::Refuse(why) => why.clone(),
            other => panic!("{other:?}"),
        };
        let all = [certificate("nrf", "a", "old")];
        assert!(why(planned(&all, &Selection::default(), None)).contains("does not exist"));
        assert!(
            why(planned(&all, &Selection::default(), Some(&["smf"])))
                .contains("does not allow namespace nrf; allowed: smf")
        );
        let mut broken = certificate("nrf", "a", "old");
        broken.value["spec"]["commonName"] = json!(1);
        assert!(why(planned(&[broken], &Selection::default(), Some(&["nrf"]))).contains("spec.commonName"));
        let names = vec![ObjectKey::new("nrf", "nobody")];
        let selection = Selection {
            names,
            ..Selection::default()
        };
        assert!(why(planned(&all, &selection, Some(&["nrf"]))).contains("no such Certificate"));
    }

    #[test]
    fn who_would_move_it_back_is_told() {
        let effect = |annotations: Value, applier: Option<&str>| {
            let mut one = certificate("occm", "a", "old");
            one.value["metadata"]["annotations"] = annotations;
            one.applier = applier.map(str::to_owned);
            match planned(&[one], &Selection::default(), Some(&[])).remove(0).step {
                Step::Change { effect, .. } => effect,
                other => panic!("{other:?}"),
            }
        };
        let last = "kubectl.kubernetes.io/last-applied-configuration";
        let told = effect(json!({last: "{}"}), None);
        assert!(
            told.contains("written by kubectl apply: change issuerRef"),
            "{told}"
        );
        let told = effect(json!({last: "{}", "argocd.argoproj.io/tracking-id": "web"}), None);
        assert!(told.contains("written by Argo CD"), "{told}");
        let told = effect(json!({last: "{}"}), Some("flux"));
        assert!(told.contains("; flux applies issuerRef server-side"), "{told}");
        let told = effect(json!({}), None);
        assert!(!told.contains("source"), "{told}");
    }

    #[test]
    fn an_issuer_that_is_not_ready_is_told() {
        let key = ObjectKey::new("occm", "new");
        let mut late = issuer(&key, &["nrf"]);
        late.value["status"] = json!({"conditions": [{"type": "Ready", "status": "False", "reason": "InputMissing",
            "message": "m", "lastTransitionTime": "2026-01-01T00:00:00Z"}]});
        let to = Destination {
            key,
            issuer: Some(&late),
        };
        let mut used = certificate("nrf", "a", "old");
        used.value["status"] = json!({"revision": 3});
        let moves = plan(&[used], &Selection::default(), &to);
        let Step::Change { effect, .. } = &moves[0].step else {
            panic!()
        };
        assert!(
            effect.contains("revision 3 stays in use") && effect.contains("not ready (InputMissing)"),
            "{effect}"
        );
    }
}
