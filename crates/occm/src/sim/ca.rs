//! The CA: the real development CA and the real protocol, with weather between it and us.
//!
//! It keeps a book of every message that came: the judges read that book and the CA's ledger.

use std::sync::{Arc, Mutex, PoisonError};

use cmp::asn1::PkiBody;
use cmp::{Limits, Reached, Response, Transport, TransportError, TransportErrorKind};
use devca::{DevCa, InMemory};
use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};

use crate::sim::faults::Fault;
use crate::sim::history::{ActNote, Message, Sent};
use crate::sim::world::{Dice, World};

/// What is between us and the CA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    /// All is well.
    Fine,
    /// Connections are refused.
    Down,
    /// Connections time out.
    Unreachable,
    /// Requests arrive, answers do not.
    AnswersLost,
    /// Connections break before the request is read.
    RequestsLost,
    /// It takes long.
    Slow,
    /// Pages of HTML with status 503.
    ServesErrors,
}

/// A CA and its weather.
pub(crate) struct SimCa {
    pub(crate) ca: Arc<DevCa>,
    weather: Mutex<Weather>,
}

/// How long anybody waits for an answer.
const PATIENCE: SignedDuration = SignedDuration::from_secs(30);

impl SimCa {
    pub(crate) fn new(ca: DevCa) -> Self {
        Self {
            ca: Arc::new(ca),
            weather: Mutex::new(Weather::Fine),
        }
    }

    pub(crate) fn weather(&self) -> Weather {
        *self.weather.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_weather(&self, weather: Weather) {
        *self.weather.lock().unwrap_or_else(PoisonError::into_inner) = weather;
    }
}

/// The way from one process to one CA.
pub(crate) struct SimTransport {
    pub(crate) world: Arc<World>,
    pub(crate) process: usize,
    pub(crate) ca: usize,
}

impl Transport for SimTransport {
    fn post<'a>(&'a self, body: &'a [u8]) -> BoxFuture<'a, Result<Response, TransportError>> {
        let (kind, transaction) = read(body);
        let now = self.world.now();
        let (index, place) = self.note(now, kind, transaction);
        let (ca, body) = (self.ca, body.to_vec());
        let step = match kind {
            Message::Enrol => "send request",
            Message::Revoke => "send revocation",
            Message::Confirm => "send certConf",
            Message::Poll => "send poll",
            Message::Other => "send other",
        };
        self.world
            .call(self.process, step, self.world.dice(place), move |world, dice| {
                arrive(world, dice, ca, index, &body)
            })
            .boxed()
    }
}

impl SimTransport {
    /// Notes the message, and says where it stands in the book and whom it concerns.
    fn note(&self, at: Timestamp, kind: Message, transaction: String) -> (usize, String) {
        let mut history = self.world.history();
        let ca = self.ca;
        let place = match history.owners.get(&transaction) {
            Some(subject) => format!("CA {ca} for {subject}"),
            None => format!("CA {ca}"),
        };
        history.acts.push(ActNote {
            at,
            process: self.process,
            what: "send",
        });
        history.sent.push(Sent {
            at,
            ca,
            kind,
            transaction,
            left: true,
            served: false,
        });
        (history.sent.len() - 1, place)
    }
}

fn read(body: &[u8]) -> (Message, String) {
    let Ok(message) = cmp::Message::decode(body, &Limits::default()) else {
        return (Message::Other, String::new());
    };
    let kind = match &message.body {
        PkiBody::Ir(_) | PkiBody::Cr(_) | PkiBody::P10cr(_) | PkiBody::Kur(_) => Message::Enrol,
        PkiBody::Rr(_) => Message::Revoke,
        PkiBody::CertConf(_) => Message::Confirm,
        PkiBody::PollReq(_) => Message::Poll,
        _ => Message::Other,
    };
    (
        kind,
        message.transaction_id().map(pki::digest::hex).unwrap_or_default(),
    )
}

type Answered = (Result<Response, TransportError>, SignedDuration);

fn arrive(world: &Arc<World>, dice: &mut Dice, ca: usize, index: usize, body: &[u8]) -> Answered {
    let short = dice.latency();
    let Some(sim) = world.cas.get(ca) else {
        return (
            Err(failed(Reached::No, TransportErrorKind::Connect, "no such CA")),
            SignedDuration::ZERO,
        );
    };
    let weather = sim.weather();
    let lost = |kind, text| Err(failed(Reached::Maybe, kind, text));
    match weather {
        Weather::Down | Weather::Unreachable => {
            if let Some(sent) = world.history().sent.get_mut(index) {
                sent.left = false;
            }
            let wait = if weather == Weather::Down {
                short
            } else {
                SignedDuration::from_secs(10)
            };
            return (
                Err(failed(Reached::No, TransportErrorKind::Connect, "no connection")),
                wait,
            );
        }
        Weather::RequestsLost => {
            return (
                lost(TransportErrorKind::Interrupted, "the connection broke"),
                short,
            );
        }
        Weather::ServesErrors => {
            return (
                lost(TransportErrorKind::Status(503), "service unavailable"),
                short,
            );
        }
        Weather::Fine | Weather::AnswersLost | Weather::Slow => {}
    }
    if world.strikes(dice, Fault::RequestLost, 0.01) {
        return (
            lost(TransportErrorKind::Interrupted, "the connection broke"),
            short,
        );
    }
    let answer = serve(world, sim, index, body);
    if weather == Weather::AnswersLost || world.strikes(dice, Fault::AnswerLost, 0.01) {
        return (
            lost(TransportErrorKind::Interrupted, "the connection broke"),
            short,
        );
    }
    if weather == Weather::Slow {
        let takes = SignedDuration::from_secs(dice.random().between(1, 45));
        if takes > PATIENCE {
            return (lost(TransportErrorKind::Timeout, "no answer in time"), PATIENCE);
        }
        return (answer, takes);
    }
    (answer, short)
}

fn serve(world: &Arc<World>, sim: &SimCa, index: usize, body: &[u8]) -> Result<Response, TransportError> {
    let now = world.now();
    let answer = InMemory::new(Arc::clone(&sim.ca), move || now)
        .post(body)
        .now_or_never();
    let mut history = world.history();
    if let Some(sent) = history.sent.get_mut(index) {
        sent.served = true;
    }
    answer.unwrap_or_else(|| {
        Err(failed(
            Reached::Maybe,
            TransportErrorKind::Interrupted,
            "no answer",
        ))
    })
}

fn failed(reached: Reached, kind: TransportErrorKind, text: &str) -> TransportError {
    TransportError::new(reached, kind, text)
}
