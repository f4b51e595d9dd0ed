//! The metric families. Every name and label is here; docs/user/metrics.md lists them.

use jiff::Timestamp;

use crate::model::object::ObjectKey;
use crate::observe::counters::{BOUNDS, Counters, Exchanges};
use crate::observe::text::Page;
use crate::observe::{Calls, process};
use crate::reconcile::snapshot::{CertificateFacts, IssuerFacts, Snapshot};

/// All families as text.
pub(super) fn render(
    leads: bool,
    snapshot: Option<&Snapshot>,
    calls: Option<Calls>,
    counters: &Counters,
) -> String {
    let mut page = Page::default();
    of_process(&mut page, leads, calls, counters);
    if let Some(snapshot) = snapshot {
        of_manager(&mut page, snapshot);
        of_certificates(&mut page, &snapshot.certificates, counters);
        of_issuers(&mut page, &snapshot.issuers, counters);
    }
    page.into_text()
}

fn of_process(page: &mut Page, leads: bool, calls: Option<Calls>, counters: &Counters) {
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    page.family(
        "occm_build_info",
        "gauge",
        "Always 1; the label tells the version.",
    )
    .sample(&version, 1.0);
    page.single(
        "occm_leader",
        "gauge",
        "Whether this process manages: it holds the Lease, or its directory.",
        flag(leads),
    );
    page.single(
        "occm_terms_total",
        "counter",
        "How often this process began to manage.",
        number(counters.terms),
    );
    if let Some(calls) = calls {
        page.single(
            "occm_store_calls_total",
            "counter",
            "Requests sent to the API server, watches included.",
            number(calls.sent),
        );
        page.single(
            "occm_store_dropped_events_total",
            "counter",
            "Events that were not sent because too many waited.",
            number(calls.dropped_events),
        );
    }
    let mut events = page.family(
        "occm_events_total",
        "counter",
        "What happened to objects, by reason.",
    );
    for (reason, count) in &counters.events {
        events.sample(&[("reason", reason.as_str())], number(*count));
    }
    if let Some(process) = process::now() {
        page.single(
            "process_resident_memory_bytes",
            "gauge",
            "Memory in use, in bytes.",
            process.resident,
        );
        page.single(
            "process_cpu_seconds_total",
            "counter",
            "Processor time used, in seconds.",
            process.cpu,
        );
    }
}

fn of_manager(page: &mut Page, snapshot: &Snapshot) {
    let synced = "Whether everything that exists is known.";
    page.single("occm_synced", "gauge", synced, flag(snapshot.synced));
    let queued = "Objects that wait for a look, most of them for a time to come.";
    page.single("occm_queue_length", "gauge", queued, size(snapshot.queued));
    let due = "Objects whose look is due and has not begun.";
    page.single("occm_queue_due", "gauge", due, size(snapshot.due));
    let looks = "Looks that are going on.";
    page.single("occm_looks", "gauge", looks, size(snapshot.looks));
    if let Some(offset) = snapshot.clock_offset {
        let help = "How far the clock of the API server is ahead of ours, in seconds.";
        page.single("occm_clock_offset_seconds", "gauge", help, offset.as_secs_f64());
    }
}

/// A gauge for each Certificate that has the value.
struct OfCertificate {
    name: &'static str,
    help: &'static str,
    value: fn(&CertificateFacts) -> Option<f64>,
}

const OF_CERTIFICATES: [OfCertificate; 9] = [
    OfCertificate {
        name: "occm_certificate_not_before_timestamp_seconds",
        help: "Start of life of the certificate in use.",
        value: |facts| facts.not_before.map(stamp),
    },
    OfCertificate {
        name: "occm_certificate_expiry_timestamp_seconds",
        help: "End of life of the certificate in use.",
        value: |facts| facts.not_after.map(stamp),
    },
    OfCertificate {
        name: "occm_certificate_renewal_timestamp_seconds",
        help: "When the certificate in use is renewed.",
        value: |facts| facts.renewal.map(stamp),
    },
    OfCertificate {
        name: "occm_certificate_revision",
        help: "How many certificates were issued for this object.",
        value: |facts| Some(number(facts.counts.revision)),
    },
    OfCertificate {
        name: "occm_certificate_outputs_out_of_sync",
        help: "Outputs that drifted and were not put back.",
        value: |facts| Some(size(facts.outputs_out_of_sync)),
    },
    OfCertificate {
        name: "occm_certificate_orphans",
        help: "Certificates that were issued and could not be used.",
        value: |facts| Some(number(facts.counts.orphans)),
    },
    OfCertificate {
        name: "occm_certificate_possible_orphans",
        help: "Requests that may have been issued without our knowing.",
        value: |facts| Some(number(facts.counts.possible_orphans)),
    },
    OfCertificate {
        name: "occm_certificate_daily_budget",
        help: "Transactions a day that this object may take.",
        value: |facts| u32::try_from(facts.daily_budget).ok().map(f64::from),
    },
    OfCertificate {
        name: "occm_certificate_daily_budget_used",
        help: "Transactions of the last day.",
        value: |facts| Some(size(facts.counts.transactions)),
    },
];

