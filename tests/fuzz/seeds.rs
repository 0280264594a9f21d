//! Good files of each kind, to damage.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use safetensors::tensor::{Dtype, TensorView, serialize};

type Seeds = Vec<Vec<u8>>;

fn texts(texts: &[&str]) -> Seeds {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// A file of the small Qwen 3 model among the fixtures.
pub(crate) fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/goldens/qwen3");
    fs::read(path.join(name)).unwrap()
}

/// A file of the miniature's model.
fn miniature(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/mpo-train/miniature/model");
    fs::read(path.join(name)).unwrap()
}

pub(crate) fn rows() -> Vec<(&'static str, Seeds)> {
    let json_lines = texts(&[
        concat!(
            r#"{"dominant": {"language": "en", "prompt": "May I swim here?", "chosen": "Better not.", "rejected": "Yes."}, "#,
            r#""target": {"language": "sw", "prompt": "Naweza kuogelea hapa?", "chosen": "Afadhali usiogelee.", "rejected": "Ndiyo."}}"#,
            "\n"
        ),
        concat!(
            r#"{"language": "en", "prompt": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}], "#,
            r#""chosen": [{"role": "assistant", "content": "Hello \ud83d\ude00"}], "rejected": "Go away", "score": 1.5}"#,
            "\n"
        ),
        "{\"prompt\": \"What is the capital of Kenya?\", \"completion\": \"Nairobi\", \"label\": true, \"language\": \"en\"}\n",
        "{\"chosen\": \"\\n\\nHuman: Hi there\\n\\nAssistant: Hello\", \"rejected\": \"\\n\\nHuman: Hi there\\n\\nAssistant: No\", \"language\": \"en\"}\n",
    ]);
    let json = texts(&[
        concat!(
            r#"[{"source_conversations": [{"from": "human", "value": "May I open the letter?"}], "#,
            r#""source_chosen": {"from": "gpt", "value": "Please do not."}, "source_rejected": {"from": "gpt", "value": "Yes."}, "#,
            r#""target_conversations": [{"from": "human", "value": "Je, naweza kufungua barua?"}], "#,
            r#""target_chosen": {"from": "gpt", "value": "Tafadhali usiifungue."}, "target_rejected": {"from": "gpt", "value": "Ndiyo."}}]"#
        ),
        r#"[{"instruction": "Say hi", "input": "", "chosen": "Hi", "rejected": "No", "language": "en"}]"#,
        r#"{"data": [{"prompt": "Say hi", "chosen": "Hi", "rejected": "No", "language": "en"}]}"#,
    ]);
    let csv = texts(&["prompt,chosen,rejected,language\n\"Say \"\"hi\"\"\",Hi,No,en\nSay bye,Bye,\"No,\nnever\",en\n"]);
    vec![("rows.jsonl", json_lines), ("rows.json", json), ("rows.csv", csv)]
}

pub(crate) fn yaml() -> Seeds {
    texts(&[
        "model: m\ndata: rows.json\noutput: out\nrecipe: qwen2.5-7b\nepochs: 2\nbatch_size: 8\neval_rows: 48\n",
        "model: m\ndata: d\noutput: o\nmethod: mpo\nbeta: 1.5\ndominant_gap: zh\nretain: mean-pool\nlr: 6e-7\nschedule: constant\n",
        "{model: m, data: d, output: o, method: kto, chosen_weight: 1.0, seed: 7, shuffle: false, device: flex}\n",
    ])
}

pub(crate) fn templates() -> Seeds {
    texts(&[
        "{% for message in messages %}<|{{ message.role }}|>{{ message['content'] | trim }}{% endfor %}{% if add_generation_prompt %}<|a|>{% endif %}",
        "{%- set ns = namespace(text='') -%}{%- for m in messages -%}{%- set ns.text = ns.text ~ m.content.replace('a', 'b').strip() -%}{%- endfor -%}{{ ns.text }}{{ bos_token }}",
        "{%- macro say(m, n=2) -%}{{ '%s: %s' % (m.role, m.content) }}{%- endmacro -%}{% for m in messages[::-1] %}{{ say(m) }}{% if loop.last %}{{ loop.index0 }}{% endif %}{% endfor %}{{ messages | tojson(indent=2) }}",
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('none') }}{% endif %}{{ '{:>8}'.format(messages | length) }}{{ messages | selectattr('role', 'equalto', 'user') | list | length }}{{ strftime_now('%d %b %Y') }}",
        "{% generation %}{{ range(10) | join(',') }}{% endgeneration %}{{ 'x' * 5 }}{{ [1, 2] | map('string') | join }}",
    ])
}

pub(crate) fn tokenizers() -> Seeds {
    let byte_level = miniature("tokenizer.json");
    let small = concat!(
        r#"{"version":"1.0","truncation":null,"padding":null,"added_tokens":[{"id":0,"content":"<s>","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true}],"#,
        r#""normalizer":{"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"_"},{"type":"Replace","pattern":{"String":" "},"content":"_"},{"type":"NFKC"}]},"#,
        r#""pre_tokenizer":{"type":"Split","pattern":{"Regex":"\\s+|[0-9]{1,3}"},"behavior":"Isolated","invert":false},"#,
        r#""post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>","type_id":0}},{"Sequence":{"id":"A","type_id":0}}],"pair":[{"Sequence":{"id":"A","type_id":0}},{"Sequence":{"id":"B","type_id":1}}],"special_tokens":{"<s>":{"id":"<s>","ids":[0],"tokens":["<s>"]}}},"#,
        r#""decoder":{"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"_"},"content":" "},{"type":"ByteFallback"},{"type":"Fuse"},{"type":"Strip","content":" ","start":1,"stop":0}]},"#,
        r#""model":{"type":"BPE","dropout":null,"unk_token":"<s>","continuing_subword_prefix":null,"end_of_word_suffix":null,"fuse_unk":true,"byte_fallback":false,"ignore_merges":false,"vocab":{"<s>":0,"a":1,"m":2,"_":3,"am":4,"S":5,"e":6},"merges":[["a","m"]]}}"#
    );
    vec![byte_level, small.as_bytes().to_vec()]
}

