"""One's own clusterer in DeepCluster's loop: scikit-learn's mini-batch k-means instead of the exact one."""

import torch
from sklearn.cluster import MiniBatchKMeans
from sklearn.datasets import load_digits

from asterism import DeepCluster, Training
from asterism.networks.convnet import ConvNet


class MiniBatchDeepCluster(DeepCluster):
    """DeepCluster whose rounds cluster with `MiniBatchKMeans`."""

    def _group(self, vectors, n, run, t):
        """Labels (N,), centers (k, d) and how many empty clusters were split, of a round's vectors."""
        X = torch.cat(list(vectors.blocks())).numpy()
        found = MiniBatchKMeans(self.n_clusters, n_init=1, random_state=run.random_state("clusters", t)).fit(X)
        return torch.from_numpy(found.labels_).long(), torch.from_numpy(found.cluster_centers_), 0


images = load_digits().images[:300] / 16
model = MiniBatchDeepCluster(
    n_clusters=20, network=ConvNet(width=0.125), training=Training(n_epochs=3, batch_size=64), random_state=0
).fit(images)
print("NMI to the round before:", [round(entry["nmi_to_previous"], 3) for entry in model.history_[1:]])
