//! Password hashes in the format of crypt(5).

use std::fmt;
use std::str::FromStr;

use sha_crypt::{CustomizedPasswordHasher, PasswordVerifier};

use crate::error::{Context, Error, Result};
use crate::secret::Secret;

/// Rounds of sha512crypt in new hashes: passlib 1.7's default, about half a
/// second on a 2015 server. crypt(5)'s own default is 5,000.
pub const ROUNDS: u32 = 656_000;

/// The fewest rounds of sha512crypt that libxcrypt takes. OpenSSL and BusyBox take this number for any
/// smaller one.
const LEAST_ROUNDS: u32 = 1000;

/// The most rounds of a hash that the tool computes: more would take too long.
const MOST_ROUNDS: u32 = 20_000_000;

/// Random bytes in a salt. sha512crypt takes at most 16 characters, which are 12 bytes in base64.
const SALT: usize = 12;
/// The same for yescrypt: the most that libxcrypt accepts.
const YESCRYPT_SALT: usize = 16;

/// The longest hash that crypt(5) makes (`CRYPT_OUTPUT_SIZE` of libxcrypt), in bytes.
const LONGEST: usize = 384;

/// A hashing scheme that NixOS accepts, by the prefix of its hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// `$6$`, of SHA-512.
    Sha512crypt,
    /// `$y$`, NixOS's own default.
    Yescrypt,
    /// `$gy$`, yescrypt with GOST.
    GostYescrypt,
    /// `$7$`.
    Scrypt,
    /// `$2a$`, `$2b$` or `$2y$`.
    Bcrypt,
}

impl Scheme {
    /// The scheme of a prefix, without its dollars; none for those that NixOS
    /// refuses (`allowPasswordHashes` in its `users-groups.nix`).
    fn of(prefix: &str) -> Option<Self> {
        Some(match prefix {
            "6" => Self::Sha512crypt,
            "y" => Self::Yescrypt,
            "gy" => Self::GostYescrypt,
            "7" => Self::Scrypt,
            "2a" | "2b" | "2y" => Self::Bcrypt,
            _ => return None,
        })
    }

    /// Whether some password can have a hash with these fields after the prefix. libxcrypt hashes
    /// with the stored hash as the setting and compares the whole text, so what it refuses or
    /// writes otherwise (a long salt is cut) locks the account (lib/crypt-*.c of libxcrypt 4.4).
    fn can_fit(self, fields: &[&str]) -> bool {
        match (self, fields) {
            (Self::Sha512crypt, [salt, digest]) => {
                // The salt may have other characters than the digest.
                salt.len() <= 16 && of_base64(digest, 86)
            }
            (Self::Sha512crypt, [rounds, rest @ ..]) => {
                let number = rounds.strip_prefix("rounds=");
                let bearable = number.is_some_and(|number| {
                    let rounds: Option<u32> = number.parse().ok();
                    rounds.is_some_and(|n| {
                        (LEAST_ROUNDS..=MOST_ROUNDS).contains(&n) && n.to_string() == number
                    })
                });
                bearable && rest.len() == 2 && self.can_fit(rest)
            }
            (Self::Yescrypt | Self::GostYescrypt, [parameters, salt, digest]) => {
                // One character alone has no whole byte.
                of_base64(parameters, parameters.len())
                    && of_base64(salt, salt.len())
                    && salt.len() % 4 != 1
                    && of_base64(digest, 43)
            }
            // N, r and p are 11 characters, and the salt follows them.
            (Self::Scrypt, [setting, digest]) => {
                setting
                    .get(..11)
                    .is_some_and(|parameters| of_base64(parameters, 11))
                    && of_base64(digest, 43)
            }
            (Self::Bcrypt, [cost, both]) => {
                let bearable = cost.parse().is_ok_and(|n: u8| (4..=31).contains(&n));
                // 128 bits of salt are 22 characters, of which the last has 2 bits.
                cost.len() == 2
                    && of_base64(both, 53)
                    && b".Oeu".contains(&both.as_bytes()[21])
                    && bearable
            }
            _ => false,
        }
    }
}

/// Whether a text is so many characters of crypt(5)'s base64.
fn of_base64(text: &str, characters: usize) -> bool {
    text.len() == characters
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"./".contains(&b))
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sha512crypt => "sha512crypt",
            Self::Yescrypt => "yescrypt",
            Self::GostYescrypt => "gost-yescrypt",
            Self::Scrypt => "scrypt",
            Self::Bcrypt => "bcrypt",
        })
    }
}

/// The hash of a password. It is a secret, as it allows guessing the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Hash {
    text: Secret,
    scheme: Scheme,
}

impl Hash {
    /// Hashes a password with a random salt by the given scheme, at its full strength.
    pub fn new(password: &Password, scheme: New) -> Result<Self> {
        match scheme {
            New::Sha512crypt => Self::sha512crypt(password, ROUNDS),
            New::Yescrypt => Self::yescrypt(password),
        }
    }

