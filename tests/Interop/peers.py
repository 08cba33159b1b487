#!/usr/bin/env python3
"""PyTorch peers for DarkMatter's tests: tensors in, tensors out, both as safetensors; options in the input's metadata.

    python3 tests/Interop/peers.py resnet|regnet|loss|linear|kmeans|sgd|lars|larc|adamw|knn|read INPUT OUTPUT

Each command's docstring names its tensors and options. Errors leave with status 1 and one line on stderr.
"""
import sys

import torch

import losses
import networks
import tensorfile


def resnet(tensors, options):
    """Forward and backward of a backbone with given weights, in x's type, training mode.

    in:  x [n, 3, H, W] · weight [n, F] (the loss is sum(features * weight)) · `p.NAME` every parameter and buffer, torchvision's names
    options: backbone, width, stem
    out: features [n, F] · evaluated [n, F] (evaluation mode, after the update of running statistics) · `grad.NAME` · `buffer.NAME`
    """
    net = networks.backbone(options["backbone"], int(options["width"]), options["stem"]).to(tensors["x"].dtype)
    state = {name[2:]: tensor for name, tensor in tensors.items() if name.startswith("p.")}
    missing, unexpected = net.load_state_dict(state, strict=False)
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    if missing or unexpected:
        raise ValueError(f"resnet: missing {missing}, unexpected {unexpected}")
    net.train()
    features = net(tensors["x"])
    (features * tensors["weight"]).sum().backward()
    out = {"features": features}
    out.update({f"grad.{name}": p.grad for name, p in net.named_parameters()})
    out.update({f"buffer.{name}": b for name, b in net.named_buffers()})
    net.eval()
    with torch.no_grad():
        out["evaluated"] = net(tensors["x"])
    return out


def regnet(tensors, options):
    """As `resnet`, for torchvision's RegNet. options: size (regnet_y_400mf ...), or depth, width, slope, factor, group_width, stem_width; small_stem."""
    from torchvision.models import regnet as models
    if options["size"] == "regnet_y":
        parameters = models.BlockParams.from_init_params(
            depth=int(options["depth"]), w_0=int(options["width"]), w_a=float(options["slope"]), w_m=float(options["factor"]),
            group_width=int(options["group_width"]), se_ratio=0.25)
        net = models.RegNet(parameters, stem_width=int(options["stem_width"]))
    else:
        net = getattr(models, options["size"])()
    if options["small_stem"].lower() == "true":
        net.stem[0].stride = (1, 1)
    net.fc = torch.nn.Identity()
    return compare(net, tensors)


def compare(net, tensors):
    """What `resnet` gives, for a network whose parameters and buffers are `p.NAME`, all of them."""
    net = net.to(tensors["x"].dtype)
    net.load_state_dict({name[2:]: tensor for name, tensor in tensors.items() if name.startswith("p.")}, strict=True)
    net.train()
    features = net(tensors["x"])
    (features * tensors["weight"]).sum().backward()
    out = {"features": features}
    out.update({f"grad.{name}": p.grad for name, p in net.named_parameters()})
    out.update({f"buffer.{name}": b for name, b in net.named_buffers()})
    net.eval()
    with torch.no_grad():
        out["evaluated"] = net(tensors["x"])
    return out


def kmeans(tensors, options):
    """Spherical k-means in float64, loops over clusters. in: vectors [M, D], start [K, D] · options: iterations · out: centroids, assignments."""
    vectors, centroids = tensors["vectors"].double(), tensors["start"].double().clone()
    for _ in range(int(options["iterations"])):
        nearest = (vectors @ centroids.T).argmax(1)
        for k in range(len(centroids)):
            if (nearest == k).any():
                mean = vectors[nearest == k].mean(0)
                centroids[k] = mean / mean.norm()
    return {"centroids": centroids, "assignments": (vectors @ centroids.T).argmax(1)}


