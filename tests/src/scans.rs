//! The pace of an agent's looks at connections, or of its scans of the table, where a test needs another than the usual one.

/// As often as can be: many connections that live for a moment each.
pub const OFTEN: &str = "--scan-interval 5";

/// The table, once, at the start: what is seen later comes from the hooks alone.
pub const ONCE: &str = "--table-interval 60000";
