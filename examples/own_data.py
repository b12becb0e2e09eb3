"""Images of one's own, in whatever they come: arrays, a torch Dataset, a folder."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits

from asterism import KMeans, open_images

array = load_digits().images[:200] / 16  # (N, H, W)


class Digits(torch.utils.data.Dataset):
    """Image and label, as torchvision's data sets give them; the label is not looked at."""

    def __len__(self):
        return len(array)

    def __getitem__(self, index):
        return torch.from_numpy(array[index]).float()[None], 0  # (1, H, W)


from_array = KMeans(10, random_state=0).fit(array)
from_dataset = KMeans(10, random_state=0).fit(Digits())
print("array and data set agree:", (from_array.labels_ == from_dataset.labels_).all())

with TemporaryDirectory() as folder:
    for i, image in enumerate(array):
        Image.fromarray((image * 255).astype(np.uint8)).save(Path(folder) / f"{i}.png")
    source = open_images(folder, size=8, color="grey")  # a folder is resized and cropped as asked
print(len(source), "files of shape", source.shape, "of which unreadable:", len(source.skipped))
print("groups of the folder:", np.bincount(KMeans(10, random_state=0).fit(source).labels_))
