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
    let launched = ways(lhs.dtype, rows).into_iter().map(|way| launch(&way, &lhs, &rhs, &out));
    let last = launched.reduce(|tried, next| tried.or(next));
    if let Some(Err(error)) = last {
        panic!("a [{rows}, {inner}] by [{inner}, {columns}] matrix product: {error:?}");
    }
    CubeBackend::float_cast(out, dtype.into())
}

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

/// Sixteen-bit factors in tiles of 128 rows, or of 32 where there are few, so that more of them are at work.
fn tensor_cores(rows: usize) -> Strategy {
    let (row_count, rows_per_plane) = if rows > 64 { (8, 2) } else { (2, 1) };
    Strategy::OrderedDoubleMma(BlueprintStrategy::Inferred(OrderedSelectionArgs {
        tile_matmul: TileMatmulKind::Mma,
        partition_k: Some(2),
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

#[cfg(all(test, feature = "cuda"))]
mod sweep {
    use super::*;
    use burn::tensor::{Device, Distribution};
    use cubek::matmul::multi_level::routines::batch::double_unit::DoubleUnitSelectionArgs;
    use cubek::matmul::multi_level::routines::batch::simple::SimpleArgs;
    use cubek::matmul::multi_level::routines::batch::double_buffering::DoubleBufferingArgs;
    use std::time::Instant;

    fn ordered(kind: TileMatmulKind, k: u32, r: u32, p: u32) -> Strategy {
        let a = OrderedSelectionArgs { tile_matmul: kind, partition_k: Some(k), row_count: Some(r), rows_per_plane: Some(p) };
        match kind {
            TileMatmulKind::Cmma => Strategy::OrderedDoubleCmma(BlueprintStrategy::Inferred(a)),
            _ => Strategy::OrderedDoubleMma(BlueprintStrategy::Inferred(a)),
        }
    }

    #[test]
    #[ignore]
    fn sweep() {
        let device = Device::cuda(0);
        let burn::backend::DispatchDevice::Cube(cube) = device.as_dispatch() else { panic!() };
        let random = |shape: [usize; 2], dtype: DType| -> CubeTensor {
            let t = CubeBackend::float_random(shape.into(), Distribution::Normal(0.0, 1.0), cube, DType::F32.into());
            CubeBackend::float_cast(t, dtype.into())
        };
        let mma = [(2, 8, 2), (2, 16, 4), (4, 8, 2), (2, 8, 1), (2, 16, 2), (2, 4, 2), (1, 8, 2)];
        let cyc = || Strategy::SimpleCyclicCmma(BlueprintStrategy::Inferred(SimpleArgs { multi_rows: true, tile_matmul: TileMatmulKind::Cmma }));
        let dbl = || Strategy::DoubleCyclicMma(BlueprintStrategy::Inferred(DoubleBufferingArgs { specialized: false, tile_matmul: TileMatmulKind::Mma }));
        let unit = |t| Strategy::SimpleUnit(BlueprintStrategy::Inferred(SimpleUnitSelectionArgs { tile_size: t }));
        let dunit = |t| Strategy::DoubleUnit(BlueprintStrategy::Inferred(DoubleUnitSelectionArgs { tile_size: t }));
        let mut big: Vec<Strategy> = mma.iter().map(|&(k, r, p)| ordered(TileMatmulKind::Mma, k, r, p)).collect();
        big.push(cyc());
        big.push(dbl());
        big.push(ordered(TileMatmulKind::Cmma, 2, 8, 2));
        let small: Vec<Strategy> = [(2, 8, 2), (2, 2, 1), (4, 2, 1), (8, 2, 1), (2, 1, 1), (8, 1, 1), (4, 4, 1)].iter().map(|&(k, r, p)| ordered(TileMatmulKind::Mma, k, r, p))
            .chain([Strategy::Gemm(BlueprintStrategy::Inferred(Default::default())), Strategy::GemvUnitPerpendicular(BlueprintStrategy::Inferred(Default::default()))]).collect();
        let f32s = vec![unit(TileSizeSelection::MaxTileSize), unit(TileSizeSelection::MinTileSize), dunit(TileSizeSelection::MaxTileSize), dunit(TileSizeSelection::MinTileSize),
            ordered(TileMatmulKind::Mma, 2, 8, 2), ordered(TileMatmulKind::Mma, 2, 4, 2), ordered(TileMatmulKind::Cmma, 2, 8, 2), cyc()];
        let run = |label: &str, (m, n, k): (usize, usize, usize), layout: &str, dtype: DType, out: DType, ways: &[Strategy]| {
            let (l, r) = match layout {
                "nt" => (random([m, k], dtype), crate::cube::transposed(random([n, k], dtype))),
                "nn" => (random([m, k], dtype), random([k, n], dtype)),
                _ => (crate::cube::transposed(random([k, m], dtype)), random([k, n], dtype)),
            };
            println!("{label} {m}x{n}x{k} {layout} {dtype:?}->{out:?}");
            for way in ways {
                let o = empty(&l, [m, n], out);
                let t0 = Instant::now();
                if let Err(e) = launch(way, &l, &r, &o) { println!("   {way}: {}", format!("{e:?}").chars().take(90).collect::<String>()); continue; }
                if let Err(e) = device.sync() { println!("   {way}: sync {e:?}"); continue; }
                let compile = t0.elapsed().as_secs_f64();
                let t0 = Instant::now();
                for _ in 0..20 { launch(way, &l, &r, &o).unwrap(); }
                device.sync().unwrap();
                let s = t0.elapsed().as_secs_f64() / 20.0;
                println!("   {:8.1} us {:6.1} TFLOP/s {:6.0} GB/s (compile {compile:.1} s) {way}", s * 1e6, 2.0 * (m * n * k) as f64 / s / 1e12, ((m * k + n * k) * dtype.size() + m * n * out.size()) as f64 / s / 1e9);
            }
        };
        let b = DType::BF16;
        let f = DType::F32;
        let only = std::env::var("SWEEP").unwrap_or_default();
        let on = |name: &str| only.is_empty() || only.contains(name);
        if on("big") {
            run("up", (4096, 8960, 1536), "nt", b, b, &big);
            run("grad x", (4096, 1536, 8960), "nn", b, b, &big[..1]);
            run("grad w", (8960, 1536, 4096), "tn", b, f, &big);
            run("q", (4096, 1536, 1536), "nt", b, b, &[big[0].clone(), big[1].clone(), big[3].clone(), big[5].clone(), cyc()]);
            run("kv", (4096, 256, 1536), "nt", b, b, &[big[0].clone(), big[5].clone(), ordered(TileMatmulKind::Mma, 2, 2, 1), cyc()]);
            run("x grad nn", (4096, 8960, 1536), "nn", b, b, &big[..6]);
            run("head", (2048, 32768, 1536), "nt", b, f, &big[..4]);
        }
        if on("small") {
            for m in [1, 8, 64] { run("few", (m, 8960, 1536), "nt", b, b, &small); }
            for m in [1, 64] { run("few", (m, 1536, 8960), "nt", b, b, &small[..7]); }
        }
        if on("f32") {
            run("f32", (4096, 4096, 1536), "nt", f, f, &f32s);
            run("f32", (4096, 1536, 4096), "nn", f, f, &f32s[..4]);
            run("f32", (1536, 4096, 4096), "tn", f, f, &f32s[..4]);
            run("f32 few", (8, 8960, 1536), "nt", f, f, &f32s[..4]);
        }
    }
}
