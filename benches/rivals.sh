#!/usr/bin/env bash
# MPO beside its rivals on a real model, as the paper's Tables 14 and 16 set them: methods that align states or answers between
# languages (SDRRL, CLA, LENS), and MAPO's and LIDR's rows under DPO and MPO.
#
#   benches/rivals.sh DATA MODEL WORK
#
# DATA   llama_mpo_data.json (the authors' rows) and prompts_200.json (the parallel prompts of LENS)
# MODEL  the model to align, as --model takes it; the docs have Qwen2.5-Coder-0.5B-Instruct
# WORK   where everything goes. What is there is not done again, so a run that was cut off goes on.
#
# By the environment: MPO_TRAIN (the program), DEVICE, SEEDS, LANGUAGES, SAMPLES (answers that MAPO draws to a prompt),
# STEPS (of training). jq is needed.
set -euo pipefail
if (($# != 3)); then
    sed -n '2,12p' "${BASH_SOURCE[0]}" >&2
    exit 2
fi
data=$1 model=$2 work=$3
mpo=${MPO_TRAIN:-mpo-train}
device=${DEVICE:-auto}
languages=${LANGUAGES:-zh,ko,sw}
mkdir -p "$work"

prepare() {
    local recipe=$1
    shift
    [[ -e $work/$recipe/prepared.json ]] ||
        "$mpo" prepare --recipe "$recipe" --model "$model" --languages "$languages" --device "$device" --output "$work/$recipe" "$@"
}

# The model's own refusals. Those of the last twelve prompts are held out, with all their languages; the other recipes make rows of
# the other prompts.
prepare paper --data "$data/llama_mpo_data.json" --translator phrases
if [[ ! -e $work/held.jsonl ]]; then
    mkdir -p "$work/unsafe"
    jq -c --arg languages "en,$languages" '.Instances[60:72][] | to_entries[] | select(.key | startswith("input_")) |
        {language: (.key | ltrimstr("input_")), prompt: .value} | select(.language | IN($languages | split(",")[]))' \
        "$data/prompts_200.json" >"$work/harmless.jsonl"
    jq -s -c '[.[] | .dominant.prompt] | unique_by(tostring) | .[-12:]' "$work/paper/rows.jsonl" >"$work/held-prompts.json"
    jq -c --slurpfile held "$work/held-prompts.json" '.dominant.prompt as $p | select($held[0] | index([$p]) | not)' \
        "$work/paper/rows.jsonl" >"$work/unsafe/rows.jsonl"
    jq -c --slurpfile held "$work/held-prompts.json" '.dominant.prompt as $p | select($held[0] | index([$p]))' \
        "$work/paper/rows.jsonl" >"$work/held.jsonl.part"
    mv "$work/held.jsonl.part" "$work/held.jsonl"
fi
prepare sdrrl --data "$work/unsafe/rows.jsonl"
prepare lidr --data "$work/unsafe/rows.jsonl"
prepare mapo --data "$work/unsafe/rows.jsonl" --dominant-pairs --samples "${SAMPLES:-20}"

# What each is trained on, from the same start, with the same tests and as many steps.
rivals() {
    local rows=$1 methods=$2 output=$work/compared/$1 resume=()
    shift 2
    [[ ! -e $output/mpo-train.json ]] || resume=(--resume)
    "$mpo" compare "${resume[@]}" --model "$model" --data "$work/$rows/rows.jsonl" --methods "$methods" \
        --eval-data "$work/held.jsonl" --benign "$work/harmless.jsonl" --seeds "${SEEDS:-1}" --adapter lora --lora-rank 16 \
        --lr 3e-4 --epochs 2 --max-steps "${STEPS:-22}" --batch-size 8 --max-tokens 320 --max-response-tokens 48 \
        --device "$device" --output "$output" "$@"
}
rivals unsafe mpo,lens
rivals sdrrl sft,sft-contrast --consistency-data "$work/unsafe/rows.jsonl"
rivals mapo dpo,mpo
rivals lidr dpo-nll,mpo
