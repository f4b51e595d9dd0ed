//! Who sent a request, and may it be believed (RFC 9483, 3.5)?

use cmp::{
    Credentials, ErrorKind, Limits, MacAlgorithm,
    asn1::PkiHeader,
    protection::{self, MacParameters, ProtectionKind},
};
use jiff::Timestamp;
use pki::{Certificate, Name, Purpose, verify_chain};

use super::{lock, wire::Incoming};
use crate::{
    DevCa, Entry, RequestKind,
    refusal::{Failure, Refusal},
};

/// The sender of a request whose protection was checked.
pub(crate) struct Client {
    /// See [`Entry::client`].
    pub(crate) name: String,
    pub(super) proof: Proof,
    pub(super) standing: Standing,
    pub(super) is_registration_authority: bool,
}

/// How it has shown who it is.
pub(super) enum Proof {
    Mac {
        credentials: Credentials,
        parameters: MacParameters,
    },
    Signature(Box<Certificate>),
}

/// What became of a certificate of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Good,
    Revoked,
    Expired,
}

impl Standing {
    pub(super) fn of(entry: &Entry, now: Timestamp) -> Self {
        if entry.state.is_revoked() {
            Self::Revoked
        } else if entry.not_after < now {
            Self::Expired
        } else {
            Self::Good
        }
    }
}

impl Client {
    /// The certificate that signed the request.
    pub(super) fn signer(&self) -> Option<&Certificate> {
        match &self.proof {
            Proof::Signature(certificate) => Some(certificate),
            Proof::Mac { .. } => None,
        }
    }

    /// Refuses signers that are revoked or expired.
    pub(super) fn require_good_standing(&self, kind: RequestKind) -> Result<(), Refusal> {
        require_good(self.standing, kind)
    }
}

/// Refuses certificates that are revoked or expired.
pub(super) fn require_good(standing: Standing, kind: RequestKind) -> Result<(), Refusal> {
    match standing {
        Standing::Good => Ok(()),
        Standing::Revoked => Err(Refusal::new(Failure::CertRevoked, "the certificate is revoked")),
        Standing::Expired if kind == RequestKind::Kur => Err(Refusal::new(
            Failure::BadCertId,
            "the certificate to be updated has expired",
        )),
        Standing::Expired => Err(Refusal::new(
            Failure::SignerNotTrusted,
            "the certificate has expired",
        )),
    }
}

impl DevCa {
    /// Checks the protection and finds out whose it is.
    pub(super) fn authenticate(&self, incoming: &Incoming<'_>, now: Timestamp) -> Result<Client, Refusal> {
        match ProtectionKind::of(incoming.header()) {
            ProtectionKind::None => Err(Refusal::new(
                Failure::BadMessageCheck,
                "the message is not protected",
            )),
            ProtectionKind::Mac => self.by_mac(incoming),
            ProtectionKind::Signature => self.by_signature(incoming, now),
        }
    }

    /// An unknown reference and a wrong secret are told apart by nothing but the time it takes.
    fn by_mac(&self, incoming: &Incoming<'_>) -> Result<Client, Refusal> {
        let wrong = || Refusal::new(Failure::BadMessageCheck, "the MAC does not verify");
        let (name, secret) = reference(incoming.header())
            .into_iter()
            .find_map(|name| self.config.secrets.get_key_value(&name))
            .ok_or_else(wrong)?;
        let limits = Limits::default();
        protection::verify_mac(&incoming.message, secret, &limits).map_err(|error| match error {
            ErrorKind::BadMac | ErrorKind::Unprotected => wrong(),
            other => Refusal::new(Failure::BadAlg, other.to_string()),
        })?;
        let algorithm = incoming.header().protection_alg.as_ref().ok_or_else(wrong)?;
        let parameters = MacParameters::from_identifier(algorithm, &limits)
            .map_err(|error| Refusal::new(Failure::BadAlg, error.to_string()))?;
        // The algorithm is not used: the answer takes over the parameters of the request.
        let credentials = Credentials::mac(name.as_bytes(), secret.clone(), MacAlgorithm::PBM);
        Ok(Client {
            name: name.clone(),
            proof: Proof::Mac {
                credentials,
                parameters,
            },
            standing: Standing::Good,
            is_registration_authority: false,
        })
    }

