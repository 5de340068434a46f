//! Asking a running agent.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    Method, Request,
    body::Bytes,
    client::conn::http1,
    header::{ACCEPT, HOST},
};
use hyper_util::rt::TokioIo;
use tokio::{net::UnixStream, runtime, time::timeout};

/// The longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes of an answer, at most: a policy with its counters is the longest.
const ANSWER: usize = 64 << 20;

/// The agent gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// There is none.
    #[error(
        "no agent answers at {0}; start one with `socketvirt run`, or name its socket with `--socket`"
    )]
    NoAgent(PathBuf),
    /// The file is not for the caller.
    #[error(
        "{0} is not for this user: ask as root, or as a member of the group that the agent was given \
         with `--admin-group`"
    )]
    Forbidden(PathBuf),
    /// The kernel refused.
    #[error("asking the agent at {path} failed: {source}")]
    System {
        /// The socket.
        path: PathBuf,
        /// What the kernel answered.
        #[source]
        source: io::Error,
    },
    /// It does not speak HTTP.
    #[error("the agent at {path} did not answer: {source}")]
    Http {
        /// The socket.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It took too long.
    #[error("the agent at {0} did not answer within 30 seconds")]
    Late(PathBuf),
    /// It refused.
    #[error("{0}")]
    Refused(String),
}

/// Asks the agent at `socket`. Returns the body of its answer.
///
/// # Errors
/// When there is no answer, or it is a refusal.
pub fn ask(socket: &Path, method: &Method, path: &str, accept: &str) -> Result<String, AskError> {
    let failed = |source| AskError::System {
        path: socket.to_owned(),
        source,
    };
    let runtime = runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(failed)?;
    runtime.block_on(async {
        let asked = exchange(socket, method, path, accept);
        let late = |_elapsed| AskError::Late(socket.to_owned());
        timeout(PATIENCE, asked).await.map_err(late)?
    })
}

async fn exchange(
    socket: &Path,
    method: &Method,
    path: &str,
    accept: &str,
) -> Result<String, AskError> {
    let stream = UnixStream::connect(socket)
        .await
        .map_err(|source| match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                AskError::NoAgent(socket.to_owned())
            }
            io::ErrorKind::PermissionDenied => AskError::Forbidden(socket.to_owned()),
            _ => AskError::System {
                path: socket.to_owned(),
                source,
            },
        })?;
    let spoken = |source: Box<dyn std::error::Error + Send + Sync>| AskError::Http {
        path: socket.to_owned(),
        source,
    };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| spoken(error.into()))?;
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, "agent")
        .header(ACCEPT, accept)
        .body(Full::new(Bytes::new()))
        .map_err(|error| spoken(error.into()))?;
    // It ends when the answer was read.
    tokio::spawn(connection);
    let answer = sender
        .send_request(request)
        .await
        .map_err(|error| spoken(error.into()))?;
    let is_refused = !answer.status().is_success();
    let body = Limited::new(answer.into_body(), ANSWER).collect();
    let body = body.await.map_err(spoken)?.to_bytes();
    let body = String::from_utf8_lossy(&body).into_owned();
    if is_refused {
        return Err(AskError::Refused(message(&body)));
    }
    Ok(body)
}

/// The message of a refusal.
fn message(body: &str) -> String {
    let refusal: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    let message = refusal["message"].as_str().unwrap_or(body);
    message.trim_end().to_owned()
}
