//! The command line: one file a subcommand.

mod credentials;
mod doctor;
mod serve;

use clap::{Parser, Subcommand};

/// An OpenStack-compatible cloud in one process, for one machine.
#[derive(Debug, Parser)]
#[command(name = "dwarfnova", version, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run as a service: configuration and state lie where the system keeps them.
    Serve(serve::ServeArguments),
    /// Set up a cloud in a folder at the first start, and run it in the foreground.
    Up(serve::UpArguments),
    /// Print what a client needs to log in as the administrator: lines for the shell, or clouds.yaml.
    Credentials(credentials::CredentialsArguments),
    /// Check this host: one line for each thing that a cloud needs, with the command that mends it.
    Doctor(doctor::DoctorArguments),
}

/// Runs the subcommand that the arguments name.
pub fn run() -> ! {
    let result = match &Arguments::parse().command {
        Command::Serve(arguments) => serve::serve(arguments),
        Command::Up(arguments) => serve::up(arguments),
        Command::Credentials(arguments) => credentials::credentials(arguments),
        Command::Doctor(arguments) => doctor::doctor(arguments),
    };
    let code = match result {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("dwarfnova: {error:#}");
            1
        }
    };
    crate::host::exit::now(code)
}
