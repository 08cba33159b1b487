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


def barlow_twins(z1, z2, lam):
    """Algorithm 1 of Zbontar et al. with the authors' BatchNorm1d(affine=False): biased variance, eps 1e-5. z1, z2 [N, D]."""
    n, d = z1.shape
    standardize = lambda z: (z - z.mean(0)) / (z.var(0, unbiased=False) + 1e-5).sqrt()
    c = standardize(z1).T @ standardize(z2) / n
    identity = torch.eye(d, dtype=c.dtype)
    return ((c - identity).pow(2) * (identity + lam * (1 - identity))).sum()


def vicreg(z1, z2, invariance, variance, covariance):
    """Algorithm 1 of Bardes et al.; the hinge is averaged over the two views as in the authors' code. z1, z2 [N, D]."""
    n, d = z1.shape
    spread = sum(F.relu(1 - torch.sqrt(z.var(dim=0) + 1e-4)).mean() for z in (z1, z2)) / 2
    repeated = 0.0
    for z in (z1, z2):
        c = torch.cov(z.T)
        repeated = repeated + (c - torch.diag(torch.diag(c))).pow(2).sum() / d
    return invariance * F.mse_loss(z1, z2) + variance * spread + covariance * repeated


def byol(p1, p2, t1, t2):
    """Sum of both directions of || p/|p| - t/|t| ||^2, mean over images; no gradient into the targets."""
    distance = lambda p, t: (F.normalize(p, dim=1) - F.normalize(t.detach(), dim=1)).pow(2).sum(1).mean()
    return distance(p1, t2) + distance(p2, t1)


def simsiam(p1, p2, z1, z2):
    """Algorithm 1 of Chen and He: D(p, z) = -cos(p, sg(z)), half of both directions."""
    d = lambda p, z: -F.cosine_similarity(p, z.detach(), dim=1).mean()
    return d(p1, z2) / 2 + d(p2, z1) / 2


# name -> (loss, its tensors, its numbers)
LOSSES = {
    "barlow-twins": (barlow_twins, ["z1", "z2"], ["lambda"]),
    "vicreg": (vicreg, ["z1", "z2"], ["invariance", "variance", "covariance"]),
    "byol": (byol, ["p1", "p2", "t1", "t2"], []),
    "simsiam": (simsiam, ["p1", "p2", "z1", "z2"], []),
}
