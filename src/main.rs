//! The `dwarfnova` program: reads arguments and hands over to a subcommand.

fn main() -> std::process::ExitCode {
    dwarfnova::cli::run()
}
