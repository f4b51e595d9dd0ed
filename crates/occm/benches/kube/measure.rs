//! CPU, memory and requests, from `/proc` and from the API server's own counters.

use std::collections::BTreeMap;

use crate::life::Bed;

/// CPU seconds used so far.
pub(crate) struct Usage {
    pub(crate) manager: f64,
    pub(crate) apiserver: f64,
    pub(crate) etcd: f64,
    pub(crate) ca: f64,
}

impl Usage {
    pub(crate) fn of(bed: &Bed) -> Self {
        Self {
            manager: bed.pid().map_or(0.0, cpu_seconds),
            apiserver: cpu_seconds(bed.cluster.pid("apiserver")),
            etcd: cpu_seconds(bed.cluster.pid("etcd")),
            ca: cpu_seconds(bed.ca.pid()),
        }
    }

    pub(crate) fn since(&self, before: &Self) -> Self {
        Self {
            manager: self.manager - before.manager,
            apiserver: self.apiserver - before.apiserver,
            etcd: self.etcd - before.etcd,
            ca: self.ca - before.ca,
        }
    }
}

/// CPU of a process, in seconds.
fn cpu_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let rest = stat.rsplit_once(')').unwrap().1;
    let ticks: f64 = rest
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|n| n.parse::<f64>().unwrap())
        .sum();
    // The kernel counts in hundredths of a second on every Linux that we know.
    ticks / 100.0
}

/// Memory of a process that stands in RAM.
pub(crate) fn rss_mib(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

/// Of sorted figures.
pub(crate) fn percentile(sorted: &[f64], part: f64) -> f64 {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let at = ((sorted.len() - 1) as f64 * part).round() as usize;
    sorted[at]
}

/// How many requests the API server has answered, by verb and resource, as it counts them itself.
pub(crate) struct Requests(BTreeMap<String, f64>);

/// The resources that a manager works with. Leases are told apart, controllers touch none of the others.
const RESOURCES: [&str; 5] = ["secrets", "configmaps", "certificates", "issuers", "events"];

impl Requests {
    pub(crate) async fn read(bed: &Bed) -> Self {
        let request = http::Request::get("/metrics").body(Vec::new()).unwrap();
        let page = bed.client.request_text(request).await.unwrap();
        let mut counts = BTreeMap::new();
        for line in page
            .lines()
            .filter(|line| line.starts_with("apiserver_request_total{"))
        {
            let label = |name: &str| {
                let rest = line.split(&format!("{name}=\"")).nth(1)?;
                rest.split('"').next()
            };
            let (Some(verb), Some(resource)) = (label("verb"), label("resource")) else {
                continue;
            };
            let group = label("group").unwrap_or_default();
            let expected = match resource {
                "events" => group == "events.k8s.io",
                "certificates" | "issuers" => group == "occm.dev",
                _ => group.is_empty(),
            };
            if !expected || !RESOURCES.contains(&resource) || matches!(verb, "WATCH" | "LIST") {
                continue;
            }
            let part = label("subresource").filter(|part| !part.is_empty());
            let what = part.map_or(resource.to_owned(), |part| format!("{resource}/{part}"));
            // What was refused is told apart.
            let code = label("code").unwrap_or_default();
            let refused = if code.starts_with('2') {
                String::new()
            } else {
                format!(" ({code})")
            };
            let number: f64 = line.rsplit(' ').next().unwrap().parse().unwrap();
            *counts.entry(format!("{verb} {what}{refused}")).or_default() += number;
        }
        Self(counts)
    }

    pub(crate) fn since(&self, before: &Self) -> Self {
        let more = self.0.iter().map(|(what, number)| {
            let known = before.0.get(what).copied().unwrap_or_default();
            (what.clone(), number - known)
        });
        Self(more.filter(|(_, number)| *number > 0.0).collect())
    }

    pub(crate) fn of(&self, what: &str) -> f64 {
        self.0.get(what).copied().unwrap_or_default()
    }

    /// All but the creates and deletes of this program.
    pub(crate) fn of_the_manager(&self) -> impl Iterator<Item = (&str, f64)> {
        let ours = |what: &str| what == "POST certificates" || what.starts_with("DELETE");
        let all = self.0.iter().filter(move |(what, _)| !ours(what));
        all.map(|(what, number)| (what.as_str(), *number))
    }

    /// Requests of the manager that write.
    pub(crate) fn written(&self) -> f64 {
        let writes = self.of_the_manager().filter(|(what, _)| !what.starts_with("GET"));
        writes
            .map(|(_, number)| number)
            .fold(0.0, |sum, number| sum + number)
    }
}
