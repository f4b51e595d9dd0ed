//! What is in a Secret, and how an object stands: facts of certificates, never a key.

use std::fmt::Write as _;
use std::path::Path;

use jiff::Timestamp;

use crate::cli::table::distance;
use crate::cli::target::{Opened, advised};
use crate::client::{ClientError, EventList, SecretSeen};
use crate::model::certificate::{Certificate, Format, Part};
use crate::model::condition::Condition;
use crate::model::issuer::Issuer;
use crate::model::object::{Kind, ObjectKey};
use crate::model::plan::named_outputs;
use crate::store::Seen;

/// Events that are shown.
const EVENTS: usize = 10;

/// What can be looked at by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Thing {
    Secret,
    Object(Kind),
}

/// `secret/NAME`, `certificate/NAME`, `issuer/NAME`, also by the names that kubectl knows; `None` = a file.
pub(super) fn named(what: &Path) -> Option<(Thing, &str)> {
    let (thing, name) = what.to_str()?.split_once('/')?;
    if name.is_empty() || name.contains('/') {
        return None;
    }
    let thing = match thing {
        "secret" | "secrets" => Thing::Secret,
        "certificate" | "certificates" | "ocert" | "certificates.occm.dev" => {
            Thing::Object(Kind::Certificate)
        }
        "issuer" | "issuers" | "oissuer" | "issuers.occm.dev" => Thing::Object(Kind::Issuer),
        _ => return None,
    };
    Some((thing, name))
}

/// Text for people.
pub(super) async fn describe(opened: &Opened, thing: Thing, name: &str) -> anyhow::Result<String> {
    let key = ObjectKey::new(&opened.namespace, name);
    match thing {
        Thing::Secret => {
            let secret = opened.objects.secret(&key).await.map_err(advised)?;
            Ok(of_secret(&secret))
        }
        Thing::Object(kind) => {
            let item = opened.objects.get(kind, &key).await.map_err(advised)?;
            let mut text = match kind {
                Kind::Issuer => of_issuer(&key, &item.issuer()),
                Kind::Certificate => of_certificate(opened, &key, &item.certificate()).await,
            };
            match opened.objects.events(kind, &key).await {
                Ok(events) => text.push_str(&of_events(&events)),
                Err(error) => text.push_str(&format!("Events: {error}\n")),
            }
            Ok(text)
        }
    }
}

async fn of_certificate(opened: &Opened, key: &ObjectKey, seen: &Seen<Certificate>) -> String {
    let certificate = match seen {
        Seen::Object(certificate) => certificate,
        Seen::Broken(broken) => return format!("Certificate {key} cannot be used\n{}\n", broken.errors),
    };
    let status = certificate.status.clone().unwrap_or_default();
    let reference = &certificate.spec.issuer_ref;
    let namespace = reference.namespace.as_deref().unwrap_or(&key.namespace);
    let mut text = format!("Certificate {key}, Issuer {namespace}/{}\n", reference.name);
    let now = Timestamp::now();
    for (what, time) in [
        ("valid from", status.not_before),
        ("valid until", status.not_after),
        ("renewal", status.renewal_time),
        ("next attempt", status.next_attempt),
    ] {
        if let Some(time) = time {
            line(&mut text, what, &format!("{time} ({})", distance(now, time)));
        }
    }
    for (what, value) in [
        ("serial number", status.serial_number),
        ("revision", status.revision.map(|revision| revision.to_string())),
    ] {
        if let Some(value) = value {
            line(&mut text, what, &value);
        }
    }
    of_conditions(&mut text, &status.conditions);
    for secret in named_outputs(key, &certificate.spec) {
        text.push('\n');
        match opened.objects.secret(&secret).await {
            Ok(seen) => text.push_str(&of_secret(&seen)),
            Err(ClientError::NotFound(_)) => text.push_str(&format!("Secret {secret} does not exist\n")),
            Err(error) => text.push_str(&format!("Secret {secret}: {error}\n")),
        }
    }
    text
}

