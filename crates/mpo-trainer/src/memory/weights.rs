//! The weights on the device.

use burn::tensor::DType;
use mpo_models::DecoderConfig;

use super::{Base, Hardware, Storage, Tuning, parameters};

impl Storage {
    /// Bytes of all weights of a model, those of an adapter included.
    pub fn weights(self, model: &DecoderConfig) -> u64 {
        match self.tuning {
            Tuning::Full => 4 * model.num_parameters(),
            Tuning::Adapter { numbers, base } => 4 * numbers + frozen(model, base),
        }
    }

    /// Whether a GPU casts the weights of layers where they are used, because they are stored in another type than is computed
    /// in. The CPU casts a block at a time.
    pub(super) fn casts_layers(self, hardware: Hardware) -> bool {
        let packed = matches!(self.tuning, Tuning::Adapter { base: Base::Nf4 { .. }, .. });
        hardware == Hardware::Gpu && (packed || self.stored() != self.computed())
    }

    /// The same of the head.
    pub(super) fn casts_head(self, hardware: Hardware) -> bool {
        hardware == Hardware::Gpu && self.stored() != self.computed()
    }

    /// What a weight is stored as that is not packed.
    pub fn stored_dtype(self) -> DType {
        match self.tuning {
            Tuning::Adapter { base: Base::Bf16 | Base::Nf4 { rest_is_bf16: true }, .. } => DType::BF16,
            Tuning::Full | Tuning::Adapter { .. } => DType::F32,
        }
    }

    fn stored(self) -> u64 {
        self.stored_dtype().size() as u64
    }
}

fn frozen(model: &DecoderConfig, base: Base) -> u64 {
    let all = model.num_parameters();
    match base {
        Base::F32 => 4 * all,
        Base::Bf16 => 2 * all,
        Base::Nf4 { rest_is_bf16 } => {
            let packed = parameters::matrices(model);
            let rest = if rest_is_bf16 { 2 } else { 4 };
            // 4 bits each, and a scale of 32 bits for each 64.
            packed / 2 + packed / 64 * 4 + rest * (all - packed)
        }
    }
}

#[cfg(test)]
mod tests {
    use mpo_models::Precision;

    use super::super::testing::{PLAIN, llama_8b, lora, tiny};
    use super::*;

    #[test]
    fn by_hand() {
        assert_eq!(PLAIN.weights(&tiny()), 4 * tiny().num_parameters());
        let model = llama_8b();
        let numbers = parameters::adapter(&model, &lora(16, "all-linear"));
        let adapter = |base| Storage { tuning: Tuning::Adapter { numbers, base }, ..PLAIN };
        let gigabytes = |base| adapter(base).weights(&model) as f64 / 1e9;
        // 16.1 and 6.0 GB of base, 0.17 of adapter.
        assert!((gigabytes(Base::Bf16) - 16.23).abs() < 0.01);
        let nf4 = [true, false].map(|rest_is_bf16| gigabytes(Base::Nf4 { rest_is_bf16 }));
        // Embedding and head, 1.05 billion numbers, take 2.1 GB more in 32 bits.
        assert!((nf4[0] - 6.19).abs() < 0.02 && (nf4[1] - 8.29).abs() < 0.02, "{nf4:?}");
    }

    #[test]
    fn a_gpu_casts_what_is_stored_in_another_type() {
        let (gpu, cpu) = (Hardware::Gpu, Hardware::Cpu { threads: 2 });
        let casts = |storage: Storage, hardware| [storage.casts_layers(hardware), storage.casts_head(hardware)];
        let bf16 = Storage { precision: Precision::Bf16, ..PLAIN };
        assert_eq!(casts(PLAIN, gpu), [false, false]);
        assert_eq!((casts(bf16, gpu), casts(bf16, cpu)), ([true, true], [false, false]));
        let frozen = |base| Storage { tuning: Tuning::Adapter { numbers: 1, base }, ..bf16 };
        assert_eq!(casts(frozen(Base::Bf16), gpu), [false, false]);
        assert_eq!(casts(frozen(Base::Nf4 { rest_is_bf16: true }), gpu), [true, false]);
        let wide = Storage { precision: Precision::F32, ..frozen(Base::Bf16) };
        assert_eq!(casts(wide, gpu), [true, true]);
    }
}
