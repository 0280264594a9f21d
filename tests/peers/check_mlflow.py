"""Reads runs with MLflow's own reader and holds every number, setting and time against events.jsonl and mpo-train.json.

    pip install mlflow-skinny
    python check_mlflow.py runs/qwen [runs/…]
"""

import json
import os
import pathlib
import sys

# MLflow 3 reads stores of files only where it is told to.
os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"

from mlflow import MlflowClient

NO_NUMBERS = {"step", "event", "wall_time", "check", "seconds_left", "trained_on", "samples", "warnings"}


def milliseconds(event):
    return round(event["wall_time"] * 1000)


def main():
    for path in map(pathlib.Path, sys.argv[1:]):
        events = [json.loads(line) for line in (path / "events.jsonl").read_text().splitlines()]
        numbers = {}
        for event in events:
            if event["event"] in ("step", "measured"):
                for key, value in event.items():
                    if key not in NO_NUMBERS:
                        numbers.setdefault(key.replace("/", "."), []).append((event["step"], value, milliseconds(event)))
        client = MlflowClient((path / "mlruns").resolve().as_uri())
        [experiment] = client.search_experiments()
        [run] = client.search_runs([experiment.experiment_id])
        assert set(run.data.metrics) == set(numbers), set(run.data.metrics) ^ set(numbers)
        for key, expected in numbers.items():
            got = [(of.step, of.value, of.timestamp) for of in client.get_metric_history(run.info.run_id, key)]
            assert got == expected, (key, got, expected)
        # What decides the run's outcome stands in its marker.
        settings = json.loads((path / "mpo-train.json").read_text())["identity"]["settings"]
        settings = {key: value if isinstance(value, str) else json.dumps(value) for key, value in settings.items()}
        params = run.data.params
        assert params.keys() == settings.keys(), params.keys() ^ settings.keys()
        for key, value in settings.items():
            same = params[key] == value or json.loads(params[key]) == json.loads(value)
            assert same, (key, params[key], value)
        first, last = events[0], events[-1]
        assert run.info.start_time == milliseconds(first), run.info
        assert run.info.status == ("FINISHED" if last["event"] == "finished" else "RUNNING"), run.info
        assert run.info.run_name == path.resolve().name, run.info
        assert run.data.tags["device"] == first["device"], run.data.tags
        values = sum(map(len, numbers.values()))
        print(f"{path}: {len(numbers)} metrics, {values} values and {len(settings)} parameters equal, {run.info.status}")


main()
