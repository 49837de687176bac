//! Paging with `limit` and `marker`: the links to the pages beside.

use super::call::Query;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// The URL of the page after the one that ends with `marker`: the same URL with its query sorted and the marker set.
pub fn next_url(url: &str, query: &Query, marker: &str) -> String {
    let mut pairs = with(query, &[("marker", marker)]);
    pairs.sort_unstable();
    join(url, &pairs)
}

/// The URL with its query in the order that it came in, and these pairs set at its end. For APIs to which the order of
/// a query's pairs means something.
pub fn url_with(url: &str, query: &Query, set: &[(&str, &str)]) -> String {
    join(url, &with(query, set))
}

fn with<'a>(query: &'a Query, set: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let kept = query.0.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let mut pairs: Vec<_> = kept.filter(|(key, _)| set.iter().all(|(name, _)| name != key)).collect();
    pairs.extend_from_slice(set);
    pairs
}

fn join(url: &str, pairs: &[(&str, &str)]) -> String {
    let text: Vec<String> = pairs.iter().map(|(k, v)| format!("{}={}", encode(k), encode(v))).collect();
    format!("{url}?{}", text.join("&"))
}

/// A part of a query, percent-encoded.
pub fn encode(text: &str) -> String {
    const KEEP: percent_encoding::AsciiSet =
        NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b':');
    utf8_percent_encode(text, &KEEP).to_string()
}
