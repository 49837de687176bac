//! Tokens and shared serial ports, on a host in memory.

use super::hub::{Hub, MISSED};
use super::{ConsoleService, Heard, Opened, Settings, Viewer};
use crate::core::Kind;
use crate::core::clock::Clock;
use crate::core::console::ConsoleKind;
use crate::core::ids::ServerId;
use crate::core::service::Deps;
use crate::core::workflow::testing::{Bench, Process, owner};
use crate::host::hypervisor::DomainState;
use crate::host::hypervisor::fake::FakeHypervisor;
use bytes::Bytes;
use secrecy::ExposeSecret;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

fn service(bench: &Bench, process: &Process, clock: &Clock) -> ConsoleService {
    let deps = Deps { store: process.store.clone(), clock: clock.clone(), tasks: process.tasks.clone() };
    ConsoleService::new(deps, bench.hypervisor.clone(), Settings::default())
}

async fn server(bench: &Bench, process: &Process) -> ServerId {
    let id = process.servers.create(&owner(), bench.command("s")).await.unwrap().ids[0];
    process.tasks.settled().await.unwrap();
    id
}

async fn issued(consoles: &ConsoleService, id: ServerId, protocol: &str, kind: &str) -> String {
    consoles.issue(&owner(), id, protocol, kind).await.unwrap().1.expose_secret().to_owned()
}

#[tokio::test]
async fn a_token_opens_one_console_of_one_server_for_a_while() {
    let bench = Bench::new();
    let process = bench.start().await;
    let clock = Clock::manual(process.clock.now());
    let consoles = service(&bench, &process, &clock);
    let id = server(&bench, &process).await;
    let display = issued(&consoles, id, "vnc", "novnc").await;
    let serial = issued(&consoles, id, "serial", "serial").await;
    let found = consoles.look_up(&display).await.unwrap();
    assert_eq!(found, Some((id, ConsoleKind::NoVnc)));
    assert_eq!(consoles.look_up(&serial).await.unwrap(), Some((id, ConsoleKind::Serial)));
    assert_eq!(consoles.look_up("guessed").await.unwrap(), None);
    let count = |process: &Process| {
        let store = process.store.clone();
        async move {
            store
                .read(|c| {
                    let rows = c.query_row("SELECT count(*) FROM console_token", [], |row| row.get(0))?;
                    Ok::<i64, crate::store::StoreError>(rows)
                })
                .await
                .unwrap()
        }
    };
    assert_eq!(count(&process).await, 2);
    clock.advance(600);
    assert_eq!(consoles.look_up(&display).await.unwrap(), None);
    let fresh = issued(&consoles, id, "serial", "serial").await;
    assert_eq!(count(&process).await, 1, "the expired ones are gone");
    process.servers.delete(&owner(), id, false).await.unwrap();
    process.tasks.settled().await.unwrap();
    assert_eq!(consoles.look_up(&fresh).await.unwrap(), None);
    assert_eq!(count(&process).await, 0, "no token outlives its server");
    let gone = consoles.issue(&owner(), id, "serial", "serial").await.unwrap_err();
    assert_eq!(gone.kind(), Kind::NotFound);
}

#[tokio::test]
async fn a_guest_that_does_not_run_has_no_console() {
    let bench = Bench::new();
    let process = bench.start().await;
    let consoles = service(&bench, &process, &process.clock.clone());
    let id = server(&bench, &process).await;
    bench.hypervisor.set_state(id, DomainState::ShutOff);
    for (protocol, kind) in [("vnc", ConsoleKind::NoVnc), ("serial", ConsoleKind::Serial)] {
        issued(&consoles, id, protocol, kind.as_str()).await;
        let Err(refused) = consoles.open(id, kind).await else { panic!("it opened") };
        assert_eq!(refused.kind(), Kind::InvalidState);
    }
    bench.hypervisor.set_state(id, DomainState::Running);
    let refused = consoles.issue(&owner(), id, "spice", "spice-html5").await.unwrap_err();
    assert_eq!((refused.kind(), refused.message()), (Kind::Invalid, "Unavailable console type spice-html5."));
    assert!(matches!(consoles.open(id, ConsoleKind::NoVnc).await, Ok(Opened::Display(_))));
    let stranger = crate::core::workflow::testing::actor("stranger", &["member"]);
    let unseen = consoles.issue(&stranger, id, "vnc", "novnc").await.unwrap_err();
    assert_eq!(unseen.kind(), Kind::NotFound);
}

