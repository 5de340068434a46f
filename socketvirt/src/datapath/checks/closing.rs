//! Scripts about the end of a connection, and a new one by the same socket.

use std::{io, net::Shutdown};

use super::{
    Answer,
    error::CheckError,
    pair::Pair,
    sockets::{self, PATIENCE},
};

/// The server closes with bytes unread.
pub fn unread(pair: &mut Pair<'_>) -> Answer {
    pair.fast(b"lost")?;
    pair.close_server()?;
    sockets::wait(&pair.client, libc::POLLIN, PATIENCE).map_err(CheckError::setup("poll"))?;
    Ok(received(sockets::recv(
        &pair.client,
        16,
        libc::MSG_DONTWAIT,
    )))
}

/// The client sends after it has shut down sending.
pub fn after_shutdown(pair: &mut Pair<'_>) -> Answer {
    pair.fast(b"last")?;
    pair.client
        .shutdown(Shutdown::Write)
        .map_err(CheckError::setup("shut down"))?;
    let sent = sockets::send(&pair.client, b"more", 0);
    let read = sockets::read(&pair.server, 16).map_err(CheckError::setup("read"))?;
    Ok(format!(
        "{}, {}",
        sockets::bytes(sent),
        sockets::text(&read)
    ))
}

/// The client's socket leaves its connection with bytes unread, and connects
/// again.
pub fn reconnect(pair: &mut Pair<'_>) -> Answer {
    pair.fast_between(&pair.server, &pair.client, b"old ")?;
    let port = pair
        .listener
        .local_addr()
        .map_err(CheckError::setup("ask for a port"))?
        .port();
    sockets::connect_nowhere(&pair.client).map_err(CheckError::setup("disconnect"))?;
    sockets::connect(&pair.client, port).map_err(CheckError::setup("connect again"))?;
    let (server, _) = pair
        .listener
        .accept()
        .map_err(CheckError::setup("accept"))?;
    pair.server = server;
    sockets::send(&pair.server, b"new", 0).map_err(CheckError::setup("send"))?;
    pair.close_server()?;
    let read = sockets::read(&pair.client, 16).map_err(CheckError::setup("read"))?;
    Ok(sockets::text(&read))
}

fn received(result: io::Result<Vec<u8>>) -> String {
    match result {
        Ok(bytes) => sockets::text(&bytes),
        Err(error) => sockets::errno(&error),
    }
}
