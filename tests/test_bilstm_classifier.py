"""The student: a bidirectional LSTM without packing, that starts from the teacher's embeddings."""

import json

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import bilstm_classifier
from bilstm_classifier import BiLSTMClassifier

pytestmark = pytest.mark.usefixtures("small_student")


def test_padding_does_not_change_a_logit():
    torch.manual_seed(0)
    model = BiLSTMClassifier(40, 3).eval()
    ids = torch.tensor([[2, 7, 8, 9, 3]])
    with torch.no_grad():
        alone = model(ids, torch.ones_like(ids))
        assert not torch.allclose(alone, model(ids.flip(1), torch.ones_like(ids)), atol=1e-3)  # order counts
        for filler in (0, 9):
            padded = F.pad(ids, (0, 20), value=filler)
            batch = torch.cat((padded, torch.randint(0, 40, (1, 25))))
            mask = torch.stack((torch.arange(25) < 5, torch.arange(25) < 25)).long()
            assert torch.allclose(alone[0], model(batch, mask)[0], atol=1e-6)


def test_it_is_the_packed_bidirectional_lstm_without_packing():
    torch.manual_seed(0)
    model = BiLSTMClassifier(40, 3).eval()
    reference = nn.LSTM(16, 16, batch_first=True, bidirectional=True)
    for name, parameter in model.forward_lstm.named_parameters():
        getattr(reference, name).data = parameter.data
    for name, parameter in model.backward_lstm.named_parameters():
        getattr(reference, name + "_reverse").data = parameter.data
    ids, lengths = torch.randint(0, 40, (3, 9)), torch.tensor([9, 4, 6])
    with torch.no_grad():
        packed = nn.utils.rnn.pack_padded_sequence(model.embedding(ids), lengths, True, enforce_sorted=False)
        states, _ = nn.utils.rnn.pad_packed_sequence(reference(packed)[0], batch_first=True)
        for row, length in enumerate(lengths):
            real = states[row, :length]
            want = model.classifier(torch.cat((real.amax(0), real.mean(0))))
            mask = (torch.arange(9) < lengths.unsqueeze(1)).long()
            assert torch.allclose(model(ids, mask)[row], want, atol=1e-5)


def test_every_weight_is_used_and_the_architecture_says_all():
    model = BiLSTMClassifier(40, 3)
    ids = torch.arange(40).view(4, 10)
    model(ids, torch.ones_like(ids)).square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.parameters())
    again = BiLSTMClassifier.from_architecture(json.loads(json.dumps(model.architecture)))
    again.load_state_dict(model.state_dict())


def test_embeddings_of_the_teacher_keep_their_geometry(monkeypatch: pytest.MonkeyPatch):
    torch.manual_seed(0)
    embeddings = 0.05 * torch.randn(50, 12) @ torch.randn(12, 20)  # 20 wide, but of 12 dimensions
    for most in (12, 320):
        monkeypatch.setattr(bilstm_classifier, "EMBEDDING_DIM", most)
        start = BiLSTMClassifier.from_embeddings(embeddings, 3).embedding.weight
        assert start.shape == (50, min(most, 20))
        assert start.std().item() == pytest.approx(1, abs=0.05)
        ratio = torch.pdist(start.double()) / torch.pdist(embeddings.double())
        assert (ratio.max() / ratio.min()).item() == pytest.approx(1, abs=1e-3)


def test_it_has_at_most_a_tenth_of_bert_bases_parameters(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.undo()  # the real size
    model = BiLSTMClassifier.from_embeddings(torch.randn(21128, 768), 10)
    assert sum(parameter.numel() for parameter in model.parameters()) < 102_267_648 / 10
