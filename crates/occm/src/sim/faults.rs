//! What can go wrong: every kind of fault, how often it comes, and how often it came.
//!
//! To add one: a variant here with its line in [`Fault::ALL`] and [`Fault::mean_hours`], and an arm where the driver
//! lets it strike (`strike.rs`) or where a call meets it (`store.rs`, `ca.rs`). The compiler names the places.

use std::collections::{BTreeMap, BTreeSet};

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

    /// Hours from one to the next, in the mean; `None` for what strikes single calls.
    pub(crate) fn mean_hours(self) -> Option<f64> {
        Some(match self {
            Self::RequestLost
            | Self::AnswerLost
            | Self::StoreConflict
            | Self::WriteUnanswered
            | Self::WriteLost
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

/// Which faults are switched on and how often each came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Switchboard {
    off: BTreeSet<Fault>,
    counts: BTreeMap<Fault, u64>,
    kills: BTreeMap<&'static str, u64>,
}

impl Switchboard {
    pub(crate) fn without(off: BTreeSet<Fault>) -> Self {
        Self {
            off,
            ..Self::default()
        }
    }

    pub(crate) fn is_on(&self, fault: Fault) -> bool {
        !self.off.contains(&fault)
    }

    pub(crate) fn count(&mut self, fault: Fault) {
        *self.counts.entry(fault).or_default() += 1;
    }

    pub(crate) fn count_kill(&mut self, step: &'static str) {
        self.count(Fault::Kill);
        *self.kills.entry(step).or_default() += 1;
    }

    pub(crate) fn counts(&self) -> &BTreeMap<Fault, u64> {
        &self.counts
    }

    pub(crate) fn kills(&self) -> &BTreeMap<&'static str, u64> {
        &self.kills
    }
}
