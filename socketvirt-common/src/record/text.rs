//! Text in records, as `bpftool` shows it.

/// Text that ends at its first zero byte.
///
/// It is signed, because the build marks this very type as characters in the
/// object's BTF, by which `bpftool` knows text.
pub type Text<const N: usize> = [i8; N];
