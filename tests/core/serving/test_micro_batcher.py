"""The queue in front of the models, with models that only note what they are asked and a clock that is set by hand."""

import subprocess
import sys
import threading
import time

import pytest
from conftest import ROOT

from core.serving import micro_batcher
from core.serving.micro_batcher import DeadlinePassed, MicroBatcher, QueueFull, Stopped


class FakeClock:
    now = 100.0

    def __call__(self):
        return self.now


class FakeModel:
    """Upper case; fails on a batch with 坏 in it."""

    def __init__(self):
        self.batches = []

    def __call__(self, texts):
        self.batches.append(list(texts))
        if "坏" in texts:
            raise RuntimeError("a bad text")
        return [text.upper() for text in texts]


@pytest.fixture
def model():
    return FakeModel()


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def batcher(model, clock):
    """Computes only when told to, by `step`."""
    return MicroBatcher({"m": model}, max_batch=4, max_waiting=3, clock=clock)


def test_what_waits_shares_a_batch_and_everyone_gets_his_own_answer(batcher, model):
    jobs = [batcher.submit("m", texts, 1) for texts in (["a"], ["b", "c"], ["d"], ["e"])]
    batcher.step()
    assert model.batches == [["a", "b", "c", "d"]]
    assert [batcher.wait(job) for job in jobs[:3]] == [["A"], ["B", "C"], ["D"]]
    assert not jobs[3].done.is_set()
    batcher.step()
    assert batcher.wait(jobs[3]) == ["E"]


def test_a_long_list_delays_others_by_one_batch_only(batcher, model):
    long = batcher.submit("m", list("abcdefghij"), 1)
    short = batcher.submit("m", ["x"], 1)
    batcher.step()
    batcher.step()
    assert model.batches == [list("abcd"), ["x", *"efg"]]
    assert batcher.wait(short) == ["X"]
    batcher.step()
    assert batcher.wait(long) == list("ABCDEFGHIJ")
    assert len(model.batches) == 3


@pytest.mark.parametrize(("length", "size"), [(3_000, 6), (15_000, 1), (90_000, 1)])
def test_long_texts_make_small_batches(clock, length, size):
    """So that a list of long passages delays others by a few of them only; a question is a pair of texts."""
    batches = []
    batcher = MicroBatcher({"m": lambda items: batches.append(items) or items}, 32, 3, clock=clock)
    some = [("q", str(number % 10) * length) for number in range(12)]
    long, short = batcher.submit("m", some, 60), batcher.submit("m", ["x"], 60)
    while not (long.done.is_set() and short.done.is_set()):
        batcher.step()
    assert batcher.wait(long) == some and batcher.wait(short) == ["x"]
    assert next(len([each for each in batch if each != "x"]) for batch in batches if batch != ["x"]) == size
    assert "x" in batches[0] + batches[1] and max(map(len, batches)) <= size + 1


def test_models_never_share_a_batch_and_take_turns(clock):
    one, other = FakeModel(), FakeModel()
    batcher = MicroBatcher({"one": one, "other": other}, max_batch=2, max_waiting=9, clock=clock)
    for name, text in (("one", "a"), ("other", "x"), ("one", "b"), ("one", "c"), ("other", "y")):
        batcher.submit(name, [text], 1)
    for _ in range(3):
        batcher.step()
    assert one.batches == [["a", "b"], ["c"]]
    assert other.batches == [["x", "y"]]


def test_a_bad_text_fails_alone(batcher, model):
    good, bad, mixed = (batcher.submit("m", texts, 1) for texts in (["a"], ["坏"], ["b", "坏"]))
    batcher.step()
    assert batcher.wait(good) == ["A"]
    assert isinstance(batcher.wait(bad)[0], RuntimeError)
    first, second = batcher.wait(mixed)
    assert first == "B" and isinstance(second, RuntimeError)
    assert model.batches == [["a", "坏", "b", "坏"], ["a"], ["坏"], ["b"], ["坏"]]


def test_a_text_alone_is_not_tried_twice(batcher, model):
    batcher.submit("m", ["坏"], 1)
    batcher.step()
    assert model.batches == [["坏"]]


def test_a_model_that_miscounts_is_no_answer(clock):
    batcher = MicroBatcher({"m": lambda texts: ["A"] * 3}, max_batch=4, max_waiting=3, clock=clock)
    job = batcher.submit("m", ["a", "b"], 1)
    batcher.step()
    assert all(isinstance(answer, ValueError) for answer in batcher.wait(job))


