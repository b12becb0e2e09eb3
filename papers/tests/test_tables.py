"""The declared tables, the papers' values, and dotted parameter names."""

import re
from pathlib import Path

import pytest

from asterism import DBC, DEC, FCAE, Augmentation, KMeans, Training
from asterism.clustering import affinities
from asterism.errors import InputError
from asterism.images import named_sets
from asterism.methods import METHODS, agglomerative
from asterism.methods.cluster_initialisation import ClusterInitialisation
from asterism.parameters import set_dotted
from asterism_papers.evaluation.external_estimators import external_estimator, is_external, missing_external
from asterism_papers.evaluation.filters import entries_of
from asterism_papers.evaluation.printing import format_table
from asterism_papers.evaluation.protocol import Task
from asterism_papers.evaluation.table import AS_PAPER, AUGMENTED, METRIC_LABELS, Table, papers
from asterism_papers.evaluation.tables import TABLES, find_tables
from asterism_papers.evaluation.tables_dbc import AUGMENTED_LINKED, LEARNT, LINKED
from asterism_papers.methods import DAEKMeans

PAPER = Path(__file__).parents[3] / "shared" / "papers" / "dbc-fcae.txt"

# ---------------------------------------------------------------- the papers' values


def test_values_are_the_papers():
    mnist = TABLES["dbc-3"].printed("mnist")
    assert (mnist["DBC"]["acc"], mnist["DBC"]["nmi_max"]) == (0.964, 0.917)
    assert (mnist["FCAE-KMS"]["acc"], mnist["FCAE-KMS"]["nmi_max"]) == (0.794, 0.698)
    assert mnist["DAE-KMS"] == {"acc": 0.818, "nmi_max": None}
    assert TABLES["dbc-4"].printed("usps")["DBC"] == {"acc": 0.743, "nmi_max": 0.724}
    assert TABLES["dbc-5"].printed("coil20")["DBC"] == {"acc": 0.793, "nmi_max": 0.895}
    assert TABLES["dbc-6"].printed("coil100")["DBC"] == {"acc": 0.775, "nmi_max": 0.905}


@pytest.mark.skipif(not PAPER.is_file(), reason="the paper's text is not beside this checkout")
@pytest.mark.parametrize("number", [3, 4, 5, 6])
def test_every_printed_value_matches_the_papers_text(number):
    text = PAPER.read_text(encoding="utf-8")
    block = re.search(rf"Table {number}: Clustering.*?\n\n(Metric\t.*?)\n\n", text, re.S).group(1)
    header, *lines = [line.split("\t") for line in block.splitlines()]
    (printed,) = TABLES[f"dbc-{number}"].paper["values"].values()
    for metric, cells in zip(("acc", "nmi_max"), lines, strict=True):
        theirs = {}
        for name, cell in zip(header[1:], cells[1:], strict=True):
            parts = [re.sub(r"[ ⁵]", "", part) for part in cell.split("/")]  # DCN: "0.58 / 0.93 ⁵"
            for part, row in zip(parts, (name, f"{name} (processed MNIST)"), strict=False):
                theirs[row] = None if part == "-" else float(part)
        assert {row: values[metric] for row, values in printed.items()} == theirs


@pytest.mark.skipif(not PAPER.is_file(), reason="the paper's text is not beside this checkout")
def test_the_papers_data_sets_match_its_table_1():
    sets = papers()["dbc"]["datasets"]
    rows = re.findall(r"^(MNIST|USPS|COIL-20|COIL-100)\t(\d+)\t(\d+)\t(\d+)×(\d+)\t(\d)$", PAPER.read_text(), re.M)
    assert len(rows) == 4
    for name, n, classes, height, width, channels in rows:
        size = f"{height}x{width}" + (f"x{channels}" if channels != "1" else "")
        assert sets[name.lower().replace("-", "")] == {"n": int(n), "classes": int(classes), "size": size}


def test_known_misprint_is_marked():
    usps, mnist = TABLES["dbc-4"].printed("usps"), TABLES["dbc-3"].printed("mnist")
    assert {name: usps["KMS"][name] for name in ("acc", "nmi_max")} == mnist["KMS"]
    assert "Table 3" in usps["KMS"]["misprint"]
    assert "misprint" not in mnist["KMS"]


