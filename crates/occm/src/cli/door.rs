//! The API's part of `occm serve` and `occm dev`: its options, its port, who may log in.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::api::oidc::{Oidc, OidcSettings};
use crate::api::{About, Api, CookieSeal, Door, Limits, Local, Logins, Setup, server, tls, write_private};
use crate::cli::guard;
use crate::client::dir::DirObjects;
use crate::client::{Objects, Scope};
use crate::clock::Clock;
use crate::engines;
use crate::model::duration;
#[cfg(feature = "kube")]
use crate::model::object::ObjectKey;
use crate::store::Store;
use crate::store::dir::DirStore;

/// Longest text before a login, in bytes.
const MAX_BANNER: u64 = 16 * 1024;

/// How the REST API and the console are served.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct DoorArgs {
    /// Serve the REST API and the console at this address, for example 127.0.0.1:8443; port 0 = any free one
    #[arg(long = "listen", env = "OCCM_LISTEN", value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Certificate (and chain) of the API's server; read again when it changes
    #[arg(long, env = "OCCM_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Private key of the API's server; read again when it changes
    #[arg(long, env = "OCCM_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Host names and addresses in the certificate that occm makes for itself until the files of --tls-cert are there
    #[arg(
        long,
        env = "OCCM_TLS_NAMES",
        value_delimiter = ',',
        value_name = "NAMES",
        default_value = "localhost,127.0.0.1"
    )]
    tls_names: Vec<String>,
    /// Serve without TLS also at an address that others can reach: only behind something that does TLS
    #[arg(long, env = "OCCM_PLAIN_HTTP")]
    plain_http: bool,
    /// Keys of the session cookies: one base64 text of 32 random bytes a line, the first one seals; the same for all replicas
    #[arg(long, env = "OCCM_COOKIE_KEYS", value_name = "FILE")]
    cookie_keys: Option<PathBuf>,
    /// Kubernetes: Secret in occm's own namespace with these keys, under `keys`; made by the first replica that misses it
    #[arg(
        long,
        env = "OCCM_COOKIE_SECRET",
        value_name = "NAME",
        conflicts_with = "cookie_keys"
    )]
    cookie_secret: Option<String>,
    /// Users (YAML: name, password as `occm password` prints it, roles by namespace); on a host only
    #[arg(long, env = "OCCM_USERS", value_name = "FILE")]
    users: Option<PathBuf>,
    /// Text that is shown before a login
    #[arg(long, env = "OCCM_LOGIN_BANNER", value_name = "FILE")]
    login_banner: Option<PathBuf>,
    #[command(flatten)]
    oidc: OidcArgs,
    /// A session ends after so long without a request
    #[arg(
        long,
        env = "OCCM_IDLE_TIMEOUT",
        value_name = "DURATION",
        default_value = "30m"
    )]
    idle_timeout: String,
    /// Requests of one address in a second, over longer times
    #[arg(long, env = "OCCM_REQUESTS_PER_SECOND", value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    requests_per_second: u32,
    /// Logins of one address in a minute; behind a proxy all people have its address
    #[arg(long, env = "OCCM_LOGINS_PER_MINUTE", value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    logins_per_minute: u32,
}

/// How people log in with an OpenID Connect provider; in Kubernetes only.
#[derive(Args, Clone, Debug, Default)]
struct OidcArgs {
    /// Issuer identifier of an OpenID Connect provider: people may log in with it
    #[arg(long, env = "OCCM_OIDC_ISSUER", value_name = "URL", requires_all = ["oidc_client_id", "external_url"])]
    oidc_issuer: Option<String>,
    /// Name of this client at the provider
    #[arg(long, env = "OCCM_OIDC_CLIENT_ID", value_name = "ID")]
    oidc_client_id: Option<String>,
    /// Secret of this client at the provider; none for a public client
    #[arg(long, env = "OCCM_OIDC_CLIENT_SECRET_FILE", value_name = "FILE")]
    oidc_client_secret_file: Option<PathBuf>,
    /// Name on the login button
    #[arg(
        long,
        env = "OCCM_OIDC_NAME",
        value_name = "TEXT",
        default_value = "OpenID Connect"
    )]
    oidc_name: String,
    /// CA certificates of the provider's server. Default: the operating system's
    #[arg(long, env = "OCCM_OIDC_CA", value_name = "FILE")]
    oidc_ca: Option<PathBuf>,
    /// What is asked for
    #[arg(
        long,
        env = "OCCM_OIDC_SCOPES",
        value_delimiter = ',',
        value_name = "SCOPES",
        default_value = "openid"
    )]
    oidc_scopes: Vec<String>,
    /// Claim of the ID token that names the user in RBAC
    #[arg(
        long,
        env = "OCCM_OIDC_USER_CLAIM",
        value_name = "CLAIM",
        default_value = "sub"
    )]
    oidc_user_claim: String,
    /// What stands before that name, so that it is nobody else's
    #[arg(
        long,
        env = "OCCM_OIDC_USER_PREFIX",
        value_name = "TEXT",
        default_value = "oidc:"
    )]
    oidc_user_prefix: String,
    /// Claim of the ID token that lists the user's groups
    #[arg(
        long,
        env = "OCCM_OIDC_GROUPS_CLAIM",
        value_name = "CLAIM",
        default_value = "groups"
    )]
    oidc_groups_claim: String,
    /// What stands before the name of each group
    #[arg(
        long,
        env = "OCCM_OIDC_GROUPS_PREFIX",
        value_name = "TEXT",
        default_value = "oidc:"
    )]
    oidc_groups_prefix: String,
    /// Address under which browsers reach this API, for the way back from the provider
    #[arg(long, env = "OCCM_EXTERNAL_URL", value_name = "URL")]
    external_url: Option<String>,
}

