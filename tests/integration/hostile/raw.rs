//! HTTP/2 by hand (RFC 9113), for what no proper client sends.
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The error of a connection whose client overdoes it.
pub const ENHANCE_YOUR_CALM: u32 = 0xb;
/// The setting that nothing may be sent on a stream until there is room.
pub const NO_WINDOW: (u16, u32) = (4, 0);

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;
const CANCEL: u32 = 8;

/// A connection with what is still to be written.
pub struct Raw {
    stream: TcpStream,
    waiting: Vec<u8>,
}

/// How a connection ended.
#[derive(Debug)]
pub struct Ended {
    /// The error of the server's GOAWAY, if it said one.
    pub goaway: Option<u32>,
    /// Bytes that were written before.
    pub written: usize,
}

/// A gRPC message in its frame.
pub fn framed(flag: u8, message: &[u8]) -> Vec<u8> {
    let mut frame = vec![flag];
    frame.extend((message.len() as u32).to_be_bytes());
    frame.extend(message);
    frame
}

/// The headers of a call, compressed as little as HPACK allows (RFC 7541).
pub fn header_block(path: &str) -> Vec<u8> {
    let mut block = vec![0x83, 0x86];
    for (name, value) in [
        (&[0x04][..], path),
        (&[0x01][..], "hermod"),
        (&[0x0f, 0x10][..], "application/grpc"),
        (b"\x00\x02te", "trailers"),
    ] {
        block.extend(name);
        block.push(value.len() as u8);
        block.extend(value.as_bytes());
    }
    block
}

impl Raw {
    /// Connects and says what HTTP/2 begins with.
    pub async fn open(address: SocketAddr, settings: &[(u16, u32)]) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let mut raw = Self {
            stream,
            waiting: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        };
        let mut payload = Vec::new();
        for (setting, value) in settings {
            payload.extend(setting.to_be_bytes());
            payload.extend(value.to_be_bytes());
        }
        raw.frame(SETTINGS, 0, 0, &payload);
        raw
    }

    /// Begins a call and leaves it open.
    pub fn headers(&mut self, stream: u32, path: &str) {
        self.frame(HEADERS, END_HEADERS, stream, &header_block(path));
    }

    /// Begins a call whose headers go on for so many bytes and have no end.
    pub fn endless_headers(&mut self, stream: u32, block: &[u8], bytes: usize) {
        self.frame(HEADERS, 0, stream, block);
        let mut field = b"\x00\x01x\x7f\x81\x7e".to_vec();
        field.resize(6 + 16_000, b'x');
        for _ in 0..bytes / field.len() {
            self.frame(CONTINUATION, 0, stream, &field);
        }
    }

    /// A part of a call's request.
    pub fn data(&mut self, stream: u32, payload: &[u8]) {
        self.frame(DATA, 0, stream, payload);
    }

    /// Takes a call back.
    pub fn reset(&mut self, stream: u32) {
        self.frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes());
    }

    /// The socket, with everything written.
    pub async fn into_stream(mut self) -> TcpStream {
        // The server may have closed it already, which is for the caller to see.
        let _ = self.stream.write_all(&self.waiting).await;
        self.stream
    }

    /// Writes what waits and reads until the server closes.
    pub async fn until_closed(self) -> Ended {
        let Self { stream, waiting } = self;
        let (mut reading, mut writing) = stream.into_split();
        let mut heard = Vec::new();
        let write = async {
            let mut written = 0;
            for piece in waiting.chunks(16 << 10) {
                if writing.write_all(piece).await.is_err() {
                    break;
                }
                written += piece.len();
            }
            written
        };
        // A reset instead of an end loses what was not yet read; both are a close.
        let (written, _) = tokio::join!(write, reading.read_to_end(&mut heard));
        Ended {
            goaway: goaway(&heard),
            written,
        }
    }

    fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = (payload.len() as u32).to_be_bytes();
        self.waiting.extend(&length[1..]);
        self.waiting.extend([kind, flags]);
        self.waiting.extend(stream.to_be_bytes());
        self.waiting.extend(payload);
    }
}

fn goaway(mut heard: &[u8]) -> Option<u32> {
    while let [a, b, c, kind, _, rest @ ..] = heard {
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        let payload = rest.get(4..4 + length)?;
        if *kind == GOAWAY {
            let error = payload.get(4..8)?.try_into().ok()?;
            return Some(u32::from_be_bytes(error));
        }
        heard = &rest[4 + length..];
    }
    None
}