# ---------------------------------------------------------------- the declarations


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_each_declaration_can_run(table):
    known = {one.name for one in named_sets()}
    assert {*table.datasets, *table.also} <= known
    assert set(table.metrics) <= set(METRIC_LABELS)
    assert table.paper["where"] and table.paper["source"]
    variants = [(entry.method, entry.variant) for entry in table.entries]
    assert len(set(variants)) == len(variants), "two entries that nothing tells apart"
    assert {variant for panel in table.panels for _, variant in panel.curves} <= {variant for _, variant in variants}
    for entry in table.entries:
        assert entry.class_name in METHODS or is_external(entry.class_name)
        assert "," not in entry.variant and "=" not in entry.variant  # --only splits at them
        if is_external(entry.class_name):
            if not missing_external(entry.class_name):
                external_estimator(entry, table.datasets[0], 10, 0)
            continue
        Task(table, table.datasets[0], entry, 0).estimator(10).check()


@pytest.mark.parametrize("name", ["dbc-3", "dbc-4", "dbc-5", "dbc-6"])
def test_papers_rows_of_ours_are_run_in_both_recipes(name):
    table = TABLES[name]
    for method in ("dbc", "fcae-kmeans"):
        found = [one.variant for one in table.entries if one.method == method]
        assert found[:2] == [AS_PAPER, AUGMENTED]
        assert method != "dbc" or found[2:4] == [LINKED, AUGMENTED_LINKED]
    plain = Task(table, "", next(e for e in table.entries if e.method == "dbc" and e.variant == AS_PAPER), 0).params
    assert plain["augmentation"] == "none"
    assert plain["cluster_initialisation"]["params"]["method"] == "k-means"  # Algorithm 1, line 3
    assert plain["cluster_initialisation"]["params"]["rounds"] == 0
    assert plain["autoencoder"]["params"]["augmentation"] == "none"
    both = Task(table, "", next(e for e in table.entries if e.method == "dbc" and e.variant == AUGMENTED), 0).params
    assert both["augmentation"]["class"] == both["autoencoder"]["params"]["augmentation"]["class"] == "Augmentation"
    assert plain["training"] == both["training"]


@pytest.mark.parametrize("name", ["dbc-3", "dbc-4", "dbc-5", "dbc-6"])
def test_the_note_on_learnt_groups_says_what_is_learnt(name):
    (note,) = [one for one in TABLES[name].notes if one.startswith(f"'{LEARNT}'")]
    (entry,) = [one for one in TABLES[name].entries if one.variant == LEARNT]
    multiples = entry.params["cluster_initialisation.multiples"]
    said = re.search(r"k-means alone, (.*) groups, each number twice; k groups ten times where", note)
    assert said and [int(one[:-1] or 1) for one in said[1].split(", ") for _ in range(2)] == list(multiples)
    assert ClusterInitialisation("k-means", multiples=multiples).learnt(1440, 20) == [20] * 10  # COIL-20


def test_the_note_on_dec_says_where_its_own_schedule_runs():
    assert any("DEC" in note and "dbc-dec" in note for note in TABLES["dbc-3"].notes) and "dbc-dec" in TABLES


def test_what_figures_say_in_words_is_a_claim():
    apart = TABLES["dbc-fig7"].claims
    assert [(one.above.method, one.below.method, one.metrics) for one in apart] == [
        ("dbc", "fcae-kmeans", ("purity_at_10",)) for _ in (AS_PAPER, AUGMENTED)
    ]
    rising = {(one.entry.variant, one.curve) for one in TABLES["deepcluster-fig2"].rises}
    entries = TABLES["deepcluster-fig2"].entries
    assert rising == {(one.variant, curve) for one in entries for curve in ("nmi_sqrt", "nmi_to_previous")}


def test_fig_9_varies_one_thing_at_a_time():
    table = TABLES["dbc-fig9"]
    params = {entry.variant: Task(table, "", entry, 0).params for entry in table.entries}
    for recipe in (AS_PAPER, AUGMENTED):
        choice = params[f"{recipe}: the paper's choice"]
        assert (choice["boost"], choice["balance"], choice["start"]) == (2.0, "boosted", "trained")
        for title, name, values in (
            ("(a) boost", "boost", {"1.5": 1.5, "2": 2.0, "4": 4.0}),
            ("(b) balance", "balance", {one: one for one in ("none", "soft", "boosted")}),
            ("(c) start", "start", {one: one for one in ("random", "half-trained", "trained")}),
        ):
            (panel,) = [panel for panel in table.panels if panel.title == f"{title}, {recipe}"]
            assert {label: params[variant][name] for label, variant in panel.curves} == values
            for _, variant in panel.curves:
                assert {**params[variant], name: choice[name]} == choice


