//! Makes and parses certificates (RFC 5280) and their keys.
//!
//! New keys are ECDSA on P-256. Authorities made elsewhere may have RSA keys,
//! as PKCS #1 or PKCS #8.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use data_encoding::HEXLOWER;
use pkcs8::der::Encode;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use sha2::{Digest, Sha256};
use time::{Duration, OffsetDateTime};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};
use zeroize::Zeroizing;

use super::spec::{Spec, Usage};
use crate::error::{Error, Result};
use crate::secret::Secret;

/// How long before now a certificate begins, for nodes whose clocks are slow.
const BACK_DATED: Duration = Duration::hours(1);
/// The length of serial numbers, in bytes: random, so that they are unique (RFC 5280 §4.1.2.2).
const SERIAL_BYTES: usize = 16;

/// A parsed certificate.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Its DER form.
    pub der: Vec<u8>,
    /// The name of its holder.
    pub subject: String,
    /// The name of its signer.
    pub issuer: String,
    /// Its DNS names.
    pub dns: BTreeSet<String>,
    /// Its IP addresses.
    pub addresses: BTreeSet<IpAddr>,
    /// Whether it may sign other certificates.
    pub authority: bool,
    pub not_before: OffsetDateTime,
    pub not_after: OffsetDateTime,
    /// The bits of its public key.
    public_key: Vec<u8>,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({} by {})", self.subject, self.issuer)
    }
}

impl Certificate {
    /// Parses one or more certificates in PEM; errors call them `what`.
    pub fn read_all(text: &str, what: &str) -> Result<Vec<Self>> {
        let parts = pem::parse_many(text).map_err(|e| damaged(what, &e))?;
        if parts.is_empty() {
            return Err(damaged(what, &"it holds no certificate"));
        }
        // A truncated text has more first lines than certificates.
        if text.matches("-----BEGIN ").count() != parts.len() {
            return Err(damaged(what, &"it is cut short"));
        }
        parts
            .iter()
            .map(|part| match part.tag() {
                "CERTIFICATE" => Self::read(part.contents(), what),
                other => Err(damaged(what, &format!("it holds a {other}"))),
            })
            .collect()
    }

    /// Parses a certificate in DER; errors call it `what`.
    pub fn read(der: &[u8], what: &str) -> Result<Self> {
        let (rest, x509) = X509Certificate::from_der(der).map_err(|e| damaged(what, &e))?;
        if !rest.is_empty() {
            return Err(damaged(what, &"something follows it"));
        }
        let names = x509
            .subject_alternative_name()
            .map_err(|e| damaged(what, &e))?;
        let names = names.map(|extension| extension.value.general_names.as_slice());
        let mut dns = BTreeSet::new();
        let mut addresses = BTreeSet::new();
        for name in names.unwrap_or_default() {
            match name {
                GeneralName::DNSName(name) => {
                    dns.insert((*name).to_owned());
                }
                GeneralName::IPAddress(bytes) => {
                    addresses.extend(address(bytes));
                }
                _ => {}
            }
        }
        Ok(Self {
            der: der.to_vec(),
            subject: x509.subject().to_string(),
            issuer: x509.issuer().to_string(),
            dns,
            addresses,
            authority: x509.is_ca(),
            not_before: x509.validity().not_before.to_datetime(),
            not_after: x509.validity().not_after.to_datetime(),
            public_key: x509.public_key().subject_public_key.data.to_vec(),
        })
    }

    /// Its PEM form.
    pub fn pem(&self) -> String {
        let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
        pem::encode_config(&pem::Pem::new("CERTIFICATE", self.der.clone()), config)
    }

    /// SHA-256 of its DER form in hexadecimal, as `openssl x509 -fingerprint` prints it.
    pub fn fingerprint(&self) -> String {
        HEXLOWER.encode(&Sha256::digest(&self.der))
    }

    /// Whether `issuer` signed it.
    pub fn signed_by(&self, issuer: &Self) -> bool {
        let (Ok((_, own)), Ok((_, issuer))) = (
            X509Certificate::from_der(&self.der),
            X509Certificate::from_der(&issuer.der),
        ) else {
            return false;
        };
        own.issuer().as_raw() == issuer.subject().as_raw()
            && own.verify_signature(Some(issuer.public_key())).is_ok()
    }

