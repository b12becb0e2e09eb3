"""Tables 5 to 8, 13 and 14 of JULE: what its features are good for elsewhere, and in few dimensions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from asterism_papers.evaluation.embedding import LABELLED, NARROWED, Embedded
from asterism_papers.evaluation.jule_transfer import LAYERS, CrossDataset, PatchCodebook
from asterism_papers.evaluation.table import AS_PAPER, Claim, Entry, Table
from asterism_papers.evaluation.tables_jule import ALL_GRADIENTS, NO_TINY, OF_JULE, UNDAMPED
from asterism_papers.evaluation.verification import SUPERVISED, Verified

_SOURCE = Entry("jule", "OURS", AS_PAPER, {"result": "rc"}, by_dataset=OF_JULE)
_BY_LAYER = tuple(replace(_SOURCE, method=f"jule-{layer}", paper_row=layer, variant=layer, estimator="jule")
                  for layer in LAYERS)  # fmt: skip
_SOURCE_UNDAMPED = replace(_SOURCE, params={**_SOURCE.params, **ALL_GRADIENTS})
_UNDAMPED = tuple(
    replace(one, variant=f"{one.variant} {UNDAMPED}", params=_SOURCE_UNDAMPED.params) for one in _BY_LAYER[1:]
)
_N_LABELLED = (5000, 10_000, 25_000, 50_000)
_N_CODES = 1600
_K_S = 20  # Table 2's number of neighbours, where OF_JULE's is another
_CROSS_NOTES = (
    "Set: what is clustered. Images are resized and their channels matched to the learned network; each layer's output "
    f"is scaled to length 1; then JULE's merging alone, {NO_TINY}. 'data' is that merging on pixels.",
    f"'K_s {_K_S}': merged with Table 2's number of neighbours instead of the learned network's.",
)
_UNDAMPED_NOTE = f"'{UNDAMPED}': learned so, by the row of that name in jule-3."


def _cross(
    name: str,
    title: str,
    learned_on: dict[str, str],
    also: tuple[str, ...] = (),
    one_block: tuple[str, ...] = (),
    more: tuple[Entry, ...] = (),
) -> Table:
    """Table 5 or 6; ``one_block``: sets that a network with a single convolution is learned for, which has no top-2."""
    deep = tuple(one for one in learned_on if one not in one_block)
    others = {one: {**OF_JULE[one], "n_neighbors": _K_S} for one in learned_on if OF_JULE[one]["n_neighbors"] != _K_S}
    by_neighbors = (
        replace(entry, variant=f"{entry.variant} K_s {_K_S}", by_dataset=others, datasets=tuple(others))
        for entry in (_BY_LAYER if others else ())
    )
    return Table(
        name,
        title,
        tuple(one for one in learned_on if one not in also),
        tuple(
            replace(entry, datasets=deep) if entry.paper_row == LAYERS[-1] and not entry.datasets else entry
            for entry in (*_BY_LAYER, *more, *by_neighbors)
        ),
        metrics=("nmi_sqrt", "acc"),
        also=also,
        preprocessing="uint8 pixels / 255, minus the set's mean image where 'center' is set",
        notes=(*_CROSS_NOTES, *([_UNDAMPED_NOTE] if more else [])),
        perform=CrossDataset(_SOURCE, learned_on, {one.variant: _SOURCE_UNDAMPED for one in more}),
    )


def _embeddings() -> Iterator[Entry]:
    """Each method in 2, 10 and 30 dimensions."""
    for d in (2, 10, 30):
        yield Entry("pca", f"PCA, {d}D", f"{d}D", {"n_components": d}, estimator="sklearn.decomposition.PCA")
        nca = {"n_components": d, "init": "pca", "max_iter": 50}
        where = "sklearn.neighbors.NeighborhoodComponentsAnalysis"
        yield Entry("nca", f"NCA, {d}D", f"{d}D {LABELLED}", nca, estimator=where)
        yield Entry(
            "autoencoder",
            f"Autoencoder, {d}D",
            f"{d}D",
            {"autoencoder.widths": (500, 500, 2000, d), "normalise": False, "n_init": 1},
            estimator="dae-kmeans",
        )
        yield Entry("jule", f"OURS, {d}D", f"{d}D", {"network.n_features": d})
        yield Entry(
            NARROWED, f"OURS, {d}D", f"{d}D from the clusters of 160", {"network.n_features": d}, estimator="jule"
        )
        where = "asterism_papers.transfer.parametric_tsne.ParametricTSNE"
        yield Entry("parametric-tsne", f"Param. t-SNE, {d}D", f"{d}D", {"n_components": d}, estimator=where)
    yield Entry("tsne", "Param. t-SNE, 2D", "2D not parametric", {"n_components": 2}, estimator="openTSNE.TSNE")


def _embedding_table(name: str, title: str, metric: str, runs_of: str = "") -> Table:
    return Table(
        name,
        title,
        ("mnist-train",),
        tuple(_embeddings()),
        metrics=(metric,),
        also=("fashion-mnist-train",),
        notes=_EMBEDDING_NOTES,
        perform=Embedded(n_labelled=5000, source=_SOURCE),
        runs_of=runs_of,
    )


_EMBEDDING_NOTES = (
    "Learnt from the 60 000 training images; the 10 000 test images are placed, their nearest training image and their "
    "own neighbours are what is scored (the protocol of parametric t-SNE; the slides do not say).",
    f"OURS: {NO_TINY}. It is narrow from the start, the natural reading, and lies on a sphere: 2D is a circle. 'from "
    "the clusters of 160' is JULE as in Table 3, and then a narrow last layer without that scaling, trained with a "
    "softmax on its clusters.",
    "An error is better the lower it is. NCA learns from labels, here of 5 000 images; the auto-encoder is DEC's with "
    "d features. Parametric t-SNE has rectified layers trained by Adam in batches of 1000, where its paper pre-trains "
    "Boltzmann machines and takes 5000; 'not parametric' is openTSNE's.",
)

_N_SAMPLES = (10, 20, 30, 50, 100)  # thousand frames of videos
_FACES = {"unroll_rate": 0.2}  # Table 2
_VERIFICATION_NOTES = (
    "Restricted protocol, View 2: the cosine of two features against the threshold that is best on nine folds, tested "
    "on the tenth; mean of ten. data:lfw is wanted besides the set that is learnt from.",
    "Silent in the paper, and ours: k = the number of persons, features of 160 numbers, 20 epochs of fine-tuning and "
    "60 of the supervised network with clustering's rates, the middle 60 % of LFW's photographs.",
)

_CODED = {
    layer: Entry(f"codebook-{layer}", layer, layer, {}, _N_CODES, estimator="jule")
    for layer in ("conv1", "conv2", "conv1&2", "ip")
}

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
        more=_UNDAMPED,
    ),
    Table(
        "jule-7",
        "Face verification on LFW",
        ("ytf-faces",),
        tuple(
            Entry(method, f"{row}, {n}k", f"{n}k", _FACES, estimator="jule")
            for method, row in ((SUPERVISED, "Supervised"), ("jule", "OURS"))
            for n in _N_SAMPLES
        ),
        metrics=("lfw", "lfw_error"),
        notes=_VERIFICATION_NOTES,
        perform=Verified(),
    ),
    Table(
        "jule-8",
        "Image classification on CIFAR-10 by a codebook of patches",
        ("cifar10-train",),
        (
            Entry("codebook", "K-means", "patches", {"n_init": 1}, _N_CODES, estimator="kmeans"),
            *_CODED.values(),
        ),
        metrics=tuple(f"svm_{n}" for n in _N_LABELLED),
        preprocessing="6x6 patches of 0 … 255, contrast-normalised, ZCA-whitened",
        notes=(
            "Accuracy on the 10 000 test images of an SVM that saw so many training images.",
            f"JULE's merging of the patches: {NO_TINY}.",
            "ip: the linear layer's output, of which the paper only says that it 'performs poorly'.",
        ),
        perform=PatchCodebook(40_000, _N_CODES, _N_LABELLED),
        claims=(
            Claim("conv1&2 against conv1", _CODED["conv1&2"], _CODED["conv1"], ("svm_50000",)),
            Claim("conv1 against the linear layer", _CODED["conv1"], _CODED["ip"], ("svm_50000",)),
        ),
    ),
    _embedding_table("jule-13", "Error of the nearest neighbour in a low-dimensional embedding", "nn_error"),
    _embedding_table("jule-14", "Trustworthiness T(12) of a low-dimensional embedding", "trust", runs_of="jule-13"),
)
