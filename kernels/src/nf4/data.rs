//! The format, byte for byte that of bitsandbytes, so that its checkpoints are read as they are: blocks of 64 along the
//! flattened weights, each with its largest absolute value, and of every weight the nearest of sixteen fractions of that.

/// Weights that share a scale.
pub(super) const BLOCK: usize = 64;

/// Scales that share a scale of theirs, where they are quantized too.
pub(super) const SCALE_BLOCK: usize = 256;

/// What a code stands for, as a fraction of its block's scale: quantiles of a normal distribution, with 0, −1 and 1 among
/// them (Dettmers et al., 2023, QLoRA, arXiv:2305.14314, appendix E).
pub static CODEBOOK: [f32; 16] = [
    -1.0,
    -0.696_192_8,
    -0.525_073_05,
    -0.394_917_5,
    -0.284_441_38,
    -0.184_773_43,
    -0.091_050_036,
    0.0,
    0.079_580_3,
    0.160_930_2,
    0.246_112_3,
    0.337_915_24,
    0.440_709_83,
    0.562_617,
    0.722_956_84,
    1.0,
];

/// Numbers in NF4.
#[derive(Debug, Clone, PartialEq)]
pub struct Nf4Data {
    /// Two codes a byte, the first in the high half.
    pub codes: Vec<u8>,
    /// What the fractions are multiplied by.
    pub scales: Nf4Scales,
}

/// The scale of each block.
#[derive(Debug, Clone, PartialEq)]
pub enum Nf4Scales {
    /// As they are.
    Single(Vec<f32>),
    /// Quantized in their turn (double quantization): `map[code] · absmax + offset`.
    Double {
        /// One a block.
        codes: Vec<u8>,
        /// One for each 256 blocks.
        absmax: Vec<f32>,
        /// What a code stands for.
        map: Box<[f32; 256]>,
        /// The mean of all scales.
        offset: f32,
    },
}

impl Nf4Data {
    /// Weights in row-major order, quantized as bitsandbytes does it on the CPU; with `double`, their scales too.
    pub fn quantize(weights: &[f32], double: bool) -> Self {
        let mut codes = Vec::with_capacity(weights.len().div_ceil(2));
        let mut scales = Vec::with_capacity(weights.len().div_ceil(BLOCK));
        let bounds = std::array::from_fn(|code: usize| (CODEBOOK[code] + CODEBOOK[code + 1]) / 2.0);
        for block in weights.chunks(BLOCK) {
            let (scale, of) = quantize_block(block, &bounds);
            scales.push(scale);
            let (pairs, _) = of[..block.len().next_multiple_of(2)].as_chunks::<2>();
            codes.extend(pairs.iter().map(|[first, second]| first << 4 | second));
        }
        let scales = if double { Nf4Scales::double(&scales) } else { Nf4Scales::Single(scales) };
        Self { codes, scales }
    }

    /// So many numbers again, in f32.
    pub fn values(&self, count: usize) -> Vec<f32> {
        let scales = self.scales.values();
        let code = |at: usize| self.codes[at / 2] >> (4 * (1 - at % 2)) & 15;
        (0..count).map(|at| CODEBOOK[usize::from(code(at))] * scales[at / BLOCK]).collect()
    }
}

/// The scale of up to [`BLOCK`] weights and their codes; 0 is filled up with code 7 (the fraction 0).
fn quantize_block(block: &[f32], bounds: &[f32; 15]) -> (f32, [u8; BLOCK]) {
    // A scale is never divided by where it is less.
    const LEAST: f32 = 1e-38;
    let mut fractions = [0.0; BLOCK];
    fractions[..block.len()].copy_from_slice(block);
    // Written so that a NaN stays one.
    let larger = |most: f32, x: &f32| if x.abs() <= most || most.is_nan() { most } else { x.abs() };
    let mut scale = fractions.iter().fold(0.0, larger);
    if block.len() == BLOCK {
        let inverse = 1.0 / if scale < LEAST { LEAST } else { scale };
        fractions.iter_mut().for_each(|x| *x = (*x * inverse).clamp(-1.0, 1.0));
    } else {
        // bitsandbytes treats a short last block in another way.
        scale = if scale < LEAST { LEAST } else { scale };
        fractions.iter_mut().for_each(|x| *x = (*x / scale).clamp(-1.0, 1.0));
    }
    let mut codes = [0; BLOCK];
    for bound in bounds {
        for (code, fraction) in codes.iter_mut().zip(&fractions) {
            *code += u8::from(fraction > bound);
        }
    }
    (scale, codes)
}

