//! What is on, as far as a header says it.

use serde::Serialize;
use serde_json::Value;

/// What is on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Header {
    /// The process of the agent; none when there is none.
    pub agent: Option<u64>,
    /// The mode that is on; none when nothing is accelerated.
    pub mode: Option<String>,
    /// The mode that was asked for.
    pub asked: Option<String>,
    /// The receive mode of enrolled sockets.
    pub receive_mode: Option<String>,
    /// Nothing is accelerated until `resume`.
    pub paused: bool,
}

impl Header {
    /// Picks it from the JSON of `socketvirt status`.
    #[must_use]
    pub fn of(status: &Value) -> Self {
        let on = &status["accelerating"];
        let word = |name: &str| on[name].as_str().map(str::to_owned);
        Self {
            agent: status["agent"]["pid"].as_u64(),
            mode: word("effective_mode"),
            asked: word("mode"),
            receive_mode: word("receive_mode"),
            paused: on["paused"] == true,
        }
    }

    /// In words.
    #[must_use]
    pub fn words(&self) -> String {
        let agent = match self.agent {
            Some(pid) => format!("agent {pid}"),
            None => "no agent, pinned maps".to_owned(),
        };
        let (Some(mode), Some(receive)) = (&self.mode, &self.receive_mode) else {
            return format!("{agent}: keeps the table, accelerates nothing");
        };
        let asked = match &self.asked {
            Some(asked) if asked != mode => format!(" instead of {asked}"),
            _ => String::new(),
        };
        let paused = if self.paused { ", paused" } else { "" };
        format!("{agent}: mode {mode}{asked}, receive mode {receive}{paused}")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_header_is_picked_from_the_status() {
        let on = json!({"mode": "eager", "effective_mode": "adopt", "receive_mode": "unified", "paused": true});
        let header = Header::of(&json!({"agent": {"pid": 7}, "accelerating": on}));
        assert_eq!(
            header.words(),
            "agent 7: mode adopt instead of eager, receive mode unified, paused"
        );
        assert_eq!(
            Header::of(&json!({"agent": {"pid": 7}, "accelerating": null})).words(),
            "agent 7: keeps the table, accelerates nothing"
        );
        let left = json!({"agent": null, "accelerating": {"mode": "adopt", "effective_mode": "adopt", "receive_mode": "unified"}});
        assert_eq!(
            Header::of(&left).words(),
            "no agent, pinned maps: mode adopt, receive mode unified"
        );
    }

    #[test]
    fn what_makes_no_sense_is_left_out() {
        assert_eq!(Header::of(&Value::Null), Header::default());
        assert_eq!(
            Header::of(&json!({"agent": [], "accelerating": "?"})),
            Header::default()
        );
    }
}
