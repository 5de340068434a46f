//! Streams: messages in one direction as fast as they go.

use std::time::{Duration, Instant};

use super::{BODY, LAST, port::Port};
use crate::bench::error::Error;

/// Bytes of the receiver's buffer, as large as that of servers and `iperf3`.
const BUFFER: usize = 64 * 1024;

/// Sends until the time is over, and waits until the peer has read all of it;
/// the number of messages, and the time that they took.
pub fn send(port: &Port, size: usize, duration: Duration) -> Result<(u64, Duration), Error> {
    let message = vec![BODY; size];
    // Asking for the time costs as much as a small send: do it now and then.
    let batch = (BUFFER / size.max(1)).clamp(1, 64);
    let start = Instant::now();
    let mut messages = 0;
    while start.elapsed() < duration {
        for _ in 0..batch {
            port.send_all(&message)?;
        }
        messages += batch as u64;
    }
    port.send_all(&[LAST])?;
    port.receive_exact(&mut [0])?;
    Ok((messages, start.elapsed()))
}

/// Reads until the mark, and answers it; the number of bytes read.
pub fn receive(port: &Port) -> Result<u64, Error> {
    let mut buffer = vec![0; BUFFER];
    let mut bytes = 0;
    loop {
        let received = port.receive(&mut buffer)?;
        if received == 0 {
            return Err(Error::Ended("the stream", String::new()));
        }
        bytes += received as u64;
        if buffer.get(received - 1) == Some(&LAST) {
            port.send_all(&[LAST])?;
            return Ok(bytes);
        }
    }
}
