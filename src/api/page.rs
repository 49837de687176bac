//! Paging with `limit` and `marker`: the links to the pages beside.

use super::call::Query;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// The URL of the page after the one that ends with `marker`: the same URL with its query sorted by name and the marker set.
/// Pairs of one name keep their order, which of sort keys and directions is their meaning.
pub fn next_url(url: &str, query: &Query, marker: &str) -> String {
    let mut pairs = with(query, &[("marker", marker)]);
    pairs.sort_by_key(|(name, _)| *name);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_several_times_keeps_its_order() {
        let pairs = [
            ("sort_key", "uuid"),
            ("sort_dir", "desc"),
            ("limit", "3"),
            ("sort_key", "host"),
            ("sort_dir", "asc"),
        ];
        let query = Query(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec());
        let next = next_url("http://x/servers", &query, "m");
        let told = "http://x/servers?limit=3&marker=m&sort_dir=desc&sort_dir=asc&sort_key=uuid&sort_key=host";
        assert_eq!(next, told);
    }
}
