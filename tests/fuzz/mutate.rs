//! Random changes to a file: of its bytes, of its numbers and words, and of its order.

use rand::{Rng, RngExt};

/// What readers tend to stumble over.
const WORDS: [&str; 48] = [
    "null",
    "true",
    "NaN",
    "-1",
    "0",
    "1e999",
    "-0",
    "4294967296",
    "18446744073709551616",
    "1e-320",
    "\"\"",
    "[]",
    "{}",
    "[[",
    "{\"a\":",
    "\\ud83d",
    "\\u0000",
    "\u{feff}",
    "\u{202e}",
    "\u{0}",
    "\u{1b}[2J",
    "\r",
    "\n",
    "\t",
    ",",
    ":",
    "\"",
    "\\",
    "'",
    "&a",
    "*a",
    "<<: *a",
    "!!binary ",
    "- ",
    "? ",
    "|",
    "{{",
    "}}",
    "{%",
    "%}",
    "{% for m in messages %}",
    "{% endfor %}",
    "{% macro f() %}",
    "| tojson",
    "~ ",
    "[::-1]",
    "**",
    "999999999",
];

/// A changed copy of `input`; parts of `other` may stand in it.
pub(crate) fn mutate(input: &[u8], other: &[u8], random: &mut impl Rng) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..random.random_range(1..=4) {
        change(&mut bytes, other, random);
    }
    bytes
}

fn change(bytes: &mut Vec<u8>, other: &[u8], random: &mut impl Rng) {
    let at = random.random_range(0..=bytes.len());
    match random.random_range(0..9) {
        0 => flip(bytes, random),
        1 => {
            let range = part(bytes.len(), random);
            bytes.drain(range);
        }
        2 => {
            let copy = bytes[part(bytes.len(), random)].to_vec();
            bytes.splice(at..at, copy);
        }
        3 => {
            let piece = other[part(other.len(), random)].to_vec();
            bytes.splice(at..at, piece);
        }
        4 => {
            let word = WORDS[random.random_range(0..WORDS.len())];
            bytes.splice(at..at, word.bytes());
        }
        5 => replace_token(bytes, random),
        6 => {
            let copy = bytes[part(bytes.len(), random)].to_vec();
            let times = random.random_range(2..200);
            bytes.splice(at..at, copy.repeat(times.min(1 + (1 << 18) / (copy.len() + 1))));
        }
        7 => bytes.truncate(at),
        _ => {
            let noise: Vec<u8> = (0..random.random_range(1..8)).map(|_| random.random()).collect();
            bytes.splice(at..at, noise);
        }
    }
}

fn flip(bytes: &mut [u8], random: &mut impl Rng) {
    if !bytes.is_empty() {
        let at = random.random_range(0..bytes.len());
        bytes[at] ^= 1 << random.random_range(0..8);
    }
}

/// A short part as a rule, sometimes any.
fn part(length: usize, random: &mut impl Rng) -> std::ops::Range<usize> {
    let from = random.random_range(0..=length);
    let most = if random.random_bool(0.8) { 32.min(length - from) } else { length - from };
    from..from + random.random_range(0..=most)
}

/// A number or a word gives way to one that is hard to take.
fn replace_token(bytes: &mut Vec<u8>, random: &mut impl Rng) {
    let start = random.random_range(0..=bytes.len());
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._".contains(byte);
    let Some(from) = bytes[start..].iter().position(is_word) else {
        return;
    };
    let from = start + from;
    let length = bytes[from..].iter().take_while(|byte| is_word(byte)).count();
    let word = WORDS[random.random_range(0..WORDS.len())];
    bytes.splice(from..from + length, word.bytes());
}