/// A hub, with a guest that runs.
async fn hub() -> (Arc<FakeHypervisor>, Hub, ServerId) {
    let bench = Bench::new();
    let process = bench.start().await;
    let id = server(&bench, &process).await;
    process.kill().await;
    let hypervisor = bench.hypervisor.clone();
    (hypervisor.clone(), Hub::new(hypervisor), id)
}

async fn heard(viewer: &mut Viewer, bytes: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while all.len() < bytes {
        match viewer.hear().await {
            Heard::Output(more) => all.extend(more),
            other => panic!("{other:?} after {} bytes", all.len()),
        }
    }
    all
}

fn read(guest: &mut UnixStream, bytes: usize) -> Vec<u8> {
    let mut typed = vec![0; bytes];
    guest.read_exact(&mut typed).unwrap();
    typed
}

#[tokio::test(flavor = "multi_thread")]
async fn all_viewers_see_the_same_and_all_may_type() {
    let (hypervisor, hub, id) = hub().await;
    let mut one = hub.attach(id).await.unwrap();
    let mut guest = hypervisor.take_serial(id).expect("the first opens the port");
    let mut other = hub.attach(id).await.unwrap();
    assert!(hypervisor.take_serial(id).is_none(), "the second shares it");
    guest.write_all(b"login: ").unwrap();
    assert_eq!(heard(&mut one, 7).await, b"login: ");
    assert_eq!(heard(&mut other, 7).await, b"login: ");
    one.input.send(Bytes::from_static(b"ro")).await.unwrap();
    assert_eq!(read(&mut guest, 2), b"ro");
    other.input.send(Bytes::from_static(b"ot\xff")).await.unwrap();
    assert_eq!(read(&mut guest, 3), b"ot\xff");
    drop(one);
    guest.write_all(b"!").unwrap();
    assert_eq!(heard(&mut other, 1).await, b"!");
    drop(other);
    assert_eq!(guest.read(&mut [0]).unwrap(), 0, "the port is closed after the last viewer");
    let mut again = hub.attach(id).await.unwrap();
    let guest = hypervisor.take_serial(id).expect("it is opened anew");
    drop(guest);
    assert_eq!(again.hear().await, Heard::End);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_viewer_holds_nobody_up() {
    const FLOOD: usize = 16 << 20;
    let (hypervisor, hub, id) = hub().await;
    let mut slow = hub.attach(id).await.unwrap();
    let mut quick = hub.attach(id).await.unwrap();
    let mut guest = hypervisor.take_serial(id).unwrap();
    let writer = std::thread::spawn(move || {
        guest.write_all(&vec![b'x'; FLOOD]).unwrap();
        guest.write_all(b"the end").unwrap();
        guest
    });
    let mut tail = Vec::new();
    while !tail.ends_with(b"the end") {
        match quick.hear().await {
            Heard::Output(more) => tail = more,
            // A busy machine may make this one late too; the end is heard all the same.
            Heard::Missed => {}
            Heard::End => panic!("the port closed"),
        }
    }
    let guest = writer.join().unwrap();
    assert_eq!(slow.hear().await, Heard::Missed, "it looked at nothing while 16 MiB went by");
    let mut rest = Vec::new();
    while !rest.ends_with(b"the end") {
        match slow.hear().await {
            Heard::Output(more) => rest.extend(more),
            other => panic!("{other:?}"),
        }
    }
    assert!(rest.len() <= 1024 * 4096 && !rest.windows(MISSED.len()).any(|part| part == MISSED));
    drop(guest);
    assert_eq!(slow.hear().await, Heard::End);
}
