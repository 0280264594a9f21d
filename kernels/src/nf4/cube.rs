//! The matrix is unpacked into the type that is multiplied in, a vector a unit, and forgotten after the product.

use burn::backend::cubecl::dtype_to_storage_type;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::tensor::DType;
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use cubecl::calculate_cube_count_elemwise;
use cubecl::prelude::*;

use super::data::{BLOCK, CODEBOOK, SCALE_BLOCK};
use super::kernel::Nf4Kernel;
use super::layout::Layout;
use crate::cube::{address_type, empty, transposed, vector_size};
use crate::product::product;

/// Codes in a word.
const WORD: usize = 8;

impl Nf4Kernel for CubeBackend {
    fn nf4_values(words: IntTensor<Self>, floats: FloatTensor<Self>, layout: Layout) -> FloatTensor<Self> {
        unpack(words, floats, layout, DType::F32)
    }

    fn nf4_product(
        x: FloatTensor<Self>,
        words: IntTensor<Self>,
        floats: FloatTensor<Self>,
        layout: Layout,
    ) -> FloatTensor<Self> {
        let dtype = x.dtype;
        product(x, transposed(unpack(words, floats, layout, dtype)), dtype)
    }

    fn nf4_input_grad(
        grad: FloatTensor<Self>,
        words: IntTensor<Self>,
        floats: FloatTensor<Self>,
        layout: Layout,
    ) -> FloatTensor<Self> {
        let dtype = grad.dtype;
        product(grad, unpack(words, floats, layout, dtype), dtype)
    }
}

fn unpack(words: CubeTensor, floats: CubeTensor, layout: Layout, dtype: DType) -> CubeTensor {
    let (words, floats) = (into_contiguous(words), into_contiguous(floats));
    let out = empty(&floats, layout.shape, dtype);
    // A vector lies in one word, and so in one block.
    let vector = vector_size(&out).min(WORD);
    let vectors = layout.elements() / vector;
    let client = floats.client.clone();
    let cube_dim = CubeDim::new(&client, vectors);
    // SAFETY: units beyond `vectors` stop; the layout says that the words have a code for each number and scale, and the
    // floats a scale for each block, or what makes them.
    unsafe {
        unpack_vectors::launch_unchecked(
            &client,
            calculate_cube_count_elemwise(&client, vectors, cube_dim),
            cube_dim,
            address_type(&[&out]),
            vector,
            words.into_tensor_arg(),
            floats.into_tensor_arg(),
            out.clone().into_tensor_arg(),
            vectors,
            layout.scale_codes(),
            layout.map(),
            layout.offset(),
            layout.double,
            dtype_to_storage_type(dtype),
        );
    }
    out
}

#[cube(launch_unchecked, address_type = "dynamic")]
#[allow(clippy::too_many_arguments)]
fn unpack_vectors<F: Float, N: Size>(
    words: &Tensor<u32>,
    floats: &Tensor<f32>,
    out: &mut Tensor<Vector<F, N>>,
    vectors: usize,
    scale_codes: usize,
    map: usize,
    offset: usize,
    #[comptime] double: bool,
    #[define(F)] _dtype: ElemType,
) {
    if ABSOLUTE_POS >= vectors {
        terminate!();
    }
    let mut numbers = Vector::<f32, N>::new(0.0);
    let first = ABSOLUTE_POS * numbers.vector_size();
    let block = first / BLOCK;
    let scale = if comptime!(double) {
        let codes = words[scale_codes + block / 4];
        let code = (codes >> ((block % 4) as u32 * 8)) & 255;
        floats[map + code as usize] * floats[block / SCALE_BLOCK] + floats[offset]
    } else {
        floats[block]
    };
    let word = words[first / WORD];
    let within = (first % WORD) as u32;
    #[unroll]
    for lane in 0..numbers.vector_size() {
        let at = within + lane as u32;
        // The first code of a byte is in its high half.
        let code = (word >> ((at ^ 1) * 4)) & 15;
        numbers.insert(lane, fraction(code) * scale);
    }
    out[ABSOLUTE_POS] = Vector::cast_from(numbers);
}

/// What a code stands for.
#[cube]
fn fraction(code: u32) -> f32 {
    let mut value = f32::new(0.0);
    #[unroll]
    for number in 0..16 {
        value = select(code == number, f32::new(comptime!(CODEBOOK[number as usize])), value);
    }
    value
}
