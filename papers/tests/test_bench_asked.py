"""What a part of a table says: of the rows that were asked for, and of no others; and rows that are damaged."""

import json
from contextlib import nullcontext
from dataclasses import replace

import pytest

from asterism.errors import InputError, MissingDataError, StorageError
from asterism_papers.evaluation import bench, cells, jule_runs, jule_transfer, records, runs
from asterism_papers.evaluation.bench import run_tables
from asterism_papers.evaluation.printing import format_table, mark_of, score_cell
from asterism_papers.evaluation.protocol import Setting, Task
from asterism_papers.evaluation.results import results_page
from asterism_papers.evaluation.table import Entry, Table
from asterism_papers.evaluation.tables import TABLES
from test_bench import made_row, tiny, tiny_images  # noqa: F401  (a fixture)
from test_cli import run


def rows_of_jule(table, *rows):
    """Rows of JULE's tables: method, variant, seed, score."""
    about = {"seconds": 1.0, "hardware": {"cpu": "a", "cores": 1, "threads": 1}, "history": {}, "params": {}}
    return [
        {
            **about,
            "table": table,
            "dataset": "usps",
            "method": method,
            "seed": seed,
            "scores": {"nmi_sqrt": score, "acc": score},
            "protocol": {"variant": variant, "images": "data:usps, 11000 images, 16x16"},
        }
        for method, variant, seed, score in rows
    ]


PAPER, NO_TINY = "as in the paper", "clusters of outliers not counted"


@pytest.fixture
def jule(tmp_path, monkeypatch):
    """A folder with rows of Tables 3 and 4; all count as run with today's parameters."""
    monkeypatch.setattr(records, "_is_current", lambda row, task: True)
    pixels = [("kmeans", PAPER, seed, 0.4 + 0.1 * seed) for seed in range(3)]
    own = [("jule", f"{PAPER} but {NO_TINY}", 0, 0.8), ("jule", PAPER, 0, 0.9), ("ac-gdl", PAPER, 0, 0.85)]
    features = [("kmeans", PAPER, seed, 0.9) for seed in range(3)]
    for name, found in (("jule-3", pixels + own), ("jule-4", features)):
        for row in rows_of_jule(name, *found):
            records.append(tmp_path / f"{name}.jsonl", row)
    return tmp_path


def line_of(text, *words):
    return next(line for line in text.splitlines() if all(word in line for word in words))


# ---------------------------------------------------------------- a part of a table


def test_two_tables_in_one_call_print_what_each_prints_alone(jule):
    """Table 4 is compared with Table 3: its rows must not be counted twice, nor those of other seeds shown."""
    words = ("--show", "--out", jule, "--seeds", "0,2")
    alone = [run("bench", name, *words).stdout.rstrip("\n") for name in ("jule-3", "jule-4")]
    assert "| 0.500 ± 0.141 ≥ | 2     |" in line_of(alone[0], "(kmeans)", "| usps")
    assert "| +0.400 | 1 " in line_of(alone[1], "learned features above pixels")
    assert run("bench", "jule-3", "jule-4", *words).stdout.rstrip("\n") == "\n\n".join(alone)


def test_rows_that_were_not_asked_for_are_not_called_lacking(jule):
    found = run("bench", "jule-3", "--show", "--out", jule, "--only", "dataset=usps,method=kmeans").stdout
    assert "rows not run yet" not in found and "of fewer than" not in found
    found = run("bench", "jule-3", "--show", "--out", jule, "--only", "dataset=usps,method=jule").stdout
    lacking = len([one for one in TABLES["jule-3"].entries if one.method == "jule" and one.runs_on("usps")]) - 2
    said = f"usps: rows not run yet: {lacking}, of fewer than 3 seeds: 2 (asterism bench jule-3 --only"
    assert f"{said} dataset=usps,method=jule;" in found
    one_seed = ("--seeds", "0", "--only", "dataset=usps,variant=as in the paper")
    found = run("bench", "jule-3", "--show", "--out", jule, *one_seed).stdout
    assert "of fewer than" not in found
    assert "--only 'dataset=usps,variant=as in the paper' --seeds 0;" in found