impl OidcArgs {
    fn provider(&self) -> anyhow::Result<Option<Oidc>> {
        let Some(issuer) = &self.oidc_issuer else {
            return Ok(None);
        };
        let settings = OidcSettings {
            issuer: issuer.clone(),
            client_id: self.oidc_client_id.clone().unwrap_or_default(),
            client_secret: self.oidc_client_secret_file.clone(),
            name: self.oidc_name.clone(),
            anchors: self.oidc_ca.clone(),
            scopes: self.oidc_scopes.clone(),
            user_claim: self.oidc_user_claim.clone(),
            user_prefix: self.oidc_user_prefix.clone(),
            groups_claim: self.oidc_groups_claim.clone(),
            groups_prefix: self.oidc_groups_prefix.clone(),
            external_url: self.external_url.clone().unwrap_or_default(),
        };
        Oidc::new(settings).map(Some)
    }
}

/// What the rest of the process tells the API.
pub(crate) struct Place {
    pub(crate) store: &'static str,
    pub(crate) home: String,
    pub(crate) namespaces: Vec<String>,
    pub(crate) holder: String,
    pub(crate) leads: Box<dyn Fn() -> bool + Send + Sync>,
    pub(crate) openssl: PathBuf,
}

/// An API that is served.
pub(crate) struct Served {
    pub(crate) url: String,
    running: JoinHandle<()>,
}

impl Served {
    /// Waits for its end.
    pub(crate) async fn ended(self) {
        let _ = self.running.await;
    }
}

impl DoorArgs {
    /// As `occm dev` serves it.
    pub(crate) fn at(listen: SocketAddr) -> Self {
        Self {
            listen: Some(listen),
            idle_timeout: "30m".to_owned(),
            requests_per_second: 200,
            logins_per_minute: 20,
            ..Self::default()
        }
    }

    /// Serves a directory, if an address was given. Without a file of users, each new one-time login is told to `tell`.
    pub(crate) async fn serve_directory(
        &self,
        dir: &Path,
        store: Arc<DirStore>,
        place: Place,
        tell: impl Fn(&str) + Send + Sync + 'static,
        stop: watch::Receiver<bool>,
    ) -> anyhow::Result<Option<Served>> {
        let Some((listener, url)) = self.bind().await? else {
            return Ok(None);
        };
        anyhow::ensure!(
            self.oidc.oidc_issuer.is_none(),
            "--oidc-issuer: OpenID Connect works in Kubernetes, where RBAC says what people may do; allowed: --users"
        );
        anyhow::ensure!(
            self.cookie_secret.is_none(),
            "--cookie-secret: there are no Secrets of a cluster here; allowed: --cookie-keys"
        );
        let private = dir.join(".occm/api");
        let logins = match &self.users {
            Some(file) => Local::from_file(file)?,
            None => one_time(&private, &url, tell)?,
        };
        let seal = match &self.cookie_keys {
            Some(file) => CookieSeal::from_file(file)?,
            None => CookieSeal::from_own_file(&private.join("cookie-keys"))?,
        };
        let objects: Arc<dyn Objects> = Arc::new(DirObjects::beside(Arc::clone(&store)).at_home(&place.home));
        let door = Door::Shared(Arc::clone(&objects));
        let setup = self.setup(place, Logins::Local(logins), Arc::new(seal), door, store)?;
        let api = Api::start(setup, objects.as_ref(), vec![Scope::All]);
        self.run(api, listener, url, stop).map(Some)
    }