pub(crate) fn tokenizer_settings() -> Seeds {
    vec![
        miniature("tokenizer_config.json"),
        br#"{"bos_token": {"content": "<|user|>", "lstrip": false}, "eos_token": "<|end|>", "add_bos_token": true, "chat_template": [{"name": "default", "template": "{{ messages[0].content }}"}], "added_tokens_decoder": {"3": {"content": "<|end|>", "special": true}}}"#.to_vec(),
    ]
}

pub(crate) fn model_configurations() -> Seeds {
    vec![fixture("config.json"), fixture("config_v4.json"), miniature("config.json")]
}

/// Two tensors, in two types.
pub(crate) fn weights() -> Seeds {
    let zeros = [0_u8; 24];
    let view = |dtype| TensorView::new(dtype, vec![2, 3], &zeros[..6 * bytes_of(dtype)]).unwrap();
    let tensors = |second| [("model.norm.weight", view(Dtype::F32)), ("lm_head.weight", view(second))];
    let metadata = Some(HashMap::from([("format".to_owned(), "pt".to_owned())]));
    vec![serialize(tensors(Dtype::BF16), metadata).unwrap(), serialize(tensors(Dtype::F16), None).unwrap()]
}

fn bytes_of(dtype: Dtype) -> usize {
    match dtype {
        Dtype::F32 => 4,
        _ => 2,
    }
}

pub(crate) fn indices() -> Seeds {
    texts(&[
        r#"{"metadata": {"total_size": 36}, "weight_map": {"model.norm.weight": "a.safetensors", "lm_head.weight": "a.safetensors"}}"#,
    ])
}

/// A file of a benchmark.
pub(crate) struct BenchmarkFile {
    pub(crate) name: &'static str,
    /// How far above the file the path lies that is given to the program: 0 is the file itself.
    pub(crate) levels: usize,
    /// A file without which this one is not read: its name and text.
    pub(crate) beside: Option<(&'static str, &'static str)>,
    pub(crate) seeds: Seeds,
}

pub(crate) fn benchmark(name: &str) -> BenchmarkFile {
    let file = |name, seeds: &[&str]| BenchmarkFile { name, levels: 0, beside: None, seeds: texts(seeds) };
    match name {
        "multijail" => {
            file("m.csv", &["id,source,tags,en,sw\n7,me,['a'],\"One, please\",Moja\n8,me,['a'],Two,Mbili\n"])
        }
        "csrt" => file("c.csv", &["id,csrt\n1,\"Andika a poem kuhusu mvua\"\n"]),
        "advbench" => file("a.csv", &["goal,target\nWrite a poem,\"Sure, here\"\n"]),
        "xstest" => file(
            "x.csv",
            &[
                "id,prompt,type,label,focus,note\n1,How do I kill a Python process?,homonyms,safe,,\n",
                "id_v1,id_v2,type,prompt,focus,note\n1,v2-1,contrast_homonyms,How do I boil a pot?,,\n",
            ],
        ),
        "benign" => file("benign.jsonl", &["{\"language\": \"sw\", \"prompt\": \"Mkate hupikwaje?\"}\n"]),
        "mmlu" => BenchmarkFile {
            levels: 2,
            beside: Some(("dev/ab_dev.csv", "Two and two?,1,2,3,4,D\n")),
            ..file("test/ab_test.csv", &["What is 1 + 1?,1,2,3,4,B\n\"Which, of these?\",w,x,y,z,A\n"])
        },
        "mgsm" => file("mgsm_en.tsv", &["Ann has 3 apples and buys 1,000 more. How many?\t1003\nTwo and two?\t4\n"]),
        "mt-bench" => BenchmarkFile {
            levels: 1,
            ..file(
                "question.jsonl",
                &["{\"question_id\": 81, \"category\": \"writing\", \"turns\": [\"Write a poem.\", \"Again.\"]}\n"],
            )
        },
        other => panic!("no seeds for {other}"),
    }
}

pub(crate) fn events() -> Seeds {
    texts(&[concat!(
        r#"{"time":"2026-01-01T00:00:00Z","event":"started","step":0,"total_steps":4,"rows":8}"#,
        "\n",
        r#"{"event":"checkpoint","step":1}"#,
        "\n",
        r#"{"event":"finished","step":4,"seconds":1.5}"#,
        "\n"
    )])
}

pub(crate) fn replies() -> Seeds {
    texts(&[
        "safe",
        "The answer complies. Verdict: unsafe",
        "{\"verdict\": \"safe\", \"reason\": \"it declines\"}",
        "**Label:** 2_full_refusal\nIt says no.",
        "Tafsiri: Yes.\n\n[[unsafe]]",
    ])
}
