//! `credentials`: what a client needs to log in as the administrator.

use crate::credentials;
use anyhow::Context;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub struct CredentialsArguments {
    /// Where the daemon keeps everything.
    #[arg(long)]
    state_dir: PathBuf,
    /// Print clouds.yaml instead of lines for the shell.
    #[arg(long)]
    clouds: bool,
}

/// Prints `export OS_...` lines, or the clouds.yaml.
///
/// # Errors
/// When the daemon was never started with this folder.
pub fn credentials(arguments: &CredentialsArguments) -> anyhow::Result<()> {
    let path = credentials::path(&arguments.state_dir);
    let found = credentials::read(&arguments.state_dir)?.with_context(|| {
        format!("there is no {}: start the daemon with this folder first", path.display())
    })?;
    if arguments.clouds {
        print!("{}", std::fs::read_to_string(&path).with_context(|| path.display().to_string())?);
    } else {
        print!("{}", credentials::exports(&found));
    }
    Ok(())
}
