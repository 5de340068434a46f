//! Programs that use watched sockets: who reads (`reader`), and who has begun and
//! was not inspected (`processes`).

pub mod processes;
pub mod reader;