def loss(tensors, options):
    """A method's loss in float64.

    in:  the tensors and numbers that `losses.LOSSES` names for it · options: loss, the numbers
    out: loss [] · `grad.NAME` of every tensor it depends on
    """
    function, names, numbers = losses.LOSSES[options["loss"]]
    given = {name: tensors[name].double().requires_grad_() for name in names}
    value = function(*given.values(), *(float(options[number]) for number in numbers))
    value.backward()
    return {"loss": value, **{f"grad.{name}": tensor.grad for name, tensor in given.items() if tensor.grad is not None}}


def linear(tensors, options):
    """Multinomial logistic regression in float64 by Newton-like steps: mean cross-entropy + decay / 2 · |W|^2, features standardised, bias free.

    in:  features [n, F] · labels [n] · test [m, F] · options: decay, classes
    out: weights [classes, F] · scores [m, classes], each row centred: a shift of all classes changes nothing
    """
    x, y, test = tensors["features"].double(), tensors["labels"].long(), tensors["test"].double()
    mean, deviation = x.mean(0), x.std(0, unbiased=False)
    x, test = (x - mean) / deviation, (test - mean) / deviation
    classes, decay = int(options["classes"]), float(options["decay"])
    weights = torch.zeros(classes, x.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(classes, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights, bias], lr=1, max_iter=2000, tolerance_grad=1e-10, tolerance_change=1e-16, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        value = torch.nn.functional.cross_entropy(x @ weights.t() + bias, y) + decay / 2 * weights.square().sum()
        value.backward()
        return value

    optimizer.step(closure)
    with torch.no_grad():
        scores = test @ weights.t() + bias
        return {"weights": weights.detach(), "scores": scores - scores.mean(1, keepdim=True)}


def sgd(tensors, options):
    """torch.optim.SGD on given gradients.

    in:  `p.NAME` start values · `g.T.NAME` gradient of step T = 0.. · options: steps, lr (comma-separated, one per step), momentum,
         nesterov, weight_decay, exclude_one_dimensional
    out: `p.NAME` after the last step · `momentum.NAME`
    """
    parameters = {name[2:]: tensor.clone().requires_grad_() for name, tensor in tensors.items() if name.startswith("p.")}
    exempt = options["exclude_one_dimensional"].lower() == "true"
    groups = [{"params": [p], "weight_decay": 0.0 if exempt and p.dim() <= 1 else float(options["weight_decay"])}
              for p in parameters.values()]
    rates = [float(lr) for lr in options["lr"].split(",")]
    optimizer = torch.optim.SGD(groups, lr=rates[0], momentum=float(options["momentum"]), nesterov=options["nesterov"].lower() == "true")
    for step in range(int(options["steps"])):
        for group in optimizer.param_groups:
            group["lr"] = rates[step]
        for name, p in parameters.items():
            p.grad = tensors[f"g.{step}.{name}"].clone()
        optimizer.step()
    out = {f"p.{name}": p for name, p in parameters.items()}
    out.update({f"momentum.{name}": optimizer.state[p]["momentum_buffer"] for name, p in parameters.items()
                if optimizer.state[p].get("momentum_buffer") is not None})
    return out


def lars(tensors, options):
    """LARS with the learning rate outside the momentum buffer (the FB and DeepMind codes), weight decay inside the trust ratio.

    in, out: as `sgd`, and option trust_coefficient; parameters of one dimension are neither adapted nor decayed when excluded.
    """
    parameters = {name[2:]: tensor.double() for name, tensor in tensors.items() if name.startswith("p.")}
    momenta = {name: torch.zeros_like(p) for name, p in parameters.items()}
    exempt = options["exclude_one_dimensional"].lower() == "true"
    rates = [float(lr) for lr in options["lr"].split(",")]
    for step in range(int(options["steps"])):
        for name, p in parameters.items():
            update = tensors[f"g.{step}.{name}"].double()
            if not (exempt and p.dim() <= 1):
                update = update + float(options["weight_decay"]) * p
                weight_norm, update_norm = p.norm(), update.norm()
                if weight_norm > 0 and update_norm > 0:
                    update = update * (float(options["trust_coefficient"]) * weight_norm / update_norm)
            momenta[name] = float(options["momentum"]) * momenta[name] + update
            parameters[name] = p = p - rates[step] * momenta[name]
    out = {f"p.{name}": p for name, p in parameters.items()}
    out.update({f"momentum.{name}": m for name, m in momenta.items()})
    return out


def larc(tensors, options):
    """NVIDIA apex's LARC without clipping around torch.optim.SGD. in, out: as `lars`."""
    parameters = {name[2:]: tensor.clone().requires_grad_() for name, tensor in tensors.items() if name.startswith("p.")}
    exempt = options["exclude_one_dimensional"].lower() == "true"
    decay, trust = float(options["weight_decay"]), float(options["trust_coefficient"])
    rates = [float(lr) for lr in options["lr"].split(",")]
    optimizer = torch.optim.SGD(list(parameters.values()), lr=rates[0], momentum=float(options["momentum"]))
    for step in range(int(options["steps"])):
        optimizer.param_groups[0]["lr"] = rates[step]
        for name, p in parameters.items():
            p.grad = tensors[f"g.{step}.{name}"].clone()
            if exempt and p.dim() <= 1:
                continue
            with torch.no_grad():
                p_norm, g_norm = p.norm(), p.grad.norm()
                if p_norm != 0 and g_norm != 0:
                    p.grad += decay * p
                    p.grad *= trust * p_norm / (g_norm + p_norm * decay + 1e-8)
        optimizer.step()
    out = {f"p.{name}": p for name, p in parameters.items()}
    out.update({f"momentum.{name}": optimizer.state[p]["momentum_buffer"] for name, p in parameters.items()})
    return out


def adamw(tensors, options):
    """torch.optim.AdamW on given gradients. in, out: as `sgd`, with options weight_decay (comma-separated, one per step), momentum, square_momentum."""
    parameters = {name[2:]: tensor.clone().requires_grad_() for name, tensor in tensors.items() if name.startswith("p.")}
    exempt = options["exclude_one_dimensional"].lower() == "true"
    rates, decays = ([float(v) for v in options[key].split(",")] for key in ("lr", "weight_decay"))
    optimizer = torch.optim.AdamW([{"params": [p]} for p in parameters.values()], lr=rates[0],
                                  betas=(float(options["momentum"]), float(options["square_momentum"])))
    for step in range(int(options["steps"])):
        for group in optimizer.param_groups:
            group["lr"] = rates[step]
            group["weight_decay"] = 0.0 if exempt and group["params"][0].dim() <= 1 else decays[step]
        for name, p in parameters.items():
            p.grad = tensors[f"g.{step}.{name}"].clone()
        optimizer.step()
    out = {f"p.{name}": p for name, p in parameters.items()}
    out.update({f"momentum.{name}": optimizer.state[p]["exp_avg"] for name, p in parameters.items()})
    out.update({f"square.{name}": optimizer.state[p]["exp_avg_sq"] for name, p in parameters.items()})
    return out


def knn(tensors, options):
    """Weighted kNN in float64. in: bank [N, D], labels [N] int64, queries [Q, D] · options: k, temperature, classes · out: predicted [Q]."""
    return {"predicted": losses.knn_predict(tensors["bank"].double(), tensors["labels"].long(), tensors["queries"].double(),
                                            int(options["k"]), float(options["temperature"]), int(options["classes"]))}


def read(tensors, options):
    """Reads a file and writes every tensor back as float64, so that a reader's and a writer's mistakes cannot cancel."""
    return {name: tensor.double() for name, tensor in tensors.items()}


COMMANDS = {"resnet": resnet, "regnet": regnet, "loss": loss, "linear": linear, "kmeans": kmeans, "sgd": sgd, "lars": lars, "larc": larc, "adamw": adamw,
            "knn": knn, "read": read}


def main():
    if len(sys.argv) != 4 or sys.argv[1] not in COMMANDS:
        sys.exit(f"usage: peers.py {'|'.join(COMMANDS)} INPUT OUTPUT")
    torch.set_num_threads(1)
    command, source, destination = sys.argv[1:]
    try:
        tensors, options = tensorfile.read(source)
        tensorfile.write(destination, COMMANDS[command](tensors, options))
    except (ValueError, KeyError, OSError) as problem:
        sys.exit(f"peers.py {command}: {type(problem).__name__}: {problem}")


if __name__ == "__main__":
    main()
