"""The measurements of the server, each for a moment, on a BERT made small."""

import json
import sys
from pathlib import Path

import pytest

from core.console import UserError
from experiments import serving
from experiments.servers import running_command, running_function, watched_memory

TINY = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
TINY |= {"max_position_embeddings": 64, "vocab_size": 1000}


def run_parts(monkeypatch, data, folder, *parts):
    monkeypatch.setattr(serving, "BERT_BASE", TINY)
    monkeypatch.setattr(serving, "WARM_UP_SECONDS", 0.3)
    flags = ["--random-bert-base", "--data-dir", str(data), "--output", str(folder), "--parts", *parts]
    flags += ["--seconds", "0.3", "--rounds", "1", "--minutes", "0.01", "--crowd", "150", "--titles", "20"]
    serving.main(flags)
    return json.loads((folder / "api_benchmark.json").read_text(encoding="utf-8"))


@pytest.mark.measurement
def test_what_the_server_bears(monkeypatch, data, tmp_path, teacher):
    run_parts(monkeypatch, data, tmp_path, "server", "overload", "soak")
    report = run_parts(monkeypatch, data, tmp_path, "restart", "equal")  # added to what the file holds
    assert report["model"] == "bert-base at random, INT8" and "predictor" not in report
    assert report["server"]["16 client(s)"]["requests_per_s"] > 0
    crowd = report["overload"]["crowd"]
    assert "200" in crowd["statuses"].keys() <= {"200", "503"} and not crowd["errors"]
    assert report["overload"]["second_after"]["statuses"].keys() == {"200"}
    assert report["overload"]["during_mb"] > 20
    assert report["soak"]["statuses"].keys() == {"200"} and report["soak"]["memory_mb"]
    assert 0 < report["restart"]["seconds_to_ready"] < 30
    assert report["equal"]["titles"] == 20 and report["equal"]["largest_confidence_gap"] < 0.1
    with pytest.raises(UserError, match="made with another model"):
        serving.main(
            ["--model", str(teacher), "--parts", "restart", "--data-dir", str(data), "--output", str(tmp_path)]
        )


@pytest.mark.measurement
def test_what_the_server_costs(monkeypatch, data, tmp_path):
    report = run_parts(monkeypatch, data, tmp_path, "nothing", "flask")
    for part in ("nothing", "flask"):
        for clients in (1, 16):
            assert report[part][f"{clients} client(s)"]["statuses"].keys() == {"200"}
            assert not report[part][f"{clients} client(s)"]["errors"]


def test_rates_of_the_predictor(teacher):
    rates = serving.predictor_rates(teacher, ["球队夺冠", "银行"], 0.1)
    assert rates.keys() == {"batch of 1", "batch of 16"}
    assert all(rate["requests_per_s"] > 0 for rate in rates.values())


def test_a_server_that_does_not_start():
    with pytest.raises(UserError, match="did not start"), running_command([sys.executable, "-c", ""]):
        pytest.fail("it did not start")
    with pytest.raises(UserError, match="exit did not start"), running_function(sys.exit):
        pytest.fail("it did not start")


def test_memory_is_watched():
    import os

    with watched_memory(os.getpid()) as seen:
        pass
    assert seen and seen[0] > 20


def test_impossible_knobs():
    with pytest.raises(UserError, match="--rounds"):
        serving.main(["--rounds", "0", "--output", str(Path("nowhere"))])
