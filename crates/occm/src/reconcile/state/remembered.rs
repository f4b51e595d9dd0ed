//! What is remembered of a Certificate object: little, since there may be ten thousand.
//!
//! The wish is kept as the plan that was made of it, so its hash is enough here. The status is kept as packed text: it is
//! looked into when a report is made, not at each decision.

use std::collections::BTreeMap;

use jiff::Timestamp;
use lz4_flex::block::{compress_with_dict, decompress_with_dict};
use smol_str::SmolStr;

use crate::model::certificate::{Certificate, CertificateStatus, OnDelete};
use crate::model::condition::is_ready;
use crate::model::object::{FINALIZER, GROUP};
use crate::store::{ContentHash, Presence};

/// A Certificate object without what nobody asks for.
#[derive(Clone, Debug)]
pub struct Remembered {
    /// Identity that the store gave the object.
    pub uid: Option<SmolStr>,
    /// Counts changes of the wish.
    pub generation: Option<i64>,
    /// When the object was made.
    pub created: Option<Timestamp>,
    /// Whether deletion was asked for, and what then.
    pub deletion: Option<OnDelete>,
    /// Whether our finalizer is on it.
    pub finalizer: bool,
    /// Our annotations: requests.
    pub annotations: BTreeMap<String, String>,
    wish: ContentHash,
    reported: Option<Reported>,
}

/// A status that was reported.
#[derive(Clone, Debug)]
pub struct Reported {
    /// Revision of the certificate in use.
    pub revision: Option<u64>,
    /// Whether it says that all outputs carry a good certificate.
    pub ready: bool,
    /// Outputs that it says are not as we wrote them and were not put back.
    pub out_of_sync: usize,
    /// Start of life of the certificate in use.
    pub not_before: Option<Timestamp>,
    /// Its end.
    pub not_after: Option<Timestamp>,
    /// When it is renewed.
    pub renewal: Option<Timestamp>,
    packed: Box<[u8]>,
    length: usize,
}

/// A status as most of them are: what another one has in common with it is not kept a second time.
const USUAL: &[u8] = br#"{"conditions":[{"type":"Ready","status":"True","reason":"UpToDate","message":"the certificate is in use until 2027-02-23T10:00:00Z","lastTransitionTime":"2026-11-25T10:00:00Z","observedGeneration":1},{"type":"Issuing","status":"False","reason":"UpToDate","message":"nothing is being issued","lastTransitionTime":"2026-11-25T10:00:00Z","observedGeneration":1}],"notBefore":"2026-11-25T10:00:00Z","notAfter":"2027-02-23T10:00:00Z","renewalTime":"2027-01-26T10:00:00Z","serialNumber":"","fingerprint":"","revision":1,"history":[{"revision":1,"serialNumber":"","notAfter":"2027-02-23T10:00:00Z","issuedAt":"2026-11-25T10:00:00.000Z","reason":"Missing"}],"outputs":[{"name":"default/","state":"InSync"}]}"#;

impl Remembered {
    /// What is remembered of this object.
    pub fn of(object: &Certificate) -> Self {
        let metadata = &object.metadata;
        let ours = metadata
            .annotations
            .iter()
            .filter(|(key, _)| key.strip_prefix(GROUP).is_some_and(|rest| rest.starts_with('/')));
        Self {
            uid: metadata.uid.as_deref().map(SmolStr::from),
            generation: metadata.generation,
            created: metadata.creation_timestamp,
            deletion: metadata.deletion_timestamp.map(|_| object.spec.on_delete),
            finalizer: metadata.finalizers.iter().any(|known| known == FINALIZER),
            annotations: ours.map(|(key, value)| (key.clone(), value.clone())).collect(),
            wish: ContentHash::of(&serde_json::to_vec(&object.spec).unwrap_or_default()),
            reported: object.status.as_ref().map(Reported::of),
        }
    }

    /// The status that was reported, if any.
    pub fn reported(&self) -> Option<&Reported> {
        self.reported.as_ref()
    }

    /// The whole status that was reported; empty if there is none.
    pub fn status(&self) -> CertificateStatus {
        self.reported.as_ref().map(Reported::status).unwrap_or_default()
    }

    /// Takes in a status that we wrote.
    pub fn set_status(&mut self, status: &CertificateStatus) {
        self.reported = Some(Reported::of(status));
    }

    /// Takes in that our finalizer was put on, or taken off.
    pub fn set_finalizer(&mut self, presence: Presence) {
        self.finalizer = presence == Presence::Present;
    }

    /// Whether a later state differs in nothing but its status. One that lost its status differs: it is written again.
    pub fn same_wish(&self, later: &Self) -> bool {
        self.wish == later.wish
            && self.uid == later.uid
            && self.annotations == later.annotations
            && self.deletion == later.deletion
            && self.finalizer == later.finalizer
            && (later.reported.is_some() || self.reported.is_none())
    }
}

impl Reported {
    fn of(status: &CertificateStatus) -> Self {
        let in_order = |state: &str| state == "InSync" || state == "Pending";
        let text = serde_json::to_vec(status).unwrap_or_default();
        Self {
            revision: status.revision,
            ready: is_ready(&status.conditions),
            out_of_sync: status
                .outputs
                .iter()
                .filter(|output| !in_order(&output.state))
                .count(),
            not_before: status.not_before,
            not_after: status.not_after,
            renewal: status.renewal_time,
            packed: compress_with_dict(&text, USUAL).into(),
            length: text.len(),
        }
    }

    /// The whole of it.
    pub fn status(&self) -> CertificateStatus {
        let text = decompress_with_dict(&self.packed, self.length, USUAL).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_comes_back_as_it_was_and_takes_less_room_than_half_of_its_text() {
        let text = r#"{"conditions":[{"type":"Ready","status":"False","reason":"Rejected","message":"the CA refuses: \"no\"",
            "lastTransitionTime":"2027-01-01T00:00:00Z","observedGeneration":7}],"revision":3,"notAfter":"2027-02-23T10:00:00Z",
            "serialNumber":"6350750ffc35f180c164287c7ea9df8a","history":[{"revision":3,"serialNumber":"6350750ffc35f180c164287c7ea9df8a",
            "notAfter":"2027-02-23T10:00:00Z","issuedAt":"2026-11-25T15:40:58.639177551Z","reason":"Renewal"}],
            "outputs":[{"name":"team-a/web-tls","state":"InSync"}]}"#;
        let status: CertificateStatus = serde_json::from_str(text).unwrap();
        let reported = Reported::of(&status);
        assert_eq!(reported.status(), status);
        assert!(
            reported.packed.len() * 2 < reported.length,
            "{} of {}",
            reported.packed.len(),
            reported.length
        );
        let empty = Reported::of(&CertificateStatus::default());
        assert_eq!(empty.status(), CertificateStatus::default());
    }
}
