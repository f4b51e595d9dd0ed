//! An Issuer ready for use: its inputs read and checked, its engine made.

use std::collections::BTreeMap;
use std::sync::Arc;

use cmp::engine::{KeyUsageCheck, NameChanges};
use cmp::{Credentials, Engine, MacAlgorithm, Peer, Policy, Trust};
use pki::digest::HashAlgorithm;
use pki::{Anchors, Certificate, PrivateKey, Secret};

use crate::model::issuer::{MacAlgorithmSpec, MacHash, Modifications, SignerKeyUsage};
use crate::model::plan::issuer::KeyPairInput;
use crate::model::plan::{InitialPlan, InputKey, InputKind, InputRef, IssuerPlan};
use crate::model::reason::Reason;
use crate::store::{ContentHash, InputFacts, MAX_VALUE_BYTES, Store, StoreError};

/// An Issuer whose inputs were read and checked.
pub struct ReadyToUse {
    /// What is wished for.
    pub plan: Arc<IssuerPlan>,
    /// Who speaks CMP.
    pub engine: Arc<dyn Engine>,
    /// Whom it speaks to and what is trusted.
    pub peer: Peer,
    /// The initial credentials, or why they cannot be used: after the first contact that is no fault.
    pub initial: Result<Arc<Credentials>, Problem>,
    /// Hash over the initial credentials.
    pub bootstrap: Option<ContentHash>,
    /// The inputs that were read.
    pub inputs: BTreeMap<InputRef, InputFacts>,
}

/// Why an Issuer or an input of it cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// One word.
    pub reason: Reason,
    /// A sentence that names the field and what is allowed.
    pub message: String,
}

impl Problem {
    fn missing(path: &str, input: &InputKey, what: &str) -> Self {
        let kind = kind_name(input.input.kind);
        let message = format!(
            "{path}: {kind} {} {what}; allowed: an existing {kind} with the key {:?}",
            input.input.object, input.key
        );
        Self {
            reason: Reason::InputMissing,
            message,
        }
    }

    fn invalid(path: &str, input: &InputKey, problem: impl std::fmt::Display, allowed: &str) -> Self {
        let kind = kind_name(input.input.kind);
        let message = format!(
            "{path}: {kind} {} key {:?} {problem}; allowed: {allowed}",
            input.input.object, input.key
        );
        Self {
            reason: Reason::InputInvalid,
            message,
        }
    }
}

fn kind_name(kind: InputKind) -> &'static str {
    match kind {
        InputKind::Secret => "Secret",
        InputKind::ConfigMap => "ConfigMap",
    }
}

/// TLS material for an engine.
pub struct TlsMaterial {
    /// Anchors of the server.
    pub anchors: Vec<Certificate>,
    /// Client certificate, its chain and its key.
    pub client: Option<(Vec<Certificate>, PrivateKey)>,
}

/// Makes the engine of an Issuer.
pub type MakeEngine =
    Arc<dyn Fn(&IssuerPlan, Option<TlsMaterial>) -> Result<Arc<dyn Engine>, Problem> + Send + Sync>;

type Data = BTreeMap<String, Secret>;

/// Salt of a MAC key derivation.
const SALT_BYTES: usize = 16;

/// Reads and checks everything that an Issuer refers to.
pub async fn prepare(
    store: &dyn Store,
    plan: Arc<IssuerPlan>,
    make_engine: &MakeEngine,
) -> Result<ReadyToUse, PrepareError> {
    let inputs = read_inputs(store, &plan).await?;
    let responses = match &plan.trust_responses {
        Some(key) => anchor_set("spec.trust.responses", key, &inputs)?,
        None => Anchors::default(),
    };
    let certificates = match &plan.trust_certificates {
        Some(key) => anchor_set("spec.trust.certificates", key, &inputs)?,
        None => Anchors::default(),
    };
    let tls = plan.tls.as_ref().map(|tls| {
        Ok::<_, Problem>(TlsMaterial {
            anchors: anchors("spec.trust.tls", &tls.anchors, &inputs)?,
            client: tls
                .client
                .as_ref()
                .map(|pair| key_pair("spec.tls.clientCertificate", pair, &inputs))
                .transpose()?,
        })
    });
    let engine = make_engine(&plan, tls.transpose()?)?;
    let initial = initial(&plan, &inputs).map(Arc::new);
    let bootstrap = initial.is_ok().then(|| bootstrap_hash(&plan, &inputs));
    let peer = peer(&plan, responses, certificates);
    let inputs = inputs.into_iter().map(|(input, data)| (input, facts(&data)));
    let inputs = inputs.collect();
    Ok(ReadyToUse {
        plan,
        engine,
        peer,
        initial,
        bootstrap,
        inputs,
    })
}

