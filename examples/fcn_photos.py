"""FCN: photographs grouped by a pre-trained network and group-sparse NMF.

python examples/fcn_photos.py photos/ 20 [weights.safetensors]
"""

import sys

from asterism import FCN, Backbone

folder, n_clusters = sys.argv[1], int(sys.argv[2])
weights = sys.argv[3] if len(sys.argv) > 3 else "hub"  # "hub": torchvision's own, from its cache or fetched

model = FCN(n_clusters, backbone=Backbone("squeezenet1_0", weights=weights), random_state=0).fit(folder)
for group in range(n_clusters):
    print("group", group, "has", int((model.labels_ == group).sum()), "photos")
