//! Ports and addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Value;

/// Ports from one to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// The first.
    pub first: u16,
    /// The last.
    pub last: u16,
}

impl Value for Ports {
    const EXPECTS: &str = "a port from 1 to 65535, or a range such as \"6000-6010\"";
    const TYPES: &[&str] = &["integer", "string"];

    fn of_text(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no port, expected {}", Self::EXPECTS);
        let port = |text: &str| -> Result<u16, String> {
            let port: i64 = text.trim().parse().map_err(|_| wrong())?;
            Self::of_number(port).map(|ports| ports.first)
        };
        let (first, last) = match text.split_once('-') {
            Some((first, last)) => (port(first)?, port(last)?),
            None => (port(text)?, port(text)?),
        };
        if first > last {
            return Err(format!(
                "the range `{text}` ends before it begins: write `{last}-{first}`"
            ));
        }
        Ok(Self { first, last })
    }

    fn of_number(number: i64) -> Result<Self, String> {
        match u16::try_from(number) {
            Ok(port) if port != 0 => Ok(Self {
                first: port,
                last: port,
            }),
            _ => Err(format!("`{number}` is no port, expected {}", Self::EXPECTS)),
        }
    }
}

/// The addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    /// The bits; IPv4 is mapped to IPv6.
    pub address: Ipv6Addr,
    /// Number of bits, of the mapped form.
    pub bits: u8,
}

impl Prefix {
    /// True for an address of it. IPv4 may be mapped to IPv6 or not.
    #[must_use]
    pub fn has(&self, address: IpAddr) -> bool {
        (mapped(address).to_bits() ^ self.address.to_bits()) & mask(self.bits) == 0
    }
}

fn mapped(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

fn mask(bits: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0)
}

impl Value for Prefix {
    const EXPECTS: &str = "an address or a prefix such as \"10.0.0.0/8\" or \"fd00::/8\"";
    const TYPES: &[&str] = &["string"];

    fn of_text(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("`{text}` {why}, expected {}", Self::EXPECTS);
        let (address, bits) = text
            .split_once('/')
            .map_or((text, None), |(a, b)| (a, Some(b)));
        let address: IpAddr = address.parse().map_err(|_| wrong("is no address"))?;
        let width: u8 = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            Some(bits) => bits.parse().ok().filter(|bits| *bits <= width),
            None => Some(width),
        };
        let bits = bits.ok_or_else(|| wrong(&format!("has no length from 0 to {width}")))?;
        let prefix = Self {
            address: mapped(address),
            bits: bits + (128 - width),
        };
        let cut = Ipv6Addr::from_bits(prefix.address.to_bits() & mask(prefix.bits));
        if cut != prefix.address {
            let cut: IpAddr = match address {
                IpAddr::V4(_) => IpAddr::V4(cut.to_ipv4_mapped().unwrap_or(Ipv4Addr::UNSPECIFIED)),
                IpAddr::V6(_) => IpAddr::V6(cut),
            };
            return Err(format!(
                "`{text}` has bits behind its length: write `{cut}/{bits}`"
            ));
        }
        Ok(prefix)
    }
}
