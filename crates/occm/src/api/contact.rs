//! The connection test of an Issuer: a general message (RFC 9483, 4.3.1) that asks for the CA's certificates, told step
//! by step. Nothing is enrolled.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use cmp::engine::{General, GeneralAnswer, Request};
use cmp::error::ErrorKind;
use cmp::http::Endpoint;
use cmp::transport::TransportErrorKind;
use cmp::{CmpError, Context, Credentials, Outcome, Step};
use schemars::JsonSchema;
use serde::Serialize;
use tokio::net::TcpStream;

use crate::api::Api;
use crate::api::access::{Resource, Verb};
use crate::api::caller::Caller;
use crate::api::problem::Answer;
use crate::api::routes::{Key, Reply};
use crate::client::Run;
use crate::model::issuer::Issuer;
use crate::model::object::{Kind, ObjectKey};
use crate::model::plan::IssuerPlan;
use crate::reconcile::issuer::{PrepareError, ReadyToUse, prepare};
use crate::record::Record;
use crate::store::{Seen, Subject};

/// Longest time for one step.
const PATIENCE: Duration = Duration::from_secs(15);
/// Rounds of one exchange.
const MAX_ROUNDS: usize = 4;

/// How a connection test went.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Test {
    /// Steps in their order; the first one that fails is the last one.
    steps: Vec<TestStep>,
    /// Whether all of them went well.
    ok: bool,
}

/// A step of a connection test.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TestStep {
    /// Which.
    name: StepName,
    /// Whether it went well.
    ok: bool,
    /// What came of it, a sentence.
    detail: String,
    /// How long it took, in milliseconds.
    took_ms: u64,
}

/// Steps of a connection test.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
pub(crate) enum StepName {
    /// The inputs of the Issuer are read and checked.
    Prepare,
    /// The name of the host has an address.
    Resolve,
    /// A connection is made.
    Connect,
    /// TLS, where the address says https.
    Tls,
    /// The CA answers a general message.
    Genm,
    /// The answer is authentic.
    Verify,
}

#[derive(Default)]
struct Steps(Vec<TestStep>);

impl Steps {
    fn add(&mut self, name: StepName, ok: bool, detail: impl Into<String>, since: Instant) {
        self.0.push(TestStep {
            name,
            ok,
            detail: detail.into(),
            took_ms: u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX),
        });
    }

    fn done(self) -> Test {
        Test {
            ok: self.0.iter().all(|step| step.ok),
            steps: self.0,
        }
    }
}

/// `POST /api/v1/issuers/{namespace}/{name}/test`
pub(crate) async fn test(State(api): State<Arc<Api>>, caller: Caller, Key(key): Key) -> Answer<Reply<Test>> {
    let result = run(&api, &caller, &key).await;
    api.note(
        &caller,
        "test connection",
        Run::Real,
        Some((Kind::Issuer, key)),
        &result,
    );
    result.map(Reply::ok)
}

async fn run(api: &Api, caller: &Caller, key: &ObjectKey) -> Answer<Test> {
    // It speaks to the CA with occm's credentials: for those who may change the Issuer.
    api.allow(caller, Verb::Update, Resource::Issuers, key).await?;
    let item = api.objects(caller)?.get(Kind::Issuer, key).await?;
    let mut steps = Steps::default();
    let begun = Instant::now();
    let ready = match ready(api, key, &item.issuer()).await {
        Ok(ready) => ready,
        Err(problem) => {
            steps.add(StepName::Prepare, false, problem, begun);
            return Ok(steps.done());
        }
    };
    steps.add(StepName::Prepare, true, "inputs are there and can be used", begun);
    if reach(&ready.plan, &mut steps).await {
        ask(api, key, &ready, &mut steps).await;
    }
    Ok(steps.done())
}

async fn ready(api: &Api, key: &ObjectKey, seen: &Seen<Issuer>) -> Result<ReadyToUse, String> {
    let object = match seen {
        Seen::Object(object) => object,
        Seen::Broken(broken) => return Err(broken.errors.to_string()),
    };
    let plan = IssuerPlan::check(key.clone(), &object.spec).map_err(|errors| errors.to_string())?;
    match prepare(api.store.as_ref(), Arc::new(plan), &api.make_engine).await {
        Ok(ready) => Ok(ready),
        Err(PrepareError::Problem(problem)) => Err(problem.message),
        Err(PrepareError::Store(error)) => Err(error.to_string()),
    }
}

