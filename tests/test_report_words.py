"""What the page says: numbers, one and many, shares near all or nothing, and letters that can be read."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from asterism.images import ImageSource
from asterism.report import page
from asterism.report.agreement import confusion, mistakes, per_class
from asterism.report.gallery import gallery, outliers
from asterism.report.inside import components
from asterism.report.map import map_
from asterism.report.merge_tree import merge_tree, stages
from asterism.report.overview import headline, sizes
from asterism.report.section import rounded
from test_report import made_up


def shown(section):
    """A section as the page writes it, spaces drawn together; no sentence touches the next."""
    text = re.sub(r"\s+", " ", page.templates().get_template(f"{section.id}.html").render(it=section.values))
    assert not re.search(r"[a-z)]\.[A-Z]", text)
    return text


def with_pictures(material):
    material.images = ImageSource(torch.zeros(material.n, 8, 8, 1, dtype=torch.uint8), material.names)
    return material


def with_outliers(clusters, **more):
    """Images whose last group is none."""
    material = made_up(clusters, **more)
    material.none = material.k - 1
    material.estimator.cluster_centers_ = np.zeros((material.none, 2))
    return material


def test_shares_near_all_or_nothing_are_not_written_as_such():
    assert [rounded(one) for one in (0, 0.0004, 0.5, 0.9994, 0.9996, 1 - 1e-16, 1)] == [
        *("0.000", "< 0.001", "0.500", "0.999", "> 0.999", "1.000", "1.000")
    ]
    assert [rounded(one, 1, 100) for one in (0.04, 99.96, 100)] == ["< 0.1", "> 99.9", "100.0"]

    classes = np.repeat([1, 0], 2500)
    clusters, classes[0] = classes.copy(), 0
    material = with_pictures(made_up(clusters, classes))
    material.estimator.history_ = []
    assert [one["found"] for one in per_class(material)] == pytest.approx([2500 / 2501, 1])
    assert "1 image (&lt; 0.1 %) lies in a group" in shown(mistakes(material))
    assert "&gt; 0.999" in shown(confusion(material))
    many = np.append(np.zeros(3000, int), np.arange(30))
    cells = confusion(made_up(np.zeros(3030, int), many)).data["cells"]
    assert cells[0][3] == pytest.approx(3001 / 3030, abs=1e-3) and cells[-1][3] == 0.001
    lonely = with_outliers(np.append(np.zeros(5000, int), 1))
    assert "1 image (&lt; 0.1 %) is so far" in shown(outliers(lonely))


def test_sentences_stand_apart():
    assert "probability. A red edge" in shown(gallery(made_up([0, 1], [0, 1])))


def test_one_is_not_many():
    material = with_pictures(made_up([0, 0, 1, 1, 2], [0, 0, 1, 0, 0]))
    assert 'aria-label="Group 2, class-0, 1 image"' in shown(sizes(material))
    assert "1 of 3 is left over" in shown(confusion(material))
    assert "lies in a group that stands for another class; in the corner" in shown(mistakes(material))


def test_a_class_is_not_taken_for_itself():
    found = {one["name"]: one for one in per_class(made_up([0, 0, 0, 1, 1, 2], [0, 0, 0, 0, 0, 1]))}
    assert (found["class-0"]["other"], found["class-0"]["other_name"]) == (1, None), "the group stands for class 0, too"


def test_the_mean_confidence_is_of_images_in_groups():
    material = with_outliers([0, 0, 1], confidence=[0.4, 0.6, 0.9])
    material.content |= {"method": "X", "images": {"origin": {"source": "x"}}, "seconds": 1}
    facts = dict(headline(material)["facts"])
    assert facts["Mean confidence"] == "0.500" and facts["Groups"] == "1", "an outlier's is another quantity"


def test_images_in_no_group_are_no_group_of_many():
    values = gallery(with_outliers(np.repeat(np.arange(1201), 2))).values
    assert (values["n_cards"], values["k"]) == (1000, 1200)


def test_images_that_were_left_out_do_not_shift_those_of_components_and_stages():
    examples = {
        "components": torch.tensor([0]),
        "component_images": torch.tensor([[1, 0]]),
        "component_weights": torch.tensor([[2.0, 1.0]]),
    }
    encoder = torch.nn.Sequential(torch.nn.Identity(), torch.nn.Module())
    encoder[1].register_buffer("W", torch.zeros(3, 4))
    material = with_pictures(made_up([0, 0, 0, 1], examples_=examples, fitted_images_=np.array([1, 3])))
    material.estimator.encoder_ = encoder
    pictures = components(material).values["rows"][0]["pictures"]
    assert [(one["name"], one["cluster"]) for one in pictures] == [("3", 1), ("1", 0)]

    maps, labels = np.random.default_rng(0).random((2, 3, 3)), np.array([[0, 1, 2], [0, 0, 1]])
    left = SimpleNamespace(n=4, seed=0, estimator=SimpleNamespace(stage_maps_=maps, stage_labels_=labels))
    assert [one["clusters"] for one in stages(left)] == ["3 groups", "2 groups"]


@pytest.mark.parametrize(("n", "how"), [(11, "principal components"), (12, "t-SNE")])
def test_the_map_says_how_its_points_were_placed(n, how):
    material = with_pictures(made_up([0] * n, map_features=lambda images: np.random.default_rng(0).random((n, 4))))
    assert how in shown(map_(material))


def test_a_tree_of_one_group_has_no_line():
    history = np.array([[0, 1, 1, 2], [2, 4, 2, 3], [3, 5, 3, 4]], float)
    section = merge_tree(made_up([0] * 4, tree=lambda: (np.arange(4), history)))
    assert section.values["cut"] is None and "at the line" not in shown(section)


def test_the_doubt_about_two_groups_stands_on_the_page():
    """A tree of two groups shows nothing, but that their number was looked for, and is unsure, is told."""
    history = np.array([[0, 1, 0, 2], [2, 3, 0, 2], [4, 5, 1, 4]], float)
    material = made_up([0, 0, 1, 1], tree=lambda: (np.arange(4), history))
    assert merge_tree(material) is None
    material.content["number"] = {"k": 2, "low": 2, "high": 4, "says": "unsure: between 2 and 4.", "levels": []}
    text = shown(merge_tree(material))
    assert "the images say: unsure: between 2 and 4." in text and "<svg" not in text and "become one" not in text


@pytest.mark.parametrize("share", [0.8, np.nan])
def test_a_confidence_that_no_halves_told_is_not_said_to_be_calibrated(share):
    text = shown(gallery(made_up([0, 1], agreement_=np.array(share))))
    assert ("Confidence says how likely" in text) == np.isfinite(share)
    assert ("it is not a calibrated probability" in text) == np.isnan(share)


def contrast(one, other):
    """Of two colours (r, g, b) in [0, 1], as WCAG has it."""
    linear = [np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4) for c in (one, other)]
    dark, light = sorted(float(c @ [0.2126, 0.7152, 0.0722]) for c in linear)
    return (light + 0.05) / (dark + 0.05)


def test_every_number_of_the_confusion_can_be_read():
    css = (page.HERE / "page.css").read_text()
    rule = re.search(r"\.matrix td \{.*?var\(--c\) calc\(var\(--s\) \* (\d+)%\), var\(--card\)\)", css)
    mixed, worst = int(rule[1]) / 100, 99.0
    for theme in re.findall(r"--paper: .*?--shadow", css, re.S)[:2]:
        colors = {
            name: np.array([int(value[i : i + 2], 16) for i in (1, 3, 5)]) / 255
            for name, value in re.findall(r"--(card|ink|accent|bad): (#\w{6})", theme)
        }
        for share in np.linspace(0, mixed, 20):
            for name in ("accent", "bad"):
                worst = min(worst, contrast(colors["ink"], share * colors[name] + (1 - share) * colors["card"]))
    assert worst >= 4.5 and ".strong" not in css
