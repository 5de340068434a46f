//! Rings: which operations of an `io_uring` show that its program does its
//! networking by it.
//!
//! A socket that was ever enrolled refuses some of them, and which of them a program
//! will use is not known before. So a program that does any networking by a ring is
//! kept off. One that has used its rings for files only is harmless.

/// What an operation tells of the sockets of its program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing: it takes no socket, or does with one what an enrolled one does
    /// too.
    Harmless,
    /// It is of a socket when its descriptor is one.
    Descriptor,
    /// It is of a socket, or of a kind that is not known here.
    Network,
}

/// Operations of `enum io_uring_op` (`include/uapi/linux/io_uring.h`), as bits.
const fn bits(operations: &[u8]) -> u64 {
    let mut bits = 0;
    let mut at = 0;
    while at < operations.len() {
        bits |= 1 << operations[at];
        at += 1;
    }
    bits
}

/// `NOP`, which is also an entry that was never used; polls; times, locks and
/// processes to wait for; files by name, their sizes and attributes; memory;
/// buffers; `CLOSE`, `FILES_UPDATE`, `EPOLL_CTL`, `MSG_RING`, `FIXED_FD_INSTALL`,
/// `EPOLL_WAIT` and `PIPE`.
const HARMLESS: u64 = bits(&[
    0, 3, 6, 7, 8, 11, 12, 14, 15, 17, 18, 19, 20, 21, 24, 25, 28, 29, 31, 32, 35, 36, 37, 38, 39,
    40, 41, 42, 43, 44, 50, 51, 52, 53, 54, 55, 59, 62,
]);

/// Reads and writes: `READV`, `WRITEV`, `READ_FIXED`, `WRITE_FIXED`, `READ`, `WRITE`,
/// `URING_CMD`, `READ_MULTISHOT`, `READV_FIXED` and `WRITEV_FIXED`.
const DESCRIPTOR: u64 = bits(&[1, 2, 4, 5, 22, 23, 46, 49, 60, 61]);

/// Returns what the operation with this number tells.
#[inline(always)]
#[must_use]
pub const fn kind(operation: u8) -> Kind {
    if operation >= 64 {
        return Kind::Network;
    }
    if HARMLESS >> operation & 1 != 0 {
        Kind::Harmless
    } else if DESCRIPTOR >> operation & 1 != 0 {
        Kind::Descriptor
    } else {
        Kind::Network
    }
}

/// `IOSQE_FIXED_FILE`: the descriptor is a number among the registered files.
pub const FIXED_FILE: u32 = 1;

/// Flags of `io_uring_setup(2)` with which a ring's entries are not where they are
/// looked for: `IORING_SETUP_NO_MMAP` and `IORING_SETUP_REGISTERED_FD_ONLY`.
pub const HIDDEN: u32 = 1 << 14 | 1 << 15;

#[cfg(test)]
mod tests {
    use super::*;

    /// `SENDMSG`, `RECVMSG`, `ACCEPT`, `CONNECT`, `SEND`, `RECV`, `SPLICE`, `TEE`,
    /// `SHUTDOWN`, `SOCKET`, `SEND_ZC`, `SENDMSG_ZC`, `BIND`, `LISTEN`, `RECV_ZC`.
    const NETWORK: [u8; 15] = [9, 10, 13, 16, 26, 27, 30, 33, 34, 45, 47, 48, 56, 57, 58];

    #[test]
    fn each_operation_has_one_kind() {
        assert_eq!(HARMLESS & DESCRIPTOR, 0);
        let network = bits(&NETWORK);
        assert_eq!((HARMLESS | DESCRIPTOR) & network, 0);
        // 63 is the first that Linux 6.18 does not have.
        assert_eq!(HARMLESS | DESCRIPTOR | network, (1 << 63) - 1);
        for operation in NETWORK {
            assert_eq!(kind(operation), Kind::Network, "{operation}");
        }
    }

    #[test]
    fn what_is_not_known_is_not_harmless() {
        for operation in 63..=u8::MAX {
            assert_eq!(kind(operation), Kind::Network, "{operation}");
        }
        assert_eq!(kind(0), Kind::Harmless);
        assert_eq!(kind(22), Kind::Descriptor);
    }
}
