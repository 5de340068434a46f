//! The running kernel's [`Fields`]: where it keeps what the rows of the socket
//! table show.

use nix::time::{ClockId, clock_getres};
use socketvirt_common::record::{
    fields::{Field, Fields, flag},
    line::Without,
};

use super::{
    btf::{KernelTypes, LayoutError},
    known::Known,
};

/// Fills the fields that the agent writes into the programs' read-only data.
///
/// # Errors
/// Names the structure or the field without which there are no rows. A field
/// that only one column shows may be missing; the column is unknown then.
pub fn fields() -> Result<Fields, LayoutError> {
    resolve(&KernelTypes::running()?)
}

fn resolve(types: &KernelTypes) -> Result<Fields, LayoutError> {
    let mut fields = Fields::UNKNOWN;
    let mut known = Known::new(types);
    for line in Fields::TABLE {
        *(line.place)(&mut fields) = match line.without {
            Without::Refused(purpose) => Field::at(known.offset(line, purpose)?),
            Without::Unknown(_) | Without::Elsewhere => known.field(line)?,
        };
    }
    options_of_ip(&mut fields);
    let mut size = |structure| {
        let found = known.structure(structure, "the size of a socket")?;
        Ok(found.size())
    };
    fields.size_common = size("sock_common")?;
    fields.size_tcp = size("tcp_sock")?;
    fields.size_udp = size("udp_sock")?;
    fields.size_unix = size("unix_sock")?;
    for (mask, name) in fields.flags.iter_mut().zip(flag::NAMES) {
        *mask = types
            .constant("sock_flags", name)
            .and_then(|bit| 1_u64.checked_shl(bit))
            .unwrap_or(0);
    }
    fields.hertz = hertz();
    Ok(fields)
}

/// Numbered bits from 6.6 on (`INET_FLAGS_*`, an enumeration without a name
/// that has only grown), bit fields before.
fn options_of_ip(fields: &mut Fields) {
    let flags = fields.inet_flags;
    if flags.offset == Field::MISSING {
        return;
    }
    for (at, bit) in [
        (&mut fields.inet_freebind, 11),
        (&mut fields.inet_transparent, 15),
        (&mut fields.inet_recverr, 9),
        (&mut fields.inet_no_port, 18),
    ] {
        *at = Field::bits(flags.offset + byte_of(bit), 1 << (bit % 8));
    }
}

/// Returns what rows do not tell on this kernel.
#[must_use]
pub fn unknown(fields: &Fields) -> Vec<&'static str> {
    let mut fields = *fields;
    let mut all = Vec::new();
    for line in Fields::TABLE {
        let is_missing = (line.place)(&mut fields).offset == Field::MISSING;
        if let Without::Unknown(lost) = line.without
            && is_missing
            && !all.contains(&lost)
        {
            all.push(lost);
        }
    }
    all
}

/// Jiffies in a second: the coarse clocks advance by one at a time.
fn hertz() -> u32 {
    let tick = clock_getres(ClockId::CLOCK_MONOTONIC_COARSE).map_or(0, |tick| tick.tv_nsec());
    u32::try_from(1_000_000_000 / tick.max(1)).unwrap_or(100)
}

/// The byte of a `long` that holds a bit.
fn byte_of(bit: u32) -> u32 {
    if cfg!(target_endian = "little") {
        bit / 8
    } else {
        7 - bit / 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_kernel_has_every_field() {
        let fields = fields().unwrap();
        assert!(fields.size_tcp > fields.size_common && fields.size_tcp < 4096);
        assert_eq!(fields.flags.iter().filter(|mask| **mask == 0).count(), 0);
        assert!(
            [100, 250, 300, 1000].contains(&fields.hertz),
            "{}",
            fields.hertz
        );
        let shown = format!("{fields:?}");
        assert!(!shown.contains(&Field::MISSING.to_string()), "{shown}");
        assert!(unknown(&fields).is_empty());
    }

    #[test]
    fn a_kernel_without_a_field_does_not_tell_what_it_shows() {
        let fields = Fields {
            ca_ops: Field::NONE,
            ca_name: Field::NONE,
            // `socket_ino` tells the same.
            ino: Field::NONE,
            ..fields().unwrap()
        };
        assert_eq!(unknown(&fields), ["TCP_CONGESTION"]);
    }
}