    /// Whether it is valid at a moment.
    pub fn valid_at(&self, now: OffsetDateTime) -> bool {
        self.not_before <= now && now <= self.not_after
    }

    /// Whole days until its end; negative after that.
    pub fn days_left(&self, now: OffsetDateTime) -> i64 {
        (self.not_after - now).whole_days()
    }
}

/// A private key.
pub struct Key {
    pair: Zeroizing<KeyPair>,
    text: Secret,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

impl Key {
    /// Makes a new key.
    pub fn generate() -> Result<Self> {
        let pair = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)
            .map_err(|e| Error::unexpected(format!("a key cannot be made: {e}")))?;
        let text = Secret::new(pair.serialize_pem());
        Ok(Self {
            pair: Zeroizing::new(pair),
            text,
        })
    }

    /// Parses one or more keys in PEM; errors call them `what`.
    pub fn read_all(text: &Secret, what: &str) -> Result<Vec<Self>> {
        // The parser's errors do not quote the key.
        let parts = pem::parse_many(text.expose()).map_err(|e| damaged(what, &e))?;
        if parts.is_empty() || text.expose().matches("-----BEGIN ").count() != parts.len() {
            return Err(damaged(what, &"it holds no whole key"));
        }
        let mut keys = Vec::new();
        for part in parts {
            let tag = part.tag().to_owned();
            let own = Secret::new(pem::encode_config(
                &part,
                pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF),
            ));
            let der = Zeroizing::new(part.into_contents());
            let der = match tag.as_str() {
                "PRIVATE KEY" => der,
                "RSA PRIVATE KEY" => Zeroizing::new(wrap_rsa(&der).map_err(|e| damaged(what, &e))?),
                // `openssl ecparam -genkey` writes this before the key; it adds nothing.
                "EC PARAMETERS" => continue,
                "ENCRYPTED PRIVATE KEY" => {
                    return Err(damaged(what, &"it is encrypted with a passphrase of its own")
                        .help("the store encrypts it already: take the passphrase off with ‘openssl pkey’"));
                }
                other => {
                    return Err(damaged(what, &format!("it holds a {other}"))
                        .help("rewrite it as PKCS #8 with ‘openssl pkey’"));
                }
            };
            let pair = KeyPair::try_from(der.as_slice()).map_err(|e| damaged(what, &e))?;
            keys.push(Self {
                pair: Zeroizing::new(pair),
                text: own,
            });
        }
        Ok(keys)
    }

    /// Its PEM form, as it was read, or PKCS #8.
    pub fn pem(&self) -> &Secret {
        &self.text
    }

    /// Its DER form, PKCS #8.
    pub fn pkcs8(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.pair.serialized_der().to_vec())
    }

    /// Whether this is the key of a certificate.
    pub fn fits(&self, certificate: &Certificate) -> bool {
        self.pair.public_key_raw() == certificate.public_key
    }

    /// Makes the self-signed certificate of an authority. It begins after `former`, the one that it
    /// replaces.
    pub fn self_signed(
        &self,
        spec: &Spec,
        former: Option<&Certificate>,
        now: OffsetDateTime,
    ) -> Result<Certificate> {
        let mut spec = spec.clone();
        // Distinguishes the two authorities of a cluster during a rotation.
        let mark = HEXLOWER.encode(&Sha256::digest(self.pair.public_key_raw()));
        spec.common_name = format!(
            "{} {}",
            spec.common_name,
            mark.chars().take(8).collect::<String>()
        );
        let mut params = params(&spec, self, now, None)?;
        if let Some(former) = former {
            params.not_before = params.not_before.max(former.not_before + Duration::SECOND);
        }
        let made = params.self_signed(&*self.pair);
        finished(made, &spec)
    }
}

/// An authority that can sign: its certificate and key.
#[derive(Debug)]
pub struct Authority<'a> {
    pub certificate: &'a Certificate,
    pub key: &'a Key,
}

