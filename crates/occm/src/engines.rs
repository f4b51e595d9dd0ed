//! Makes the engine of an Issuer from its plan.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cmp::http::{
    Endpoint, HttpConfig, HttpProxy, HttpTransport, HttpVersion, NoProxy, TlsAnchors, TlsConfig, TlsIdentity,
    TlsVersion,
};
use cmp::openssl::{OpenSsl, OpenSslConfig};
use cmp::{Engine, Native};
use pki::Anchors;

use crate::model::issuer::{self, EngineKind};
use crate::model::plan::{IssuerPlan, TlsPlan};
use crate::model::reason::Reason;
use crate::reconcile::issuer::{MakeEngine, Problem, TlsMaterial};

/// Makes engines; `openssl` is the program of the engine `OpenSSL`, `guard` what is put before it so that it does not outlive
/// us ([`OpenSslConfig::guard`]).
pub fn make(openssl: PathBuf, guard: Vec<OsString>) -> MakeEngine {
    Arc::new(move |plan, tls| {
        let config = http_config(plan, tls)?;
        match plan.engine {
            EngineKind::Native => native(config),
            EngineKind::OpenSSL => external(config, &openssl, &guard),
        }
    })
}

fn native(config: HttpConfig) -> Result<Arc<dyn Engine>, Problem> {
    let transport = HttpTransport::new(config).map_err(|error| invalid("spec.tls", error))?;
    Ok(Arc::new(Native::new(Arc::new(transport))))
}

/// The version of the command is asked for here, once for each change of the Issuer; that blocks one worker thread for
/// the few milliseconds that it takes.
fn external(http: HttpConfig, program: &Path, guard: &[OsString]) -> Result<Arc<dyn Engine>, Problem> {
    let config = OpenSslConfig {
        command: program.to_owned(),
        guard: guard.to_owned(),
        ..OpenSslConfig::new(http)
    };
    let started =
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(OpenSsl::start(config)));
    let engine = started.map_err(|error| Problem {
        reason: Reason::EngineUnavailable,
        message: format!(
            "spec.engine: {error}; allowed: Native, or OpenSSL with the openssl command 3.0 or later"
        ),
    })?;
    let missing = engine.version().missing();
    if !missing.is_empty() {
        tracing::info!(version = %engine.version(), missing = missing.join(", "), "engine OpenSSL");
    }
    Ok(Arc::new(engine))
}

fn invalid(path: &str, error: impl std::fmt::Display) -> Problem {
    Problem {
        reason: Reason::IssuerInvalid,
        message: format!("{path}: {error}"),
    }
}

fn http_config(plan: &IssuerPlan, tls: Option<TlsMaterial>) -> Result<HttpConfig, Problem> {
    let url: Endpoint = plan.url.parse().map_err(|error| invalid("spec.url", error))?;
    let mut config = HttpConfig::new(url);
    config.version = match plan.http.version {
        issuer::HttpVersion::V1_0 => HttpVersion::Http10,
        issuer::HttpVersion::V1_1 => HttpVersion::Http11,
    };
    config.connect_timeout = plan.http.connect_timeout;
    config.request_timeout = plan.http.request_timeout;
    config.total_timeout = plan.http.connect_timeout + plan.http.request_timeout + Duration::from_secs(5);
    if let Some(proxy) = &plan.http.proxy {
        let url = proxy.parse().map_err(|error| invalid("spec.http.proxy", error))?;
        config.proxy = Some(HttpProxy {
            url,
            credentials: None,
        });
        config.no_proxy = NoProxy::parse(&plan.http.no_proxy.join(","));
    }
    if let (Some(wish), Some(material)) = (&plan.tls, tls) {
        config.tls = Some(tls_config(wish, material)?);
    }
    Ok(config)
}

fn tls_config(wish: &TlsPlan, material: TlsMaterial) -> Result<TlsConfig, Problem> {
    let anchors = Anchors::new(material.anchors).map_err(|error| invalid("spec.trust.tls", error))?;
    let mut tls = TlsConfig::new(TlsAnchors::Certificates(anchors));
    tls.min_version = match wish.min_version {
        issuer::TlsVersion::V1_2 => TlsVersion::Tls12,
        issuer::TlsVersion::V1_3 => TlsVersion::Tls13,
    };
    tls.identity = material.client.map(|(chain, key)| TlsIdentity { key, chain });
    tls.groups = words("spec.tls.groups", &wish.groups)?;
    tls.ciphers = words("spec.tls.cipherSuites", &wish.cipher_suites)?;
    tls.server_name.clone_from(&wish.server_name);
    Ok(tls)
}

fn words<T>(path: &str, texts: &[String]) -> Result<Vec<T>, Problem>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    let parse = |(i, text): (usize, &String)| {
        text.parse()
            .map_err(|error| invalid(&format!("{path}[{i}]"), error))
    };
    texts.iter().enumerate().map(parse).collect()
}
