"""DBC on handwritten digits that scikit-learn brings along: fit, score, predict, save, load."""

from tempfile import TemporaryDirectory

from sklearn.datasets import load_digits

from asterism import DBC, load
from asterism.metrics import scores

digits = load_digits()
images, new_images = digits.images[:1500] / 16, digits.images[1500:] / 16  # (N, 8, 8) in [0, 1]

model = DBC(n_clusters=10, random_state=0).fit(images)
print("ACC of the groups", round(scores(digits.target[:1500], model.labels_)["acc"], 3))
print("ACC of new images", round(scores(digits.target[1500:], model.predict(new_images))["acc"], 3))

with TemporaryDirectory() as folder:
    model.save(folder)  # plain files, no pickle
    print("the same from disk:", (load(folder).predict(new_images) == model.predict(new_images)).all())