fn facts(data: &Data) -> InputFacts {
    InputFacts::of(
        data.iter()
            .map(|(key, value)| (key.as_str(), ContentHash::of(value.expose()))),
    )
}

/// Why an Issuer could not be prepared.
#[derive(Debug)]
pub enum PrepareError {
    /// Something of it is wrong.
    Problem(Problem),
    /// The store did not answer.
    Store(StoreError),
}

impl From<Problem> for PrepareError {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

async fn read_inputs(store: &dyn Store, plan: &IssuerPlan) -> Result<BTreeMap<InputRef, Data>, PrepareError> {
    let mut inputs = BTreeMap::new();
    for input in plan.inputs() {
        match store.read_input(&input).await {
            Ok(Some(data)) => {
                inputs.insert(input, data);
            }
            Ok(None) => {}
            Err(StoreError::Forbidden(object, why)) => {
                let message = format!("no access to {object}: {why}");
                return Err(Problem {
                    reason: Reason::NoAccess,
                    message,
                }
                .into());
            }
            Err(StoreError::Malformed(object, why)) => {
                let message = format!("{object} cannot be read: {why}");
                return Err(Problem {
                    reason: Reason::InputInvalid,
                    message,
                }
                .into());
            }
            Err(error) => return Err(PrepareError::Store(error)),
        }
    }
    Ok(inputs)
}

fn value<'a>(
    path: &str,
    key: &InputKey,
    inputs: &'a BTreeMap<InputRef, Data>,
) -> Result<&'a Secret, Problem> {
    let data = inputs
        .get(&key.input)
        .ok_or_else(|| Problem::missing(path, key, "does not exist"))?;
    let value = data
        .get(&key.key)
        .ok_or_else(|| Problem::missing(path, key, "lacks that key"))?;
    if value.expose().is_empty() {
        return Err(Problem::invalid(path, key, "is empty", "a value"));
    }
    if value.expose().len() > MAX_VALUE_BYTES {
        return Err(Problem::invalid(path, key, "is too long", "at most 1 MiB"));
    }
    Ok(value)
}

fn anchors(
    path: &str,
    key: &InputKey,
    inputs: &BTreeMap<InputRef, Data>,
) -> Result<Vec<Certificate>, Problem> {
    const ALLOWED: &str = "CA certificates as PEM or DER, in any order";
    let value = value(path, key, inputs)?;
    let certificates = pki::encoding::parse_certificates(value.expose())
        .map_err(|error| Problem::invalid(path, key, format!("cannot be read: {error}"), ALLOWED))?;
    if certificates.is_empty() {
        return Err(Problem::invalid(path, key, "holds no certificate", ALLOWED));
    }
    Ok(certificates)
}

fn anchor_set(path: &str, key: &InputKey, inputs: &BTreeMap<InputRef, Data>) -> Result<Anchors, Problem> {
    Anchors::new(anchors(path, key, inputs)?)
        .map_err(|error| Problem::invalid(path, key, format!("cannot be used: {error}"), "CA certificates"))
}

fn key_pair(
    path: &str,
    pair: &KeyPairInput,
    inputs: &BTreeMap<InputRef, Data>,
) -> Result<(Vec<Certificate>, PrivateKey), Problem> {
    let chain = anchors(path, &pair.certificate, inputs)?;
    let bytes = value(path, &pair.private_key, inputs)?;
    let key = PrivateKey::from_bytes(bytes.expose()).map_err(|error| {
        let allowed = "a private key as PKCS#8, PKCS#1 or SEC1, PEM or DER, without a password";
        Problem::invalid(
            path,
            &pair.private_key,
            format!("cannot be read: {error}"),
            allowed,
        )
    })?;
    let leaf = chain.iter().position(|certificate| certificate.matches_key(&key));
    let Some(leaf) = leaf else {
        return Err(Problem::invalid(
            path,
            &pair.private_key,
            "fits none of the certificates",
            "the certificate's key",
        ));
    };
    let mut chain = chain;
    let certificate = chain.remove(leaf);
    chain.insert(0, certificate);
    Ok((chain, key))
}

