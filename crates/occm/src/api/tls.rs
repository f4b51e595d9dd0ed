//! TLS of the API: certificate and key from files, read again when they change; until they are there, a certificate that
//! this process made for itself.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// How often files are looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// TLS for connections that come in.
pub(crate) struct Serving {
    acceptor: TlsAcceptor,
}

/// Where certificate and key lie.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Serving {
    /// With these files. If they are not there yet, connections are served with a certificate that nobody vouches for, which
    /// is said loudly, until they are.
    pub(crate) fn start(files: Files, names: &[String]) -> anyhow::Result<Self> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let known = match load(&files) {
            Ok(key) => Held {
                key: Arc::new(key),
                stamp: stamp(&files),
                looked: Instant::now(),
            },
            Err(error) => {
                let (key, fingerprint) = own_certificate(names)?;
                tracing::warn!(
                    certificate = %files.certificate.display(),
                    %error,
                    fingerprint,
                    "no serving certificate yet: serving with one that this process made for itself; browsers warn of it. \
                     It is replaced as soon as the files are there",
                );
                Held {
                    key: Arc::new(key),
                    stamp: None,
                    looked: Instant::now(),
                }
            }
        };
        let resolver = Resolver {
            files,
            held: Mutex::new(known),
        };
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .context("TLS settings")?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(resolver));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
        })
    }

    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        self.acceptor.accept(stream).await
    }
}

type Stamp = (SystemTime, SystemTime);

struct Held {
    key: Arc<CertifiedKey>,
    stamp: Option<Stamp>,
    looked: Instant,
}

struct Resolver {
    files: Files,
    held: Mutex<Held>,
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Resolver")
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.looked.elapsed() >= LOOK_AGAIN {
            held.looked = Instant::now();
            let now = stamp(&self.files);
            if now.is_some() && now != held.stamp {
                match load(&self.files) {
                    Ok(key) => {
                        tracing::info!(certificate = %self.files.certificate.display(), "serving certificate read again");
                        held.key = Arc::new(key);
                        held.stamp = now;
                    }
                    // The two files are not replaced in one moment; the next look sees both.
                    Err(error) => {
                        tracing::warn!(%error, "serving certificate cannot be read; the known one stays")
                    }
                }
            }
        }
        Some(Arc::clone(&held.key))
    }
}

fn stamp(files: &Files) -> Option<Stamp> {
    let of = |path: &Path| std::fs::metadata(path).ok()?.modified().ok();
    Some((of(&files.certificate)?, of(&files.key)?))
}

fn load(files: &Files) -> anyhow::Result<CertifiedKey> {
    let shown = files.certificate.display();
    let bytes = std::fs::read(&files.certificate).with_context(|| shown.to_string())?;
    let certificates = pki::encoding::parse_certificates(&bytes).with_context(|| shown.to_string())?;
    let shown = files.key.display();
    let bytes = zeroize::Zeroizing::new(std::fs::read(&files.key).with_context(|| shown.to_string())?);
    let key = pki::PrivateKey::from_bytes(&bytes).with_context(|| shown.to_string())?;
    let leaf = certificates
        .iter()
        .find(|certificate| certificate.matches_key(&key))
        .with_context(|| format!("{shown}: fits none of the certificates"))?;
    let mut chain = vec![leaf.clone()];
    chain.extend(certificates.iter().filter(|one| *one != leaf).cloned());
    certified(&chain, &key)
}

fn certified(chain: &[pki::Certificate], key: &pki::PrivateKey) -> anyhow::Result<CertifiedKey> {
    let der = key.to_pkcs8_der()?;
    let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(der.to_vec()));
    let signer = aws_lc_rs::sign::any_supported_type(&der).context("the key cannot be used for TLS")?;
    let chain = chain
        .iter()
        .map(|certificate| CertificateDer::from(certificate.der().to_vec()))
        .collect();
    Ok(CertifiedKey::new(chain, signer))
}

/// A certificate for these names that lives for a month and is never kept.
fn own_certificate(names: &[String]) -> anyhow::Result<(CertifiedKey, String)> {
    let subject = pki::Name::from_parts(&[("CN", "occm, nobody vouches for this")])?;
    let mut template = pki::CertificateTemplate::new(subject);
    for name in names {
        template.sans.push(match name.parse() {
            Ok(address) => pki::San::Ip(address),
            Err(_) => pki::San::dns(name).with_context(|| name.clone())?,
        });
    }
    let life = jiff::SignedDuration::from_hours(30 * 24);
    let (certificate, key) = devca::self_signed(&template, life, jiff::Timestamp::now())?;
    let fingerprint = certificate.fingerprint_sha256();
    Ok((certified(&[certificate], &key)?, fingerprint))
}
