//! Certificates of a cluster, correct and wrong ones.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};

/// A CA.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, as PEM.
#[derive(Clone)]
pub struct Pair {
    pub certificate: String,
    pub key: String,
}

/// What is wrong with a certificate.
#[derive(Clone, Copy, PartialEq)]
pub enum Flaw {
    None,
    Expired,
    NotYetValid,
}

impl Authority {
    /// A new CA with its own key.
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Its certificate.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A server's certificate for `name`.
    pub fn server(&self, name: &str, flaw: Flaw) -> Pair {
        let usages = [
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        self.leaf(&[name, "localhost"], &usages, flaw)
    }

    /// An operator's certificate.
    pub fn operator(&self, name: &str, flaw: Flaw) -> Pair {
        self.leaf(&[name], &[ExtendedKeyUsagePurpose::ClientAuth], flaw)
    }

    fn leaf(&self, names: &[&str], usages: &[ExtendedKeyUsagePurpose], flaw: Flaw) -> Pair {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = usages.to_vec();
        let now = time::OffsetDateTime::now_utc();
        let day = time::Duration::DAY;
        (params.not_before, params.not_after) = match flaw {
            Flaw::None => (now - day, now + day * 30),
            Flaw::Expired => (now - day * 30, now - day),
            Flaw::NotYetValid => (now + day, now + day * 30),
        };
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Pair {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }
}
