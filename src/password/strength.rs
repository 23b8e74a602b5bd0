//! The strength of a password, as zxcvbn estimates it.

use zxcvbn::Score;

use super::hash::Password;
use crate::error::{Error, Result};

/// Refuses a password that falls to fewer than about 10^8 guesses: an attacker with the hash makes
/// some thousands of guesses a second. `about` are words that attackers try first: the names of
/// user and cluster.
pub fn check(password: &Password, about: &[&str]) -> Result<()> {
    let estimate = zxcvbn::zxcvbn(password.expose(), about);
    if estimate.score() >= Score::Three {
        return Ok(());
    }
    let mut advice: Vec<String> = Vec::new();
    if let Some(feedback) = estimate.feedback() {
        advice.extend(feedback.warning().map(|warning| warning.to_string()));
        advice.extend(feedback.suggestions().iter().map(ToString::to_string));
    }
    Err(Error::usage(format!(
        "the password is too weak: it falls to about 10^{:.0} guesses, and 10^8 are wanted",
        estimate.guesses_log10()
    ))
    .saying(advice.join("\n"))
    .help(
        "four or five words picked by dice are strong and can be typed; --force takes a weak one",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    fn verdict(text: &str, about: &[&str]) -> Result<()> {
        check(&Password::new(Secret::new(text.into())).unwrap(), about)
    }

    #[test]
    fn common_short_and_repeated_passwords_are_weak_and_said_to_be() {
        for text in [
            "wonderland",
            "password1",
            "qwertyuiop",
            "aaaaaaaaaaaaaaaaaaaa",
            "x9!k",
        ] {
            let error = verdict(text, &[]).unwrap_err();
            assert!(error.what.contains("too weak"));
            assert!(
                !error.to_string().contains(text),
                "the password is not repeated"
            );
        }
    }

    #[test]
    fn random_words_and_letters_are_strong() {
        for text in [
            "correct horse battery staple",
            "vK7#pq2Lw9xT",
            "żółw gra na harfie w deszczu",
        ] {
            assert!(verdict(text, &[]).is_ok(), "{text}");
        }
    }

    #[test]
    fn words_about_the_user_count_for_little() {
        assert!(verdict("xkqvzmtrwp", &[]).is_ok());
        assert!(verdict("xkqvzmtrwp", &["xkqvzmtrwp"]).is_err());
    }
}
