//! What the agent asks of the running kernel, and the objects that it makes
//! there.

pub mod btf;
pub mod layout;
pub mod symbols;

pub use self::{btf::LayoutError, layout::kernel_layout};
