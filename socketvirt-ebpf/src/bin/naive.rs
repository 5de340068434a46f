//! The least that a redirect can be, for the benchmark to compare with.
//!
//! Each message goes to the socket with the ports the other way round, whatever
//! is still in the stack and however full its queue is. It loses the order of
//! bytes. The benchmark alone loads it.
#![no_std]
#![no_main]
#![expect(
    missing_docs,
    non_upper_case_globals,
    clippy::needless_pass_by_value,
    reason = "the macros make the entry points' signatures; a static's name is its map's"
)]

use aya_ebpf::{
    bindings::{BPF_F_INGRESS, sk_action::SK_PASS},
    btf_maps::SockHash,
    macros::{btf_map, sk_msg, stream_verdict},
    programs::{SkBuffContext, SkMsgContext},
};

/// Sockets by their own port and their peer's, host byte order.
#[btf_map]
pub static nv_sockets: SockHash<[u32; 2], 64> = SockHash::new();

#[sk_msg]
pub fn nv_message(ctx: SkMsgContext) -> u32 {
    // SAFETY: fields of the context; read once each, as the verifier does not
    // follow a merged load of the context pointer.
    let (remote, local) = unsafe {
        (
            core::ptr::read_volatile(&raw const (*ctx.msg).remote_port),
            core::ptr::read_volatile(&raw const (*ctx.msg).local_port),
        )
    };
    let peer = [u32::from_be(remote), local];
    // A message that finds nobody takes the stack.
    let _ = nv_sockets.redirect_msg(&ctx, peer, u64::from(BPF_F_INGRESS));
    SK_PASS
}

#[stream_verdict]
pub fn nv_packet(_ctx: SkBuffContext) -> u32 {
    SK_PASS
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";
