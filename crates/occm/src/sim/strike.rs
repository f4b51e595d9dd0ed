//! How the faults that come by themselves strike: weather at the CAs, people, foreign writers, restores, clocks.

use std::collections::BTreeMap;
use std::sync::Arc;

use devca::{Fault as CaFault, FaultKind, RequestKind};
use jiff::SignedDuration;
use smol_str::SmolStr;

use crate::model::object::{ObjectKey, RECREATE_ANNOTATION, RENEW_ANNOTATION, REVOKE_ANNOTATION};
use crate::sim::ca::Weather;
use crate::sim::driver::Driver;
use crate::sim::faults::Fault;
use crate::sim::history::{By, Whose};
use crate::sim::random::Random;
use crate::sim::scene::{HOME, ISSUERS, certificate, mac, put_inputs, trust};
use crate::sim::store::note_output;
use crate::sim::world::{Fight, World};
use crate::store::memory::Snapshot;
use crate::store::{Subject, Texts};

const ENROLMENTS: [RequestKind; 4] = [
    RequestKind::Ir,
    RequestKind::Cr,
    RequestKind::Kur,
    RequestKind::P10cr,
];
/// Most backups that are kept.
const BACKUPS: usize = 6;

fn as_read(texts: &Texts) -> BTreeMap<String, String> {
    let text = |(key, value): (&SmolStr, &SmolStr)| (key.to_string(), value.to_string());
    texts.iter().map(text).collect()
}

fn hours(random: &mut Random, low: f64, high: f64) -> SignedDuration {
    let seconds = (low + (high - low) * random.unit()) * 3600.0;
    SignedDuration::try_from_secs_f64(seconds).unwrap_or(SignedDuration::ZERO)
}

impl Driver {
    /// Lets a fault strike; says whether it found something to strike.
    pub(crate) fn struck(&mut self, fault: Fault, random: &mut Random) -> bool {
        match fault {
            Fault::CaDown => self.weather(random, Weather::Down, 1.0, 96.0, "CA down"),
            Fault::CaUnreachable => self.weather(random, Weather::Unreachable, 0.5, 24.0, "CA unreachable"),
            Fault::CaAnswersLost => self.weather(random, Weather::AnswersLost, 0.1, 6.0, "answers lost"),
            Fault::CaRequestsLost => self.weather(random, Weather::RequestsLost, 0.1, 6.0, "requests lost"),
            Fault::CaSlow => self.weather(random, Weather::Slow, 1.0, 24.0, "CA slow"),
            Fault::CaServesErrors => {
                self.weather(random, Weather::ServesErrors, 0.5, 24.0, "CA serves errors")
            }
            Fault::CaPolls => self.ca_polls(random),
            Fault::CaRejects => self.ca_rejects(random),
            Fault::CaWrongAnswer => self.ca_answers_wrongly(random),
            Fault::CaDislikesRepeats => self.ca_dislikes_repeats(random),
            Fault::StoreDown => self.store_down(random),
            Fault::WatchLost => self.watch_lost(random),
            Fault::WatchLate => self.watch_late(random),
            Fault::Blackout => {
                let long = hours(random, 0.2, 20.0);
                self.blackout(long);
                true
            }
            Fault::Upgrade => self.upgrade(),
            Fault::Pause => {
                let long = SignedDuration::from_secs(random.between(10, 300));
                self.pause(long)
            }
            Fault::LeaseLost => self.lose_lease(),
            Fault::ClockJump => self.clock_jumps(random),
            Fault::OutputDeleted | Fault::OutputEdited | Fault::OutputFought => {
                self.output_touched(fault, random)
            }
            Fault::RecordDeleted | Fault::RecordSpoilt => self.record_touched(fault, random),
            Fault::WishChanged
            | Fault::WishFlaps
            | Fault::WishInvalid
            | Fault::IssuerSwitched
            | Fault::Requested => self.wish_touched(fault, random),
            Fault::StatusLost => self.status_lost(random),
            Fault::Restored => self.restored(random),
            Fault::InputLost => self.input_lost(random),
            Fault::Recreated => self.recreated(random),
            Fault::RequestLost
            | Fault::AnswerLost
            | Fault::StoreConflict
            | Fault::WriteUnanswered
            | Fault::WriteLost
            | Fault::AnswerOvertaken
            | Fault::StaleRead
            | Fault::Kill => false,
        }
    }

