//! Formats of text: the named checks beyond length and pattern, each with its own words.

use super::iso8601;
use super::python::quote;
use std::net::{Ipv4Addr, Ipv6Addr};
use uuid::Uuid;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Printable, no blank at either end.
    Name,
    /// Printable, something other than blanks in it.
    PaddedName,
    /// A name that may also be padded at `/v2`, without a colon.
    ZoneName,
    /// Letters, digits, blank, `_`, `-`.
    KeypairName,
    /// As [`Format::KeypairName`], and `@`, `.`.
    WideKeypairName,
    Uuid,
    UuidOrEmpty,
    /// As [`Format::UuidOrEmpty`], or a URL that ends in a UUID.
    ImageReference,
    Base64,
    DateTime,
    Regex,
    Ipv4,
    Ipv6,
}

const KEYPAIR_NAME: &str = "_- 0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
const WIDE_KEYPAIR_NAME: &str = "@._- 0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// Why a text does not fit its format.
pub enum Mismatch {
    /// A sentence that stands alone.
    Whole(String),
    /// What follows the name of the field and its value.
    Detail(String),
}

impl Format {
    pub fn check(self, text: &str) -> Result<(), Mismatch> {
        match self {
            Self::Name => {
                let edge =
                    text.chars().next().is_some_and(is_blank) || text.chars().last().is_some_and(is_blank);
                name(!edge, text, |_| true, "printable characters. Can not start or end with whitespace.")
            }
            Self::PaddedName => name(
                text.chars().any(|c| !is_blank(c)),
                text,
                |_| true,
                "printable characters with at least one non space character",
            ),
            Self::ZoneName => {
                let edge =
                    text.chars().next().is_some_and(is_blank) || text.chars().last().is_some_and(is_blank);
                name(
                    !edge,
                    text,
                    |c| c != ':',
                    "printable characters except :.Can not start or end with whitespace.",
                )
            }
            Self::KeypairName => characters(text, KEYPAIR_NAME),
            Self::WideKeypairName => characters(text, WIDE_KEYPAIR_NAME),
            Self::Uuid => plain(Uuid::try_parse(text).is_ok(), text, "uuid"),
            Self::UuidOrEmpty => {
                plain(text.is_empty() || Uuid::try_parse(text).is_ok(), text, "uuid_or_empty")
            }
            Self::ImageReference => {
                let last = text.rsplit('/').next().unwrap_or(text);
                plain(text.is_empty() || Uuid::try_parse(last).is_ok(), text, "uuid_or_empty")
            }
            Self::Base64 => plain(is_base64(text), text, "base64"),
            Self::DateTime => plain(iso8601::parse(text).is_some(), text, "date-time"),
            Self::Regex => plain(regex::Regex::new(text).is_ok(), text, "regex"),
            Self::Ipv4 => plain(text.parse::<Ipv4Addr>().is_ok(), text, "ipv4"),
            Self::Ipv6 => plain(text.parse::<Ipv6Addr>().is_ok(), text, "ipv6"),
        }
    }
}

fn plain(good: bool, text: &str, format: &str) -> Result<(), Mismatch> {
    if good { Ok(()) } else { Err(Mismatch::Detail(format!("{} is not a '{format}'", quote(text)))) }
}

fn name(good: bool, text: &str, also: impl Fn(char) -> bool, reason: &str) -> Result<(), Mismatch> {
    if good && text.chars().all(|c| is_printable(c) && also(c)) { Ok(()) } else { Err(invalid_name(reason)) }
}

fn characters(text: &str, allowed: &str) -> Result<(), Mismatch> {
    if text.chars().all(|c| allowed.contains(c)) {
        return Ok(());
    }
    Err(invalid_name(&format!("Only expected characters: [{allowed}]")))
}

fn invalid_name(reason: &str) -> Mismatch {
    Mismatch::Whole(format!("An invalid 'name' value was provided. The name must be: {reason}"))
}

/// A space separator of Unicode.
fn is_blank(c: char) -> bool {
    c.is_whitespace() && !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}')
}

fn is_printable(c: char) -> bool {
    is_blank(c) || !(c.is_control() || c.is_whitespace() || is_unassigned_or_format(c))
}

/// Format characters, private use and the like, which no name needs and which can hide what it says.
fn is_unassigned_or_format(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{e000}'..='\u{f8ff}' | '\u{feff}' | '\u{fff0}'..='\u{fffb}' | '\u{f0000}'..='\u{10ffff}')
}

/// As Python's lenient decoder sees it: foreign characters do not count, the padding has to be right.
fn is_base64(text: &str) -> bool {
    let digits = text.bytes().filter(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/')).count();
    let padding = text.bytes().filter(|b| *b == b'=').count();
    match digits % 4 {
        0 => true,
        1 => false,
        rest => padding >= 4 - rest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let fits = |format: Format, text: &str| format.check(text).is_ok();
        assert!(fits(Format::Name, "a b"));
        assert!(fits(Format::Name, "\u{30c6}\u{30b9}"));
        assert!(fits(Format::Name, ""));
        for bad in [" a", "a ", "a\nb", "a\u{200b}b", "\u{3000}a"] {
            assert!(!fits(Format::Name, bad), "{bad:?}");
        }
        assert!(fits(Format::PaddedName, " a "));
        assert!(!fits(Format::PaddedName, "  "));
        assert!(!fits(Format::KeypairName, "a@b"));
        assert!(fits(Format::WideKeypairName, "a@b.c"));
    }

    #[test]
    fn base64_padding() {
        for good in ["", "YQ==", "YWI=", "YWJj", "YW\nJj"] {
            assert!(is_base64(good), "{good:?}");
        }
        for bad in ["Y", "YQ", "YWJjZ"] {
            assert!(!is_base64(bad), "{bad:?}");
        }
    }
}
