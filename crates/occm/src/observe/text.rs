//! Prometheus' text format, version 0.0.4.

use std::fmt::Write;

/// Its content type.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A page of metrics.
#[derive(Default)]
pub(super) struct Page(String);

/// One metric family; its head is written with its first sample.
pub(super) struct Family<'p> {
    page: &'p mut Page,
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    begun: bool,
}

impl Page {
    /// Begins a family.
    pub(super) fn family(
        &mut self,
        name: &'static str,
        kind: &'static str,
        help: &'static str,
    ) -> Family<'_> {
        Family {
            page: self,
            name,
            kind,
            help,
            begun: false,
        }
    }

    /// A family of one sample without labels.
    pub(super) fn single(&mut self, name: &'static str, kind: &'static str, help: &'static str, value: f64) {
        self.family(name, kind, help).sample(&[], value);
    }

    /// The page.
    pub(super) fn into_text(self) -> String {
        self.0
    }
}

impl Family<'_> {
    /// Writes a sample.
    pub(super) fn sample(&mut self, labels: &[(&str, &str)], value: f64) {
        self.sample_of("", labels, value);
    }

    /// Writes a sample whose name has a suffix.
    pub(super) fn sample_of(&mut self, suffix: &str, labels: &[(&str, &str)], value: f64) {
        let (name, kind, help) = (self.name, self.kind, self.help);
        let out = &mut self.page.0;
        if !self.begun {
            self.begun = true;
            // Writing to a String does not fail.
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        }
        out.push_str(name);
        out.push_str(suffix);
        for (number, (label, text)) in labels.iter().enumerate() {
            out.push(if number == 0 { '{' } else { ',' });
            out.push_str(label);
            out.push_str("=\"");
            escape(out, text);
            out.push('"');
        }
        if !labels.is_empty() {
            out.push('}');
        }
        let _ = writeln!(out, " {value}");
    }
}

fn escape(out: &mut String, text: &str) {
    for letter in text.chars() {
        match letter {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_has_one_head_and_labels_are_escaped() {
        let mut page = Page::default();
        let mut family = page.family("a_b", "gauge", "What it is");
        family.sample(&[("x", "q\"\\\n")], 1.5);
        family.sample(&[], 2.0);
        page.family("none", "gauge", "Nothing").begun = false;
        let expected = "# HELP a_b What it is\n# TYPE a_b gauge\na_b{x=\"q\\\"\\\\\\n\"} 1.5\na_b 2\n";
        assert_eq!(page.into_text(), expected);
    }
}