/// Name and connection, to the proxy where there is one.
async fn reach(plan: &IssuerPlan, steps: &mut Steps) -> bool {
    let begun = Instant::now();
    let url = plan.http.proxy.as_ref().unwrap_or(&plan.url);
    let Ok(endpoint) = url.parse::<Endpoint>() else {
        steps.add(StepName::Resolve, false, "the address cannot be used", begun);
        return false;
    };
    let (host, port) = (endpoint.host().to_owned(), endpoint.port());
    let host = host.trim_matches(['[', ']']).to_owned();
    let looked = tokio::time::timeout(PATIENCE, tokio::net::lookup_host((host.as_str(), port))).await;
    let addresses: Vec<_> = match looked {
        Ok(Ok(addresses)) => addresses.collect(),
        Ok(Err(error)) => {
            steps.add(StepName::Resolve, false, format!("{host}: {error}"), begun);
            return false;
        }
        Err(_) => {
            steps.add(
                StepName::Resolve,
                false,
                format!("{host}: no answer in time"),
                begun,
            );
            return false;
        }
    };
    let shown: Vec<String> = addresses.iter().map(|one| one.ip().to_string()).collect();
    steps.add(
        StepName::Resolve,
        !addresses.is_empty(),
        format!("{host} is {}", shown.join(", ")),
        begun,
    );
    let begun = Instant::now();
    let patience = plan.http.connect_timeout.min(PATIENCE);
    let connected = tokio::time::timeout(patience, TcpStream::connect(addresses.as_slice())).await;
    let (ok, detail) = match connected {
        Ok(Ok(stream)) => match stream.peer_addr() {
            Ok(peer) => (true, format!("connected to {peer}")),
            Err(error) => (false, error.to_string()),
        },
        Ok(Err(error)) => (false, format!("{host}:{port}: {error}")),
        Err(_) => (false, format!("{host}:{port}: no connection within {patience:?}")),
    };
    steps.add(StepName::Connect, ok, detail, begun);
    ok
}

/// The exchange itself.
async fn ask(api: &Api, key: &ObjectKey, ready: &ReadyToUse, steps: &mut Steps) {
    let begun = Instant::now();
    let https = ready.plan.url.starts_with("https:");
    let Some(credentials) = credentials(api, key, ready).await else {
        let detail = match &ready.initial {
            Err(problem) => problem.message.clone(),
            Ok(_) => "there are no credentials".to_owned(),
        };
        steps.add(StepName::Genm, false, detail, begun);
        return;
    };
    if !ready.engine.capabilities().general {
        steps.add(
            StepName::Genm,
            false,
            format!("the engine {} sends no general messages", ready.engine.name()),
            begun,
        );
        return;
    }
    let answered = tokio::time::timeout(PATIENCE * 2, exchange(api, ready, &credentials)).await;
    match answered {
        Err(_) => steps.add(StepName::Genm, false, "no answer in time", begun),
        Ok(Ok(detail)) => {
            if https {
                steps.add(StepName::Tls, true, "the server's certificate is trusted", begun);
            }
            steps.add(StepName::Genm, true, detail, begun);
            steps.add(StepName::Verify, true, "the answer is authentic", begun);
        }
        Ok(Err(error)) => failed(&error, https, steps, begun),
    }
}

fn failed(error: &CmpError, https: bool, steps: &mut Steps, begun: Instant) {
    let transport = match &error.kind {
        ErrorKind::Transport { kind, .. } => Some(*kind),
        _ => None,
    };
    if matches!(
        transport,
        Some(TransportErrorKind::Tls | TransportErrorKind::TlsTrust)
    ) {
        steps.add(StepName::Tls, false, error.to_string(), begun);
        return;
    }
    if https {
        steps.add(StepName::Tls, true, "the server's certificate is trusted", begun);
    }
    let unanswered = transport.is_some();
    let authentic = error.peer.as_ref().is_some_and(|peer| peer.authentic);
    if unanswered || authentic {
        steps.add(StepName::Genm, false, error.to_string(), begun);
        if authentic {
            // The CA says no, and it is the CA: everything on the way to it works.
            steps.add(StepName::Verify, true, "the refusal is authentic", begun);
        }
        return;
    }
    steps.add(StepName::Genm, true, "an answer came", begun);
    steps.add(StepName::Verify, false, error.to_string(), begun);
}

async fn exchange(api: &Api, ready: &ReadyToUse, credentials: &Credentials) -> Result<String, CmpError> {
    let context = Context {
        credentials,
        peer: &ready.peer,
        key: None,
        now: api.clock.now(),
    };
    let mut transaction = ready
        .engine
        .begin(&Request::General(General::CaCerts), &context)?;
    for _ in 0..MAX_ROUNDS {
        match ready.engine.exchange(&mut transaction, &context).await? {
            Step::Send => {}
            Step::Wait { until } => return Ok(format!("the CA wants time until {until:.0}")),
            Step::Done(Outcome::General(answer)) => {
                return Ok(match *answer {
                    GeneralAnswer::CaCerts(all) => format!("the CA named {} certificates", all.len()),
                    _ => "the CA answered".to_owned(),
                });
            }
            Step::Done(_) | Step::Issued(_) => return Ok("the CA answered".to_owned()),
        }
    }
    Ok("the CA goes on asking".to_owned())
}

/// The identity where there is one, else the initial credentials.
async fn credentials(api: &Api, key: &ObjectKey, ready: &ReadyToUse) -> Option<Arc<Credentials>> {
    let initial = ready.initial.as_ref().ok().cloned();
    if ready.plan.identity.is_none() {
        return initial;
    }
    let subject = Subject::Identity(key.clone());
    let recorded = api.store.read_record(&subject).await.ok().flatten();
    let current = recorded
        .and_then(|seen| Record::from_bytes(seen.bytes.expose()).ok())
        .and_then(|record| record.current);
    let own = current.and_then(|issued| {
        let key = issued.key.as_ref()?.key().ok()?;
        Credentials::signature(key, issued.certificate.clone(), issued.chain.clone()).ok()
    });
    own.map(Arc::new).or(initial)
}
