//! A plain websocket client, as scripts for consoles are.

use std::net::TcpStream;
use std::time::{Duration, Instant};
use tungstenite::client::IntoClientRequest;
use tungstenite::http::HeaderValue;
use tungstenite::{Error, HandshakeError, Message, WebSocket};

/// An open websocket.
pub struct Socket {
    inner: WebSocket<TcpStream>,
    /// The subprotocol that the daemon chose.
    pub protocol: Option<String>,
    /// What was read and not yet asked for.
    seen: Vec<u8>,
}

impl Socket {
    /// Connects as Nova's own client does, or says with which status the handshake was refused.
    pub fn open(url: &str, headers: &[(&'static str, &str)]) -> Result<Self, u16> {
        let mut request = url.into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("binary"));
        for (name, value) in headers {
            request.headers_mut().insert(*name, HeaderValue::from_str(value).unwrap());
        }
        let place = request.uri().authority().unwrap().to_string();
        let stream = TcpStream::connect(place).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        match tungstenite::client(request, stream) {
            Ok((inner, response)) => {
                let protocol = response.headers().get("sec-websocket-protocol");
                let protocol = protocol.map(|value| value.to_str().unwrap().to_owned());
                inner.get_ref().set_read_timeout(Some(Duration::from_millis(200))).unwrap();
                Ok(Self { inner, protocol, seen: Vec::new() })
            }
            Err(HandshakeError::Failure(Error::Http(response))) => Err(response.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    pub fn write(&mut self, text: &str) {
        self.inner.send(Message::binary(text.as_bytes().to_vec())).unwrap();
    }

    /// Reads until a text has come; gives all up to its end.
    #[track_caller]
    pub fn until(&mut self, text: &str, seconds: u64) -> String {
        let deadline = Instant::now() + Duration::from_secs(seconds);
        loop {
            if let Some(at) = self.seen.windows(text.len()).position(|part| part == text.as_bytes()) {
                let rest = self.seen.split_off(at + text.len());
                let found = std::mem::replace(&mut self.seen, rest);
                return String::from_utf8_lossy(&found).into_owned();
            }
            let seen = String::from_utf8_lossy(&self.seen).into_owned();
            assert!(Instant::now() < deadline, "no {text:?} within {seconds} s but:\n{seen}");
            match self.inner.read() {
                Ok(Message::Binary(bytes)) => self.seen.extend_from_slice(&bytes),
                Ok(Message::Close(frame)) => panic!("closed with {frame:?} after:\n{seen}"),
                Ok(_) => {}
                Err(Error::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => panic!("{error} after:\n{seen}"),
            }
        }
    }

    /// Reads until the daemon closes the socket; gives the code of the close.
    #[track_caller]
    pub fn closed(mut self, seconds: u64) -> u16 {
        let deadline = Instant::now() + Duration::from_secs(seconds);
        loop {
            assert!(Instant::now() < deadline, "still open after {seconds} s");
            match self.inner.read() {
                Ok(Message::Close(frame)) => return frame.map_or(1005, |frame| frame.code.into()),
                Ok(_) => {}
                Err(Error::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => panic!("not closed properly: {error}"),
            }
        }
    }
}
