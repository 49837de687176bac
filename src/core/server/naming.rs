//! Names that are made for servers: host names from display names, the names of a multi-create, device names, passwords.

use crate::core::ids::ServerId;

/// The longest host label.
const LABEL: usize = 63;

/// The host name that Nova makes from a display name: what separates words becomes a hyphen, what no host name may hold
/// goes away. A name of which nothing is left gives way to one from the server's id.
pub fn hostname(display_name: &str, id: ServerId) -> String {
    let cleaned: String = display_name
        .chars()
        .filter(|c| *c as u32 <= 0xff)
        .take(LABEL)
        .map(|c| if matches!(c, ' ' | '_' | '.') { '-' } else { c.to_ascii_lowercase() })
        .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
        .collect();
    let cleaned = cleaned.trim_matches('-');
    if cleaned.is_empty() {
        return format!("Server-{id}");
    }
    cleaned.to_owned()
}

/// The name of the server at `index` (from 0) of `count` alike ones.
pub fn of_many(name: &str, index: u32, count: u32) -> String {
    if count == 1 { name.to_owned() } else { format!("{name}-{}", index + 1) }
}

/// Whether machines of this type (the image's `hw_machine_type`; q35 by default) have IDE drives. q35 has none; what asks
/// for one gets a SATA drive, which is what such a machine's own controller offers.
pub fn has_ide(machine: Option<&str>) -> bool {
    machine.is_some_and(|machine| !machine.contains("q35"))
}

/// The name under which the guest knows its root disk, by the disk's bus, if one is asked for, and the image's
/// `hw_machine_type`.
pub fn root_device(disk_bus: Option<&str>, machine: Option<&str>) -> &'static str {
    match disk_bus {
        Some("ide") if has_ide(machine) => "/dev/hda",
        Some("scsi" | "sata" | "usb" | "ide") => "/dev/sda",
        _ => "/dev/vda",
    }
}

/// Twelve letters and digits that cannot be mistaken for one another, from 128 random bits.
pub fn password(random: u128) -> String {
    const GROUPS: [&[u8]; 3] = [b"23456789", b"ABCDEFGHJKLMNPQRSTUVWXYZ", b"abcdefghijkmnopqrstuvwxyz"];
    let all: Vec<u8> = GROUPS.concat();
    let mut left = random;
    let mut take = |from: &[u8]| {
        let count = from.len() as u128;
        let chosen = from.get(usize::try_from(left % count).unwrap_or(0)).copied().unwrap_or(b'x');
        left /= count;
        char::from(chosen)
    };
    // One of each kind, as password rules in guests want, in a place that is random too.
    let kinds: Vec<char> = GROUPS.iter().map(|group| take(group)).collect();
    let mut password: Vec<char> = (0..9).map(|_| take(&all)).collect();
    for kind in kinds {
        let place = usize::try_from(left % 10).unwrap_or(0).min(password.len());
        left /= 10;
        password.insert(place, kind);
    }
    password.into_iter().collect()
}

/// `r-` and eight letters and digits, from 128 random bits.
pub fn reservation_id(random: u128) -> String {
    const SIGNS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut left = random;
    let mut id = String::from("r-");
    for _ in 0..8 {
        id.push(char::from(SIGNS[usize::try_from(left % 36).unwrap_or(0)]));
        left /= 36;
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn host_names_as_nova_makes_them() {
        let id = ServerId::random();
        assert_eq!(hostname("My web_server.example", id), "my-web-server-example");
        assert_eq!(hostname("-dots.and.more-", id), "dots-and-more");
        assert_eq!(hostname("日本", id), format!("Server-{id}"));
        assert_eq!(hostname(&"x".repeat(80), id).len(), 63);
    }

    #[test]
    fn names_of_many() {
        assert_eq!(of_many("web", 0, 1), "web");
        assert_eq!(of_many("web", 1, 3), "web-2");
    }

    proptest! {
        #[test]
        fn passwords_have_every_kind(random in any::<u128>()) {
            let password = password(random);
            prop_assert_eq!(password.len(), 12);
            prop_assert!(password.chars().any(|c| c.is_ascii_digit()));
            prop_assert!(password.chars().any(|c| c.is_ascii_uppercase()));
            prop_assert!(password.chars().any(|c| c.is_ascii_lowercase()));
        }

        #[test]
        fn host_names_are_labels(name in ".{0,100}") {
            let made = hostname(&name, ServerId::random());
            prop_assert!(made.len() <= 63);
            prop_assert!(made.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'));
        }
    }
}