    fn later(&self, after: SignedDuration, step: impl FnOnce(&Arc<World>) + Send + 'static) {
        let world = Arc::clone(&self.world);
        self.world.clockwork.run_after(after, move || step(&world));
    }

    fn trouble(&self, long: SignedDuration, whose: Whose, what: &'static str) {
        let now = self.world.now();
        self.world.history().trouble(now, now + long, whose, what);
    }

    pub(crate) fn weather(
        &mut self,
        random: &mut Random,
        weather: Weather,
        low: f64,
        high: f64,
        what: &'static str,
    ) -> bool {
        let (ca, long) = (random.index(ISSUERS.len()), hours(random, low, high));
        let Some(sim) = self
            .world
            .cas
            .get(ca)
            .filter(|sim| sim.weather() == Weather::Fine)
        else {
            return false;
        };
        sim.set_weather(weather);
        self.trouble(long, Whose::Ca(ca), what);
        self.later(long, move |world| {
            if let Some(sim) = world.cas.get(ca) {
                sim.set_weather(Weather::Fine);
            }
        });
        true
    }

    fn ca_polls(&mut self, random: &mut Random) -> bool {
        let (ca, long) = (random.index(ISSUERS.len()), hours(random, 6.0, 72.0));
        let polls = u32::try_from(random.between(1, 30)).unwrap_or(1);
        let check_after = u32::try_from(random.between(10, 3600)).unwrap_or(60);
        let Some(sim) = self.world.cas.get(ca) else {
            return false;
        };
        sim.ca.adjust(|policy| {
            policy.polls = ENROLMENTS.iter().map(|kind| (*kind, polls)).collect();
            policy.check_after_seconds = check_after;
        });
        let tail = SignedDuration::from_secs(i64::from(polls + 1) * i64::from(check_after));
        self.trouble(long + tail, Whose::Ca(ca), "CA lets us poll");
        self.later(long, move |world| {
            if let Some(sim) = world.cas.get(ca) {
                sim.ca.adjust(|policy| policy.polls.clear());
            }
        });
        true
    }

    fn arm(&mut self, ca: usize, long: SignedDuration, kind: &FaultKind, requests: &[RequestKind]) -> bool {
        let Some(sim) = self.world.cas.get(ca) else {
            return false;
        };
        for request in requests {
            sim.ca.faults().arm(CaFault::always(kind.clone()).on(*request));
        }
        self.later(long, move |world| {
            if let Some(sim) = world.cas.get(ca) {
                sim.ca.faults().clear();
            }
        });
        true
    }

    fn ca_rejects(&mut self, random: &mut Random) -> bool {
        // badRequest, badCertId, certRevoked, signerNotTrusted, notAuthorized, systemUnavail, systemFailure
        const BITS: [u8; 7] = [2, 4, 10, 20, 23, 24, 25];
        let (ca, long) = (random.index(ISSUERS.len()), hours(random, 0.2, 12.0));
        let failure = random.pick(&BITS).copied().unwrap_or(2);
        let confirmations = [RequestKind::CertConf];
        let requests: &[RequestKind] = if random.chance(0.2) {
            &confirmations
        } else {
            &ENROLMENTS
        };
        self.trouble(long, Whose::Ca(ca), "CA rejects");
        self.arm(
            ca,
            long,
            &FaultKind::Reject {
                failure,
                text: "not today".to_owned(),
            },
            requests,
        )
    }

