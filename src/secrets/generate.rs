//! Generators of secrets.

use base64ct::{Base64, Encoding};
use data_encoding::HEXLOWER;
use ssh_key::LineEnding;
use ssh_key::private::{Ed25519Keypair, KeypairData, PrivateKey};
use zeroize::Zeroizing;

use crate::cluster::schema::{Generator, SecretSpec};
use crate::error::{Context, Error, Result};
use crate::process::Command;
use crate::secret::Secret;

/// The alphabet of `random`, which needs no quoting in shells, URLs and configuration files.
const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// Makes a new value. `comment` is the comment of SSH keys.
pub async fn generate(spec: &SecretSpec, comment: &str) -> Result<Secret> {
    Ok(match spec.generator {
        Generator::Random => letters(spec.length)?,
        Generator::Hex => hex(&random(spec.length)?),
        Generator::Base64 => Secret::new(Base64::encode_string(&random(spec.length)?)),
        Generator::Uuid => uuid(&random(16)?),
        Generator::Wireguard => wireguard(random(32)?),
        Generator::SshHost => ssh_host(&random(32)?, comment)?,
        Generator::Command => command(&spec.command).await?,
    })
}

/// The public half of a secret, in the form that others need; none for secrets without one.
pub fn public(generator: Generator, value: &Secret) -> Result<Option<String>> {
    match generator {
        Generator::Wireguard => {
            let mut key = Zeroizing::new([0; 32]);
            let read = Base64::decode(value.expose().trim_end(), key.as_mut());
            if !read.is_ok_and(|bytes| bytes.len() == 32) {
                return Err(Error::usage(
                    "it is not a WireGuard key: 32 bytes in base64",
                ));
            }
            let secret = x25519_dalek::StaticSecret::from(*key);
            let public = x25519_dalek::PublicKey::from(&secret);
            Ok(Some(Base64::encode_string(public.as_bytes())))
        }
        Generator::SshHost => {
            let key = PrivateKey::from_openssh(value.expose())
                .map_err(|e| Error::usage(format!("it is not a private key of OpenSSH: {e}")))?;
            let public = key.public_key().to_openssh();
            Ok(Some(public.context(|| {
                "a public key that cannot be written".into()
            })?))
        }
        _ => Ok(None),
    }
}

fn random(n: usize) -> Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(vec![0; n]);
    getrandom::fill(&mut bytes).context(|| "no randomness from the system".into())?;
    Ok(bytes)
}

/// Random letters. Bytes of 248 and more are skipped, so that all letters are equally likely.
pub fn letters(length: usize) -> Result<Secret> {
    let mut text = String::with_capacity(length);
    while text.len() < length {
        let bytes = random(length)?;
        let fair = bytes.iter().filter(|byte| **byte < 248);
        text.extend(
            fair.map(|byte| char::from(LETTERS[usize::from(byte % 62)]))
                .take(length - text.len()),
        );
    }
    Ok(Secret::new(text))
}

fn hex(bytes: &[u8]) -> Secret {
    Secret::new(HEXLOWER.encode(bytes))
}

/// A UUID of version 4 (RFC 9562 §5.4).
fn uuid(bytes: &[u8]) -> Secret {
    let mut bytes = Zeroizing::new(bytes.to_vec());
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let digits = hex(&bytes);
    let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|part| &digits.expose()[part]);
    Secret::new(parts.join("-"))
}

/// A private key, clamped as `wg genkey` does (RFC 7748 §5).
fn wireguard(mut bytes: Zeroizing<Vec<u8>>) -> Secret {
    bytes[0] &= 248;
    bytes[31] = (bytes[31] & 127) | 64;
    Secret::new(Base64::encode_string(&bytes))
}

fn ssh_host(seed: &[u8], comment: &str) -> Result<Secret> {
    let seed: &[u8; 32] = seed
        .try_into()
        .context(|| "an Ed25519 key is made of 32 bytes".into())?;
    let pair = Ed25519Keypair::from_seed(seed);
    let key = PrivateKey::new(KeypairData::Ed25519(pair), comment)
        .context(|| "cannot make an SSH key".into())?;
    let text = key
        .to_openssh(LineEnding::LF)
        .context(|| "cannot write an SSH key".into())?;
    Ok(Secret::new(text.to_string()))
}

