"""Thumbnails, many to a sheet: ten thousand pictures are a few dozen images, each decoded when looked at."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, field

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import interpolate, pad

from asterism.images.source import ImageSource, stretched

SHEET_SIDE = 1024  # pixels; a sheet is what the browser decodes at once
BLOCK = 16  # pixels; cells are whole blocks of the codec, so that no picture bleeds into its neighbour
WEBP = "data:image/webp;base64,"
QUALITY = 80  # of WebP; half the size of JPEG at this, and every browser since 2020 reads it


@dataclass
class Sprites:
    """Pictures of one size on sheets.

    Attributes
    ----------
    width, height : int
        Pixels of a picture.
    sheets : list of str
        ``data:`` addresses.
    """

    width: int
    height: int
    sheets: list[str] = field(default_factory=list)

    @property
    def cell(self) -> tuple[int, int]:
        """Width and height of a picture's place on the sheet."""
        return -(-self.width // BLOCK) * BLOCK, -(-self.height // BLOCK) * BLOCK

    @property
    def columns(self) -> int:
        """Pictures side by side on a sheet."""
        return max(1, SHEET_SIDE // self.cell[0])

    @property
    def per_sheet(self) -> int:
        """Pictures of a sheet."""
        return self.columns * max(1, SHEET_SIDE // self.cell[1])

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of a picture."""
        return self.width, self.height

    @property
    def layout(self) -> dict[str, int | list[int]]:
        """Where the script finds picture i: everything but the pixels, as plain JSON."""
        return {
            "width": self.width,
            "height": self.height,
            "cell": list(self.cell),
            "columns": self.columns,
            "perSheet": self.per_sheet,
        }

    def add(self, pictures: np.ndarray) -> None:
        """A sheet of pictures (n, h, w, C), row by row, each continued by its own edge to the end of its cell."""
        n, h, w, channels = pictures.shape
        (width, height), rows = self.cell, -(-n // self.columns)
        edges = ((0, rows * self.columns - n), (0, height - h), (0, width - w), (0, 0))
        grid = np.pad(pictures, edges, mode="edge").reshape(rows, self.columns, height, width, channels)
        sheet = grid.swapaxes(1, 2).reshape(rows * height, self.columns * width, channels)
        file = io.BytesIO()
        picture = Image.fromarray(sheet[:, :, 0] if channels == 1 else sheet)
        picture.save(file, "WEBP", quality=QUALITY, method=2)
        self.sheets.append(WEBP + base64.b64encode(file.getvalue()).decode("ascii"))


def make_sprites(images: ImageSource, indices: np.ndarray, side: int) -> Sprites:
    """Thumbnails of chosen images.

    Parameters
    ----------
    images : ImageSource
    indices : integer ndarray of shape (n,)
        Which images, in the order of the sprites.
    side : int
        Longest side of a thumbnail, in pixels; smaller images keep their size.
    """
    _, height, width = images.shape
    scale = min(1.0, side / max(height, width))
    sprites = Sprites(max(1, round(width * scale)), max(1, round(height * scale)))
    for start in range(0, len(indices), sprites.per_sheet):
        sprites.add(_thumbnails(images, indices[start : start + sprites.per_sheet], sprites.size))
    return sprites


def morton_order(points: np.ndarray) -> np.ndarray:
    """Indices of points (n, 2 or more) along a Z-curve of their first two axes: neighbours share a sheet of sprites."""
    plane = points[:, [0, min(1, points.shape[1] - 1)]]
    low, high = plane.min(0), plane.max(0)
    grid = ((plane - low) * (1023 / max(float((high - low).max()), 1e-30))).astype(np.int64)
    key = np.zeros(len(points), dtype=np.int64)
    for bit in range(10):
        key |= ((grid[:, 0] >> bit) & 1) << (2 * bit) | ((grid[:, 1] >> bit) & 1) << (2 * bit + 1)
    return np.argsort(key, kind="stable")


def sprites_of(pictures: list[np.ndarray]) -> Sprites:
    """Sprites of pictures (h, w, 3), uint8, which are all of one size."""
    height, width = pictures[0].shape[:2]
    sprites = Sprites(width, height)
    for start in range(0, len(pictures), sprites.per_sheet):
        sprites.add(np.stack(pictures[start : start + sprites.per_sheet]))
    return sprites


def _thumbnails(images: ImageSource, indices: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Chosen images as uint8 (n, h, w, 1 or 3) of a size (w, h).

    Images of more channels show their first three, of two both as red and green. All at once, by the kernel that torch
    has for bytes: one by one Pillow takes ten times as long.
    """
    block = _as_bytes(images.pixels[torch.from_numpy(np.ascontiguousarray(indices, dtype=np.int64))].cpu())
    block = pad(block, (0, 1)) if block.shape[3] == 2 else block[..., :3]  # (n, H, W, C)
    if (block.shape[2], block.shape[1]) != size:
        shrunk = interpolate(block.permute(0, 3, 1, 2), size[::-1], mode="bicubic", antialias=True)
        block = shrunk.permute(0, 2, 3, 1)
    return block.numpy()


def _as_bytes(block: torch.Tensor) -> torch.Tensor:
    """Pixels (n, H, W, C) as uint8: floats in [0, 1] are scaled, others stretched, each image by its own range."""
    if block.dtype == torch.uint8:
        return block
    block = torch.nan_to_num(block.float())
    if float(block.min()) < 0 or float(block.max()) > 1:
        block = stretched(block)
    return (block * 255).round().to(torch.uint8)
