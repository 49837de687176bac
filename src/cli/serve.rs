//! `serve` and `up`: the daemon itself.

use crate::app;
use crate::config::Config;
use crate::lifecycle::{self, Shutdown};
use crate::telemetry;
use anyhow::Context;
use nix::sys::stat::{Mode, umask};
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub struct ServeArguments {
    /// Configuration file (TOML).
    #[arg(long, default_value = "/etc/dwarfnova/dwarfnova.toml")]
    config: PathBuf,
    /// Where everything is kept.
    #[arg(long, default_value = "/var/lib/dwarfnova")]
    state_dir: PathBuf,
}

#[derive(Debug, clap::Args)]
pub struct UpArguments {
    /// Where everything is kept, clouds.yaml too; made at the first start.
    #[arg(long)]
    state_dir: PathBuf,
    /// Address and port of the API; port 0 takes a free one.
    #[arg(long)]
    listen: Option<SocketAddr>,
    /// Configuration file (TOML).
    #[arg(long)]
    config: Option<PathBuf>,
}

/// Runs as a service. A configuration file that does not exist means the defaults.
pub fn serve(arguments: &ServeArguments) -> anyhow::Result<()> {
    let config = if arguments.config.exists() { Config::load(&arguments.config)? } else { Config::default() };
    run(config, &arguments.state_dir)
}

/// Sets up at the first start, then runs.
pub fn up(arguments: &UpArguments) -> anyhow::Result<()> {
    let mut config = match &arguments.config {
        Some(path) => Config::load(path)?,
        None => Config::default(),
    };
    if let Some(listen) = arguments.listen {
        config.listen = listen;
    }
    run(config, &arguments.state_dir)
}

fn run(config: Config, state_dir: &Path) -> anyhow::Result<()> {
    let config = config.check()?;
    // What is not opened to others on purpose is nobody else's business.
    umask(Mode::from_bits_truncate(0o077));
    telemetry::init(&config.log)?;
    #[cfg(target_env = "gnu")]
    crate::host::heap::share();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(64)
        .thread_name("worker")
        .enable_all()
        .build()
        .context("the async runtime could not be started")?;
    runtime.block_on(async {
        let shutdown = Shutdown::default();
        shutdown.listen()?;
        let running = app::start(config, state_dir, shutdown.clone()).await?;
        let mut out = std::io::stdout();
        writeln!(out, "ready {}", running.url())?;
        out.flush()?;
        lifecycle::ready();
        lifecycle::watchdog(&shutdown);
        shutdown.soft.cancelled().await;
        lifecycle::stopping();
        tokio::select! {
            () = running.stop() => {}
            () = shutdown.hard.cancelled() => tracing::warn!("asked twice to stop: ending at once"),
        }
        anyhow::Ok(())
    })
}
