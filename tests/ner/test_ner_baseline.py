"""The baselines: what the CRF knows of a unit."""

from ner.baseline import features


def test_the_kinds_of_units_know_capitals():
    [first, *_, last] = features(["NBA", "Kim", "王", "12", "。"])
    assert "kinds=<<Aa字" in first and "kinds=字D.>>" in last and "c=nba" in first