def test_unknown_table_lists_the_names():
    with pytest.raises(InputError, match=r"no table 'dbc-33'; did you mean dbc-3\? There are: .*dbc-fig9"):
        find_tables(["dbc-4", "dbc-33"])


# ---------------------------------------------------------------- set_dotted


def test_dotted_names_reach_nested_parameters_and_leave_the_defaults():
    before = DBC.DEFAULTS["autoencoder"].get_params(), DBC.DEFAULTS["training"].get_params()
    estimator = DBC()
    set_dotted(estimator, {"boost": 1.5, "training.lr": 0.5, "training.n_epochs": 3, "autoencoder.training.lr": 0.25})
    assert estimator.boost == 1.5
    assert (estimator.training.lr, estimator.training.n_epochs) == (0.5, 3)
    assert estimator.training.momentum == DBC.DEFAULTS["training"].momentum
    assert estimator.autoencoder.training.lr == 0.25
    assert estimator.autoencoder.training.n_epochs == FCAE.DEFAULTS["training"].n_epochs
    assert (DBC.DEFAULTS["autoencoder"].get_params(), DBC.DEFAULTS["training"].get_params()) == before
    assert FCAE.DEFAULTS["training"].lr != 0.25


def test_dotted_names_do_not_change_a_shared_object():
    shared = Training(lr=0.1)
    estimator = DBC(training=shared)
    set_dotted(estimator, {"training.lr": 0.2})
    assert (shared.lr, estimator.training.lr) == (0.1, 0.2)


def test_dotted_names_use_the_defaults_of_the_class_at_hand():
    estimator = DAEKMeans()
    set_dotted(estimator, {"autoencoder.dropout": 0.1})
    assert type(estimator.autoencoder).__name__ == "SAE"


def test_dotted_name_below_a_nested_object_that_is_off_switches_it_on():
    estimator = DEC()
    set_dotted(estimator, {"augmentation.shift": 0.2})
    assert isinstance(estimator.augmentation, Augmentation)
    assert estimator.augmentation.shift == 0.2


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("bost", r"bost cannot be set: DBC has no parameter 'bost'; did you mean boost\? It has: augmentation, "),
        (
            "training.lrr",
            r"Training has no parameter 'lrr'; did you mean training\.lr\? It has: training\.batch_size, ",
        ),
        ("trainin.lr", r"did you mean training\?"),
        ("autoencoder.training.zzz", r"no parameter 'zzz'; It has: autoencoder\.training\.batch_size"),
        ("boost.x", r"boost\.x cannot be set: boost is a plain value and has no parameters of its own"),
        ("n_clusters.", r"n_clusters\. cannot be set"),
    ],
)
def test_unknown_dotted_name_says_what_there_is(path, message):
    with pytest.raises(InputError, match=message):
        set_dotted(DBC(), {path: 1})


def test_dotted_values_are_checked_in_the_users_spelling():
    estimator = DBC()
    set_dotted(estimator, {"autoencoder.training.lr": -1.0})
    with pytest.raises(InputError, match=r"autoencoder\.training\.lr=-1\.0 cannot be used"):
        estimator.check()
    set_dotted(KMeans(), {"n_init": "many"})  # not checked before


# ---------------------------------------------------------------- JULE's values, and what its rows are

SLIDES = PAPER.with_name("jule-slides.txt")
JULE_SETS = {
    "COIL20": "coil20", "COIL100": "coil100", "USPS": "usps", "MNIST-test": "mnist-test", "MNIST-full": "mnist",
    "UMist": "umist", "FRGC": "frgc", "CMU-PIE": "cmu-pie", "YTF": "ytf",
}  # fmt: skip


def test_values_are_jules():
    three, four = TABLES["jule-3"], TABLES["jule-4"]
    assert three.printed("usps")["OURS-RC"] == {"nmi_sqrt": 0.913, "acc": 0.950}
    assert three.printed("coil20")["SC-NJW"] == {"nmi_sqrt": 0.860, "reported": 0.889, "acc": 0.641}
    assert three.printed("coil100-128") == three.printed("coil100")
    assert four.printed("cmu-pie")["N-Cuts"] == {"nmi_sqrt": 0.995, "acc": 0.981}
    assert three.printed("mnist")["TSC-D"] == {"nmi_sqrt": 0.651, "borrowed": True, "acc": None}


