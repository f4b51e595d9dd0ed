use super::*;
use crate::store::Severity;

fn key(name: &str) -> ObjectKey {
    ObjectKey::new("a", name)
}

fn restored(name: &str) -> Event {
    Event {
        kind: Kind::Certificate,
        object: key(name),
        uid: None,
        severity: Severity::Normal,
        reason: Reason::Restored,
        message: String::new(),
        time: jiff::Timestamp::UNIX_EPOCH,
    }
}

#[test]
fn who_waits_is_ready_while_it_hears_of_the_lease_and_tells_of_no_object() {
    let waits = |in_touch| Observe::new(move || Standing::Waits { in_touch });
    assert_eq!(waits(true).readiness(), Ok("waits for the Lease"));
    assert!(waits(false).readiness().is_err());
    let page = waits(true).metrics();
    assert!(page.contains("\noccm_leader 0\n"), "{page}");
    assert!(!page.contains("namespace="), "{page}");
}

#[test]
fn who_leads_is_ready_once_everything_is_known() {
    let observe = Observe::new(|| Standing::Leads);
    assert!(observe.readiness().is_err());
}

#[test]
fn what_was_counted_for_an_object_goes_with_it() {
    let mut counters = Counters::default();
    let took = SignedDuration::from_millis(30);
    counters.exchange(&key("ca"), Reason::Issued, took);
    counters.exchange(&key("ca"), Reason::Rejected, took);
    counters.exchange(&key("old"), Reason::Issued, took);
    counters.repairs.insert(key("web"), 2);
    counters.repairs.insert(key("gone"), 1);
    let (ca, web) = (key("ca"), key("web"));
    counters.keep(&BTreeSet::from([&ca]), &BTreeSet::from([&web]));
    assert_eq!(counters.exchanges.keys().collect::<Vec<_>>(), [&ca]);
    assert_eq!(counters.repairs.keys().collect::<Vec<_>>(), [&web]);
    let of_ca = &counters.exchanges[&ca];
    assert_eq!((of_ca.issued, of_ca.failed[&Reason::Rejected]), (1, 1));
    assert_eq!((of_ca.took.count, of_ca.took.buckets[2]), (2, 2));
}

#[test]
fn repairs_are_counted_by_certificate_and_events_by_reason() {
    let observe = Observe::new(|| Standing::Leads);
    observe.event(&restored("web"));
    observe.event(&restored("web"));
    assert_eq!(observe.counters().repairs[&key("web")], 2);
    assert!(
        observe
            .metrics()
            .contains("occm_events_total{reason=\"Restored\"} 2\n")
    );
}

#[test]
fn a_clock_that_goes_back_makes_no_negative_time() {
    let mut counters = Counters::default();
    counters.exchange(&key("ca"), Reason::Issued, SignedDuration::from_secs(-5));
    let took = &counters.exchanges[&key("ca")].took;
    assert!(took.sum.abs() < f64::EPSILON);
    assert_eq!(took.buckets[0], 1);
}

/// Every family there is.
fn everything() -> String {
    use crate::reconcile::snapshot::{CertificateFacts, Counts, IssuerFacts, Snapshot};
    let time = Some(jiff::Timestamp::UNIX_EPOCH);
    let counts = Counts {
        failing: Some(Reason::Rejected),
        ..Counts::default()
    };
    let issuer = IssuerFacts {
        key: key("ca"),
        ready: true,
        reachable: true,
        last_contact: time,
        identity_not_after: time,
        identity_renewal: time,
        counts,
    };
    let certificate = CertificateFacts {
        key: key("web"),
        issuer: Some(key("ca")),
        ready: true,
        outputs_out_of_sync: 0,
        not_before: time,
        not_after: time,
        renewal: time,
        daily_budget: 6,
        counts,
    };
    let snapshot = Snapshot {
        clock_offset: Some(SignedDuration::ZERO),
        issuers: vec![issuer],
        certificates: vec![certificate],
        ..Snapshot::default()
    };
    let mut counters = Counters::default();
    counters.exchange(&key("ca"), Reason::Rejected, SignedDuration::ZERO);
    counters.events.insert(Reason::Restored, 1);
    families::render(true, Some(&snapshot), Some(Calls::default()), &counters)
}

/// `UPDATE=1` writes the table.
#[test]
fn the_page_about_metrics_lists_every_family() {
    let text = everything();
    let mut table = "| Metric | Kind | More labels | Tells |\n| --- | --- | --- | --- |\n".to_owned();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) else {
            continue;
        };
        let kind = lines.next().and_then(|line| line.rsplit(' ').next()).unwrap();
        let sample = lines.peek().unwrap();
        let labels = sample.split_once('{').map_or("", |(_, labels)| labels);
        let more: Vec<&str> = labels
            .split(',')
            .filter_map(|label| Some(label.split_once('=')?.0))
            .filter(|label| !["namespace", "name", "le"].contains(label))
            .collect();
        table.push_str(&format!("| `{name}` | {kind} | {} | {help} |\n", more.join(", ")));
    }
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/user/metrics.md");
    let page = std::fs::read_to_string(&file).unwrap();
    let (before, rest) = page.split_once("<!-- metrics -->\n").unwrap();
    let (there, after) = rest.split_once("<!-- /metrics -->").unwrap();
    if std::env::var_os("UPDATE").is_some() {
        let page = format!("{before}<!-- metrics -->\n{table}<!-- /metrics -->{after}");
        std::fs::write(&file, page).unwrap();
        return;
    }
    assert!(
        there == table,
        "docs/user/metrics.md is stale: UPDATE=1 cargo test -p occm observe"
    );
}
