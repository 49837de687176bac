//! The link to libvirt: one event thread for the process, one supervisor that keeps the link up, and calls with
//! deadlines on threads of their own.
//!
//! libvirtd answers at most five calls of one client at a time, and a call about a guest whose QEMU hangs can take
//! for ever. So such calls are limited to one per domain, and go over links of their own. Knows nothing of domains or
//! networks.

use super::error::{is, translate};
use super::ffi::{self, Listener, Notice};
use super::pool::Pool;
use crate::host::hypervisor::{HostEvent, HypervisorError};
use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak, mpsc};
use std::time::Duration;
use tokio::sync::{OwnedMutexGuard, broadcast, oneshot, watch};
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;
use virt::connect::Connect;
use virt::domain::Domain;
use virt::error::{Error, ErrorNumber};

/// A link over which nothing came for this many seconds is asked for a sign of life.
const KEEPALIVE_SECONDS: i32 = 4;
/// So many questions without an answer, and the link counts as dead: 12 s in all.
const KEEPALIVE_MISSES: u32 = 2;
/// How long a call waits for a link that has just broken, as when libvirtd restarts.
const LINK_GRACE: Duration = Duration::from_secs(2);
/// How long a call waits for the first link of all.
const FIRST_LINK_WAIT: Duration = Duration::from_secs(15);
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(5);
/// As many as libvirtd works on at once: with fewer, the last of twenty new guests starts when the first ones are already
/// booting and take its processors.
const GUEST_CALLS: usize = 20;
/// Which threads and links a call uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// libvirtd answers from its own memory.
    Quick,
    /// libvirtd has work to do, but waits for no guest.
    Slow,
    /// One call at a time for this object. For all that talks to the QEMU of a domain, which may hang, and for
    /// changes that read first and write then.
    OneByOne(Uuid),
    /// As [`Lane::OneByOne`], but does not wait: while another call is under way, it is late at once.
    IfFree(Uuid),
    /// Must get through when everything else hangs.
    Force,
}

/// The name, the deadline and the lane of a call.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    pub name: &'static str,
    pub seconds: u64,
    pub lane: Lane,
}

#[derive(Clone)]
enum Link {
    /// The first attempt is under way.
    Connecting,
    Up(Arc<Connect>),
    Down {
        since: Instant,
        reason: String,
    },
}

/// The link of one thread, which its calls share with no others: libvirt's client sends a call at once only if no other
/// waits on its link. Beside one for a guest that hangs, it can lie there until the next sign of life.
#[derive(Default)]
struct OwnLink(Option<Line>);

impl OwnLink {
    /// Opens it anew where it is dead.
    fn ready(&mut self, uri: &str) -> Result<&mut Line, Error> {
        let alive = self.0.take().filter(|line| line.connect.is_alive().unwrap_or(false));
        let line = match alive {
            Some(line) => line,
            None => Line::new(Arc::new(open_link(uri)?)),
        };
        Ok(self.0.insert(line))
    }
}

/// A link as a call has it.
pub struct Line {
    connect: Arc<Connect>,
    /// What calls leave for later ones on the same link: domains that were looked up.
    pub domains: HashMap<Uuid, Domain>,
}

impl Line {
    fn new(connect: Arc<Connect>) -> Self {
        Self { connect, domains: HashMap::new() }
    }
}

impl Deref for Line {
    type Target = Connect;

    fn deref(&self) -> &Connect {
        &self.connect
    }
}

struct Shared {
    uri: String,
    link: watch::Sender<Link>,
    events: broadcast::Sender<HostEvent>,
    quick: Pool<OwnLink>,
    guest: Pool<OwnLink>,
    force: Pool<OwnLink>,
    gates: Mutex<HashMap<Uuid, Weak<tokio::sync::Mutex<()>>>>,
    supervisor: mpsc::Sender<Message>,
}

enum Message {
    Closed(u64),
    Stop,
}

/// A handle on the link. The link is closed when the last handle is dropped.
#[derive(Clone)]
pub struct Connection(Arc<Handle>);

struct Handle(Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        // A supervisor that has ended already needs no telling.
        self.0.supervisor.send(Message::Stop).ok();
    }
}

/// The URI for a setting: `auto` is the system's libvirt for root and the user's own for others.
pub fn resolve_uri(setting: &str) -> String {
    match setting {
        "auto" if nix::unistd::geteuid().is_root() => "qemu:///system".into(),
        "auto" => "qemu:///session".into(),
        uri => uri.into(),
    }
}