impl Authority<'_> {
    /// Signs a certificate for `holder`, which ends no later than the authority's own.
    pub fn sign(&self, spec: &Spec, holder: &Key, now: OffsetDateTime) -> Result<Certificate> {
        let issuer =
            Issuer::from_ca_cert_der(&self.certificate.der.as_slice().into(), &*self.key.pair)
                .map_err(|e| {
                    Error::usage(format!("{} cannot sign: {e}", self.certificate.subject))
                })?;
        let params = params(spec, holder, now, Some(self.certificate.not_after))?;
        let certificate = finished(params.signed_by(&*holder.pair, &issuer), spec)?;
        if certificate.signed_by(self.certificate) {
            Ok(certificate)
        } else {
            Err(Error::usage(format!(
                "{} has a name that cannot be carried over to what it signs",
                self.certificate.subject
            ))
            .help("make a new authority: rotate-ca"))
        }
    }
}

fn params(
    spec: &Spec,
    holder: &Key,
    now: OffsetDateTime,
    latest: Option<OffsetDateTime>,
) -> Result<CertificateParams> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::OrganizationName, spec.organization.as_str());
    params
        .distinguished_name
        .push(DnType::CommonName, spec.common_name.as_str());
    // RFC 7093 §2, method 1.
    let digest = Sha256::digest(holder.pair.public_key_raw());
    params.key_identifier_method =
        KeyIdMethod::PreSpecified(digest.iter().copied().take(20).collect());
    // Certificates hold whole seconds.
    let now = now.replace_nanosecond(0).unwrap_or(now);
    params.not_before = now - BACK_DATED;
    params.not_after = now + Duration::days(spec.days);
    params.not_after = latest.map_or(params.not_after, |latest| params.not_after.min(latest));
    params.serial_number = Some(serial()?);
    for name in &spec.dns {
        let name = name.as_str().try_into();
        let name =
            name.map_err(|e| Error::usage(format!("a certificate cannot hold a name: {e}")))?;
        params.subject_alt_names.push(SanType::DnsName(name));
    }
    params
        .subject_alt_names
        .extend(spec.addresses.iter().copied().map(SanType::IpAddress));
    use ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
    match spec.usage {
        Usage::Authority => {
            // It may sign no other authorities.
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        }
        Usage::Agent | Usage::Client => {
            params.is_ca = IsCa::ExplicitNoCa;
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            params.extended_key_usages = match spec.usage {
                Usage::Agent => vec![ServerAuth, ClientAuth],
                _ => vec![ClientAuth],
            };
            params.use_authority_key_identifier_extension = true;
        }
    }
    Ok(params)
}

fn finished(made: Result<rcgen::Certificate, rcgen::Error>, spec: &Spec) -> Result<Certificate> {
    let made =
        made.map_err(|e| Error::unexpected(format!("{} cannot be made: {e}", spec.common_name)))?;
    Certificate::read(made.der(), &spec.common_name)
}

/// A random positive number of 128 bits.
fn serial() -> Result<SerialNumber> {
    let mut bytes = [0; SERIAL_BYTES];
    getrandom::fill(&mut bytes)
        .map_err(|e| Error::unexpected(format!("there is no randomness: {e}")))?;
    // Never zero or too short; the encoder adds a sign byte if needed.
    bytes[0] |= 1;
    Ok(SerialNumber::from_slice(&bytes))
}

/// An RSA key as PKCS #8 (RFC 5958) around PKCS #1 (RFC 8017).
fn wrap_rsa(der: &[u8]) -> Result<Vec<u8>, String> {
    pkcs1::RsaPrivateKeyRef::try_from(der).map_err(|e| e.to_string())?;
    let octets = pkcs8::der::asn1::OctetStringRef::new(der).map_err(|e| e.to_string())?;
    pkcs8::PrivateKeyInfoRef::new(pkcs1::ALGORITHM_ID, octets)
        .to_der()
        .map_err(|e| e.to_string())
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .ok()
}

