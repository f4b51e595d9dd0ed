//! What people are told when something is wrong: one committed snapshot for each reason that can happen on a host.
//!
//! Each names the file or field, what is wrong with it, and what is allowed. Times, ports and paths are left out. After a
//! change that is wanted: `INSTA_UPDATE=always cargo test -p occm --test host_errors`.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests only"
)]

mod support;

use std::process::Command;

use occm::model::reason::Reason;
use support::{BIN, Ca, Host, SECRET, certificate_yaml, issuer_yaml, occm, wait_for};

/// Conditions and last failure of an object, once it has this reason.
fn told(host: &Host, kind: &str, name: &str, reason: &str) -> String {
    let status = wait_for(&format!("{reason} of {kind} {name}"), || {
        let status = host.status_file(kind, name);
        status
            .lines()
            .any(|line| line.trim() == format!("reason: {reason}"))
            .then_some(status)
    });
    let mut kept = Vec::new();
    let mut section = "";
    for line in status.lines() {
        if !line.starts_with([' ', '-']) {
            section = line;
        }
        let chance = ["lastTransitionTime:", "observedGeneration:", "time:", "attempts:"];
        let by_chance = chance.iter().any(|field| line.trim_start().starts_with(field));
        if ["conditions:", "outputs:", "lastFailure:"].contains(&section) && !by_chance {
            kept.push(line);
        }
    }
    // Whether a wait before was long enough to be told is chance.
    let quiet = [
        "- type: Issuing",
        "  status: \"False\"",
        "  reason: UpToDate",
        "  message: nothing is being issued",
    ];
    let text = kept.join("\n").replace(&format!("\n{}", quiet.join("\n")), "");
    without_chance(host, &text)
}

/// The condition `Ready` alone, where what else is tried meanwhile is chance.
fn only_ready(told: &str) -> String {
    let start = told
        .find("- type: Ready")
        .expect("it is told whether it is ready");
    let text = &told[start..];
    let end = text.find("\n- type").or_else(|| text.find("\noutputs:"));
    let end = end.or_else(|| text.find("\nlastFailure:")).unwrap_or(text.len());
    text[..end].to_owned()
}

/// Without what differs from run to run.
fn without_chance(host: &Host, text: &str) -> String {
    let mut text = text.replace(host.path().to_str().unwrap(), "DIR");
    while let Some(at) = text.find("127.0.0.1:") {
        let rest = &text[at + 10..];
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        text = format!("{}CA{}", &text[..at], &rest[end..]);
    }
    let words = text.split_inclusive([' ', '\n', '"', ';', ',', '(', ')']);
    words
        .map(|word| {
            let end = word.len()
                - word
                    .chars()
                    .next_back()
                    .filter(|c| !c.is_alphanumeric())
                    .map_or(0, char::len_utf8);
            let (bare, tail) = word.split_at(end);
            if bare.parse::<jiff::Timestamp>().is_ok() {
                format!("TIME{tail}")
            } else if bare.len() >= 32 && bare.bytes().all(|b| b.is_ascii_hexdigit()) {
                format!("SERIAL{tail}")
            } else {
                word.to_owned()
            }
        })
        .collect()
}

fn start(text: &str, certificate: &str) -> Host {
    let mut host = Host::new();
    host.write("issuer.yaml", text);
    host.write("web.yaml", certificate);
    host.start();
    host
}

fn web(more: &str) -> String {
    certificate_yaml("web", more)
}

