//! What a tensor's numbers are stored as.

use crate::checkpoint::CheckpointError;

use super::blocks;

/// A type of tensor that is read; some are written too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TensorType {
    F32,
    F16,
    /// Blocks of 32: a scale and 4 bits a number.
    Q4_0,
    /// Blocks of 32: a scale and 5 bits a number.
    Q5_0,
    /// Blocks of 32: a scale and 8 bits a number.
    Q8_0,
    /// Blocks of 256: eight scales and eight least numbers of 6 bits, and 4 bits a number.
    Q4K,
    /// The same with 5 bits a number.
    Q5K,
    /// Blocks of 256: sixteen scales of 8 bits, and 6 bits a number.
    Q6K,
    BF16,
}

/// The names of those that are read, for errors.
pub(super) const READ: &str = "F32, F16, BF16, Q8_0, Q4_0, Q5_0, Q4_K, Q5_K or Q6_K";

/// The other types' names, by their numbers.
const OTHERS: [(u32, &str); 24] = [
    (3, "Q4_1"),
    (7, "Q5_1"),
    (9, "Q8_1"),
    (10, "Q2_K"),
    (11, "Q3_K"),
    (15, "Q8_K"),
    (16, "IQ2_XXS"),
    (17, "IQ2_XS"),
    (18, "IQ3_XXS"),
    (19, "IQ1_S"),
    (20, "IQ4_NL"),
    (21, "IQ3_S"),
    (22, "IQ2_S"),
    (23, "IQ4_XS"),
    (24, "I8"),
    (25, "I16"),
    (26, "I32"),
    (27, "I64"),
    (28, "F64"),
    (29, "IQ1_M"),
    (34, "TQ1_0"),
    (35, "TQ2_0"),
    (39, "MXFP4"),
    (40, "NVFP4"),
];

/// The name of a type that is not read.
pub(super) fn other_name(number: u32) -> String {
    let known = OTHERS.iter().find(|(other, _)| *other == number);
    known.map_or_else(|| format!("type {number}"), |(_, name)| (*name).to_owned())
}

impl TensorType {
    const ALL: [Self; 9] =
        [Self::F32, Self::F16, Self::Q4_0, Self::Q5_0, Self::Q8_0, Self::Q4K, Self::Q5K, Self::Q6K, Self::BF16];

    /// The type of this number, if it is read.
    pub(super) fn of(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|of| of.number() == number)
    }

    /// The number that stands for it in a file.
    pub(super) fn number(self) -> u32 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::Q4_0 => 2,
            Self::Q5_0 => 6,
            Self::Q8_0 => 8,
            Self::Q4K => 12,
            Self::Q5K => 13,
            Self::Q6K => 14,
            Self::BF16 => 30,
        }
    }

    /// How many numbers a block holds, and its bytes.
    pub(super) fn block(self) -> (usize, usize) {
        match self {
            Self::F32 => (1, 4),
            Self::F16 | Self::BF16 => (1, 2),
            Self::Q4_0 => (32, 2 + 16),
            Self::Q5_0 => (32, 2 + 4 + 16),
            Self::Q8_0 => (32, 2 + 32),
            Self::Q4K => (256, 2 + 2 + 12 + 128),
            Self::Q5K => (256, 2 + 2 + 12 + 32 + 128),
            Self::Q6K => (256, 128 + 64 + 16 + 2),
        }
    }

    /// The bytes of so many numbers, whole blocks; none if there are more than memory could ever hold.
    pub(super) fn bytes(self, numbers: usize) -> Option<usize> {
        let (of_block, bytes) = self.block();
        (numbers / of_block).checked_mul(bytes)
    }

    /// Appends the bytes of whole rows.
    ///
    /// # Errors
    /// If a number is NaN or infinite, or would become infinite.
    pub(super) fn encode(self, name: &str, values: &[f32], bytes: &mut Vec<u8>) -> Result<(), CheckpointError> {
        if let Some(&got) = values.iter().find(|value| !value.is_finite()) {
            return Err(CheckpointError::NotFinite { name: name.to_owned(), got });
        }
        blocks::encode(self, values, bytes).map_err(|got| CheckpointError::Overflow { name: name.to_owned(), got })
    }
}
