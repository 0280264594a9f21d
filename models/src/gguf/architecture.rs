//! What llama.cpp calls an architecture and its tensors, and in what its tensors differ from those of Transformers.

use crate::Architecture;
use crate::config::DecoderConfig;

/// Names of tensors outside the layers: llama.cpp's and Transformers'.
const OUTER: [(&str, &str); 3] =
    [("token_embd", "model.embed_tokens"), ("output_norm", "model.norm"), ("output", "lm_head")];

/// Names within a layer that all architectures share.
const INNER: [(&str, &str); 8] = [
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_qkv", "self_attn.qkv_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("attn_q_norm", "self_attn.q_norm"),
    ("attn_k_norm", "self_attn.k_norm"),
    ("ffn_down", "mlp.down_proj"),
];

/// Gate and up.
const GATED: &[(&str, &str)] = &[("ffn_gate", "mlp.gate_proj"), ("ffn_up", "mlp.up_proj")];

/// Both in one.
const FUSED: &[(&str, &str)] = &[("ffn_up", "mlp.gate_up_proj")];

/// The norms where they stand before attention and the feed-forward block, after both, around both, and before both at once.
const BEFORE: &[(&str, &str)] = &[("attn_norm", "input_layernorm"), ("ffn_norm", "post_attention_layernorm")];
const AFTER: &[(&str, &str)] =
    &[("post_attention_norm", "post_attention_layernorm"), ("post_ffw_norm", "post_feedforward_layernorm")];
const AROUND: &[(&str, &str)] = &[
    ("attn_norm", "input_layernorm"),
    ("post_attention_norm", "post_attention_layernorm"),
    ("ffn_norm", "pre_feedforward_layernorm"),
    ("post_ffw_norm", "post_feedforward_layernorm"),
];
const SHARED: &[(&str, &str)] = &[("attn_norm", "input_layernorm")];

/// An architecture as llama.cpp knows it.
#[derive(Debug)]
pub(super) struct Kind {
    architecture: Architecture,
    /// llama.cpp's name of it.
    name: &'static str,
    /// The type and the class in a `config.json`.
    model_type: &'static str,
    class: &'static str,
    norms: &'static [(&'static str, &'static str)],
    feed_forward: &'static [(&'static str, &'static str)],
    differs: Differs,
}

/// Which tensors differ from those of Transformers.
#[derive(Debug, Clone, Copy)]
enum Differs {
    Nothing,
    /// In the order of their rows.
    QueriesAndKeys,
    /// By 1.
    Norms,
}

const LLAMA: Kind = Kind {
    architecture: Architecture::Llama,
    name: "llama",
    model_type: "llama",
    class: "LlamaForCausalLM",
    norms: BEFORE,
    feed_forward: GATED,
    differs: Differs::QueriesAndKeys,
};
const QWEN2: Kind = Kind {
    architecture: Architecture::Qwen2,
    name: "qwen2",
    model_type: "qwen2",
    class: "Qwen2ForCausalLM",
    differs: Differs::Nothing,
    ..LLAMA
};
const GEMMA2: Kind = Kind {
    architecture: Architecture::Gemma2,
    name: "gemma2",
    model_type: "gemma2",
    class: "Gemma2ForCausalLM",
    norms: AROUND,
    differs: Differs::Norms,
    ..LLAMA
};
const COHERE: Kind = Kind {
    architecture: Architecture::Cohere,
    name: "command-r",
    model_type: "cohere",
    class: "CohereForCausalLM",
    norms: SHARED,
    ..QWEN2
};

