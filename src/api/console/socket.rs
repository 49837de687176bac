//! The websocket between a page, or a program, and a guest's console: bytes both ways, nothing in between.
//!
//! As with Nova's proxies, the handshake succeeds and the socket is closed at once, without a code and without a word, when
//! the token opens nothing: there are clients that take any byte after the handshake for the console's. At the end of all
//! others the code of the close tells why. Each direction waits for its slower end, so that nothing piles up; for a serial port the hub in
//! `core::service::consoles` sees to it that the guest never waits.

use super::origin;
use crate::api::State;
use crate::api::call::{Query, public_base};
use crate::core::Kind;
use crate::core::console::ConsoleKind;
use crate::core::ids::ServerId;
use crate::core::service::consoles::{Heard, MISSED, Opened, Viewer};
use actix_web::http::header::{COOKIE, HOST, HeaderMap, ORIGIN};
use actix_web::web::{Bytes, Payload};
use actix_web::{HttpRequest, HttpResponse};
use actix_ws::{AggregatedMessage, AggregatedMessageStream, CloseCode, CloseReason, Closed, Session};
use std::cell::Cell;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// What noVNC and Nova's own clients ask for.
const PROTOCOL: &str = "binary";
/// The largest message that is taken, in bytes: what somebody pastes.
const LARGEST: usize = 1 << 20;
/// How much of a display is sent at once, in bytes.
const PORTION: usize = 32 * 1024;
/// How often the other end is asked whether it is there, which also keeps proxies from closing what is silent.
const ASK: Duration = Duration::from_secs(30);
/// How long it may say nothing.
const PATIENCE: Duration = Duration::from_secs(95);

/// Answers the handshake, and sets the rest going.
pub fn serve(state: &State, request: &HttpRequest, payload: Payload) -> HttpResponse {
    if let Some(from) = request.headers().get(ORIGIN)
        && !from.to_str().is_ok_and(|from| is_ours(state, request, from))
    {
        tracing::warn!(origin = ?from, "a page of another host wanted a console");
        return HttpResponse::Forbidden().body("Origin header does not match this host.");
    }
    match actix_ws::handle_with_protocols(request, payload, &[PROTOCOL]) {
        Ok((response, session, messages)) => {
            let messages =
                messages.max_frame_size(LARGEST).aggregate_continuations().max_continuation_size(LARGEST);
            tokio::task::spawn_local(run(state.clone(), token(request), session, messages));
            response
        }
        Err(error) => error.error_response(),
    }
}

/// Whether a page is this program's, or that of a host which the configuration names.
fn is_ours(state: &State, request: &HttpRequest, from: &str) -> bool {
    let direct = request.headers().get(HOST).and_then(|host| host.to_str().ok()).map(|host| {
        let scheme = if state.tls { "https" } else { "http" };
        format!("{scheme}://{host}")
    });
    let known = public_base(state, request);
    let bases = [known.as_str(), direct.as_deref().unwrap_or_default()];
    origin::fits(from, &bases, state.services.consoles.allowed_origins())
}

/// The token, from the query or from the cookie in which noVNC kept it once.
fn token(request: &HttpRequest) -> Option<String> {
    let query = Query::parse(request.query_string());
    query.get("token").map(str::to_owned).or_else(|| cookie(request.headers()))
}

fn cookie(headers: &HeaderMap) -> Option<String> {
    let mut pairs =
        headers.get_all(COOKIE).filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(';'));
    pairs.find_map(|pair| pair.trim().strip_prefix("token=").map(str::to_owned))
}

