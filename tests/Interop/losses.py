"""Slow, obvious references of the losses and classifiers: every formula as a loop or a plain matrix, in the dtype that comes in."""
import torch
import torch.nn.functional as F


def nt_xent(first, second, temperature):
    """SimCLR's loss, the mean over the 2N anchors. first, second [N, D]: the two views' embeddings, not normalised."""
    z = F.normalize(torch.cat([first, second]), dim=1)
    n = len(first)
    terms = []
    for i in range(2 * n):
        similarity = z @ z[i] / temperature                                   # [2N]
        others = torch.cat([similarity[:i], similarity[i + 1:]])              # 2N - 1 terms: all but itself
        terms.append(torch.logsumexp(others, 0) - similarity[(i + n) % (2 * n)])
    return torch.stack(terms).mean()


def knn_predict(bank, labels, queries, k, temperature, classes):
    """Weighted kNN of Wu et al. 2018: cosine similarity s votes with exp(s / temperature). Returns the predicted class of each query."""
    bank, queries = F.normalize(bank, dim=1), F.normalize(queries, dim=1)
    predictions = []
    for block in queries.split(500):
        similarity, nearest = (block @ bank.t()).topk(k, dim=1)
        weights = ((similarity - 1) / temperature).exp()
        votes = torch.zeros(len(block), classes, dtype=bank.dtype).scatter_add_(1, labels[nearest], weights)
        predictions.append(votes.argmax(1))
    return torch.cat(predictions)


def knn_accuracy(bank, labels, queries, expected, k, temperature):
    """The share of queries whose prediction is `expected`."""
    classes = int(max(labels.max(), expected.max())) + 1
    return (knn_predict(bank, labels, queries, k, temperature, classes) == expected).double().mean().item()
