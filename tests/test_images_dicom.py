"""DICOM by pydicom and RAW photographs by rawpy, where these extras are installed."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from asterism.images import open_images
from asterism.images.decode import decode, read_header
from asterism.images.io_errors import Unreadable
from asterism.images.raster import How
from test_images_rasters import told

sys.path.insert(0, str(Path(__file__).parent))
from mutations import dicom, dng

pytest.importorskip("pydicom", reason="the extra dicom is not installed")

RAMP = np.linspace(0, 4095, 32 * 24).reshape(32, 24).astype(np.uint16)


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


def test_bits_and_colours_of_few_bits_are_as_bright_as_those_of_8():
    mask = np.eye(16, dtype=np.uint8)
    bits = np.packbits(mask, axis=1, bitorder="little")
    found = decode(dicom(bits, Columns=16, BitsAllocated=1, BitsStored=1, HighBit=0))
    assert (found[:, :, 0] == 255 * mask).all()
    colours = np.random.default_rng(0).integers(0, 4096, (16, 20, 3)).astype(np.uint16)
    found = decode(dicom(colours, photometric="RGB", BitsStored=12, HighBit=11))
    assert (found == colours >> 4).all()


def test_what_holds_no_image_or_is_damaged_is_one_line(tmp_path):
    whole = dicom(RAMP)
    for data in (whole[:-100], whole[:300], whole[:200] + bytes(400)):
        with pytest.raises(Unreadable) as caught:
            decode(data)
        assert "is not read: " in caught.value.reason
    with pytest.raises(Unreadable, match="values, more than"):
        decode(dicom(RAMP, NumberOfFrames=10**6), how=How(pages="mean"))


def test_of_many_frames_the_first_is_decoded_alone(monkeypatch):
    frames = np.random.default_rng(0).integers(0, 255, (30, 16, 20)).astype(np.uint8)
    monkeypatch.setattr("asterism.images.raster.MAX_VALUES", 16 * 20)
    assert (decode(dicom(frames))[..., 0] == frames[0]).all()
    with pytest.raises(Unreadable, match="9,600 values, more than the 320 that are decoded"):
        decode(dicom(frames), how=How(pages="max"))


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


# --- RAW --------------------------------------------------------------------------------------------------------------


def test_a_raw_photograph_is_developed_and_said(tmp_path):
    pytest.importorskip("rawpy", reason="the extra raw is not installed")
    (tmp_path / "a.dng").write_bytes(dng())
    opened, lines = told(tmp_path)
    assert opened.shape[0] == 3
    assert opened.pixels[0].float().mean((0, 1)).argmax() == 0
    assert "1 of 1 files are RAW photographs, as 'a.dng': developed with the camera's white balance" in lines
    with pytest.raises(Unreadable, match="is not read: [^b]"):  # words, not Python's bytes
        decode(dng()[:700])
    assert open_images(tmp_path, bands=1).shape[0] == 1
