//! What the API server checks besides types and bounds: patterns of single fields, and CEL rules over several.
//!
//! Each rule says the same as the check of that name in the plan, with the same field. `namespace` is a reserved word
//! of CEL; there its field is `__namespace__`.

use serde_json::{Value, json};

use crate::crd::schema::set;

const SUBDOMAIN: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
const LABEL: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
const DATA_KEY: &str = r"^[-._a-zA-Z0-9]+$";
const DURATION: &str = r"^(([0-9]+(\.[0-9]*)?|\.[0-9]+)(d|h|ms|m|s))+$";

/// The rules of an Issuer.
pub(super) fn issuer(schema: &mut Value) {
    pattern(schema, "spec.url", "^https?://[^/?#@]+([/?#].*)?$");
    pattern(schema, "spec.http.proxy", "^http://.+$");
    pattern(schema, "spec.allowedNamespaces[]", LABEL);
    for field in [
        "spec.http.connectTimeout",
        "spec.http.requestTimeout",
        "spec.requests.resendWindow",
    ] {
        pattern(schema, field, DURATION);
    }
    pattern(schema, "spec.authentication.identity.duration", DURATION);
    for source in ["responses", "certificates", "tls"] {
        let path = format!("spec.trust.{source}");
        for reference in ["secretRef", "configMapRef"] {
            key_reference(schema, &format!("{path}.{reference}"));
        }
        rule(
            schema,
            &path,
            Rule {
                holds: "!(has(self.secretRef) && has(self.configMapRef))",
                message: "has secretRef and configMapRef; allowed: one of them",
                field: "",
            },
        );
    }
    issuer_authentication(schema);
    issuer_as_a_whole(schema);
}

fn issuer_authentication(schema: &mut Value) {
    const INITIAL: &str = "spec.authentication.initial";
    key_reference(schema, &format!("{INITIAL}.mac.secretRef"));
    for pair in [
        format!("{INITIAL}.certificate"),
        "spec.tls.clientCertificate".to_owned(),
    ] {
        pattern(schema, &format!("{pair}.secretRef.name"), SUBDOMAIN);
        pattern(schema, &format!("{pair}.certificateKey"), DATA_KEY);
        pattern(schema, &format!("{pair}.privateKeyKey"), DATA_KEY);
    }
    rule(
        schema,
        INITIAL,
        Rule {
            holds: "has(self.mac) != has(self.certificate)",
            message: "allowed: exactly one of mac and certificate",
            field: "",
        },
    );
    rule(
        schema,
        &format!("{INITIAL}.mac"),
        Rule {
            holds: "self.algorithm != 'PBMAC1' || self.hash != 'SHA1'",
            message: "SHA1 does not go with PBMAC1; allowed: SHA256, SHA384 or SHA512",
            field: ".hash",
        },
    );
    private_key(schema, "spec.authentication.identity.privateKey");
    rule(
        schema,
        "spec.authentication.identity",
        Rule {
            holds: "!(has(self.commonName) && has(self.literalSubject))",
            message: "excludes commonName; allowed: one of commonName and literalSubject",
            field: ".literalSubject",
        },
    );
}

fn issuer_as_a_whole(schema: &mut Value) {
    let rules = [
        Rule {
            holds: "!self.url.startsWith('https://') || (has(self.trust.tls) && \
                    (has(self.trust.tls.secretRef) || has(self.trust.tls.configMapRef)))",
            message: "is missing and the address is https; allowed: a secretRef or configMapRef with the anchors of the \
                      TLS server",
            field: ".trust.tls",
        },
        Rule {
            holds: "!has(self.tls) || self.url.startsWith('https://')",
            message: "goes with an https address only; allowed: no tls, or an https address in spec.url",
            field: ".tls",
        },
        Rule {
            holds: "!has(self.authentication.initial.certificate) || (has(self.trust.responses) && \
                    (has(self.trust.responses.secretRef) || has(self.trust.responses.configMapRef)))",
            message: "is missing, and answers to signed requests are signed; allowed: a secretRef or configMapRef with the \
                      anchors of the CA",
            field: ".trust.responses",
        },
        Rule {
            holds: "!has(self.authentication.initial.mac) || \
                    (has(self.trust.responses) && \
                    (has(self.trust.responses.secretRef) || has(self.trust.responses.configMapRef))) || \
                    (has(self.trust.certificates) && \
                    (has(self.trust.certificates.secretRef) || has(self.trust.certificates.configMapRef)))",
            message: "is missing, and trust.responses is missing too; allowed: a secretRef or configMapRef with the anchors \
                      of issued certificates",
            field: ".trust.certificates",
        },
        Rule {
            holds: "self.engine != 'OpenSSL' || !has(self.authentication.initial.mac) || \
                    self.authentication.initial.mac.algorithm != 'PBMAC1'",
            message: "PBMAC1 does not go with engine OpenSSL; allowed: PBM, or engine Native",
            field: ".authentication.initial.mac.algorithm",
        },
        Rule {
            holds: "self.engine != 'OpenSSL' || !has(self.authentication.initial.mac) || \
                    !has(self.authentication.initial.mac.iterations)",
            message: "cannot be set with engine OpenSSL; allowed: no iterations, or engine Native",
            field: ".authentication.initial.mac.iterations",
        },
    ];
    for one in rules {
        rule(schema, "spec", one);
    }
}