    fn ca_answers_wrongly(&mut self, random: &mut Random) -> bool {
        let kinds = [
            FaultKind::OtherKey,
            FaultKind::OtherSubject {
                status: devca::faults::ClaimedStatus::Accepted,
            },
            FaultKind::OtherSan {
                status: devca::faults::ClaimedStatus::Accepted,
            },
            FaultKind::PastValidity,
            FaultKind::FutureValidity,
            FaultKind::ForeignIssuer,
            FaultKind::NoProtection,
            FaultKind::WrongProtection,
            FaultKind::WrongNonce,
            FaultKind::Garbage,
            FaultKind::Truncate,
            FaultKind::ForeignSigner,
            FaultKind::EndlessWaiting,
            FaultKind::ErrorUnprotected { failure: 24 },
        ];
        let (ca, long) = (random.index(ISSUERS.len()), hours(random, 0.2, 10.0));
        let kind = random.pick(&kinds).cloned().unwrap_or(FaultKind::Garbage);
        self.trouble(long, Whose::Ca(ca), "CA answers wrongly");
        self.world.history().tell(
            self.world.now(),
            None,
            format!("CA {ca} answers wrongly: {kind:?}"),
        );
        self.arm(ca, long, &kind, &ENROLMENTS)
    }

    fn ca_dislikes_repeats(&mut self, random: &mut Random) -> bool {
        let (ca, long) = (random.index(ISSUERS.len()), hours(random, 24.0, 240.0));
        let repeat = if random.chance(0.5) {
            devca::config::Repeat::TransactionIdInUse
        } else {
            devca::config::Repeat::BadRequest
        };
        let Some(sim) = self.world.cas.get(ca) else {
            return false;
        };
        sim.ca.adjust(|policy| policy.repeat = repeat);
        self.later(long, move |world| {
            if let Some(sim) = world.cas.get(ca) {
                sim.ca
                    .adjust(|policy| policy.repeat = devca::config::Repeat::SameAnswer);
            }
        });
        true
    }

    fn store_down(&mut self, random: &mut Random) -> bool {
        let long = if random.chance(0.6) {
            SignedDuration::from_secs(random.between(1, 120))
        } else {
            hours(random, 0.05, 3.0)
        };
        self.world.moving().store_down_until = Some(self.world.now() + long);
        // A store that comes back is asked again within a minute.
        self.trouble(
            long + SignedDuration::from_mins(2),
            Whose::Everybody,
            "store down",
        );
        true
    }

    fn watch_lost(&mut self, random: &mut Random) -> bool {
        let Some(leader) = self.leader() else { return false };
        let long = SignedDuration::from_secs(random.between(1, 400));
        let until = self.world.now() + long;
        if let Some(standing) = self.world.moving().standings.get_mut(leader) {
            standing.watch_lost = Some(until);
        }
        self.trouble(
            long + SignedDuration::from_mins(1),
            Whose::Everybody,
            "watch lost",
        );
        true
    }

    fn watch_late(&mut self, random: &mut Random) -> bool {
        let Some(leader) = self.leader() else { return false };
        let (long, by) = (
            hours(random, 0.1, 3.0),
            SignedDuration::from_secs(random.between(5, 300)),
        );
        let until = self.world.now() + long;
        if let Some(standing) = self.world.moving().standings.get_mut(leader) {
            standing.watch_late = Some((until, by));
        }
        self.trouble(long + by, Whose::Everybody, "watch late");
        true
    }

    fn clock_jumps(&mut self, random: &mut Random) -> bool {
        let Some(leader) = self.leader() else { return false };
        let far = if random.chance(0.5) {
            hours(random, 0.02, 1.0)
        } else {
            hours(random, 1.0, 240.0)
        };
        let offset = if random.chance(0.5) { far } else { -far };
        let long = hours(random, 0.1, 12.0);
        let set = move |world: &World, offset: SignedDuration| {
            world.history().jumps.push(world.now());
            if let Some(standing) = world.moving().standings.get_mut(leader) {
                standing.offset = offset;
            }
        };
        set(&self.world, offset);
        self.trouble(
            long + SignedDuration::from_mins(35),
            Whose::Everybody,
            "clock jumped",
        );
        self.world.history().tell(
            self.world.now(),
            None,
            format!("clock of process {leader} is off by {offset:#}"),
        );
        self.later(long, move |world| {
            set(world, SignedDuration::ZERO);
            world.history().tell(
                world.now(),
                None,
                format!("clock of process {leader} is right again"),
            );
        });
        true
    }

