//! How a packed matrix lies in two tensors, which every device takes: words of 32 bits, and floats.

use super::data::{BLOCK, CODEBOOK, Nf4Data, Nf4Scales, SCALE_BLOCK};

/// Numbers that a map of eight bits has.
const MAP: usize = 256;

/// Where what is.
///
/// The words hold the codes, eight each, and then the codes of the scales, four each, where they have some. Bytes are in the
/// order of their places. The floats are the scales, or what theirs are, the map, and the offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Rows and columns of the matrix.
    pub(crate) shape: [usize; 2],
    /// Whether scales are quantized.
    pub(crate) double: bool,
}

impl Layout {
    pub(crate) fn elements(self) -> usize {
        self.shape[0] * self.shape[1]
    }

    fn blocks(self) -> usize {
        self.elements().div_ceil(BLOCK)
    }

    /// The first word of the codes of scales.
    pub(crate) fn scale_codes(self) -> usize {
        self.elements().div_ceil(8)
    }

    /// The first number of the map. The offset is the one behind it.
    pub(crate) fn map(self) -> usize {
        self.blocks().div_ceil(SCALE_BLOCK)
    }

    /// The offset of quantized scales.
    pub(crate) fn offset(self) -> usize {
        self.map() + MAP
    }

    /// The words and floats of `data`.
    pub(crate) fn pack(self, data: &Nf4Data) -> (Vec<u32>, Vec<f32>) {
        let (blocks, bytes) = (self.blocks(), self.elements().div_ceil(2));
        assert!(
            data.codes.len() == bytes && data.scales.count() == blocks,
            "NF4: expected {bytes} bytes of codes and {blocks} scales for {:?}, got {} and {}",
            self.shape,
            data.codes.len(),
            data.scales.count()
        );
        let mut packed: Vec<u32> = words(&data.codes).collect();
        let floats = match &data.scales {
            Nf4Scales::Single(scales) => scales.clone(),
            Nf4Scales::Double { codes, absmax, map, offset } => {
                assert_eq!(absmax.len(), self.map(), "NF4: expected a scale for each {SCALE_BLOCK} scales");
                packed.extend(words(codes));
                [&absmax[..], &map[..], &[*offset]].concat()
            }
        };
        (packed, floats)
    }
}

/// Bytes, four a word, filled up with zeros.
fn words(bytes: &[u8]) -> impl Iterator<Item = u32> {
    bytes.chunks(4).map(|bytes| {
        let mut word = [0; 4];
        word[..bytes.len()].copy_from_slice(bytes);
        u32::from_le_bytes(word)
    })
}

/// A packed matrix in the memory of the CPU.
#[derive(Clone, Copy)]
pub(crate) struct Packed<'a> {
    pub(crate) words: &'a [u32],
    pub(crate) floats: &'a [f32],
    pub(crate) layout: Layout,
}

impl Packed<'_> {
    /// The scale of a block.
    fn scale(&self, block: usize) -> f32 {
        let Layout { double, .. } = self.layout;
        if !double {
            return self.floats[block];
        }
        let code = self.words[self.layout.scale_codes() + block / 4].to_le_bytes()[block % 4];
        self.floats[self.layout.map() + usize::from(code)] * self.floats[block / SCALE_BLOCK]
            + self.floats[self.layout.offset()]
    }

    /// The numbers from `first` of the flattened matrix on.
    pub(crate) fn unpack(&self, first: usize, mut to: &mut [f32]) {
        let mut at = first;
        while !to.is_empty() {
            let block = at / BLOCK;
            let (piece, rest) = to.split_at_mut(to.len().min((block + 1) * BLOCK - at));
            self.unpack_within(at, self.scale(block), piece);
            at += piece.len();
            to = rest;
        }
    }

    /// The same of numbers of one block.
    fn unpack_within(&self, first: usize, scale: f32, to: &mut [f32]) {
        let one = |at: usize| PAIRS[usize::from(self.words[at / 8].to_le_bytes()[at % 8 / 2])][at % 2];
        let before = to.len().min(first.next_multiple_of(8) - first);
        let (head, to) = to.split_at_mut(before);
        let (words, tail) = to.as_chunks_mut::<8>();
        let (at_words, at_tail) = (first + before, first + before + 8 * words.len());
        for (at, to) in head.iter_mut().enumerate() {
            *to = one(first + at) * scale;
        }
        for (to, word) in words.iter_mut().zip(&self.words[at_words / 8..]) {
            let (pairs, _) = to.as_chunks_mut::<2>();
            for (pair, byte) in pairs.iter_mut().zip(word.to_le_bytes()) {
                let [high, low] = PAIRS[usize::from(byte)];
                *pair = [high * scale, low * scale];
            }
        }
        for (at, to) in tail.iter_mut().enumerate() {
            *to = one(at_tail + at) * scale;
        }
    }
}

/// What the two codes of a byte stand for.
static PAIRS: [[f32; 2]; 256] = {
    let mut pairs = [[0.0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        pairs[byte] = [CODEBOOK[byte >> 4], CODEBOOK[byte & 15]];
        byte += 1;
    }
    pairs
};
