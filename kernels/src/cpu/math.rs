//! Functions of numbers and of slices, written so that they vectorise where [`multiversion`] compiles their callers.

/// e^x to within one unit in the last place, in a form that vectorises (the C library's does not): x = n ln 2 + r,
/// a polynomial for e^r on |r| ≤ ln 2 / 2, and 2^n by exponent bits. Zero below −87.3; NaN stays NaN.
///
/// The fused multiply-adds are instructions wherever [`multiversion`] has compiled the caller for AVX2 or AVX-512, and on
/// ARM; on older processors each is a slow call.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 · 2^23: adding it leaves the nearest integer in the low mantissa bits
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    const SMALLEST: f32 = -87.336_54;
    let clamped = x.clamp(SMALLEST, 88.376_26);
    let shifted = clamped.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = n.mul_add(-LN_2_LOW, n.mul_add(-LN_2_HIGH, clamped));
    // Taylor coefficients adjusted to the interval (the classical minimax set for single precision).
    let p = 1.987_569_1e-4_f32
        .mul_add(r, 1.398_2e-3)
        .mul_add(r, 8.333_452e-3)
        .mul_add(r, 4.166_579_6e-2)
        .mul_add(r, 1.666_666_5e-1)
        .mul_add(r, 0.5);
    let power = f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
    let y = ((p * r).mul_add(r, r) + 1.0) * power;
    if x < SMALLEST { 0.0 } else { y }
}

/// tanh x through [`exp`].
#[inline(always)]
pub(crate) fn tanh(x: f32) -> f32 {
    1.0 - 2.0 / (1.0 + exp(2.0 * x))
}

/// tanh x and 1 − tanh² x. The slope is not made of the tanh: beside 1 that would lose all its digits.
#[inline(always)]
pub(crate) fn tanh_and_slope(x: f32) -> (f32, f32) {
    let e = exp(-2.0 * x.abs());
    let inverse = 1.0 / (1.0 + e);
    (((1.0 - e) * inverse).copysign(x), 4.0 * e * inverse * inverse)
}

/// Σ aᵢ·bᵢ in sixteen running sums: the compiler may not reorder a single one, and sixteen also lose less to rounding.
#[inline(always)]
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; 16];
    let (a_chunks, b_chunks) = (a.chunks_exact(16), b.chunks_exact(16));
    let tail: f32 = a_chunks.remainder().iter().zip(b_chunks.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in a_chunks.zip(b_chunks) {
        for lane in 0..16 {
            sums[lane] += x[lane] * y[lane];
        }
    }
    sums.iter().sum::<f32>() + tail
}

/// The largest element, in sixteen running maxima; NaN if there is one.
#[inline(always)]
pub(crate) fn max(values: &[f32]) -> f32 {
    // `f32::max` drops NaN; this comparison keeps it, since it is false for one on either side.
    let larger = |a: f32, b: f32| if a >= b || a.is_nan() { a } else { b };
    let mut maxima = [f32::NEG_INFINITY; 16];
    let chunks = values.chunks_exact(16);
    let tail = chunks.remainder().iter().fold(f32::NEG_INFINITY, |m, &x| larger(m, x));
    for chunk in chunks {
        for lane in 0..16 {
            maxima[lane] = larger(maxima[lane], chunk[lane]);
        }
    }
    maxima.iter().fold(tail, |m, &x| larger(m, x))
}

/// `values[i] = e^(values[i] − shift)`; returns their sum.
#[inline(always)]
pub(crate) fn exp_and_sum(values: &mut [f32], shift: f32) -> f32 {
    let mut sums = [0.0f32; 16];
    let mut chunks = values.chunks_exact_mut(16);
    for chunk in &mut chunks {
        for lane in 0..16 {
            chunk[lane] = exp(chunk[lane] - shift);
            sums[lane] += chunk[lane];
        }
    }
    let mut tail = 0.0;
    for value in chunks.into_remainder() {
        *value = exp(*value - shift);
        tail += *value;
    }
    sums.iter().sum::<f32>() + tail
}

/// Σ e^(values[i] − shift).
#[inline(always)]
pub(crate) fn exp_sum(values: &[f32], shift: f32) -> f32 {
    let mut sums = [0.0f32; 16];
    let chunks = values.chunks_exact(16);
    let tail: f32 = chunks.remainder().iter().map(|x| exp(x - shift)).sum();
    for chunk in chunks {
        for lane in 0..16 {
            sums[lane] += exp(chunk[lane] - shift);
        }
    }
    sums.iter().sum::<f32>() + tail
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_within_a_unit_in_the_last_place() {
        let mut worst = 0.0f64;
        for step in -870_000..880_000 {
            let x = step as f32 * 1e-4;
            let want = f64::from(x).exp();
            worst = worst.max((f64::from(exp(x)) - want).abs() / want / f64::from(f32::EPSILON));
        }
        assert!(worst < 1.0, "{worst}");
    }

    #[test]
    fn exp_of_extreme_values() {
        assert_eq!(exp(-1e30), 0.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn max_keeps_nan() {
        let mut values = vec![1.0f32; 40];
        values[3] = 7.0;
        assert_eq!(max(&values), 7.0);
        for at in [0, 20, 39] {
            let mut with_nan = values.clone();
            with_nan[at] = f32::NAN;
            assert!(max(&with_nan).is_nan(), "{at}");
        }
    }
}
