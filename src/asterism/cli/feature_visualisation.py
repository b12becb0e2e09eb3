"""What ``asterism filters`` does: open a run, compute, and write pictures."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from asterism.cli.new_images import open_new_images
from asterism.cli.outputs import check_folder
from asterism.errors import InputError
from asterism.files import replacing
from asterism.images.source import stretched
from asterism.inspection.filters import first_layer, maximise_activation, strongest
from asterism.networks.body import network_of
from asterism.report.fitted import open_run
from asterism.runtime import Runtime
from asterism.training import Run

GAP = 2  # pixels between pictures
SMALLEST = 64  # pixels; smaller pictures are enlarged without smoothing


def draw_filters(
    folder: Path, images: str | None, out: Path, layers: str | None, n: int, steps: int, device: str
) -> Iterator[Path]:
    """Write the pictures one after the other and tell where.

    Raises
    ------
    InputError
        If the run's network has no layers within reach, or none of a name.
    """
    fitted = open_run(folder, device)
    runtime = Runtime(device)
    body = network_of(runtime.place(fitted.estimator.encoder_))
    if body.front is None or not body.layer_names:
        raise InputError(f"{folder} holds no network of DeepCluster's with convolutions, whose filters could be drawn")
    names = body.layer_names
    three = dict.fromkeys((names[0], names[len(names) // 2], names[-1]))
    wanted = [one.strip() for one in layers.split(",")] if layers else list(three)
    unknown = [one for one in wanted if one not in names]
    if unknown:
        raise InputError(f"--layers {unknown[0]}: there is no such layer; there are {', '.join(names)}")
    check_folder(out, is_picture)
    source = fitted.images() if images is None else open_new_images(fitted, images)
    run = Run(runtime, 0)
    yield _write(out / "first-layer.png", stretched(first_layer(body)), columns=12)
    for layer in wanted:
        best = strongest(body, layer, source, run)  # (filters, 9)
        chosen = np.linspace(0, len(best) - 1, min(n, len(best))).astype(int).tolist()
        if steps:
            yield _write(
                out / f"{layer}-ascent.png", maximise_activation(body, layer, chosen, source.shape, run, n_steps=steps)
            )
        pictures = source.batch(best[chosen].flatten())
        yield _write(out / f"{layer}-strongest.png", stretched(pictures[None])[0], columns=best.shape[1])


def is_picture(name: str) -> bool:
    """Whether a file is called as `draw_filters` calls one."""
    return re.fullmatch(r"first-layer\.png|[\w.-]+-(ascent|strongest)\.png", name) is not None


def _write(path: Path, pictures: torch.Tensor, columns: int = 8) -> Path:
    """Pictures (n, C, H, W) in [0, 1] side by side, as PNG."""
    n, channels, height, width = pictures.shape
    shown = pictures[:, :3] if channels >= 3 else pictures[:, :1].expand(-1, 3, -1, -1)
    shown = F.interpolate(shown, scale_factor=max(1, -(-SMALLEST // max(height, width))))
    columns = min(n, columns)
    shown = F.pad(shown, (0, GAP, 0, GAP, 0, 0, 0, -n % columns), value=1)
    sheet = shown.unflatten(0, (-1, columns)).permute(0, 3, 1, 4, 2).flatten(2, 3).flatten(0, 1)  # (height, width, 3)
    with replacing(path) as temporary:
        Image.fromarray((sheet * 255).round().to(torch.uint8).numpy()).save(temporary)
    return path
