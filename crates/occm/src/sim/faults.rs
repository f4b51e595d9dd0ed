//! What can go wrong: every kind of fault, how often it comes, and how often it came.
//!
//! To add one: a variant here with its line in [`Fault::ALL`] and [`Fault::mean_hours`], and an arm where the driver
//! lets it strike (`strike.rs`) or where a call meets it (`store.rs`, `ca.rs`). The compiler names the places.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// The CA refuses connections, for an hour to four days.
    CaDown,
    /// The CA cannot be connected to, and it takes time to find out.
    CaUnreachable,
    /// The CA issues, and every answer is lost.
    CaAnswersLost,
    /// Requests get lost before the CA sees them.
    CaRequestsLost,
    /// The CA takes from seconds to longer than anybody waits.
    CaSlow,
    /// The CA lets us poll, for minutes to days.
    CaPolls,
    /// The CA rejects every request.
    CaRejects,
    /// The CA answers with pages of HTML and status 503.
    CaServesErrors,
    /// The CA issues something else than was asked for, or protects its answer wrongly.
    CaWrongAnswer,
    /// The CA answers a repeated request with transactionIdInUse or badRequest.
    CaDislikesRepeats,
    /// One request is lost in good weather.
    RequestLost,
    /// One answer is lost in good weather.
    AnswerLost,
    /// The store answers nothing, for seconds to hours.
    StoreDown,
    /// A write is told to be in conflict, and nothing was in its way.
    StoreConflict,
    /// A write happens and an error is returned.
    WriteUnanswered,
    /// A write does not happen and an error is returned.
    WriteLost,
    /// A Secret is written, and somebody changes it before the answer comes.
    AnswerOvertaken,
    /// A read gives the state before the last one.
    StaleRead,
    /// The watch is lost; everything is listed again later.
    WatchLost,
    /// The watch is minutes late.
    WatchLate,
    /// The process is killed at an await.
    Kill,
    /// All processes are down, for hours.
    Blackout,
    /// The process is replaced by another: a rolling upgrade.
    Upgrade,
    /// The process stands still, and the lease moves on.
    Pause,
    /// The process cannot renew its lease.
    LeaseLost,
    /// A clock jumps, for minutes to hours.
    ClockJump,
    /// Somebody deletes an output.
    OutputDeleted,
    /// Somebody changes an output.
    OutputEdited,
    /// A writer that changes an output again and again.
    OutputFought,
    /// Somebody deletes a record.
    RecordDeleted,
    /// Somebody writes nonsense into a record.
    RecordSpoilt,
    /// A wish changes.
    WishChanged,
    /// A wish changes to and fro.
    WishFlaps,
    /// A wish is wrong for a while.
    WishInvalid,
    /// A Certificate moves to another Issuer.
    IssuerSwitched,
    /// Somebody asks for a renewal or a new certificate.
    Requested,
    /// Objects come back without status and with another uid.
    StatusLost,
    /// An old backup is restored.
    Restored,
    /// An input is missing for a while.
    InputLost,
    /// A Certificate is deleted and comes back.
    Recreated,
}

