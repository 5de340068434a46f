//! Programs that use watched sockets: who reads (`reader`), and who has begun and
//! was not looked at (`processes`).

pub mod processes;
pub mod reader;
