//! Relative positions: every head adds a number to a score that depends on how far the key is from its query.

use burn::tensor::{DType, Tensor};
use mpo_kernels::{DistanceBias, PackedLayout};

use crate::EncoderConfig;
use crate::batch::Side;
use crate::decoder::select_rows;

/// The numbers of all distances in a layout, from a `table` `[buckets, heads]`.
pub(super) fn distance_bias(
    table: &Tensor<2>,
    layout: &PackedLayout,
    side: Side,
    config: &EncoderConfig,
) -> DistanceBias {
    let [before, behind] = layout.reach();
    let distances = -(before as i64)..=behind as i64;
    let buckets: Vec<usize> = distances.map(|distance| bucket(distance, side, config)).collect();
    DistanceBias { values: select_rows(table, &buckets).cast(DType::F32).transpose(), zero: before }
}

/// The bucket of a distance, that of the key minus that of the query. Near ones have one each, those further away share one
/// with more and more others, and an encoder has half of them for what is behind.
fn bucket(distance: i64, side: Side, config: &EncoderConfig) -> usize {
    let (buckets, first, far) = match side {
        Side::Encoder if distance > 0 => (config.buckets / 2, config.buckets / 2, distance),
        Side::Encoder => (config.buckets / 2, 0, -distance),
        Side::Decoder => (config.buckets, 0, (-distance).max(0)),
    };
    let exact = buckets / 2;
    let far = far as usize;
    if far < exact {
        return first + far;
    }
    // In f32, as Transformers computes it: a distance at the edge of two buckets may fall into either.
    let octaves = (far as f32 / exact as f32).ln() / (config.max_distance as f64 / exact as f64).ln() as f32;
    first + (exact + (octaves * (buckets - exact) as f32) as usize).min(buckets - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(buckets: usize, max_distance: usize) -> EncoderConfig {
        EncoderConfig { num_layers: 1, buckets, max_distance, gated: true, start_token_id: 0 }
    }

    /// Runs of equal buckets: each bucket, and the least distance that has it, by `T5Attention._relative_position_bucket`.
    fn runs(side: Side, config: &EncoderConfig, distances: std::ops::RangeInclusive<i64>) -> Vec<(i64, usize)> {
        let mut runs: Vec<(i64, usize)> = vec![];
        for distance in distances {
            let of = bucket(distance, side, config);
            if runs.last().is_none_or(|(_, last)| *last != of) {
                runs.push((distance, of));
            }
        }
        runs
    }

    /// Of a stack, buckets and the longest distance that they tell apart, over distances from −200 to 200.
    type Golden = (Side, (usize, usize), &'static [(i64, usize)]);

    /// Made with Transformers 5.24.
    const GOLDEN: [Golden; 4] = [
        (
            Side::Encoder,
            (32, 128),
            &[
                (-200, 15),
                (-90, 14),
                (-63, 13),
                (-45, 12),
                (-31, 11),
                (-22, 10),
                (-15, 9),
                (-11, 8),
                (-7, 7),
                (-6, 6),
                (-5, 5),
                (-4, 4),
                (-3, 3),
                (-2, 2),
                (-1, 1),
                (0, 0),
                (1, 17),
                (2, 18),
                (3, 19),
                (4, 20),
                (5, 21),
                (6, 22),
                (7, 23),
                (8, 24),
                (12, 25),
                (16, 26),
                (23, 27),
                (32, 28),
                (46, 29),
                (64, 30),
                (91, 31),
            ],
        ),
        (
            Side::Decoder,
            (32, 128),
            &[
                (-200, 31),
                (-112, 30),
                (-98, 29),
                (-86, 28),
                (-76, 27),
                (-66, 26),
                (-58, 25),
                (-51, 24),
                (-45, 23),
                (-39, 22),
                (-34, 21),
                (-30, 20),
                (-26, 19),
                (-23, 18),
                (-20, 17),
                (-18, 16),
                (-15, 15),
                (-14, 14),
                (-13, 13),
                (-12, 12),
                (-11, 11),
                (-10, 10),
                (-9, 9),
                (-8, 8),
                (-7, 7),
                (-6, 6),
                (-5, 5),
                (-4, 4),
                (-3, 3),
                (-2, 2),
                (-1, 1),
                (0, 0),
            ],
        ),
        (Side::Encoder, (8, 20), &[(-200, 3), (-6, 2), (-1, 1), (0, 0), (1, 5), (2, 6), (7, 7)]),
        (
            Side::Decoder,
            (12, 50),
            &[
                (-200, 11),
                (-35, 10),
                (-24, 9),
                (-17, 8),
                (-12, 7),
                (-8, 6),
                (-5, 5),
                (-4, 4),
                (-3, 3),
                (-2, 2),
                (-1, 1),
                (0, 0),
            ],
        ),
    ];

    #[test]
    fn buckets_are_those_of_transformers() {
        for (side, (buckets, max_distance), expected) in GOLDEN {
            assert_eq!(runs(side, &config(buckets, max_distance), -200..=200), *expected, "{side:?} {buckets}");
        }
    }

    #[test]
    fn near_and_far_by_hand() {
        let config = config(32, 128);
        let both = |distance| [Side::Encoder, Side::Decoder].map(|side| bucket(distance, side, &config));
        assert_eq!(both(0), [0, 0]);
        // One half is for what is behind, which a decoder does not see.
        assert_eq!((both(1)[0], both(-1)[0], both(-1)[1], both(-15)[1]), (17, 1, 1, 15));
        // The last bucket of each half, from the longest distance on.
        assert_eq!((both(-127)[0], both(128)[0], both(-128)[1], both(-100_000)[1]), (15, 31, 31, 31));
    }
}
