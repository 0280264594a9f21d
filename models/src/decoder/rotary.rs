//! Queries and keys rotated as a layer's rotary embedding says.
//!
//! The kernel rotates whole heads, a number of the first half with its counterpart of the second. Other heads are brought into
//! that order and stay in it: a score is a sum over the numbers of a head, and queries and keys have the same order.

use burn::tensor::Tensor;
use mpo_kernels::{RotaryTables, rotary_embedding};

use crate::{RopeConfig, RopePairs};

/// Every head of `x` `[tokens, heads · head_dim]` rotated by its token's angles.
pub(super) fn rotated(x: Tensor<2>, head_dim: usize, rope: &RopeConfig, tables: &RotaryTables) -> Tensor<2> {
    let [tokens, width] = x.dims();
    let heads = width / head_dim;
    if rope.width == head_dim {
        return rotary_embedding(in_halves(x, heads, rope), tables);
    }
    let x: Tensor<3> = x.reshape([tokens, heads, head_dim]);
    let (turning, rest) = (x.clone().narrow(2, 0, rope.width), x.narrow(2, rope.width, head_dim - rope.width));
    let turning = in_halves(turning.reshape([tokens, heads * rope.width]), heads, rope);
    let turned = rotary_embedding(turning, tables).reshape([tokens, heads, rope.width]);
    Tensor::cat(vec![turned, rest], 2).reshape([tokens, width])
}

/// Numbers that are rotated together, one in each half of its head.
fn in_halves(x: Tensor<2>, heads: usize, rope: &RopeConfig) -> Tensor<2> {
    match rope.pairs {
        RopePairs::Halves => x,
        RopePairs::Neighbours => {
            let [tokens, width] = x.dims();
            let pairs: Tensor<4> = x.reshape([tokens, heads, width / heads / 2, 2]);
            pairs.swap_dims(2, 3).reshape([tokens, width])
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::RopeScaling;

    /// A quarter turn takes (a, b) to (−b, a).
    fn quarter_turn(width: usize, pairs: RopePairs) -> Vec<f32> {
        let device = Device::flex();
        let rope = RopeConfig { theta: 1e4, scaling: RopeScaling::None, width, pairs };
        let tables = RotaryTables::new(&[1], &vec![std::f32::consts::FRAC_PI_2; width / 2], &device);
        let x = Tensor::<2>::from_data([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]], &device);
        let out = rotated(x, 4, &rope, &tables).into_data().try_to_vec::<f32>().unwrap();
        out.into_iter().map(f32::round).collect()
    }

    #[test]
    fn two_heads_of_four_by_hand() {
        assert_eq!(quarter_turn(4, RopePairs::Halves), [-3.0, -4.0, 1.0, 2.0, -7.0, -8.0, 5.0, 6.0]);
        // Pairs (1, 2) and (3, 4) become (−2, 1) and (−4, 3): first numbers of pairs, then second ones.
        assert_eq!(quarter_turn(4, RopePairs::Neighbours), [-2.0, -4.0, 1.0, 3.0, -6.0, -8.0, 5.0, 7.0]);
        assert_eq!(quarter_turn(2, RopePairs::Halves), [-2.0, 1.0, 3.0, 4.0, -6.0, 5.0, 7.0, 8.0]);
        assert_eq!(quarter_turn(2, RopePairs::Neighbours), [-2.0, 1.0, 3.0, 4.0, -6.0, 5.0, 7.0, 8.0]);
    }
}