static KINDS: [Kind; 10] = [
    LLAMA,
    QWEN2,
    Kind { architecture: Architecture::Qwen3, name: "qwen3", model_type: "qwen3", class: "Qwen3ForCausalLM", ..QWEN2 },
    GEMMA2,
    Kind {
        architecture: Architecture::Gemma3,
        name: "gemma3",
        model_type: "gemma3_text",
        class: "Gemma3ForCausalLM",
        ..GEMMA2
    },
    Kind {
        architecture: Architecture::SmolLm3,
        name: "smollm3",
        model_type: "smollm3",
        class: "SmolLM3ForCausalLM",
        ..LLAMA
    },
    Kind {
        architecture: Architecture::Olmo2,
        name: "olmo2",
        model_type: "olmo2",
        class: "Olmo2ForCausalLM",
        norms: AFTER,
        ..QWEN2
    },
    Kind {
        architecture: Architecture::Phi3,
        name: "phi3",
        model_type: "phi3",
        class: "Phi3ForCausalLM",
        feed_forward: FUSED,
        ..QWEN2
    },
    COHERE,
    Kind {
        architecture: Architecture::Cohere2,
        name: "cohere2",
        model_type: "cohere2",
        class: "Cohere2ForCausalLM",
        ..COHERE
    },
];

/// The names that are known, for errors.
pub(super) const KNOWN: &str = "llama, qwen2, qwen3, gemma2, gemma3, smollm3, olmo2, phi3, command-r or cohere2";

/// How a tensor in a file differs from that of Transformers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    None,
    /// Of each of so many heads, the rows of both halves lie in turn: LLaMA's queries and keys, whose pairs of dimensions
    /// llama.cpp rotates next to each other.
    Heads(usize),
    /// 1 is added: the norms of Gemma.
    PlusOne,
}

/// One of those architectures.
#[derive(Debug, Clone, Copy)]
pub(super) struct Family(&'static Kind);

impl Family {
    /// That of a model.
    pub(super) fn of(config: &DecoderConfig) -> Self {
        let kind = KINDS.iter().find(|kind| kind.architecture == config.architecture);
        Self(kind.expect("llama.cpp knows every architecture"))
    }

    /// The one of this name in llama.cpp, if it is computed here.
    pub(super) fn named(name: &str) -> Option<Self> {
        KINDS.iter().find(|kind| kind.name == name).map(Self)
    }

    pub(super) fn architecture(self) -> Architecture {
        self.0.architecture
    }

    pub(super) fn is_gemma(self) -> bool {
        matches!(self.architecture(), Architecture::Gemma2 | Architecture::Gemma3)
    }

    pub(super) fn is_cohere(self) -> bool {
        matches!(self.architecture(), Architecture::Cohere | Architecture::Cohere2)
    }

    /// The name in llama.cpp, and the type and class in a `config.json`.
    pub(super) fn names(self) -> (&'static str, &'static str, &'static str) {
        (self.0.name, self.0.model_type, self.0.class)
    }

    fn inner(self) -> impl Iterator<Item = &'static (&'static str, &'static str)> {
        INNER.iter().chain(self.0.feed_forward).chain(self.0.norms)
    }

    /// llama.cpp's name of a tensor of Transformers.
    pub(super) fn to_ggml(self, name: &str) -> Option<String> {
        let (path, last) = name.rsplit_once('.')?;
        if let Some((ggml, _)) = OUTER.iter().find(|(_, theirs)| *theirs == path) {
            return Some(format!("{ggml}.{last}"));
        }
        let (layer, part) = path.strip_prefix("model.layers.")?.split_once('.')?;
        let (ggml, _) = self.inner().find(|(_, theirs)| *theirs == part)?;
        Some(format!("blk.{layer}.{ggml}.{last}"))
    }

    /// Transformers' name of a tensor of llama.cpp.
    pub(super) fn to_transformers(self, name: &str) -> Option<String> {
        let (path, last) = name.rsplit_once('.')?;
        if let Some((_, theirs)) = OUTER.iter().find(|(ggml, _)| *ggml == path) {
            return Some(format!("{theirs}.{last}"));
        }
        let (layer, part) = path.strip_prefix("blk.")?.split_once('.')?;
        let (_, theirs) = self.inner().find(|(ggml, _)| *ggml == part)?;
        Some(format!("model.layers.{layer}.{theirs}.{last}"))
    }

    /// How a tensor, by Transformers' name, differs in the file. `heads` are those of queries and those of keys.
    pub(super) fn change(self, name: &str, heads: [usize; 2]) -> Change {
        let path = name.rsplit_once('.').map_or(name, |(path, _)| path);
        match self.0.differs {
            Differs::QueriesAndKeys if path.ends_with(".q_proj") => Change::Heads(heads[0]),
            Differs::QueriesAndKeys if path.ends_with(".k_proj") => Change::Heads(heads[1]),
            Differs::Norms if path.ends_with("norm") => Change::PlusOne,
            _ => Change::None,
        }
    }
}