fn of_issuer(key: &ObjectKey, seen: &Seen<Issuer>) -> String {
    let issuer = match seen {
        Seen::Object(issuer) => issuer,
        Seen::Broken(broken) => return format!("Issuer {key} cannot be used\n{}\n", broken.errors),
    };
    let status = issuer.status.clone().unwrap_or_default();
    let mut text = format!("Issuer {key}, {}\n", issuer.spec.url);
    line(&mut text, "engine", &format!("{:?}", issuer.spec.engine));
    if let Some(identity) = &status.identity {
        let end = distance(Timestamp::now(), identity.not_after);
        line(
            &mut text,
            "CMP identity until",
            &format!("{} ({end})", identity.not_after),
        );
    }
    if let Some(time) = status.last_contact {
        line(&mut text, "last contact", &time.to_string());
    }
    of_conditions(&mut text, &status.conditions);
    text
}

fn of_conditions(text: &mut String, conditions: &[Condition]) {
    for condition in conditions {
        let said = format!(
            "{:?} {}: {}",
            condition.status,
            condition.reason,
            condition.message.replace('\n', "; ")
        );
        line(text, &condition.kind, &said);
    }
}

fn of_events(events: &EventList) -> String {
    let mut text = String::from("\nEvents, newest first:\n");
    if events.items.is_empty() {
        text.push_str("  none that are still kept\n");
    }
    for event in events.items.iter().take(EVENTS) {
        let count = if event.count > 1 {
            format!(" ({} times)", event.count)
        } else {
            String::new()
        };
        let message = event.message.replace('\n', "; ");
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "  {:.0}  {:?}  {}{count}  {message}",
            event.time, event.severity, event.reason
        );
    }
    text
}

fn of_secret(secret: &SecretSeen) -> String {
    let owner = secret
        .owner()
        .map(|owner| format!(", written by Certificate {owner}"));
    let mut text = format!(
        "Secret {} ({}){}\n",
        secret.key,
        secret.kind,
        owner.unwrap_or_default()
    );
    for name in &secret.keys {
        let told = match secret.parts.get(name) {
            Some((Part::Key, format)) => private_key(secret, name, *format),
            Some((part, format)) => format!(
                "{}, {}",
                part_name(*part),
                if *format == Format::DER { "DER" } else { "PEM" }
            ),
            None => "not shown".to_owned(),
        };
        line(&mut text, name, &told);
    }
    for certificate in secret.certificate.iter().chain(&secret.others) {
        text.push_str(&pki::inspect::certificate(certificate));
    }
    text
}

fn private_key(secret: &SecretSeen, name: &str, format: Format) -> String {
    let form = match format {
        Format::PEM | Format::PKCS8PEM => "PKCS#8 PEM",
        Format::DER | Format::PKCS8DER => "PKCS#8 DER",
        Format::PKCS1PEM => "PKCS#1 or SEC 1 PEM",
        Format::PKCS1DER => "PKCS#1 or SEC 1 DER",
    };
    match &secret.private_key {
        Some(key) if key.name == name && secret.certificate.is_some() => {
            let fits = if key.fits {
                "belongs to the certificate"
            } else {
                "does NOT belong to the certificate"
            };
            format!("private key, {}, {form}, {fits}", key.algorithm)
        }
        Some(key) if key.name == name => format!("private key, {}, {form}", key.algorithm),
        _ => format!("private key, {form}"),
    }
}

fn part_name(part: Part) -> &'static str {
    match part {
        Part::Key => "private key",
        Part::Certificate => "certificate",
        Part::Chain => "CA certificates",
        Part::CertificateAndChain => "certificate and chain",
        Part::CA => "root certificates",
        Part::Bundle => "private key and certificates",
    }
}

fn line(text: &mut String, what: &str, value: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "  {what}: {value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_named_as_kubectl_names_them_and_the_rest_are_files() {
        let found = |text: &'static str| named(Path::new(text)).map(|(thing, _)| thing);
        assert_eq!(found("secret/a"), Some(Thing::Secret));
        assert_eq!(found("ocert/a"), Some(Thing::Object(Kind::Certificate)));
        assert_eq!(found("issuers.occm.dev/a"), Some(Thing::Object(Kind::Issuer)));
        for file in [
            "a.pem",
            "./secret/a",
            "secret/a/b",
            "secret/",
            "other/a",
            "/secret/a",
        ] {
            assert_eq!(found(file), None, "{file}");
        }
    }
}