impl Connection {
    /// Begins to connect and returns at once. `observer` sees every notice on libvirt's event thread.
    pub fn open(uri: String, observer: impl Fn(Notice) + Send + Sync + 'static) -> Self {
        let (supervisor, inbox) = mpsc::channel();
        let shared = Arc::new(Shared {
            uri,
            link: watch::Sender::new(Link::Connecting),
            events: broadcast::channel(4096).0,
            quick: Pool::new("libvirt-quick", 3),
            guest: Pool::new("libvirt-guest", GUEST_CALLS),
            force: Pool::new("libvirt-force", 8),
            gates: Mutex::default(),
            supervisor,
        });
        let supervised = Arc::clone(&shared);
        let observer: Arc<dyn Fn(Notice) + Send + Sync> = Arc::new(observer);
        let spawned = std::thread::Builder::new()
            .name("libvirt-link".into())
            .spawn(move || supervise(&supervised, &inbox, &observer));
        if let Err(error) = spawned {
            let reason = format!("no thread for the link: {error}");
            shared.link.send_replace(Link::Down { since: Instant::now(), reason });
        }
        Self(Arc::new(Handle(shared)))
    }

    pub fn events(&self) -> broadcast::Receiver<HostEvent> {
        self.0.0.events.subscribe()
    }

    pub fn uri(&self) -> &str {
        &self.0.0.uri
    }

    /// Runs `work` on a thread with a link, and waits for it until the call's deadline.
    pub async fn call<T: Send + 'static>(
        &self,
        call: Call,
        work: impl FnOnce(&mut Line) -> Result<T, HypervisorError> + Send + 'static,
    ) -> Result<T, HypervisorError> {
        let shared = &self.0.0;
        let deadline = Instant::now() + Duration::from_secs(call.seconds);
        let late = || HypervisorError::Deadline { call: call.name, seconds: call.seconds };
        let first = shared.link_up(deadline).await?;
        let gate = match call.lane {
            Lane::OneByOne(domain) => {
                Some(timeout_at(deadline, shared.gate(domain)).await.map_err(|_| late())?)
            }
            Lane::IfFree(object) => Some(shared.gate_of(object).try_lock_owned().map_err(|_| late())?),
            Lane::Quick | Lane::Slow | Lane::Force => None,
        };
        let pool = match call.lane {
            Lane::Quick => &shared.quick,
            Lane::Slow | Lane::OneByOne(_) | Lane::IfFree(_) => &shared.guest,
            Lane::Force => &shared.force,
        };
        let (answer, answered) = oneshot::channel();
        let worker = Arc::clone(shared);
        let ticket = pool.submit(move |own| {
            // Held until libvirt has answered, even if the caller has left: the domain stays closed to other calls.
            let _gate = gate;
            let result = if call.lane == Lane::Quick || worker.is_in_process() {
                run(&mut Line::new(first), work)
            } else {
                let ready = own.ready(&worker.uri).map_err(|error| translate(call.name, error));
                ready.and_then(|line| run(line, work))
            };
            // A caller that has left has its answer: that the deadline passed.
            answer.send(result).ok();
        });
        // The ticket stays alive beside the wait: when the caller goes away, it is dropped and the job given up.
        match timeout_at(deadline, answered).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(HypervisorError::Failed {
                call: call.name,
                message: "the thread that made the call is gone".into(),
                source: None,
            }),
            Err(_) => {
                drop(ticket);
                tracing::warn!(call = call.name, seconds = call.seconds, "libvirt did not answer in time");
                Err(late())
            }
        }
    }
}

/// Runs `work`; if it failed and the link is dead, the link is the reason.
fn run<T>(
    line: &mut Line,
    work: impl FnOnce(&mut Line) -> Result<T, HypervisorError>,
) -> Result<T, HypervisorError> {
    work(line).map_err(|error| {
        if line.connect.is_alive().unwrap_or(false) {
            error
        } else {
            HypervisorError::Unreachable(error.to_string())
        }
    })
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// The first link; waits for the first attempt and, shortly, for a link that has just broken.
    async fn link_up(&self, deadline: Instant) -> Result<Arc<Connect>, HypervisorError> {
        let begun = Instant::now();
        let mut changes = self.link.subscribe();
        loop {
            let link = changes.borrow_and_update().clone();
            let (until, reason) = match link {
                Link::Up(connect) => return Ok(connect),
                Link::Connecting => (begun + FIRST_LINK_WAIT, format!("{} does not answer", self.uri)),
                Link::Down { since, reason } => (since + LINK_GRACE, reason),
            };
            let until = until.min(deadline);
            if until <= Instant::now() {
                return Err(HypervisorError::Unreachable(reason));
            }
            // Whether something changed or the time is over: the next round sees it.
            timeout_at(until, changes.changed()).await.ok();
        }
    }

    async fn gate(&self, object: Uuid) -> OwnedMutexGuard<()> {
        self.gate_of(object).lock_owned().await
    }

    fn gate_of(&self, object: Uuid) -> Arc<tokio::sync::Mutex<()>> {
        let mut gates = locked(&self.gates);
        if let Some(gate) = gates.get(&object).and_then(Weak::upgrade) {
            return gate;
        }
        gates.retain(|_, gate| gate.strong_count() > 0);
        let gate = Arc::new(tokio::sync::Mutex::new(()));
        gates.insert(object, Arc::downgrade(&gate));
        gate
    }

    /// Whether libvirt answers inside this process, as its test driver does. Nothing waits there, and each link would lead
    /// to a world of its own.
    fn is_in_process(&self) -> bool {
        self.uri.starts_with("test:")
    }
}

