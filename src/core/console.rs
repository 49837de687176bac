//! Consoles that people open from afar, and the kinds that Nova knows beyond those.

use super::{Error, Kind};

/// A console that this host has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConsoleKind {
    /// The display, in a browser.
    NoVnc,
    /// The first serial port.
    Serial,
}

impl ConsoleKind {
    /// The word for it in requests, answers and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoVnc => "novnc",
            Self::Serial => "serial",
        }
    }

    /// The console that a protocol and a type name.
    ///
    /// # Errors
    /// Invalid, in Nova's words: for a type that its protocol does not have, and for the protocols whose servers this host
    /// does not run.
    pub fn of(protocol: &str, kind: &str) -> Result<Self, Error> {
        match (protocol, kind) {
            ("vnc", "novnc") => Ok(Self::NoVnc),
            ("serial", "serial") => Ok(Self::Serial),
            ("vnc" | "serial", _) => Err(Error::invalid(format!("Invalid console type {kind}"))),
            ("rdp", _) => Err(Error::invalid(
                "The server could not comply with the request since it is either malformed or otherwise incorrect.",
            )),
            _ => Err(unavailable(kind)),
        }
    }
}

impl std::str::FromStr for ConsoleKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        [Self::NoVnc, Self::Serial]
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| Error::new(Kind::Internal, format!("unknown console {text}")))
    }
}

/// The refusal of a console that could exist and does not here.
pub fn unavailable(kind: &str) -> Error {
    Error::invalid(format!("Unavailable console type {kind}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_served_is_refused_in_novas_words() {
        assert_eq!(ConsoleKind::of("vnc", "novnc").unwrap(), ConsoleKind::NoVnc);
        assert_eq!(ConsoleKind::of("serial", "serial").unwrap(), ConsoleKind::Serial);
        let refused = |protocol, kind| ConsoleKind::of(protocol, kind).unwrap_err().message().to_owned();
        assert_eq!(refused("vnc", "xvpvnc"), "Invalid console type xvpvnc");
        assert_eq!(refused("spice", "spice-html5"), "Unavailable console type spice-html5.");
        assert_eq!(refused("spice", "spice-direct"), "Unavailable console type spice-direct.");
        assert_eq!(refused("mks", "webmks"), "Unavailable console type webmks.");
        assert!(refused("rdp", "rdp-html5").starts_with("The server could not comply"));
    }
}
