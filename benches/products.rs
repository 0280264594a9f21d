//! Ways to make a matrix product on a GPU: what `kernels/src/product.rs` takes, beside others that CubeCL has.
//!
//! `cargo bench --workspace --features mpo-benches/cuda --bench products -- --device cuda --dtype bf16 --rows 4096`
//!
//! Three products of each shape: of rows, of their gradient, of the weight's gradient. A way that the device or the shape
//! rules out is left out of the table.

mod harness;

use std::process::ExitCode;

use burn::backend::cubecl::dtype_to_storage_type;
use burn::backend::ops::FloatTensorOps;
use burn::backend::{CubeDevice, DispatchDevice};
use burn::tensor::{DType, Distribution};
use burn_cubecl::CubeBackend;
use burn_cubecl::tensor::CubeTensor;
use clap::Parser;
use comfy_table::{CellAlignment, LineStyle, Table, TableStyle};
use cubek::matmul::definition::{MatmulElems, MatmulGlobalElems};
use cubek::matmul::launch::launch_ref;
use cubek::matmul::multi_level::Strategy;
use cubek::matmul::multi_level::components::tile::TileMatmulKind::{Cmma, Mma};
use cubek::matmul::multi_level::routines::TileSizeSelection::{MaxTileSize, MinTileSize};
use cubek::matmul::multi_level::routines::batch::double_buffering::DoubleBufferingArgs;
use cubek::matmul::multi_level::routines::batch::ordered_double_buffering::OrderedSelectionArgs;
use cubek::matmul::multi_level::routines::batch::simple::SimpleArgs;
use cubek::matmul::multi_level::routines::batch::simple_unit::SimpleUnitSelectionArgs;
use cubek::matmul::routine::BlueprintStrategy::Inferred;
use cubek::std::InputBinding;
use harness::Precision;

#[derive(Parser)]
struct Arguments {
    /// wgpu, wgpu-cpu, or vulkan and cuda if built in.
    #[arg(long, default_value = "wgpu-cpu")]
    device: String,
    /// Type of the factors.
    #[arg(long, default_value = "f32")]
    dtype: Precision,
    /// Rows.
    #[arg(long, default_value_t = 256)]
    rows: usize,
    /// Inputs and outputs of the weight.
    #[arg(long, default_values_t = [1_536, 8_960], num_args = 2)]
    weight: Vec<usize>,
    /// Timed runs of each, after one to warm up.
    #[arg(long, default_value_t = 20)]
    repetitions: usize,
    /// Cargo passes this to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    harness::run(bench)
}

fn bench() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::parse();
    let device = harness::device(&arguments.device)?;
    let DispatchDevice::Cube(cube) = device.as_dispatch() else {
        return Err("expected a GPU, got the CPU".into());
    };
    let dtype = arguments.dtype.dtype();
    let (rows, [inputs, outputs]) = (arguments.rows, [arguments.weight[0], arguments.weight[1]]);
    println!("{}, {dtype:?}, {rows} rows, a weight of {outputs} x {inputs}", arguments.device);
    let mut table = Table::new();
    let underline = LineStyle::none().fill('─').junction('─');
    table.load_style(TableStyle::new().header_separator(underline)).set_header(["product", "way", "ms", "TFLOP/s"]);
    let [x, grad] = [[rows, inputs], [rows, outputs]].map(|shape| random(shape, dtype, cube));
    let weight = random([outputs, inputs], dtype, cube);
    let products = [
        ("rows", x.clone(), transposed(weight.clone()), [rows, outputs], dtype),
        ("their gradient", grad.clone(), weight, [rows, inputs], dtype),
        ("the weight's gradient", transposed(grad), x, [outputs, inputs], DType::F32),
    ];
    for (product, lhs, rhs, shape, written) in products {
        let out = random(shape, written, cube);
        for way in ways(dtype) {
            if !launch(&way, &lhs, &rhs, &out) {
                continue;
            }
            device.sync()?;
            let (seconds, ()) = harness::seconds(&device, || {
                for _ in 0..arguments.repetitions {
                    launch(&way, &lhs, &rhs, &out);
                }
            });
            let seconds = seconds / arguments.repetitions as f64;
            let flops = 2.0 * (rows * inputs * outputs) as f64;
            table.add_row([
                product.to_owned(),
                way.to_string(),
                format!("{:.3}", seconds * 1e3),
                format!("{:.3}", flops / seconds / 1e12),
            ]);
        }
    }
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    println!("{table}");
    Ok(())
}

/// On tensor cores, which round the factors of f32 to TF32; and without.
fn ways(dtype: DType) -> Vec<Strategy> {
    let tiles = |tile_matmul, partition_k, row_count, rows_per_plane| OrderedSelectionArgs {
        tile_matmul,
        partition_k: Some(partition_k),
        row_count: Some(row_count),
        rows_per_plane: Some(rows_per_plane),
    };
    let mut ways: Vec<Strategy> = [(2, 8, 2), (4, 8, 2), (2, 16, 2), (2, 4, 2), (8, 2, 1), (8, 1, 1)]
        .map(|(k, rows, of_plane)| Strategy::OrderedDoubleMma(Inferred(tiles(Mma, k, rows, of_plane))))
        .into();
    ways.push(Strategy::OrderedDoubleCmma(Inferred(tiles(Cmma, 2, 8, 2))));
    ways.push(Strategy::SimpleCyclicCmma(Inferred(SimpleArgs { multi_rows: true, tile_matmul: Cmma })));
    ways.push(Strategy::DoubleCyclicMma(Inferred(DoubleBufferingArgs { specialized: false, tile_matmul: Mma })));
    let in_registers = [MaxTileSize, MinTileSize]
        .map(|tile_size| Strategy::SimpleUnit(Inferred(SimpleUnitSelectionArgs { tile_size })));
    // Sixteen-bit factors in registers take a hundred times as long.
    if dtype == DType::F32 {
        ways.extend(in_registers);
    }
    ways
}

/// Whether there is such a way.
fn launch(way: &Strategy, lhs: &CubeTensor, rhs: &CubeTensor, out: &CubeTensor) -> bool {
    let [of_lhs, of_rhs, of_out] = [lhs, rhs, out].map(|tensor| dtype_to_storage_type(tensor.dtype));
    let mut types = MatmulElems::from_globals(&MatmulGlobalElems { lhs: of_lhs, rhs: of_rhs, out: of_out });
    let [lhs, rhs] = [(lhs, of_lhs), (rhs, of_rhs)].map(|(tensor, of)| InputBinding::new(tensor.clone().binding(), of));
    launch_ref(&way.clone().into(), &out.client, lhs, rhs, out.clone().binding(), &mut types).is_ok()
}

fn random(shape: [usize; 2], dtype: DType, device: &CubeDevice) -> CubeTensor {
    let numbers = CubeBackend::float_random(shape.into(), Distribution::Normal(0.0, 1.0), device, DType::F32.into());
    CubeBackend::float_cast(numbers, dtype.into())
}

fn transposed(matrix: CubeTensor) -> CubeTensor {
    CubeBackend::float_swap_dims(matrix, 0, 1)
}