    /// Serves a cluster, if an address was given.
    #[cfg(feature = "kube")]
    pub(crate) async fn serve_cluster(
        &self,
        config: &kube::Config,
        store: Arc<dyn Store>,
        place: Place,
        stop: watch::Receiver<bool>,
    ) -> anyhow::Result<Option<Served>> {
        let Some((listener, url)) = self.bind().await? else {
            return Ok(None);
        };
        anyhow::ensure!(
            self.users.is_none(),
            "--users: in Kubernetes the cluster knows the users; allowed: with --store only"
        );
        let cluster = crate::api::cluster::Cluster::new(config, &place.home).context("Kubernetes client")?;
        let objects = cluster.own().clone();
        let seal = Arc::new(match (&self.cookie_keys, &self.cookie_secret) {
            (Some(file), _) => CookieSeal::from_file(file)?,
            (None, Some(_)) => CookieSeal::waiting(),
            (None, None) => CookieSeal::ephemeral()?,
        });
        if let Some(name) = &self.cookie_secret {
            let secret = ObjectKey::new(&place.home, name);
            let following = crate::api::cluster::follow_keys(
                Arc::clone(&seal),
                objects.clone(),
                Arc::clone(&store),
                secret,
            );
            tokio::spawn(following);
        }
        let scopes = place.namespaces.iter().cloned().map(Scope::Namespace).collect();
        let setup = self.setup(place, Logins::Cluster(cluster), seal, Door::Cluster, store)?;
        let api = Api::start(setup, &objects, scopes);
        self.run(api, listener, url, stop).map(Some)
    }

    async fn bind(&self) -> anyhow::Result<Option<(TcpListener, String)>> {
        let Some(address) = self.listen else {
            return Ok(None);
        };
        let scheme = if self.tls_cert.is_some() { "https" } else { "http" };
        anyhow::ensure!(
            self.tls_cert.is_some() || self.plain_http || address.ip().is_loopback(),
            "--listen {address}: others can reach that address and nothing would be encrypted; allowed: --tls-cert and \
             --tls-key, a loopback address, or --plain-http behind something that does TLS"
        );
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("--listen {address}"))?;
        let url = format!("{scheme}://{}", listener.local_addr()?);
        Ok(Some((listener, url)))
    }

    fn setup(
        &self,
        place: Place,
        authority: Logins,
        seal: Arc<CookieSeal>,
        door: Door,
        store: Arc<dyn Store>,
    ) -> anyhow::Result<Setup> {
        let clock = Clock::system();
        let idle = duration::parse(&self.idle_timeout)
            .map_err(|problem| anyhow::anyhow!("--idle-timeout {problem}; allowed: {}", duration::ALLOWED))?;
        Ok(Setup {
            oidc: self.oidc.provider()?,
            about: About {
                store: place.store,
                home: place.home,
                namespaces: place.namespaces,
                holder: place.holder,
                leads: place.leads,
                since: clock.now(),
                https: self.tls_cert.is_some()
                    || self
                        .oidc
                        .external_url
                        .as_deref()
                        .is_some_and(|url| url.starts_with("https://")),
                banner: self.login_banner.as_deref().map(banner).transpose()?,
            },
            limits: Limits {
                idle,
                requests_per_second: self.requests_per_second,
                logins_per_minute: self.logins_per_minute,
                ..Limits::default()
            },
            authority,
            seal,
            door,
            store,
            make_engine: engines::make(place.openssl, guard::before()),
            clock,
        })
    }

    fn run(
        &self,
        api: Arc<Api>,
        listener: TcpListener,
        url: String,
        stop: watch::Receiver<bool>,
    ) -> anyhow::Result<Served> {
        let tls = match (&self.tls_cert, &self.tls_key) {
            (Some(certificate), Some(key)) => {
                let files = tls::Files {
                    certificate: certificate.clone(),
                    key: key.clone(),
                };
                Some(tls::Serving::start(files, &self.tls_names)?)
            }
            _ => None,
        };
        tracing::info!(url, "the REST API is served");
        let running = tokio::spawn(server::serve(api, listener, tls, stop));
        Ok(Served { url, running })
    }
}

fn banner(file: &Path) -> anyhow::Result<String> {
    let shown = file.display();
    let size = std::fs::metadata(file)
        .with_context(|| format!("--login-banner {shown}"))?
        .len();
    anyhow::ensure!(
        size <= MAX_BANNER,
        "--login-banner {shown}: has {size} bytes; allowed: {MAX_BANNER}"
    );
    std::fs::read_to_string(file).with_context(|| format!("--login-banner {shown}"))
}

/// A login that is good once, and a token for programs, both also in files that only this user may read.
fn one_time(private: &Path, url: &str, tell: impl Fn(&str) + Send + Sync + 'static) -> anyhow::Result<Local> {
    let token = pki::random::text(32)?;
    let file = private.join("token");
    write_private(&file, token.as_bytes()).with_context(|| file.display().to_string())?;
    let (login_file, url) = (private.join("login"), url.to_owned());
    Local::one_time(
        &token,
        Box::new(move |login| {
            let link = format!("{url}/login#token={login}");
            if let Err(error) = write_private(&login_file, link.as_bytes()) {
                tracing::warn!(%error, file = %login_file.display(), "the next login cannot be written down");
            }
            tell(&link);
        }),
    )
}
