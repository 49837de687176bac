//! Microversions: what a number means, how a request names one, and how one ledger of changes gives the shape of every
//! answer at every version ([`ledger`], [`shape`]). Knows no resource: an API brings its own ledger.

pub mod ledger;
pub mod shape;

use super::error::Fault;
use crate::core::Error;
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use std::fmt;

const STANDARD: &str = "openstack-api-version";

/// A version `2.minor`; all APIs that have microversions share the major number within one API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Microversion {
    pub major: u16,
    pub minor: u16,
}

impl fmt::Display for Microversion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl Microversion {
    pub const fn new(major: u16, minor: u16) -> Self {
        Self { major, minor }
    }

    /// Two numbers without leading zeros, a dot between them.
    fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once('.')?;
        let number = |part: &str, zero_allowed: bool| -> Option<u16> {
            let plain = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
            let leading_zero = part.starts_with('0') && !(zero_allowed && part == "0");
            if !plain || leading_zero {
                return None;
            }
            // A number beyond the type is well-formed and beyond every maximum.
            Some(part.parse().unwrap_or(u16::MAX))
        };
        Some(Self { major: number(major, false)?, minor: number(minor, true)? })
    }
}

/// The versions that one API speaks and the header names by which it is asked.
#[derive(Debug, Clone, Copy)]
pub struct Range {
    /// The service's name in `OpenStack-API-Version`.
    pub service: &'static str,
    /// The older header of this service alone, in lower case.
    pub own_header: &'static str,
    pub min: Microversion,
    pub max: Microversion,
}

impl Range {
    /// The version that a request asks for; the lowest when it names none.
    ///
    /// # Errors
    /// 400 for a malformed value, 406 for a version outside the range.
    pub fn negotiate(&self, headers: &HeaderMap) -> Result<Microversion, Fault> {
        let Some(asked) = self.asked(headers) else {
            return Ok(self.min);
        };
        if asked == "latest" {
            return Ok(self.max);
        }
        let version = Microversion::parse(&asked).ok_or_else(|| {
            Error::invalid(format!(
                "API Version String {asked} is of invalid format. Must be of format MajorNum.MinorNum."
            ))
        })?;
        if version < self.min || version > self.max {
            return Err(Fault::Status(
                StatusCode::NOT_ACCEPTABLE,
                format!(
                    "Version {version} is not supported by the API. Minimum is {} and maximum is {}.",
                    self.min, self.max
                ),
            ));
        }
        Ok(version)
    }

    /// The standard header's last entry for this service, else the service's own header.
    fn asked(&self, headers: &HeaderMap) -> Option<String> {
        let mut found = None;
        for value in headers.get_all(STANDARD).filter_map(|value| value.to_str().ok()) {
            for entry in value.split(',') {
                let mut words = entry.split_whitespace();
                if let (Some(service), Some(version), None) = (words.next(), words.next(), words.next())
                    && service.eq_ignore_ascii_case(self.service)
                {
                    found = Some(version.to_owned());
                }
            }
        }
        let own = || headers.get(self.own_header).and_then(|value| value.to_str().ok());
        found.or_else(|| own().map(|value| value.trim().to_owned()))
    }

    /// Names the version in an answer, in both headers; `None` where none was agreed on. `Vary` names both always.
    pub fn mark(&self, headers: &mut HeaderMap, version: Option<Microversion>) {
        let own = HeaderName::from_static(self.own_header);
        let standard = HeaderName::from_static(STANDARD);
        if let Some(version) = version {
            let both = HeaderValue::from_str(&format!("{} {version}", self.service));
            let plain = HeaderValue::from_str(&version.to_string());
            if let (Ok(both), Ok(plain)) = (both, plain) {
                headers.insert(standard, both);
                headers.insert(own, plain);
            }
        }
        if let Ok(vary) = HeaderValue::from_str(&format!("OpenStack-API-Version, {}", self.own_header)) {
            headers.append(actix_web::http::header::VARY, vary);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RANGE: Range = Range {
        service: "compute",
        own_header: "x-openstack-nova-api-version",
        min: Microversion::new(2, 1),
        max: Microversion::new(2, 104),
    };

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(HeaderName::try_from(*name).unwrap(), HeaderValue::from_str(value).unwrap());
        }
        map
    }

    fn minor(pairs: &[(&str, &str)]) -> u16 {
        RANGE.negotiate(&headers(pairs)).unwrap().minor
    }

    #[test]
    fn the_standard_header_wins_and_its_last_entry_counts() {
        assert_eq!(minor(&[]), 1);
        assert_eq!(minor(&[("openstack-api-version", "compute 2.7")]), 7);
        assert_eq!(minor(&[("openstack-api-version", "volume 3.7")]), 1);
        assert_eq!(minor(&[("openstack-api-version", "compute 2.7, volume 3.1, compute 2.9")]), 9);
        assert_eq!(minor(&[("x-openstack-nova-api-version", "2.5")]), 5);
        assert_eq!(
            minor(&[("x-openstack-nova-api-version", "2.5"), ("openstack-api-version", "compute 2.6")]),
            6
        );
        assert_eq!(minor(&[("openstack-api-version", "compute latest")]), 104);
    }

    #[test]
    fn malformed_is_400_and_out_of_range_406() {
        for bad in ["2", "2.", "2.01", "two", "2.1.1", "-2.1", "0.1", "2.+1"] {
            let fault = RANGE.negotiate(&headers(&[("x-openstack-nova-api-version", bad)])).unwrap_err();
            assert_eq!(fault.status(crate::api::error::Dialect::Compute), StatusCode::BAD_REQUEST, "{bad}");
        }
        for out in ["2.0", "2.105", "3.1", "1.1", "2.99999999"] {
            let fault = RANGE.negotiate(&headers(&[("x-openstack-nova-api-version", out)])).unwrap_err();
            assert_eq!(
                fault.status(crate::api::error::Dialect::Compute),
                StatusCode::NOT_ACCEPTABLE,
                "{out}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text in "[ -~]{0,24}") {
            let _ = RANGE.negotiate(&headers(&[("openstack-api-version", &text)]));
            let _ = RANGE.negotiate(&headers(&[("x-openstack-nova-api-version", &text)]));
        }

        #[test]
        fn exactly_the_range_is_accepted(major in 0u16..5, minor in 0u16..300) {
            let text = format!("{major}.{minor}");
            let result = RANGE.negotiate(&headers(&[("x-openstack-nova-api-version", &text)]));
            prop_assert_eq!(result.is_ok(), major == 2 && (1..=104).contains(&minor));
        }
    }
}
