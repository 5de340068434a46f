//! How often an agent scans, where a test needs another pace than the usual one.

/// As often as can be: many connections that live for a moment each.
pub const OFTEN: &str = "--scan-interval 5";

/// Once, at the start: what is seen later comes from the hooks alone.
pub const ONCE: &str = "--scan-interval 60000";
