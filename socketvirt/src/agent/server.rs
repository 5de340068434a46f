//! Serving the control socket. Who connects is hostile until the kernel has said who
//! it is, and may be broken even then: everything has a bound.
//!
//! | bound | of |
//! |---|---|
//! | [`AT_ONCE`] connections | those who may ask |
//! | [`STRANGERS`] connections | those who may not, who get 403 |
//! | [`HEADERS`] | the time until a request's headers are complete |
//! | [`WHOLE`] | the life of a connection, which carries one request |

use std::{
    io,
    os::{fd::AsFd as _, unix::net::UnixListener as Listener},
    sync::Arc,
    time::Duration,
};

use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use nix::unistd::{Gid, geteuid};
use tokio::{
    net::{UnixListener, UnixStream},
    runtime,
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::{sleep, timeout},
};

use super::{api, state::State};
use crate::host::peer::Peer;

/// Connections of those who may ask, at a time; a further one is closed.
pub const AT_ONCE: usize = 64;

/// Connections of those who may not ask, at a time; a further one is closed.
pub const STRANGERS: usize = 8;

/// The time until the headers of a request are complete.
pub const HEADERS: Duration = Duration::from_secs(5);

/// The time until its answer was read.
pub const WHOLE: Duration = Duration::from_secs(30);

/// Bytes of headers, at most.
const HEAD: usize = 16 * 1024;

/// The pause after a connection that could not be taken, for want of descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Threads for what may block, at most.
const BLOCKING: usize = 4;

/// Who may ask, beside root and the user of the agent.
#[derive(Clone, Copy, Debug)]
pub struct Permitted {
    user: u32,
    group: Option<u32>,
}

impl Permitted {
    /// Also members of this group may.
    #[must_use]
    pub fn new(group: Option<Gid>) -> Self {
        Self {
            user: geteuid().as_raw(),
            group: group.map(Gid::as_raw),
        }
    }

    /// True when this peer may ask.
    #[must_use]
    pub fn permits(&self, peer: &Peer) -> bool {
        peer.uid == 0
            || peer.uid == self.user
            || self.group.is_some_and(|group| peer.groups.contains(&group))
    }
}

/// Serves until `stop` is dropped or sent.
///
/// # Errors
/// When the kernel refuses the runtime what it needs.
pub fn serve(
    listener: Listener,
    permitted: Permitted,
    state: &Arc<State>,
    stop: oneshot::Receiver<()>,
) -> io::Result<()> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(BLOCKING)
        .build()?;
    let served = runtime.block_on(async {
        let listener = UnixListener::from_std(listener)?;
        tokio::select! {
            () = accept(&listener, permitted, state) => {}
            _ = stop => {}
        }
        Ok(())
    });
    // What still works on an answer is not waited for.
    runtime.shutdown_background();
    served
}

async fn accept(listener: &UnixListener, permitted: Permitted, state: &Arc<State>) {
    let (known, strangers) = (
        Arc::new(Semaphore::new(AT_ONCE)),
        Arc::new(Semaphore::new(STRANGERS)),
    );
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            sleep(PAUSE).await;
            continue;
        };
        let may_ask = Peer::of(stream.as_fd()).is_ok_and(|peer| permitted.permits(&peer));
        let slots = if may_ask { &known } else { &strangers };
        // Closed at once without one: who waits for nothing gets the next.
        if let Ok(slot) = Arc::clone(slots).try_acquire_owned() {
            let state = Arc::clone(state);
            tokio::spawn(connection(stream, may_ask, state, slot));
        }
    }
}

/// Serves one connection, which holds its slot until it ends.
async fn connection(
    stream: UnixStream,
    may_ask: bool,
    state: Arc<State>,
    _slot: OwnedSemaphorePermit,
) {
    let respond = move |request: Request<Incoming>| {
        let state = Arc::clone(&state);
        async move {
            if may_ask {
                api::respond(request, state).await
            } else {
                Ok(api::forbidden())
            }
        }
    };
    let serving = http1::Builder::new()
        .keep_alive(false)
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .max_buf_size(HEAD)
        .serve_connection(TokioIo::new(stream), service_fn(respond));
    // Whoever left or asked for nothing gets no answer.
    let _ = timeout(WHOLE, serving).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_its_own_user_and_its_group_may_ask() {
        let permitted = Permitted {
            user: 7,
            group: Some(70),
        };
        let peer = |uid, groups: &[u32]| Peer {
            uid,
            groups: groups.to_vec(),
        };
        for (peer, may) in [
            (peer(0, &[0]), true),
            (peer(7, &[7]), true),
            (peer(8, &[8, 70]), true),
            (peer(8, &[8, 7]), false),
            (peer(8, &[]), false),
        ] {
            assert_eq!(permitted.permits(&peer), may, "{peer:?}");
        }
        let none = Permitted::new(None);
        assert!(!none.permits(&peer(u32::MAX, &[u32::MAX])));
    }
}
