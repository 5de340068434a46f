//! Addresses of kernel functions.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
};

const KALLSYMS: &str = "/proc/kallsyms";

/// The addresses of the functions `names`, in their order; 0 for one that the
/// kernel does not have or does not show (`kernel.kptr_restrict`, no
/// `CAP_SYSLOG`).
///
/// Not an error: who waits on a socket is then unknown, and a socket with an
/// unknown waiter stays on the stack.
#[must_use]
pub fn addresses<const N: usize>(names: [&str; N]) -> [u64; N] {
    File::open(KALLSYMS)
        .and_then(|file| search(BufReader::with_capacity(1 << 16, file), names))
        .unwrap_or([0; N])
}

/// Stops at the last name that it finds: the file has a line for each of some
/// hundred thousand symbols, and the kernel writes them as they are read.
fn search<const N: usize>(mut lines: impl BufRead, names: [&str; N]) -> io::Result<[u64; N]> {
    let mut found = [None; N];
    let mut line = Vec::new();
    while found.contains(&None) && lines.read_until(b'\n', &mut line)? > 0 {
        if let Some((address, symbol)) = parse(&line) {
            for (slot, name) in found.iter_mut().zip(names) {
                if slot.is_none() && is_function(symbol, name) {
                    *slot = Some(address);
                }
            }
        }
        line.clear();
    }
    Ok(found.map(Option::unwrap_or_default))
}

/// `ffffffff8172f2b0 t ep_poll_callback`, and `\t[module]` after the name.
fn parse(line: &[u8]) -> Option<(u64, &str)> {
    let mut words = str::from_utf8(line).ok()?.split_ascii_whitespace();
    let (address, kind, symbol) = (words.next()?, words.next()?, words.next()?);
    if !matches!(kind, "t" | "T") {
        return None;
    }
    Some((u64::from_str_radix(address, 16).ok()?, symbol))
}

/// Clang's link-time optimisation appends `.llvm.<hash>` to static functions.
fn is_function(symbol: &str, name: &str) -> bool {
    symbol
        .strip_prefix(name)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(".llvm."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_functions_by_their_whole_name() {
        let text = b"ffffffff81000000 t __pollwake\n\
            ffffffff81000010 d pollwake\n\
            ffffffff81000020 t pollwake.cold\n\
            ffffffff81000030 t pollwake\n\
            ffffffff81000040 t ep_poll_callback.llvm.123\t[module]\n\
            not a line\n";
        let found = search(&text[..], ["ep_poll_callback", "pollwake", "absent"]).unwrap();
        assert_eq!(found, [0xffff_ffff_8100_0040, 0xffff_ffff_8100_0030, 0]);
    }

    #[test]
    fn hidden_addresses_are_unknown() {
        let text = b"0000000000000000 t pollwake\n";
        assert_eq!(search(&text[..], ["pollwake"]).unwrap(), [0]);
    }

    #[test]
    fn the_running_kernel_shows_both_waiters() {
        let [epoll, poll] = addresses(["ep_poll_callback", "pollwake"]);
        assert_ne!(epoll, poll);
        // Kernel text is in the upper half of the address space.
        assert!(epoll >> 63 == 1 && poll >> 63 == 1, "{epoll:x} {poll:x}");
    }
}
