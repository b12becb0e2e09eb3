"""DeepCluster on small colour images, and what its features are worth to a linear classifier."""

import numpy as np
from sklearn.linear_model import LogisticRegression

from asterism import DeepCluster, Training
from asterism.networks.convnet import ConvNet

rng = np.random.default_rng(0)
kinds = rng.integers(0, 3, 160)
images = rng.integers(0, 90, (160, 32, 32, 3), dtype=np.uint8)
for image, kind in zip(images, kinds, strict=True):  # a bar across, down, or a spot, at a random place
    at = rng.integers(4, 24)
    image[(np.s_[at : at + 4, :], np.s_[:, at : at + 4], np.s_[at : at + 6, at : at + 6])[kind]] += 150

model = DeepCluster(
    n_clusters=9,  # more than the kinds: over-segmentation helps the features
    network=ConvNet(width=0.125),
    training=Training(n_epochs=3, batch_size=64, lr=0.05, weight_decay=1e-5),
    random_state=0,
).fit(images)

for entry in model.history_:
    print(
        "round",
        entry["round"],
        "loss",
        round(entry["loss"], 3),
        "NMI to the round before",
        entry.get("nmi_to_previous"),
    )

features = model.transform(images)
probe = LogisticRegression(max_iter=1000).fit(features[:100], kinds[:100])
print("linear probe", probe.score(features[100:], kinds[100:]))
