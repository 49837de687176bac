//! Figures of speed and memory, as ratios where there is something to compare with: `cargo bench -- [NAME]...`.
//!
//! Nothing is asserted but that the work was done: machines differ. `process`, `create`, `images` and `actions` need a libvirt
//! and run inside `tests/hermetic`.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a bench that cannot go on has failed; it runs the bare calls itself"
)]
#![expect(clippy::cast_precision_loss, reason = "figures are printed with two digits")]

mod actions;
mod create;
mod images;
mod process;
mod reads;
mod restart;
mod support;

fn main() {
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let all: [(&str, fn()); 6] = [
        ("reads", reads::run),
        ("restart", restart::run),
        ("process", process::run),
        ("create", create::run),
        ("images", images::run),
        ("actions", actions::run),
    ];
    for (name, bench) in all {
        if wanted.is_empty() || wanted.iter().any(|one| one == name) {
            println!("== {name}");
            bench();
        }
    }
}
