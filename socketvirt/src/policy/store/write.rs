//! Writing a policy beside the one in force, and taking away those before.

use std::net::Ipv6Addr;

use aya::{
    Pod,
    maps::{HashMap, MapData, lpm_trie::Key},
};
use socketvirt_common::record::{
    policy::{
        ALL, Active, Dimension, NameKey, NetKey, PIECE, PIECES, PortSets, RuleStats, Set, TextKey,
        UNNAMED,
    },
    raw::Raw,
};

use super::{Store, StoreError, gone, map, name_key};
use crate::policy::{compile::Compiled, file::Policy, matching};

impl Store {
    /// Writes a policy under its generation; nobody looks there yet.
    pub(super) fn write(
        &mut self,
        next: Active,
        compiled: &Compiled,
        policy: &Policy,
        text: &str,
    ) -> Result<(), StoreError> {
        let generation = next.generation();
        for (number, set) in (ALL..).zip(&compiled.sets) {
            self.put(generation, number, set)?;
        }
        self.write_ports(next, &compiled.ports);
        for (prefix, sets) in &compiled.nets {
            let key = net_key(generation, prefix.address, prefix.bits);
            self.nets
                .insert(&key, sets, 0)
                .map_err(map("writing sv_rule_nets"))?;
        }
        for (dimension, value, set) in &compiled.values {
            let key = name_key(generation, *dimension, *value, 0);
            self.values
                .insert(Raw::of(key), set, 0)
                .map_err(map("writing sv_rule_values"))?;
        }
        for (dimension, set) in &compiled.unrestricted {
            let key = name_key(generation, *dimension, UNNAMED, 0);
            self.values
                .insert(Raw::of(key), set, 0)
                .map_err(map("writing sv_rule_values"))?;
        }
        for (rule, info) in &compiled.infos {
            let slot = next.slot(*rule);
            self.stats
                .set(slot, RuleStats::default(), 0)
                .map_err(map("writing sv_rule_stats"))?;
            self.rules
                .set(slot, Raw::of(*info), 0)
                .map_err(map("writing sv_rules"))?;
        }
        self.write_text(generation, text)?;
        if next.uses(Dimension::Cgroup) {
            self.write_cgroups(generation, compiled, policy)?;
        }
        Ok(())
    }

    fn write_ports(&mut self, next: Active, ports: &[PortSets]) {
        let first: *mut PortSets = self.ports.start().as_ptr().cast();
        for (port, sets) in (0..=u16::MAX).zip(ports) {
            // SAFETY: within the mapping, in the half that no policy in force has.
            unsafe { first.add(next.port(port) as usize).write_volatile(*sets) };
        }
    }

    fn write_text(&mut self, generation: u32, text: &str) -> Result<(), StoreError> {
        let mut bytes = text.as_bytes().to_vec();
        bytes.push(0);
        if bytes.len() > PIECES as usize * PIECE {
            return Err(StoreError::TooLong(text.len()));
        }
        for (piece, part) in (0..).zip(bytes.chunks(PIECE)) {
            let mut whole = [0; PIECE];
            whole[..part.len()].copy_from_slice(part);
            let key = TextKey { generation, piece };
            self.text
                .insert(key, whole, 0)
                .map_err(map("writing sv_policy_text"))?;
        }
        Ok(())
    }

    /// Cgroups that are there already are known from the first connection on.
    fn write_cgroups(
        &mut self,
        generation: u32,
        compiled: &Compiled,
        policy: &Policy,
    ) -> Result<(), StoreError> {
        let mut numbers: std::collections::HashMap<Set, u32> =
            compiled.sets.iter().copied().zip(ALL..).collect();
        let mut next = ALL + u32::try_from(compiled.sets.len()).unwrap_or(0);
        for (id, path) in matching::cgroups() {
            let set = matching::of_cgroup(policy, Some(&path));
            let number = numbers.get(&set).copied().unwrap_or(next);
            if number == next {
                self.put(generation, next, &set)?;
                numbers.insert(set, next);
                next += 1;
            }
            let key = name_key(generation, Dimension::Cgroup, id, 0);
            self.names
                .insert(Raw::of(key), number, 0)
                .map_err(map("writing sv_rule_names"))?;
        }
        Ok(())
    }

    /// Takes away what is of other generations.
    pub(super) fn clear(&mut self, is_old: impl Fn(u32) -> bool) -> Result<(), StoreError> {
        let old: Vec<Key<NetKey>> = self.nets.keys().filter_map(Result::ok).collect();
        for key in old {
            if is_old(key.data().generation) {
                gone(self.nets.remove(&key)).map_err(map("clearing sv_rule_nets"))?;
            }
        }
        // A key that is none of this build's is of no generation in force.
        let is_old_name = |key: &Raw<NameKey>| {
            let key = key.value();
            key.map_or(true, |key| is_old(key.generation))
        };
        clear(&mut self.values, is_old_name)?;
        clear(&mut self.names, is_old_name)?;
        clear(&mut self.asked, is_old_name)?;
        clear(&mut self.sets, |key| is_old(key.generation))?;
        clear(&mut self.text, |key| is_old(key.generation))
    }
}

/// The key of a prefix.
fn net_key(generation: u32, address: Ipv6Addr, bits: u8) -> Key<NetKey> {
    let octets = address.octets();
    let (words, _) = octets.as_chunks::<4>();
    let mut found = [0; 4];
    for (word, bytes) in found.iter_mut().zip(words) {
        *word = u32::from_ne_bytes(*bytes);
    }
    let key = NetKey {
        generation,
        address: found,
    };
    Key::new(32 + u32::from(bits), key)
}

fn clear<K: Pod, V: Pod>(
    of: &mut HashMap<MapData, K, V>,
    is_old: impl Fn(&K) -> bool,
) -> Result<(), StoreError> {
    let old: Vec<K> = of.keys().filter_map(Result::ok).filter(is_old).collect();
    for key in old {
        gone(of.remove(&key)).map_err(map("clearing a map of the policy"))?;
    }
    Ok(())
}
