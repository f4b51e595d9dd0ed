//! Field errors: which field is wrong, what is wrong with it, and what is allowed.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest value that an error message repeats, in characters.
const SHOWN_VALUE: usize = 80;

/// One wrong field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldError {
    /// Path from the object's root, for example `spec.dnsNames[2]`.
    pub path: String,
    /// What is wrong with the value.
    pub problem: String,
    /// What is allowed.
    pub allowed: String,
}

impl FieldError {
    /// A wrong field.
    pub fn new(path: impl Into<String>, problem: impl Into<String>, allowed: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            problem: problem.into(),
            allowed: allowed.into(),
        }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; allowed: {}", self.path, self.problem, self.allowed)
    }
}

/// All wrong fields of one object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldErrors(pub Vec<FieldError>);

impl FieldErrors {
    /// Adds a wrong field.
    pub fn push(&mut self, path: impl Into<String>, problem: impl Into<String>, allowed: impl Into<String>) {
        self.0.push(FieldError::new(path, problem, allowed));
    }

    /// `value`, if nothing is wrong.
    pub fn or<T>(self, value: T) -> Result<T, Self> {
        if self.0.is_empty() { Ok(value) } else { Err(self) }
    }
}

impl fmt::Display for FieldErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for FieldErrors {}

/// What is wrong according to `pki`, without its list of what is allowed, which a [`FieldError`] has apart.
pub fn problem_of(error: &pki::Error) -> String {
    match error {
        pki::Error::NotAllowed { input, reason, .. } => format!("{input} {reason}"),
        other => other.to_string(),
    }
}

/// A value as an error message shows it: quoted, escaped and cut.
pub fn shown(value: &str) -> String {
    let cut: String = value.chars().take(SHOWN_VALUE).collect();
    let dots = if cut.len() < value.len() { "…" } else { "" };
    format!("{:?}{dots}", cut)
}
