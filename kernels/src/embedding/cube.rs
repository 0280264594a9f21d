//! A part of one token's row for each cube, over all places where the token stands. Burn's own has a thread for each column,
//! which goes through all tokens. Rows are written by one kernel wherever they go; Burn launches one for each run of rows, and
//! a step of generating has as many runs as sequences.

use burn::backend::cubecl::dtype_to_storage_type;
use burn::backend::tensor::FloatTensor;
use burn::tensor::DType;
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::composition;
use super::kernel::EmbeddingKernel;
use crate::cube::{address_type, cubes, dims, owned, units, vector_size};

impl EmbeddingKernel for CubeBackend {
    fn add_rows(sum: FloatTensor<Self>, rows: FloatTensor<Self>, ids: Vec<u32>) -> FloatTensor<Self> {
        if ids.is_empty() {
            return sum;
        }
        if rows.dtype != DType::F32 {
            return composition::add_rows::<Self>(sum, rows, ids);
        }
        let (sum, rows) = (owned(sum), into_contiguous(rows));
        let places = Places::of(&ids);
        let [_, width] = dims(&rows);
        let (client, vector, units) = (rows.client.clone(), vector_size(&rows), units(&rows));
        let vectors = width / vector;
        let parts = vectors.div_ceil(units as usize);
        let tokens = places.tokens.len();
        let [order, starts, targets] = [places.order, places.starts, places.tokens].map(|list| upload(&rows, &list));
        // SAFETY: a cube's token is below `tokens`, which there are targets for and one more start; the starts rise to the
        // length of `order`, whose places are rows; targets are rows of `sum`, and vectors below `vectors`. No two cubes have
        // the same part of the same token.
        unsafe {
            add_places::launch_unchecked(
                &client,
                cubes(tokens * parts),
                CubeDim::new_1d(units),
                address_type(&[&sum, &rows]),
                vector,
                rows.into_tensor_arg(),
                order.into_tensor_arg(),
                starts.into_tensor_arg(),
                targets.into_tensor_arg(),
                sum.clone().into_tensor_arg(),
                tokens,
                vectors,
                parts,
                units,
            );
        }
        sum
    }

    fn write_rows(matrix: FloatTensor<Self>, rows: FloatTensor<Self>, ids: Vec<u32>) -> FloatTensor<Self> {
        if ids.is_empty() {
            return matrix;
        }
        let (matrix, rows) = (owned(matrix), into_contiguous(rows));
        let places = upload(&rows, &ids);
        let [_, width] = dims(&rows);
        let (client, vector, units, dtype) = (rows.client.clone(), vector_size(&rows), units(&rows), rows.dtype);
        let vectors = width / vector;
        let items = ids.len() * vectors;
        // SAFETY: an item is a vector of one of the rows, as many as there are places, each a row of `matrix`, whose rows are
        // as wide; no place stands twice. Both are contiguous.
        unsafe {
            write_places::launch_unchecked(
                &client,
                cubes(items.div_ceil(units as usize)),
                CubeDim::new_1d(units),
                address_type(&[&matrix, &rows]),
                vector,
                rows.into_tensor_arg(),
                places.into_tensor_arg(),
                matrix.clone().into_tensor_arg(),
                items,
                vectors,
                units,
                dtype_to_storage_type(dtype),
            );
        }
        matrix
    }
}

/// Where each token stands.
struct Places {
    /// The tokens, each once.
    tokens: Vec<u32>,
    /// Where each token's places begin in `order`, and where the last one's end.
    starts: Vec<u32>,
    /// All places, those of a token together and in order.
    order: Vec<u32>,
}

impl Places {
    fn of(ids: &[u32]) -> Self {
        let mut order: Vec<u32> = (0..ids.len() as u32).collect();
        order.sort_by_key(|&place| ids[place as usize]);
        let (mut tokens, mut starts) = (vec![], vec![]);
        for (at, &place) in order.iter().enumerate() {
            let token = ids[place as usize];
            if tokens.last() != Some(&token) {
                tokens.push(token);
                starts.push(at as u32);
            }
        }
        starts.push(order.len() as u32);
        Self { tokens, starts, order }
    }
}

fn upload(beside: &CubeTensor, list: &[u32]) -> CubeTensor {
    let bytes: Vec<u8> = list.iter().flat_map(|number| number.to_ne_bytes()).collect();
    let handle = beside.client.create_from_slice(&bytes);
    let shape = [list.len()].into();
    CubeTensor::new_contiguous(beside.client.clone(), beside.device.clone(), shape, handle, DType::U32)
}

#[cube(launch_unchecked, address_type = "dynamic")]
#[allow(clippy::too_many_arguments)]
fn add_places<N: Size>(
    rows: &Tensor<Vector<f32, N>>,
    order: &Tensor<u32>,
    starts: &Tensor<u32>,
    targets: &Tensor<u32>,
    sum: &mut Tensor<Vector<f32, N>>,
    tokens: usize,
    vectors: usize,
    parts: usize,
    #[comptime] units: u32,
) {
    let mut item = CUBE_POS_X as usize;
    while item < tokens * parts {
        let token = item / parts;
        let column = (item % parts) * comptime!(units as usize) + UNIT_POS_X as usize;
        if column < vectors {
            let own = targets[token] as usize * vectors + column;
            let mut total = sum[own];
            let mut at = starts[token] as usize;
            let end = starts[token + 1] as usize;
            while at < end {
                total += rows[order[at] as usize * vectors + column];
                at += 1;
            }
            sum[own] = total;
        }
        item += CUBE_COUNT_X as usize;
    }
}

#[cube(launch_unchecked, address_type = "dynamic")]
#[allow(clippy::too_many_arguments)]
fn write_places<F: Float, N: Size>(
    rows: &Tensor<Vector<F, N>>,
    places: &Tensor<u32>,
    matrix: &mut Tensor<Vector<F, N>>,
    items: usize,
    vectors: usize,
    #[comptime] units: u32,
    #[define(F)] _dtype: ElemType,
) {
    let mut cube = CUBE_POS_X as usize;
    while cube * comptime!(units as usize) < items {
        let item = cube * comptime!(units as usize) + UNIT_POS_X as usize;
        if item < items {
            matrix[places[item / vectors] as usize * vectors + item % vectors] = rows[item];
        }
        cube += CUBE_COUNT_X as usize;
    }
}
