//! The routes of the control socket, and their answers.
//!
//! | request | answer |
//! |---|---|
//! | `GET /healthz` | 200 once the data path works, else 503 |
//! | `GET /metrics` | the metrics, as `OpenMetrics` |
//! | `GET /v1/status` | the state: JSON, or text when `text/plain` is accepted |
//! | `GET /v1/policy` | the policy in force, and what each rule has done |
//! | `POST /v1/policy` | puts the TOML of its body in force; 422 says what is wrong with it |
//! | `PUT /v1/log` | tells no more than the level of its body, `{"level": "debug"}` |
//! | `POST /v1/pause`, `POST /v1/resume` | releases every pair and enrols none; goes on |
//!
//! An error is `{"schema": 1, "error": WORD, "message": TEXT}`.

use std::{
    convert::Infallible,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderValue},
};
use serde::Serialize;
use serde_json::json;
use socketvirt_common::record::policy::{PIECE, PIECES};
use tokio::task;

use super::{
    metrics::{self, Scrape},
    state::{Accelerating, State},
    status::Status,
    text,
};
use crate::{
    log,
    policy::{
        Policy,
        status::Status as Rules,
        store::{Store, StoreError},
    },
};

/// Bytes of a policy, at most: as many as the kernel holds.
const POLICY: usize = PIECES as usize * PIECE;

/// Bytes of the body that names a level, at most.
const LEVEL: usize = 1024;

/// The longest wait for the watching thread to take up a wish.
const PATIENCE: Duration = Duration::from_secs(2);

/// Between two looks at it.
const LOOK: Duration = Duration::from_millis(5);

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

const OPEN_METRICS: HeaderValue = HeaderValue::from_static(metrics::CONTENT_TYPE);

/// The paths, and what each permits.
const ROUTES: [(&str, &str); 7] = [
    ("/healthz", "GET"),
    ("/metrics", "GET"),
    ("/v1/status", "GET"),
    ("/v1/policy", "GET, POST"),
    ("/v1/log", "PUT"),
    ("/v1/pause", "POST"),
    ("/v1/resume", "POST"),
];

/// An answer, with its whole body.
pub type Answer = Response<Full<Bytes>>;

/// A request that is refused.
#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    word: &'static str,
    message: String,
}

impl Refusal {
    fn new(status: StatusCode, word: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            word,
            message: message.into(),
        }
    }

    #[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
    fn failed(error: impl ToString) -> Self {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Self::new(status, "failed", error.to_string())
    }

    fn into_answer(self) -> Answer {
        let body = json!({ "schema": 1, "error": self.word, "message": self.message });
        answer(self.status, JSON, format!("{body}\n"))
    }
}

fn answer(status: StatusCode, kind: HeaderValue, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}

fn in_json(what: &impl Serialize) -> Result<Answer, Refusal> {
    let body = serde_json::to_string(what).map_err(Refusal::failed)?;
    Ok(answer(StatusCode::OK, JSON, body + "\n"))
}

/// Answers a request of a peer that may not ask.
#[must_use]
pub fn forbidden() -> Answer {
    let message = "root, the agent's own user and members of its `--admin-group` may ask";
    Refusal::new(StatusCode::FORBIDDEN, "forbidden", message).into_answer()
}

/// Answers a request.
///
/// # Errors
/// Never: what goes wrong is an answer.
pub async fn respond(request: Request<Incoming>, state: Arc<State>) -> Result<Answer, Infallible> {
    let what = format!("{} {}", request.method(), request.uri().path());
    let routed = route(request, state).await;
    let answer = routed.unwrap_or_else(Refusal::into_answer);
    tracing::debug!(status = answer.status().as_u16(), "was asked: {what}");
    Ok(answer)
}

async fn route(request: Request<Incoming>, state: Arc<State>) -> Result<Answer, Refusal> {
    let path = request.uri().path().to_owned();
    match (request.method(), &*path) {
        (&Method::GET, "/healthz") => Ok(health(&state)),
        (&Method::GET, "/metrics") => {
            let text = apart(move || scrape(&state)).await?;
            Ok(answer(StatusCode::OK, OPEN_METRICS, text))
        }
        (&Method::GET, "/v1/status") => {
            let as_text = accepts_text(&request);
            let status = apart(move || Status::of_agent(&state).map_err(Refusal::failed)).await?;
            if as_text {
                return Ok(answer(
                    StatusCode::OK,
                    TEXT,
                    text::render(&status, SystemTime::now()),
                ));
            }
            in_json(&status)
        }
        (&Method::GET, "/v1/policy") => {
            apart(move || in_json(&policy(datapath(&state)?).map_err(Refusal::failed)?)).await
        }
        (&Method::POST, "/v1/policy") => {
            let text = body(request, POLICY).await?;
            apart(move || apply(datapath(&state)?, &text)).await
        }
        (&Method::PUT, "/v1/log") => set_log(&body(request, LEVEL).await?),
        (&Method::POST, "/v1/pause") => pause(datapath(&state)?, true).await,
        (&Method::POST, "/v1/resume") => pause(datapath(&state)?, false).await,
        _ => Ok(lost(&path)),
    }
}

