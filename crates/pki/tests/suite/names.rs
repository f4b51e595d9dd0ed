//! Distinguished names.

use std::str::FromStr;

use pki::{CertificateRequest, Error, KeyAlgorithm, Name};
use proptest::prelude::*;

use crate::support::{Files, key, openssl_ok};

fn name(text: &str) -> Name {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn refusal(text: &str) -> (usize, String) {
    match text.parse::<Name>() {
        Err(Error::NameSyntax { position, reason }) => (position, reason.into_owned()),
        other => panic!("{text:?}: {other:?}"),
    }
}

#[test]
fn both_forms_of_a_name_are_the_same_name() {
    let pairs = [
        ("CN=Lab Issuing CA,O=Lab", "/O=Lab/CN=Lab Issuing CA"),
        ("CN=a+OU=b,C=DE", "/C=DE/OU=b+CN=a"),
        ("CN=a\\,b\\+c\\/d\\\\e", "/CN=a,b\\+c\\/d\\\\e"),
        ("UID=x,DC=lab,DC=example", "/DC=example/DC=lab/UID=x"),
        ("CN=Jürgen Müller 東京", "/CN=Jürgen Müller 東京"),
        ("CN=J\\C3\\BCrgen", "/CN=Jürgen"),
        ("STREET=Way 1,postalCode=12345", "/postalCode=12345/street=Way 1"),
        (
            "emailAddress=a@b.example,serialNumber=0815",
            "/serialNumber=0815/emailAddress=a@b.example",
        ),
        ("SN=Doe+GN=Jo+title=Dr", "/title=Dr+GN=Jo+SN=Doe"),
        (
            "organizationIdentifier=VATDE-1,2.5.4.3=a",
            "/CN=a/organizationIdentifier=VATDE-1",
        ),
        ("1.2.3.4=x", "/1.2.3.4=x"),
        ("1.2.3.4=#02012A", "/1.2.3.4=#02012a"),
        ("CN=\\#1", "/CN=\\#1"),
        ("CN=\\ a\\ ", "/CN= a "),
        ("  cn = a , o = b  ", "/o=b/cn=a"),
        ("", "/"),
    ];
    for (rfc4514, slash) in pairs {
        assert_eq!(name(rfc4514), name(slash), "{rfc4514}");
    }
}

#[test]
fn names_are_written_in_one_canonical_way() {
    let cases = [
        ("cn=a, o=b", "CN=a,O=b", "/O=b/CN=a"),
        (
            "CN=a\\2Cb\\2B\\22\\3C\\3E\\3B\\5C=/",
            "CN=a\\,b\\+\\\"\\<\\>\\;\\\\=/",
            "/CN=a,b\\+\"<>;\\\\=\\/",
        ),
        ("CN=\\ a\\ ", "CN=\\ a\\ ", "/CN= a "),
        ("CN=\\#1#", "CN=\\#1#", "/CN=\\#1#"),
        ("street=a", "STREET=a", "/street=a"),
        ("E=a@b", "emailAddress=a@b", "/emailAddress=a@b"),
        ("OID.2.5.4.11=a", "OU=a", "/OU=a"),
        ("1.2.3=#0500", "1.2.3=#0500", "/1.2.3=#0500"),
        ("", "", "/"),
    ];
    for (text, rfc4514, slash) in cases {
        let name = name(text);
        assert_eq!(
            (name.to_rfc4514().as_str(), name.to_slash().as_str()),
            (rfc4514, slash)
        );
        assert_eq!(name.to_string(), rfc4514);
    }
}

#[test]
fn control_and_direction_characters_are_escaped_for_logs() {
    let name = Name::from_parts(&[("CN", "a\nb\u{1b}[31m\u{202e}\u{85}")]).unwrap();
    assert_eq!(name.to_rfc4514(), "CN=a\\0Ab\\1B[31m\\E2\\80\\AE\\C2\\85");
    assert_eq!(self::name(&name.to_rfc4514()), name);
}

#[test]
fn values_get_the_string_type_that_rfc_5280_wants() {
    for (text, tag) in [
        ("CN=a", 0x0c),
        ("O=a", 0x0c),
        ("UID=a", 0x0c),
        ("C=DE", 0x13),
        ("serialNumber=1", 0x13),
        ("dnQualifier=1", 0x13),
        ("DC=a", 0x16),
        ("emailAddress=a@b", 0x16),
        ("1.2.3.4=a", 0x0c),
    ] {
        assert_eq!(name(text).rdns()[0][0].value_der()[0], tag, "{text}");
    }
}

#[test]
fn wrong_texts_are_refused_with_a_position_and_what_is_allowed() {
    let cases = [
        ("abc", 3, "expected an attribute such as CN=value"),
        ("CN=a,", 5, "expected an attribute"),
        ("CN=a,,O=b", 6, "expected an attribute"),
        ("=a", 1, "attribute type is missing"),
        ("XX=a", 3, "unknown attribute type; allowed: CN, SN"),
        ("CN=a,XX=b", 8, "unknown attribute type"),
        ("CN=", 3, "value is empty"),
        ("CN=a\"b", 5, "must be escaped"),
        ("CN=a;b", 5, "must be escaped"),
        ("CN=a<b", 5, "must be escaped"),
        ("CN=a\0b", 5, "must be escaped"),
        ("CN=a\\", 5, "followed by"),
        ("CN=a\\x", 6, "followed by"),
        ("CN=a\\1", 6, "followed by"),
        ("CN=a\\1x", 7, "followed by"),
        ("CN=\\C3", 6, "not UTF-8"),
        ("CN=#", 4, "one DER value"),
        ("CN=#0c", 6, "one DER value"),
        ("CN=#0c0161ff", 12, "one DER value"),
        ("CN=#0", 5, "hexadecimal"),
        ("CN=#xy", 6, "hexadecimal"),
        ("C=DEU", 5, "two letters"),
        ("C=1A", 4, "two letters"),
        ("serialNumber=a_b", 16, "letters, digits, blanks"),
        ("DC=ü", 4, "ASCII"),
        ("/O=a/b", 6, "expected an attribute"),
        ("/O=a//CN=b", 6, "expected an attribute"),
        ("/O=a\\", 5, "followed by a character"),
        ("//", 2, "expected an attribute"),
        ("#zz", 1, "hexadecimal"),
    ];
    for (text, position, part) in cases {
        let (at, reason) = refusal(text);
        assert!(
            at == position && reason.contains(part),
            "{text:?}: {at}: {reason}"
        );
    }
}

#[test]
fn large_names_are_refused() {
    let long = format!("CN={}", "a".repeat(17_000));
    assert!(matches!(
        long.parse::<Name>(),
        Err(Error::TooLarge { unit: "bytes", .. })
    ));
    let wide = vec!["CN=a"; 129].join(",");
    assert!(matches!(
        wide.parse::<Name>(),
        Err(Error::TooLarge {
            unit: "attributes",
            ..
        })
    ));
    let fits = name(&vec!["CN=a"; 128].join(","));
    assert_eq!(Name::from_der(fits.der()).unwrap(), fits);
    assert!(matches!(
        Name::from_der(&[0x30; 9000]),
        Err(Error::TooLarge { .. })
    ));
}

#[test]
fn names_from_parts_take_values_as_they_are() {
    let name = Name::from_parts(&[("C", "DE"), ("O", "a,b/c\\d"), ("CN", " x ")]).unwrap();
    assert_eq!(name, self::name("CN=\\ x\\ ,O=a\\,b/c\\\\d,C=DE"));
    let error = Name::from_parts(&[("O", "a"), ("C", "Germany")]).unwrap_err();
    assert!(matches!(error, Error::NameSyntax { position: 2, .. }), "{error}");
    assert!(Name::from_parts(&[("what", "a")]).is_err());
    assert!(Name::from_parts(&[]).unwrap().is_empty());
}

#[test]
fn the_common_name_is_the_most_specific_one() {
    assert_eq!(name("CN=a,CN=b,O=c").common_name().as_deref(), Some("a"));
    assert_eq!(name("O=c").common_name(), None);
}

#[test]
fn attributes_tell_their_type_and_text() {
    let rdns = name("CN=a+1.2.3=#0500,O=b").rdns();
    let shown: Vec<_> = rdns
        .iter()
        .flatten()
        .map(|a| (a.type_name().into_owned(), a.text(), a.oid().to_string()))
        .collect();
    assert_eq!(
        shown[0],
        ("O".to_owned(), Some("b".to_owned()), "2.5.4.10".to_owned())
    );
    assert!(shown.contains(&("1.2.3".to_owned(), None, "1.2.3".to_owned())));
}

#[test]
fn equality_is_exact_and_same_rdns_is_not() {
    let ours = name("CN=Lab  CA,O=Lab");
    let printable = name("CN=#13064c6162204341,O=#13036c6162");
    assert_ne!(ours, printable);
    assert!(ours.same_rdns(&printable));
    assert!(ours.same_rdns(&name("O=Lab,CN=Lab CA")));
    assert!(name("CN=a+OU=b").same_rdns(&name("OU=B+CN=A")));
    assert!(name("1.2.3=#0500").same_rdns(&name("1.2.3=#0500")));
    for other in [
        "CN=Lab CA",
        "CN=Lab CA,O=Lab,O=Lab",
        "CN=Lab,O=Lab CA",
        "CN=Lab CA+O=Lab",
        "",
    ] {
        assert!(!ours.same_rdns(&name(other)), "{other}");
    }
}

#[test]
fn serialised_names_come_back_exactly_whatever_their_string_types() {
    for text in ["CN=a,O=b", "CN=#130161", "CN=#0c00,O=x", "2.5.4.45=#03020780", ""] {
        let name = name(text);
        let json = serde_json::to_string(&name).unwrap();
        assert_eq!(serde_json::from_str::<Name>(&json).unwrap(), name, "{json}");
    }
    assert_eq!(serde_json::to_string(&name("o=b,CN=a")).unwrap(), "\"O=b,CN=a\"");
    assert_eq!(
        serde_json::to_string(&name("CN=#130161")).unwrap(),
        "\"CN=#130161\""
    );
    assert!(serde_json::from_str::<Name>("\"nonsense\"").is_err());
}

/// A set in the wrong order is not DER, but a CA may have signed it; the bytes must survive.
#[test]
fn a_foreign_name_with_unsorted_sets_is_kept_byte_by_byte() {
    let sorted = name("CN=a+O=b");
    let rdn = &sorted.rdns()[0];
    let part = |a: &pki::Attribute| {
        let oid = a.oid();
        let body = [
            &[6, oid.as_bytes().len() as u8][..],
            oid.as_bytes(),
            a.value_der(),
        ]
        .concat();
        [&[0x30, body.len() as u8][..], &body].concat()
    };
    let swapped = [part(&rdn[1]), part(&rdn[0])].concat();
    let set = [&[0x31, swapped.len() as u8][..], &swapped].concat();
    let der = [&[0x30, set.len() as u8][..], &set].concat();
    let foreign = Name::from_der(&der).unwrap();
    assert_ne!(foreign, sorted);
    assert!(foreign.same_rdns(&sorted));
    let json = serde_json::to_string(&foreign).unwrap();
    assert!(json.starts_with("\"#30"), "{json}");
    assert_eq!(serde_json::from_str::<Name>(&json).unwrap(), foreign);
}

#[test]
fn damaged_der_is_refused() {
    let good = name("CN=a,O=b").der().to_vec();
    assert!(Name::from_der(&[]).is_err());
    assert!(Name::from_der(&good[..good.len() - 1]).is_err());
    assert!(Name::from_der(&[&good[..], &[0]].concat()).is_err());
    assert!(Name::from_der(&[0x30, 2, 0x31, 0]).is_err(), "an empty set");
    assert!(Name::from_der(&[0x31, 0]).is_err(), "a set instead of a sequence");
}

#[test]
fn openssl_makes_the_same_der_of_our_slash_form() {
    let files = Files::new();
    let private = files.write(
        "key",
        key(KeyAlgorithm::EcP256).to_pkcs8_pem().unwrap().as_bytes(),
    );
    let config = files.write(
        "config",
        "[req]\ndistinguished_name=dn\nstring_mask=utf8only\n[dn]\n",
    );
    for text in [
        "/O=Lab/CN=Lab Issuing CA",
        "/C=DE/ST=Bavaria/L=Munich/O=Jürgen \\/ Söhne/OU=a\\+b/CN=x\\\\y",
        "/DC=example/DC=lab/UID=u1/CN=a",
        "/O=a+OU=b/CN=c+serialNumber=12",
        "/GN=Jo/SN=Doe/title=Dr/street=Way 1/postalCode=1/emailAddress=a@b.example",
        "/dnQualifier=q/pseudonym=p/initials=i/generationQualifier=g/name=n/description=d",
        "/businessCategory=b/organizationIdentifier=VATDE-1/unstructuredName=u",
        "/1.3.6.1.4.1.311.60.2.1.3=DE/2.5.4.97=x",
        "/CN= spaces at both ends ",
    ] {
        let (ours, out) = (name(text), files.path("request"));
        let slash = ours.to_slash();
        let command = [
            "req", "-new", "-config", &config, "-key", &private, "-utf8", "-subj", &slash,
        ];
        if openssl_ok(&[&command[..], &["-outform", "DER", "-out", &out]].concat()).is_none() {
            return;
        }
        let theirs = CertificateRequest::from_der(&files.read("request")).unwrap();
        assert_eq!(theirs.subject(), &ours, "{text}");
    }
}

#[test]
fn openssl_writes_the_same_rfc_4514_text() {
    let files = Files::new();
    for text in [
        "CN=Lab Issuing CA,OU=a\\,b,O=Jürgen\\+Co,C=DE",
        "UID=u,DC=lab,DC=example",
        "CN=\\ a\\#\\ ",
    ] {
        let template = pki::CertificateTemplate::new(name(text));
        let request = CertificateRequest::create(&template, &key(KeyAlgorithm::EcP256)).unwrap();
        let path = files.write("request", request.to_pem());
        let options = "esc_2253,utf8,sep_comma_plus,dn_rev,sname";
        let Some(printed) = openssl_ok(&["req", "-in", &path, "-noout", "-subject", "-nameopt", options])
        else {
            return;
        };
        let printed = printed
            .trim_end_matches('\n')
            .strip_prefix("subject=")
            .unwrap()
            .to_owned();
        assert_eq!(Name::from_str(&printed).unwrap(), name(text), "{printed}");
        if !text.contains('#') {
            assert_eq!(printed, name(text).to_rfc4514());
        }
    }
}

/// Types whose values may be any text, and some whose may not.
fn attribute() -> impl Strategy<Value = (String, String)> {
    prop_oneof![
        (
            "(CN|O|OU|L|ST|UID|GN|SN|title|street|postalCode|organizationIdentifier|1\\.2\\.3\\.4)",
            "\\PC{1,12}"
        ),
        ("(CN|O)", "[ #,+\"\\\\<>;=/a\\n\\x00-\\x1f\u{202e}é]{1,8}"),
        ("(C|countryName)", "[A-Z]{2}"),
        ("(serialNumber|dnQualifier)", "[A-Za-z0-9 '()+,./:=?-]{1,10}"),
        ("(DC|emailAddress)", "[ -~]{1,12}"),
    ]
}

proptest! {
    #[test]
    fn every_name_survives_both_text_forms_der_and_serialisation(
        parts in proptest::collection::vec(attribute(), 0..6)
    ) {
        let borrowed: Vec<(&str, &str)> = parts.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let name = Name::from_parts(&borrowed).unwrap();
        prop_assert_eq!(&name.to_rfc4514().parse::<Name>().unwrap(), &name);
        prop_assert_eq!(&name.to_slash().parse::<Name>().unwrap(), &name);
        prop_assert_eq!(&Name::from_der(name.der()).unwrap(), &name);
        let json = serde_json::to_string(&name).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Name>(&json).unwrap(), &name);
        prop_assert!(name.to_rfc4514().chars().all(|c| !c.is_control()));
    }

    #[test]
    fn multi_valued_names_survive_both_text_forms(
        rdns in proptest::collection::vec(proptest::collection::vec("(CN|O|OU|L)=[a-z#=]{1,4}", 1..4), 1..4)
    ) {
        let text = rdns.iter().map(|rdn| rdn.join("+")).collect::<Vec<_>>().join(",");
        if let Ok(name) = text.parse::<Name>() {
            prop_assert_eq!(&name.to_rfc4514().parse::<Name>().unwrap(), &name);
            prop_assert_eq!(&name.to_slash().parse::<Name>().unwrap(), &name);
        }
    }

    #[test]
    fn random_text_never_panics(text in "[/,=+#\\\\CNO0-9a-f \\PC]{0,40}") {
        if let Ok(name) = text.parse::<Name>() {
            let json = serde_json::to_string(&name).unwrap();
            prop_assert_eq!(serde_json::from_str::<Name>(&json).unwrap(), name);
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        let wrapped = [&[0x30, bytes.len() as u8][..], &bytes].concat();
        for der in [&bytes, &wrapped] {
            if let Ok(name) = Name::from_der(der) {
                let _ = (name.to_rfc4514(), name.to_slash(), name.common_name());
                let json = serde_json::to_string(&name).unwrap();
                prop_assert_eq!(serde_json::from_str::<Name>(&json).unwrap(), name);
            }
        }
    }
}