/// Why a websocket is closed, in the terms of the close.
enum End {
    Wordless,
    Told(CloseCode, &'static str),
}

const NO_TOKEN: End = End::Wordless;
const OFF: End = End::Told(CloseCode::Again, "The guest does not run.");
const GUEST_LEFT: End = End::Told(CloseCode::Normal, "The guest closed its console.");
const BROKEN: End = End::Told(CloseCode::Error, "The console could not be opened.");
const SILENT: End = End::Told(CloseCode::Away, "Nothing was heard for too long.");
const VIEWER_LEFT: End = End::Told(CloseCode::Normal, "");

async fn run(state: State, token: Option<String>, session: Session, messages: AggregatedMessageStream) {
    let end = match find(&state, token).await {
        Ok((server, kind)) => show(&state, server, kind, &session, messages).await,
        Err(end) => end,
    };
    let reason = match end {
        End::Wordless => None,
        End::Told(code, words) => {
            Some(CloseReason { code, description: (!words.is_empty()).then(|| words.to_owned()) })
        }
    };
    // A peer that has gone already needs no farewell.
    let _: Result<(), Closed> = session.close(reason).await;
}

async fn find(state: &State, token: Option<String>) -> Result<(ServerId, ConsoleKind), End> {
    let token = token.ok_or(NO_TOKEN)?;
    match state.services.consoles.look_up(&token).await {
        Ok(Some(found)) => Ok(found),
        Ok(None) => Err(NO_TOKEN),
        Err(error) => {
            tracing::error!(%error, "the token of a console could not be looked up");
            Err(BROKEN)
        }
    }
}

/// Connects with the console and stays until one end leaves.
async fn show(
    state: &State,
    server: ServerId,
    kind: ConsoleKind,
    session: &Session,
    messages: AggregatedMessageStream,
) -> End {
    let (source, sink) = match state.services.consoles.open(server, kind).await {
        Ok(Opened::Display(stream)) => {
            let (read, write) = stream.into_split();
            (Source::Display(read), Sink::Display(write))
        }
        Ok(Opened::Serial(viewer)) => {
            let input = viewer.input.clone();
            (Source::Serial(viewer), Sink::Serial(input))
        }
        Err(error) if error.kind() == Kind::InvalidState => return OFF,
        Err(error) => {
            tracing::error!(%server, %error, kind = kind.as_str(), "a console could not be opened");
            return BROKEN;
        }
    };
    tracing::info!(%server, kind = kind.as_str(), "a console was opened");
    let heard = Cell::new(Instant::now());
    let end = tokio::select! {
        end = outward(source, session.clone()) => end,
        end = inward(sink, session.clone(), messages, &heard) => end,
        end = watch(session.clone(), &heard) => end,
    };
    tracing::info!(%server, kind = kind.as_str(), "a console was closed");
    end
}

/// Where a guest's bytes come from.
enum Source {
    Display(OwnedReadHalf),
    Serial(Viewer),
}

/// Where a guest's bytes go.
enum Sink {
    Display(OwnedWriteHalf),
    Serial(mpsc::Sender<Bytes>),
}

impl Source {
    /// What comes next; `None` at the end.
    async fn next(&mut self, portion: &mut [u8]) -> Option<Bytes> {
        match self {
            Self::Display(read) => match read.read(portion).await {
                Ok(count) if count > 0 => Some(Bytes::copy_from_slice(&portion[..count])),
                Ok(_) | Err(_) => None,
            },
            Self::Serial(viewer) => match viewer.hear().await {
                Heard::Output(bytes) => Some(bytes.into()),
                Heard::Missed => Some(Bytes::from_static(MISSED)),
                Heard::End => None,
            },
        }
    }
}

impl Sink {
    /// Hands bytes to the guest; `false` when it is gone.
    async fn put(&mut self, bytes: Bytes) -> bool {
        match self {
            Self::Display(write) => write.write_all(&bytes).await.is_ok(),
            Self::Serial(input) => input.send(bytes).await.is_ok(),
        }
    }
}

async fn outward(mut source: Source, mut session: Session) -> End {
    let mut portion = vec![0; PORTION];
    while let Some(bytes) = source.next(&mut portion).await {
        if session.binary(bytes).await.is_err() {
            return VIEWER_LEFT;
        }
    }
    GUEST_LEFT
}

async fn inward(
    mut sink: Sink,
    mut session: Session,
    mut messages: AggregatedMessageStream,
    heard: &Cell<Instant>,
) -> End {
    while let Some(Ok(message)) = messages.recv().await {
        heard.set(Instant::now());
        let bytes = match message {
            AggregatedMessage::Binary(bytes) => bytes,
            AggregatedMessage::Text(text) => text.into_bytes(),
            AggregatedMessage::Ping(bytes) => {
                if session.pong(&bytes).await.is_err() {
                    return VIEWER_LEFT;
                }
                continue;
            }
            AggregatedMessage::Pong(_) => continue,
            AggregatedMessage::Close(_) => return VIEWER_LEFT,
        };
        if !sink.put(bytes).await {
            return GUEST_LEFT;
        }
    }
    VIEWER_LEFT
}

/// Ends when nothing has been heard for too long: a peer whose machine was switched off says no farewell.
async fn watch(mut session: Session, heard: &Cell<Instant>) -> End {
    loop {
        tokio::time::sleep(ASK).await;
        if heard.get().elapsed() > PATIENCE {
            return SILENT;
        }
        if session.ping(b"").await.is_err() {
            return VIEWER_LEFT;
        }
    }
}
