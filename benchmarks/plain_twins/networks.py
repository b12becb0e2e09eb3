"""The networks of DBC and JULE for MNIST as anyone would write them in plain PyTorch: our speed is measured by them."""

import torch
from torch import nn


class PlainFCAE(nn.Module):
    """Table 2's MNIST column, layer by layer, NCHW, nothing clever."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(1, 6, 5), nn.BatchNorm2d(6)
        self.conv2, self.bn2 = nn.Conv2d(6, 16, 5), nn.BatchNorm2d(16)
        self.conv3, self.bn3 = nn.Conv2d(16, 120, 4), nn.BatchNorm2d(120)
        self.deconv3, self.bn4 = nn.ConvTranspose2d(120, 16, 4), nn.BatchNorm2d(16)
        self.deconv2, self.bn5 = nn.ConvTranspose2d(16, 6, 5), nn.BatchNorm2d(6)
        self.deconv1 = nn.ConvTranspose2d(6, 1, 5)
        self.pool = nn.MaxPool2d(2, return_indices=True)
        self.unpool = nn.MaxUnpool2d(2)

    def encode(self, x):
        """Features (B, 120, 1, 1) and the two poolings' switches."""
        x, switches1 = self.pool(torch.relu(self.bn1(self.conv1(x))))
        x, switches2 = self.pool(torch.relu(self.bn2(self.conv2(x))))
        return torch.relu(self.bn3(self.conv3(x))), switches1, switches2

    def forward(self, x):
        """Reconstructions."""
        z, switches1, switches2 = self.encode(x)
        x = torch.relu(self.bn4(self.deconv3(z)))
        x = torch.relu(self.bn5(self.deconv2(self.unpool(x, switches2))))
        return self.deconv1(self.unpool(x, switches1))


class PlainDBC(nn.Module):
    """The encoder and the soft k-means on top of it."""

    def __init__(self, encoder: PlainFCAE, centers: torch.Tensor):
        super().__init__()
        self.encoder, self.centers = encoder, nn.Parameter(centers)

    def forward(self, x):
        """Soft scores (B, k)."""
        z = self.encoder.encode(x)[0].flatten(1)
        q = 1 / (1 + torch.cdist(z, self.centers) ** 2)
        return q / q.sum(1, keepdim=True)


class PlainJULE(nn.Module):
    """JULE's MNIST network, NCHW, nothing clever."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Conv2d(1, 50, 5), nn.BatchNorm2d(50), nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True)),
            *(nn.Conv2d(50, 50, 5), nn.BatchNorm2d(50), nn.ReLU(), nn.Flatten(), nn.Linear(3200, 160)),
        )

    def forward(self, x):
        """Features (B, 160) of length 1."""
        return nn.functional.normalize(self.layers(x))


def plain_triplet_loss(x, labels, n_negatives=20, margin=0.2):
    """Mean hinge of all pairs of a cluster, each with random negatives of other clusters."""
    same = labels[:, None] == labels[None]
    i, j = same.triu(1).nonzero(as_tuple=True)
    m = min(n_negatives, len(labels.unique()) - 1)
    if len(i) == 0 or m < 1:
        return x.sum() * 0
    k = torch.multinomial((~same[i]).float(), m)
    to_positive = (x[i] - x[j]).square().sum(1)
    to_negative = (x[i][:, None] - x[k]).square().sum(2)
    return torch.relu(to_positive[:, None] - to_negative + margin).mean()
