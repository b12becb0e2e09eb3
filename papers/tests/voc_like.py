"""A small data set with the layout of PASCAL VOC: coloured shapes on noise, with boxes, masks and difficult objects."""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from PIL import Image, ImageDraw

CLASSES = ("circle", "cross", "square")
COLOURS = {"circle": (220, 60, 50), "cross": (60, 200, 70), "square": (70, 80, 230)}
PALETTE = [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0] + [0] * (768 - 12)


def draw(painter, name, box, fill):
    left, top, right, bottom = box
    if name == "circle":
        painter.ellipse(box, fill=fill)
    elif name == "square":
        painter.rectangle(box, fill=fill)
    else:
        third = (right - left) // 3
        painter.rectangle((left + third, top, right - third, bottom), fill=fill)
        painter.rectangle((left, top + third, right, bottom - third), fill=fill)


def write_image(root, name, rng, side=(60, 80), n_things=(1, 3), difficult=0.1):
    """One image with its annotation and mask; objects do not overlap: each has a column of its own."""
    height, width = side
    pixels = rng.integers(90, 150, (height, width, 3)).astype(np.uint8)
    image, mask = Image.fromarray(pixels), Image.new("L", (width, height), 0)
    tree = ElementTree.Element("annotation")
    n = int(rng.integers(n_things[0], n_things[1]))
    for i in range(n):
        kind = str(rng.choice(CLASSES))
        size = int(rng.integers(18, min(30, width // n)))
        left = i * (width // n) + int(rng.integers(0, width // n - size))
        top = int(rng.integers(0, height - size))
        box = (left, top, left + size - 1, top + size - 1)  # pixels from 0, the last one in
        draw(ImageDraw.Draw(image), kind, box, COLOURS[kind])
        draw(ImageDraw.Draw(mask), kind, box, CLASSES.index(kind) + 1)
        ImageDraw.Draw(mask).line((left, top, left + size - 1, top), fill=255)  # a void edge
        thing = ElementTree.SubElement(tree, "object")
        ElementTree.SubElement(thing, "name").text = kind
        ElementTree.SubElement(thing, "difficult").text = str(int(rng.random() < difficult))
        bounds = ElementTree.SubElement(thing, "bndbox")
        for side_name, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True):
            ElementTree.SubElement(bounds, side_name).text = str(value + 1)  # VOC counts from 1
    image.save(root / "JPEGImages" / f"{name}.jpg", quality=92)
    mask.putpalette(PALETTE)
    mask.save(root / "SegmentationClass" / f"{name}.png")
    ElementTree.ElementTree(tree).write(root / "Annotations" / f"{name}.xml")


def make_voc(folder: Path, n_train=40, n_test=24, year=2007, seed=0) -> Path:
    """Write the set; gives ``VOCdevkit``."""
    rng, root = np.random.default_rng(seed), folder / "VOCdevkit" / f"VOC{year}"
    for part in ("JPEGImages", "Annotations", "SegmentationClass", "ImageSets/Main", "ImageSets/Segmentation"):
        (root / part).mkdir(parents=True)
    names = [f"{i:06d}" for i in range(n_train + n_test)]
    for name in names:
        write_image(root, name, rng)
    for task, first, second in (("Main", "trainval", "test"), ("Segmentation", "train", "val")):
        (root / "ImageSets" / task / f"{first}.txt").write_text("\n".join(names[:n_train]) + "\n")
        (root / "ImageSets" / task / f"{second}.txt").write_text("\n".join(names[n_train:]) + "\n")
    return root.parent
