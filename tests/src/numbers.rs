//! Numbers of tensors, and how far they are from those of somebody else.

use burn::tensor::Tensor;

/// The numbers of a tensor in f32.
///
/// # Panics
/// If they are of another type.
pub fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().expect("a tensor in f32")
}

/// ‖ours − theirs‖ / ‖theirs‖
///
/// # Panics
/// If there are not as many of the one as of the other.
pub fn apart<T: Copy + Into<f64>>(ours: &[T], theirs: &[T]) -> f64 {
    assert_eq!(ours.len(), theirs.len(), "as many of the one as of the other");
    let squares = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>();
    let difference = squares(&mut ours.iter().zip(theirs).map(|(&our, &their)| our.into() - their.into()));
    (difference / squares(&mut theirs.iter().map(|&their| their.into()))).sqrt()
}

/// Asserts that they are at most `tolerance` [`apart`].
///
/// # Panics
/// If they are further apart, or there is nothing to compare with.
#[track_caller]
pub fn assert_close<T: Copy + Into<f64>>(what: &str, ours: &[T], theirs: &[T], tolerance: f64) {
    assert_eq!(ours.len(), theirs.len(), "{what}: how many");
    let error = apart(ours, theirs);
    // Written so that a NaN fails.
    assert!(error <= tolerance, "{what}: expected a relative error of at most {tolerance:.0e}, got {error:.2e}");
}