/// The rules of a Certificate.
pub(super) fn certificate(schema: &mut Value) {
    pattern(schema, "spec.issuerRef.name", SUBDOMAIN);
    pattern(schema, "spec.issuerRef.namespace", LABEL);
    constants(schema, "spec.issuerRef.kind", &["Issuer"]);
    constants(schema, "spec.issuerRef.group", &["occm.dev"]);
    pattern(schema, "spec.secretName", SUBDOMAIN);
    pattern(schema, "spec.duration", DURATION);
    pattern(schema, "spec.renewBefore", DURATION);
    private_key(schema, "spec.privateKey");
    for field in ["labels", "annotations"] {
        rule(
            schema,
            &format!("spec.secretTemplate.{field}"),
            Rule {
                holds: "self.all(key, !key.startsWith('occm.dev/'))",
                message: "keys of occm.dev/ cannot be set; allowed: other keys",
                field: "",
            },
        );
    }
    for (field, longest) in [("labels", 63), ("annotations", 16 * 1024)] {
        if let Some(values) = at(schema, &format!("spec.secretTemplate.{field}{{}}")) {
            set(values, "maxLength", json!(longest));
        }
    }
    outputs(schema);
    certificate_as_a_whole(schema);
}

fn outputs(schema: &mut Value) {
    pattern(schema, "spec.outputs[].secret.name", SUBDOMAIN);
    pattern(schema, "spec.outputs[].secret.namespace", LABEL);
    constants(
        schema,
        "spec.outputs[].secret.type",
        &["kubernetes.io/tls", "Opaque"],
    );
    if let Some(kind) = at(schema, "spec.outputs[].secret.type") {
        set(kind, "default", json!("Opaque"));
    }
    rule(
        schema,
        "spec.outputs[].keys",
        Rule {
            holds: "self.all(key, key.size() <= 253 && key.matches('^[-._a-zA-Z0-9]+$') && !key.startsWith('..'))",
            message: "allowed as keys: letters, digits, '-', '_' and '.', at most 253 characters, not starting with '..'",
            field: "",
        },
    );
    rule(
        schema,
        "spec.outputs[].keys{}",
        Rule {
            holds: "self.part == 'Key' || !(self.format in ['PKCS8PEM', 'PKCS8DER', 'PKCS1PEM', 'PKCS1DER'])",
            message: "is a form of keys; allowed: PEM or DER",
            field: ".format",
        },
    );
    rule(
        schema,
        "spec.outputs[].keys{}",
        Rule {
            holds: "self.part != 'Bundle' || self.format == 'PEM'",
            message: "a bundle is always PEM; allowed: PEM",
            field: ".format",
        },
    );
    rule(
        schema,
        "spec.outputs[]",
        Rule {
            holds: "!has(self.secret.type) || self.secret.type != 'kubernetes.io/tls' || \
                ('tls.key' in self.keys && 'tls.crt' in self.keys)",
            message: "lacks tls.key or tls.crt; allowed: both, as the type kubernetes.io/tls demands",
            field: ".keys",
        },
    );
    rule(
        schema,
        "spec.outputs",
        Rule {
            holds: "self.all(now, oldSelf.all(before, \
                now.secret.name != before.secret.name || now.secret.type == before.secret.type || \
                (has(now.secret.__namespace__) ? !has(before.secret.__namespace__) || \
                now.secret.__namespace__ != before.secret.__namespace__ : has(before.secret.__namespace__))))",
            message: "the type of an output's Secret cannot be changed; allowed: another name, or the type as it was",
            field: "",
        },
    );
    rule(
        schema,
        "spec.outputs",
        Rule {
            holds: "self.all(one, self.exists_one(other, one.secret.name == other.secret.name && \
                (has(one.secret.__namespace__) ? has(other.secret.__namespace__) && \
                one.secret.__namespace__ == other.secret.__namespace__ : !has(other.secret.__namespace__))))",
            message: "a Secret is named twice; allowed: one output for each Secret",
            field: "",
        },
    );
}

