//! What the kernel says of the machine as a whole.

use jiff::Timestamp;
use nix::sys::sysinfo::sysinfo;
use std::io;
use std::time::Duration;

/// How long the machine has been up and how busy it is, in the form of the program `uptime`. The number of logged-in
/// users is none of our business.
///
/// # Errors
/// When the kernel does not tell.
pub fn uptime(now: Timestamp) -> io::Result<String> {
    let facts = sysinfo()?;
    Ok(words(now, facts.uptime(), facts.load_average()))
}

/// The id that the kernel gave to this boot of the machine.
///
/// # Errors
/// When the kernel does not tell.
pub fn boot_id() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

fn words(now: Timestamp, up: Duration, load: (f64, f64, f64)) -> String {
    let minutes = up.as_secs() / 60;
    let (days, hours, minutes) = (minutes / 1440, minutes / 60 % 24, minutes % 60);
    let days = match days {
        0 => String::new(),
        1 => "1 day, ".to_owned(),
        many => format!("{many} days, "),
    };
    format!(
        " {} up {days}{hours:2}:{minutes:02},  0 users,  load average: {:.2}, {:.2}, {:.2}",
        now.strftime("%H:%M:%S"),
        load.0,
        load.1,
        load.2
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_the_program_says_it() {
        let now = Timestamp::from_second(3_600).unwrap();
        let up = Duration::from_secs(86_400 * 2 + 3_600 * 3 + 240);
        assert_eq!(
            words(now, up, (0.5, 1.0, 12.345)),
            " 01:00:00 up 2 days,  3:04,  0 users,  load average: 0.50, 1.00, 12.35"
        );
    }
}