fn of_certificates(page: &mut Page, all: &[CertificateFacts], counters: &Counters) {
    let help = "Whether all outputs carry a good certificate.";
    let mut ready = page.family("occm_certificate_ready", "gauge", help);
    for facts in all {
        let [namespace, name] = labels(&facts.key);
        let (of, issuer) = facts.issuer.as_ref().map_or(("", ""), |issuer| {
            (issuer.namespace.as_str(), issuer.name.as_str())
        });
        let issuer = [("issuer_namespace", of), ("issuer", issuer)];
        ready.sample(&[namespace, name, issuer[0], issuer[1]], flag(facts.ready));
    }
    for gauge in &OF_CERTIFICATES {
        let mut family = page.family(gauge.name, "gauge", gauge.help);
        for facts in all {
            if let Some(value) = (gauge.value)(facts) {
                family.sample(&labels(&facts.key), value);
            }
        }
    }
    let help = "1 while the last attempt failed, with its reason.";
    let mut failing = page.family("occm_certificate_failing", "gauge", help);
    for facts in all {
        if let Some(reason) = facts.counts.failing {
            let [namespace, name] = labels(&facts.key);
            failing.sample(&[namespace, name, ("reason", reason.as_str())], 1.0);
        }
    }
    let help = "Outputs put back with the same bytes since this process began.";
    let mut repairs = page.family("occm_certificate_repairs_total", "counter", help);
    for facts in all {
        let count = counters.repairs.get(&facts.key).copied().unwrap_or_default();
        repairs.sample(&labels(&facts.key), number(count));
    }
}

/// A gauge for each Issuer that has the value.
struct OfIssuer {
    name: &'static str,
    help: &'static str,
    value: fn(&IssuerFacts) -> Option<f64>,
}

const OF_ISSUERS: [OfIssuer; 7] = [
    OfIssuer {
        name: "occm_issuer_ready",
        help: "Whether certificates can be had from it.",
        value: |facts| Some(flag(facts.ready)),
    },
    OfIssuer {
        name: "occm_issuer_reachable",
        help: "Whether the CA answered last time.",
        value: |facts| Some(flag(facts.reachable)),
    },
    OfIssuer {
        name: "occm_issuer_last_contact_timestamp_seconds",
        help: "When the CA last answered.",
        value: |facts| facts.last_contact.map(stamp),
    },
    OfIssuer {
        name: "occm_issuer_identity_expiry_timestamp_seconds",
        help: "End of life of its CMP identity.",
        value: |facts| facts.identity_not_after.map(stamp),
    },
    OfIssuer {
        name: "occm_issuer_identity_renewal_timestamp_seconds",
        help: "When its CMP identity is renewed.",
        value: |facts| facts.identity_renewal.map(stamp),
    },
    OfIssuer {
        name: "occm_issuer_identity_orphans",
        help: "Certificates for its CMP identity that were issued and could not be used.",
        value: |facts| Some(number(facts.counts.orphans)),
    },
    OfIssuer {
        name: "occm_issuer_identity_possible_orphans",
        help: "Requests for its CMP identity that may have been issued without our knowing.",
        value: |facts| Some(number(facts.counts.possible_orphans)),
    },
];

fn of_issuers(page: &mut Page, all: &[IssuerFacts], counters: &Counters) {
    for gauge in &OF_ISSUERS {
        let mut family = page.family(gauge.name, "gauge", gauge.help);
        for facts in all {
            if let Some(value) = (gauge.value)(facts) {
                family.sample(&labels(&facts.key), value);
            }
        }
    }
    let none = Exchanges::default();
    let exchanges = |facts: &IssuerFacts| counters.exchanges.get(&facts.key).unwrap_or(&none);
    let help = "Certificates issued since this process began.";
    let mut issued = page.family("occm_issuer_issuances_total", "counter", help);
    for facts in all {
        issued.sample(&labels(&facts.key), number(exchanges(facts).issued));
    }
    let help = "Exchanges that ended without a certificate since this process began, by reason.";
    let mut failed = page.family("occm_issuer_failures_total", "counter", help);
    for facts in all {
        let [namespace, name] = labels(&facts.key);
        for (reason, count) in &exchanges(facts).failed {
            failed.sample(&[namespace, name, ("reason", reason.as_str())], number(*count));
        }
    }
    let help = "How long exchanges took, from the first message to the certificate.";
    let mut took = page.family("occm_issuer_exchange_duration_seconds", "histogram", help);
    for facts in all {
        let [namespace, name] = labels(&facts.key);
        let histogram = &exchanges(facts).took;
        let mut below = 0;
        for (bound, count) in BOUNDS.iter().zip(histogram.buckets) {
            below += count;
            took.sample_of(
                "_bucket",
                &[namespace, name, ("le", &bound.to_string())],
                number(below),
            );
        }
        took.sample_of(
            "_bucket",
            &[namespace, name, ("le", "+Inf")],
            number(histogram.count),
        );
        took.sample_of("_sum", &[namespace, name], histogram.sum);
        took.sample_of("_count", &[namespace, name], number(histogram.count));
    }
}

fn labels(key: &ObjectKey) -> [(&str, &str); 2] {
    [("namespace", &key.namespace), ("name", &key.name)]
}

fn flag(is: bool) -> f64 {
    if is { 1.0 } else { 0.0 }
}

fn stamp(time: Timestamp) -> f64 {
    time.as_duration().as_secs_f64()
}

/// Counts beyond 2^53 lose their last digits, which nobody sees.
fn number(count: u64) -> f64 {
    count as f64
}

fn size(count: usize) -> f64 {
    count as f64
}
