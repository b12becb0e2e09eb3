"""Tables 5, 6 and 8 of JULE: what its features are good for on other sets."""

from __future__ import annotations

from dataclasses import replace

from asterism.evaluation.jule_transfer import LAYERS, CrossDataset, PatchCodebook
from asterism.evaluation.table import AS_PAPER, Entry, Table
from asterism.evaluation.tables_jule import OF_JULE

_SOURCE = Entry("jule", "OURS", AS_PAPER, {"result": "rc"}, by_dataset=OF_JULE)
_BY_LAYER = tuple(replace(_SOURCE, method=f"jule-{layer}", paper_row=layer, variant=layer, estimator="jule")
                  for layer in LAYERS)  # fmt: skip
_N_LABELLED = (5000, 10_000, 25_000, 50_000)
_N_CODES = 1600
_CROSS_NOTES = (
    "Set: what is clustered. Images are resized and their channels matched to the learned network; each layer's output "
    "is scaled to length 1; then JULE's merging alone. 'data' is that merging on pixels.",
)


def _cross(
    name: str, title: str, learned_on: dict[str, str], also: tuple[str, ...] = (), one_block: tuple[str, ...] = ()
) -> Table:
    """Table 5 or 6; ``one_block``: sets that a network with a single convolution is learned for, which has no top-2."""
    deep = tuple(one for one in learned_on if one not in one_block)
    return Table(
        name,
        title,
        tuple(one for one in learned_on if one not in also),
        (*_BY_LAYER[:-1], replace(_BY_LAYER[-1], datasets=deep)),
        metrics=("nmi_sqrt", "acc"),
        also=also,
        preprocessing="uint8 pixels / 255, minus the set's mean image where 'center' is set",
        notes=_CROSS_NOTES,
        perform=CrossDataset(_SOURCE, learned_on),
    )


JULE_TRANSFER_TABLES = (
    _cross(
        "jule-5",
        "Clustering across COIL-20 and COIL-100 (NMI)",
        {"coil100": "coil20", "coil20": "coil100", "coil100-128": "coil20"},
        also=("coil100-128",),
    ),
    _cross(
        "jule-6",
        "Clustering across MNIST-test and USPS (NMI)",
        {"usps": "mnist-test", "mnist-test": "usps"},
        one_block=("mnist-test",),
    ),
    Table(
        "jule-8",
        "Image classification on CIFAR-10 by a codebook of patches",
        ("cifar10-train",),
        (
            Entry("codebook", "K-means", "patches", {"n_init": 1}, _N_CODES, estimator="kmeans"),
            *(
                Entry(f"codebook-{layer}", layer, layer, {}, _N_CODES, estimator="jule")
                for layer in ("conv1", "conv2", "conv1&2")
            ),
        ),
        metrics=tuple(f"svm_{n}" for n in _N_LABELLED),
        preprocessing="6x6 patches of 0 … 255, contrast-normalised, ZCA-whitened",
        notes=("Accuracy on the 10 000 test images of an SVM that saw so many training images.",),
        perform=PatchCodebook(40_000, _N_CODES, _N_LABELLED),
    ),
)
