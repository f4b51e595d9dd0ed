//! The CA as one object: what it is made of, and its doors for tests.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::OpenOptionsExt,
    sync::{Arc, Mutex, OnceLock, PoisonError, RwLock},
    time::Duration,
};

use cmp::Credentials;
use jiff::{SignedDuration, Timestamp};
use pki::Certificate;

use crate::{
    authority::{self, Authority, NextRoot},
    config::{Config, Policy, Signer},
    error::Error,
    faults::Faults,
    issue,
    ledger::Ledger,
    transactions::Transactions,
};

/// nextUpdate of a CRL is this long after thisUpdate.
const CRL_LIFE: SignedDuration = SignedDuration::from_hours(24);
/// A CRL is made anew when a certificate was revoked, and after this time.
const CRL_FRESH: SignedDuration = SignedDuration::from_mins(5);

/// A certification authority for development and tests. It signs what it is asked to sign: **not for production**.
///
/// All methods can be called from any thread; they never block for longer than a signature takes.
pub struct DevCa {
    pub(crate) config: Config,
    policy: RwLock<Arc<Policy>>,
    pub(crate) authority: Authority,
    /// Signs answers.
    pub(crate) credentials: Credentials,
    pub(crate) ledger: Ledger,
    pub(crate) faults: Faults,
    pub(crate) transactions: Mutex<Transactions>,
    crl: Mutex<Option<Crl>>,
    impostor: OnceLock<Option<Authority>>,
    next_root: OnceLock<Option<NextRoot>>,
    /// Held as long as the CA lives, so that no second process uses the directory.
    _lock: Option<File>,
}

struct Crl {
    der: Arc<[u8]>,
    made_at: Timestamp,
    revoked: usize,
}

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// What the client gets.
    pub delivery: Delivery,
    /// How long it waits for it.
    pub delay: Duration,
    /// How wrong the transport's clock is, in seconds.
    pub date_skew: i64,
}

/// What the client gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// An HTTP answer.
    Answer {
        /// HTTP status.
        status: u16,
        /// Content-Type.
        content_type: &'static str,
        /// The body.
        body: Vec<u8>,
    },
    /// The connection is closed without an answer.
    Dropped,
    /// There is no CA.
    Down,
}

impl DevCa {
    /// Makes a CA, or opens the one in `config.directory`. RSA keys take a second or more to make: not for an async
    /// thread.
    pub fn new(config: Config, now: Timestamp) -> Result<Self, Error> {
        check(&config)?;
        let (authority, ledger, lock) = match config.directory.as_deref() {
            None => (
                Authority::create(&config, now)?,
                Ledger::in_memory(config.ledger_limit),
                None,
            ),
            Some(directory) => {
                authority::make_directory(directory)?;
                let path = directory.join("ledger.jsonl");
                let open = || {
                    OpenOptions::new()
                        .create(true)
                        .append(true)
                        .mode(0o600)
                        .open(&path)
                        .map_err(|source| Error::File {
                            doing: "cannot open",
                            path: path.clone(),
                            source,
                        })
                };
                let lock = open()?;
                if lock.try_lock().is_err() {
                    return Err(Error::InUse {
                        path: directory.to_owned(),
                    });
                }
                let authority = Authority::open(directory, &config, now)?;
                (
                    authority,
                    Ledger::open(&path, open()?, config.ledger_limit)?,
                    Some(lock),
                )
            }
        };
        let credentials = credentials(&authority, &config)?;
        Ok(Self {
            credentials,
            policy: RwLock::new(Arc::new(config.policy.clone())),
            authority,
            ledger,
            faults: Faults::default(),
            transactions: Mutex::default(),
            crl: Mutex::default(),
            impostor: OnceLock::new(),
            next_root: OnceLock::new(),
            _lock: lock,
            config,
        })
    }

    /// The root certificate: the trust anchor for clients.
    pub fn root(&self) -> &Certificate {
        &self.authority.root.certificate
    }

    /// The issuing CA's certificate.
    pub fn issuing(&self) -> &Certificate {
        &self.authority.issuing.certificate
    }

    /// The certificate that signs CMP answers.
    pub fn signer(&self) -> &Certificate {
        &self.authority.signer.certificate
    }

    /// What was issued.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// What goes wrong on purpose.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// The settings in force.
    pub fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.policy.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the settings that can be changed at run time.
    pub fn set_policy(&self, policy: Policy) {
        *self.policy.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(policy);
    }

    /// Changes some of the settings that can be changed at run time.
    pub fn adjust(&self, change: impl FnOnce(&mut Policy)) {
        let mut slot = self.policy.write().unwrap_or_else(PoisonError::into_inner);
        let mut policy = Policy::clone(&slot);
        change(&mut policy);
        *slot = Arc::new(policy);
    }

    /// The CRL of the issuing CA, DER. Deadlines of certConf that are over at `now` are applied first.
    pub fn crl(&self, now: Timestamp) -> Result<Arc<[u8]>, Error> {
        Ok(self.crl_with_time(now)?.0)
    }

    /// The CRL and its thisUpdate.
    pub(crate) fn crl_with_time(&self, now: Timestamp) -> Result<(Arc<[u8]>, Timestamp), Error> {
        self.ledger.expire(now);
        let count = self.ledger.revoked_count();
        let mut slot = self.crl.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(crl) = slot.as_ref()
            && crl.revoked == count
            && now.duration_since(crl.made_at).abs() < CRL_FRESH
        {
            return Ok((Arc::clone(&crl.der), crl.made_at));
        }
        let number = u64::try_from(now.as_microsecond()).unwrap_or(0);
        let next_update = now.saturating_add(CRL_LIFE).unwrap_or(now);
        let der = issue::crl(
            &self.authority.issuer,
            number,
            &self.ledger.revoked(),
            now,
            next_update,
        )?;
        let der: Arc<[u8]> = der.into();
        *slot = Some(Crl {
            der: Arc::clone(&der),
            made_at: now,
            revoked: count,
        });
        Ok((der, now))
    }

    /// Keys and certificates of the same names that nobody trusts. Made when first needed.
    pub(crate) fn impostor(&self, now: Timestamp) -> Option<&Authority> {
        self.impostor
            .get_or_init(|| self.authority.impostor(&self.config, now).ok())
            .as_ref()
    }

    /// The next root. Made when first needed.
    pub(crate) fn next_root(&self, now: Timestamp) -> Option<&NextRoot> {
        self.next_root
            .get_or_init(|| self.authority.next_root(&self.config, now).ok())
            .as_ref()
    }
}

fn credentials(authority: &Authority, config: &Config) -> Result<Credentials, Error> {
    let chain = match config.signer {
        Signer::Separate => vec![authority.issuing.certificate.clone()],
        Signer::IssuingCa => Vec::new(),
    };
    Credentials::signature(
        authority.signer.key.clone(),
        authority.signer.certificate.clone(),
        chain,
    )
    .map_err(|_| Error::Setting {
        field: "signer",
        reason: "its certificate must fit its key",
    })
}

fn check(config: &Config) -> Result<(), Error> {
    if config.name.is_empty() || config.name.chars().count() > 40 {
        return Err(Error::Setting {
            field: "name",
            reason: "1 to 40 characters",
        });
    }
    if config.policy.validity_seconds == 0 || config.policy.max_validity_seconds == 0 {
        return Err(Error::Setting {
            field: "validitySeconds",
            reason: "at least 1",
        });
    }
    if config.secrets.values().any(pki::Secret::is_empty) {
        return Err(Error::Setting {
            field: "secrets",
            reason: "no secret may be empty",
        });
    }
    Ok(())
}