    /// A Certificate, unless chance picks one that is left out.
    fn any_certificate(&mut self, random: &mut Random) -> Option<ObjectKey> {
        let key = certificate(random.index(self.scene.total));
        self.elsewhere = !self.scene.wishes.contains_key(&key);
        Some(key).filter(|_| !self.elsewhere)
    }

    fn any_output(&mut self, random: &mut Random) -> Option<ObjectKey> {
        let key = self.any_certificate(random)?;
        let subject = Subject::Certificate(key);
        let history = self.world.history();
        let wish = history.wishes.get(&subject)?.last()?.wish.as_ref()?;
        random.pick(&wish.outputs).cloned()
    }

    fn output_touched(&mut self, fault: Fault, random: &mut Random) -> bool {
        let Some(key) = self.any_output(random) else {
            return false;
        };
        if self.world.people.secret(&key).is_none() {
            return false;
        }
        if fault == Fault::OutputDeleted {
            self.world.people.delete_secret(&key);
            note_output(&self.world, By::People, &key);
            return true;
        }
        if fault == Fault::OutputFought {
            let until = self.world.now() + hours(random, 0.2, 4.0);
            let answer_after = SignedDuration::from_millis(random.between(200, 20_000));
            self.world
                .moving()
                .fights
                .insert(key.clone(), Fight { until, answer_after });
            let history = &mut self.world.history();
            history.tell(
                self.world.now(),
                None,
                format!("a fight over Secret {key} begins, until {until}"),
            );
        }
        let (kind, junk) = (random.below(6), random.next().to_string());
        self.world.people.edit_secret(&key, "kubectl-edit", |secret| {
            let first = secret.data.keys().next().cloned();
            match (kind, first) {
                (0, _) => secret.labels.clear(),
                (1, _) => secret.annotations.clear(),
                (2, _) => secret.immutable = true,
                (3, Some(first)) => drop(secret.data.remove(&first)),
                (_, Some(first)) => drop(secret.data.insert(first, pki::Secret::new(junk.into_bytes()))),
                (_, None) => secret.labels.clear(),
            }
        });
        note_output(&self.world, By::People, &key);
        true
    }

    /// A Certificate or a CMP identity.
    fn any_subject(&mut self, random: &mut Random) -> Option<Subject> {
        let number = random.index(self.scene.total + 1);
        if number == self.scene.total {
            return ISSUERS
                .first()
                .map(|issuer| Subject::Identity(ObjectKey::new(HOME, *issuer)));
        }
        self.any_certificate(random).map(Subject::Certificate)
    }

    fn record_touched(&mut self, fault: Fault, random: &mut Random) -> bool {
        let Some(subject) = self.any_subject(random) else {
            return false;
        };
        if !self.world.people.snapshot().records.contains_key(&subject) {
            return false;
        }
        let now = self.world.now();
        if fault == Fault::RecordDeleted {
            self.world.people.delete_record(&subject);
            self.world.moving().before_last.remove(&subject);
            self.world.history().record(now, By::People, &subject, None);
        } else {
            self.put_record(&subject, b"{\"version\": \"nonsense\"".to_vec());
        }
        true
    }

    fn put_record(&self, subject: &Subject, bytes: Vec<u8>) {
        self.world
            .history()
            .record(self.world.now(), By::People, subject, Some(&bytes));
        self.world.moving().before_last.remove(subject);
        self.world.people.put_record(subject, pki::Secret::new(bytes));
    }