/// Does what may block in a thread of its own.
async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    task::spawn_blocking(work).await.map_err(Refusal::failed)?
}

fn accepts_text(request: &Request<Incoming>) -> bool {
    let accepted = request.headers().get(ACCEPT);
    accepted.is_some_and(|word| word.as_bytes().starts_with(b"text/plain"))
}

/// There is no such path, or not with this method.
fn lost(path: &str) -> Answer {
    let Some((_, methods)) = ROUTES.iter().find(|(known, _)| *known == path) else {
        let known: Vec<_> = ROUTES.iter().map(|(path, _)| *path).collect();
        let message = format!("there are {}", known.join(", "));
        return Refusal::new(StatusCode::NOT_FOUND, "not_found", message).into_answer();
    };
    let message = format!("{path} takes {methods}");
    let refused = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method", message);
    let mut answer = refused.into_answer();
    let methods = HeaderValue::from_static(methods);
    answer.headers_mut().insert(ALLOW, methods);
    answer
}

fn scrape(state: &State) -> Result<String, Refusal> {
    let scrape = Scrape::of_agent(state).map_err(Refusal::failed)?;
    scrape.encode().map_err(Refusal::failed)
}

fn health(state: &State) -> Answer {
    match state.shortcoming() {
        None => answer(StatusCode::OK, TEXT, "ok\n"),
        Some(words) => answer(StatusCode::SERVICE_UNAVAILABLE, TEXT, words + "\n"),
    }
}

fn datapath(state: &State) -> Result<&Accelerating, Refusal> {
    if state.started().is_none() {
        let (word, message) = ("starting", "the agent is starting, ask again");
        return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, word, message));
    }
    let none = || {
        let message = "the agent keeps the table alone; start it with `--mode` or `--config`";
        Refusal::new(StatusCode::CONFLICT, "no_data_path", message)
    };
    state.accelerating().ok_or_else(none)
}

/// Reads a body of text.
async fn body(request: Request<Incoming>, most: usize) -> Result<String, Refusal> {
    let whole = Limited::new(request.into_body(), most).collect().await;
    let bytes = whole.map_err(|error| {
        if error.is::<LengthLimitError>() {
            let message = format!("at most {most} bytes are taken");
            return Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message);
        }
        Refusal::new(StatusCode::BAD_REQUEST, "body", error.to_string())
    })?;
    String::from_utf8(bytes.to_bytes().into())
        .map_err(|error| Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "text", error.to_string()))
}

/// The policy in force, as `policy show --json` has it, with its text.
fn policy(on: &Accelerating) -> Result<serde_json::Value, Box<dyn std::error::Error>> {
    let store = Store::open(&on.home)?;
    let mut shown = serde_json::to_value(Rules::read(&store)?)?;
    shown["text"] = store.text()?.into();
    Ok(shown)
}

fn apply(on: &Accelerating, text: &str) -> Result<Answer, Refusal> {
    let wrong = |message| Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "policy", message);
    let policy =
        Policy::parse(Path::new("request"), text).map_err(|error| wrong(error.to_string()))?;
    let applied = on.apply(&policy, text).map_err(|error| match error {
        StoreError::TooMany(_) | StoreError::TooLong(_) => wrong(error.to_string()),
        other => Refusal::failed(other),
    })?;
    in_json(&json!({
        "schema": 1,
        "generation": applied.generation,
        "rules": applied.rules,
        "adopts_only": applied.adopts_only,
        "vouch": applied.vouch,
    }))
}

/// Changes the level of the log.
fn set_log(text: &str) -> Result<Answer, Refusal> {
    let wrong = |message| Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "level", message);
    let asked: serde_json::Value =
        serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
    let word = asked["level"].as_str().unwrap_or_default();
    let level = log::level(word).map_err(|error| wrong(error.to_string()))?;
    if !log::set_level(level) {
        return Err(Refusal::failed("nothing is logged"));
    }
    in_json(&json!({ "schema": 1, "level": word }))
}

/// Pauses, or goes on; answers when that is in force.
async fn pause(on: &Accelerating, paused: bool) -> Result<Answer, Refusal> {
    on.steering.pause(paused);
    let began = tokio::time::Instant::now();
    while on.steering.has_wish() {
        if began.elapsed() > PATIENCE {
            let message = "the watching thread has not taken it up yet; `status` says when it has";
            let late = StatusCode::GATEWAY_TIMEOUT;
            return Err(Refusal::new(late, "late", message));
        }
        tokio::time::sleep(LOOK).await;
    }
    let enrolled = on.steering.seen().enrolled;
    in_json(&json!({ "schema": 1, "paused": on.steering.is_paused(), "enrolled": enrolled }))
}
