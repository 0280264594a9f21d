#!/usr/bin/env bash
# What only an NVIDIA GPU can show, in one command: kernels and parity against their references there, the card's ceilings,
# the kernels' table, and steps of models with random weights.
#
#   benches/gpu.sh            builds, then runs, on a machine that has a toolchain and the GPU
#   benches/gpu.sh pack DIR   builds only, and puts everything that `run` needs into DIR
#   benches/gpu.sh run DIR    runs what was packed, in this repository, on a machine with a GPU: no toolchain needed
#
# A driver and CUDA's libdevice.10.bc are needed (of a CUDA toolkit in $CUDA_PATH or /usr/local/cuda, or of Triton).
# QUICK=1 leaves the large models out. OUT is where logs go.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

CONFIGS=benches/models

pack() {
    local folder=$1
    mkdir -p "$folder"
    # The same packages and features both times, so that what they stand on is compiled once.
    local what=(--release --package mpo-kernels --package mpo-tests --package mpo-benches --package mpo-train
        --features mpo-kernels/cuda,mpo-tests/cuda,mpo-benches/cuda,mpo-train/cuda)
    cargo test "${what[@]}" --no-run --lib --test gpu --test precision --bench attention --bench layers --bench log_probs \
        --bench products --bench step 2>&1 | tee "$folder/build.log"
    cargo build "${what[@]}" --bin mpo-train
    cp "${CARGO_TARGET_DIR:-target}/release/mpo-train" "$folder/mpo-train"
    local name path
    for name in mpo_kernels gpu precision attention layers log_probs products step; do
        path=$(sed -n "s/^ *Executable .*(\(.*\/$name-[0-9a-f]*\))$/\1/p" "$folder/build.log" | tail -1)
        cp "$path" "$folder/$name"
    done
}

# Where the math functions of GPU code are. Triton, which comes with PyTorch, has a copy.
find_libdevice() {
    local root
    for root in "${CUDA_PATH:-}" /usr/local/cuda /opt/cuda /usr/lib/cuda /usr; do
        [[ ! -f "$root/nvvm/libdevice/libdevice.10.bc" ]] || return 0
    done
    local found
    found=$(find / -xdev -name libdevice.10.bc -print -quit 2>/dev/null || true)
    if [[ -z "$found" ]]; then
        echo 'error: expected libdevice.10.bc, got none' >&2
        echo 'hint: set CUDA_PATH to a CUDA toolkit (nvvm/libdevice/libdevice.10.bc is read)' >&2
        exit 1
    fi
    export CUDA_PATH=${OUT}/cuda
    mkdir -p "$CUDA_PATH/nvvm/libdevice"
    cp "$found" "$CUDA_PATH/nvvm/libdevice/"
}

# Runs a command with its output in a log; says how it ended.
failed=0
step() {
    local name=$1 start=$SECONDS
    shift
    if "$@" >"$OUT/$name.log" 2>&1; then
        echo "ok      $name ($((SECONDS - start)) s)"
    else
        echo "FAILED  $name ($((SECONDS - start)) s): the end of $OUT/$name.log is"
        tail -n 20 "$OUT/$name.log"
        failed=1
    fi
}

# Runs each test of a program in a process of its own, as many at once as there are processors: most of a test's time on a new
# machine is compiling kernels, which a process does one after the other.
each_test() {
    local program=$1 names
    names=$("$program" --list 2>/dev/null | sed -n 's/: test$//p')
    [[ -n "$names" ]] || { echo "expected tests in $program, got none"; return 1; }
    echo "$names" | xargs -P "$(nproc)" -I{} bash -c \
        'timeout 300 "$0" --exact "$1" >"$OUT/test-$$.log" 2>&1 || { echo "FAILED $1"; cat "$OUT/test-$$.log"; exit 1; }' \
        "$program" {}
}

run() {
    local folder=$1
    export OUT=${OUT:-target/gpu}
    mkdir -p "$OUT"
    find_libdevice
    export MPO_TEST_CUDA=1
    echo "mpo-train $(git describe --always --dirty 2>/dev/null || echo unknown), $(nvidia-smi \
        --query-gpu=name,memory.total,driver_version --format=csv,noheader)"

    step kernels each_test "$folder/mpo_kernels"
    CARGO_MANIFEST_DIR=tests step parity each_test "$folder/gpu"
    CARGO_MANIFEST_DIR=tests step precision each_test "$folder/precision"
    step miniature "$folder/mpo-train" --device cuda --output "$OUT/miniature"
    for dtype in f32 bf16; do
        step "products-$dtype" "$folder/products" --device cuda --dtype "$dtype" --rows 4096
        step "log_probs-$dtype" "$folder/log_probs" --device cuda --dtype "$dtype" --shape 4096x128256x4096 --repetitions 5
        step "attention-$dtype" "$folder/attention" --device cuda --dtype "$dtype"
        step "layers-$dtype" "$folder/layers" --device cuda --dtype "$dtype" --shapes llama-3.1-8b --tokens 4096 --length 512
    done
    # Of the state that fits a card of 80 GB, and of an adapter; weights are random.
    local of=(--device cuda --precision bf16 --prompt-tokens 96 --answer-tokens 192 --batch-size 8 --steps 3
        --micro-batch-tokens 4096 --recompute)
    step step-1.5b "$folder/step" "${of[@]}" --config "$CONFIGS/qwen2.5-1.5b/config.json"
    if [[ -z "${QUICK:-}" ]]; then
        step step-8b "$folder/step" "${of[@]}" --config "$CONFIGS/llama-3.1-8b/config.json" --optimizer-state bf16
        step step-8b-host "$folder/step" "${of[@]}" --config "$CONFIGS/llama-3.1-8b/config.json" --optimizer-state host
        step step-8b-lora "$folder/step" "${of[@]}" --config "$CONFIGS/llama-3.1-8b/config.json" --lora-rank 16
    fi
    tail -n 40 "$OUT"/miniature.log "$OUT"/products-*.log "$OUT"/log_probs-*.log "$OUT"/attention-*.log "$OUT"/layers-*.log "$OUT"/step-*.log
    return "$failed"
}

case ${1:-all} in
pack) pack "$2" ;;
run) run "$2" ;;
all)
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
    pack "$folder"
    run "$folder"
    ;;
*)
    sed -n '2,12p' "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
esac
