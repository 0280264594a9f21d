//! Which types the operations take and give.

use burn::tensor::DType;
#[cfg(feature = "cube")]
use burn::{backend::fusion::custom::TensorSpec, tensor::Shape};

#[cfg(feature = "cube")]
use super::head::Wanted;

/// Panics if there is neither a kernel nor a composition for this type.
pub(crate) fn assert_supported(operation: &str, dtype: DType) {
    assert!(
        matches!(dtype, DType::F32 | DType::F64 | DType::F16 | DType::BF16),
        "{operation}: expected f32, f64, f16 or bf16, got {dtype:?}"
    );
}

/// Panics unless hidden states of the one type can be multiplied with a head of the other.
pub(crate) fn assert_together(operation: &str, hidden: DType, head: DType) {
    assert_supported(operation, hidden);
    assert_supported(operation, head);
    assert!(
        (hidden == DType::F64) == (head == DType::F64),
        "{operation}: expected hidden and head to be both f64 or neither, got {hidden:?} and {head:?}"
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

/// The gradients of hidden states and of a head, those that are wanted.
#[cfg(feature = "cube")]
pub(crate) fn gradients_of_head(hidden: &TensorSpec, head: &TensorSpec, wanted: Wanted) -> (TensorSpec, TensorSpec) {
    let of = |like: &TensorSpec, wanted| {
        if wanted { like.clone() } else { TensorSpec::new(Shape::new([0, like.shape[1]]), like.dtype) }
    };
    (of(hidden, wanted.hidden), of(head, wanted.head))
}