def test_places_are_bounded_and_given_back(batcher):
    with batcher.admit(), batcher.admit(), batcher.admit():
        assert batcher.waiting == 3
        with pytest.raises(QueueFull), batcher.admit():
            pytest.fail("there was no place")
        assert batcher.waiting == 3
    with pytest.raises(KeyError), batcher.admit():
        raise KeyError
    assert batcher.waiting == 0


def test_what_is_too_late_is_not_computed(batcher, model, clock):
    late = batcher.submit("m", ["a"], 1)
    batcher.submit("m", ["b"], 5)
    clock.now += 2
    batcher.step()
    assert model.batches == [["b"]]
    with pytest.raises(DeadlinePassed):
        batcher.wait(late)
    batcher.step()  # nothing is left
    assert model.batches == [["b"]]


def test_the_rest_of_a_list_whose_client_was_told_is_dropped(batcher, model, clock):
    job = batcher.submit("m", list("abcdef"), 1)
    batcher.step()
    clock.now += 1
    with pytest.raises(DeadlinePassed):
        batcher.wait(job)
    clock.now -= 1
    batcher.step()
    assert model.batches == [list("abcd")]


def test_health_knows_when_a_model_last_answered(batcher, clock):
    assert batcher.seconds_since_answer("m") == float("inf")
    batcher.submit("m", ["坏"], 1)
    batcher.step()
    assert batcher.seconds_since_answer("m") == float("inf")
    batcher.submit("m", ["坏", "a"], 1)
    batcher.step()
    clock.now += 7
    assert batcher.seconds_since_answer("m") == 7


def test_closing_tells_those_who_wait(batcher, model):
    waiting = batcher.submit("m", ["a"], 1)
    half = batcher.submit("m", list("bcdef"), 1)
    batcher.step()
    batcher.close()
    assert batcher.wait(waiting) == ["A"]
    with pytest.raises(Stopped):
        batcher.wait(half)
    with pytest.raises(Stopped):
        batcher.submit("m", ["a"], 1)


def test_no_text_no_waiting(batcher):
    assert batcher.predict("m", [], 1) == []


def test_threads_are_answered_together_and_a_lone_one_at_once():
    """What comes while a batch is computed is the next batch."""
    begun, go, sizes = threading.Event(), threading.Event(), []

    def slow(texts):
        begun.set()
        assert go.wait(10)
        return texts

    batcher = MicroBatcher({"m": slow}, max_batch=16, max_waiting=32, on_batch=sizes.append).start()
    answers = {}

    def ask(number):
        answers[number] = batcher.predict("m", [str(number)], 10)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(11)]
    threads[0].start()
    assert begun.wait(10)  # alone, it did not wait for company
    for thread in threads[1:]:
        thread.start()
    while len(batcher._jobs) < 10:
        time.sleep(0.001)
    go.set()
    for thread in threads:
        thread.join(10)
    assert answers == {number: [str(number)] for number in range(11)}
    assert sizes == [1, 10]
    batcher.close()
    assert not batcher._thread.is_alive()


def test_a_hung_model_lets_its_clients_go():
    go = threading.Event()
    batcher = MicroBatcher({"m": lambda texts: go.wait(10) and texts}, max_batch=1, max_waiting=1).start()
    with pytest.raises(DeadlinePassed):
        batcher.predict("m", ["a"], 0.05)
    go.set()
    assert batcher.predict("m", ["b"], 10) == ["b"]
    batcher.close()


def test_closing_does_not_wait_for_a_hung_model(monkeypatch):
    monkeypatch.setattr(micro_batcher, "LAST_BATCH_SECONDS", 0.05)
    go, begun, told = threading.Event(), threading.Event(), []

    def hang(texts):
        begun.set()
        go.wait(10)
        return texts

    batcher = MicroBatcher({"m": hang}, max_batch=1, max_waiting=1).start()

    def ask():
        with pytest.raises(Stopped):
            batcher.predict("m", ["a"], 10)
        told.append(True)

    thread = threading.Thread(target=ask)
    thread.start()
    assert begun.wait(10)
    batcher.close()
    thread.join(5)
    assert told
    go.set()


def test_it_imports_no_model_library():
    code = "import sys, core.serving.micro_batcher; "
    code += "print({'torch', 'transformers', 'numpy', 'flask'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, encoding="utf-8", check=True)
    assert done.stdout.strip() == "set()"