impl Fault {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::CaDown,
        Self::CaUnreachable,
        Self::CaAnswersLost,
        Self::CaRequestsLost,
        Self::CaSlow,
        Self::CaPolls,
        Self::CaRejects,
        Self::CaServesErrors,
        Self::CaWrongAnswer,
        Self::CaDislikesRepeats,
        Self::RequestLost,
        Self::AnswerLost,
        Self::StoreDown,
        Self::StoreConflict,
        Self::WriteUnanswered,
        Self::WriteLost,
        Self::AnswerOvertaken,
        Self::StaleRead,
        Self::WatchLost,
        Self::WatchLate,
        Self::Kill,
        Self::Blackout,
        Self::Upgrade,
        Self::Pause,
        Self::LeaseLost,
        Self::ClockJump,
        Self::OutputDeleted,
        Self::OutputEdited,
        Self::OutputFought,
        Self::RecordDeleted,
        Self::RecordSpoilt,
        Self::WishChanged,
        Self::WishFlaps,
        Self::WishInvalid,
        Self::IssuerSwitched,
        Self::Requested,
        Self::StatusLost,
        Self::Restored,
        Self::InputLost,
        Self::Recreated,
    ];

    /// The fault of this name, in any case.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|fault| format!("{fault:?}").eq_ignore_ascii_case(name))
    }

    /// Hours from one to the next, in the mean; `None` for what strikes single calls.
    pub(crate) fn mean_hours(self) -> Option<f64> {
        Some(match self {
            Self::RequestLost
            | Self::AnswerLost
            | Self::StoreConflict
            | Self::WriteUnanswered
            | Self::WriteLost
            | Self::AnswerOvertaken
            | Self::StaleRead
            | Self::Kill => return None,
            Self::CaDown | Self::CaUnreachable | Self::CaSlow => 14.0 * 24.0,
            Self::CaAnswersLost | Self::CaRequestsLost | Self::CaPolls => 10.0 * 24.0,
            Self::CaRejects | Self::CaServesErrors | Self::CaWrongAnswer => 14.0 * 24.0,
            Self::CaDislikesRepeats => 20.0 * 24.0,
            Self::StoreDown => 5.0 * 24.0,
            Self::WatchLost | Self::WatchLate => 3.0 * 24.0,
            Self::Blackout => 20.0 * 24.0,
            Self::Upgrade | Self::Pause | Self::LeaseLost => 4.0 * 24.0,
            Self::ClockJump => 12.0 * 24.0,
            Self::OutputDeleted | Self::OutputEdited => 24.0,
            Self::OutputFought => 10.0 * 24.0,
            Self::RecordDeleted | Self::RecordSpoilt => 12.0 * 24.0,
            Self::WishChanged => 6.0 * 24.0,
            Self::WishFlaps => 15.0 * 24.0,
            Self::WishInvalid | Self::IssuerSwitched => 15.0 * 24.0,
            Self::Requested => 5.0 * 24.0,
            Self::StatusLost => 5.0 * 24.0,
            Self::Restored => 8.0 * 24.0,
            Self::InputLost | Self::Recreated => 15.0 * 24.0,
        })
    }
}

/// One coming of a fault.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Coming {
    /// Which fault.
    pub fault: Fault,
    /// Where it meets single calls: the object or the CA that they concern. Empty for a fault that comes by itself.
    pub place: String,
    /// The so-many-th chance for it there.
    pub number: u64,
}

impl fmt::Display for Coming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place.as_str() {
            "" => write!(f, "{:?}#{}", self.fault, self.number),
            place => write!(f, "{:?}@{place}#{}", self.fault, self.number),
        }
    }
}

impl FromStr for Coming {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no coming of a fault; an example: CaDown#2, Kill@c00003#17");
        let (what, number) = text.rsplit_once('#').ok_or_else(wrong)?;
        let (fault, place) = what.split_once('@').unwrap_or((what, ""));
        Ok(Self {
            fault: Fault::named(fault).ok_or_else(wrong)?,
            place: place.to_owned(),
            number: number.parse().map_err(|_| wrong())?,
        })
    }
}

/// Which faults may come, and which came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Switchboard {
    off: BTreeSet<Fault>,
    only: Option<BTreeSet<Coming>>,
    came: Vec<(Timestamp, Coming)>,
    kills: BTreeMap<&'static str, u64>,
}

impl Switchboard {
    pub(crate) fn new(off: BTreeSet<Fault>, only: Option<BTreeSet<Coming>>) -> Self {
        Self {
            off,
            only,
            ..Self::default()
        }
    }

    /// Whether this fault may come this time.
    pub(crate) fn allows(&self, coming: &Coming) -> bool {
        !self.off.contains(&coming.fault) && self.only.as_ref().is_none_or(|only| only.contains(coming))
    }

    pub(crate) fn note(&mut self, at: Timestamp, coming: Coming) {
        self.came.push((at, coming));
    }

    pub(crate) fn count_kill(&mut self, step: &'static str) {
        *self.kills.entry(step).or_default() += 1;
    }

    /// What came, in the order of time.
    pub(crate) fn take(&mut self) -> (Vec<(Timestamp, Coming)>, BTreeMap<&'static str, u64>) {
        (std::mem::take(&mut self.came), std::mem::take(&mut self.kills))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_coming_is_read_as_it_is_written() {
        for text in ["CaDown#2", "Kill@occm/c00003#17"] {
            assert_eq!(text.parse::<Coming>().unwrap().to_string(), text);
        }
        for text in ["CaDown", "Nothing#1", "CaDown#x"] {
            assert!(text.parse::<Coming>().is_err(), "{text}");
        }
    }
}
