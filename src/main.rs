//! The `dwarfnova` program: reads arguments and hands over to a subcommand.

fn main() {
    dwarfnova::cli::run()
}
