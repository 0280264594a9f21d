//! A model as bitsandbytes would have saved it.

use std::fs;
use std::path::Path;

use mpo_kernels::{CODEBOOK, Nf4Data, Nf4Scales};
use mpo_models::Checkpoint;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView, serialize};
use serde_json::{Value, json};

/// A tensor to be written: name, type, shape and bytes.
type Stored = (String, Dtype, Vec<usize>, Vec<u8>);

/// Writes the model in `from` into the new folder `to`, with the linear maps of its layers in NF4.
pub(crate) fn write_nf4(from: &Path, to: &Path, double: bool) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
    let mut config: Value = serde_json::from_slice(&fs::read(from.join("config.json")).unwrap()).unwrap();
    config["quantization_config"] = json!({
        "quant_method": "bitsandbytes", "load_in_4bit": true, "load_in_8bit": false, "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_use_double_quant": double, "bnb_4bit_quant_storage": "uint8", "llm_int8_skip_modules": null,
    });
    fs::write(to.join("config.json"), config.to_string()).unwrap();
    let bytes = fs::read(from.join("model.safetensors")).unwrap();
    let (checkpoint, dense) = (Checkpoint::open(from).unwrap(), SafeTensors::deserialize(&bytes).unwrap());
    let mut tensors: Vec<Stored> = vec![];
    for (name, tensor) in dense.tensors() {
        let shape = tensor.shape().to_vec();
        if shape.len() == 2 && name.contains("layers.") {
            let weights = checkpoint.tensor_f32(&name, &shape).unwrap();
            pack(&mut tensors, &name, &shape, &Nf4Data::quantize(&weights, double));
        } else {
            tensors.push((name, tensor.dtype(), shape, tensor.data().to_vec()));
        }
    }
    let views = tensors
        .iter()
        .map(|(name, dtype, shape, bytes)| (name.clone(), TensorView::new(*dtype, shape.clone(), bytes).unwrap()));
    fs::write(to.join("model.safetensors"), serialize(views, None).unwrap()).unwrap();
}

fn pack(tensors: &mut Vec<Stored>, name: &str, shape: &[usize], data: &Nf4Data) {
    let mut put =
        |part: &str, dtype, shape: Vec<usize>, bytes| tensors.push((format!("{name}{part}"), dtype, shape, bytes));
    let floats = |numbers: &[f32]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>();
    let mut state = json!({"quant_type": "nf4", "blocksize": 64, "dtype": "float32", "shape": shape});
    put("", Dtype::U8, vec![data.codes.len(), 1], data.codes.clone());
    put(".quant_map", Dtype::F32, vec![16], floats(&CODEBOOK));
    match &data.scales {
        Nf4Scales::Single(scales) => put(".absmax", Dtype::F32, vec![scales.len()], floats(scales)),
        Nf4Scales::Double { codes, absmax, map, offset } => {
            put(".absmax", Dtype::U8, vec![codes.len()], codes.clone());
            put(".nested_absmax", Dtype::F32, vec![absmax.len()], floats(absmax));
            put(".nested_quant_map", Dtype::F32, vec![256], floats(&map[..]));
            state["nested_blocksize"] = 256.into();
            state["nested_dtype"] = "float32".into();
            state["nested_offset"] = f64::from(*offset).into();
        }
    }
    let state = state.to_string().into_bytes();
    put(".quant_state.bitsandbytes__nf4", Dtype::U8, vec![state.len()], state);
}