impl Nf4Scales {
    /// How many there are.
    pub(super) fn count(&self) -> usize {
        match self {
            Self::Single(scales) => scales.len(),
            Self::Double { codes, .. } => codes.len(),
        }
    }

    /// All of them in f32.
    pub fn values(&self) -> Vec<f32> {
        match self {
            Self::Single(scales) => scales.clone(),
            Self::Double { codes, absmax, map, offset } => {
                let of = |(at, &code): (usize, &u8)| map[usize::from(code)] * absmax[at / SCALE_BLOCK] + offset;
                codes.iter().enumerate().map(of).collect()
            }
        }
    }

    /// Scales, quantized around their mean.
    fn double(scales: &[f32]) -> Self {
        let mean = scales.iter().map(|&scale| f64::from(scale)).sum::<f64>() / scales.len().max(1) as f64;
        Self::double_around(scales, mean as f32)
    }

    fn double_around(scales: &[f32], offset: f32) -> Self {
        let map = dynamic_map();
        let nearest = bins(&map);
        let (mut codes, mut absmax) = (Vec::with_capacity(scales.len()), vec![]);
        for block in scales.chunks(SCALE_BLOCK) {
            let shifted: Vec<f32> = block.iter().map(|scale| scale - offset).collect();
            let largest = shifted.iter().map(|x| x.abs()).fold(0.0, f32::max);
            let inverse = 1.0 / largest;
            // Where all are the same there is no number, which the first code stands for: 0 times whatever it is.
            let bin = |x: &f32| ((x * inverse + 1.0) * 0.5 * LAST_BIN + 0.5) as usize;
            codes.extend(shifted.iter().map(|x| nearest[bin(x).min(nearest.len() - 1)]));
            absmax.push(largest);
        }
        Self::Double { codes, absmax, map: Box::new(map), offset }
    }
}

/// bitsandbytes rounds fractions of ±1 to so many steps before it looks for the nearest number of its map.
const LAST_BIN: f32 = 65_535.0;

/// The nearest number of the map for each bin.
fn bins(map: &[f32; 256]) -> Vec<u8> {
    let mut code = 0;
    let of = |bin: u32| {
        let middle = (f64::from(bin) * 2.0 / f64::from(LAST_BIN) - 1.0) as f32;
        while let Some(next) = map.get(code + 1).filter(|&next| (next - middle).abs() < (map[code] - middle).abs()) {
            debug_assert!(map[code] < *next);
            code += 1;
        }
        code as u8
    };
    (0..=LAST_BIN as u32).map(of).collect()
}

/// bitsandbytes' map of 8 bits: in each decade down to 10⁻⁶ half as many numbers as in the one above (Dettmers, 2016,
/// arXiv:1511.04561), with the roundings of PyTorch, whose `linspace` goes from both ends to the middle.
fn dynamic_map() -> [f32; 256] {
    let mut map = vec![0.0, 1.0];
    for decade in 0..7 {
        let count: usize = 1 << decade;
        let step = (1.0 - 0.1) / count as f32;
        let boundary = |at: usize| {
            let from_below = at < count.div_ceil(2);
            if from_below { step.mul_add(at as f32, 0.1) } else { (-step).mul_add((count - at) as f32, 1.0) }
        };
        for at in 0..count {
            let mean = (boundary(at) + boundary(at + 1)) / 2.0;
            let number = 10f64.powi(decade - 6) as f32 * mean;
            map.extend([number, -number]);
        }
    }
    map.sort_by(f32::total_cmp);
    map.try_into().expect("2 + 2 · (1 + 2 + … + 64) numbers")
}
