//! Durations as people write them: Go style (`720h`, `1h30m`, `10.5s`) and whole days (`30d`).

use std::time::Duration;

/// What is allowed, for error messages.
pub const ALLOWED: &str = "a duration such as 720h, 90m, 1h30m or 30d";

/// Longest duration: 100 years.
const MAX_SECONDS: f64 = 100.0 * 365.25 * 86_400.0;

/// Parses a duration; the error says what is wrong.
pub fn parse(text: &str) -> Result<Duration, String> {
    if text.is_empty() {
        return Err("is empty".to_owned());
    }
    let mut rest = text;
    let mut seconds = 0.0_f64;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or("has no unit at its end")?;
        let (number, tail) = rest.split_at(digits);
        let number: f64 = number
            .parse()
            .map_err(|_| "is not a number followed by a unit".to_owned())?;
        let unit_end = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        seconds += number * unit_seconds(unit)?;
        rest = tail;
    }
    if seconds > MAX_SECONDS {
        return Err("is longer than 100 years".to_owned());
    }
    Ok(Duration::from_secs_f64(seconds))
}

fn unit_seconds(unit: &str) -> Result<f64, String> {
    Ok(match unit {
        "d" => 86_400.0,
        "h" => 3_600.0,
        "m" => 60.0,
        "s" => 1.0,
        "ms" => 0.001,
        _ => return Err(format!("has the unknown unit {unit:?}")),
    })
}

/// A duration in the shortest such form.
pub fn format(duration: Duration) -> String {
    let total = duration.as_secs();
    if total == 0 {
        return format!("{}ms", duration.as_millis());
    }
    let parts = [
        (total / 86_400, "d"),
        (total / 3_600 % 24, "h"),
        (total / 60 % 60, "m"),
        (total % 60, "s"),
    ];
    parts
        .iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, unit)| format!("{n}{unit}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_style_and_days_are_read() {
        for (text, seconds) in [
            ("720h", 2_592_000),
            ("30d", 2_592_000),
            ("1h30m", 5_400),
            ("10.5s", 10),
            ("1d12h", 129_600),
        ] {
            assert_eq!(parse(text).unwrap().as_secs(), seconds, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, problem) in [
            ("", "is empty"),
            ("10", "has no unit at its end"),
            ("h", "is not a number followed by a unit"),
            ("3w", "has the unknown unit \"w\""),
            ("-3h", "is not a number followed by a unit"),
            ("999999d", "is longer than 100 years"),
        ] {
            assert_eq!(parse(text).unwrap_err(), problem, "{text:?}");
        }
    }

    #[test]
    fn formatting_round_trips() {
        for text in ["90d", "1h30m", "45s", "2d3h4m5s"] {
            assert_eq!(format(parse(text).unwrap()), text);
        }
    }
}