fn initial(plan: &IssuerPlan, inputs: &BTreeMap<InputRef, Data>) -> Result<Credentials, Problem> {
    match &plan.initial {
        InitialPlan::Mac {
            reference,
            secret,
            algorithm,
            iterations,
            hash,
        } => {
            let bytes = value("spec.authentication.initial.mac.secretRef", secret, inputs)?;
            let trimmed = trim_line_end(bytes.expose());
            if trimmed.is_empty() {
                let path = "spec.authentication.initial.mac.secretRef";
                return Err(Problem::invalid(path, secret, "is empty", "a shared secret"));
            }
            Ok(Credentials::Mac {
                reference: reference.as_bytes().to_vec(),
                secret: Secret::new(trimmed.to_vec()),
                algorithm: mac_algorithm(*algorithm, *hash, *iterations),
            })
        }
        InitialPlan::Certificate(pair) => {
            let (mut chain, key) = key_pair("spec.authentication.initial.certificate", pair, inputs)?;
            let certificate = chain.remove(0);
            Credentials::signature(key, certificate, chain).map_err(|error| {
                Problem::invalid(
                    "spec.authentication.initial.certificate",
                    &pair.private_key,
                    error,
                    "a key that can sign",
                )
            })
        }
    }
}

/// A final line break comes from editors and `echo`, not from the CA.
fn trim_line_end(bytes: &[u8]) -> &[u8] {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    bytes.strip_suffix(b"\r").unwrap_or(bytes)
}

fn mac_algorithm(algorithm: MacAlgorithmSpec, hash: MacHash, iterations: u32) -> MacAlgorithm {
    let mac = match hash {
        MacHash::SHA1 => HashAlgorithm::Sha1,
        MacHash::SHA256 => HashAlgorithm::Sha256,
        MacHash::SHA384 => HashAlgorithm::Sha384,
        MacHash::SHA512 => HashAlgorithm::Sha512,
    };
    let salt_len = SALT_BYTES;
    match algorithm {
        MacAlgorithmSpec::PBM => MacAlgorithm::Pbm {
            // A key shorter than the HMAC's hash is extended in two ways in the field: never ask for one.
            owf: if mac == HashAlgorithm::Sha1 {
                HashAlgorithm::Sha256
            } else {
                mac
            },
            mac,
            iterations,
            salt_len,
        },
        MacAlgorithmSpec::PBMAC1 => MacAlgorithm::Pbmac1 {
            prf: mac,
            mac,
            iterations,
            salt_len,
        },
    }
}

/// A hash over the initial credentials: another one bootstraps the identity again.
fn bootstrap_hash(plan: &IssuerPlan, inputs: &BTreeMap<InputRef, Data>) -> ContentHash {
    let mut text = Vec::new();
    let keys = match &plan.initial {
        InitialPlan::Mac {
            reference, secret, ..
        } => {
            text.extend_from_slice(reference.as_bytes());
            vec![secret]
        }
        InitialPlan::Certificate(pair) => vec![&pair.certificate, &pair.private_key],
    };
    for key in keys {
        text.push(0);
        if let Some(value) = inputs.get(&key.input).and_then(|data| data.get(&key.key)) {
            text.extend_from_slice(&ContentHash::of(value.expose()).0);
        }
    }
    ContentHash::of(&text)
}

fn peer(plan: &IssuerPlan, responses: Anchors, certificates: Anchors) -> Peer {
    let policy = Policy {
        name_changes: match plan.modifications {
            Modifications::Reject => NameChanges::Refuse,
            Modifications::AcceptGranted => NameChanges::AllIfSaid,
        },
        key_usage: match plan.signer_key_usage {
            SignerKeyUsage::Ignore => KeyUsageCheck::Warn,
            SignerKeyUsage::Require => KeyUsageCheck::Strict,
        },
        ..Policy::default()
    };
    Peer {
        recipient: plan.recipient.clone(),
        expected_sender: plan.expected_sender.clone(),
        trust: Trust {
            responses,
            certificates,
            untrusted: Vec::new(),
        },
        policy,
        ..Peer::default()
    }
}
