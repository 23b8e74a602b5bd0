//! The cluster's certificates: the authorities of Consul and Nomad, and what they sign each year.
//!
//! [`spec`] defines the content of each certificate, [`layout`] its name in the store, [`plan`]
//! what is missing; [`x509`] makes and parses them.

pub mod deploy;
pub mod files;
pub mod generate;
pub mod layout;
pub mod live;
pub mod member;
pub mod node;
pub mod plan;
pub mod publish;
pub mod rollout;
pub mod spec;
pub mod stored;
pub mod trust;
pub mod x509;

use std::fmt;

use serde::Serialize;
use time::OffsetDateTime;

use crate::error::{Error, Result};

/// How long an authority is valid, in days, as in the earlier scripts.
pub const CA_DAYS: i64 = 3650;
/// How long all other certificates are valid, in days, as in the earlier scripts.
pub const LEAF_DAYS: i64 = 700;
/// How long before a certificate's end to warn, in days.
pub const WARNING_DAYS: i64 = 60;

/// The year in the names of certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Year(i32);

impl Year {
    /// The year that `now` is in (UTC).
    pub fn of(now: OffsetDateTime) -> Self {
        Self(now.year())
    }

    /// The year that the operator asked for, or that of the clock. Refuses years far from now: a
    /// certificate is valid from now on, whatever its name.
    pub fn choose(asked: Option<i32>, now: OffsetDateTime) -> Result<Self> {
        let current = now.year();
        match asked {
            None => Ok(Self(current)),
            Some(year) if (current - 1..=current + 1).contains(&year) => Ok(Self(year)),
            Some(year) => Err(Error::usage(format!(
                "this is the year {current} by this machine’s clock: {year} is too far from it"
            ))
            .help(
                "certificates are made for this year, the last or the next; is the clock right?",
            )),
        }
    }

    /// A year by its number.
    pub const fn new(year: i32) -> Self {
        Self(year)
    }
}

impl fmt::Display for Year {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A day for people, as in `2026-11-22`.
pub fn day(moment: OffsetDateTime) -> String {
    moment.date().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn a_year_far_from_the_clock_is_refused() {
        let now = datetime!(2026-12-30 12:00 UTC);
        assert_eq!(Year::choose(None, now).unwrap().to_string(), "2026");
        assert_eq!(Year::choose(Some(2027), now).unwrap().to_string(), "2027");
        for year in [2024, 2028, 1970] {
            assert!(
                Year::choose(Some(year), now)
                    .unwrap_err()
                    .what
                    .contains("2026")
            );
        }
    }
}
