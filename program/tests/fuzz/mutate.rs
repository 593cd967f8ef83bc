//! Changes of bytes, as fuzzers make them: bits, numbers at the edges, cuts, copies, words.

use signet::rng::Sequence;

/// Numbers near which programs err.
const EDGES: [u64; 16] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x100,
    0x7fff,
    0x8000,
    0xffff,
    0x10000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    1 << 32,
    i64::MAX as u64,
    u64::MAX,
];

/// A number below `end`.
pub fn below(random: &mut Sequence, end: usize) -> usize {
    random.next_u32() as usize % end.max(1)
}

pub fn one_of<'a, T: ?Sized>(random: &mut Sequence, of: &[&'a T]) -> &'a T {
    of[below(random, of.len())]
}

/// One file of `pool`, changed one to four times, with `words` that mean something in it.
pub fn changed(pool: &[Vec<u8>], words: &[&[u8]], random: &mut Sequence) -> Vec<u8> {
    let mut bytes = pool[below(random, pool.len())].clone();
    for _ in 0..1 + below(random, 4) {
        change(&mut bytes, pool, words, random);
    }
    bytes
}

fn change(bytes: &mut Vec<u8>, pool: &[Vec<u8>], words: &[&[u8]], random: &mut Sequence) {
    if bytes.is_empty() {
        bytes.extend_from_slice(&pool[below(random, pool.len())]);
        return;
    }
    let at = below(random, bytes.len());
    let longest = if below(random, 4) == 0 { 1024 } else { 8 };
    let length = 1 + below(random, longest);
    let end = bytes.len().min(at + length);
    match random.next_u32() % 10 {
        0 => bytes[at] ^= 1 << (random.next_u32() % 8),
        1 => bytes[at] = random.next_u32() as u8,
        2 => {
            let size = [1, 2, 4, 8][below(random, 4)].min(bytes.len() - at);
            let edge =
                EDGES[below(random, EDGES.len())].wrapping_sub(u64::from(random.next_u32() % 2));
            let mut number = edge.to_le_bytes()[..size].to_vec();
            if below(random, 2) == 0 {
                number.reverse();
            }
            bytes[at..at + size].copy_from_slice(&number);
        }
        3 => _ = bytes.drain(at..end),
        4 => bytes.truncate(at),
        5 => {
            let copy = bytes[at..end].to_vec();
            let to = below(random, bytes.len() + 1);
            bytes.splice(to..to, copy);
        }
        6 => {
            let other = &pool[below(random, pool.len())];
            let from = below(random, other.len());
            bytes.truncate(at);
            bytes.extend_from_slice(&other[from.min(other.len())..]);
        }
        7 => bytes[at..end].fill(random.next_u32() as u8),
        8 => {
            // A digit where one is: text stays a number.
            let digit = bytes[at..].iter().position(u8::is_ascii_digit);
            if let Some(digit) = digit {
                bytes[at + digit] = b'0' + (random.next_u32() % 10) as u8;
            }
        }
        _ => {
            let word = if words.is_empty() { &b"\0"[..] } else { one_of(random, words) };
            let over =
                if below(random, 2) == 0 { at..at } else { at..bytes.len().min(at + word.len()) };
            bytes.splice(over, word.iter().copied());
        }
    }
}
