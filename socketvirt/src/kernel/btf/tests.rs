use btf_rs::{Backend, Btf};

use super::{Flag, KernelTypes, LayoutError};

const INT: u32 = 1;
const PTR: u32 = 2;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const ENUM: u32 = 6;
const TYPEDEF: u32 = 8;
const VOLATILE: u32 = 9;

/// Writes BTF as pahole would (Documentation/bpf/btf.rst).
#[derive(Default)]
struct Writer {
    types: Vec<u32>,
    strings: Vec<u8>,
    last: u32,
}

impl Writer {
    fn name(&mut self, name: &str) -> u32 {
        if self.strings.is_empty() {
            self.strings.push(0);
        }
        if name.is_empty() {
            return 0;
        }
        let at = self.strings.len();
        self.strings.extend_from_slice(name.as_bytes());
        self.strings.push(0);
        u32::try_from(at).unwrap()
    }

    /// A type, and the words that follow its head.
    fn add(&mut self, kind: u32, name: &str, vlen: u32, size_or_type: u32, rest: &[u32]) -> u32 {
        let name = self.name(name);
        let bitfields = u32::from(matches!(kind, STRUCT | UNION)) << 31;
        self.types
            .extend([name, bitfields | kind << 24 | vlen, size_or_type]);
        self.types.extend(rest);
        self.last += 1;
        self.last
    }

    fn int(&mut self, bytes: u32) -> u32 {
        self.add(INT, "int", 0, bytes, &[bytes * 8])
    }

    /// Members: name, type, offset in bits, width of a bit field or 0.
    fn record(
        &mut self,
        kind: u32,
        name: &str,
        size: u32,
        members: &[(&str, u32, u32, u32)],
    ) -> u32 {
        let rest: Vec<u32> = members
            .iter()
            .flat_map(|(name, of, bit, width)| [self.name(name), *of, width << 24 | bit])
            .collect();
        let vlen = u32::try_from(members.len()).unwrap();
        self.add(kind, name, vlen, size, &rest)
    }

    fn finish(self) -> KernelTypes {
        let types: Vec<u8> = self
            .types
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect();
        let len = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap();
        let mut file = vec![0x9f, 0xeb, 1, 0];
        for word in [24, 0, len(&types), len(&types), len(&self.strings)] {
            file.extend(word.to_le_bytes());
        }
        file.extend(types);
        file.extend(self.strings);
        KernelTypes(Btf::from_bytes(&file).unwrap())
    }
}

fn sample() -> KernelTypes {
    let mut to = Writer::default();
    let byte = to.int(1);
    let word = to.int(4);
    let pointer = to.add(PTR, "", 0, word, &[]);
    let counter = to.record(STRUCT, "", 4, &[("counter", word, 0, 0)]);
    let atomic = to.add(TYPEDEF, "atomic_t", 0, counter, &[]);
    let state = to.add(VOLATILE, "", 0, byte, &[]);
    let backlog = to.record(
        STRUCT,
        "",
        8,
        &[("pad", word, 0, 0), ("rmem_alloc", atomic, 32, 0)],
    );
    let inner = to.record(STRUCT, "", 8, &[("wq", pointer, 0, 0)]);
    let either = to.record(UNION, "", 8, &[("raw", pointer, 0, 0), ("", inner, 0, 0)]);
    to.record(
        STRUCT,
        "sock",
        40,
        &[
            ("state", state, 0, 0),
            ("low", byte, 8, 3),
            ("bit", byte, 12, 1),
            ("whole", byte, 16, 0),
            ("backlog", backlog, 64, 0),
            ("", either, 128, 0),
            ("last", word, 192, 0),
        ],
    );
    let one = to.name("SOCK_A");
    let two = to.name("SOCK_B");
    to.add(ENUM, "sock_flags", 2, 4, &[one, 3, two, 17]);
    to.record(
        STRUCT,
        "twice",
        8,
        &[("same", word, 0, 0), ("moved", word, 32, 0)],
    );
    to.record(
        STRUCT,
        "twice",
        16,
        &[("same", word, 0, 0), ("moved", word, 64, 0)],
    );
    to.finish()
}

#[test]
fn members_of_anonymous_types_count_from_the_outer_structure() {
    let types = sample();
    let sock = types.structure("sock", "", "").unwrap();
    assert_eq!(sock.offset("state", 1, "").unwrap(), 0);
    assert_eq!(sock.offset("backlog.rmem_alloc", 4, "").unwrap(), 12);
    assert_eq!(
        sock.offset("backlog.rmem_alloc.counter", 4, "").unwrap(),
        12
    );
    assert_eq!(sock.offset("raw", 8, "").unwrap(), 16);
    assert_eq!(sock.offset("wq", 8, "").unwrap(), 16);
    assert_eq!(sock.offset("last", 4, "").unwrap(), 24);
    assert_eq!(sock.offset_of("backlog", "").unwrap(), 8);
}

#[test]
fn flags_are_a_byte_and_a_mask() {
    let types = sample();
    let sock = types.structure("sock", "", "").unwrap();
    let flag = |byte, mask| Flag { byte, mask };
    assert_eq!(sock.flag("low", "").unwrap(), flag(1, 0b0000_0111));
    assert_eq!(sock.flag("bit", "").unwrap(), flag(1, 0b0001_0000));
    assert_eq!(sock.flag("whole", "").unwrap(), flag(2, 0xff));
    assert_eq!(sock.optional_flag("absent").unwrap(), None);
}

#[test]
fn constants_are_found_by_name() {
    let types = sample();
    assert_eq!(types.constant("sock_flags", "SOCK_B"), Some(17));
    assert_eq!(types.constant("sock_flags", "SOCK_C"), None);
    assert_eq!(types.constant("sock", "SOCK_B"), None);
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let types = sample();
    let sock = types.structure("sock", "", "").unwrap();
    let refusal = |result: Result<u32, LayoutError>| result.unwrap_err().to_string();

    let missing = refusal(sock.offset("backlog.absent", 4, "how full the queue is"));
    assert!(missing.contains("`struct sock`"), "{missing}");
    assert!(missing.contains("`backlog.absent`"), "{missing}");
    assert!(missing.contains("how full the queue is"), "{missing}");
    // A path through something that is no structure.
    assert!(sock.offset("last.counter", 4, "").is_err());

    let size = refusal(sock.offset("last", 8, ""));
    assert!(
        size.contains("`sock.last` is 4 bytes on this kernel and not 8"),
        "{size}"
    );
    // A bit field cannot be read as a byte.
    assert!(sock.offset("bit", 1, "").is_err());

    let absent = types.structure("sk_psock", "redirected bytes", "do this");
    let absent = absent.err().unwrap().to_string();
    assert!(
        absent.contains("`struct sk_psock`") && absent.ends_with("do this"),
        "{absent}"
    );
}

#[test]
fn a_structure_described_twice_must_agree() {
    let types = sample();
    let twice = types.structure("twice", "", "").unwrap();
    assert_eq!(twice.offset("same", 4, "").unwrap(), 0);
    assert!(matches!(
        twice.offset("moved", 4, ""),
        Err(LayoutError::Ambiguous { field: "moved", .. })
    ));
}

#[test]
fn a_kernel_without_btf_is_told_apart() {
    let path = std::path::Path::new("/sys/kernel/btf/absent");
    let error = KernelTypes::with(path, Backend::Cache).err().unwrap();
    assert!(
        error.to_string().contains("CONFIG_DEBUG_INFO_BTF"),
        "{error}"
    );
}
