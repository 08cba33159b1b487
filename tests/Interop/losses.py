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


def info_nce(q, k, queue, temperature):
    """MoCo: the positive key against the queue, mean over images. q, k [N, D], queue [K, D]: not normalised."""
    q, k, queue = F.normalize(q, dim=1), F.normalize(k.detach(), dim=1), F.normalize(queue.detach(), dim=1)
    logits = torch.cat([torch.einsum("nc,nc->n", q, k)[:, None], torch.einsum("nc,kc->nk", q, queue)], dim=1) / temperature
    return F.cross_entropy(logits, torch.zeros(len(q), dtype=torch.long))


def moco_v3(q1, q2, k1, k2, temperature):
    """Algorithm 1 of MoCo v3: in-batch keys, both directions, times 2 * temperature."""
    def ctr(q, k):
        logits = F.normalize(q, dim=1) @ F.normalize(k.detach(), dim=1).T / temperature
        return 2 * temperature * F.cross_entropy(logits, torch.arange(len(q)))
    return ctr(q1, k2) + ctr(q2, k1)


def sinkhorn(scores, epsilon, iterations):
    """The listing of SwAV's appendix: scores [B, K] -> codes [B, K]."""
    q = torch.exp(scores / epsilon).T
    q = q / q.sum()
    k, b = q.shape
    u, r, c = torch.zeros(k), torch.ones(k, dtype=q.dtype) / k, torch.ones(b, dtype=q.dtype) / b
    for _ in range(iterations):
        u = q.sum(dim=1)
        q = q * (r / u).unsqueeze(1)
        q = q * (c / q.sum(dim=0)).unsqueeze(0)
    return (q / q.sum(dim=0, keepdim=True)).T


def swav(z1, z2, prototypes, temperature, epsilon, iterations):
    """Algorithm 1 of SwAV for two views: each predicts the other's code. z1, z2 [N, D], prototypes [K, D]: not normalised."""
    c = F.normalize(prototypes, dim=1)
    s1, s2 = F.normalize(z1, dim=1) @ c.T, F.normalize(z2, dim=1) @ c.T
    q1, q2 = sinkhorn(s1.detach(), epsilon, int(iterations)), sinkhorn(s2.detach(), epsilon, int(iterations))
    p1, p2 = F.softmax(s1 / temperature, dim=1), F.softmax(s2 / temperature, dim=1)
    return -0.5 * (q1 * torch.log(p2) + q2 * torch.log(p1)).sum(1).mean()


def dino(s1, s2, t1, t2, centre, student_temperature, teacher_temperature):
    """Algorithm 1 of DINO: H(t, s), both directions. s, t [N, K] outputs, centre [K]."""
    def h(t, s):
        t = F.softmax((t.detach() - centre.detach()) / teacher_temperature, dim=1)
        return -(t * torch.log(F.softmax(s / student_temperature, dim=1))).sum(1).mean()
    return h(t1, s2) / 2 + h(t2, s1) / 2


def triplet(first, second, margin):
    """FaceNet without labels: the positive is the other view; the negative is the nearest that is farther than it, else the farthest."""
    z = F.normalize(torch.cat([first, second]), dim=1)
    n = len(first)
    distance = (z[:, None] - z[None]).pow(2).sum(-1)
    terms = []
    for a in range(2 * n):
        p = (a + n) % (2 * n)
        negatives = [i for i in range(2 * n) if i % n != a % n]
        beyond = [i for i in negatives if distance[a, i] > distance[a, p]]
        chosen = min(beyond, key=lambda i: distance[a, i].item()) if beyond else max(negatives, key=lambda i: distance[a, i].item())
        terms.append(F.relu(distance[a, p] - distance[a, chosen] + margin))
    return torch.stack(terms).mean()


def contrastive_margin(z1, z2, margin):
    """Equation 4 of Hadsell et al.: pairs (view 1 of i, view 2 of j); those of one image and the others count half each."""
    n = len(z1)
    same, others = [], []
    for i in range(n):
        for j in range(n):
            d = (z1[i] - z2[j]).norm()
            if i == j:
                same.append(d.pow(2) / 2)
            else:
                others.append(F.relu(margin - d).pow(2) / 2)
    return torch.stack(same).mean() + torch.stack(others).mean()


def pirl_nce(patches, image, own, memory, temperature, z):
    """PIRL's loss as VISSL's NCECriterion writes it, half of patches against memory and half of image against memory; `memory` holds K of M = 2K images."""
    def nce(e):
        e = F.normalize(e, dim=1)
        k = len(memory)
        noise = 1 / (2 * k)                                                   # 1 / M
        data = torch.exp((e * F.normalize(own.detach(), dim=1)).sum(1) / temperature) / z
        others = torch.exp(e @ F.normalize(memory.detach(), dim=1).T / temperature) / z
        return -(torch.log(data / (data + k * noise)).sum() + torch.log(k * noise / (others + k * noise)).sum()) / len(e)
    return nce(patches) / 2 + nce(image) / 2


def pirl_info_nce(patches, image, own, memory, temperature):
    """The same with a softmax among the candidates."""
    return (info_nce(patches, own, memory, temperature) + info_nce(image, own, memory, temperature)) / 2


def deepcluster(z, prototypes, temperature):
    """DeepCluster-v2's cross-entropy: row i belongs to prototype i mod K, but every third row to none (-100)."""
    targets = torch.tensor([-100 if i % 3 == 0 else i % len(prototypes) for i in range(len(z))])
    scores = F.normalize(z, dim=1) @ F.normalize(prototypes.detach(), dim=1).T
    return F.cross_entropy(scores / temperature, targets, ignore_index=-100, reduction="sum") / len(z)


# name as recipe files spell it, and what is special -> (loss, its tensors, its numbers)
LOSSES = {
    "simclr": (nt_xent, ["first", "second"], ["temperature"]),
    "pirl": (pirl_nce, ["patches", "image", "own", "memory"], ["temperature", "z"]),
    "pirl-info-nce": (pirl_info_nce, ["patches", "image", "own", "memory"], ["temperature"]),
    "deepcluster-v2": (deepcluster, ["z", "prototypes"], ["temperature"]),
    "barlow-twins": (barlow_twins, ["z1", "z2"], ["lambda"]),
    "vicreg": (vicreg, ["z1", "z2"], ["invariance", "variance", "covariance"]),
    "byol": (byol, ["p1", "p2", "t1", "t2"], []),
    "simsiam": (simsiam, ["p1", "p2", "z1", "z2"], []),
    "moco": (info_nce, ["q", "k", "queue"], ["temperature"]),
    "moco-v3": (moco_v3, ["q1", "q2", "k1", "k2"], ["temperature"]),
    "swav": (swav, ["z1", "z2", "prototypes"], ["temperature", "epsilon", "iterations"]),
    "dino": (dino, ["s1", "s2", "t1", "t2", "centre"], ["student_temperature", "teacher_temperature"]),
    "triplet": (triplet, ["first", "second"], ["margin"]),
    "contrastive-margin": (contrastive_margin, ["z1", "z2"], ["margin"]),
}
