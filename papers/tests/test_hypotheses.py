"""Claims: by how much one row is above another, seed by seed, and whether the paper says so."""

import pytest

from asterism_papers.evaluation import hypotheses
from asterism_papers.evaluation.hypotheses import HEADER
from asterism_papers.evaluation.printing import format_table
from asterism_papers.evaluation.table import METRIC_LABELS, Claim, Entry, Rise, Table
from asterism_papers.evaluation.tables import TABLES

RC, SF = Entry("jule", "OURS-RC"), Entry("jule-sf", "OURS-SF")
SIZE = "data:usps, 11000 images, 16x16"


def row(entry, seed, nmi, dataset="usps", images=SIZE, **more):
    found = {"dataset": dataset, "method": entry.method, "seed": seed, "scores": {"nmi_sqrt": nmi, **more}}
    return {**found, "protocol": {"variant": entry.variant, "images": images}}


def table(*points, **more):
    return Table("jule-3", "Small", ("usps",), (RC, SF), **{"metrics": ("nmi_sqrt",), "claims": points, **more})


def cells(rows, claim=None, **more):
    given = table(claim or Claim("RC against SF", RC, SF), **more)
    return [dict(zip(HEADER, one, strict=True)) for one in hypotheses.tested_claims(given, ["usps", "coil20"], rows)]


def test_seeds_are_paired():
    rows = [row(RC, 0, 0.9), row(RC, 1, 0.8), row(RC, 7, 0.1), row(SF, 1, 0.7), row(SF, 0, 0.7), row(SF, 9, 1.0)]
    (found,) = cells(rows)
    assert (found["ours"], found["seeds"], found[""]) == ("+0.150 ± 0.071", "2", "holds")
    assert found["paper"] == "+0.055" and found["set"] == "usps"  # .913 and .858


def test_sizes_of_the_images_are_not_mixed():
    assert cells([row(RC, 0, 0.9), row(SF, 0, 0.5, images="data:usps, 10 images, 16x16")]) == []


@pytest.mark.parametrize(
    ("ours", "verdict"),
    [
        ((0.6, 0.6), "does not hold"),
        ((0.6, 0.69), "does not hold, inside the spread"),
        ((0.9,), "holds"),
        ((0.71, 0.79), "holds, inside the spread"),
        ((0.75, 0.67), "holds for 1 of 2 seeds, inside the spread"),
        ((0.9, 0.69, 0.9), "holds for 2 of 3 seeds"),
    ],
)
def test_verdict(ours, verdict):
    rows = [row(RC, seed, value) for seed, value in enumerate(ours)] + [row(SF, seed, 0.7) for seed in range(3)]
    assert cells(rows)[0][""] == verdict


def test_the_papers_figures_say_what_is_expected():
    """On UMist SF is above RC in the paper; on COIL-20 both are 1."""
    both = [row(RC, 0, 0.8, "umist"), row(SF, 0, 0.9, "umist"), row(RC, 0, 1.0, "coil20"), row(SF, 0, 1.0, "coil20")]
    given = table(Claim("RC against SF", RC, SF))
    found = hypotheses.tested_claims(given, ["umist", "coil20"], both)
    assert [(one[3], one[-1]) for one in found] == [("−0.003", "holds"), ("+0.000", "holds")]


def test_without_figures_the_first_is_expected_to_be_better():
    silent = [Entry("jule", "a", "silent"), Entry("jule-sf", "b", "silent")]
    claim = Claim("an error", *silent, metrics=("nn_error", "nmi_sqrt", "acc"))
    rows = [row(silent[0], 0, 0.5, nn_error=0.1), row(silent[1], 0, 0.6, nn_error=0.2)]
    found = cells(rows, claim)
    assert [(one["score"], one["paper"], one["ours"], one[""]) for one in found] == [
        ("1-NN error", "−", "−0.100", "holds"),
        ("NMI-sqrt", "+", "−0.100", "does not hold"),
    ]


def test_they_are_printed_below_the_scores(monkeypatch):
    monkeypatch.setitem(TABLES, "jule-3", table(Claim("RC against SF", RC, SF)))
    common = {"table": "jule-3", "seconds": 1.0, "hardware": {"cpu": "c", "cores": 1, "threads": 1}, "commit": "x"}
    rows = [{**row(RC, 0, 0.9), **common}, {**row(SF, 0, 0.8), **common}]
    text = format_table("jule-3", rows)
    assert "Claims of the paper, seed by seed" in text and "| RC against SF | usps" in text
    assert "Claims" not in format_table("jule-3", rows[:1])


def test_claims_are_about_rows_of_their_own_table():
    for one in TABLES.values():
        rows = {(entry.method, entry.variant) for entry in one.entries}
        for claim in one.claims:
            for entry in (claim.above, claim.below):
                assert (entry.method, entry.variant) in rows, (one.name, claim.text)
            assert set(claim.metrics or one.metrics) <= set(METRIC_LABELS), (one.name, claim.text)


def test_a_curve_that_rises_at_first_alone_is_said_to():
    def with_curve(seed, *values):
        return row(RC, seed, 0.5) | {"history": {"curves": {"nmi_sqrt": list(values)}}}

    given = table(rises=(Rise("NMI rises", RC, "nmi_sqrt"),))
    rows = [with_curve(0, 0.1, 0.5, 0.6, 0.4), with_curve(1, 0.1, 0.5, 0.45), with_curve(2, 0.3)]
    found = [dict(zip(HEADER, one, strict=True)) for one in hypotheses.tested_claims(given, ["usps"], rows)]
    assert [(one["claim"], one["ours"], one["seeds"], one[""]) for one in found] == [
        ("NMI rises, first to last", "+0.325 ± 0.035", "2", "holds"),
        ("NMI rises, after round 1", "−0.075 ± 0.035", "2", "does not hold"),
    ]
