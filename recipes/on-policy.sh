#!/usr/bin/env bash
# From unsafe prompts to a verdict with a model of the paper: rows of its own refusals, training, evaluation, one page.
# The same command goes on where it was interrupted. docs/recipes.md has more.
set -euo pipefail

if (($# < 5)); then
    echo "usage: $0 RECIPE OUTPUT UNSAFE.jsonl HARMLESS.jsonl MULTIJAIL.csv [flags of mpo-train train]" >&2
    exit 2
fi
recipe=$1 output=$2 unsafe=$3 harmless=$4 multijail=$5
shift 5

case $recipe in
    llama-3.1-8b) model=meta-llama/Llama-3.1-8B-Instruct ;;
    gemma-2-9b) model=google/gemma-2-9b-it ;;
    qwen2.5-7b) model=Qwen/Qwen2.5-7B-Instruct ;;
    *)
        echo "$0: expected llama-3.1-8b, gemma-2-9b or qwen2.5-7b, got $recipe" >&2
        exit 2
        ;;
esac

rows=(--model "$model" --data "$unsafe" --languages zh,ja,ko,ar,bn,sw --output "$output/rows")
rows+=(--translator phrases --translator "${TRANSLATOR:-model}" ${TRANSLATOR_KEY:+--translator-key "$TRANSLATOR_KEY"})
settings=(--recipe "$recipe" --model "$model" --data "$output/rows/rows.jsonl" --eval-split 0.1 --eval-every 10 "$@")
if [[ -n $harmless ]]; then
    rows+=(--benign "$harmless" --benign-share 0.3)
    settings+=(--one-sided true)
fi

mpo-train prepare "${rows[@]}"
mpo-train score --model "$model" --data "$output/rows/rows.jsonl"
if [[ -e $output/run/mpo-train.json ]]; then
    mpo-train train --resume --output "$output/run"
else
    mpo-train train "${settings[@]}" --output "$output/run"
fi

benchmarks=(--benchmark "multijail=$multijail" --benchmark benign=builtin)
mpo-train eval --model "$model" "${benchmarks[@]}" --output "$output/base"
mpo-train eval --model "$output/run/model" "${benchmarks[@]}" --output "$output/eval"
mpo-train report "$output/base" "$output/eval" --output "$output/report.html"
