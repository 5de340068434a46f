//! Programs that use watched sockets: who reads (`reader`), who has begun and was
//! not inspected (`processes`), and who does networking by `io_uring` (`rings`).

pub mod processes;
pub mod reader;
pub mod rings;
