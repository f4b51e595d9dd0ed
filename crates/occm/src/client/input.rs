//! Values of inputs on their way in: a shared secret, a trust store, an initial certificate.

use std::collections::BTreeMap;
use std::fmt;

use crate::client::{ClientError, ClientResult};
use crate::model::field::{FieldErrors, shown};
use crate::model::plan::{InputKind, InputRef, is_data_key};
use crate::store::MAX_VALUE_BYTES;

/// Values by key; wiped on drop, never shown.
#[derive(Default)]
pub struct InputValues(pub BTreeMap<String, pki::Secret>);

impl fmt::Debug for InputValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl InputValues {
    /// Refuses keys that no store takes and too much content. Errors never repeat a value.
    pub fn check(&self, input: &InputRef) -> ClientResult<()> {
        let mut errors = FieldErrors::default();
        if self.0.is_empty() {
            errors.push("data", "is empty", "at least one key");
        }
        for key in self.0.keys().filter(|key| !is_data_key(key)) {
            let allowed = "letters, digits, '-', '_' and '.', at most 253 characters, not starting with '..'";
            errors.push(format!("data[{}]", shown(key)), "cannot be a key", allowed);
        }
        let bytes: usize = self.0.iter().map(|(key, value)| key.len() + value.len()).sum();
        if bytes > MAX_VALUE_BYTES {
            let problem = format!("{bytes} bytes are too many");
            errors.push(
                "data",
                problem,
                format!("at most {MAX_VALUE_BYTES} bytes together"),
            );
        }
        errors
            .or(())
            .map_err(|errors| ClientError::Invalid(describe(input), errors))
    }
}

/// An input in messages.
pub fn describe(input: &InputRef) -> String {
    let kind = match input.kind {
        InputKind::Secret => "Secret",
        InputKind::ConfigMap => "ConfigMap",
    };
    format!("{kind} {}", input.object)
}
