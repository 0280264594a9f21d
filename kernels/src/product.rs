//! Matrix products on a GPU, each in a way that is chosen beforehand.
//!
//! Burn's own way is to try a dozen kernels on every new shape and to keep the fastest. For a new model that takes minutes,
//! and what is the fastest today may lose tomorrow, so that two runs, or two shapes of one run, add up in different orders.
//! Here a row of a product is the same to the bit whatever stands beside it, as on the CPU: a policy that has not moved has
//! exactly the reference's hidden states, and a run that goes on ends as if it had never stopped.

use burn::backend::cubecl::dtype_to_storage_type;
use burn::backend::ops::FloatTensorOps;
use burn::tensor::DType;
use burn_cubecl::CubeBackend;
use burn_cubecl::tensor::CubeTensor;
use cubek::matmul::definition::{MatmulElems, MatmulGlobalElems, MatmulSetupError};
use cubek::matmul::launch::launch_ref;
use cubek::matmul::multi_level::Strategy;
use cubek::matmul::multi_level::components::tile::TileMatmulKind;
use cubek::matmul::multi_level::routines::TileSizeSelection;
use cubek::matmul::multi_level::routines::batch::ordered_double_buffering::OrderedSelectionArgs;
use cubek::matmul::multi_level::routines::batch::simple_unit::SimpleUnitSelectionArgs;
use cubek::matmul::routine::BlueprintStrategy;
use cubek::std::InputBinding;

use crate::cube::{dims, empty};

/// `lhs · rhs` as `dtype`, of two matrices of one type; summed in f32, or in their own type where that is wider.
pub(crate) fn product(lhs: CubeTensor, rhs: CubeTensor, dtype: DType) -> CubeTensor {
    let ([rows, inner], [_, columns]) = (dims(&lhs), dims(&rhs));
    // No kernel writes a narrower type than it reads.
    let written = if dtype.size() < lhs.dtype.size() { lhs.dtype } else { dtype };
    if rows == 0 || columns == 0 {
        return empty(&lhs, [rows, columns], dtype);
    }
    if inner == 0 {
        return CubeBackend::float_zeros([rows, columns].into(), &lhs.device, dtype.into());
    }
    let out = empty(&lhs, [rows, columns], written);
    let mut refused = vec![];
    for way in ways(lhs.dtype, rows) {
        match launch(&way, &lhs, &rhs, &out) {
            Ok(()) => return CubeBackend::float_cast(out, dtype.into()),
            Err(error) => refused.push(error),
        }
    }
    panic!("a [{rows}, {inner}] by [{inner}, {columns}] matrix product: {refused:?}")
}

/// As many as a batch of answers has, where a step of generating reads all weights for a few products.
const FEW_ROWS: usize = 64;

/// What a product of so many rows is made with, best first: a device or a shape may rule some out.
fn ways(dtype: DType, rows: usize) -> Vec<Strategy> {
    let registers = Strategy::SimpleUnit(BlueprintStrategy::Inferred(SimpleUnitSelectionArgs {
        tile_size: TileSizeSelection::MaxTileSize,
    }));
    match dtype {
        DType::F16 | DType::BF16 => vec![tensor_cores(rows), registers],
        // Tensor cores would round the factors to TF32, of ten bits of fraction.
        _ => vec![registers],
    }
}

/// In tiles of 128 rows and 64 columns, or of 32 and 16 where there are few rows, so that more of the device is at work. Either
/// adds up along a row in the same steps. `benches/products.rs` measures them beside others.
fn tensor_cores(rows: usize) -> Strategy {
    let (row_count, rows_per_plane, partition_k) = if rows > FEW_ROWS { (8, 2, 2) } else { (2, 1, 8) };
    Strategy::OrderedDoubleMma(BlueprintStrategy::Inferred(OrderedSelectionArgs {
        tile_matmul: TileMatmulKind::Mma,
        partition_k: Some(partition_k),
        row_count: Some(row_count),
        rows_per_plane: Some(rows_per_plane),
    }))
}

fn launch(way: &Strategy, lhs: &CubeTensor, rhs: &CubeTensor, out: &CubeTensor) -> Result<(), MatmulSetupError> {
    let [of_lhs, of_rhs, of_out] = [lhs, rhs, out].map(|tensor| dtype_to_storage_type(tensor.dtype));
    let mut types = MatmulElems::from_globals(&MatmulGlobalElems { lhs: of_lhs, rhs: of_rhs, out: of_out });
    let [lhs, rhs] = [(lhs, of_lhs), (rhs, of_rhs)].map(|(tensor, of)| InputBinding::new(tensor.clone().binding(), of));
    launch_ref(&way.clone().into(), &out.client, lhs, rhs, out.clone().binding(), &mut types)
}

#[cfg(test)]
mod tests {
    use burn::tensor::{DType, Tensor};

    use crate::linear;
    use crate::testing::{everywhere, gpu, random};

    /// Numbers of rows around those that tiles change at.
    const ROWS: [usize; 5] = [1, 17, 64, 65, 200];

    #[test]
    fn a_row_is_the_same_to_the_bit_whatever_stands_beside_it() {
        let (device, _) = gpu().unwrap();
        for case in everywhere().iter().filter(|case| case.device == device) {
            for [inputs, outputs] in [[64, 40], [331, 77], [2_048, 128]] {
                let weight = random(&[outputs, inputs], 1).on(&device).d2().cast(case.dtype);
                let x = random(&[200, inputs], 2).on(&device).d2().cast(case.dtype);
                let row = |rows: usize| {
                    let product: Tensor<2> = linear(x.clone().narrow(0, 200 - rows, rows), weight.clone());
                    product.narrow(0, rows - 1, 1).into_data().convert_dtype(DType::F32)
                };
                for rows in ROWS {
                    assert_eq!(row(rows), row(200), "{case:?}: {rows} rows, {inputs} inputs");
                }
            }
        }
    }
}
