//! Whose pages may open a console: a browser tells by the Origin header, which no script of a page can change.

/// Whether a page of `origin` may connect. `bases` are the URLs under which this program is known; `allowed` are names of
/// further hosts. As in Nova, ports do not count.
pub fn fits(origin: &str, bases: &[&str], allowed: &[String]) -> bool {
    let Some((scheme, host)) = parts(origin) else { return false };
    let known = bases.iter().filter_map(|base| parts(base)).any(|(known_scheme, known_host)| {
        known_scheme.eq_ignore_ascii_case(scheme) && known_host.eq_ignore_ascii_case(host)
    });
    known || allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(host))
}

/// Scheme and host of a URL, the host without its port.
fn parts(url: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    let place = rest.split('/').next().unwrap_or_default();
    let host = match place.strip_prefix('[') {
        Some(address) => address.split(']').next().unwrap_or_default(),
        None => place.split(':').next().unwrap_or_default(),
    };
    (!host.is_empty()).then_some((scheme, host))
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn pages_of_others_may_not_connect() {
        let bases = ["https://cloud.example/nova", "http://[::1]:8774"];
        let with = |origin| fits(origin, &bases, &["horizon.example".to_owned()]);
        assert!(
            with("https://cloud.example") && with("https://Cloud.example:8443") && with("http://[::1]:80")
        );
        assert!(with("https://horizon.example"));
        for origin in [
            "http://cloud.example",
            "https://evil.example",
            "https://cloud.example.evil",
            "null",
            "",
            "https://",
        ] {
            assert!(!with(origin), "{origin}");
        }
    }
}
