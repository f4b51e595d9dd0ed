//! What the system says of this process.

/// Memory and processor time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Process {
    /// Memory in use, in bytes.
    pub(super) resident: f64,
    /// Processor time used, in seconds.
    pub(super) cpu: f64,
}

/// Of this process; none on a system without `/proc`.
pub(super) fn now() -> Option<Process> {
    parse(
        &std::fs::read_to_string("/proc/self/stat").ok()?,
        rustix::param::clock_ticks_per_second(),
        rustix::param::page_size(),
    )
}

/// proc(5): fields 14 and 15 are processor time in ticks, field 24 is pages in memory.
fn parse(stat: &str, ticks: u64, page: usize) -> Option<Process> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let field = |number: usize| rest.split_ascii_whitespace().nth(number - 3)?.parse::<f64>().ok();
    let ticks = u32::try_from(ticks).ok().filter(|ticks| *ticks > 0)?;
    let page = u32::try_from(page).ok()?;
    Some(Process {
        resident: field(24)? * f64::from(page),
        cpu: (field(14)? + field(15)?) / f64::from(ticks),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_processor_time_are_read_behind_a_name_with_brackets() {
        let line = "7 (a) b) S 3 7 7 0 -1 4 1 2 3 4 150 50 7 8 20 0 1 0 4711 9 10 11";
        let expected = Process {
            resident: 40_960.0,
            cpu: 2.0,
        };
        assert_eq!(parse(line, 100, 4096), Some(expected));
        assert!(now().is_some_and(|process| process.resident > 1e6));
    }
}