def test_classes_put_in_by_hand_lack_on_no_other_set():
    by_hand = {**made_row("sklearn.cluster.Birch", 0, 0.5, 0.5, variant="its defaults"), "dataset": "elsewhere"}
    text = format_table("dbc-4", [made_row("kmeans", 0, 0.46, 0.44), by_hand])
    assert f"usps: rows not run yet: {len(TABLES['dbc-4'].entries) - 1}, of fewer than 3 seeds: 1" in text


def test_what_is_summed_up_over_all_methods_is_not_said_of_some(jule):
    whole = run("bench", "jule-3", "--show", "--out", jule).stdout
    assert "above the best other" in whole
    part = run("bench", "jule-3", "--show", "--out", jule, "--only", "variant=as in the paper").stdout
    assert "above the best other" not in part


def test_rows_of_a_variant_of_exactly_that_name_are_meant_alone(jule):
    found = run("bench", "jule-3", "--show", "--json", "--out", jule, "--only", f"method=jule,variant={PAPER}")
    assert [row["protocol"]["variant"] for row in json.loads(found.stdout)] == [PAPER]
    found = run("bench", "jule-3", "--show", "--json", "--out", jule, "--only", "method=jule,variant=in the paper")
    assert len(json.loads(found.stdout)) == 2


def test_choices_that_fit_one_by_one_and_not_together(tmp_path):
    for only in ({"dataset": "coil20", "method": "tsc-d", "variant": "clipped"}, {"dataset": "voc2007"}):
        name = "deepcluster-2" if only["dataset"] == "voc2007" else "jule-4"
        with pytest.raises(InputError, match="^only: .*(fits nothing in|fits no row of)"):
            run_tables([name], only=only, results_dir=tmp_path)
    large = run_tables(["jule-3"], only={"dataset": "mnist", "method": "sc-st"}, show=True, results_dir=tmp_path)
    assert large == []  # it says why it is not run


# ---------------------------------------------------------------- figures and marks


@pytest.mark.parametrize("lower", [False, True])
def test_a_score_that_misses_by_exactly_a_hundredth_is_near(lower):
    sign = 1 if lower else -1
    for figure in range(20, 980):
        marks = [mark_of([(figure + sign * by) / 1000], figure / 1000, lower) for by in (-1, 0, 1, 10, 11)]
        assert marks == ["≥", "≥", "≈", "≈", "<"], figure


def test_a_figure_of_four_digits_is_compared_by_all_of_them():
    assert score_cell([0.7736], 0.7739, digits=4) == "0.7736 ≈"
    assert score_cell([0.77386], 0.7739, digits=4) == "0.7739 ≥"
    row = {"images": "data:cifar10-train, 50000 images, 32x32x3", "variant": "patches"}
    made = made_row("codebook", 0, 0.5, 0.5) | {"table": "jule-8", "dataset": "cifar10-train", "protocol": row}
    text = format_table("jule-8", [made | {"scores": {"svm_5000": 0.62805}}])
    assert "| 0.6281            | 0.6280 ≈" in text or "| 0.6281            | 0.6281 ≥" in text
    for table in TABLES.values():
        for figures in table.paper["values"].values():
            for one in figures.values():
                printed = [len(str(value).partition(".")[2]) for value in one.values() if isinstance(value, float)]
                assert max(printed, default=0) <= one.get("digits", 3), table.name


def test_a_set_in_two_sizes_has_the_papers_figures_once(monkeypatch, tmp_path):
    table = replace(TABLES["dbc-6"], entries=(Entry("kmeans", "KMS"),), metrics=("acc",))
    monkeypatch.setattr(cells, "find_tables", lambda names: [table])
    monkeypatch.setattr(Table, "printed", lambda self, dataset: {"KMS": {"acc": 0.5}})
    found = []
    monkeypatch.setattr(cells, "recorded", lambda path: found)

    def counted():
        (count,) = cells.count_cells(["dbc-6"])
        return {name: n for name, n in count.items() if n and name != "name"}

    def record(dataset, acc):
        about = {"variant": PAPER, "images": dataset}
        row = {"dataset": dataset, "method": "kmeans", "protocol": about, "scores": {"acc": acc}, "current": True}
        found.append(row)

    assert counted() == {"set without runs": 1}
    record("coil100", 0.4)
    assert counted() == {"below": 1, "figures below in all variants": 1}
    record("coil100-128", 0.5)
    assert counted() == {"reaches": 1, "below": 1}


