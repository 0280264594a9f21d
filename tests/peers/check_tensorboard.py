"""Reads runs with TensorBoard's own readers and holds every scalar against events.jsonl, in f32.

    pip install tensorboard numpy
    python check_tensorboard.py runs/qwen [runs/…]
"""

import json
import pathlib
import sys

import numpy
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

NO_SCALARS = {"step", "event", "wall_time", "check", "seconds_left", "trained_on", "samples", "warnings"}


def logged(run):
    """Tag to [(step, value)] of events.jsonl, and the number of sampled answers by step."""
    scalars, samples = {}, {}
    for line in (run / "events.jsonl").read_text().splitlines():
        event = json.loads(line)
        if event["event"] not in ("step", "measured"):
            continue
        for key, value in event.items():
            if key not in NO_SCALARS:
                scalars.setdefault(key, []).append((event["step"], float(numpy.float32(value)), event["wall_time"]))
        if event.get("samples"):
            samples[event["step"]] = len(event["samples"])
    return scalars, samples


def main():
    for run in map(pathlib.Path, sys.argv[1:]):
        board = EventAccumulator(str(run), size_guidance={"scalars": 0, "tensors": 0})
        board.Reload()
        scalars, samples = logged(run)
        tags = board.Tags()
        assert sorted(tags["scalars"]) == sorted(scalars), set(tags["scalars"]) ^ set(scalars)
        for tag, expected in scalars.items():
            got = [(of.step, of.value, of.wall_time) for of in board.Scalars(tag)]
            assert got == expected, (tag, got, expected)
        shown = {}
        for tag in tags["tensors"]:
            assert board.SummaryMetadata(tag).plugin_data.plugin_name == "text", tag
            for of in board.Tensors(tag):
                if tag.startswith("samples/"):
                    shown[of.step] = shown.get(of.step, 0) + len(of.tensor_proto.string_val)
        assert shown == samples, (shown, samples)
        values = sum(map(len, scalars.values()))
        print(f"{run}: {len(scalars)} tags, {values} values equal in f32, {sum(samples.values())} answers as text")


main()
