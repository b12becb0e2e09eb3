"""JULE on handwritten digits, and another number of groups from the same run."""

from sklearn.datasets import load_digits

from asterism import JULE
from asterism.clustering.linkage import cut
from asterism.metrics import scores

digits = load_digits()

model = JULE(n_clusters=10, random_state=0).fit(digits.images / 16)
print("OURS-SF", round(scores(digits.target, model.sf_labels_)["nmi_sqrt"], 3))
print("OURS-RC", round(scores(digits.target, model.rc_labels_)["nmi_sqrt"], 3))

for k in (8, 10, 12):
    print(k, "groups: NMI", round(scores(digits.target, cut(model.linkage_matrix_, k))["nmi_sqrt"], 3))