def test_a_row_without_a_score_is_no_other_variant(monkeypatch):
    table = Table("dbc-4", "made", ("usps",), (Entry("kmeans", "KMS"),), metrics=("acc", "ari"))
    monkeypatch.setattr(cells, "find_tables", lambda names: [table])
    monkeypatch.setattr(Table, "printed", lambda self, dataset: {"KMS": {"acc": 0.5, "ari": 0.5}})
    row = {"dataset": "usps", "method": "kmeans", "scores": {"acc": 0.6}, "current": True}
    monkeypatch.setattr(cells, "recorded", lambda path: [row | {"protocol": {"variant": PAPER, "images": "usps"}}])
    (count,) = cells.count_cells(["dbc-4"])
    assert (count["reaches"], count["never ran"], count["another variant ran"]) == (1, 1, 0)


# ---------------------------------------------------------------- files and processes


def test_damaged_lines_are_said_and_harm_no_other(jule):
    path = jule / "jule-3.jsonl"
    whole = records.recorded(path)
    cut = json.dumps({**rows_of_jule("jule-3", ("kmeans", PAPER, 5, 0.5))[0], "note": "…"}, ensure_ascii=False)
    with open(path, "ab") as file:
        file.write(b"\n<<<<<<< ours\n[]\n" + json.dumps({"dataset": "usps", "method": "kmeans"}).encode() + b"\n")
        file.write(cut.encode()[: cut.encode().index("…".encode()) + 1])  # in the middle of a letter
    with pytest.warns(UserWarning, match=r"jule-3.jsonl: lines 8, 9, 10, 11 are no rows and left out"):
        assert records.recorded(path) == whole
    records.append(path, rows_of_jule("jule-3", ("kmeans", PAPER, 6, 0.5))[0])
    with pytest.warns(UserWarning, match="lines 8, 9, 10, 11"):
        assert [row["seed"] for row in records.recorded(path)][-1] == 6
    shown = run("bench", "jule-3", "--show", "--out", jule)
    assert shown.stderr.count("left out") == 1 and shown.stderr.startswith("asterism: warning: ")


@pytest.mark.parametrize("change", [{"seconds": None}, {"scores": {"acc": 0.5, "nmi_sqrt": float("nan")}}])
def test_a_row_with_what_is_no_number_is_damaged(jule, change):
    records.append(jule / "jule-3.jsonl", rows_of_jule("jule-3", ("kmeans", PAPER, 5, 0.5))[0] | change)
    assert "line 7 is no row" in run("bench", "jule-3", "--show", "--out", jule).stderr


def test_a_row_without_one_of_the_scores_counts_for_the_others(jule):
    path, changed = jule / "jule-3.jsonl", rows_of_jule("jule-3", ("ac-gdl", PAPER, 5, 0.5))[0]
    path.write_text("")
    for method in ("jule", "kmeans"):
        records.append(path, rows_of_jule("jule-3", (method, PAPER, 5, 0.5))[0])
    records.append(path, changed | {"scores": {"acc": 0.5}})
    assert "ac-gdl" in run("bench", "jule-3", "--show", "--out", jule).stdout
    assert "jule-3" in results_page(jule)


def test_a_file_that_cannot_be_added_to_is_seen_before_the_run(tiny, monkeypatch):
    (tiny.results / "dbc-4.jsonl").mkdir(parents=True)
    monkeypatch.setattr(runs, "perform", lambda *more: pytest.fail("ran for hours"))
    with pytest.raises(StorageError, match="dbc-4.jsonl: it is a folder"):
        run_tables(["dbc-4"], only={"method": "kmeans"}, seeds=[0], results_dir=tiny.results)


