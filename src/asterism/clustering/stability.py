"""What the agreement of groups that two halves of the images find alone says to a person."""

from __future__ import annotations

# Measured by `Diffusion.stability_`: .26 in one class of photographs cut into six and .02 in noise; .35 to .45 on ten
# classes of CIFAR-10 (ARI .14 to .23), and .43 to .99 on 25 other sets, whose groups agree with their classes by an
# ARI of .26 to 1.
UNSTABLE, WEAK = 0.3, 0.5


def stability_words(stability: float) -> str:
    """A stability, an adjusted Rand index, as a sentence."""
    figure = f"{stability:.2f}: two halves of the images, each without the other,"
    if stability < UNSTABLE:
        return f"{figure} find other groups; these groups may not mean anything"
    if stability < WEAK:
        return f"{figure} find groups that are only partly the same; look at them with care"
    return f"{figure} find the same groups, nearly" if stability < 0.95 else f"{figure} find the same groups"
