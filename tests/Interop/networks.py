"""The networks of a recipe in plain PyTorch: torchvision's ResNet with width and stem options, and SimCLR's projector.

Parameter names are torchvision's, so an exported backbone of DarkMatter loads into `backbone` with strict=True.
"""
import torch
import torch.distributed as dist
import torch.distributed.nn.functional as dist_nn
from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

_STAGES = {"resnet18": (BasicBlock, [2, 2, 2, 2]), "resnet34": (BasicBlock, [3, 4, 6, 3]), "resnet50": (Bottleneck, [3, 4, 6, 3])}


def backbone(name, width=64, stem="imagenet", zero_init_residual=False, classes=0):
    """images [n, 3, H, W] -> features [n, 8 * width * expansion], or logits when `classes` is above 0."""
    block, stages = _STAGES[name]
    net = ResNet(block, stages)
    net.inplanes = width
    if stem == "imagenet":
        net.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
    else:
        net.conv1 = nn.Conv2d(3, width, 3, stride=2 if stem == "small_stride2" else 1, padding=1, bias=False)
        net.maxpool = nn.Identity()
    net.bn1 = nn.BatchNorm2d(width)
    for stage, blocks in enumerate(stages):
        layer = net._make_layer(block, width << stage, blocks, stride=2 if stage else 1)
        setattr(net, f"layer{stage + 1}", layer)
    net.fc = nn.Linear(net.inplanes, classes) if classes else nn.Identity()
    net.features = net.inplanes
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif zero_init_residual and isinstance(module, (BasicBlock, Bottleneck)):
            nn.init.zeros_(module.bn2.weight if isinstance(module, BasicBlock) else module.bn3.weight)
    return net


def projector(inputs, hidden, outputs, layers):
    """SimCLR's head: linear without bias, BN, ReLU for each hidden layer; then linear without bias and a BN without shift."""
    parts = []
    for i in range(layers):
        last = i == layers - 1
        width = outputs if last else hidden or inputs
        parts += [nn.Linear(inputs if i == 0 else hidden or inputs, width, bias=False), nn.BatchNorm1d(width)]
        if last:
            parts[-1].bias.requires_grad_(False)
        else:
            parts.append(nn.ReLU(inplace=True))
    return nn.Sequential(*parts)


class SyncBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch normalisation over all processes, by autograd through Gloo all-reduces (torch.nn.SyncBatchNorm needs a GPU)."""

    def _check_input_dim(self, input):
        pass

    def forward(self, x):
        if not self.training or not dist.is_initialized():
            return super().forward(x)
        axes = [0] + list(range(2, x.dim()))
        shape = [1, -1] + [1] * (x.dim() - 2)
        wide = x.float()
        count = torch.tensor([x.numel() / x.shape[1]])
        mean, count = dist_nn.all_reduce(torch.cat([wide.sum(axes), count])).split([x.shape[1], 1])
        mean = mean / count
        centred = wide - mean.view(shape)
        variance = dist_nn.all_reduce(centred.square().sum(axes)) / count
        with torch.no_grad():
            self.running_mean += self.momentum * (mean - self.running_mean)
            self.running_var += self.momentum * (variance * count / (count - 1) - self.running_var)
            self.num_batches_tracked += 1
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (centred * scale.view(shape) + self.bias.view(shape)).to(x.dtype)

    @staticmethod
    def convert(module):
        """Replaces every BatchNorm inside `module`, parameters kept."""
        for name, child in module.named_children():
            if isinstance(child, (nn.BatchNorm1d, nn.BatchNorm2d)):
                sync = SyncBatchNorm(child.num_features, child.eps, child.momentum)
                sync.weight, sync.bias = child.weight, child.bias
                setattr(module, name, sync)
            else:
                SyncBatchNorm.convert(child)
        return module
