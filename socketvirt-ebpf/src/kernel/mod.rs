//! Reads the kernel's own structures: of sockets (`sock`, of a message's two
//! `typed`), of the calls on one (`calls`), of what a socket map keeps beside one (`psock`), of tasks
//! (`task`). `load` reads numbers at the least cost; `setting` sets options,
//! `destroy` ends a connection.

pub mod calls;
pub mod destroy;
pub mod identity;
pub mod load;
pub mod psock;
pub mod setting;
pub mod sock;
pub mod task;
pub mod typed;
