"""DICOM by pydicom and RAW photographs by rawpy, where these extras are installed."""

import io
import subprocess
import sys
import warnings

import numpy as np
import pytest

from asterism.images import open_images
from asterism.images.decode import decode, read_header
from asterism.images.io_errors import Unreadable
from test_images_rasters import told

pydicom = pytest.importorskip("pydicom", reason="the extra dicom is not installed")

RAMP = np.linspace(0, 4095, 32 * 24).reshape(32, 24).astype(np.uint16)


def dicom(pixels, signed=False, photometric="MONOCHROME2", **tags) -> bytes:
    """A file of one image (H, W), of colours (H, W, 3) or of frames (N, H, W)."""
    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3"
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    data = pydicom.dataset.FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, "1.2.3"
    colours = pixels.ndim == 3 and pixels.shape[-1] == 3
    if pixels.ndim == 3 and not colours:
        data.NumberOfFrames = len(pixels)
    data.Rows, data.Columns = pixels.shape[:2] if colours else pixels.shape[-2:]
    data.SamplesPerPixel, data.PhotometricInterpretation = 3 if colours else 1, photometric
    if colours:
        data.PlanarConfiguration = 0
    bits = 8 * pixels.dtype.itemsize
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = bits, bits, bits - 1, int(signed)
    for name, value in tags.items():
        setattr(data, name, value)
    data.PixelData = pixels.tobytes()
    buffer = io.BytesIO()
    data.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def test_a_window_is_applied_after_slope_and_intercept_and_said(tmp_path):
    data = dicom(RAMP, RescaleSlope=2, RescaleIntercept=-1024, WindowCenter=1000.5, WindowWidth=2001)
    (tmp_path / "a.dcm").write_bytes(data)
    opened, lines = told(tmp_path, size=(32, 24))
    expected = np.rint(np.clip((RAMP * 2.0 - 1024) / 2000, 0, 1) * 255)
    assert np.abs(opened.pixels[0, :, :, 0].numpy() - expected).max() <= 1
    assert "1 of 1 files are DICOM, as 'a.dcm': seen through the window that each names" in lines
    opened, lines = told(tmp_path, size=(32, 24), scale=(-1024, 7166))
    assert np.abs(opened.pixels[0, :, :, 0].numpy() - RAMP / 4095 * 255).max() <= 1
    assert "in the units of their rescale slope and intercept" in lines


def test_without_a_window_the_set_tells_and_monochrome1_is_inverted(tmp_path):
    signed = (RAMP.astype(np.int16) - 2048).astype(np.int16)
    for i, photometric in enumerate(("MONOCHROME2", "MONOCHROME1")):
        (tmp_path / f"{i}.dcm").write_bytes(dicom(signed, True, photometric))
    opened, lines = told(tmp_path)
    plain, inverted = opened.pixels[..., 0].numpy().astype(int)
    assert (plain + inverted == 255).all()
    assert plain.max() == 255
    assert plain.min() == 0
    assert "deep pixels, scaled by the set's 0.5 to 99.5 %" in lines


def test_colours_frames_and_bytes(tmp_path):
    colours = np.random.default_rng(0).integers(0, 255, (16, 20, 3)).astype(np.uint8)
    assert (decode(dicom(colours, photometric="RGB")) == colours).all()
    grey = np.random.default_rng(0).integers(0, 255, (3, 16, 20)).astype(np.uint8)
    (tmp_path / "a").write_bytes(dicom(grey))
    opened, lines = told(tmp_path, pages="max", scale=(0, 255))
    assert (opened.pixels[0, :, :, 0].numpy() == grey.max(0)).all()
    assert "the brightest value of each file's is taken" in lines
    assert any("several pages" in what for what, _ in read_header(dicom(grey)).notes)


def test_what_holds_no_image_or_is_damaged_is_one_line(tmp_path):
    whole = dicom(RAMP)
    for data in (whole[:-100], whole[:300], whole[:200] + bytes(400)):
        with pytest.raises(Unreadable) as caught:
            decode(data)
        assert "is not read: " in caught.value.reason
    with pytest.raises(Unreadable, match="values, more than"):
        decode(dicom(RAMP, NumberOfFrames=10**6))


@pytest.mark.parametrize(("package", "extra"), [("pydicom", "dicom"), ("rawpy", "raw")])
def test_what_an_extra_reads_names_it(tmp_path, package, extra):
    (tmp_path / "a.dcm").write_bytes(dicom(RAMP) if extra == "dicom" else b"FUJIFILMCCD-RAW" + bytes(400))
    code = f"""if True:
        import sys
        sys.modules[{package!r}] = None
        from asterism.images.decode import decode
        try:
            decode({str(tmp_path / "a.dcm")!r})
        except Exception as error:
            print(error)
    """
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert f"pip install 'asterism-clustering[{extra}]'" in said
    assert " is not read: " in said


def mutations(n: int, seed: int):
    draws = np.random.default_rng(seed)
    seeds = [dicom(RAMP, WindowCenter=5, WindowWidth=9), dicom(RAMP[None].repeat(2, 0).view(np.int16), True)]
    for i in range(n):
        data = bytearray(seeds[i % len(seeds)])
        for _ in range(draws.geometric(0.5)):
            at = int(draws.integers(0, min(len(data), int(draws.choice((400, 900, len(data)))))))
            if draws.random() < 0.2:
                del data[at : at + int(draws.integers(1, 40))]
            else:
                value = int(draws.choice((0, 1, 255, 256, 65535, 2**31, 2**32 - 1, int(draws.integers(0, 256)))))
                data[at : at + 4] = value.to_bytes(4, "little")
        yield bytes(data)


@pytest.mark.parametrize("n", [40, pytest.param(4000, marks=pytest.mark.slow)])
def test_mutated_dicom_is_read_or_refused(n):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for data in mutations(n, 0):
            try:
                assert decode(data).dtype == np.uint8
            except Unreadable as refused:
                assert "\n" not in refused.reason


# --- RAW --------------------------------------------------------------------------------------------------------------


def dng() -> bytes:
    """A small DNG: a mosaic of 12-bit values, red brightest."""
    tifffile = pytest.importorskip("tifffile")
    mosaic = np.full((64, 96), 600, np.uint16)
    mosaic[::2, ::2] = 3000
    tags = [
        (50706, "B", 4, (1, 4, 0, 0), True),
        (50708, "s", 0, "Asterism Test", True),
        (33421, "H", 2, (2, 2), True),
        (33422, "B", 4, (0, 1, 1, 2), True),
        (50717, "I", 1, 4095, True),
        (50721, "2i", 9, (1, 1, 0, 1, 0, 1, 0, 1, 1, 1, 0, 1, 0, 1, 0, 1, 1, 1), True),
        (50728, "2I", 3, (1, 1, 1, 1, 1, 1), True),
        (50778, "H", 1, 21, True),
    ]
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, mosaic, photometric="cfa", extratags=tags, metadata=None, subfiletype=0)
    return buffer.getvalue()


def test_a_raw_photograph_is_developed_and_said(tmp_path):
    pytest.importorskip("rawpy", reason="the extra raw is not installed")
    (tmp_path / "a.dng").write_bytes(dng())
    opened, lines = told(tmp_path)
    assert opened.shape[0] == 3
    assert opened.pixels[0].float().mean((0, 1)).argmax() == 0
    assert "1 of 1 files are RAW photographs, as 'a.dng': developed with the camera's white balance" in lines
    with pytest.raises(Unreadable, match="is not read"):
        decode(dng()[:700])
    assert open_images(tmp_path, bands=1).shape[0] == 1
