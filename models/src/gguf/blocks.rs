//! Blocks of numbers that share scales, as ggml stores them: unpacked to f32, and packed where a type is written.
//!
//! Source: `ggml-quants.c` of llama.cpp, and its Python twin `gguf.quants`, with which the tests compare to the bit.

use half::{bf16, f16};

use super::types::TensorType;

/// Appends the numbers of whole blocks.
pub(super) fn decode(of: TensorType, bytes: &[u8], values: &mut Vec<f32>) {
    match of {
        TensorType::F32 => values.extend(bytes.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes))),
        TensorType::F16 => values.extend(bytes.as_chunks().0.iter().map(|&bytes| f16::from_le_bytes(bytes).to_f32())),
        TensorType::BF16 => values.extend(bytes.as_chunks().0.iter().map(|&bytes| bf16::from_le_bytes(bytes).to_f32())),
        TensorType::Q4_0 => bytes.as_chunks().0.iter().for_each(|block| q4_0(block, values)),
        TensorType::Q5_0 => bytes.as_chunks().0.iter().for_each(|block| q5_0(block, values)),
        TensorType::Q8_0 => bytes.as_chunks().0.iter().for_each(|block| q8_0(block, values)),
        TensorType::Q4K => bytes.as_chunks().0.iter().for_each(|block| q4_k(block, values)),
        TensorType::Q5K => bytes.as_chunks().0.iter().for_each(|block| q5_k(block, values)),
        TensorType::Q6K => bytes.as_chunks().0.iter().for_each(|block| q6_k(block, values)),
    }
}

/// Appends the blocks of finite numbers, or says which number would become infinite.
pub(super) fn encode(of: TensorType, values: &[f32], bytes: &mut Vec<u8>) -> Result<(), f32> {
    match of {
        TensorType::F32 => bytes.extend(values.iter().flat_map(|value| value.to_le_bytes())),
        TensorType::BF16 => bytes.extend(values.iter().flat_map(|&value| bf16::from_f32(value).to_le_bytes())),
        TensorType::F16 => {
            for &value in values {
                bytes.extend(finite(value, value)?.to_le_bytes());
            }
        }
        TensorType::Q8_0 => {
            for block in values.as_chunks::<32>().0 {
                pack_q8_0(block, bytes)?;
            }
        }
        TensorType::Q4_0 | TensorType::Q5_0 | TensorType::Q4K | TensorType::Q5K | TensorType::Q6K => {
            unreachable!("these types are not written")
        }
    }
    Ok(())
}

fn scale(low: u8, high: u8) -> f32 {
    f16::from_le_bytes([low, high]).to_f32()
}

/// A number in f16, or the number `of` which it was made, if it would be infinite.
fn finite(value: f32, of: f32) -> Result<f16, f32> {
    let half = f16::from_f32(value);
    if half.is_finite() { Ok(half) } else { Err(of) }
}

/// The largest number becomes 127.
fn pack_q8_0(block: &[f32; 32], bytes: &mut Vec<u8>) -> Result<(), f32> {
    let largest = block.iter().fold(0f32, |largest, value| largest.max(value.abs()));
    let step = largest / 127.0;
    let steps = if step == 0.0 { 0.0 } else { 1.0 / step };
    bytes.extend(finite(step, largest)?.to_le_bytes());
    bytes.extend(block.iter().flat_map(|value| ((value * steps).round() as i8).to_le_bytes()));
    Ok(())
}

fn q8_0(block: &[u8; 34], values: &mut Vec<f32>) {
    let [low, high, codes @ ..] = block;
    let step = scale(*low, *high);
    values.extend(codes.iter().map(|&code| f32::from(code as i8) * step));
}

/// The lower halves of the bytes are the first sixteen numbers.
fn q4_0(block: &[u8; 18], values: &mut Vec<f32>) {
    let [low, high, codes @ ..] = block;
    let step = scale(*low, *high);
    let number = |code: u8| f32::from(code as i8 - 8) * step;
    values.extend(codes.iter().map(|code| number(code & 15)));
    values.extend(codes.iter().map(|code| number(code >> 4)));
}

/// The same, and the highest bit of each number in a word of their own.
fn q5_0(block: &[u8; 22], values: &mut Vec<f32>) {
    let [low, high, rest @ ..] = block;
    let step = scale(*low, *high);
    let (bits, codes) = rest.split_at(4);
    let number = |code: u8, at: usize| f32::from((code | (bits[at / 8] >> (at % 8) & 1) << 4) as i8 - 16) * step;
    values.extend(codes.iter().enumerate().map(|(at, code)| number(code & 15, at)));
    values.extend(codes.iter().enumerate().map(|(at, code)| number(code >> 4, at + 16)));
}

fn q4_k(block: &[u8; 144], values: &mut Vec<f32>) {
    let (head, codes) = block.split_at(16);
    k_runs(head, codes, |_, _| 0, values);
}

/// The highest bits of the number `at` of all runs lie in one byte.
fn q5_k(block: &[u8; 176], values: &mut Vec<f32>) {
    let (head, rest) = block.split_at(16);
    let (bits, codes) = rest.split_at(32);
    k_runs(head, codes, |run, at| (bits[at] >> run & 1) << 4, values);
}

/// Eight runs of 32 numbers, two in the halves of the same bytes, each with its own scale and least number. `high` gives the
/// bits of a number that are not in its half.
fn k_runs(head: &[u8], codes: &[u8], high: impl Fn(usize, usize) -> u8, values: &mut Vec<f32>) {
    let (step, least, scales) = (scale(head[0], head[1]), scale(head[2], head[3]), &head[4..]);
    // The upper two bits of the first eight bytes belong to the last four scales and least numbers.
    let part = |run: usize| match run {
        0..4 => (scales[run] & 63, scales[run + 4] & 63),
        _ => {
            let both = scales[run + 4];
            ((both & 15) | (scales[run - 4] >> 6 << 4), (both >> 4) | (scales[run] >> 6 << 4))
        }
    };
    for (pair, codes) in codes.chunks_exact(32).enumerate() {
        for (run, shift) in [(2 * pair, 0), (2 * pair + 1, 4)] {
            let (scale, offset) = part(run);
            let (step, least) = (step * f32::from(scale), least * f32::from(offset));
            let number = |(at, code): (usize, &u8)| step * f32::from((code >> shift & 15) | high(run, at)) - least;
            values.extend(codes.iter().enumerate().map(number));
        }
    }
}

fn q6_k(block: &[u8; 210], values: &mut Vec<f32>) {
    let (low, rest) = block.split_at(128);
    let (high, rest) = rest.split_at(64);
    let (scales, step) = rest.split_at(16);
    let step = scale(step[0], step[1]);
    // Two halves of 128 numbers; each has four runs of 32, whose upper two bits lie in the same bytes.
    for half in 0..2 {
        let (low, high) = (&low[64 * half..], &high[32 * half..]);
        for run in 0..4 {
            let (low, shift) = (&low[32 * (run % 2)..], 4 * (run / 2));
            for at in 0..32 {
                let code = (low[at] >> shift & 15) | (high[at] >> (2 * run) & 3) << 4;
                let scale = scales[8 * half + 2 * run + at / 16] as i8;
                values.push(step * f32::from(scale) * f32::from(code as i8 - 32));
            }
        }
    }
}
