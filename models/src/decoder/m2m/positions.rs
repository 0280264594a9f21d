//! What a token's embedding is given of its position.

/// Sines and cosines of positions, `[positions, width]` in row-major order. They are counted from the number after the padding
/// token's, and computed in f32, as in Transformers.
pub(super) fn sinusoids(positions: &[u32], width: usize, padding: u32) -> Vec<f32> {
    let half = width / 2;
    let step = -(10_000f64.ln() / (half - 1) as f64) as f32;
    let frequencies: Vec<f32> = (0..half).map(|index| (index as f32 * step).exp()).collect();
    let of = |&position: &u32| {
        let position = (position + padding + 1) as f32;
        let angles = frequencies.iter().map(move |frequency| position * frequency);
        angles.clone().map(f32::sin).chain(angles.map(f32::cos))
    };
    positions.iter().flat_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sines_stand_before_cosines_and_positions_follow_the_padding_token() {
        // Four numbers: frequencies 1 and 1/10000. The first position after padding token 1 is 2.
        let got = sinusoids(&[0, 3], 4, 1);
        let expected = [2f64, 5.0].into_iter().flat_map(|at| [at.sin(), (at / 1e4).sin(), at.cos(), (at / 1e4).cos()]);
        for (got, expected) in got.iter().zip(expected) {
            assert!((f64::from(*got) - expected).abs() < 1e-6, "{got}, not {expected}");
        }
        assert_eq!(got.len(), 8);
    }
}
