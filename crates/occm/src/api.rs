//! The REST API: another door to the same objects, with the same checks, for the console and for programs.
//!
//! ```text
//!   connection ─ server ─> guard ─────────> identify ────────> operation ───────> door ──> objects
//!                 TLS      request id,      cookie or          may this caller    (caller's own rights
//!                 bounds   rate, headers    bearer token       do that here?       in Kubernetes)
//!                                                                  │
//!                                              view <── watch ─────┘ lists, counts, live changes
//! ```
//!
//! [`table`] is the one list of operations: the router and the OpenAPI document are both made of it. No answer of this
//! module holds a private key or a shared secret: what it reads of Secrets are certificates and names.

mod access;
mod activity;
mod acts;
mod assets;
mod audit;
mod bounds;
mod bulk;
mod caller;
mod chain;
mod changes;
#[cfg(feature = "kube")]
pub(crate) mod cluster;
mod contact;
mod dto;
mod guard;
mod list;
mod local;
mod looks;
mod objects;
pub(crate) mod oidc;
pub(crate) mod openapi;
mod problem;
mod routes;
mod seal;
mod secrets;
pub(crate) mod server;
mod session;
mod system;
mod table;
pub(crate) mod tls;
mod view;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::api::access::Authority;
use crate::api::audit::Audit;
use crate::api::guard::Rates;
use crate::api::oidc::Oidc;
use crate::api::seal::Seal;
use crate::api::session::Ended;
use crate::api::view::View;
use crate::client::{Objects, Scope};
use crate::clock::Clock;
use crate::reconcile::issuer::MakeEngine;
use crate::store::Store;

pub(crate) use crate::api::access::Authority as Logins;
pub(crate) use crate::api::local::{Local, hash_password, write_private};
pub(crate) use crate::api::objects::Door;
pub(crate) use crate::api::seal::Seal as CookieSeal;

/// Everything that the operations share.
pub(crate) struct Api {
    pub(crate) about: About,
    pub(crate) limits: Limits,
    pub(crate) view: Arc<View>,
    pub(crate) authority: Authority,
    pub(crate) seal: Arc<Seal>,
    pub(crate) oidc: Option<Oidc>,
    pub(crate) rates: Rates,
    pub(crate) audit: Audit,
    /// Sessions that were logged out.
    pub(crate) ended: Ended,
    pub(crate) door: Door,
    /// With occm's own rights: read for public facts only.
    pub(crate) store: Arc<dyn Store>,
    pub(crate) make_engine: MakeEngine,
    pub(crate) clock: Clock,
}

/// What an [`Api`] is made of.
pub(crate) struct Setup {
    pub(crate) oidc: Option<Oidc>,
    pub(crate) about: About,
    pub(crate) limits: Limits,
    pub(crate) authority: Authority,
    pub(crate) seal: Arc<Seal>,
    pub(crate) door: Door,
    /// With occm's own rights: read for public facts only.
    pub(crate) store: Arc<dyn Store>,
    pub(crate) make_engine: MakeEngine,
    pub(crate) clock: Clock,
}

impl Api {
    /// An API that follows `objects`, which see what this process may see, in these scopes.
    pub(crate) fn start(setup: Setup, objects: &dyn Objects, scopes: Vec<Scope>) -> Arc<Self> {
        let view = Arc::new(View::new(&setup.about.home));
        view.follow(objects, scopes);
        Arc::new(Self {
            view,
            rates: Rates::new(setup.limits.streams),
            audit: Audit::new(setup.about.since),
            ended: Ended::default(),
            about: setup.about,
            limits: setup.limits,
            authority: setup.authority,
            seal: setup.seal,
            oidc: setup.oidc,
            door: setup.door,
            store: setup.store,
            make_engine: setup.make_engine,
            clock: setup.clock,
        })
    }
}

/// What this process is.
pub(crate) struct About {
    /// Kind of store, as people call it.
    pub(crate) store: &'static str,
    /// occm's own namespace.
    pub(crate) home: String,
    /// The managed namespaces; empty = every namespace of a directory.
    pub(crate) namespaces: Vec<String>,
    /// Names this process.
    pub(crate) holder: String,
    /// Who leads: whether this process does, and the name of the holder where it is known.
    pub(crate) leads: Box<dyn Fn() -> bool + Send + Sync>,
    /// When this process started.
    pub(crate) since: Timestamp,
    /// Whether browsers reach it by https: cookies are then marked `Secure`.
    pub(crate) https: bool,
    /// Text shown before a login.
    pub(crate) banner: Option<String>,
}

/// Bounds of the door. They are told by `GET /api/v1/limits`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Largest request body, in bytes.
    pub(crate) body_bytes: usize,
    /// Most items of one page.
    pub(crate) page: usize,
    /// Items of a page when none are asked for.
    pub(crate) default_page: usize,
    /// Requests of one caller in a second, over longer times.
    pub(crate) requests_per_second: u32,
    /// Logins from one address in a minute.
    pub(crate) logins_per_minute: u32,
    /// Open connections.
    pub(crate) connections: usize,
    /// Live change streams.
    pub(crate) streams: usize,
    /// Events and audit lines that are kept in memory.
    pub(crate) activity: usize,
    /// A session ends after so long without a request.
    pub(crate) idle: Duration,
    /// A session ends after so long whatever happens.
    pub(crate) session: Duration,
    /// Longest time for one request.
    pub(crate) request: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 256 * 1024,
            page: 500,
            default_page: 100,
            requests_per_second: 50,
            logins_per_minute: 20,
            connections: 512,
            streams: 128,
            activity: 2000,
            idle: Duration::from_secs(30 * 60),
            session: Duration::from_secs(12 * 60 * 60),
            request: Duration::from_secs(60),
        }
    }
}
