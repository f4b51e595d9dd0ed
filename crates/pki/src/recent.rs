//! Certificates that were read lately, so that reading one again gives the same object: its facts are read once, and its
//! key is made ready for verification once.
//!
//! A table of fixed size with one place for each hash; a newcomer takes the place of whoever stands there. What is found
//! is compared byte by byte, so that a hash that was met on purpose gains nothing.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};

use crate::certificate::Certificate;
use crate::error::Error;

/// Places in the table.
const PLACES: usize = 256;
/// Larger ones are not kept: the table stays below two megabytes whatever comes in.
const MAX_BYTES: usize = 4 * 1024;

/// The table.
#[derive(Default)]
pub(crate) struct Recent {
    hasher: RandomState,
    places: Mutex<Vec<Option<Certificate>>>,
}

impl Recent {
    /// The certificate of these bytes, if it was read lately, or else what `read` makes of them.
    pub(crate) fn get_or_read(
        &self,
        der: &[u8],
        read: impl FnOnce(&[u8]) -> Result<Certificate, Error>,
    ) -> Result<Certificate, Error> {
        if der.len() > MAX_BYTES {
            return read(der);
        }
        let place = self.place(der);
        if let Some(known) = self.known(place, der) {
            return Ok(known);
        }
        let certificate = read(der)?;
        self.keep(place, &certificate);
        Ok(certificate)
    }

    fn place(&self, der: &[u8]) -> usize {
        let places = PLACES as u64;
        usize::try_from(self.hasher.hash_one(der) % places).unwrap_or(0)
    }

    fn known(&self, place: usize, der: &[u8]) -> Option<Certificate> {
        let places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let known = places.get(place)?.as_ref()?;
        (known.der() == der).then(|| known.clone())
    }

    fn keep(&self, place: usize, certificate: &Certificate) {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if places.is_empty() {
            places.resize(PLACES, None);
        }
        if let Some(kept) = places.get_mut(place) {
            *kept = Some(certificate.clone());
        }
    }
}
