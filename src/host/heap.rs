//! The C library's heap.

#![expect(unsafe_code, reason = "the heap's settings are C")]

/// Threads share this many heaps. glibc would make eight for each processor, and each keeps what the largest answers took
/// from it once: with four clients that list a thousand servers the daemon held 10 MiB more, and was no faster.
const ARENAS: libc::c_int = 2;

/// Limits how much memory lies idle. To be called before there are threads.
pub fn share() {
    // SAFETY: mallopt only notes a number, and touches no memory of ours.
    if unsafe { libc::mallopt(libc::M_ARENA_MAX, ARENAS) } == 0 {
        tracing::warn!("the C library does not limit its heaps");
    }
}
