"""Tables 1, 2 and 4, Figure 2 and the choices of §3 and §4.1 of DeepCluster, at the size of CIFAR-10 and a laptop."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from asterism_papers.evaluation.probing import IMAGENET, PLACES, SCORES, STAGE_SCORES, STAGES, ProbedRuns
from asterism_papers.evaluation.retrieval_runs import OBJECTS, SEARCHED, RetrievedRuns
from asterism_papers.evaluation.table import Claim, Entry, Panel, Rise, Table
from asterism_papers.evaluation.voc_runs import COLUMNS, TransferredRuns
from asterism_papers.transfer.probe import LinearProbe

CIFAR = "cifar10-train"
ALSO = ("fashion-mnist-train", "mnist-train")  # any set with parts NAME-train and NAME-test
LAPTOP, EDGES, COLOURS, LONG = "laptop", "laptop: Sobel", "laptop: colours", "long: Sobel"
N_FITTED, N_LABELLED = 25_000, 5_000

# What one thread does in ten minutes: an eighth of AlexNet's filters, k = 10 times the classes as in the paper, and
# what little training needs: crops of 15 % instead of 8 %, changed brightness and contrast, fewer whitened dimensions.
_SMALL: dict[str, Any] = {
    "network.width": 0.125,
    "network.dropout": 0.2,
    "network.n_features": 256,
    "whitening.n_components": 32,
    "training.n_epochs": 16,
    "training.batch_size": 128,
    "augmentation.smallest": 0.15,
    "augmentation.jitter": 0.5,
    "augmentation.grey": 0.2,
}
_K = 100
_SMALL_V2: dict[str, Any] = {
    "network.architecture": "alexnet",
    "network.sobel": False,
    "network.width": 0.125,
    "network.n_features": 256,
    "projection.hidden": 512,
    "contrastive_start.n_epochs": 0,
    "crops.n_small": 0,
    "crops.large.smallest": 0.15,
    "training.n_epochs": 16,
    "training.batch_size": 128,
}
_LAPTOP_NOTE = (
    f"'{LAPTOP}': AlexNet with an eighth of its filters at 32x32, 16 epochs instead of 500, k = 100; the paper: "
    "1 281 167 images at 224x224, k = 10 000. Figures of the two do not compare."
)
_NOTE = (
    f"{_LAPTOP_NOTE} {N_FITTED} images without labels; 'long': all 50 000, a quarter of the filters, 40 epochs.",
    f"Linear probe: SGD, {N_LABELLED} labelled images, all test images, one view instead of ten crops; the weight "
    "decay is chosen on a held-out tenth of the labelled images.",
)


def _random(entry: Entry) -> Entry:
    """The same network without any training."""
    return Entry(
        "random", "Random", entry.variant, {**entry.params, "training.n_epochs": 0}, _K, estimator="deepcluster"
    )


_DEEPCLUSTER = Entry("deepcluster", "DeepCluster", EDGES, _SMALL, _K)
# All 50 000 images, 40 epochs, an hour or two of one idle core: what the time is worth.
_MORE = {"network.width": 0.25, "network.n_features": 1024, "training.n_epochs": 40}
_LONG = Entry("deepcluster", "DeepCluster", LONG, {**_SMALL, **_MORE, "reassign_every": 1.0}, _K)
_LONG_V2 = Entry("deepcluster-v2", "DeepCluster-v2", "long: colours", {**_SMALL_V2, **_MORE}, _K)
_COLOUR = Entry("deepcluster", "DeepCluster", COLOURS, {**_SMALL, "network.sobel": False}, _K)

_V2 = Entry("deepcluster-v2", "DeepCluster-v2", COLOURS, _SMALL_V2, _K)
_PROBED_AT = ("conv2", "conv3", "conv5", "features", "knn")
_CLAIMS = tuple(
    Claim(f"{one.paper_row} against random, {one.variant}", one, _random(network), _PROBED_AT)
    for one, network in ((_DEEPCLUSTER, _DEEPCLUSTER), (_COLOUR, _COLOUR), (_V2, _COLOUR), (_LONG, _LONG))
)

# Each choice of the paper against its alternatives; the paper's own is the plain laptop setting.
_CHOICES: dict[str, dict[str, Any]] = {
    "legacy sampler": {"sampler": "legacy"},
    "natural sampling": {"sampler": "natural"},
    "colours instead of Sobel": {"network.sobel": False},
    "power iteration clustering": {"clusterer": "pic"},
    "no whitening": {"whitening.whiten": False},
    "reassigned every epoch": {"reassign_every": 1.0},
    "reassigned twice an epoch": {"reassign_every": 0.5},
    "head without momentum": {"head_momentum": 0.0},
    "the paper's augmentation alone": {
        "augmentation.smallest": 0.08,
        "augmentation.jitter": 0.0,
        "augmentation.grey": 0.0,
    },
    "dropout .5": {"network.dropout": 0.5},
}
_256 = {"network.n_features": 512, "whitening.n_components": 256}
_WIDE = Entry("deepcluster", "DeepCluster", "long: 256 components", {**_SMALL, **_256, "reassign_every": 1.0}, _K)
_CHOICES_NOTES = (
    f"{_LAPTOP_NOTE} {N_FITTED} images without labels.",
    f"'{_WIDE.variant}': all 50 000 images, 512 features, reassigned every epoch; filters and epochs as '{LAPTOP}'.",
    *_NOTE[1:],
)
_CLUSTERS = (10, 30, 100, 300, 1000)
_PROBED = ProbedRuns(N_FITTED, N_LABELLED, LinearProbe())
_PREPROCESSING = "uint8 pixels / 255, then mean 0 and deviation 1 a channel, then Sobel where the network has it"

# PASCAL VOC: as in the paper, what learns without labels is ImageNet; smaller sets are for seeing how far those get.
ON_PHOTOS = (CIFAR, "flowers102-trainval")
_PAPER_K = 10_000
# Said in full: what is not set is of a processor's size where there is no GPU.
_PAPER: dict[str, Any] = {
    "network.architecture": "alexnet",
    "whitening.n_components": 256,
    "training.n_epochs": 500,
    "augmentation.smallest": 0.08,
}
_SHORT = {"n_steps": 2000}  # of the tasks in the laptop setting
_VOC_NOTES = (
    "Classification (mAP, the area below the curve, as the released script has it) and detection (mAP, 11 points): "
    "PASCAL VOC 2007, trainval and test; segmentation (mean IoU): 2012, train and val. data:voc2007 and data:voc2012 "
    "are wanted besides the set that is learnt from.",
    "Detection is Fast R-CNN where the data folder has voc2007-proposals/*.{mat,npz,csv} (selective search), else "
    "Faster R-CNN. Fast R-CNN's and FCN's own settings: the paper names these programs and no numbers.",
    "FC6-8 trains the layers behind the convolutions alone; the paper's 72.0 % of classification trained batch norm's "
    "scale and shift too, without which it is 70.4 %.",
    f"'{LAPTOP}': the laptop setting of deepcluster-1, {_SHORT['n_steps']} steps a task.",
)


def _on_voc(params: dict[str, Any], paper_row: str, random_row: str, variant: str) -> tuple[Entry, Entry]:
    """DeepCluster with a network, and the same network untrained."""
    params = {**_PAPER, **params}
    trained = Entry("deepcluster", paper_row, variant, params, _PAPER_K, datasets=(IMAGENET,))
    untrained = {**params, "training.n_epochs": 0}
    return trained, Entry("random", random_row, variant, untrained, 100, estimator="deepcluster", datasets=(IMAGENET,))


_ALEXNET = _on_voc({}, "DeepCluster", "Random-sobel", "AlexNet: Sobel")
_COLOURED = _on_voc({"network.sobel": False}, "DeepCluster", "Random-rgb", "AlexNet: colours")[1]
_SMALL_VOC = tuple(
    Entry(one.method, one.paper_row, LAPTOP, one.params, _K, estimator=one.estimator, datasets=ON_PHOTOS)
    for one in (_DEEPCLUSTER, _random(_DEEPCLUSTER))
)
_DETECTED = (
    *_on_voc({}, "DeepCluster, AlexNet", "Random, AlexNet", "AlexNet"),
    *_on_voc({"network.architecture": "vgg16"}, "DeepCluster, VGG-16", "Random, VGG-16", "VGG-16"),
)
_PHOTO_SIDE = 224
_ON_VOC = TransferredRuns(COLUMNS, _SHORT)  # one for Tables 2 and 3: what ran for one is taken over by the other
YFCC = "yfcc100m"
# The impact of the training set (§5.1): the same network on either.
_TRAINED_ON = tuple(replace(one, datasets=(IMAGENET, YFCC)) for one in reversed(_ALEXNET))
_VGG = _on_voc({"network.architecture": "vgg16"}, "DeepCluster", "Random", "VGG-16: Sobel")
_SEARCH_NOTES = (
    "R-MAC of the last convolution, three levels, whitened: Oxford and Paris at 1024 pixels by their 55 queries, "
    "whitened on each other; UKBench, which the paper has not, at 168x224, every photograph among the others.",
)

# Table 1 itself: trained on ImageNet, probed on ImageNet and on Places.
_TABLE_1 = tuple(
    replace(one, paper_row="Random" if one.method == "random" else "DeepCluster", datasets=(IMAGENET, PLACES))
    for one in reversed(_ALEXNET)
)

# Ours: what a core does. A small residual network, half precision, a rate that falls from step to step, a contrastive
# start; trained and untrained are measured in one space, the last maps averaged over their places.
RESNET = "small residual network"
_RESNET: dict[str, Any] = {
    "network.architecture": "small-resnet",
    "network.sobel": False,
    "network.width": 1.0,
    "projection.hidden": 512,
    "projection.n_dims": 128,
    "crops.n_small": 0,
    "crops.large.smallest": 0.2,
    "crops.large.jitter": 0.4,
    "crops.large.blur": 0.0,
    "crops.large.side": 24,
    "contrastive_start.n_epochs": 0,
    "training.n_epochs": 16,
    "training.batch_size": 256,
    "training.lr": 0.1,
    "training.weight_decay": 1e-4,
    "training.schedule": "cosine-steps",
    "precision": "bf16-mixed",
}


def _after_simclr(first: int, then: int) -> dict[str, Any]:
    """So many epochs of the contrastive start, and so many of DeepCluster-v2."""
    return {
        **_RESNET,
        "contrastive_start.n_epochs": first,
        "contrastive_start.lr": 0.2,
        "training.n_epochs": then,
        "training.lr": 0.05,
    }


_SMALL_V2_ROW = Entry("deepcluster-v2", "DeepCluster-v2", RESNET, _RESNET, _K)
_SMALL_STARTED = Entry("deepcluster-v2", "DeepCluster-v2", f"{RESNET} after SimCLR", _after_simclr(12, 4), _K)
_SMALL_THRICE = Entry(
    "deepcluster-v2", "DeepCluster-v2", f"three times as long: {RESNET} after SimCLR", _after_simclr(36, 12), _K
)
_SMALL_LONG = Entry("deepcluster-v2", "DeepCluster-v2", f"long: {RESNET} after SimCLR", _after_simclr(90, 30), _K)
_SMALL_UNTRAINED = Entry(
    "random", "Random", RESNET, {**_RESNET, "training.n_epochs": 0}, _K, estimator="deepcluster-v2"
)
_IN_ONE_SPACE = ProbedRuns(50_000, 50_000, LinearProbe(), STAGES, "pooled", 256)
_RESNET_NOTES = (
    "Ours, and no table of the paper: a residual network of three blocks at 32x32, all 50 000 images without labels, "
    "two crops of 24x24, half precision, k = 100. Sixteen epochs; 'three times as long' 48; 'long' 120: two hours of a "
    "core.",
    "'pooled': the last layer's maps averaged over their places; linear, MLP of 256 units and k-NN in that space, "
    "before and after training, with the labels of all 50 000 images. 'layer': averaged over a grid.",
    "'Supervised': the same network and crops trained on the classes, as many epochs.",
)

DEEPCLUSTER_TABLES = (
    Table(
        "deepcluster-1",
        "Linear classification on activations of the convolutional layers",
        (CIFAR,),
        (
            *(
                replace(one, datasets=(CIFAR, *ALSO))
                for one in (
                    _random(_DEEPCLUSTER),
                    _random(_COLOUR),
                    _random(_LONG),
                    _DEEPCLUSTER,
                    _COLOUR,
                    _V2,
                    Entry(
                        "deepcluster-v2",
                        "DeepCluster-v2",
                        f"{LAPTOP}: memory bank",
                        {**_SMALL_V2, "assignment.memory": "crops"},
                        _K,
                    ),
                    _LONG,
                    _LONG_V2,
                )
            ),
            *_TABLE_1,
        ),
        metrics=SCORES,
        curves=("nmi_sqrt", "nmi_to_previous"),
        preprocessing=_PREPROCESSING,
        notes=_NOTE,
        also=(*ALSO, IMAGENET, PLACES),
        photo_side=_PHOTO_SIDE,
        perform=_PROBED,
        claims=(*_CLAIMS, Claim("DeepCluster against random, AlexNet", _TABLE_1[1], _TABLE_1[0], _PROBED_AT[:3])),
    ),
    Table(
        "deepcluster-small",
        "A small residual network: linear classification of its layers, trained and untrained",
        (CIFAR,),
        (
            _SMALL_UNTRAINED,
            _SMALL_STARTED,
            _SMALL_THRICE,
            _SMALL_LONG,
            _SMALL_V2_ROW,
            Entry(
                "deepcluster-v2",
                "SwAV",
                f"{RESNET} with Sinkhorn",
                {**_RESNET, "assignment.kind": "sinkhorn", "assignment.queue": 1024},
                _K,
            ),
            Entry("supervised", "Supervised", RESNET, _RESNET, _K, estimator="deepcluster-v2"),
        ),
        metrics=STAGE_SCORES,
        curves=("nmi_sqrt", "nmi_to_previous"),
        preprocessing=_PREPROCESSING,
        notes=_RESNET_NOTES,
        also=ALSO,
        perform=_IN_ONE_SPACE,
        rises=(
            Rise("NMI to the classes rises, from random weights", _SMALL_V2_ROW, "nmi_sqrt"),
            Rise("NMI to the classes rises, after SimCLR", _SMALL_STARTED, "nmi_sqrt"),
            Rise("NMI to the classes rises, three times as long after SimCLR", _SMALL_THRICE, "nmi_sqrt"),
        ),
        claims=tuple(
            Claim(f"DeepCluster-v2 against random, {one.variant}", one, _SMALL_UNTRAINED, STAGE_SCORES)
            for one in (_SMALL_STARTED, _SMALL_THRICE, _SMALL_V2_ROW)
        ),
    ),
    Table(
        "deepcluster-2",
        "Classification, detection and segmentation on PASCAL VOC",
        (IMAGENET,),
        (_COLOURED, *reversed(_ALEXNET), *_SMALL_VOC),
        metrics=COLUMNS,
        preprocessing=_PREPROCESSING,
        notes=_VOC_NOTES,
        also=(*ON_PHOTOS, "voc2007", "voc2012"),  # nothing learns from the last two; --list says what they lack
        photo_side=_PHOTO_SIDE,
        perform=_ON_VOC,
    ),
    Table(
        "deepcluster-3",
        "Impact of the training set on PASCAL VOC",
        (IMAGENET, YFCC),
        (*_TRAINED_ON, *_SMALL_VOC),
        metrics=COLUMNS,
        preprocessing=_PREPROCESSING,
        notes=_VOC_NOTES,
        also=(*ON_PHOTOS, "voc2007", "voc2012"),
        photo_side=_PHOTO_SIDE,
        perform=_ON_VOC,
    ),
    Table(
        "deepcluster-4",
        "Detection on PASCAL VOC 2007 with AlexNet and VGG-16",
        (IMAGENET,),
        _DETECTED,
        metrics=("detection_all",),
        preprocessing=_PREPROCESSING,
        notes=_VOC_NOTES[:2],
        also=("voc2007",),
        photo_side=_PHOTO_SIDE,
        perform=TransferredRuns(("detection_all",), _SHORT),
    ),
    Table(
        "deepcluster-5",
        "Instance retrieval on Oxford and Paris",
        (IMAGENET,),
        (*reversed(_VGG), *_SMALL_VOC),
        metrics=SEARCHED,
        preprocessing=_PREPROCESSING,
        notes=(*_SEARCH_NOTES, f"{_LAPTOP_NOTE} All images of the set are learnt from, without labels."),
        also=(*ON_PHOTOS, *SEARCHED),
        photo_side=_PHOTO_SIDE,
        perform=RetrievedRuns(),
        claims=(
            Claim("DeepCluster against random, VGG-16", _VGG[0], _VGG[1], SEARCHED[:2]),
            Claim("DeepCluster against random, laptop", _SMALL_VOC[0], _SMALL_VOC[1], (OBJECTS,)),
        ),
    ),
    Table(
        "deepcluster-fig2",
        "Clusters against classes, and against the clusters of the round before",
        (CIFAR,),
        (_DEEPCLUSTER, _LONG),
        shows="curves",
        curves=("nmi_sqrt", "nmi_to_previous"),
        panels=(Panel("(a), (b)", (("laptop", EDGES), ("long", LONG))),),
        preprocessing=_PREPROCESSING,
        notes=_NOTE[:1],
        also=ALSO,
        photo_side=_PHOTO_SIDE,
        perform=_PROBED,
        rises=tuple(
            Rise(f"NMI {to} rises {panel}, {one.variant}", one, curve)
            for panel, to, curve in (
                ("(a)", "to the classes", "nmi_sqrt"),
                ("(b)", "between rounds", "nmi_to_previous"),
            )
            for one in (_DEEPCLUSTER, _LONG)
        ),
    ),
    Table(
        "deepcluster-fig2c",
        "The number of clusters",
        (CIFAR,),
        tuple(Entry("deepcluster", f"k = {k}", f"{LAPTOP}: k {k}", _SMALL, k) for k in _CLUSTERS),
        metrics=SCORES,
        preprocessing=_PREPROCESSING,
        notes=_NOTE,
        also=ALSO,
        photo_side=_PHOTO_SIDE,
        perform=_PROBED,
    ),
    Table(
        "deepcluster-choices",
        "Each choice of §3 against its alternatives",
        (CIFAR,),
        (
            _DEEPCLUSTER,
            *(
                Entry("deepcluster", "DeepCluster", f"{LAPTOP}: {name}", {**_SMALL, **params}, _K)
                for name, params in _CHOICES.items()
            ),
            _WIDE,
        ),
        metrics=SCORES,
        preprocessing=_PREPROCESSING,
        notes=_CHOICES_NOTES,
        also=ALSO,
        photo_side=_PHOTO_SIDE,
        perform=_PROBED,
    ),
)
