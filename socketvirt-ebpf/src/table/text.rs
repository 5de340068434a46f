//! Writing addresses as text.

use aya_ebpf::helpers::generated::bpf_snprintf;
use socketvirt_common::record::{row::ADDRESS_TEXT, text::Text};

/// The format of `bpf_snprintf`, which takes it from read-only data alone.
#[unsafe(no_mangle)]
static FORMAT_V6: [u8; 5] = *b"%pI6\0";

/// Writes an IPv4 address, in network byte order.
#[inline(always)]
pub fn v4(to: &mut Text<ADDRESS_TEXT>, address: u32) {
    dotted(to, 0, address);
}

/// The digits of each octet, and their number.
#[unsafe(no_mangle)]
static OCTETS: [[u8; 4]; 256] = octets();

const fn octets() -> [[u8; 4]; 256] {
    let mut all = [[0; 4]; 256];
    let mut value = 0;
    while value < 256 {
        let digits = [
            b'0' + (value / 100) as u8,
            b'0' + (value / 10 % 10) as u8,
            b'0' + (value % 10) as u8,
        ];
        all[value] = match value {
            0..10 => [digits[2], 0, 0, 1],
            10..100 => [digits[1], digits[2], 0, 2],
            _ => [digits[0], digits[1], digits[2], 3],
        };
        value += 1;
    }
    all
}

/// Writes an IPv4 address by hand. Connections wait for this in their
/// handshake, and `bpf_snprintf` takes ten times as long. It has no branch, of
/// which the verifier would follow every combination.
#[inline(always)]
fn dotted(to: &mut Text<ADDRESS_TEXT>, from: usize, address: u32) {
    /// More than the text needs; for the verifier.
    const MASK: usize = 31;
    let bytes = address.to_ne_bytes();
    let mut at = from;
    for octet in 0..4 {
        // SAFETY: a static.
        let digits = unsafe { core::ptr::read_volatile(&raw const OCTETS[bytes[octet] as usize]) };
        to[at & MASK] = digits[0] as i8;
        to[(at + 1) & MASK] = digits[1] as i8;
        to[(at + 2) & MASK] = digits[2] as i8;
        at += digits[3] as usize;
        to[at & MASK] = if octet < 3 { b'.' as i8 } else { 0 };
        at += 1;
    }
}

/// Writes an IPv6 address, in network byte order.
///
/// The kernel's formatting for programs does not shorten. So the addresses that
/// are met most are written by hand, and IPv4 mapped to IPv6 as what it is.
#[inline(always)]
pub fn v6(to: &mut Text<ADDRESS_TEXT>, address: [u64; 2]) {
    const MAPPED: u32 = 0xffff_u32.to_be();
    let words = [address[1] as u32, (address[1] >> 32) as u32];
    if address[0] == 0 && address[1] == 0 {
        to[0] = b':' as i8;
        to[1] = b':' as i8;
        to[2] = 0;
    } else if address[0] == 0 && address[1] == 1_u64.to_be() {
        to[0] = b':' as i8;
        to[1] = b':' as i8;
        to[2] = b'1' as i8;
        to[3] = 0;
    } else if address[0] == 0 && words[0] == MAPPED {
        for (to, from) in to.iter_mut().zip(b"::ffff:") {
            *to = *from as i8;
        }
        dotted(to, 7, words[1]);
    } else {
        format(to, &FORMAT_V6, &raw const address as u64);
    }
}

#[inline(always)]
fn format<const N: usize>(to: &mut Text<ADDRESS_TEXT>, format: &'static [u8; N], argument: u64) {
    let mut arguments = [argument];
    // SAFETY: the verifier checks all arguments; the format has one.
    unsafe {
        bpf_snprintf(
            to.as_mut_ptr().cast(),
            ADDRESS_TEXT as u32,
            format.as_ptr().cast(),
            arguments.as_mut_ptr(),
            8,
        );
    }
}
