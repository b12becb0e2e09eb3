"""Random crops and colours: what is exact, what stays, what the draws depend on."""

import numpy as np
import pytest
import torch

from asterism.images.augment import Crops

WHOLE = {"smallest": 1.0, "largest": 1.0}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def photos(n=64, side=12, channels=3):
    return torch.rand(n, channels, side, side, generator=generator(9))


def test_a_crop_of_everything_changes_little_and_flips_half():
    images = torch.linspace(0, 1, 16).expand(400, 1, 16, 16).contiguous()  # rises to the right
    changed = Crops(0.9, 1.0)(images, generator())
    rising = changed[:, 0, 8, 12] > changed[:, 0, 8, 3]
    assert 0.4 < float(rising.float().mean()) < 0.6
    assert (Crops(0.9, 1.0, flip=False)(images, generator())[:, 0, 8, 12] > 0.5).all()


def test_crops_cover_the_area_that_was_asked_for():
    ramp = torch.linspace(0, 1, 64)
    images = torch.stack([ramp.expand(64, 64), ramp[:, None].expand(64, 64)]).expand(500, 2, 64, 64)
    changed = Crops(0.2, 0.4, flip=False)(images.contiguous(), generator())
    spans = changed.amax((2, 3)) - changed.amin((2, 3))  # width and height as shares of the side
    area = spans.prod(1)
    assert float(area.min()) > 0.18 and float(area.max()) < 0.42
    ratio = spans[:, 0] / spans[:, 1]
    assert float(ratio.min()) > 0.73 and float(ratio.max()) < 1.36 and float(ratio.std()) > 0.1
    centers = (changed.amax((2, 3)) + changed.amin((2, 3))) / 2
    assert float(centers.min()) < 0.35 and float(centers.max()) > 0.65  # anywhere


def test_the_draws_depend_on_the_generator_alone():
    images, crops = photos(), Crops(jitter=0.5, grey=0.2, blur=0.5)
    assert torch.equal(crops(images, generator(1)), crops(images, generator(1)))
    assert not torch.equal(crops(images, generator(1)), crops(images, generator(2)))


def test_grey_images_have_three_equal_channels():
    changed = Crops(**WHOLE, flip=False, grey=1.0)(photos(), generator())
    np.testing.assert_allclose(changed[:, 0], changed[:, 1], atol=2e-3)  # of the constants of YIQ
    np.testing.assert_allclose(changed[:, 0], changed[:, 2], atol=2e-3)


def test_no_change_of_colour_is_the_identity():
    images = photos()
    plain = Crops(**WHOLE, flip=False)(images, generator())
    recoloured = Crops(**WHOLE, flip=False, grey=1e-12)(images, generator())
    np.testing.assert_allclose(recoloured, plain, atol=1e-5)


def test_jitter_spreads_brightness_and_leaves_a_fifth_alone():
    images = torch.full((2000, 3, 4, 4), 0.5)
    changed = Crops(**WHOLE, jitter=0.4)(images, generator())[:, 0, 0, 0]
    assert float(changed.min()) == pytest.approx(0.3, abs=0.02) and float(changed.max()) == pytest.approx(0.7, abs=0.02)
    assert float(((changed - 0.5).abs() < 1e-5).float().mean()) == pytest.approx(0.2, abs=0.04)


def test_blur_keeps_flat_images_and_smooths_others():
    flat = torch.full((8, 3, 16, 16), 0.7)
    blur = Crops(**WHOLE, flip=False, blur=1.0)
    np.testing.assert_allclose(blur(flat, generator()), flat, atol=1e-5)
    noise = photos(32, 16)
    whole = Crops(**WHOLE, flip=False)(noise, generator())
    assert float(blur(noise, generator()).std()) < 0.7 * float(whole.std())


def test_small_crops_have_their_own_size_and_vectors_stay():
    assert Crops(0.05, 0.14, side=5)(photos(), generator()).shape == (64, 3, 5, 5)
    vectors = torch.randn(4, 9, 1, 1)
    assert torch.equal(Crops()(vectors, generator()), vectors)