fn damaged(what: &str, why: &dyn fmt::Display) -> Error {
    Error::usage(format!("{what} cannot be read: {why}"))
        .help("restore it from a backup or from the store’s history: git log")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Daemon;
    use crate::cluster::schema::tests::example;
    use crate::pki::Year;
    use crate::pki::layout::{Holder, PairId};
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-11-22 15:00 UTC);

    fn authority() -> (Key, Certificate) {
        let key = Key::generate().unwrap();
        let spec = Spec::of(&example(), &PairId::authority(Daemon::Consul));
        let certificate = key.self_signed(&spec, None, NOW).unwrap();
        (key, certificate)
    }

    fn server() -> Spec {
        Spec::of(
            &example(),
            &PairId {
                daemon: Daemon::Consul,
                holder: Holder::Servers(Year::new(2026)),
            },
        )
    }

    #[test]
    fn what_is_made_reads_back_as_specified() {
        let (key, certificate) = authority();
        assert!(
            certificate.authority && certificate.signed_by(&certificate) && key.fits(&certificate)
        );
        assert_eq!(certificate.days_left(NOW), 3650);
        let authority = Authority {
            certificate: &certificate,
            key: &key,
        };
        let holder = Key::generate().unwrap();
        let leaf = authority.sign(&server(), &holder, NOW).unwrap();
        assert!(
            leaf.signed_by(&certificate)
                && !leaf.authority
                && holder.fits(&leaf)
                && !key.fits(&leaf)
        );
        assert_eq!(
            (leaf.dns.clone(), leaf.addresses.clone()),
            (server().dns, server().addresses)
        );
        assert_eq!(leaf.not_before, NOW - Duration::hours(1));
        assert_eq!(leaf.days_left(NOW), 700);
        assert_eq!(Certificate::read_all(&leaf.pem(), "x").unwrap(), [leaf]);
    }

    #[test]
    fn a_certificate_ends_with_its_authority() {
        let (key, certificate) = authority();
        let late = NOW + Duration::days(3600);
        let leaf = Authority {
            certificate: &certificate,
            key: &key,
        }
        .sign(&server(), &Key::generate().unwrap(), late)
        .unwrap();
        assert_eq!(leaf.not_after, certificate.not_after);
    }

    #[test]
    fn serial_numbers_have_128_bits_and_differ() {
        let serials: BTreeSet<Vec<u8>> = (0..64).map(|_| serial().unwrap().to_bytes()).collect();
        assert_eq!(serials.len(), 64);
        assert!(
            serials
                .iter()
                .all(|serial| serial.len() == 16 && serial[0] != 0)
        );
    }

    #[test]
    fn keys_read_back_and_several_are_told_apart() {
        let (one, two) = (Key::generate().unwrap(), Key::generate().unwrap());
        let both = Secret::new(format!("{}{}", one.pem().expose(), two.pem().expose()));
        let read = Key::read_all(&both, "x").unwrap();
        assert_eq!(read.len(), 2);
        assert_eq!(read[1].pkcs8(), two.pkcs8());
        assert_eq!(read[0].pem(), one.pem());
    }

    #[test]
    fn a_text_that_is_cut_short_is_refused_wherever_it_is_cut() {
        let (key, certificate) = authority();
        let pem = certificate.pem();
        for end in 0..pem.trim_end().len() {
            assert!(Certificate::read_all(&pem[..end], "x").is_err(), "{end}");
            let two = format!("{pem}{}", &pem[..end]);
            assert!(
                end < 11 || Certificate::read_all(&two, "x").is_err(),
                "{end}"
            );
        }
        let pem = key.pem().expose().trim_end();
        for end in 0..pem.len() {
            assert!(
                Key::read_all(&Secret::new(pem[..end].into()), "x").is_err(),
                "{end}"
            );
        }
    }

    #[test]
    fn an_error_about_a_key_says_nothing_of_the_key() {
        let key = Key::generate().unwrap();
        let text = key.pem().expose();
        let broken = Secret::new(text.replace("-----END", "----END"));
        let error = Key::read_all(&broken, "consul-ca.key").unwrap_err();
        let body = text.lines().nth(1).unwrap();
        assert!(
            !format!("{error} {error:?}").contains(&body[..16]),
            "{error}"
        );
        assert!(error.what.contains("consul-ca.key"));
    }
}