/// Connects, and asks for signs of life where there is a daemon at the other end.
fn open_link(uri: &str) -> Result<Connect, Error> {
    let connect = Connect::open(Some(uri))?;
    match connect.set_keep_alive(KEEPALIVE_SECONDS, KEEPALIVE_MISSES) {
        Ok(()) => {}
        Err(error) if is(&error, ErrorNumber::NoSupport) => {}
        Err(error) => return Err(error),
    }
    Ok(connect)
}

/// Starts the one event loop that libvirt has in a process. It blocks while nothing happens.
fn start_event_loop() -> Result<(), String> {
    static STARTED: OnceLock<Result<(), String>> = OnceLock::new();
    STARTED
        .get_or_init(|| {
            // libvirt would print every error to stderr beside our log.
            virt::error::clear_error_callback();
            virt::event::event_register_default_impl().map_err(|error| error.to_string())?;
            std::thread::Builder::new()
                .name("libvirt-events".into())
                .spawn(|| {
                    loop {
                        if let Err(error) = virt::event::event_run_default_impl() {
                            tracing::error!(%error, "libvirt's event loop failed");
                            std::thread::sleep(FIRST_RETRY);
                        }
                    }
                })
                .map(drop)
                .map_err(|error| error.to_string())
        })
        .clone()
}

/// Connects with the listener registered, so that no event is missed from here on.
fn connect(
    shared: &Shared,
    number: u64,
    observer: &Arc<dyn Fn(Notice) + Send + Sync>,
) -> Result<Connect, String> {
    start_event_loop()?;
    let connect = open_link(&shared.uri).map_err(|error| error.message().to_owned())?;
    let (supervisor, observer) = (shared.supervisor.clone(), Arc::clone(observer));
    let events = shared.events.clone();
    let listener: Listener = Arc::new(move |notice| {
        if notice == Notice::Closed {
            // Without a supervisor there is nothing left that could want the link.
            supervisor.send(Message::Closed(number)).ok();
        }
        observer(notice);
        super::events::publish(&events, notice);
    });
    ffi::listen(&connect, &listener).map_err(|error| error.message().to_owned())?;
    match ffi::listen_for_close(&connect, &listener) {
        Ok(()) => {}
        Err(error) if is(&error, ErrorNumber::NoSupport) => {}
        Err(error) => return Err(error.message().to_owned()),
    }
    Ok(connect)
}

/// The supervisor's life: connect, wait for the end of the link, connect again.
fn supervise(
    shared: &Arc<Shared>,
    inbox: &mpsc::Receiver<Message>,
    observer: &Arc<dyn Fn(Notice) + Send + Sync>,
) {
    let mut retry = FIRST_RETRY;
    let mut was_down = false;
    for number in 0.. {
        match connect(shared, number, observer) {
            Ok(opened) => {
                retry = FIRST_RETRY;
                shared.link.send_replace(Link::Up(Arc::new(opened)));
                if was_down {
                    tracing::info!(uri = shared.uri, "libvirt is back");
                    super::events::send(&shared.events, HostEvent::Reconnected);
                }
                match end_of_link(inbox, number) {
                    Message::Stop => break,
                    Message::Closed(_) => {}
                }
                let reason = "the connection to libvirt was lost".to_owned();
                tracing::warn!(uri = shared.uri, "the connection to libvirt was lost; guests go on");
                go_down(shared, &mut was_down, reason);
            }
            Err(reason) => {
                if !was_down {
                    tracing::warn!(uri = shared.uri, reason, "libvirt cannot be reached");
                }
                go_down(shared, &mut was_down, reason);
                if let Ok(Message::Stop) | Err(mpsc::RecvTimeoutError::Disconnected) =
                    inbox.recv_timeout(retry)
                {
                    break;
                }
                retry = (retry * 2).min(LAST_RETRY);
            }
        }
    }
    let reason = "the connection was closed".to_owned();
    shared.link.send_replace(Link::Down { since: Instant::now(), reason });
}

fn go_down(shared: &Shared, was_down: &mut bool, reason: String) {
    shared.link.send_modify(|link| {
        // The grace for calls begins when the link breaks, not with each vain attempt.
        let since = match link {
            Link::Down { since, .. } => *since,
            Link::Connecting | Link::Up(_) => Instant::now(),
        };
        *link = Link::Down { since, reason };
    });
    if !*was_down {
        super::events::send(&shared.events, HostEvent::Disconnected);
    }
    *was_down = true;
}

/// Blocks until the link with this number ends; news of older links are old.
fn end_of_link(inbox: &mpsc::Receiver<Message>, number: u64) -> Message {
    loop {
        match inbox.recv() {
            Ok(Message::Closed(ended)) if ended != number => {}
            Ok(message) => return message,
            Err(mpsc::RecvError) => return Message::Stop,
        }
    }
}