/// What a CA with this fault makes of an enrolment.
fn fault_on_enrolment(fault: &str, reason: &str) -> String {
    let ca = Ca::start("{}");
    ca.arm(&format!(r#"{{{fault},"request":"cr"}}"#));
    let host = start(&issuer_yaml(&ca, SECRET, ""), &web(""));
    told(&host, "Certificate", "web", reason)
}

/// What `occm verify` says about a file.
fn verified(name: &str, bytes: &[u8]) -> String {
    let host = Host::new();
    std::fs::write(host.path().join(name), bytes).unwrap();
    verify(&host)
}

fn verify(host: &Host) -> String {
    let output = occm(&["--log-level", "off", "verify", host.path().to_str().unwrap()]);
    assert!(!output.status.success());
    let text = [output.stdout, output.stderr].concat();
    without_chance(host, &String::from_utf8_lossy(&text))
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

// -- Files --------------------------------------------------------------------------------------------------------

#[test]
fn broken_yaml() {
    let good = web("");
    let texts = [
        ("an open quote", good.replace("commonName: ", "commonName: \"")),
        ("an open bracket", good.replace("[web.example]", "[web.example")),
        ("a tab", good.replace("  commonName", "\tcommonName")),
        ("no kind", good.replace("kind: Certificate\n", "")),
        (
            "an unknown kind",
            good.replace("kind: Certificate", "kind: Certifikate"),
        ),
        ("an unknown version", good.replace("v1alpha1", "v9")),
        ("no name", good.replace("{name: web}", "{}")),
        ("a bad name", good.replace("{name: web}", "{name: Web_1}")),
    ];
    let told = texts.map(|(what, text)| format!("# {what}\n{}", verified("web.yaml", text.as_bytes())));
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn a_wrong_field() {
    let texts = [
        ("an unknown field", web("  dnsName: web.example\n")),
        ("a number for a text", web("  duration: 90\n")),
        (
            "a text for a list",
            web("").replace("[web.example]", "web.example"),
        ),
        ("an unknown word", web("  onDrift: Ignore\n")),
        ("no duration", web("  duration: ninety days\n")),
        ("a key size", web("  privateKey: {algorithm: RSA, size: 1024}\n")),
        (
            "no DNS name",
            web("").replace("[web.example]", "[\"not a name\"]"),
        ),
        ("no address", web("  ipAddresses: [192.0.2.999]\n")),
        ("an unknown usage", web("  usages: [world domination]\n")),
        (
            "renewal after the end",
            web("  duration: 1h\n  renewBefore: 2h\n"),
        ),
    ];
    let told = texts.map(|(what, text)| format!("# {what}\n{}", verified("web.yaml", text.as_bytes())));
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn a_file_that_is_no_text() {
    let folder = Host::new();
    std::fs::create_dir(folder.path().join("web.yaml")).unwrap();
    let nowhere = Host::new();
    std::os::unix::fs::symlink("gone", nowhere.path().join("web.yaml")).unwrap();
    let told = [
        format!(
            "# not UTF-8\n{}",
            verified("web.yaml", b"kind: Certificate\nname: \xff\n")
        ),
        format!(
            "# larger than allowed\n{}",
            verified("web.yaml", &vec![b'#'; 1024 * 1024 + 1])
        ),
        format!("# a folder\n{}", verify(&folder)),
        format!("# a symlink to nowhere\n{}", verify(&nowhere)),
    ];
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn a_file_that_somebody_else_owns() {
    if !is_root() {
        println!("skipped: only root can give files away");
        return;
    }
    let ca = Ca::start("{}");
    let mut host = Host::with_issuer(&ca, "");
    host.write("web.yaml", &web(""));
    let folder = host.path().join("secrets/default/web-tls");
    std::fs::create_dir_all(&folder).unwrap();
    std::os::unix::fs::chown(&folder, Some(12345), None).unwrap();
    host.start();
    insta::assert_snapshot!(told(&host, "Certificate", "web", "ForeignSecret"));
    std::fs::remove_dir(&folder).unwrap();
    host.wait_ready_file("Certificate", "web");
    // Given away later: it cannot be put back, and says why.
    host.kill();
    std::fs::write(host.output("web-tls", "tls.crt"), "spoilt").unwrap();
    std::os::unix::fs::chown(&folder, Some(12345), None).unwrap();
    host.start();
    insta::assert_snapshot!(
        "an_output_that_was_given_away",
        told(&host, "Certificate", "web", "NoAccess")
    );
    let log = host.log_text();
    let line = log
        .lines()
        .find(|line| line.contains("output may not be written"));
    insta::assert_snapshot!(
        "the_log_of_an_output_that_was_given_away",
        without_chance(&host, &plain(line.unwrap()))
    );
}

#[test]
fn a_full_disk() {
    let ca = Ca::start("{}");
    let folder = tempfile::tempdir().unwrap();
    let _mount = Mount(folder.path().to_owned());
    let mut host = Host::on(folder);
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"])
        .arg(host.path())
        .output()
        .is_ok_and(|output| output.status.success());
    if !mounted {
        println!("skipped: a small file system can be mounted by root only (mount -t tmpfs)");
        return;
    }
    host.write("issuer.yaml", &issuer_yaml(&ca, SECRET, ""));
    host.write("web.yaml", &web(""));
    host.start();
    host.wait_ready_file("Certificate", "web");
    let before = host.read("web-tls", "tls.key").unwrap();
    // Space for nothing: one byte after the other until the disk is full.
    let filler = host.path().join("filler");
    let mut size = 256 * 1024;
    while size > 0 {
        let mut bytes = std::fs::read(&filler).unwrap_or_default();
        let known = bytes.len();
        bytes.resize(known + size, 0);
        if std::fs::write(&filler, &bytes).is_err() {
            let written = std::fs::metadata(&filler).map_or(0, |facts| facts.len());
            if usize::try_from(written).unwrap() < known {
                std::fs::write(&filler, &bytes[..known]).unwrap();
            }
            size /= 2;
        }
    }
    std::fs::remove_file(host.output("web-tls", "tls.key")).unwrap();
    let line = wait_for("the trouble in the log", || {
        let log = host.log_text();
        let line = log
            .lines()
            .find(|line| line.contains("WARN") && line.contains("no space left"));
        line.map(ToOwned::to_owned)
    });
    insta::assert_snapshot!(without_chance(&host, &plain(&line)));
    std::fs::remove_file(&filler).unwrap();
    wait_for("the same key again", || {
        host.read("web-tls", "tls.key").filter(|now| *now == before)
    });
}

/// A small file system on the directory of a test, gone with it.
struct Mount(std::path::PathBuf);

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily: the manager may still have it open when a test fails.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// A log line without time, colours and names of temporary files.
fn plain(line: &str) -> String {
    let mut text = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once('\u{1b}') {
        text.push_str(before);
        rest = after.split_once('m').map_or("", |(_, after)| after);
    }
    text.push_str(rest);
    let text = text
        .split_once(' ')
        .map_or("", |(_, rest)| rest)
        .trim()
        .to_owned();
    let words = text
        .split(' ')
        .map(|word| if word.contains("..occm-") { "FILE" } else { word });
    words.collect::<Vec<_>>().join(" ")
}

// -- Wishes and Issuers -------------------------------------------------------------------------------------------

#[test]
fn invalid_spec() {
    let ca = Ca::start("{}");
    let wrong = "  privateKey: {algorithm: RSA, size: 1024}\n  ipAddresses: [nowhere]\n";
    let host = start(&issuer_yaml(&ca, SECRET, ""), &web(wrong));
    insta::assert_snapshot!(told(&host, "Certificate", "web", "InvalidSpec"));
}

#[test]
fn issuer_not_found() {
    let host = start("", &web(""));
    insta::assert_snapshot!(told(&host, "Certificate", "web", "IssuerNotFound"));
}

#[test]
fn issuer_not_allowed() {
    let ca = Ca::start("{}");
    let issuer = issuer_yaml(&ca, SECRET, "  allowedNamespaces: [team]\n")
        .replace("metadata: {name: ", "metadata: {namespace: shared, name: ");
    let certificate = web("").replace(
        "issuerRef: {name: ca}",
        "issuerRef: {name: ca, namespace: shared}",
    );
    let mut host = Host::new();
    host.write("issuer.yaml", &issuer);
    host.write("web.yaml", &certificate);
    host.start_with(Command::new(BIN).env("OCCM_NAMESPACE", "shared"));
    insta::assert_snapshot!(told(&host, "Certificate", "web", "IssuerNotAllowed"));
}

#[test]
fn issuer_invalid() {
    let ca = Ca::start("{}");
    let host = start(
        &issuer_yaml(&ca, SECRET, "").replace("http://", "ftp://"),
        &web(""),
    );
    insta::assert_snapshot!(told(&host, "Issuer", "ca", "IssuerInvalid"));
}

#[test]
fn input_missing() {
    let ca = Ca::start("{}");
    let good = issuer_yaml(&ca, SECRET, "");
    let host = start(
        &good.replace("secretRef: {name: mac", "secretRef: {name: nobody"),
        &web(""),
    );
    insta::assert_snapshot!(told(&host, "Issuer", "ca", "InputMissing"));
    let host = start(&good.replace("key: ca.pem}", "key: root.pem}"), &web(""));
    insta::assert_snapshot!(
        "input_without_the_key",
        told(&host, "Issuer", "ca", "InputMissing")
    );
}

#[test]
fn input_invalid() {
    let ca = Ca::start("{}");
    let good = issuer_yaml(&ca, SECRET, "");
    let host = start(&good.replace("CERTIFICATE", "NONSENSE"), &web(""));
    insta::assert_snapshot!(
        "an_unreadable_trust_store",
        told(&host, "Issuer", "ca", "InputInvalid")
    );
    let host = start(&good.replace(&format!("\"{SECRET}\""), "\"\""), &web(""));
    insta::assert_snapshot!("an_empty_secret", told(&host, "Issuer", "ca", "InputInvalid"));
}

#[test]
fn engine_unavailable() {
    let ca = Ca::start("{}");
    let mut host = Host::with_issuer(&ca, "  engine: OpenSSL\n");
    host.write("web.yaml", &web(""));
    host.start_with(Command::new(BIN).env("OCCM_OPENSSL", "/nowhere/openssl"));
    insta::assert_snapshot!(told(&host, "Issuer", "ca", "EngineUnavailable"));
}

#[test]
fn issuer_not_ready() {
    let mut ca = Ca::start("{}");
    let issuer = issuer_yaml(&ca, SECRET, "");
    ca.stop();
    let host = start(&issuer, &web(""));
    told(&host, "Issuer", "ca", "Unreachable");
    insta::assert_snapshot!(told(&host, "Certificate", "web", "IssuerNotReady"));
}

#[test]
fn identity_late() {
    // Renewed at 12 s, tried again at about 17 s, late from 16 s on.
    let mut ca = Ca::start(r#"{"maxValiditySeconds":24}"#);
    let host = start(&issuer_yaml(&ca, SECRET, ""), "");
    host.wait_ready_file("Issuer", "ca");
    ca.stop();
    insta::assert_snapshot!(only_ready(&told(&host, "Issuer", "ca", "IdentityLate")));
}

// -- The CA -------------------------------------------------------------------------------------------------------

#[test]
fn rejected() {
    let text = fault_on_enrolment(r#""fault":"reject","failure":2,"text":"not for you""#, "Rejected");
    insta::assert_snapshot!(text);
}

#[test]
fn a_wrong_shared_secret() {
    let ca = Ca::start("{}");
    let host = start(&issuer_yaml(&ca, "wrong", ""), &web(""));
    insta::assert_snapshot!(told(&host, "Issuer", "ca", "Rejected"));
}

#[test]
fn untrusted() {
    insta::assert_snapshot!(fault_on_enrolment(r#""fault":"other-key""#, "Untrusted"));
}

#[test]
fn misconfigured() {
    let text = fault_on_enrolment(r#""fault":"http-error","status":404"#, "Misconfigured");
    insta::assert_snapshot!(text);
}

#[test]
fn unavailable() {
    let text = fault_on_enrolment(
        r#""fault":"reject","failure":24,"text":"come back""#,
        "Unavailable",
    );
    insta::assert_snapshot!(text);
}

#[test]
fn pending() {
    insta::assert_snapshot!(fault_on_enrolment(r#""fault":"endless-waiting""#, "Pending"));
}

#[test]
fn unreachable() {
    let mut ca = Ca::start("{}");
    let issuer = issuer_yaml(&ca, SECRET, "");
    ca.stop();
    let host = start(&issuer, &web(""));
    insta::assert_snapshot!(told(&host, "Issuer", "ca", "Unreachable"));
}

#[test]
fn budget_exhausted() {
    let ca = Ca::start("{}");
    let host = start(&issuer_yaml(&ca, SECRET, ""), &web(""));
    for revision in 1..=6 {
        host.wait_revision("web", revision);
        host.write(
            "web.yaml",
            &web(&format!("  ipAddresses: [192.0.2.{revision}]\n")),
        );
    }
    insta::assert_snapshot!(told(&host, "Certificate", "web", "BudgetExhausted"));
}

#[test]
fn short_lived() {
    let ca = Ca::start(r#"{"maxValiditySeconds":600}"#);
    let host = start(
        &issuer_yaml(&ca, SECRET, ""),
        &web("  duration: 2h\n  renewBefore: 1h\n"),
    );
    insta::assert_snapshot!(told(&host, "Certificate", "web", "ShortLived"));
}

#[test]
fn expired() {
    let mut ca = Ca::start(r#"{"maxValiditySeconds":5}"#);
    let host = start(&issuer_yaml(&ca, SECRET, ""), &web(""));
    host.wait_ready_file("Certificate", "web");
    ca.stop();
    insta::assert_snapshot!(only_ready(&told(&host, "Certificate", "web", "Expired")));
}

#[test]
fn circuit_open() {
    let mut ca = Ca::start("{}");
    let host = Host::with_issuer(&ca, "");
    let mut host = host;
    host.start();
    host.wait_ready_file("Issuer", "ca");
    ca.stop();
    // More failures than the breaker bears, by others.
    for name in ["a", "b", "c", "d", "e", "f"] {
        host.write(&format!("{name}.yaml"), &certificate_yaml(name, ""));
        wait_for("an attempt", || {
            host.log_text().contains(&format!("default/{name}")).then_some(())
        });
    }
    host.write("web.yaml", &web(""));
    insta::assert_snapshot!(told(&host, "Certificate", "web", "CircuitOpen"));
}

#[test]
fn clock_skew() {
    let ca = Ca::start(r#"{"maxValiditySeconds":12}"#);
    let host = start(&issuer_yaml(&ca, SECRET, ""), &web(""));
    host.wait_ready_file("Certificate", "web");
    ca.arm(r#"{"fault":"clock-skew","seconds":7200}"#);
    // The CA's clock is seen by an exchange for a reason that has nothing to do with time.
    host.write("other.yaml", &certificate_yaml("other", ""));
    let other = told(&host, "Certificate", "other", "Misconfigured").replace("7199 s", "7200 s");
    insta::assert_snapshot!("a_wrong_clock", other.replace("7201 s", "7200 s"));
    insta::assert_snapshot!(told(&host, "Certificate", "web", "ClockSkew"));
}

/// The warning with this reason in the file of Events, and what the status counts.
fn event(host: &Host, name: &str, reason: &str, counter: &str) -> String {
    let text = wait_for(&format!("Event {reason}"), || {
        let all = std::fs::read_to_string(host.path().join(".occm/events.jsonl")).ok()?;
        let line = all.lines().find(|line| line.contains(&format!("\"{reason}\"")))?;
        let event: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(event["message"].as_str()?.to_owned())
    });
    let counted = wait_for(counter, || {
        let status = host.status_file("Certificate", name);
        let line = status.lines().find(|line| line.starts_with(counter))?;
        Some(line.to_owned())
    });
    without_chance(host, &format!("{reason}: {text}\n{counted}"))
}

#[test]
fn possible_orphan() {
    let ca = Ca::start("{}");
    ca.arm(r#"{"fault":"drop-answer","request":"cr","times":2}"#);
    let host = start(
        &issuer_yaml(&ca, SECRET, "  requests: {resendWindow: 0s}\n"),
        &web(""),
    );
    insta::assert_snapshot!(event(&host, "web", "PossibleOrphan", "possibleOrphans:"));
}

#[test]
fn a_refusal_to_be_asked_again_is_no_answer_and_a_refusal_of_the_request_is_one() {
    let refused = |polls: u8, failure: u8| {
        let policy = format!(r#"{{"polls":{{"cr":{polls}}},"checkAfterSeconds":1}}"#);
        let ca = Ca::start(&policy);
        ca.arm(&format!(
            r#"{{"fault":"reject","failure":{failure},"request":"pollreq","times":1}}"#
        ));
        let host = start(&issuer_yaml(&ca, SECRET, ""), &web(""));
        told(&host, "Certificate", "web", "Rejected");
        host.status_file("Certificate", "web")
    };
    let (bad_time, bad_template) = (3, 19);
    let (asked, granted) = (refused(5, bad_time), refused(1, bad_template));
    assert!(asked.contains("possibleOrphans: 1"), "{asked}");
    assert!(!granted.contains("possibleOrphans"), "{granted}");
}

#[test]
fn orphaned() {
    let ca = Ca::start("{}");
    ca.arm(r#"{"fault":"reject","failure":2,"text":"too late","request":"certconf","skip":1}"#);
    let host = start(&issuer_yaml(&ca, SECRET, ""), &web(""));
    insta::assert_snapshot!(event(&host, "web", "Orphaned", "orphans:"));
}

// -- Outputs ------------------------------------------------------------------------------------------------------

fn foreign(existing: &str, reason: &str) -> String {
    let ca = Ca::start("{}");
    let mut host = Host::with_issuer(&ca, "");
    host.write("web.yaml", &web(existing));
    let folder = host.path().join("secrets/default/web-tls");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("tls.key"), "somebody's").unwrap();
    std::fs::write(folder.join("tls.crt"), "somebody's").unwrap();
    host.start();
    let text = told(&host, "Certificate", "web", reason);
    assert_eq!(std::fs::read(folder.join("tls.key")).unwrap(), b"somebody's");
    text
}

#[test]
fn foreign_secret() {
    insta::assert_snapshot!(foreign("", "ForeignSecret"));
}

#[test]
fn adopt_refused() {
    insta::assert_snapshot!(foreign("  existing: Adopt\n", "AdoptRefused"));
}

#[test]
fn owned_by_another() {
    let ca = Ca::start("{}");
    let host = start(&issuer_yaml(&ca, SECRET, ""), &certificate_yaml("first", ""));
    host.wait_ready_file("Certificate", "first");
    let before = host.read("first-tls", "tls.key");
    host.write("web.yaml", &web("").replace("web-tls", "first-tls"));
    insta::assert_snapshot!(told(&host, "Certificate", "web", "OwnedByAnother"));
    assert_eq!(host.read("first-tls", "tls.key"), before);
}

#[test]
fn wrong_secret_type() {
    let ca = Ca::start("{}");
    let host = start(&issuer_yaml(&ca, SECRET, ""), &certificate_yaml("first", ""));
    host.wait_ready_file("Certificate", "first");
    let output = "  outputs:\n  - secret: {name: first-tls, type: Opaque}\n    keys: {web.key: {part: Key}, web.crt: \
                  {part: Certificate}}\n";
    host.write("web.yaml", &web(output).replace("  secretName: web-tls\n", ""));
    insta::assert_snapshot!(told(&host, "Certificate", "web", "WrongSecretType"));
}

#[test]
fn fighting() {
    let ca = Ca::start("{}");
    let host = start(&issuer_yaml(&ca, SECRET, ""), &web(""));
    host.wait_ready_file("Certificate", "web");
    let good = host.wait_output("web-tls", "tls.crt");
    for round in 0..12 {
        if host.status_file("Certificate", "web").contains("Fighting") {
            break;
        }
        std::fs::write(host.output("web-tls", "tls.crt"), format!("{round}")).unwrap();
        wait_for("a repair or the end of them", || {
            let over = host.status_file("Certificate", "web").contains("Fighting");
            (over || host.read("web-tls", "tls.crt").as_ref() == Some(&good)).then_some(())
        });
    }
    insta::assert_snapshot!(told(&host, "Certificate", "web", "Fighting"));
}

#[test]
fn drift_reported() {
    let ca = Ca::start("{}");
    let host = start(&issuer_yaml(&ca, SECRET, ""), &web("  onDrift: Alert\n"));
    host.wait_ready_file("Certificate", "web");
    std::fs::write(host.output("web-tls", "tls.crt"), "changed").unwrap();
    insta::assert_snapshot!(told(&host, "Certificate", "web", "DriftReported"));
}

#[test]
fn record_unreadable() {
    let ca = Ca::start("{}");
    let mut host = start(&issuer_yaml(&ca, SECRET, ""), &web(""));
    host.wait_ready_file("Certificate", "web");
    host.kill();
    let path = host.path().join(".occm/records/default/occm-record-web");
    let mut record: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    record["version"] = 99.into();
    std::fs::write(&path, serde_json::to_vec(&record).unwrap()).unwrap();
    host.write("web.yaml", &web("  ipAddresses: [192.0.2.9]\n"));
    host.start();
    insta::assert_snapshot!(told(&host, "Certificate", "web", "RecordUnreadable"));
}

// -- All of them --------------------------------------------------------------------------------------------------

/// Where people are shown what a reason looks like.
enum Shown {
    /// In this committed snapshot of this file.
    Snapshot(&'static str),
    /// Nothing is wrong with an object that has it.
    Fine,
    /// It cannot happen on a host: a directory has no namespaces that are being deleted.
    Kubernetes,
}

fn shown(reason: Reason) -> Shown {
    use Shown::{Fine, Kubernetes, Snapshot};
    match reason {
        Reason::Missing
        | Reason::WishChanged
        | Reason::IssuerChanged
        | Reason::RenewalDue
        | Reason::RenewRequested
        | Reason::RecreateRequested
        | Reason::RevokeRequested
        | Reason::Reissue
        | Reason::Issued
        | Reason::Renewed
        | Reason::Revoked
        | Reason::UpToDate
        | Reason::OutputDeleted
        | Reason::OutputChanged
        | Reason::OutputMissing
        | Reason::OutputOutdated
        | Reason::Restored
        | Reason::Adopted
        | Reason::Issuing
        | Reason::Ready
        | Reason::IdentityPending
        | Reason::IdentityReady
        | Reason::NoIdentity
        | Reason::Deleting => Fine,
        Reason::NamespaceTerminating => Kubernetes,
        Reason::Expired => Snapshot("expired"),
        Reason::ForeignSecret => Snapshot("foreign_secret"),
        Reason::OwnedByAnother => Snapshot("owned_by_another"),
        Reason::WrongSecretType => Snapshot("wrong_secret_type"),
        Reason::Fighting => Snapshot("fighting"),
        Reason::DriftReported => Snapshot("drift_reported"),
        Reason::NoAccess => Snapshot("an_output_that_was_given_away"),
        Reason::AdoptRefused => Snapshot("adopt_refused"),
        Reason::InvalidSpec => Snapshot("invalid_spec"),
        Reason::IssuerNotFound => Snapshot("issuer_not_found"),
        Reason::IssuerNotAllowed => Snapshot("issuer_not_allowed"),
        Reason::IssuerInvalid => Snapshot("issuer_invalid"),
        Reason::IssuerNotReady => Snapshot("issuer_not_ready"),
        Reason::InputMissing => Snapshot("input_missing"),
        Reason::InputInvalid => Snapshot("an_unreadable_trust_store"),
        Reason::BudgetExhausted => Snapshot("budget_exhausted"),
        Reason::BackingOff => Snapshot("rejected"),
        Reason::CircuitOpen => Snapshot("circuit_open"),
        Reason::ClockSkew => Snapshot("clock_skew"),
        Reason::Pending => Snapshot("pending"),
        Reason::ShortLived => Snapshot("short_lived"),
        Reason::RecordUnreadable => Snapshot("record_unreadable"),
        Reason::Unreachable => Snapshot("unreachable"),
        Reason::Unavailable => Snapshot("unavailable"),
        Reason::Rejected => Snapshot("rejected"),
        Reason::Untrusted => Snapshot("untrusted"),
        Reason::Misconfigured => Snapshot("misconfigured"),
        Reason::PossibleOrphan => Snapshot("possible_orphan"),
        Reason::Orphaned => Snapshot("orphaned"),
        Reason::StoreFailed => Snapshot("a_full_disk"),
        Reason::EngineUnavailable => Snapshot("engine_unavailable"),
        Reason::IdentityLate => Snapshot("identity_late"),
    }
}

#[test]
fn every_reason_that_something_is_wrong_has_a_snapshot_with_its_word() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    for reason in Reason::ALL.iter().copied() {
        match shown(reason) {
            Shown::Fine | Shown::Kubernetes => {}
            Shown::Snapshot(name) => {
                let file = folder.join(format!("snapshots/host_errors__{name}.snap"));
                let text = std::fs::read_to_string(&file)
                    .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
                assert!(text.contains(reason.as_str()), "{}: no {reason}", file.display());
            }
        }
    }
}
