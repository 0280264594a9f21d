#!/usr/bin/env bash
# From an empty folder to the tables of docs/results.md: rows with a model's own refusals, methods trained on them with
# several seeds, tests that none was trained or chosen on, and what of it chance alone could make.
#
#   benches/safety.sh DATA MODEL WORK
#
# DATA   llama_mpo_data.json (the authors' rows), prompts_200.json (the parallel prompts of LENS), MultiJail.csv,
#        xstest_prompts.csv, and mgsm/ with mgsm_en.tsv and others
# MODEL  the model to align, as --model takes it; the docs have Qwen2.5-Coder-0.5B-Instruct
# WORK   where everything goes. What is there is not done again, so a run that was cut off goes on.
#
# By the environment: MPO_TRAIN (the program), DEVICE, PRECISION, SEEDS, METHODS, LANGUAGES, TOKENS (of an answer, in training
# and in tests), LIMIT (questions of MultiJail and XSTest in a language), MGSM_LIMIT, JOBS (runs at once, for a GPU), BATCH
# (questions asked at once). jq is needed.
set -euo pipefail
if (($# != 3)); then
    sed -n '2,15p' "${BASH_SOURCE[0]}" >&2
    exit 2
fi
data=$1 model=$2 work=$3
mpo=${MPO_TRAIN:-mpo-train}
device=${DEVICE:-auto} precision=${PRECISION:-f32}
read -ra seeds <<<"${SEEDS:-1 2 3}"
read -ra methods <<<"${METHODS:-mpo mpo-paper sft orpo simpo dpo}"
languages=${LANGUAGES:-zh,ja,ko,ar,bn,sw}
tokens=${TOKENS:-96}
mkdir -p "$work"

# A method's settings, as a search on other prompts chose them, and its rows.
settings() {
    case $1 in
    mpo) echo "mixed.jsonl --method mpo --one-sided true --sft-weight 1 --lr 3e-4" ;;
    mpo-paper) echo "unsafe.jsonl --method mpo --lr 1e-4" ;;
    sft) echo "mixed.jsonl --method sft --lr 1e-4" ;;
    orpo) echo "mixed.jsonl --method orpo --lr 6e-4" ;;
    simpo) echo "mixed.jsonl --method simpo --sft-weight 0.3 --lr 3e-4" ;;
    dpo) echo "mixed.jsonl --method dpo --sft-weight 0.3 --lr 3e-4" ;;
    *)
        echo "error: expected one of mpo, mpo-paper, sft, orpo, simpo, dpo in METHODS, got $1" >&2
        exit 2
        ;;
    esac
}

# Rows: the model's own refusals of the authors' prompts, translated by a table of phrases, and harmless prompts with its own
# answers. The last ten unsafe prompts are held out with all their languages.
make_rows() {
    [[ -e $work/held.jsonl ]] && return
    jq -c '.Instances[:60][] | to_entries[] | select(.key | startswith("input_")) |
        {language: (.key | ltrimstr("input_")), prompt: .value}' "$data/prompts_200.json" >"$work/harmless.jsonl"
    "$mpo" prepare --model "$model" --data "$data/llama_mpo_data.json" --languages "$languages" --translator phrases \
        --benign "$work/harmless.jsonl" --benign-share 0.3 --device "$device" --output "$work/rows"
    local all=$work/rows/rows.jsonl
    jq -c 'select(.provenance.benign | not)' "$all" >"$work/all-unsafe.jsonl"
    jq -s -c '[.[] | .dominant.prompt] | unique_by(tostring) | .[-10:]' "$work/all-unsafe.jsonl" >"$work/held-prompts.json"
    jq -c --slurpfile held "$work/held-prompts.json" '.dominant.prompt as $p | select($held[0] | index([$p]) | not)' \
        "$work/all-unsafe.jsonl" >"$work/unsafe.jsonl"
    jq -c --slurpfile held "$work/held-prompts.json" '.dominant.prompt as $p |
        select((.provenance.benign // false) or ($held[0] | index([$p]) | not))' "$all" >"$work/mixed.jsonl"
    jq -c --slurpfile held "$work/held-prompts.json" '.dominant.prompt as $p | select($held[0] | index([$p]))' \
        "$work/all-unsafe.jsonl" >"$work/held.jsonl.part"
    mv "$work/held.jsonl.part" "$work/held.jsonl"
}

# One method with one seed: trained, and evaluated.
run_one() {
    local method=$1 seed=$2 rows flags
    local run=$work/runs/$method/seed-$seed
    if [[ ! -e $run/results.json ]]; then
        read -r rows flags <<<"$(settings "$method")"
        local resume=()
        [[ ! -e $run/mpo-train.json ]] || resume=(--resume)
        # shellcheck disable=SC2086
        "$mpo" train "${resume[@]}" --model "$model" --data "$work/$rows" $flags --seed "$seed" --epochs 2 --batch-size 8 \
            --adapter lora --lora-rank 16 --eval-data "$work/held.jsonl" --eval-rows 60 --max-tokens 512 \
            --max-response-tokens "$tokens" --micro-batch-tokens "${MICRO_BATCH_TOKENS:-1024}" --precision "$precision" \
            --device "$device" --output "$run"
    fi
    evaluate "$run/model" "$work/evals/$method/seed-$seed"
}

# The tests. MGSM's answers are longer than others.
evaluate() {
    local of=(--model "$1" --output "$2" --precision "$precision" --device "$device" --batch-size "${BATCH:-16}")
    "$mpo" eval "${of[@]}" --data "$work/held.jsonl" --max-response-tokens "$tokens" --max-tokens 512 \
        --benchmark "multijail=$data/MultiJail.csv" --benchmark "xstest=$data/xstest_prompts.csv" --benchmark benign=builtin \
        --languages "en,$languages" --max-new-tokens "$tokens" ${LIMIT:+--limit "$LIMIT"}
    "$mpo" eval "${of[@]}" --benchmark "mgsm=$data/mgsm" --languages "en,$languages" --max-new-tokens 256 \
        --limit "${MGSM_LIMIT:-80}"
}

make_rows
evaluate "$model" "$work/evals/untouched"
# One process after the other, or some at once: launches of several on one GPU take turns.
pairs=$(for seed in "${seeds[@]}"; do for method in "${methods[@]}"; do echo "$method $seed"; done; done)
if ((${JOBS:-1} > 1)); then
    running=0
    while read -r method seed; do
        run_one "$method" "$seed" >"$work/$method-$seed.log" 2>&1 &
        ((++running < JOBS)) || { wait -n; ((running--)); }
    done <<<"$pairs"
    wait
else
    while read -r method seed; do run_one "$method" "$seed"; done <<<"$pairs"
fi
for method in "${methods[@]}"; do
    echo "== $method"
    "$mpo" difference "$work/evals/untouched" "${seeds[@]/#/$work/evals/$method/seed-}" --dominant en |
        tee "$work/$method.txt"
done
