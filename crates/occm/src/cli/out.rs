//! Printing for commands: a reader that went away (`| head`) ends the text, not the program.

use std::io::Write;
use std::path::Path;

/// Prints a text; a closed standard output is no error.
pub(crate) fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Prints a line; a closed standard output is no error.
pub(crate) fn line(text: &str) {
    print(&format!("{text}\n"));
}

/// A path as one word of a shell, for commands that are meant to be pasted.
pub(crate) fn word(path: &Path) -> String {
    let path = path.to_string_lossy();
    shlex::try_quote(&path).map_or_else(|_| path.to_string(), Into::into)
}
