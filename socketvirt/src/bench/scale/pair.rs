//! A connection, both of whose ends are here.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::fd::AsRawFd as _,
    time::{Duration, Instant},
};

use crate::bench::{error::Error, worker::stack_bytes};

const MESSAGE: [u8; 64] = [7; 64];

/// The longest that a message may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A client and its server.
pub struct Pair {
    ends: [TcpStream; 2],
    began: Instant,
}

impl Pair {
    /// Connects in the namespace of this thread.
    pub fn new() -> Result<Self, Error> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(Error::io("listen"))?;
        Self::to(&listener)
    }

    /// Connects to a listener, which takes it.
    pub fn to(listener: &TcpListener) -> Result<Self, Error> {
        let address = listener.local_addr().map_err(Error::io("getsockname"))?;
        let client = TcpStream::connect(address).map_err(Error::io("connect"))?;
        let (server, _) = listener.accept().map_err(Error::io("accept"))?;
        let ends = [client, server];
        for end in &ends {
            end.set_nonblocking(true).map_err(Error::io("O_NONBLOCK"))?;
            end.set_nodelay(true).map_err(Error::io("TCP_NODELAY"))?;
        }
        let began = Instant::now();
        Ok(Self { ends, began })
    }

    /// A request and its answer; whether both went past the stack.
    pub fn round(&mut self) -> Result<bool, Error> {
        let by_stack =
            |ends: &[TcpStream; 2]| ends.each_ref().map(|end| stack_bytes(end.as_raw_fd()));
        let before = by_stack(&self.ends);
        let [client, server] = &mut self.ends;
        pass(client, server)?;
        pass(server, client)?;
        Ok(before == by_stack(&self.ends))
    }

    /// Since it is there.
    pub fn age(&self) -> Duration {
        self.began.elapsed()
    }
}

fn pass(from: &mut TcpStream, to: &mut TcpStream) -> Result<(), Error> {
    from.write_all(&MESSAGE).map_err(Error::io("send"))?;
    let (mut buffer, mut got) = (MESSAGE, 0);
    let start = Instant::now();
    while got < MESSAGE.len() {
        match to.read(&mut buffer[got..]) {
            Ok(0) => return Err(Error::Ended("a connection", String::new())),
            Ok(count) => got += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock && start.elapsed() < PATIENCE => {}
            Err(error) => return Err(Error::io("receive")(error)),
        }
    }
    if buffer == MESSAGE {
        Ok(())
    } else {
        Err(Error::Corrupt { size: got })
    }
}
