//! Numbers of the kernel's interfaces that both sides, or several rules, need.

/// `AF_INET`, include/linux/socket.h.
pub const AF_INET: u16 = 2;

/// `MSG_OOB`, include/linux/socket.h.
pub const MSG_OOB: u32 = 0x1;
/// `MSG_TRUNC`, include/linux/socket.h.
pub const MSG_TRUNC: u32 = 0x20;
/// `MSG_DONTWAIT`, include/linux/socket.h.
pub const MSG_DONTWAIT: u32 = 0x40;
/// `MSG_WAITALL`, include/linux/socket.h.
pub const MSG_WAITALL: u32 = 0x100;
/// `MSG_MORE`, include/linux/socket.h.
pub const MSG_MORE: u32 = 0x8000;

/// `O_NONBLOCK`, include/uapi/asm-generic/fcntl.h (the same on x86-64, arm64
/// and riscv64).
pub const O_NONBLOCK: u32 = 0o4000;

/// `RCV_SHUTDOWN`, include/net/sock.h.
pub const RCV_SHUTDOWN: u32 = 1;
/// `SEND_SHUTDOWN`, include/net/sock.h.
pub const SEND_SHUTDOWN: u32 = 2;
/// Both.
pub const SHUTDOWN_MASK: u32 = 3;

/// `TCP_ESTABLISHED`, `include/net/tcp_states.h`.
pub const TCP_ESTABLISHED: u8 = 1;
/// `TCP_SYN_RECV`, `include/net/tcp_states.h`.
pub const TCP_SYN_RECV: u8 = 3;
/// `TCP_FIN_WAIT1`, `include/net/tcp_states.h`.
pub const TCP_FIN_WAIT1: u8 = 4;
/// `TCP_FIN_WAIT2`, `include/net/tcp_states.h`.
pub const TCP_FIN_WAIT2: u8 = 5;
/// `TCP_CLOSE`, `include/net/tcp_states.h`.
pub const TCP_CLOSE: u8 = 7;
/// `TCP_CLOSE_WAIT`, `include/net/tcp_states.h`.
pub const TCP_CLOSE_WAIT: u8 = 8;
/// `TCP_LAST_ACK`, `include/net/tcp_states.h`.
pub const TCP_LAST_ACK: u8 = 9;