def test_what_one_run_lacks_stops_no_other(tiny, monkeypatch):
    def perform(task, images, folder, setting):
        if task.seed == 0:
            raise MissingDataError("data:lfw is not on this machine: put it there")
        return runs.perform(task, images, folder, setting)

    monkeypatch.setitem(TABLES, "dbc-4", replace(TABLES["dbc-4"], perform=perform))
    said = []
    rows = run_tables(["dbc-4"], only={"method": "kmeans"}, seeds=[0, 1], results_dir=tiny.results, echo=said.append)
    assert [row["seed"] for row in rows] == [1]
    assert any("seed 0: not run: data:lfw is not on this machine" in line for line in said)


def test_a_run_that_is_shared_and_another_process_is_at_is_passed_over(tiny, monkeypatch):
    """OURS-SF and OURS-RC are of one run: while one process fits it for a row, another goes on with other seeds."""
    entry = Entry("jule-sf", "OURS-SF", params={"result": "sf"}, estimator="jule")

    def perform(task, images, folder, setting):
        row, _ = jule_runs.kept_run(task, entry, images, folder, setting)
        return row

    done = {"dataset": "usps", "seed": 1, "params": {"n_clusters": 3}, "scores": {"acc": 0.5, "nmi_max": 0.5}}
    done |= {"seconds": 1.0, "hardware": {}, "history": {}, "protocol": {"images": "data:usps, 60 images, 8x8"}}
    monkeypatch.setattr(runs, "perform", lambda *more: json.loads(json.dumps(done)))
    monkeypatch.setitem(TABLES, "dbc-4", replace(TABLES["dbc-4"], entries=(entry,), perform=perform))
    monkeypatch.setattr(runs, "claimed", lambda folder: nullcontext("kept-jule-usps-0" not in folder.name))
    said = []
    tiny.results.mkdir()
    rows = run_tables(["dbc-4"], seeds=[0, 1], results_dir=tiny.results, echo=said.append)
    assert [row["seed"] for row in rows] == [1]
    assert any("seed 0: not run: another process is fitting" in line for line in said)


def test_patches_are_fitted_by_one_process(tmp_path, monkeypatch):
    entry = next(one for one in TABLES["jule-8"].entries if one.variant == "conv1")
    task = Task(TABLES["jule-8"], "cifar10-train", entry, 0)
    book = jule_transfer.PatchCodebook(10, 2, (5,))
    with runs.claimed(tmp_path / "kept-jule-patches-0-10"), pytest.raises(runs.BusyError, match="another process"):
        book._learned(task, tiny_images(), tmp_path / "x", Setting("cpu"))


# ---------------------------------------------------------------- as it is typed


@pytest.mark.parametrize(
    "words",
    [
        ("--list", "--cells"),
        ("--show", "--write", "jule-3"),
        ("--list", "--only", "dataset=usps"),
        ("--cells", "--seeds", "0"),
        ("--write", "jule-3"),
        ("--write", "--json"),
    ],
)
def test_options_that_would_not_be_heeded_are_bad_usage(words, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert "Invalid value" in run("bench", *words, code=2).stderr


@pytest.mark.parametrize("words", [("jule-3", "--show"), ("--list",), ("--cells",), ("--write",)])
def test_a_folder_of_rows_that_is_not_there(words, tmp_path):
    (tmp_path / "docs").mkdir()
    error = run("bench", *words, "--out", tmp_path / "papers" / "resutls", code=1).stderr
    assert error.startswith("asterism: error: there is no folder ") and error.count("\n") == 1


def test_the_checkout_of_a_folder_named_from_within(monkeypatch, tmp_path):
    from asterism_papers.evaluation.results import BEGIN, END

    (tmp_path / "papers" / "results").mkdir(parents=True)
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text(f"above\n{BEGIN}\nold\n{END}\nbelow\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path / "papers")
    assert str(tmp_path / "docs" / "results.md") in run("bench", "--write", "--out", "results").stderr


def test_an_interrupted_bench_says_how_it_goes_on(monkeypatch, tmp_path):
    def stopped(*more, **options):
        raise KeyboardInterrupt("terminated")

    monkeypatch.setattr(bench, "run_tables", stopped)
    error = run("bench", "jule-3", "--out", tmp_path, code=130).stderr
    assert error == "asterism: terminated; the same command goes on where it was\n"
