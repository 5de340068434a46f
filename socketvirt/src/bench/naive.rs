//! A naive redirect: what the fast path would cost if it had no rule to keep.
//!
//! Its programs (`socketvirt-ebpf/src/bin/naive.rs`) send each message to the
//! peer, in unified mode, and look at nothing. Workers put their sockets into
//! its map themselves; no cgroup and no agent is involved.

use std::{
    net::TcpStream,
    os::fd::{AsFd as _, AsRawFd as _},
};

use aya::{
    Ebpf,
    maps::{Map, MapData, SockHash},
    programs::{SkMsg, SkSkb},
};

use super::error::Error;

const OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/naive"));

const SOCKETS: &str = "nv_sockets";

/// Own and remote port.
type Key = [u32; 2];

/// The programs, loaded, for as long as this lives.
#[derive(Debug)]
pub struct Naive {
    _ebpf: Ebpf,
    map: u32,
}

impl Naive {
    /// Loads them and attaches them to their map.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn load() -> Result<Self, Error> {
        let mut ebpf = Ebpf::load(OBJECT).map_err(refused("loading its object"))?;
        let map = ebpf.take_map(SOCKETS).ok_or(Error::NaiveMap)?;
        let sockets: SockHash<MapData, Key> =
            SockHash::try_from(map).map_err(refused("opening its map"))?;

        let message: &mut SkMsg = program(&mut ebpf, "nv_message")?;
        message
            .load()
            .and_then(|()| message.attach(sockets.fd()))
            .map_err(refused("attaching nv_message"))?;
        let packet: &mut SkSkb = program(&mut ebpf, "nv_packet")?;
        packet
            .load()
            .and_then(|()| packet.attach(sockets.fd()))
            .map_err(refused("attaching nv_packet"))?;

        Ok(Self {
            map: id(&sockets)?,
            _ebpf: ebpf,
        })
    }

    /// By which a worker finds the map.
    #[must_use]
    pub fn map(&self) -> u32 {
        self.map
    }
}

fn id(sockets: &SockHash<MapData, Key>) -> Result<u32, Error> {
    let fd = sockets
        .fd()
        .as_fd()
        .try_clone_to_owned()
        .map_err(Error::io("copy a descriptor"))?;
    MapData::from_fd(fd)
        .and_then(|map| map.info())
        .map(|info| info.id())
        .map_err(refused("asking for its map's id"))
}

fn program<'a, P>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut P, Error>
where
    &'a mut P: TryFrom<&'a mut aya::programs::Program, Error = aya::programs::ProgramError>,
{
    ebpf.program_mut(name)
        .ok_or(Error::NaiveMap)?
        .try_into()
        .map_err(refused(name))
}

/// Puts a connected socket into the map with this id. The other end must be in
/// it before anything is sent, and nobody may be reading yet.
///
/// # Errors
/// When the kernel refuses.
pub fn enrol(map: u32, socket: &TcpStream) -> Result<(), Error> {
    let map = MapData::from_id(map).map_err(refused("opening its map"))?;
    let mut sockets: SockHash<MapData, Key> =
        SockHash::try_from(Map::SockHash(map)).map_err(refused("opening its map"))?;
    let local = socket.local_addr().map_err(Error::io("getsockname"))?;
    let remote = socket.peer_addr().map_err(Error::io("getpeername"))?;
    let key = [local.port().into(), remote.port().into()];
    sockets
        .insert(key, socket.as_raw_fd(), 0)
        .map_err(refused("enrolling a socket"))
}

fn refused<E>(attempt: &'static str) -> impl FnOnce(E) -> Error
where
    E: std::error::Error + Send + Sync + 'static,
{
    move |source| Error::Naive {
        attempt,
        source: Box::new(source),
    }
}