    /// Hashes by sha512crypt with `rounds` rounds. Tests use few.
    pub fn sha512crypt(password: &Password, rounds: u32) -> Result<Self> {
        let params =
            sha_crypt::Params::new(rounds).context(|| format!("{rounds} rounds of sha512crypt"))?;
        let hasher = sha_crypt::ShaCrypt::SHA512;
        let salt = random::<SALT>()?;
        hasher
            .hash_password_customized(password.bytes(), &salt, None, None, params)
            .context(|| "cannot hash the password".into())?
            .as_str()
            .parse()
    }

    fn yescrypt(password: &Password) -> Result<Self> {
        use yescrypt::PasswordHasher;
        let salt = random::<YESCRYPT_SALT>()?;
        yescrypt::Yescrypt::default()
            .hash_password_with_salt(password.bytes(), &salt)
            .context(|| "cannot hash the password".into())?
            .as_str()
            .parse()
    }

    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The hash as text.
    pub fn expose(&self) -> &str {
        self.text.expose()
    }

    /// Whether it is the hash of this password; none for schemes that the tool does not compute.
    pub fn fits(&self, password: &Password) -> Option<bool> {
        let verdict = match self.scheme {
            Scheme::Sha512crypt => {
                sha_crypt::ShaCrypt::SHA512.verify_password(password.bytes(), self.expose())
            }
            Scheme::Yescrypt => {
                yescrypt::Yescrypt::default().verify_password(password.bytes(), self.expose())
            }
            _ => return None,
        };
        match verdict {
            Ok(()) => Some(true),
            Err(sha_crypt::password_hash::Error::PasswordInvalid) => Some(false),
            Err(_) => None,
        }
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({}, …)", self.scheme)
    }
}

impl FromStr for Hash {
    type Err = Error;

    /// Parses a hash. Refuses text that is no hash in `/etc/shadow`, and schemes that NixOS
    /// refuses. Errors do not repeat the text.
    fn from_str(text: &str) -> Result<Self> {
        let refuse = |why: String| Err(Error::usage(why));
        if text.is_empty() {
            return refuse("the password hash is empty".into());
        }
        if text.len() > LONGEST
            || !text
                .bytes()
                .all(|b| b.is_ascii_graphic() && !b":;*!\\".contains(&b))
        {
            return refuse("the password hash is not of crypt(5)’s form".into());
        }
        let fields: Vec<&str> = text.split('$').collect();
        let [first, prefix, rest @ ..] = fields.as_slice() else {
            return refuse("the password hash is not of crypt(5)’s form".into());
        };
        if !first.is_empty() {
            return refuse("the password hash is not of crypt(5)’s form".into());
        }
        let Some(scheme) = Scheme::of(prefix) else {
            return refuse(format!(
                "the password hash is of the scheme ‘${prefix}$’, which NixOS refuses"
            ));
        };
        // At least a salt and a digest, neither empty.
        if rest.len() < 2 || rest.iter().any(|field| field.is_empty()) {
            return refuse("the password hash is cut short".into());
        }
        if !scheme.can_fit(rest) {
            return refuse(format!("the password hash is not one of {scheme}"));
        }
        Ok(Self {
            text: Secret::new(text.to_owned()),
            scheme,
        })
    }
}

/// The schemes for new hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum New {
    /// Of SHA-512, with 656,000 rounds
    Sha512crypt,
    /// NixOS's own default
    Yescrypt,
}

/// A password that fits every prompt: one line of 1 to 255 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Password(Secret);

impl Password {
    /// The longest password, in bytes, that every version of sudo reads.
    pub const LONGEST: usize = 255;

    /// Checks that a text can be a password.
    pub fn new(text: Secret) -> Result<Self> {
        let exposed = text.expose();
        if exposed.is_empty() {
            return Err(Error::usage("the password is empty"));
        }
        if exposed.contains(char::is_control) {
            return Err(Error::usage(
                "the password holds a control character, such as a line break",
            ));
        }
        if exposed.len() > Self::LONGEST {
            return Err(Error::usage(format!(
                "the password has {} bytes; sudo reads no more than {}",
                exposed.len(),
                Self::LONGEST
            )));
        }
        Ok(Self(text))
    }

    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    /// The password for sudo.
    pub fn into_secret(self) -> Secret {
        self.0
    }

    fn bytes(&self) -> &[u8] {
        self.0.expose().as_bytes()
    }
}

fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).context(|| "no randomness from the system".into())?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> Password {
        Password::new(Secret::new(text.into())).unwrap()
    }

    #[test]
    fn a_new_hash_fits_its_password_and_no_other() {
        for hash in [
            Hash::sha512crypt(&password("wonderland"), 1000).unwrap(),
            Hash::new(&password("wonderland"), New::Yescrypt).unwrap(),
        ] {
            assert_eq!(
                hash.fits(&password("wonderland")),
                Some(true),
                "{}",
                hash.scheme()
            );
            assert_eq!(
                hash.fits(&password("Wonderland")),
                Some(false),
                "{}",
                hash.scheme()
            );
        }
    }

    #[test]
    fn the_stated_rounds_are_in_the_hash_and_the_salt_is_new_each_time() {
        let [one, two] = [(); 2].map(|()| Hash::new(&password("a"), New::Sha512crypt).unwrap());
        assert!(one.expose().starts_with("$6$rounds=656000$"));
        assert!(one != two);
        let yescrypt = Hash::new(&password("a"), New::Yescrypt).unwrap();
        // libxcrypt's own default: N = 4096, r = 32.
        assert!(yescrypt.expose().starts_with("$y$j9T$"));
    }

    #[test]
    fn hashes_that_shadow_or_nixos_would_not_take_are_refused() {
        let digest = "x".repeat(86);
        for (text, why) in [
            (String::new(), "empty"),
            ("!".into(), "form"),
            ("*".into(), "form"),
            ("plain".into(), "form"),
            ("x$6$salt$digest".into(), "form"),
            (format!("$6$a:b${digest}"), "form"),
            (format!("$6$ab${digest}\nroot"), "form"),
            (format!("!$6$ab${digest}"), "form"),
            ("$5$salt$digest".into(), "‘$5$’, which NixOS refuses"),
            ("$1$salt$digest".into(), "‘$1$’"),
            ("$6$salt".into(), "cut short"),
            ("$6$salt$".into(), "cut short"),
            (
                format!("$6$salt${}", &digest[1..]),
                "not one of sha512crypt",
            ),
            (
                format!("$6$rounds=999999999$salt${digest}"),
                "not one of sha512crypt",
            ),
            (
                format!("$6$rounds=x$salt${digest}"),
                "not one of sha512crypt",
            ),
            (
                format!("$6$rounds=999$salt${digest}"),
                "not one of sha512crypt",
            ),
            (
                format!("$6$rounds=05000$salt${digest}"),
                "not one of sha512crypt",
            ),
            (
                format!("$6$rounds=+5000$salt${digest}"),
                "not one of sha512crypt",
            ),
            (
                format!("$6$seventeencharacte${digest}"),
                "not one of sha512crypt",
            ),
            (
                format!("$6$salt${}=", &digest[1..]),
                "not one of sha512crypt",
            ),
            ("$y$j9T$salt$short".into(), "not one of yescrypt"),
            (
                format!("$y$j9T$sal,${}", &digest[..43]),
                "not one of yescrypt",
            ),
            (
                format!("$gy$j9T$salts${}", &digest[..43]),
                "not one of gost-yescrypt",
            ),
            (
                format!("$7$CU..$...salt${}", &digest[..43]),
                "not one of scrypt",
            ),
            (
                format!("$7$CU..../..${}", &digest[..43]),
                "not one of scrypt",
            ),
            (format!("$2b$3$u{}", &digest[..52]), "not one of bcrypt"),
            (format!("$2b$5${}", &digest[..53]), "not one of bcrypt"),
            (format!("$2b$03${}", &digest[..53]), "not one of bcrypt"),
            (format!("$2b$12${}", &digest[..52]), "not one of bcrypt"),
            (format!("$2b$12${}", &digest[..53]), "not one of bcrypt"),
            (format!("$6$salt${}", "x".repeat(400)), "form"),
        ] {
            let error = text.parse::<Hash>().unwrap_err();
            assert!(error.what.contains(why), "{text}: {}", error.what);
            assert!(!error.to_string().contains("digest"));
        }
    }

    #[test]
    fn hashes_of_every_scheme_that_nixos_takes_are_read() {
        for (text, scheme) in [
            (format!("$6$salt${}", "x".repeat(86)), "sha512crypt"),
            (
                format!("$6$rounds=5000$salt${}", "x".repeat(86)),
                "sha512crypt",
            ),
            (format!("$y$j9T$salt${}", "x".repeat(43)), "yescrypt"),
            (format!("$gy$j9T$salt${}", "x".repeat(43)), "gost-yescrypt"),
            (format!("$7$CU..../....salt${}", "x".repeat(43)), "scrypt"),
            (format!("$2b$12${}", "u".repeat(53)), "bcrypt"),
            (format!("$2y$12${}", "u".repeat(53)), "bcrypt"),
        ] {
            assert_eq!(text.parse::<Hash>().unwrap().scheme().to_string(), scheme);
        }
    }

    #[test]
    fn a_hash_of_another_scheme_can_not_be_checked_here() {
        let hash: Hash = format!("$2b$12${}", "u".repeat(53)).parse().unwrap();
        assert_eq!(hash.fits(&password("a")), None);
    }

    #[test]
    fn a_hash_is_not_shown_by_debug() {
        let hash: Hash = format!("$2b$12${}", "u".repeat(53)).parse().unwrap();
        assert_eq!(format!("{hash:?}"), "Hash(bcrypt, …)");
    }

    #[test]
    fn a_password_is_one_line_that_sudo_reads_whole() {
        for text in ["", "a\nb", "a\0", "\t", &"ä".repeat(128)] {
            assert!(Password::new(Secret::new(text.into())).is_err(), "{text:?}");
        }
        for text in ["a b", "пароль", &"x".repeat(255)] {
            assert!(Password::new(Secret::new(text.into())).is_ok(), "{text:?}");
        }
    }
}
