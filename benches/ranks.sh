#!/usr/bin/env bash
# How much faster several processes train one model than one does, each with one thread:
#
#   benches/ranks.sh MODEL ROWS [RANKS]     rows of MPO; three steps of eight are taken of them
#
# MPO_TRAIN names the program, built with --features mpi. Prints a table of tokens per second, the first step left out.
set -euo pipefail

if (($# < 2)); then
    echo 'usage: benches/ranks.sh MODEL ROWS [RANKS]' >&2
    exit 2
fi
model=$1 rows=$2 ranks=${3:-2}
program=${MPO_TRAIN:-mpo-train}
export RAYON_NUM_THREADS=1
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
head -n 24 "$rows" > "$work/rows.jsonl"

# Open MPI's mpirun wants to be told that the user is root; others do not mind.
((EUID != 0)) || export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

printf '| ranks | step 2 | step 3 |\n|---:|---:|---:|\n'
for n in 1 "$ranks"; do
    launcher=()
    ((n == 1)) || launcher=(mpirun --oversubscribe --bind-to none -n "$n")
    "${launcher[@]}" "$program" train --device flex --model "$model" --data "$work/rows.jsonl" --batch-size 8 --lr 1e-5 \
        --epochs 1 --eval-rows 0 --checkpoint-every 100 --quiet --output "$work/$n" > /dev/null
    printf '| %s |' "$n"
    sed -n 's/.*"step":[23],.*"tokens_per_second":\([0-9.]*\).*/\1/p' "$work/$n/events.jsonl" |
        while read -r speed; do printf ' %.1f |' "$speed"; done
    printf '\n'
done