    fn wish_touched(&mut self, fault: Fault, random: &mut Random) -> bool {
        let Some(key) = self.any_certificate(random) else {
            return false;
        };
        let Some(mut spec) = self.scene.wishes.get(&key).cloned() else {
            return false;
        };
        let number = random.between(1, 9_999);
        match fault {
            Fault::WishChanged => {
                spec.dns_names = vec![format!("{}.sim", key.name), format!("n{number}.sim")];
                self.scene.wishes.insert(key.clone(), spec);
                self.scene.put(&self.world, &key);
            }
            Fault::WishFlaps => return self.wish_flaps(&key, random),
            Fault::WishInvalid => return self.wish_is_invalid(&key, random),
            Fault::IssuerSwitched => {
                let other = if spec.issuer_ref.name == "ca-a" {
                    "ca-b"
                } else {
                    "ca-a"
                };
                other.clone_into(&mut spec.issuer_ref.name);
                self.scene.wishes.insert(key.clone(), spec);
                self.scene.put(&self.world, &key);
            }
            _ => {
                let annotations = [RENEW_ANNOTATION, RECREATE_ANNOTATION, REVOKE_ANNOTATION];
                let annotation = random.pick(&annotations).copied().unwrap_or(RENEW_ANNOTATION);
                self.tokens += 1;
                let token = format!("t{}", self.tokens);
                self.scene
                    .requests
                    .entry(key.clone())
                    .or_default()
                    .insert(annotation.to_owned(), token);
                self.scene.put(&self.world, &key);
            }
        }
        true
    }

    /// Two tools that disagree: the wish goes to and fro for hours.
    fn wish_flaps(&mut self, key: &ObjectKey, random: &mut Random) -> bool {
        let Some(spec) = self.scene.wishes.get(key).cloned() else {
            return false;
        };
        let mut other = spec.clone();
        other.dns_names.push("flap.sim".to_owned());
        let (times, gap) = (random.between(8, 60), random.between(20, 600));
        for i in 0..times {
            let wish = if i % 2 == 0 { other.clone() } else { spec.clone() };
            let wish = if i + 1 == times { spec.clone() } else { wish };
            let scene = crate::sim::scene::Scene {
                requests: BTreeMap::from([(
                    key.clone(),
                    self.scene.requests.get(key).cloned().unwrap_or_default(),
                )]),
                ..Default::default()
            };
            let key = key.clone();
            self.later(SignedDuration::from_secs(i * gap), move |world| {
                scene.put_as(world, &key, &wish)
            });
        }
        let long = SignedDuration::from_secs(times * gap);
        self.trouble(
            long,
            Whose::Subject(Subject::Certificate(key.clone())),
            "wish goes to and fro",
        );
        true
    }

    fn wish_is_invalid(&mut self, key: &ObjectKey, random: &mut Random) -> bool {
        let Some(spec) = self.scene.wishes.get(key).cloned() else {
            return false;
        };
        let mut wrong = spec.clone();
        wrong.duration = Some("for ever".to_owned());
        self.scene.put_as(&self.world, key, &wrong);
        let long = hours(random, 0.1, 24.0);
        self.trouble(
            long,
            Whose::Subject(Subject::Certificate(key.clone())),
            "wish invalid",
        );
        self.put_again_after(long, key);
        true
    }

    fn put_again_after(&self, long: SignedDuration, key: &ObjectKey) {
        let Some(spec) = self.scene.wishes.get(key).cloned() else {
            return;
        };
        let scene = crate::sim::scene::Scene {
            requests: BTreeMap::from([(
                key.clone(),
                self.scene.requests.get(key).cloned().unwrap_or_default(),
            )]),
            ..Default::default()
        };
        let key = key.clone();
        self.later(long, move |world| scene.put_as(world, &key, &spec));
    }

    /// Objects come back without status and with another uid.
    fn status_lost(&mut self, random: &mut Random) -> bool {
        let some: Vec<ObjectKey> = if random.chance(0.5) {
            self.scene.wishes.keys().cloned().collect()
        } else {
            self.any_certificate(random).into_iter().collect()
        };
        for key in &some {
            self.scene.delete(&self.world, key);
            self.scene.put(&self.world, key);
        }
        !some.is_empty()
    }

