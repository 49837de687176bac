//! One connection to a guest's serial port, shared by all who look at it.
//!
//! QEMU serves one client of a serial port at a time. The port is opened with the first viewer and closed after the last. What
//! the guest writes is always read at once, whether or not the viewers keep up: a slow viewer misses some of it, the guest
//! waits for nobody. (The console log is not touched by any of this: virtlogd writes it.) What viewers type goes to the guest
//! in the order in which it came, as fast as the guest takes it.

use super::{stream, translate};
use crate::core::ids::ServerId;
use crate::core::{Error, Result};
use crate::host::hypervisor::Hypervisor;
use bytes::Bytes;
use std::collections::HashMap;
use std::os::unix::net::UnixStream as StdStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::{OnceCell, broadcast, mpsc};

/// How much is read at once, in bytes.
const CHUNK: usize = 4096;
/// How many chunks a viewer may lie behind.
const BEHIND: usize = 1024;
/// How many messages may wait for the guest to take them.
const TYPED: usize = 32;
/// How much a viewer is handed at once, in bytes.
const PORTION: usize = 32 * 1024;

/// The serial ports that somebody looks at.
pub struct Hub {
    hypervisor: Arc<dyn Hypervisor>,
    ports: Mutex<HashMap<ServerId, Arc<OnceCell<Port>>>>,
}

/// A port that is, or was, open. Holds nothing open: the viewers do.
struct Port {
    output: broadcast::WeakSender<Bytes>,
    input: mpsc::WeakSender<Bytes>,
}

impl Port {
    fn view(&self) -> Option<Viewer> {
        // The input first: as long as it is held, the port stays open.
        let input = self.input.upgrade()?;
        let output = self.output.upgrade()?.subscribe();
        Some(Viewer { output, input })
    }

    fn is_open(&self) -> bool {
        self.input.strong_count() > 0 && self.output.strong_count() > 0
    }
}

/// One of those who look at a serial port.
pub struct Viewer {
    output: broadcast::Receiver<Bytes>,
    /// To the guest, byte by byte.
    pub input: mpsc::Sender<Bytes>,
}

/// What a viewer gets.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// What the guest wrote.
    Output(Vec<u8>),
    /// The viewer was too slow, and some of what the guest wrote is lost to him.
    Missed,
    /// The guest has no console any more.
    End,
}

impl Viewer {
    /// Waits for the guest to write, and gives all of it that is there, within reason.
    pub async fn hear(&mut self) -> Heard {
        let mut heard = match self.output.recv().await {
            Ok(bytes) => Vec::from(bytes),
            Err(RecvError::Lagged(_)) => return Heard::Missed,
            Err(RecvError::Closed) => return Heard::End,
        };
        while heard.len() < PORTION {
            match self.output.try_recv() {
                Ok(bytes) => heard.extend_from_slice(&bytes),
                // Whatever else it is, the next call says so: a receiver that lags is told once, so it is told now.
                Err(TryRecvError::Lagged(_)) => {
                    heard.extend_from_slice(MISSED);
                    break;
                }
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        Heard::Output(heard)
    }
}

/// What stands in a viewer's output where some is missing.
pub const MISSED: &[u8] = b"\r\n[some output was skipped]\r\n";

impl Hub {
    pub fn new(hypervisor: Arc<dyn Hypervisor>) -> Self {
        Self { hypervisor, ports: Mutex::default() }
    }

    /// Joins those who look at a server's serial port, as the first if nobody does.
    ///
    /// # Errors
    /// An invalid state when the guest does not run.
    pub async fn attach(&self, id: ServerId) -> Result<Viewer> {
        loop {
            let slot = self.slot(id);
            let mut first = None;
            let port = slot
                .get_or_try_init(|| async {
                    let socket =
                        self.hypervisor.open_serial(id).await.map_err(|error| translate(id, error))?;
                    let (port, viewer) = open(stream(StdStream::from(socket))?);
                    first = Some(viewer);
                    Ok::<_, Error>(port)
                })
                .await?;
            // A port that closes in this moment, since its last viewer left, is opened anew.
            if let Some(viewer) = first.or_else(|| port.view()) {
                return Ok(viewer);
            }
        }
    }

    /// The place of a server's port; that of one that has closed is given to a new one.
    fn slot(&self, id: ServerId) -> Arc<OnceCell<Port>> {
        let mut ports = self.lock();
        // A place that is still empty is being filled by somebody who waits for the hypervisor.
        ports.retain(|_, slot| slot.get().map_or_else(|| Arc::strong_count(slot) > 1, Port::is_open));
        ports.entry(id).or_default().clone()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ServerId, Arc<OnceCell<Port>>>> {
        // Nothing in here panics half-way through a change of the map.
        self.ports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Begins to move bytes between a guest and its viewers, of which the first is given.
fn open(socket: UnixStream) -> (Port, Viewer) {
    let (output, received) = broadcast::channel(BEHIND);
    let (input, typed) = mpsc::channel(TYPED);
    let port = Port { output: output.downgrade(), input: input.downgrade() };
    tokio::spawn(run(socket, output, typed));
    (port, Viewer { output: received, input })
}

/// Runs until the guest closes its end or the last viewer has gone.
async fn run(socket: UnixStream, output: broadcast::Sender<Bytes>, mut typed: mpsc::Receiver<Bytes>) {
    let (mut from_guest, mut to_guest) = socket.into_split();
    let read = async {
        let mut chunk = vec![0; CHUNK];
        loop {
            match from_guest.read(&mut chunk).await {
                Ok(0) => return Ok(()),
                // Nobody listening is no fault: the last viewer is just leaving.
                Ok(count) => drop(output.send(Bytes::copy_from_slice(&chunk[..count]))),
                Err(error) => return Err(error),
            }
        }
    };
    let write = async {
        while let Some(bytes) = typed.recv().await {
            to_guest.write_all(&bytes).await?;
        }
        Ok(())
    };
    let ended = tokio::select! {
        ended = read => ended,
        ended = write => ended,
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a serial console was lost");
    }
}
