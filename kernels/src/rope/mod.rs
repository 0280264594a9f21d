//! Rotary position embeddings (Su et al., 2021), half-split as in Hugging Face checkpoints.

mod autodiff;
#[cfg(feature = "cube")]
mod cube;
pub(crate) mod kernel;
#[cfg(feature = "flex")]
mod native;
mod reference;

use burn::backend::Dispatch;
use burn::tensor::{DType, Device, Tensor, TensorData};

/// cos and sin of every token's angles, both `[tokens, head_dim / 2]`.
#[derive(Debug, Clone)]
pub struct RotaryTables {
    cos: Tensor<2>,
    sin: Tensor<2>,
}

impl RotaryTables {
    /// The tables for tokens at `positions`, with the architecture's inverse frequencies (`[head_dim / 2]`).
    ///
    /// They are f32 whatever is to be rotated. Angles are products in f32, as Transformers makes them.
    pub fn new(positions: &[u32], inverse_frequencies: &[f32], device: &Device) -> Self {
        let angles = || positions.iter().flat_map(|&p| inverse_frequencies.iter().map(move |f| p as f32 * f));
        let shape = [positions.len(), inverse_frequencies.len()];
        let table = |values: Vec<f32>| Tensor::from_data(TensorData::new(values, shape), device);
        Self { cos: table(angles().map(f32::cos).collect()), sin: table(angles().map(f32::sin).collect()) }
    }

    /// The same, in the same memory, for what is on the device with autodiff.
    #[must_use]
    pub fn autodiff(self) -> Self {
        Self { cos: self.cos.autodiff(), sin: self.sin.autodiff() }
    }

    /// Tables that lengthen what they rotate by `factor`, as YaRN does to sharpen attention.
    #[must_use]
    pub fn scaled(self, factor: f32) -> Self {
        if factor == 1.0 {
            return self;
        }
        Self { cos: self.cos.mul_scalar(factor), sin: self.sin.mul_scalar(factor) }
    }
}

/// Rotates every head of `x` `[tokens, heads · head_dim]` by its token's angles; `(a, b) → (a cos − b sin, b cos + a sin)`
/// for the two halves of a head, in f32 and then in the type of `x`. Differentiable in `x`.
///
/// # Panics
/// If the tables are for other tokens, or the heads not all of their width.
pub fn rotary_embedding(x: Tensor<2>, tables: &RotaryTables) -> Tensor<2> {
    let ([tokens, width], [rows, half]) = (x.dims(), tables.cos.dims());
    assert!(
        tokens == rows && half > 0 && width.is_multiple_of(2 * half),
        "rotary_embedding: x {:?} must be [tokens, heads · {}] for tables of {rows} tokens",
        x.dims(),
        2 * half
    );
    if crate::device::has_kernel(&x) {
        return Tensor::from_dispatch(<Dispatch as kernel::RopeKernel>::rope(
            x.into_dispatch(),
            tables.cos.clone().into_dispatch(),
            tables.sin.clone().into_dispatch(),
            kernel::Direction::Forward,
        ));
    }
    if crate::device::is_native_once_wide(&x) {
        let dtype = x.dtype();
        return rotary_embedding(x.cast(DType::F32), tables).cast(dtype);
    }
    reference::rotary_embedding(x, tables)
}

#[cfg(test)]
mod tests {
    use super::{RotaryTables, reference, rotary_embedding};
    use crate::testing::{check_gradients, check_kernel, everywhere, random};

    fn tables(tokens: u32, half: usize, device: &burn::tensor::Device) -> RotaryTables {
        let positions: Vec<u32> = (0..tokens).map(|p| p * 3).collect();
        let frequencies: Vec<f32> = (0..half).map(|i| 1.0 / (1.0 + i as f32)).collect();
        RotaryTables::new(&positions, &frequencies, device)
    }

    #[test]
    fn scaled_tables_rotate_and_lengthen() {
        let device = burn::tensor::Device::flex();
        let tables = RotaryTables::new(&[1], &[std::f32::consts::FRAC_PI_2], &device).scaled(2.0);
        let x = burn::tensor::Tensor::<2>::from_data([[3.0, 4.0]], &device);
        let got = rotary_embedding(x, &tables).into_data().try_to_vec::<f32>().unwrap();
        assert!((got[0] + 8.0).abs() < 1e-5 && (got[1] - 6.0).abs() < 1e-5, "{got:?}");
    }

    #[test]
    fn a_quarter_turn_by_hand() {
        let device = burn::tensor::Device::flex();
        let tables = RotaryTables::new(&[1], &[std::f32::consts::FRAC_PI_2], &device);
        let x = burn::tensor::Tensor::<2>::from_data([[3.0, 4.0, 5.0, 6.0]], &device);
        let got = rotary_embedding(x, &tables).into_data().try_to_vec::<f32>().unwrap();
        for (got, want) in got.iter().zip([-4.0, 3.0, -6.0, 5.0]) {
            assert!((got - want).abs() < 1e-5, "{got} {want}");
        }
    }

    #[test]
    fn no_worse_than_the_composition() {
        for (tokens, heads, half) in [(1, 1, 1), (3, 2, 5), (31, 3, 16)] {
            check_kernel(
                &everywhere(),
                &[random(&[tokens, heads * half * 2], 1)],
                |t| rotary_embedding(t[0].d2(), &tables(tokens as u32, half, &t[0].device())),
                |t| {
                    reference::rotary_embedding(
                        t[0].d2(),
                        &tables(tokens as u32, half, &t[0].device()).cast(t[0].dtype()),
                    )
                },
            );
        }
    }

    #[test]
    fn reference_gradient_is_the_finite_difference() {
        check_gradients(&[random(&[3, 8], 3)], |t| {
            reference::rotary_embedding(t[0].d2(), &tables(3, 2, &t[0].device()).cast(t[0].dtype()))
        });
    }
}
