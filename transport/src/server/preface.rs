//! The 24 bytes that open every HTTP/2 connection, read by ourselves.
//!
//! hyper waits for them without limit and does not say when they came. So they are read under a deadline first, checked,
//! and replayed to hyper from the constant they must equal. Once they are in, keepalive pings take over: a peer that
//! falls silent after its preface does not answer them.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// RFC 9113 §3.4.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Reads the preface.
///
/// # Errors
/// `InvalidData` if something else comes, as soon as it differs from a preface; otherwise those of the stream.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
    let mut seen = [0; PREFACE.len()];
    let mut len = 0;
    while len < seen.len() {
        let more = stream.read(&mut seen[len..]).await?;
        if more == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        len += more;
        if seen[..len] != PREFACE[..len] {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    Ok(())
}

/// A stream whose preface was read, as if it were not.
#[derive(Debug)]
pub(super) struct Replayed<T> {
    stream: T,
    /// What of the preface is still to be replayed.
    rest: &'static [u8],
}

impl<T> Replayed<T> {
    pub(super) fn new(stream: T) -> Self {
        Self { stream, rest: PREFACE }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Replayed<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.rest.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let (now, later) = self.rest.split_at(self.rest.len().min(buf.remaining()));
        buf.put_slice(now);
        self.rest = later;
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Replayed<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_preface_in_pieces_is_read_and_replayed() {
        let mut pieces = one_by_one(&[&PREFACE[..3], &PREFACE[3..], b"frames"]);
        read(&mut pieces).await.unwrap();
        let mut all = Vec::new();
        Replayed::new(pieces).read_to_end(&mut all).await.unwrap();
        assert_eq!(all, [&PREFACE[..], b"frames"].concat());
    }

    #[tokio::test]
    async fn another_protocol_is_known_by_its_first_byte() {
        let error = read(&mut &b"GET / HTTP/1.1\r\n"[..1]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        let error = read(&mut &PREFACE[..23]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    /// A reader that gives one piece at a time.
    fn one_by_one(pieces: &[&[u8]]) -> impl AsyncRead + Unpin + use<> {
        let pieces: Vec<Vec<u8>> = pieces.iter().map(|piece| piece.to_vec()).collect();
        pieces
            .into_iter()
            .fold(Box::new(tokio::io::empty()) as Box<dyn AsyncRead + Unpin + Send>, |before, piece| {
                Box::new(before.chain(io::Cursor::new(piece)))
            })
    }
}