@pytest.mark.skipif(not SLIDES.is_file(), reason="the slides' text is not beside this checkout")
@pytest.mark.parametrize(("number", "metric"), [(3, "nmi_sqrt"), (4, "nmi_sqrt"), (10, "acc"), (11, "acc")])
def test_every_value_matches_jules_slides(number, metric):
    text = SLIDES.read_text(encoding="utf-8")
    block = text[text.index(f"Table {number}: Quantitative") :].split("\n\n")[1]
    header, *lines = [line.split("\t") for line in block.splitlines()]
    sets = [JULE_SETS[re.sub("<.*?>", "", name)] for name in header[1:]]
    table, seen = TABLES[f"jule-{number}"], 0
    for name, *cells in lines:
        row = re.sub(r" \[\d+\]$", "", name)
        for dataset, cell in zip(sets, cells, strict=True):
            rerun = cell.split("/")[0] if row != "TSC-D" else cell.lstrip("-")
            expected = float(rerun) if rerun not in ("", "-") else None
            assert table.printed(dataset).get(row, {}).get(metric) == expected, (row, dataset)
            seen += 1
    assert seen == 9 * len(lines) >= 90


def test_jules_misprints_are_marked():
    for dataset, rows in {"umist": ("AC-Zell", "AC-GDL"), "frgc": ("AC-Zell", "AC-GDL"), "cmu-pie": ("NMF-D",)}.items():
        assert all("misprint" in TABLES["jule-3"].printed(dataset)[row] for row in rows)
    degenerate = {row for row, one in TABLES["jule-3"].printed("mnist").items() if one["nmi_sqrt"] == 0.017}
    assert degenerate == {"AC-Zell", "AC-GDL", "AC-PIC"}
    assert all("degenerate" in TABLES["jule-3"].printed("mnist")[row]["misprint"] for row in degenerate)


@pytest.mark.parametrize(("shown", "of"), [("jule-10", "jule-3"), ("jule-11", "jule-4")])
def test_a_table_shows_other_scores_of_the_same_runs(shown, of, tmp_path):
    first, second = TABLES[of], TABLES[shown]
    assert second.record == of and first.record == of
    assert second.entries == first.entries and second.datasets == first.datasets
    tasks = [Task(table, "usps", table.entries[0], 0) for table in (first, second)]
    assert tasks[0].folder_name == tasks[1].folder_name
    assert tasks[0].command == tasks[1].command


def test_the_choices_of_jules_paper():
    table = TABLES["jule-3"]
    link = next(entry for entry in table.entries if entry.method == "ac-link")
    assert [link.params_on(name).get("center", False) for name in ("coil20", "usps", "cmu-pie")] == [False, True, False]
    ours = {one.paper_row: Task(table, "umist", one, 0).params for one in table.entries if "OURS" in one.paper_row}
    assert {row: params["result"] for row, params in ours.items()} == {"OURS-SF": "sf", "OURS-RC": "rc"}
    assert {params["unroll_rate"] for params in ours.values()} == {0.2}


@pytest.mark.parametrize("name", ["jule-3", "jule-4"])
def test_what_holds_all_pairs_of_images_is_not_run_on_large_sets(name):
    limits = {"sc-njw": affinities.MAX_SAMPLES, "sc-st": affinities.MAX_SAMPLES, "ac-link": agglomerative.MAX_SAMPLES}
    table, sizes = TABLES[name], {one.name: one.n for one in named_sets()}
    for entry in table.entries:
        fitting = [one for one in (*table.datasets, *table.also) if entry.fits(one)]
        large = {one for one in fitting if sizes[one] > limits.get(entry.method, 10**9)}
        assert set(entry.too_large) == large
        assert all(entry.fits(one) and not entry.runs_on(one) for one in large)
    assert "mnist: not run, for they hold a number for each pair of images: SC-NJW, SC-ST, AC-Link." in format_table(
        name, [], {"dataset": "mnist"}
    )


def test_a_variant_of_exactly_that_name_is_meant_alone():
    table = TABLES["deepcluster-small"]
    name = "small residual network after SimCLR"
    assert [entry.variant for entry in entries_of(table, {"variant": name})] == [name]
    assert len(entries_of(table, {"variant": "after simclr"})) == 3
    assert entries_of(table, {}) == list(table.entries)


@pytest.mark.parametrize("name", ["jule-99", "another-1"])
def test_a_table_without_printed_values_says_where_they_go(name):
    with pytest.raises(InputError, match=rf"table {name} has no entry in papers\.json"):
        Table(name, "A table of one's own", ("usps",), ()).printed("usps")
