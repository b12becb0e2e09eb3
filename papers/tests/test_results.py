"""The pages of results are what the recorded rows give, and are written nowhere by hand."""

import json
from pathlib import Path

import pytest

from asterism.errors import MissingDataError
from asterism_papers.evaluation.results import BEGIN, END, FRONT, readme_table, results_page, write_results

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "papers" / "results"


@pytest.fixture(scope="module")
def in_readme():
    return readme_table(RESULTS)


def test_the_pages_are_in_step_with_the_rows(in_readme):
    assert (ROOT / "docs" / "results.md").read_text(encoding="utf-8") == results_page(RESULTS), "asterism bench --write"
    inside = (ROOT / "README.md").read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]
    assert inside.strip() == in_readme, "asterism bench --write"


def test_no_figure_without_a_row(tmp_path):
    assert "##" not in results_page(tmp_path).partition("# Results")[2]
    lines = (RESULTS / "dbc-4.jsonl").read_text(encoding="utf-8").splitlines()
    row = next(row for row in map(json.loads, reversed(lines)) if row["method"] == "dbc")
    (tmp_path / "dbc-4.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    page, table = results_page(tmp_path), readme_table(tmp_path)
    assert page.count("## dbc-4") == 1 and f"{row['scores']['acc']:.3f}" in page
    assert f"| ACC {row['scores']['acc']:.3f} " in page and f" · NMI-max {row['scores']['nmi_max']:.3f} " in page
    assert len(table.splitlines()) == 2  # the row is none of the README's


def test_tables_of_the_same_runs_share_a_line(tmp_path):
    rows = map(json.loads, (RESULTS / "jule-3.jsonl").read_text(encoding="utf-8").splitlines())
    row = next(one for one in rows if one["method"] == "jule" and one["dataset"] == "usps" and one["seed"] == 0)
    (tmp_path / "jule-3.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    line = next(one for one in results_page(tmp_path).splitlines() if one.startswith("| jule-3, jule-10 | usps |"))
    assert f"NMI-sqrt {row['scores']['nmi_sqrt']:.3f}" in line and f"ACC {row['scores']['acc']:.3f}" in line


def test_the_readme_has_ten_lines_of_the_page(in_readme):
    lines = in_readme.splitlines()[2:]
    assert len(lines) == len(FRONT) <= 12
    page = (ROOT / "docs" / "results.md").read_text(encoding="utf-8").splitlines()
    assert all(line in page for line in lines if not line.startswith("| fcn"))
    assert (
        "(" not in [line for line in lines if line.startswith("| fcn")][0].split("|")[4]
    )  # VGG-16's figure is another's


def test_written_between_the_marks_of_a_checkout_only(tmp_path):
    results = tmp_path / "papers" / "results"
    results.mkdir(parents=True)
    with pytest.raises(MissingDataError, match="checkout"):
        write_results(results)
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text("above\nbelow\n", encoding="utf-8")
    with pytest.raises(MissingDataError, match="marks"):
        write_results(results)
    (tmp_path / "README.md").write_text(f"above\n{BEGIN}\nold\n{END}\nbelow\n", encoding="utf-8")
    write_results(results)
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert text.startswith("above\n") and text.endswith("\nbelow\n") and "old" not in text