    fn recreated(&mut self, random: &mut Random) -> bool {
        let Some(key) = self.any_certificate(random) else {
            return false;
        };
        let long = hours(random, 0.01, 30.0);
        self.scene.delete(&self.world, &key);
        self.trouble(
            long,
            Whose::Subject(Subject::Certificate(key.clone())),
            "Certificate deleted",
        );
        self.put_again_after(long, &key);
        true
    }

    fn input_lost(&mut self, random: &mut Random) -> bool {
        let (number, long) = (random.index(ISSUERS.len()), hours(random, 0.1, 12.0));
        let Some(issuer) = ISSUERS.get(number) else {
            return false;
        };
        if random.chance(0.5) {
            self.world.people.delete_config_map(&trust(issuer).object);
        } else {
            self.world.people.delete_secret(&mac(issuer));
        }
        self.trouble(
            long + SignedDuration::from_mins(1),
            Whose::Ca(number),
            "input lost",
        );
        self.later(long, move |world| put_inputs(world, number));
        true
    }

    /// Makes a backup.
    pub(crate) fn back_up(&mut self) {
        let now = self.world.now();
        self.backups.push_back((now, self.world.people.snapshot()));
        if self.backups.len() > BACKUPS {
            self.backups.pop_front();
        }
    }

    /// Restores an old backup: records, outputs or both, of one Certificate or of all.
    fn restored(&mut self, random: &mut Random) -> bool {
        let now = self.world.now();
        if random.chance(0.4) {
            return self.restore_in_mid_exchange(random);
        }
        let Some((made, backup)) = self.backups.get(random.index(self.backups.len())).cloned() else {
            return false;
        };
        let only = if random.chance(0.5) {
            None
        } else {
            self.any_certificate(random)
        };
        if self.elsewhere {
            return false;
        }
        let what = random.below(3);
        self.world.history().tell(
            now,
            None,
            format!("backup of {made} is restored (kind {what}, of {only:?})"),
        );
        self.world.history().restores.push(now);
        let wanted = |key: &ObjectKey| only.as_ref().is_none_or(|only| only == key);
        if what != 1 {
            for (subject, seen) in backup.records.iter().filter(|(subject, _)| wanted(subject.key())) {
                self.put_record(subject, seen.bytes.expose().to_vec());
            }
        }
        if what != 0 {
            self.restore_outputs(&backup, wanted);
        }
        true
    }

    fn restore_outputs(&self, backup: &Snapshot, wanted: impl Fn(&ObjectKey) -> bool) {
        for (key, (facts, data)) in &backup.secrets {
            let owner = facts.annotations.get(crate::model::object::OWNER_ANNOTATION);
            let owner = owner
                .and_then(|text| text.split_once('/'))
                .map(|(_, name)| ObjectKey::new(HOME, name));
            if !owner.as_ref().is_some_and(&wanted) {
                continue;
            }
            self.world.people.delete_secret(key);
            self.world
                .people
                .put_secret(key, &facts.kind, data.clone(), "velero");
            self.world.people.edit_secret(key, "velero", |secret| {
                secret.labels = as_read(&facts.labels);
                secret.annotations = as_read(&facts.annotations);
            });
            note_output(&self.world, By::People, key);
        }
    }

    fn restore_in_mid_exchange(&mut self, random: &mut Random) -> bool {
        let now = self.world.now();
        let old_enough = now - SignedDuration::from_mins(6);
        let Some(subject) = self.any_subject(random) else {
            return false;
        };
        let open = self
            .world
            .moving()
            .open_backups
            .get(&subject)
            .cloned()
            .unwrap_or_default();
        let open: Vec<_> = open.into_iter().filter(|(at, _)| *at < old_enough).collect();
        let Some((made, bytes)) = random.pick(&open).cloned() else {
            return false;
        };
        self.world.history().tell(
            now,
            Some(subject.clone()),
            format!("its record of {made} is restored"),
        );
        self.world.history().restores.push(now);
        self.put_record(&subject, bytes.expose().to_vec());
        true
    }
}
