"""FCN: photographs grouped by a pre-trained network and group-sparse NMF.

python examples/fcn_photos.py photos/ 20 [weights.safetensors]

Without the third argument the weights are those of the data folder, else torchvision's, from its cache or fetched.
"""

import sys

from asterism import FCN, Backbone

if len(sys.argv) < 3:
    sys.exit(__doc__)
folder, n_clusters = sys.argv[1], int(sys.argv[2])
weights = sys.argv[3] if len(sys.argv) > 3 else None

model = FCN(n_clusters, backbone=Backbone("squeezenet1_0", weights=weights), random_state=0).fit(folder)
for group in range(n_clusters):
    print("group", group, "has", int((model.labels_ == group).sum()), "photos")
