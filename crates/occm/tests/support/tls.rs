//! A TLS server that lives on a Secret, and a client that connects to it all the time.
//!
//! The server reads its Secret through the API once a second and counts it as a fault if it is missing or does not fit. The
//! client counts each failed handshake as a fault, whatever the reason: an expired certificate, a wrong chain, a wrong name.
#![allow(dead_code, unreachable_pub, missing_docs)]
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests only"
)]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::api::Api;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::cluster::Cluster;
use crate::support::wait_for;

/// What was seen so far.
#[derive(Default)]
struct Seen {
    faults: Mutex<Vec<String>>,
    /// Serial numbers that the client was shown, in order, each once in a row.
    serials: Mutex<Vec<String>>,
    handshakes: AtomicU64,
    reads: AtomicU64,
    stop: AtomicBool,
}

impl Seen {
    fn fault(&self, what: String) {
        let time = jiff::Timestamp::now();
        self.faults.lock().unwrap().push(format!("{time} {what}"));
    }
}

pub struct Service {
    seen: Arc<Seen>,
    running: Option<JoinHandle<()>>,
}

/// The certificate that the server shows now.
#[derive(Debug)]
struct Shown(Mutex<Arc<CertifiedKey>>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.lock().unwrap().clone())
    }
}

impl Service {
    /// Serves from the Secret, and connects as somebody who trusts `root` and wants `name`.
    pub fn start(cluster: &'static Cluster, namespace: &str, secret: &str, root: &str, name: &str) -> Self {
        let seen = Arc::new(Seen::default());
        let (namespace, secret, root, name) = (
            namespace.to_owned(),
            secret.to_owned(),
            root.to_owned(),
            name.to_owned(),
        );
        let told = Arc::clone(&seen);
        let running = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                let secrets: Api<Secret> = Api::namespaced(cluster.client().await, &namespace);
                let first = fitting(&secrets.get(&secret).await.unwrap()).expect("the Secret fits");
                let shown = Arc::new(Shown(Mutex::new(Arc::new(first))));
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let address = listener.local_addr().unwrap();
                tokio::join!(
                    read(&told, &secrets, &secret, &shown),
                    answer(&told, &listener, Arc::clone(&shown)),
                    connect(&told, address, &root, &name),
                );
            });
        });
        Self {
            seen,
            running: Some(running),
        }
    }

    /// Waits until the server has just read its Secret: what befalls the Secret now has a second to be put right.
    pub fn just_read(&self) {
        let before = self.seen.reads.load(Ordering::SeqCst);
        wait_for("the server reads its Secret", || {
            (self.seen.reads.load(Ordering::SeqCst) > before).then_some(())
        });
    }

    /// Waits until the client is shown this serial number.
    pub fn shows(&self, serial: &str) {
        wait_for(&format!("the client sees {serial}"), || {
            (self.seen.serials.lock().unwrap().last().map(String::as_str) == Some(serial)).then_some(())
        });
    }

    /// Ends it; there must not have been a fault. The serial numbers that the client saw, in order.
    pub fn end(mut self) -> Vec<String> {
        self.seen.stop.store(true, Ordering::SeqCst);
        self.running
            .take()
            .unwrap()
            .join()
            .expect("the server runs to the end");
        let faults = self.seen.faults.lock().unwrap();
        let handshakes = self.seen.handshakes.load(Ordering::SeqCst);
        let reads = self.seen.reads.load(Ordering::SeqCst);
        println!("{handshakes} handshakes, {reads} reads, {} faults", faults.len());
        assert!(faults.is_empty(), "{faults:#?}");
        assert!(
            handshakes > 50 && reads > 5,
            "{handshakes} handshakes, {reads} reads"
        );
        self.seen.serials.lock().unwrap().clone()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.seen.stop.store(true, Ordering::SeqCst);
    }
}

/// Key and chain of a Secret, if they belong together.
fn fitting(secret: &Secret) -> Result<CertifiedKey, String> {
    let part = |name: &str| {
        let data = secret.data.as_ref().and_then(|data| data.get(name));
        data.map(|bytes| bytes.0.clone())
            .ok_or_else(|| format!("{name} is missing"))
    };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&part("tls.crt")?).collect();
    let chain = chain.map_err(|error| format!("tls.crt: {error}"))?;
    let key =
        PrivateKeyDer::from_pem_slice(&part("tls.key")?).map_err(|error| format!("tls.key: {error}"))?;
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    CertifiedKey::from_der(chain, key, &provider).map_err(|error| error.to_string())
}

async fn read(seen: &Seen, secrets: &Api<Secret>, name: &str, shown: &Shown) {
    let mut second = tokio::time::interval(Duration::from_secs(1));
    while !seen.stop.load(Ordering::SeqCst) {
        second.tick().await;
        match secrets.get_opt(name).await {
            Ok(Some(secret)) => match fitting(&secret) {
                Ok(key) => *shown.0.lock().unwrap() = Arc::new(key),
                Err(why) => seen.fault(format!("the Secret does not fit: {why}")),
            },
            Ok(None) => seen.fault("the Secret is missing".to_owned()),
            Err(error) => seen.fault(format!("the Secret cannot be read: {error}")),
        }
        seen.reads.fetch_add(1, Ordering::SeqCst);
    }
}

async fn answer(seen: &Seen, listener: &TcpListener, shown: Arc<Shown>) {
    let config = rustls::ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(shown);
    let acceptor = TlsAcceptor::from(Arc::new(config));
    while !seen.stop.load(Ordering::SeqCst) {
        let accepted = tokio::time::timeout(Duration::from_millis(100), listener.accept()).await;
        if let Ok(Ok((stream, _))) = accepted {
            // A handshake that fails is the client's to tell.
            if let Ok(mut stream) = acceptor.accept(stream).await {
                let _ = tokio::io::AsyncWriteExt::shutdown(&mut stream).await;
            }
        }
    }
}

async fn connect(seen: &Seen, address: std::net::SocketAddr, root: &str, name: &str) {
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(root.as_bytes()).unwrap())
        .unwrap();
    let config = rustls::ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    let name = ServerName::try_from(name.to_owned()).unwrap();
    while !seen.stop.load(Ordering::SeqCst) {
        let stream = TcpStream::connect(address).await.unwrap();
        match connector.connect(name.clone(), stream).await {
            Ok(stream) => {
                let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
                let leaf = pki::Certificate::from_der(&chain[0]).unwrap();
                let serial = leaf.serial().to_owned();
                let mut serials = seen.serials.lock().unwrap();
                if serials.last() != Some(&serial) {
                    serials.push(serial);
                }
                seen.handshakes.fetch_add(1, Ordering::SeqCst);
            }
            Err(error) => seen.fault(format!("handshake: {error}")),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
