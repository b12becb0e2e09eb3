"""``data:NAME``: which data sets have a name, what they hold, and where they are had.

Files lie in the folder that ``ASTERISM_DATA`` names or in ``~/.cache/asterism/data``. An ``.npz`` holds ``images``
uint8 (N, H, W) or (N, H, W, 3), ``labels`` int64 from 0 and, where there is one, ``split`` (0 train, 1 test).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from asterism.images.locations import data_folders

if TYPE_CHECKING:
    import numpy as np

PREFIX = "data:"


@dataclass(frozen=True)
class Stored:
    """A file or folder of the data folder, in which one or several named sets lie.

    Attributes
    ----------
    origin : str
        Where it can be had, if nothing fetches it; faces are given out on request, each under terms of its own.
    torchvision : str
        Class of ``torchvision.datasets`` that fetches it. USPS has none: torchvision has the version of 9298 images,
        the papers use that of 11 000, and results on one say nothing about the other.
    parts : tuple of str
        Of a folder, the subfolders that hold the classes' folders.
    layout : str
        Of a folder that holds more than images, annotations or lists: what lies where.
    images : str
        Where lists of its own tell the parts (`asterism.images.named.listed_parts`): the folder of CLASS/image.jpg.
    """

    origin: str = ""
    torchvision: str = ""
    parts: tuple[str, ...] = ()
    layout: str = ""
    images: str = ""


@dataclass(frozen=True)
class NamedSet:
    """A data set that ``data:NAME`` opens.

    Attributes
    ----------
    name : str
    n : int
        Number of images.
    k : int
        Number of classes.
    description : str
        One line.
    file : str or None
        File or folder in the data folder; None where scikit-learn brings it along.
    split : int or None
        In an ``.npz``: 0 for the training part, 1 for the test part.
    parts : tuple of str
        In a folder: the subfolders of classes, or what its lists name, that belong to it; empty: the classes lie
        directly in it.
    """

    name: str
    n: int
    k: int
    description: str
    file: str | None
    split: int | None = None
    parts: tuple[str, ...] = ()

    @property
    def stored(self) -> Stored:
        """What is known of its file or folder."""
        return FILES.get(self.file or "", Stored())

    @property
    def path(self) -> Path | None:
        """Where it lies on this machine, or None."""
        found = (folder / self.file for folder in data_folders() if self.file is not None)
        return next((path for path in found if path.exists()), None)

    @property
    def available(self) -> bool:
        """Whether it can be opened without a network."""
        return self.file is None or self.path is not None

    @property
    def fetchable(self) -> bool:
        """Whether it can be fetched by itself where it is absent."""
        return bool(self.stored.torchvision)

    @property
    def here(self) -> str:
        """``"yes"``, ``"fetched on use"`` or ``"no"``."""
        return "yes" if self.available else "fetched on use" if self.fetchable else "no"

    @property
    def how_to_get(self) -> str:
        """What to put where, in one line."""
        if self.file is None:
            return "comes with scikit-learn"
        where, stored = data_folders()[0] / self.file, self.stored
        origin = f"from {stored.origin}; " if stored.origin else ""
        if not self.file.endswith(".npz"):
            classes = f"{{{','.join(stored.parts)}}}/CLASS" if stored.parts else "CLASS"
            place = f"{where}/{stored.layout or f'{classes}/*.jpg'}"
            return f"{origin}put its images at {place}, or set ASTERISM_DATA to a folder that holds them"
        parted = any(one.split is not None for one in _SETS if one.file == self.file)
        split = ", split (0 train, 1 test)" if parted else ""
        keys = f"images (uint8, N x H x W [x 3]), labels (int64 from 0){split}"
        return f"{origin}make the file {where} with the keys {keys}, or set ASTERISM_DATA to a folder that holds it"


FILES = {
    "mnist.npz": Stored(torchvision="MNIST"),
    "fashion-mnist.npz": Stored(torchvision="FashionMNIST"),
    "cifar10.npz": Stored(torchvision="CIFAR10"),
    "usps.npz": Stored("https://cs.nyu.edu/~roweis/data.html (usps_all.mat)"),
    "coil20.npz": Stored("https://www.cs.columbia.edu/CAVE/software/softlib/coil-20.php (the processed set)"),
    "coil100-32.npz": Stored("https://www.cs.columbia.edu/CAVE/software/softlib/coil-100.php (reduced to 32x32)"),
    "coil100-128.npz": Stored("https://www.cs.columbia.edu/CAVE/software/softlib/coil-100.php"),
    "umist-32.npz": Stored("https://cs.nyu.edu/~roweis/data.html (umist_cropped.mat, reduced to 32x32)"),
    "umist-380.npz": Stored("https://cs.nyu.edu/~roweis/data.html (umist_cropped.mat, 19 images a person)"),
    "cmu-pie.npz": Stored("https://github.com/jwyang/JULE.torch (its data sets)"),
    "frgc.npz": Stored("https://www.nist.gov/programs-projects/face-recognition-grand-challenge-frgc, on request"),
    "ytf.npz": Stored("https://www.cs.tau.ac.il/~wolf/ytfaces, on request"),
    "ytf-faces.npz": Stored("https://www.cs.tau.ac.il/~wolf/ytfaces, on request (aligned frames, reduced to 55x55)"),
    "lfw": Stored("http://vis-www.cs.umass.edu/lfw (the photographs as NAME/NAME_0001.jpg, and pairs.txt)"),
    "flowers102": Stored("https://www.robots.ox.ac.uk/~vgg/data/flowers/102", parts=("train", "val", "test")),
    "scene15": Stored("https://doi.org/10.6084/m9.figshare.7007177"),
    "ukbench": Stored("https://archive.org/details/ukbench"),
    "mit67": Stored(
        "https://web.mit.edu/torralba/www/indoor.html (indoorCVPR_09.tar and both lists)",
        layout="{Images/CLASS/*.jpg,TrainImages.txt,TestImages.txt}",
        images="Images",
    ),
    "CUB_200_2011": Stored(
        "https://www.vision.caltech.edu/datasets/cub_200_2011 (CUB_200_2011.tgz, unpacked)",
        layout="{images/CLASS/*.jpg,images.txt,train_test_split.txt}",
        images="images",
    ),
    "imagenet": Stored("https://image-net.org (ILSVRC 2012), on request", parts=("train", "val")),
    "places205": Stored("http://places.csail.mit.edu (Places205, on request)", parts=("train", "val")),
    "yfcc100m": Stored(
        "https://multimediacommons.wordpress.com (Yahoo Flickr Creative Commons; the paper has 1M of them)",
        layout="*.jpg, in any folders",
    ),
    "oxford5k": Stored(
        "https://www.robots.ox.ac.uk/~vgg/data/oxbuildings (photographs and ground truth)",
        layout="{jpg/*.jpg,gt_files/*_query.txt …}",
    ),
    "paris6k": Stored(
        "https://www.robots.ox.ac.uk/~vgg/data/parisbuildings (photographs and ground truth)",
        layout="{jpg/*.jpg,gt_files/*_query.txt …}",
    ),
    "VOCdevkit/VOC2007": Stored(
        "http://host.robots.ox.ac.uk/pascal/VOC/voc2007 (trainval and test)",
        layout="{JPEGImages,Annotations,ImageSets/Main}",
    ),
    "VOCdevkit/VOC2012": Stored(
        "http://host.robots.ox.ac.uk/pascal/VOC/voc2012 (trainval)",
        layout="{JPEGImages,SegmentationClass,ImageSets/Segmentation}",
    ),
}

_SETS = (
    NamedSet("digits", 1797, 10, "scikit-learn's handwritten digits, 8x8", None),
    NamedSet("mnist", 70_000, 10, "handwritten digits, 28x28", "mnist.npz"),
    NamedSet("mnist-train", 60_000, 10, "handwritten digits, 28x28, training part", "mnist.npz", 0),
    NamedSet("mnist-test", 10_000, 10, "handwritten digits, 28x28, test part", "mnist.npz", 1),
    NamedSet("usps", 11_000, 10, "handwritten digits, 16x16, 1100 a class (not the version of 9298)", "usps.npz"),
    NamedSet("fashion-mnist", 70_000, 10, "clothes, 28x28", "fashion-mnist.npz"),
    NamedSet("fashion-mnist-train", 60_000, 10, "clothes, 28x28, training part", "fashion-mnist.npz", 0),
    NamedSet("fashion-mnist-test", 10_000, 10, "clothes, 28x28, test part", "fashion-mnist.npz", 1),
    NamedSet("coil20", 1_440, 20, "objects on a turntable, 128x128", "coil20.npz"),
    NamedSet("coil100", 7_200, 100, "objects on a turntable, reduced to 32x32, colour", "coil100-32.npz"),
    NamedSet("coil100-128", 7_200, 100, "objects on a turntable, 128x128, colour, as in the papers", "coil100-128.npz"),
    NamedSet("umist", 575, 20, "faces, all images, squashed to 32x32", "umist-32.npz"),
    NamedSet("umist-380", 380, 20, "faces, 19 a person, 112x92", "umist-380.npz"),
    NamedSet("cmu-pie", 2_856, 68, "faces, 32x32", "cmu-pie.npz"),
    NamedSet("frgc", 2_462, 20, "faces, 32x32, colour, JULE's choice of 20 persons", "frgc.npz"),
    NamedSet("ytf", 10_000, 41, "faces from videos, 55x55, colour, JULE's choice of 41 persons", "ytf.npz"),
    NamedSet("ytf-faces", 100_000, 1446, "faces from videos, 55x55, colour, frames of 1446 persons", "ytf-faces.npz"),
    NamedSet("lfw", 13_233, 5749, "faces, 250x250, colour, with pairs.txt beside the persons' folders", "lfw"),
    NamedSet("cifar10", 60_000, 10, "small photos, 32x32, colour", "cifar10.npz"),
    NamedSet("cifar10-train", 50_000, 10, "small photos, 32x32, colour, training part", "cifar10.npz", 0),
    NamedSet("cifar10-test", 10_000, 10, "small photos, 32x32, colour, test part", "cifar10.npz", 1),
    NamedSet("flowers102", 3_790, 89, "photos of flowers, all parts", "flowers102", parts=("train", "val", "test")),
    NamedSet("flowers102-train", 728, 89, "photos of flowers, training part", "flowers102", parts=("train",)),
    NamedSet("flowers102-val", 706, 89, "photos of flowers, validation part", "flowers102", parts=("val",)),
    NamedSet(
        "flowers102-trainval", 1_434, 89, "photos of flowers, both of these", "flowers102", parts=("train", "val")
    ),
    NamedSet("flowers102-test", 2_356, 89, "photos of flowers, test part", "flowers102", parts=("test",)),
    NamedSet("scene15", 2_130, 15, "photos of places, grey", "scene15"),
    NamedSet("mit67", 6_700, 67, "photos of rooms, both parts", "mit67", parts=("train", "test")),
    NamedSet("mit67-train", 5_360, 67, "photos of rooms, training part", "mit67", parts=("train",)),
    NamedSet("mit67-test", 1_340, 67, "photos of rooms, test part", "mit67", parts=("test",)),
    NamedSet("birds200", 11_788, 200, "photos of birds, both parts", "CUB_200_2011", parts=("train", "test")),
    NamedSet("birds200-train", 5_994, 200, "photos of birds, training part", "CUB_200_2011", parts=("train",)),
    NamedSet("birds200-test", 5_794, 200, "photos of birds, test part", "CUB_200_2011", parts=("test",)),
    NamedSet("ukbench", 1_000, 250, "objects, four photos each, for retrieval", "ukbench"),
    NamedSet("imagenet-train", 1_281_167, 1000, "photos, training part", "imagenet", parts=("train",)),
    NamedSet("imagenet-val", 50_000, 1000, "photos, validation part", "imagenet", parts=("val",)),
    NamedSet("places205-train", 2_448_873, 205, "photos of places, training part", "places205", parts=("train",)),
    NamedSet("places205-val", 20_500, 205, "photos of places, validation part", "places205", parts=("val",)),
    NamedSet("yfcc100m", 1_000_000, 1, "photos from Flickr, without classes", "yfcc100m"),
    NamedSet("oxford5k", 5_063, 11, "photos of buildings with 55 queries, for transfer retrieval", "oxford5k"),
    NamedSet("paris6k", 6_412, 12, "photos of buildings with 55 queries, for transfer retrieval", "paris6k"),
    NamedSet("voc2007", 9_963, 20, "photos with objects, for transfer voc-classify, voc-detect", "VOCdevkit/VOC2007"),
    NamedSet("voc2012", 17_125, 20, "photos with objects, for transfer voc-segment", "VOCdevkit/VOC2012"),
)


def named_sets() -> list[NamedSet]:
    """Every set that ``data:NAME`` knows; ``available`` says whether it is on this machine."""
    return list(_SETS)


def named_set(source: str) -> NamedSet | None:
    """The set that ``data:NAME`` stands for; None where there is none, and for any other source."""
    return next((one for one in _SETS if PREFIX + one.name == source), None)


def digit_images() -> tuple[np.ndarray, np.ndarray]:
    """Scikit-learn's digits: uint8 (1797, 8, 8), and their classes (1797,), int64."""
    import numpy as np
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return np.rint(bunch.images * (255 / 16)).astype(np.uint8), bunch.target.astype(np.int64)  # grey levels 0 to 16