    fn by_signature(&self, incoming: &Incoming<'_>, now: Timestamp) -> Result<Client, Refusal> {
        let extra = incoming.message.extra_certs();
        let signer = match signer(incoming.header(), &extra) {
            Some(signer) => signer.clone(),
            None => lock(&self.transactions)
                .signer(incoming.transaction_id())
                .ok_or_else(|| Refusal::new(Failure::SignerNotTrusted, "extraCerts hold no certificate"))?,
        };
        protection::verify_signature(&incoming.message, &signer).map_err(|error| match error {
            ErrorKind::Unsupported { .. } => Refusal::new(Failure::BadAlg, error.to_string()),
            _ => Refusal::new(Failure::BadMessageCheck, "the signature does not verify"),
        })?;
        let is_sender = incoming
            .header()
            .sender
            .name()
            .is_some_and(|sender| sender.same_rdns(signer.subject()));
        if !is_sender {
            return Err(Refusal::new(
                Failure::BadMessageCheck,
                "sender is not the subject of the signer",
            ));
        }
        if !signer.permits(pki::KeyUsage::DigitalSignature) {
            return Err(Refusal::new(
                Failure::SignerNotTrusted,
                "the signer's key usage lacks digitalSignature",
            ));
        }
        let (name, standing) = self.owner(&signer, &extra, now)?;
        Ok(Client {
            name,
            standing,
            is_registration_authority: self.config.registration_authorities.contains(signer.subject()),
            proof: Proof::Signature(Box::new(signer)),
        })
    }

    /// Whose certificate it is: one of ours (the ledger knows), or one under the anchors for clients.
    fn owner(
        &self,
        signer: &Certificate,
        extra: &[Certificate],
        now: Timestamp,
    ) -> Result<(String, Standing), Refusal> {
        if let Some(entry) = self.ledger.find_certificate(&signer.fingerprint_sha256()) {
            let standing = Standing::of(&entry, now);
            return Ok((entry.client, standing));
        }
        let subject = || signer.subject().to_rfc4514();
        let is_forgotten = self.config.ledger_limit.is_some()
            && signer.issuer() == self.issuing().subject()
            && signer.verify_signed_by(self.issuing().public_key()).is_ok();
        if is_forgotten {
            let standing = match () {
                () if self.ledger.is_revoked(&signer.serial()) => Standing::Revoked,
                () if signer.not_after() < now => Standing::Expired,
                () => Standing::Good,
            };
            return Ok((subject(), standing));
        }
        verify_chain(signer, extra, &self.config.client_anchors, now, Purpose::AnyEku)
            .map(|_| (subject(), Standing::Good))
            .map_err(|_| {
                Refusal::new(
                    Failure::SignerNotTrusted,
                    "the signer has no path to an anchor for clients",
                )
            })
    }
}

/// The reference of a MAC: senderKID, or the sender's common name where clients leave it out.
fn reference(header: &PkiHeader) -> Vec<String> {
    let kid = header
        .sender_kid
        .as_ref()
        .and_then(|kid| std::str::from_utf8(kid.as_bytes()).ok());
    let name = header.sender.name().and_then(Name::common_name);
    kid.map(str::to_owned).into_iter().chain(name).collect()
}

/// The certificate that senderKID names; the first one if there is no such.
fn signer<'a>(header: &PkiHeader, extra: &'a [Certificate]) -> Option<&'a Certificate> {
    let kid = header.sender_kid.as_ref().map(|kid| kid.as_bytes());
    let named = kid.and_then(|kid| extra.iter().find(|certificate| certificate.ski() == Some(kid)));
    named.or_else(|| extra.first())
}
