//! What the CubeCL kernels share: one cube per row, its units striding over the row's vectors.

use burn::backend::ops::FloatTensorOps;
use burn::tensor::{DType, Shape};
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;
use cubecl::features::Plane;
use cubecl::prelude::*;
use cubecl::tensor_vector_size_parallel;

/// Units of a cube, where the device allows as many: enough to keep a row's loads in flight, few enough that the
/// reduction at its end is short.
const UNITS: u32 = 256;
/// The most cubes every device takes in one dimension.
const MAX_CUBES: usize = 65_535;

/// Units of a cube, a power of two.
pub(crate) fn units(tensor: &CubeTensor) -> u32 {
    let most = tensor.client.properties().hardware.max_units_per_cube;
    1 << UNITS.min(most.max(1)).ilog2()
}

/// Units of a cube for rows of so many vectors: no more than have one each, but for what makes a plane whole.
pub(crate) fn units_for(tensor: &CubeTensor, vectors: usize) -> u32 {
    let plane = tensor.client.properties().hardware.plane_size_max as usize;
    units(tensor).min(vectors.next_power_of_two().max(plane) as u32)
}

/// Cubes for `rows`: kernels take every `CUBE_COUNT`th row from their own position on.
pub(crate) fn cubes(rows: usize) -> CubeCount {
    CubeCount::Static(rows.min(MAX_CUBES) as u32, 1, 1)
}

/// The widest loads that the rows of a contiguous matrix allow, in elements.
pub(crate) fn vector_size(matrix: &CubeTensor) -> usize {
    tensor_vector_size_parallel(
        matrix.client.io_optimized_vector_sizes(matrix.dtype.size()),
        matrix.meta.shape(),
        matrix.meta.strides(),
        matrix.meta.num_dims() - 1,
    )
}

/// Wide enough to address every element of any of `tensors`.
pub(crate) fn address_type(tensors: &[&CubeTensor]) -> AddressType {
    tensors.iter().map(|tensor| tensor.required_address_type()).max().unwrap_or_default()
}

/// A contiguous tensor beside `like`, its contents not yet written.
pub(crate) fn empty<const D: usize>(like: &CubeTensor, shape: [usize; D], dtype: DType) -> CubeTensor {
    empty_device_contiguous_dtype(like.client.clone(), like.device.clone(), Shape::from(shape), dtype)
}

/// Where an elementwise kernel writes, as `dtype`: over its first input, if that is of the type and nothing else holds
/// it, else beside it; and the argument to launch it with.
pub(crate) fn over_first(input: &CubeTensor, dtype: DType) -> (CubeTensor, TensorArg) {
    if input.dtype == dtype && input.can_mut() {
        let out = input.clone();
        let argument = out.as_tensor_alias(0);
        return (out, argument);
    }
    let out = empty(input, dims(input), dtype);
    let argument = out.clone().into_tensor_arg();
    (out, argument)
}

/// The transpose, without a copy.
pub(crate) fn transposed(matrix: CubeTensor) -> CubeTensor {
    CubeBackend::float_swap_dims(matrix, 0, 1)
}

/// A contiguous tensor that nothing else holds: a copy, if need be.
pub(crate) fn owned(tensor: CubeTensor) -> CubeTensor {
    let tensor = if tensor.can_mut() { tensor } else { tensor.copy() };
    // After the copy, which may pad rows.
    into_contiguous(tensor)
}

/// `[rows, columns]`.
pub(crate) fn dims(matrix: &CubeTensor) -> [usize; 2] {
    matrix.meta.shape().dims()
}

/// The sum of `value` over the units of a cube, for all of them: within planes, where they have a size that is known, then
/// through shared memory, which every runtime has.
#[cube]
pub(crate) fn cube_sum(value: f32, #[comptime] units: u32) -> f32 {
    let properties = comptime::device_properties();
    let plane = comptime!(plane_size(&properties).min(units));
    if comptime!(plane > 1) {
        let sum = plane_sum(value);
        if comptime!(plane == units) { sum } else { sum_of_planes(sum, comptime!(units / plane)) }
    } else {
        let mut values = Shared::<[f32]>::new_slice(comptime!(units as usize));
        let unit = UNIT_POS_X as usize;
        values[unit] = value;
        sync_cube();
        #[unroll]
        for step in 0..comptime!(units.ilog2()) {
            let half = comptime!((units >> (step + 1)) as usize);
            if unit < half {
                let other = values[unit + half];
                values[unit] += other;
            }
            sync_cube();
        }
        let sum = values[0];
        // Nobody may overwrite the sum before all have read it.
        sync_cube();
        sum
    }
}

/// The sum of the planes' sums, which all units of a plane have.
#[cube]
fn sum_of_planes(plane_sum: f32, #[comptime] planes: u32) -> f32 {
    let mut sums = Shared::<[f32]>::new_slice(comptime!(planes as usize));
    if UNIT_POS_PLANE == 0 {
        sums[PLANE_POS as usize] = plane_sum;
    }
    sync_cube();
    let mut sum = f32::new(0.0);
    #[unroll]
    for plane in 0..comptime!(planes as usize) {
        sum += sums[plane];
    }
    sync_cube();
    sum
}

/// Units of a plane that can add up their values; 1 where they cannot, or where their number is not known beforehand.
fn plane_size(properties: &DeviceProperties) -> u32 {
    let hardware = &properties.hardware;
    let known = hardware.plane_size_min == hardware.plane_size_max;
    let adds = properties.features.plane.contains(Plane::Ops);
    if known && adds { hardware.plane_size_max } else { 1 }
}
