"""The attack in small: each part runs, and finds nothing."""

import json

import pytest

from experiments import attack


@pytest.mark.measurement
def test_a_small_attack_finds_nothing(tmp_path, capsys):
    attack.main(
        ["--parts", "bodies", "unread", "crowds", "restarts", "files", "--bodies", "30", "--connections", "40"]
        + ["--seconds", "0.5", "--restarts", "1", "--clients", "48", "--flips", "12", "--output", str(tmp_path)]
    )
    report = json.loads((tmp_path / "attack.json").read_text(encoding="utf-8"))
    assert not any(part["failed"] for part in report["parts"].values())
    assert [report["parts"][name]["tried"] for name in ("bodies", "unread", "files")] == [30, 100, 15]
    assert report["parts"]["restarts"]["tried"] > 48 and report["parts"]["crowds"]["slow body"]["answered"] >= 1
    assert "restarts" in capsys.readouterr().out
