//! The wish for a certificate.

use std::time::Duration;

use der::Decode;
use pki::{CertificateTemplate, ExtendedKeyUsage, KeyUsage, KeyUsages, Name, San, Usages};
use proptest::prelude::*;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, SubjectAltName};

fn template() -> CertificateTemplate {
    let usages = Usages::from_words(["digital signature", "server auth", "client auth"]).unwrap();
    CertificateTemplate {
        subject: "CN=a.example,O=Lab".parse().unwrap(),
        sans: [
            "DNS:a.example",
            "DNS:*.a.example",
            "IP:192.0.2.1",
            "IP:2001:db8::1",
            "URI:urn:x",
            "email:a@b.example",
        ]
        .map(|text| text.parse().unwrap())
        .to_vec(),
        key_usage: usages.key_usage,
        extended_key_usages: usages.extended_key_usages,
        is_ca: false,
        duration: Some(Duration::from_secs(90 * 86_400)),
    }
}

fn extensions(template: &CertificateTemplate) -> Vec<Extension> {
    Vec::<Extension>::from_der(&template.extensions_der().unwrap()).unwrap()
}

fn find<T: for<'a> Decode<'a> + const_oid::AssociatedOid>(
    template: &CertificateTemplate,
) -> Option<(bool, T)> {
    let all = extensions(template);
    let found = all.iter().find(|e| e.extn_id == T::OID)?;
    Some((found.critical, T::from_der(found.extn_value.as_bytes()).ok()?))
}

/// The record of an issuance holds this text; a change of it would make every stored wish look changed.
#[test]
fn the_serialised_form_is_stable() {
    let json = serde_json::to_string(&template()).unwrap();
    assert_eq!(
        json,
        concat!(
            r#"{"subject":"CN=a.example,O=Lab","sans":["DNS:a.example","DNS:*.a.example","IP:192.0.2.1","#,
            r#""IP:2001:db8::1","URI:urn:x","email:a@b.example"],"key_usage":["digital signature"],"#,
            r#""extended_key_usages":["server auth","client auth"],"is_ca":false,"#,
            r#""duration":{"secs":7776000,"nanos":0}}"#
        )
    );
    assert_eq!(
        serde_json::from_str::<CertificateTemplate>(&json).unwrap(),
        template()
    );
    let least = CertificateTemplate::new("CN=a".parse().unwrap());
    assert_eq!(
        serde_json::to_string(&least).unwrap(),
        r#"{"subject":"CN=a","is_ca":false}"#
    );
    assert_eq!(
        serde_json::from_str::<CertificateTemplate>(r#"{"subject":"CN=a"}"#).unwrap(),
        least
    );
}

#[test]
fn unchecked_values_do_not_come_in_through_the_serialised_form() {
    for json in [
        r#"{"subject":"nonsense"}"#,
        r#"{"subject":"","sans":["DNS:a b"]}"#,
        r#"{"subject":"","key_usage":["server auth"]}"#,
        r#"{"subject":"","extended_key_usages":["digital signature"]}"#,
    ] {
        assert!(
            serde_json::from_str::<CertificateTemplate>(json).is_err(),
            "{json}"
        );
    }
}

#[test]
fn an_empty_wish_has_no_extensions() {
    assert_eq!(CertificateTemplate::new(Name::empty()).extensions_der(), None);
}

#[test]
fn another_implementation_reads_the_extensions_as_they_were_meant() {
    let (critical, names) = find::<SubjectAltName>(&template()).unwrap();
    assert!(!critical);
    let shown: Vec<String> = names
        .0
        .iter()
        .map(|name| match name {
            GeneralName::DnsName(text) => format!("DNS:{text}"),
            GeneralName::Rfc822Name(text) => format!("email:{text}"),
            GeneralName::UniformResourceIdentifier(text) => format!("URI:{text}"),
            GeneralName::IpAddress(octets) => format!("IP:{} octets", octets.as_bytes().len()),
            other => format!("{other:?}"),
        })
        .collect();
    let expected = [
        "DNS:a.example",
        "DNS:*.a.example",
        "IP:4 octets",
        "IP:16 octets",
        "URI:urn:x",
        "email:a@b.example",
    ];
    assert_eq!(shown, expected);
    let (_, purposes) = find::<x509_cert::ext::pkix::ExtendedKeyUsage>(&template()).unwrap();
    let wanted = [ExtendedKeyUsage::ServerAuth, ExtendedKeyUsage::ClientAuth];
    assert_eq!(purposes.0, wanted.map(|purpose| purpose.oid()));
}

#[test]
fn alternative_names_are_critical_if_there_is_no_subject() {
    let nameless = CertificateTemplate {
        subject: Name::empty(),
        ..template()
    };
    assert!(find::<SubjectAltName>(&nameless).unwrap().0);
}

#[test]
fn a_ca_wish_has_critical_basic_constraints_and_others_have_none() {
    let wish = CertificateTemplate {
        is_ca: true,
        ..template()
    };
    let (critical, constraints) = find::<BasicConstraints>(&wish).unwrap();
    assert!(critical && constraints.ca && constraints.path_len_constraint.is_none());
    assert!(find::<BasicConstraints>(&template()).is_none());
}

proptest! {
    /// All 511 sets: nine bits, the last one in a byte of its own, zero bits at the end cut off.
    #[test]
    fn every_set_of_key_usages_is_encoded_as_der(bits in 1u16..512) {
        let usages: KeyUsages = KeyUsage::ALL.into_iter().filter(|u| bits & 1 << *u as u16 != 0).collect();
        let wish = CertificateTemplate { key_usage: usages, ..CertificateTemplate::default() };
        let (critical, read) = find::<x509_cert::ext::pkix::KeyUsage>(&wish).unwrap();
        prop_assert!(critical);
        prop_assert_eq!(read.0.bits(), bits);
        let reencoded = der::Encode::to_der(&read).unwrap();
        let ours = extensions(&wish).remove(0).extn_value;
        prop_assert_eq!(reencoded, ours.as_bytes());
    }

    #[test]
    fn every_wish_survives_serialisation(
        hosts in proptest::collection::vec("[a-z]{1,10}(\\.[a-z]{2,5}){1,2}", 0..5),
        words in proptest::sample::subsequence(
            vec!["signing", "cert sign", "any", "server auth", "ocsp signing", "1.2.3.4", "decipher only"], 0..7),
        common_name in "[ -~é]{1,20}",
        is_ca: bool,
        seconds in proptest::option::of(0u64..1_000_000_000),
    ) {
        let usages = Usages::from_words(words).unwrap();
        let wish = CertificateTemplate {
            subject: Name::from_parts(&[("CN", &common_name)]).unwrap(),
            sans: hosts.iter().map(|host| San::dns(host).unwrap()).collect(),
            key_usage: usages.key_usage,
            extended_key_usages: usages.extended_key_usages,
            is_ca,
            duration: seconds.map(Duration::from_secs),
        };
        let json = serde_json::to_string(&wish).unwrap();
        prop_assert_eq!(serde_json::from_str::<CertificateTemplate>(&json).unwrap(), wish);
    }
}
