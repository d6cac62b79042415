"""A classifier that needs no weights; a server of it starts without what the tests import."""

import time

from predict_fun import Prediction

LABELS = ["财经", "科技", "体育"]
SLOW = {"慢": 0.3, "挂": 60}  # seconds


class FakeClassifier:
    """财经 unless a text names another class; marks a text of over 100 characters as truncated; SLOW takes its time."""

    name = "fake"
    labels = LABELS
    path = None
    facts = {"stage": "fake", "architecture": {"type": "bert"}, "labels": LABELS, "max_length": 64}

    def predict(self, texts):
        return [self.predict_one(text) for text in texts]

    def predict_one(self, text):
        if text == "故障":
            raise RuntimeError("secret of /home/someone/weights.pt")
        if text in SLOW:
            time.sleep(SLOW[text])
        label = next((label for label in LABELS if label in text), LABELS[0])
        shares = {name: 0.7 if name == label else 0.15 for name in LABELS}
        return Prediction(text, label, LABELS.index(label), 0.7, shares, truncated=len(text) > 100)
