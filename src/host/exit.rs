//! The end of the process.

#![expect(unsafe_code, reason = "the C library's way out")]

use std::io::Write;

/// Ends the process without what C libraries want done at its end. They clean up what threads of ours may still use: a call
/// to libvirt cannot be told to come back, and one that was under way then made one stop in two hundred an abort.
/// Everything that has to last is on the disk by then.
pub fn now(code: i32) -> ! {
    // Nobody may listen any more, and there is no better place to say so.
    let _ = std::io::stdout().flush();
    // SAFETY: does not come back, and runs nothing of ours.
    unsafe { libc::_exit(code) }
}
