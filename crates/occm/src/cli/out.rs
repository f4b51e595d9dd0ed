//! Printing for commands: a reader that went away (`| head`) ends the text, not the program.

use std::io::Write;

/// Prints a text; a closed standard output is no error.
pub(crate) fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Prints a line; a closed standard output is no error.
pub(crate) fn line(text: &str) {
    print(&format!("{text}\n"));
}
