//! Paging as compute and most others do it: `limit` and `marker`, and a link to the next page.

use super::call::Query;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// The URL of the page after the one that ends with `marker`: the same URL with its query sorted and the marker set.
pub fn next_url(url: &str, query: &Query, marker: &str) -> String {
    let mut pairs: Vec<(&str, &str)> =
        query.0.iter().filter(|(key, _)| key != "marker").map(|(k, v)| (k.as_str(), v.as_str())).collect();
    pairs.push(("marker", marker));
    pairs.sort_unstable();
    let text: Vec<String> = pairs.into_iter().map(|(k, v)| format!("{}={}", encode(k), encode(v))).collect();
    format!("{url}?{}", text.join("&"))
}

/// A part of a query, percent-encoded.
pub fn encode(text: &str) -> String {
    const KEEP: percent_encoding::AsciiSet =
        NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b':');
    utf8_percent_encode(text, &KEEP).to_string()
}
