//! What can go wrong when the CA is made or opened, or when it signs.

use std::path::PathBuf;

/// A failure of the CA itself. What a client did wrong is not an `Error`: it is answered with a CMP message.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file of the CA's directory could not be read or written.
    #[error("{doing} {path}")]
    File {
        /// What was tried, such as `cannot read`.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file of the CA's directory holds something else than it should.
    #[error("{path} is not usable: {reason}")]
    Contents {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Another process has opened the directory.
    #[error("{path} is in use by another process")]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// A key, name or certificate of the CA's own could not be made.
    #[error("cannot make the CA's own keys and certificates")]
    Pki(#[from] pki::Error),
    /// Something of ours could not be encoded.
    #[error("cannot encode")]
    Encoding(#[from] der::Error),
    /// The random number generator failed.
    #[error("the random number generator failed")]
    Random,
    /// A setting has a value that cannot work.
    #[error("setting {field}: {reason}")]
    Setting {
        /// The field's name.
        field: &'static str,
        /// What is allowed.
        reason: &'static str,
    },
}
