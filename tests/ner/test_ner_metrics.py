"""Entity scores, against seqeval's and by hand."""

import random

import pytest

from ner.metrics import bad_cases, entity_metrics, row_counts
from ner.tags import Entity, bio, read_tags, tags_of


def test_scores_are_those_of_seqeval():
    seqeval = pytest.importorskip("seqeval.metrics")
    from seqeval.scheme import IOB2

    rng = random.Random(0)
    tags = tags_of(["A", "B"])
    true = [rng.choices(tags, [6, 1, 2, 1, 2], k=rng.randint(1, 12)) for _ in range(200)]
    true = [bio(read_tags(row, "BIO")[0], len(row)) for row in true]  # legal ones
    found = [[tag if rng.random() < 0.8 else rng.choice(tags) for tag in row] for row in true]
    found = [bio(read_tags(row, "BIO")[0], len(row)) for row in found]
    entities = [[read_tags(row, "BIO")[0] for row in rows] for rows in (true, found)]
    ours = entity_metrics(["x" * len(row) for row in true], *entities, ["A", "B"])
    theirs = seqeval.classification_report(true, found, mode="strict", scheme=IOB2, output_dict=True)
    for name, average in (("", "micro avg"), ("macro_", "macro avg")):
        for ours_is, theirs_is in (("precision", "precision"), ("recall", "recall"), ("f1", "f1-score")):
            assert ours[name + ours_is] == pytest.approx(theirs[average][theirs_is])
    for label in "AB":
        assert ours["per_class"][label]["f1"] == pytest.approx(theirs[label]["f1-score"])
        assert ours["per_class"][label]["n"] == theirs[label]["support"]


def test_partial_and_unseen_entities():
    text = "王芳在北京大学读书"
    true, found = [[Entity(0, 2, "PER"), Entity(3, 7, "ORG")]], [[Entity(0, 2, "PER"), Entity(3, 5, "ORG")]]
    scores = entity_metrics([text], true, found, ["PER", "ORG", "LOC"], known={"王芳", "北京"})
    assert (scores["f1"], scores["partial_f1"], scores["unseen_f1"]) == (0.5, 1.0, 0.0)
    assert scores["macro_f1"] == 0.5 and (scores["n"], scores["entities"]) == (1, 2)
    assert row_counts(true, found) == [[1, 2, 2]]
    assert bad_cases([text], true, found)[1:] == [["2", "北京大学 ORG 3-7", "北京 ORG 3-5", text]]


def test_nothing_true_and_nothing_found():
    assert entity_metrics(["好"], [[]], [[]], ["A"])["f1"] == 0
    assert entity_metrics([], [], [], [])["macro_f1"] == 0