fn certificate_as_a_whole(schema: &mut Value) {
    let rules = [
        Rule {
            holds: "has(self.secretName) || (has(self.outputs) && self.outputs.size() > 0) || self.purpose != 'EndEntity'",
            message: "has neither secretName nor outputs; allowed: at least one of them",
            field: "",
        },
        Rule {
            holds: "has(self.commonName) || has(self.literalSubject) || has(self.subject) || \
                    (has(self.dnsNames) && self.dnsNames.size() > 0) || \
                    (has(self.ipAddresses) && self.ipAddresses.size() > 0) || \
                    (has(self.uris) && self.uris.size() > 0) || \
                    (has(self.emailAddresses) && self.emailAddresses.size() > 0)",
            message: "names nothing to certify; allowed: at least one of commonName, literalSubject, subject, dnsNames, \
                      ipAddresses, uris, emailAddresses",
            field: "",
        },
        Rule {
            holds: "!has(self.literalSubject) || !(has(self.commonName) || has(self.subject))",
            message: "excludes commonName and subject; allowed: literalSubject alone, or commonName and subject",
            field: ".literalSubject",
        },
        Rule {
            holds: "!(has(self.renewBefore) && has(self.renewBeforePercentage))",
            message: "excludes renewBefore; allowed: one of the two",
            field: ".renewBeforePercentage",
        },
        Rule {
            holds: "(has(self.dnsNames) ? self.dnsNames.size() : 0) + (has(self.ipAddresses) ? self.ipAddresses.size() : 0) + \
                    (has(self.uris) ? self.uris.size() : 0) + (has(self.emailAddresses) ? self.emailAddresses.size() : 0) \
                    <= 100",
            message: "has too many alternative names; allowed: at most 100 together",
            field: "",
        },
    ];
    for one in rules {
        rule(schema, "spec", one);
    }
}

fn private_key(schema: &mut Value, path: &str) {
    rule(
        schema,
        path,
        Rule {
            holds: "!has(self.size) || (self.algorithm == 'RSA' ? self.size in [2048, 3072, 4096] : \
                self.algorithm == 'ECDSA' ? self.size in [256, 384, 521] : false)",
            message: "does not fit the algorithm; allowed: 2048, 3072 or 4096 for RSA, 256, 384 or 521 for ECDSA, none for Ed25519",
            field: ".size",
        },
    );
}

fn key_reference(schema: &mut Value, path: &str) {
    pattern(schema, &format!("{path}.name"), SUBDOMAIN);
    pattern(schema, &format!("{path}.key"), DATA_KEY);
}

/// A CEL rule.
struct Rule {
    holds: &'static str,
    message: &'static str,
    /// Which field is wrong, from where the rule stands; empty = that itself.
    field: &'static str,
}

fn rule(schema: &mut Value, path: &str, rule: Rule) {
    let Some(place) = at(schema, path) else { return };
    let mut value = json!({ "rule": rule.holds, "message": rule.message });
    if !rule.field.is_empty() {
        set(&mut value, "fieldPath", json!(rule.field));
    }
    if let Some(fields) = place.as_object_mut() {
        let rules = fields
            .entry("x-kubernetes-validations")
            .or_insert_with(|| json!([]));
        if let Some(rules) = rules.as_array_mut() {
            rules.push(value);
        }
    }
}

fn pattern(schema: &mut Value, path: &str, pattern: &str) {
    if let Some(place) = at(schema, path) {
        set(place, "pattern", json!(pattern));
    }
}

fn constants(schema: &mut Value, path: &str, values: &[&str]) {
    if let Some(place) = at(schema, path) {
        set(place, "enum", json!(values));
    }
}

/// The schema of a field: `a.b` is property b of a, `a[]` the items of a, `a{}` the values of a.
fn at<'a>(schema: &'a mut Value, path: &str) -> Option<&'a mut Value> {
    let mut place = schema;
    for step in path.split('.') {
        let name = step.trim_end_matches("[]").trim_end_matches("{}");
        place = place.get_mut("properties")?.get_mut(name)?;
        if step.ends_with("[]") {
            place = place.get_mut("items")?;
        } else if step.ends_with("{}") {
            place = place.get_mut("additionalProperties")?;
        }
    }
    Some(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_does_not_exist_is_found_out() {
        let mut schema = json!({"properties": {"a": {"items": {"properties": {"b": {}}}}}});
        assert!(at(&mut schema, "a[].b").is_some());
        assert!(at(&mut schema, "a.b").is_none());
    }
}
