//! Which types the operations take and give.

use burn::tensor::DType;
#[cfg(feature = "cube")]
use burn::{backend::fusion::custom::TensorSpec, tensor::Shape};

/// Panics if there is neither a kernel nor a composition for this type.
pub(crate) fn assert_supported(operation: &str, dtype: DType) {
    assert!(
        matches!(dtype, DType::F32 | DType::F64 | DType::F16 | DType::BF16),
        "{operation}: expected f32, f64, f16 or bf16, got {dtype:?}"
    );
}

/// The type of what is made of inputs of `dtype`.
pub(crate) fn output_dtype(dtype: DType) -> DType {
    match dtype {
        DType::F64 => DType::F64,
        _ => DType::F32,
    }
}

/// The outputs of an operation on inputs of `dtype` that makes one number per row, `[tokens]`, and keeps some statistics
/// of it, `[tokens, statistics]`.
#[cfg(feature = "cube")]
pub(crate) fn rows_and_statistics(tokens: usize, statistics: usize, dtype: DType) -> (TensorSpec, TensorSpec) {
    let dtype = output_dtype(dtype);
    (TensorSpec::new(Shape::new([tokens]), dtype), TensorSpec::new(Shape::new([tokens, statistics]), dtype))
}
