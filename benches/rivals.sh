#!/usr/bin/env bash
# MPO beside its rivals on a real model, as the paper's Tables 14 and 16 set them: methods that align states or answers between
# languages (SDRRL, CLA, LENS), and MAPO's and LIDR's rows under DPO and MPO.
#
#   benches/rivals.sh DATA MODEL WORK
#
# DATA   llama_mpo_data.json, the authors' rows
# MODEL  the model to align, as --model takes it; the docs have Qwen2.5-Coder-0.5B-Instruct
# WORK   where everything goes. What is there is not done again, so a run that was cut off goes on.
#
# By the environment: MPO_TRAIN (the program), DEVICE, SEEDS, LANGUAGES, SAMPLES (answers that MAPO draws to a prompt). jq is needed.
set -euo pipefail
if (($# != 3)); then
    sed -n '2,13p' "${BASH_SOURCE[0]}" >&2
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
prepare paper --data "$data" --translator phrases
if [[ ! -e $work/held.jsonl ]]; then
    jq -s -c '[.[] | .dominant.prompt] | unique_by(tostring) | .[-12:]' "$work/paper/rows.jsonl" >"$work/held-prompts.json"
    jq -c --slurpfile held "$work/held-prompts.json" '.dominant.prompt as $p | select($held[0] | index([$p]) | not)' \
        "$work/paper/rows.jsonl" >"$work/unsafe.jsonl"
    jq -c --slurpfile held "$work/held-prompts.json" '.dominant.prompt as $p | select($held[0] | index([$p]))' \
        "$work/paper/rows.jsonl" >"$work/held.jsonl.part"
    mv "$work/held.jsonl.part" "$work/held.jsonl"
fi
prepare sdrrl --data "$work/unsafe.jsonl"
prepare lidr --data "$work/unsafe.jsonl"
prepare mapo --data "$work/unsafe.jsonl" --dominant-pairs --samples "${SAMPLES:-20}"

# Both tables from the same start, with the same tests and the same length of training.
rivals() {
    local table=$1 resume=()
    shift
    [[ ! -e $work/$table/mpo-train.json ]] || resume=(--resume)
    "$mpo" compare "${resume[@]}" --model "$model" --eval-data "$work/held.jsonl" --benign builtin --seeds "${SEEDS:-1}" \
        --adapter lora --lora-rank 16 --lr 3e-4 --epochs 2 --batch-size 8 --max-tokens 320 --max-response-tokens 48 \
        --device "$device" --output "$work/$table" "$@"
}
rivals table-14 --methods mpo,sft,sft-contrast,lens --grid "data=$work/unsafe.jsonl,$work/sdrrl/rows.jsonl"
rivals table-16 --methods dpo,dpo-nll,mpo --grid "data=$work/mapo/rows.jsonl,$work/lidr/rows.jsonl"
