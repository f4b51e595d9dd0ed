//! Object identifiers that the protocol uses.

use const_oid::ObjectIdentifier;

/// id-it-caCerts (RFC 9810, 5.3.19.14).
pub const IT_CA_CERTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.4.17");
/// id-it-implicitConfirm (5.1.1.1).
pub const IT_IMPLICIT_CONFIRM: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.4.13");
/// id-it-confirmWaitTime (5.1.1.2).
pub const IT_CONFIRM_WAIT_TIME: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.4.14");
/// id-it-rootCaKeyUpdate (5.3.19.15).
pub const IT_ROOT_CA_KEY_UPDATE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.4.18");
/// id-it-certReqTemplate (5.3.19.16).
pub const IT_CERT_REQ_TEMPLATE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.4.19");
/// id-it-rootCaCert (5.3.19.15).
pub const IT_ROOT_CA_CERT: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.4.20");
/// id-it-certProfile (5.1.1.4).
pub const IT_CERT_PROFILE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.4.21");
/// id-it-crlStatusList (5.3.19.17).
pub const IT_CRL_STATUS_LIST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.4.22");
/// id-it-crls (5.3.19.17).
pub const IT_CRLS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.4.23");

/// id-PasswordBasedMac (RFC 4211, 4.4).
pub const PASSWORD_BASED_MAC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113533.7.66.13");
/// id-PBMAC1 (RFC 8018, A.5).
pub const PBMAC1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.5.14");
/// id-PBKDF2 (RFC 8018, A.2).
pub const PBKDF2: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.5.12");

/// hmacWithSHA1 (RFC 8018, B.1.1).
pub const HMAC_SHA1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.2.7");
/// HMAC-SHA1 by the identifier of RFC 4210, which old peers use.
pub const HMAC_SHA1_OLD: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.8.1.2");
/// hmacWithSHA256 (RFC 8018, B.1.2).
pub const HMAC_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.2.9");
/// hmacWithSHA384.
pub const HMAC_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.2.10");
/// hmacWithSHA512.
pub const HMAC_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.2.11");

/// id-sha1.
pub const SHA1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.14.3.2.26");
/// id-sha256.
pub const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
/// id-sha384.
pub const SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");
/// id-sha512.
pub const SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.3");

/// id-regCtrl-oldCertID (RFC 4211, 6.5).
pub const REG_CTRL_OLD_CERT_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.5.1.5");
/// id-regCtrl-algId (RFC 9810, 5.3.19.16).
pub const REG_CTRL_ALG_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.5.1.11");
/// id-regCtrl-rsaKeyLen (RFC 9810, 5.3.19.16).
pub const REG_CTRL_RSA_KEY_LEN: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.5.1.12");
/// id-ce-cRLReasons (RFC 5280, 5.3.1).
pub const CE_CRL_REASON: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.21");
