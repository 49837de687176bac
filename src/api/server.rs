//! The HTTP server: one acceptor that deals connections out to worker threads.
//!
//! actix's own server keeps a clock ticking in each worker for as long as it lives. Here a worker makes its HTTP service
//! with the first connection and drops it when the last one has been gone for a while, so that an idle daemon sleeps.

use super::State;
use actix_http::HttpService;
use actix_service::{IntoServiceFactory, Service, ServiceFactory, map_config};
use actix_web::dev::AppConfig;
use actix_web::web::{self, Payload};
use actix_web::{App, HttpRequest, HttpResponse};
use futures_util::future::LocalBoxFuture;
use std::io;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Answers one request.
pub type Entry = fn(State, HttpRequest, Payload) -> LocalBoxFuture<'static, HttpResponse>;

/// How long a worker without connections keeps its HTTP service.
const LINGER: Duration = Duration::from_secs(10);
/// How many accepted connections may wait for a worker.
const BACKLOG: usize = 256;
/// How long open connections may go on after the wish to stop.
const DRAIN: Duration = Duration::from_secs(2);

/// One listening socket and what it serves.
pub struct Endpoint {
    pub listener: TcpListener,
    pub entry: Entry,
    pub tls: Option<Arc<rustls::ServerConfig>>,
}

/// Serves the endpoint with `workers` threads until `stop`; then gives open requests a moment.
///
/// # Errors
/// When the socket or a thread cannot be set up.
pub fn serve(
    endpoint: Endpoint,
    state: &State,
    workers: usize,
    stop: CancellationToken,
) -> io::Result<Running> {
    endpoint.listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(endpoint.listener)?;
    let mut senders = Vec::new();
    let mut threads = Vec::new();
    for number in 0..workers.max(1) {
        let (sender, receiver) = mpsc::channel(BACKLOG);
        senders.push(sender);
        let (state, entry, tls, stop) = (state.clone(), endpoint.entry, endpoint.tls.clone(), stop.clone());
        let thread = std::thread::Builder::new().name(format!("http-{number}")).spawn(move || {
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => {
                    tracing::error!(%error, "an HTTP worker could not start");
                    return;
                }
            };
            let local = tokio::task::LocalSet::new();
            local.block_on(&runtime, work(receiver, state, entry, tls, stop));
        })?;
        threads.push(thread);
    }
    let acceptor = tokio::spawn(accept(listener, senders, stop));
    Ok(Running { acceptor, threads })
}

/// A server that runs.
pub struct Running {
    acceptor: tokio::task::JoinHandle<()>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Running {
    /// Waits until the server has stopped.
    pub async fn ended(self) {
        // Where a wait is cut off, the process ends.
        if self.acceptor.await.is_err_and(|error| error.is_panic()) {
            tracing::error!("the acceptor panicked");
        }
        for thread in self.threads {
            if matches!(tokio::task::spawn_blocking(move || thread.join()).await, Ok(Err(_))) {
                tracing::error!("an HTTP worker panicked");
            }
        }
    }
}

/// Deals connections out, one worker after the other.
async fn accept(
    listener: tokio::net::TcpListener,
    workers: Vec<mpsc::Sender<std::net::TcpStream>>,
    stop: CancellationToken,
) {
    for worker in workers.iter().cycle() {
        let incoming = loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.cancelled() => return,
            };
            match accepted.and_then(|(stream, _)| stream.into_std()) {
                Ok(incoming) => break incoming,
                Err(error) => {
                    // Out of descriptors, or the peer went away: the next connection may fare better.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        };
        if worker.send(incoming).await.is_err() {
            tracing::error!("an HTTP worker is gone");
        }
    }
}

type Connection = LocalBoxFuture<'static, ()>;
type Serve = Rc<dyn Fn(TcpStream) -> Connection>;

async fn work(
    mut incoming: mpsc::Receiver<std::net::TcpStream>,
    state: State,
    entry: Entry,
    tls: Option<Arc<rustls::ServerConfig>>,
    stop: CancellationToken,
) {
    // Held by every open connection, so that its count tells how many there are.
    let open = Rc::new(());
    let mut service: Option<Serve> = None;
    loop {
        let next = tokio::select! {
            next = incoming.recv() => next,
            () = tokio::time::sleep(LINGER), if service.is_some() => {
                if Rc::strong_count(&open) == 1 {
                    service = None;
                }
                continue;
            }
            () = stop.cancelled() => None,
        };
        let Some(stream) = next else { break };
        let serve = match &service {
            Some(serve) => serve.clone(),
            None => match http_service(state.clone(), entry, tls.clone()).await {
                Ok(serve) => service.insert(serve).clone(),
                Err(error) => {
                    tracing::error!(error, "the HTTP service could not be made");
                    continue;
                }
            },
        };
        match TcpStream::from_std(stream) {
            Ok(stream) => {
                // Small answers must not wait for an acknowledgement; without the option they are just slower.
                let _ = stream.set_nodelay(true);
                let held = open.clone();
                tokio::task::spawn_local(async move {
                    serve(stream).await;
                    drop(held);
                });
            }
            Err(error) => tracing::warn!(%error, "a connection was lost"),
        }
    }
    state.quiet(DRAIN).await;
}

/// Makes actix's service for connections.
async fn http_service(
    state: State,
    entry: Entry,
    tls: Option<Arc<rustls::ServerConfig>>,
) -> Result<Serve, &'static str> {
    let app = App::new().default_service(web::to(move |request: HttpRequest, payload: Payload| {
        let state = state.clone();
        async move {
            let _busy = state.busy();
            entry(state.clone(), request, payload).await
        }
    }));
    let app = map_config(app.into_factory(), |()| AppConfig::default());
    let patience = Duration::from_secs(30);
    match tls {
        None => {
            let http = HttpService::build().client_request_timeout(patience).finish(app).tcp();
            let service = Rc::new(http.new_service(()).await.map_err(|()| "no HTTP service")?);
            Ok(Rc::new(move |stream| {
                let service = service.clone();
                Box::pin(async move { report(service.call(stream).await.map_err(|e| e.to_string())) })
            }))
        }
        Some(config) => {
            let config = rustls::ServerConfig::clone(&config);
            let http = HttpService::build().client_request_timeout(patience).finish(app).rustls_0_23(config);
            let service = Rc::new(http.new_service(()).await.map_err(|()| "no TLS service")?);
            Ok(Rc::new(move |stream| {
                let service = service.clone();
                Box::pin(async move { report(service.call(stream).await.map_err(|e| format!("{e:?}"))) })
            }))
        }
    }
}

fn report(result: Result<(), String>) {
    if let Err(error) = result {
        tracing::debug!(error, "a connection ended early");
    }
}
