//! The check of an object that somebody wants to write: the rules of the plan, before anybody else is asked.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::client::{ClientError, ClientResult};
use crate::model::certificate::Certificate;
use crate::model::field::{FieldErrors, shown};
use crate::model::issuer::Issuer;
use crate::model::object::{API_VERSION, DEFAULT_NAMESPACE, Kind, ObjectKey};
use crate::model::plan::{CertificatePlan, IssuerPlan, is_namespace, is_object_name};

/// Fields of an object besides metadata.
const OBJECT_FIELDS: &[&str] = &["apiVersion", "kind", "metadata", "spec", "status"];
/// What is allowed where the type of a field is wrong.
const ALLOWED: &str = "a value as `kubectl explain` and the documentation say";

/// Kind, namespace and name of an object; the error says what is missing.
pub fn identify(object: &Value) -> ClientResult<(Kind, ObjectKey)> {
    let text = |pointer: &str| {
        object
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let wrong = |path: &str, value: &str, allowed: &str| {
        let problem = match value {
            "" => "is missing".to_owned(),
            value => format!("{} cannot be used", shown(value)),
        };
        Err(ClientError::field("object", path, problem, allowed))
    };
    if text("/apiVersion") != API_VERSION {
        return wrong("apiVersion", text("/apiVersion"), API_VERSION);
    }
    let kind = match text("/kind") {
        "Issuer" => Kind::Issuer,
        "Certificate" => Kind::Certificate,
        other => return wrong("kind", other, "Issuer or Certificate"),
    };
    let name = text("/metadata/name");
    if !is_object_name(name) {
        let allowed = "lower-case letters, digits, '-' and '.', at most 253 characters";
        return wrong("metadata.name", name, allowed);
    }
    let namespace = match text("/metadata/namespace") {
        "" => DEFAULT_NAMESPACE,
        namespace if is_namespace(namespace) => namespace,
        other => {
            return wrong(
                "metadata.namespace",
                other,
                "lower-case letters, digits and '-', at most 63 characters",
            );
        }
    };
    Ok((kind, ObjectKey::new(namespace, name)))
}

/// Reads an object as its type; the error names the field.
pub fn typed<T: DeserializeOwned>(object: &Value) -> Result<T, FieldErrors> {
    serde_path_to_error::deserialize(object).map_err(|error| {
        let path = match error.path().to_string() {
            path if path == "." => "object".to_owned(),
            path => path,
        };
        let mut errors = FieldErrors::default();
        match error.inner().to_string().strip_prefix("missing field ") {
            Some(field) => {
                let field = field.trim_matches('`');
                let path = match path.as_str() {
                    "object" => field.to_owned(),
                    path => format!("{path}.{field}"),
                };
                errors.push(path, "is missing", "a value; it is required");
            }
            None => errors.push(path, error.inner().to_string(), ALLOWED),
        }
        errors
    })
}

/// Checks everything that can be told from the object alone. `home` is occm's own namespace; where it is not known, what
/// only a Certificate there may do is not refused here.
pub fn check(object: &Value, home: Option<&str>) -> ClientResult<(Kind, ObjectKey)> {
    let (kind, key) = identify(object)?;
    let mut errors = FieldErrors::default();
    let fields = object.as_object().into_iter().flat_map(|fields| fields.keys());
    for field in fields.filter(|field| !OBJECT_FIELDS.contains(&field.as_str())) {
        errors.push(shown(field), "unknown field", OBJECT_FIELDS.join(", "));
    }
    let checked = errors.or(()).and_then(|()| match kind {
        Kind::Issuer => {
            let object: Issuer = typed(object)?;
            IssuerPlan::check(key.clone(), &object.spec).map(drop)
        }
        Kind::Certificate => {
            let object: Certificate = typed(object)?;
            let elsewhere = object.spec.issuer_ref.namespace.as_deref();
            let home = home.or(elsewhere).unwrap_or(&key.namespace);
            CertificatePlan::check(key.clone(), &object.spec, home).map(drop)
        }
    });
    match checked {
        Ok(()) => Ok((kind, key)),
        Err(errors) => Err(ClientError::Invalid(format!("{kind} {key}"), errors)),
    }
}

/// The object as it is after a merge patch (RFC 7396).
pub fn merged(object: &Value, patch: &Value) -> Value {
    let Value::Object(changes) = patch else {
        return patch.clone();
    };
    let mut fields = match object {
        Value::Object(fields) => fields.clone(),
        _ => serde_json::Map::new(),
    };
    for (name, change) in changes {
        if change.is_null() {
            fields.remove(name);
        } else {
            let before = fields.get(name).unwrap_or(&Value::Null);
            let after = merged(before, change);
            fields.insert(name.clone(), after);
        }
    }
    Value::Object(fields)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn certificate() -> Value {
        json!({"apiVersion": "occm.dev/v1alpha1", "kind": "Certificate", "metadata": {"name": "a"},
               "spec": {"issuerRef": {"name": "lab"}, "commonName": "a", "secretName": "a"}})
    }

    fn told(object: &Value, home: Option<&str>) -> String {
        check(object, home).unwrap_err().to_string()
    }

    #[test]
    fn a_right_object_has_a_kind_and_a_key() {
        let (kind, key) = check(&certificate(), None).unwrap();
        assert_eq!((kind, key), (Kind::Certificate, ObjectKey::new("default", "a")));
    }

    #[test]
    fn wrong_objects_are_refused_with_their_field() {
        let wrong = |pointer: &str, value: Value| {
            let mut object = certificate();
            *object.pointer_mut(pointer).unwrap() = value;
            told(&object, Some("occm"))
        };
        assert!(
            wrong("/kind", json!("Pod"))
                .contains("kind: \"Pod\" cannot be used; allowed: Issuer or Certificate")
        );
        assert!(wrong("/apiVersion", json!("v1")).contains("apiVersion"));
        assert!(wrong("/metadata/name", json!("../x")).contains("metadata.name"));
        assert!(wrong("/metadata", json!({"name": "a", "namespace": "a/b"})).contains("metadata.namespace"));
        assert!(wrong("/spec/commonName", json!(7)).contains("spec.commonName"));
        assert!(
            wrong("/spec", json!({"commonName": "a", "secretName": "a"}))
                .contains("spec.issuerRef: is missing")
        );
        let unknown = json!({"issuerRef": {"name": "lab"}, "commonName": "a", "secretname": "a"});
        assert!(wrong("/spec", unknown).contains("secretname"));
    }

    #[test]
    fn an_unknown_field_at_the_top_is_refused() {
        let mut object = certificate();
        object["sepc"] = json!({});
        assert!(told(&object, None).contains("\"sepc\": unknown field"));
    }

    #[test]
    fn an_output_elsewhere_is_refused_where_the_own_namespace_is_known() {
        let mut object = certificate();
        object["spec"]["outputs"] =
            json!([{"secret": {"name": "b", "namespace": "nrf"}, "keys": {"k": {"part": "Key"}}}]);
        assert!(told(&object, Some("occm")).contains("spec.outputs[0].secret.namespace"));
        check(&object, Some("default")).unwrap();
        check(&object, None).unwrap();
        object["spec"]["issuerRef"]["namespace"] = json!("occm");
        check(&object, None).unwrap_err();
        check(&certificate_with_issuer("occm"), None).unwrap();
    }

    fn certificate_with_issuer(namespace: &str) -> Value {
        let mut object = certificate();
        object["spec"]["issuerRef"]["namespace"] = json!(namespace);
        object
    }

    /// The examples of RFC 7396, appendix A.
    #[test]
    fn a_merge_patch_does_what_the_rfc_says() {
        for (object, patch, result) in [
            (json!({"a":"b"}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"b"}), json!({"b":"c"}), json!({"a":"b","b":"c"})),
            (json!({"a":"b"}), json!({"a":null}), json!({})),
            (json!({"a":["b"]}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"c"}), json!({"a":["b"]}), json!({"a":["b"]})),
            (
                json!({"a":{"b":"c"}}),
                json!({"a":{"b":"d","c":null}}),
                json!({"a":{"b":"d"}}),
            ),
            (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
            (json!({"a":"b"}), json!(["c"]), json!(["c"])),
            (json!({"e":null}), json!({"a":1}), json!({"e":null,"a":1})),
            (
                json!({}),
                json!({"a":{"bb":{"ccc":null}}}),
                json!({"a":{"bb":{}}}),
            ),
        ] {
            assert_eq!(merged(&object, &patch), result, "{object} {patch}");
        }
    }
}
