//! The form of a ledger of changes, and what it says about one key at one version.

/// One version of an API: what it changed on the wire, in order.
pub struct Entry<R: 'static, I: 'static> {
    /// The minor part of the version.
    pub minor: u16,
    /// One sentence for readers.
    pub what: &'static str,
    pub changes: &'static [Change<R, I>],
}

/// A change of the wire. `R` names a resource's answer, `I` a request's body or query.
pub enum Change<R: 'static, I: 'static> {
    /// The answers carry the keys from this version on.
    Shown(&'static [R], &'static [&'static str]),
    /// The answers carried the keys up to the version before.
    Hidden(&'static [R], &'static [&'static str]),
    /// The keys' values have another form from this version on.
    Reshaped(&'static [R], &'static [&'static str]),
    /// The requests may carry the keys from this version on.
    Accepted(&'static [I], &'static [&'static str]),
    /// The requests could carry the keys up to the version before.
    Refused(&'static [I], &'static [&'static str]),
    /// The requests must carry the keys from this version on.
    Required(&'static [I], &'static [&'static str]),
    /// Other values are accepted under the keys from this version on.
    Restricted(&'static [I], &'static [&'static str]),
    /// Unknown keys are refused from this version on.
    Closed(&'static [I]),
    /// Operations begin or end, or answer with another status: the route table has the windows.
    Operations,
    /// Other behaviour, or a body where there was none: the handlers ask for the version.
    Behaviour,
}

/// Whether something that changes between two states holds at `minor`, given the versions at which it begins (`true`)
/// and ends (`false`). What never changes holds always.
pub fn holds(switches: impl Iterator<Item = (u16, bool)>, minor: u16) -> bool {
    let mut before = None;
    let mut state = None;
    for (at, begins) in switches {
        before = before.or(Some(!begins));
        if at <= minor {
            state = Some(begins);
        }
    }
    state.or(before).unwrap_or(true)
}

#[cfg(test)]
mod tests {
    use super::holds;

    #[test]
    fn a_key_may_come_go_and_return() {
        let at = |minor| holds([(32, true), (37, false), (42, true)].into_iter(), minor);
        assert_eq!([31, 32, 36, 37, 41, 42, 104].map(at), [false, true, true, false, false, true, true]);
        let removed = |minor| holds([(57, false)].into_iter(), minor);
        assert_eq!([1, 56, 57].map(removed), [true, true, false]);
        assert!(holds(std::iter::empty(), 1));
    }
}
