//! On a GPU.

use cubecl::prelude::*;

/// `softcap · tanh(z / softcap)`.
#[cube]
pub(crate) fn cap<N: Size>(z: Vector<f32, N>, softcap: f32, #[comptime] capped: bool) -> Vector<f32, N> {
    cap_and_slope::<N>(z, softcap, capped).0
}

/// The same, and its derivative 1 − tanh². That is not made of the tanh: beside 1 it would lose all its digits.
#[cube]
pub(crate) fn cap_and_slope<N: Size>(
    z: Vector<f32, N>,
    softcap: f32,
    #[comptime] capped: bool,
) -> (Vector<f32, N>, Vector<f32, N>) {
    let one = Vector::<f32, N>::new(1.0);
    if comptime!(capped) {
        let x = z / Vector::new(softcap);
        let e = (Vector::new(-2.0) * x.abs()).exp();
        let inverse = one / (one + e);
        let mut tanh = (one - e) * inverse;
        #[unroll]
        for lane in 0..x.vector_size() {
            if x.extract(lane) < 0.0 {
                tanh.insert(lane, f32::new(0.0) - tanh.extract(lane));
            }
        }
        (Vector::new(softcap) * tanh, Vector::new(4.0) * e * inverse * inverse)
    } else {
        (z, one)
    }
}