impl Change {
    /// Whether a tensor of this shape can have it.
    pub(super) fn fits(self, shape: &[usize]) -> bool {
        match self {
            Self::Heads(heads) => shape.first().is_some_and(|rows| rows.is_multiple_of(2 * heads)),
            Self::None | Self::PlusOne => true,
        }
    }

    /// The row in the file that holds the row `row` of Transformers' tensor of so many rows; and the other way round with
    /// `back`.
    fn place(self, row: usize, rows: usize, back: bool) -> usize {
        let Self::Heads(heads) = self else {
            return row;
        };
        let of_head = rows / heads;
        let (head, within) = (row / of_head, row % of_head);
        let half = of_head / 2;
        let within = if back { within % 2 * half + within / 2 } else { within % half * 2 + within / half };
        head * of_head + within
    }

    /// The row of Transformers' tensor that lies as row `row` in the file.
    pub(super) fn row_of(self, row: usize, rows: usize) -> usize {
        self.place(row, rows, true)
    }

    /// Puts the rows of a file's tensor in the order of Transformers.
    pub(super) fn reordered<T: Copy>(self, values: Vec<T>, rows: usize) -> Vec<T> {
        if !matches!(self, Self::Heads(_)) || rows == 0 {
            return values;
        }
        let columns = values.len() / rows;
        let mut ordered = mpo_kernels::allocator::lasting(values.len());
        for row in 0..rows {
            let from = self.place(row, rows, false) * columns;
            ordered.extend_from_slice(&values[from..from + columns]);
        }
        ordered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_both_ways() {
        for kind in &KINDS {
            let family = Family(kind);
            assert_eq!(Family::named(kind.name).unwrap().architecture(), kind.architecture);
            assert!(KNOWN.contains(kind.name));
            let names = family.inner().map(|(ggml, _)| format!("blk.7.{ggml}.weight"));
            for name in names.chain(["token_embd.weight", "output_norm.weight", "output.weight"].map(str::to_owned)) {
                let theirs = family.to_transformers(&name).unwrap();
                assert_eq!(family.to_ggml(&theirs), Some(name));
            }
            assert_eq!(family.to_transformers("blk.0.ffn_gate_inp.weight"), None);
            assert_eq!(family.to_ggml("model.layers.0.mlp.experts.0.up_proj.weight"), None);
        }
        let ffn = |family: &str| Family::named(family).unwrap().to_transformers("blk.0.ffn_norm.weight").unwrap();
        assert_eq!(ffn("qwen3"), "model.layers.0.post_attention_layernorm.weight");
        assert_eq!(ffn("gemma2"), "model.layers.0.pre_feedforward_layernorm.weight");
        let up = |family: &str| Family::named(family).unwrap().to_transformers("blk.0.ffn_up.weight").unwrap();
        assert_eq!(up("phi3"), "model.layers.0.mlp.gate_up_proj.weight");
        assert_eq!(up("command-r"), "model.layers.0.mlp.up_proj.weight");
    }

    /// Two heads of four rows: halves a, b of each lie in turn.
    #[test]
    fn rows_of_a_head_lie_in_turn() {
        let change = Change::Heads(2);
        let theirs = ["a0", "a1", "b0", "b1", "c0", "c1", "d0", "d1"];
        let file: Vec<&str> = (0..8).map(|row| theirs[change.row_of(row, 8)]).collect();
        assert_eq!(file, ["a0", "b0", "a1", "b1", "c0", "d0", "c1", "d1"]);
        assert_eq!(change.reordered(file, 8), theirs);
        assert!(change.fits(&[8, 3]) && !change.fits(&[6, 3]) && !change.fits(&[]));
    }
}
