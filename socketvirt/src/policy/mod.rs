//! Policy: what an operator allows.
//!
//! A TOML file ([`mod@file`], its values [`mod@value`]) is checked, and told with
//! line and column when something is wrong ([`report`]). It is compiled into sets
//! of rules ([`compile`]) and stored beside the policy in force, which it replaces
//! in one moment ([`store`]). What has a name that comes and goes (a cgroup, an
//! executable) is matched ([`matching`]) when it is met first ([`names`]). [`evaluate`] says plainly
//! what the kernel side has to answer, and why; [`asked`] reads what it has answered;
//! [`status`] what rules have done, in the home that [`homes`] finds. [`vouches`]
//! says whether vouches can be relied on here, [`void`] which are void.

pub mod asked;
pub mod compile;
pub mod evaluate;
pub mod file;
pub mod homes;
pub mod matching;
pub mod names;
pub mod report;
pub mod schema;
pub mod status;
pub mod store;
pub mod value;
pub mod void;
pub mod vouches;

pub use file::Policy;
pub use report::PolicyError;
