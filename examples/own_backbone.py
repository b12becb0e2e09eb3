"""One's own network: any function from images to vectors, whose features k-means, linkage and others group."""

import torch
from sklearn.datasets import load_digits
from torch import nn

from asterism import GraphDegreeLinkage, KMeans, open_images
from asterism.features import extract
from asterism.metrics import scores
from asterism.runtime import Runtime

network = nn.Sequential(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten())  # random weights
for parameter in network.parameters():
    nn.init.normal_(parameter, std=0.5, generator=torch.Generator().manual_seed(0))

digits = load_digits()
features = extract(network, open_images(digits.images / 16), Runtime("cpu"))  # (N, D), in evaluation mode, batched
for method in (KMeans(10, random_state=0), GraphDegreeLinkage(10)):
    found = scores(digits.target, method.fit(features.numpy()).labels_)
    print(type(method).__name__, "ACC", round(found["acc"], 3), "NMI", round(found["nmi_sqrt"], 3))
