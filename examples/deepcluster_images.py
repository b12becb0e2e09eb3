"""DeepCluster on small colour images, and what its features are worth to a linear classifier."""

import numpy as np
from sklearn.linear_model import LogisticRegression

from asterism import DeepCluster, Training
from asterism.networks.convnet import ConvNet

rng = np.random.default_rng(0)
kinds = rng.integers(0, 3, 600)
images = rng.integers(0, 90, (600, 32, 32, 3), dtype=np.uint8)
for image, kind in zip(images, kinds, strict=True):  # a bar across, down, or a spot, at a random place
    at = rng.integers(4, 24)
    image[(np.s_[at : at + 4, :], np.s_[:, at : at + 4], np.s_[at : at + 6, at : at + 6])[kind]] += 150


def fitted(n_epochs):
    """The same network after so many epochs; none leaves it as it was drawn."""
    return DeepCluster(
        n_clusters=9,  # more than the kinds: over-segmentation helps the features
        network=ConvNet(width=0.125),
        training=Training(n_epochs=n_epochs, batch_size=64, lr=0.05, weight_decay=1e-5),
        random_state=0,
    ).fit(images)


def probed(model):
    """Accuracy on one half of a linear classifier that learnt from the other."""
    features = model.transform(images)
    return LogisticRegression(max_iter=1000).fit(features[:300], kinds[:300]).score(features[300:], kinds[300:])


model = fitted(12)
for entry in model.history_:
    print(
        "round",
        entry["round"],
        "loss",
        round(entry["loss"], 3),
        "NMI to the round before",
        entry.get("nmi_to_previous"),
    )

print("linear probe", probed(model), "and of the network as it was drawn", probed(fitted(0)))