/// The output of the operator's own program, without the final line break.
async fn command(argv: &[String]) -> Result<Secret> {
    let Some((program, args)) = argv.split_first() else {
        return Err(Error::usage(
            "the generator is ‘command’, and no command is given",
        ));
    };
    let command = Command::new(program).args(args);
    let output = command.output().await?;
    let text = match String::from_utf8(output) {
        Ok(text) => text,
        Err(e) => {
            drop(Zeroizing::new(e.into_bytes()));
            return Err(command.failed("it did not print text"));
        }
    };
    let value = Secret::new(text);
    match value.expose().trim_end_matches('\n') {
        "" => Err(command.failed("it printed nothing")),
        kept => Ok(Secret::new(kept.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(generator: Generator, length: usize, command: &[&str]) -> SecretSpec {
        SecretSpec {
            generator,
            length,
            command: command.iter().map(ToString::to_string).collect(),
            ..crate::secrets::tests::spec("x")
        }
    }

    async fn made(generator: Generator, length: usize) -> String {
        let value = generate(&spec(generator, length, &[]), "alder")
            .await
            .unwrap();
        value.expose().to_owned()
    }

    #[tokio::test]
    async fn random_is_of_letters_and_digits_in_the_length_asked_for() {
        let text = made(Generator::Random, 4096).await;
        assert_eq!(text.len(), 4096);
        assert!(text.bytes().all(|b| b.is_ascii_alphanumeric()));
        let kinds: std::collections::BTreeSet<u8> = text.bytes().collect();
        assert_eq!(kinds.len(), 62, "each of them comes up among 4096");
    }

    #[tokio::test]
    async fn hex_and_base64_are_of_as_many_bytes_as_asked_for() {
        let text = made(Generator::Hex, 32).await;
        assert!(text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()));
        assert_eq!(
            Base64::decode_vec(&made(Generator::Base64, 32).await)
                .unwrap()
                .len(),
            32
        );
        assert_eq!(hex(&[0, 15, 255]).expose(), "000fff");
    }

    #[tokio::test]
    async fn a_uuid_is_one_of_version_4() {
        let text = made(Generator::Uuid, 8).await;
        let dashes: Vec<usize> = text.match_indices('-').map(|(at, _)| at).collect();
        assert_eq!((text.len(), dashes), (36, vec![8, 13, 18, 23]));
        assert_eq!(&text[14..15], "4");
        assert!(["8", "9", "a", "b"].contains(&&text[19..20]));
    }

    #[tokio::test]
    async fn no_two_values_are_alike() {
        for generator in [
            Generator::Random,
            Generator::Hex,
            Generator::Base64,
            Generator::Uuid,
            Generator::Wireguard,
            Generator::SshHost,
        ] {
            assert_ne!(made(generator, 16).await, made(generator, 16).await);
        }
    }

    #[test]
    fn the_public_key_is_that_of_rfc_7748() {
        // §6.1, Alice's keys.
        let private = [
            0x77, 0x07, 0x6d, 0x0a, 0x73, 0x18, 0xa5, 0x7d, 0x3c, 0x16, 0xc1, 0x72, 0x51, 0xb2,
            0x66, 0x45, 0xdf, 0x4c, 0x2f, 0x87, 0xeb, 0xc0, 0x99, 0x2a, 0xb1, 0x77, 0xfb, 0xa5,
            0x1d, 0xb9, 0x2c, 0x2a,
        ];
        let public = public(
            Generator::Wireguard,
            &Secret::new(Base64::encode_string(&private)),
        )
        .unwrap();
        assert_eq!(
            public.as_deref(),
            Some("hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=")
        );
    }

    #[test]
    fn what_is_no_key_is_told() {
        for value in ["", "abc", "aGVsbG8="] {
            assert!(public(Generator::Wireguard, &Secret::new(value.into())).is_err());
            assert!(public(Generator::SshHost, &Secret::new(value.into())).is_err());
        }
    }

    #[tokio::test]
    async fn a_command_gives_what_it_prints_less_the_line_break() {
        let run = async |argv: &[&str]| generate(&spec(Generator::Command, 8, argv), "").await;
        assert_eq!(run(&["printf", "a\\nb\\n"]).await.unwrap().expose(), "a\nb");
        assert!(
            run(&["true"])
                .await
                .unwrap_err()
                .what
                .contains("printed nothing")
        );
        assert!(
            run(&["false"])
                .await
                .unwrap_err()
                .what
                .contains("exit code 1")
        );
        assert!(run(&[]).await.is_err());
    }
}
