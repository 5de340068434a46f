//! Bytes that know their position.
//!
//! The byte at a position depends on the position alone, so a lost, repeated
//! or reordered byte is seen where it happens, and the bytes that arrived in
//! its place tell where they belong.

use std::fmt;

use test_support::random::{GOLDEN, mix};

/// One direction of one connection.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    seed: u64,
    hello: Option<[u8; HELLO]>,
}

/// Length of the first words of a connection, by which the accepting side
/// learns which connection it is.
pub(crate) const HELLO: usize = 8;

/// The first words of connection `index`.
pub(crate) fn hello(index: u32) -> [u8; HELLO] {
    let i = index.to_le_bytes();
    [b'S', b'V', b'H', b'I', i[0], i[1], i[2], i[3]]
}

/// The connection that these first words name.
pub(crate) fn index_of(hello: [u8; HELLO]) -> Option<u32> {
    let [b'S', b'V', b'H', b'I', a, b, c, d] = hello else {
        return None;
    };
    Some(u32::from_le_bytes([a, b, c, d]))
}

/// The bytes at `position` are not those that belong there.
#[derive(Debug)]
pub(crate) struct Mismatch {
    position: u64,
    expected: Vec<u8>,
    got: Vec<u8>,
    verdict: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "wrong bytes at offset {}: expected {:02x?}, got {:02x?}: {}",
            self.position, self.expected, self.got, self.verdict
        )
    }
}

impl std::error::Error for Mismatch {}

impl Content {
    /// The bytes of connection `index` in one direction. `hello` says whether
    /// they begin with the connection's first words.
    pub(crate) fn new(seed: u64, index: u32, from_client: bool, with_hello: bool) -> Self {
        let direction = u64::from(from_client);
        Self {
            seed: mix(mix(seed) ^ (u64::from(index) << 1 | direction)),
            hello: with_hello.then(|| hello(index)),
        }
    }

    /// Writes the bytes from `position` on into `buffer`.
    pub(crate) fn fill(&self, position: u64, buffer: &mut [u8]) {
        let mut word = position / 8;
        let skip = usize::try_from(position % 8).unwrap_or(0);
        let (head, rest) = buffer.split_at_mut(((8 - skip) % 8).min(buffer.len()));
        if !head.is_empty() {
            let bytes = self.word(word);
            head.copy_from_slice(&bytes[skip..skip + head.len()]);
            word += 1;
        }
        for chunk in rest.chunks_mut(8) {
            let bytes = self.word(word);
            chunk.copy_from_slice(&bytes[..chunk.len()]);
            word += 1;
        }
    }

    fn word(&self, word: u64) -> [u8; 8] {
        match self.hello {
            Some(hello) if word == 0 => hello,
            _ => mix(self.seed.wrapping_add(word.wrapping_mul(GOLDEN))).to_le_bytes(),
        }
    }

    /// Compares `got` with what belongs at `position`.
    pub(crate) fn check(&self, position: u64, got: &[u8]) -> Result<(), Mismatch> {
        let mut expected = vec![0; got.len()];
        self.fill(position, &mut expected);
        let Some(at) = expected.iter().zip(got).position(|(a, b)| a != b) else {
            return Ok(());
        };
        let position = position + at as u64;
        let window = &got[at..got.len().min(at + 16)];
        Err(Mismatch {
            position,
            expected: expected[at..got.len().min(at + 16)].to_vec(),
            got: window.to_vec(),
            verdict: self.locate(position, window),
        })
    }

    /// Says where the misplaced bytes belong.
    fn locate(&self, position: u64, window: &[u8]) -> String {
        const BLOCK: usize = 1 << 20;
        const REACH: u64 = 64 << 20;
        if window.len() < 5 {
            return "too few bytes to tell where they belong".to_owned();
        }
        let mut start = position.saturating_sub(REACH);
        let mut block = vec![0; BLOCK + window.len()];
        while start < position + REACH {
            self.fill(start, &mut block);
            if let Some(at) = block.windows(window.len()).position(|w| w == window) {
                let from = start + at as u64;
                return if from < position {
                    format!(
                        "they belong to offset {from}: {} bytes repeated",
                        position - from
                    )
                } else {
                    format!(
                        "they belong to offset {from}: {} bytes lost or overtaken",
                        from - position
                    )
                };
            }
            start += BLOCK as u64;
        }
        "they belong nowhere near in this direction".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_cut_gives_the_same_bytes() {
        let content = Content::new(1, 7, true, true);
        let mut whole = vec![0; 300];
        content.fill(0, &mut whole);
        assert_eq!(index_of(whole[..HELLO].try_into().unwrap()), Some(7));
        for start in 0..40 {
            for len in 0..40 {
                let mut part = vec![0; len];
                content.fill(start as u64, &mut part);
                assert_eq!(part, whole[start..start + len]);
                content.check(start as u64, &part).unwrap();
            }
        }
    }

    #[test]
    fn lost_and_repeated_bytes_are_named() {
        let content = Content::new(1, 7, true, false);
        let mut bytes = vec![0; 100];
        content.fill(1000, &mut bytes);
        let lost = content.check(990, &bytes).unwrap_err().to_string();
        assert!(lost.contains("offset 1000: 10 bytes lost"), "{lost}");
        let again = content.check(1003, &bytes).unwrap_err().to_string();
        assert!(again.contains("offset 1000: 3 bytes repeated"), "{again}");
    }
}
