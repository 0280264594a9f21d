//! One pass, f32 throughout; the backward is the turn the other way.

use burn::backend::cubecl::dtype_to_storage_type;
use burn::backend::tensor::FloatTensor;
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use cubecl::calculate_cube_count_elemwise;
use cubecl::prelude::*;

use super::kernel::{Direction, RopeKernel};
use crate::cube::{address_type, dims, empty, vector_size};

impl RopeKernel for CubeBackend {
    fn rope(
        x: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        direction: Direction,
    ) -> FloatTensor<Self> {
        let [x, cos, sin] = [x, cos, sin].map(into_contiguous);
        let ([tokens, width], [_, half]) = (dims(&x), dims(&cos));
        // The halves of a head are `half` apart, and the tables' rows as wide.
        let (client, vector) = (x.client.clone(), vector_size(&cos));
        let pairs = tokens * width / 2 / vector;
        let cube_dim = CubeDim::new(&client, pairs);
        let out = empty(&x, [tokens, width], x.dtype);
        let dtypes = [dtype_to_storage_type(x.dtype), dtype_to_storage_type(cos.dtype)];
        // SAFETY: units beyond `pairs` stop; a pair's token is below `tokens`, its columns below `width`.
        unsafe {
            rotate::launch_unchecked(
                &client,
                calculate_cube_count_elemwise(&client, pairs, cube_dim),
                cube_dim,
                address_type(&[&x]),
                vector,
                x.into_tensor_arg(),
                cos.into_tensor_arg(),
                sin.into_tensor_arg(),
                out.clone().into_tensor_arg(),
                pairs,
                width / 2 / vector,
                half / vector,
                direction.sign(),
                dtypes,
            );
        }
        out
    }
}

#[cube(launch_unchecked, address_type = "dynamic")]
#[allow(clippy::too_many_arguments)]
fn rotate<F: Float, T: Float, N: Size>(
    x: &Tensor<Vector<F, N>>,
    cos: &Tensor<Vector<T, N>>,
    sin: &Tensor<Vector<T, N>>,
    out: &mut Tensor<Vector<F, N>>,
    pairs: usize,
    pairs_a_token: usize,
    half: usize,
    sign: f32,
    #[define(F, T)] _dtypes: [ElemType; 2],
) {
    if ABSOLUTE_POS >= pairs {
        terminate!();
    }
    let token = ABSOLUTE_POS / pairs_a_token;
    let pair = ABSOLUTE_POS % pairs_a_token;
    let (head, column) = (pair / half, pair % half);
    let first = token * 2 * pairs_a_token + head * 2 * half + column;
    let a = Vector::<f32, N>::cast_from(x[first]);
    let b = Vector::<f32, N>::cast_from(x[first + half]);
    let cos = Vector::<f32, N>::cast_from(cos[token * half + column]);
    let sin = Vector::new(sign) * Vector::<f32, N>::cast_from(sin[token * half + column]);
    out[first] = Vector::cast_from(a * cos - b * sin);
    out[first + half] = Vector::cast_from(b * cos + a * sin);
}
