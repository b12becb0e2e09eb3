"""One's own clusterer in DeepCluster's loop: scikit-learn's mini-batch k-means instead of the exact one."""

from sklearn.cluster import MiniBatchKMeans
from sklearn.datasets import load_digits

from asterism import DeepCluster, Training
from asterism.networks.convnet import ConvNet

images = load_digits().images[:300] / 16
model = DeepCluster(
    clusterer=MiniBatchKMeans(20, n_init=1),
    network=ConvNet(width=0.125),
    training=Training(n_epochs=3, batch_size=64),
    random_state=0,
).fit(images)
print("NMI to the round before:", [round(entry["nmi_to_previous"], 3) for entry in model.history_[1:]])
