//! What a driver says on its socket, overheard beside `upsd`: the moment a driver knew.

use crate::record::{Recorder, What};
use nut_proto::device::Change;
use nut_proto::driver::{FromDriver, ToDriver};
use nut_proto::lines::LineBuffer;
use nut_proto::words::split;
use std::io;
use std::path::Path;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// Bytes read at a time.
const PIECE: usize = 4096;

/// Connects to a driver's socket and writes each `ups.status` it publishes into the record, until the driver ends.
///
/// # Errors
/// When the socket cannot be connected to.
pub(crate) async fn overhear(socket: &Path, ups: &'static str, recorder: Recorder) -> io::Result<()> {
    let mut stream = UnixStream::connect(socket).await?;
    let mut request = Vec::new();
    ToDriver::DumpAll.encode(&mut request);
    stream.write_all(&request).await?;
    tokio::spawn(async move {
        let mut lines = LineBuffer::default();
        let mut piece = vec![0; PIECE];
        let mut heard = Vec::new();
        while let Ok(count @ 1..) = stream.read(&mut piece).await {
            lines.push(piece.get(..count).unwrap_or_default(), |line| {
                heard.extend(line.ok().and_then(status_in));
            });
            for status in heard.drain(..) {
                recorder.tell(ups, What::Status(status)).await;
            }
        }
    });
    Ok(())
}

/// The status that a line of a driver publishes, if it does.
fn status_in(line: &[u8]) -> Option<String> {
    match FromDriver::parse(&split(line).ok()?).ok()? {
        FromDriver::Change(Change::Info { name, value }) if name.as_str() == "ups.status" => {
            Some(value.as_str().to_owned())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_status_counts() {
        assert_eq!(status_in(b"SETINFO ups.status \"OB LB\""), Some("OB LB".to_owned()));
        for line in [&b"SETINFO ups.load \"20\""[..], b"DATAOK", b"SETINFO ups.status", b"\xff"] {
            assert_eq!(status_in(line), None, "{}", line.escape_ascii());
        }
    }
}
