//! The plain composition.

use burn::tensor::Tensor;

use super::RotaryTables;

pub(super) fn rotary_embedding(x: Tensor<2>, tables: &RotaryTables) -> Tensor<2> {
    let ([tokens, width], dtype) = (x.dims(), x.dtype());
    let x = if dtype.size() < tables.cos.dtype().size() { x.cast(tables.cos.dtype()) } else { x };
    let half = tables.cos.dims()[1];
    let heads = width / (2 * half);
    let x: Tensor<4> = x.reshape([tokens, heads, 2, half]);
    let (a, b) = (x.clone().narrow(2, 0, 1), x.narrow(2, 1, 1));
    let (cos, sin) =
        (tables.cos.clone().reshape([tokens, 1, 1, half]), tables.sin.clone().reshape([tokens, 1, 1, half]));
    let rotated = Tensor::cat(vec![a.clone() * cos.clone() - b.clone() * sin.clone(), b * cos + a * sin], 2);
    rotated.reshape([tokens, width]).cast(dtype)
}

#[cfg(test)]
impl RotaryTables {
    pub(super) fn cast(self, dtype: burn::tensor::DType) -> Self {
        Self { cos: self.cos.cast(dtype), sin: self.sin.cast(dtype) }
    }
}
