"""The merging loop: one for every criterion, sparse and exact."""

import numpy as np

from asterism.clustering.linkage_degree import cross_terms
from asterism.clustering.linkage_pairs import Criterion, entry, grade_all, join, kernel, refresh, take_slot
from asterism.clustering.linkage_walks import gain_pairs, walk_inside


@entry
def start_walks(s, walks, links):
    """Affinities of all pairs of initial clusters, for the path integral or zeta. O(N·K_s²) or O(N·K_s³)."""
    for c in range(s.size.size):
        walk_inside(s, walks, links, c)
    for c in range(s.size.size):
        gain_pairs(s, walks, links, c, True)
        h = s.head[c]
        while h >= 0:
            i = s.other[h]
            if i > c:
                s.value[h] = s.value[h ^ 1] = s.extra[i]
                s.extra[i] = 0.0
            h = s.after_edge[h]


@kernel
def stray(s, sums):
    """The smallest cluster and the one to attach it to, when no affinity is left: the nearest centroid.

    Without features (``sums`` has no columns) the second smallest. Ties go to the lower name. O(clusters · D).
    """
    small, found = -1, -1
    for c in range(s.size.size):
        smaller = small < 0 or s.size[c] < s.size[small]
        if s.size[c] > 0 and (smaller or (s.size[c] == s.size[small] and s.name[c] < s.name[small])):
            small = c
    best = np.inf
    for c in range(s.size.size):
        if s.size[c] == 0 or c == small:
            continue
        distance = 0.0 if sums.shape[1] else float(s.size[c])
        for d in range(sums.shape[1]):
            difference = sums[c, d] / s.size[c] - sums[small, d] / s.size[small]
            distance += difference * difference
        if distance < best or (distance == best and s.name[c] < s.name[found]):
            small, found, best = small, c, distance
    return small, found


@kernel
def next_pair(s, sums, forced, turn, heads):
    """The two clusters to merge, and their affinity: first the forced ones, then the best, then strays."""
    if turn < forced.shape[0]:
        return np.int64(s.label[heads[forced[turn, 0]]]), np.int64(s.label[heads[forced[turn, 1]]]), 0.0
    best = np.int64(s.tree[1])
    if s.score[best] > 0.0:
        return best, np.int64(s.who[best, 0]), s.top[best, 0]
    a, b = stray(s, sums)
    return a, b, 0.0


@kernel
def merge_pair(s, slots, walks, links, a, b, turn, approximate, criterion):
    """Merge ``b`` into ``a``, of which it is not the larger, and bring every affinity up to date."""
    scale_a = scale_b = 1.0
    if approximate:  # of normalised values: A(i → a∪b) ≈ |a|/(|a|+|b|)·A(i → a) + |b|/(|a|+|b|)·A(i → b)
        both = float(s.size[a] + s.size[b])
        scale_a, scale_b = both / s.size[a], both / s.size[b]
    if slots is not None:
        cross_terms(s, slots, links, a, b, turn)
    join(s, a, b, scale_a, scale_b)
    if walks is not None:
        walk_inside(s, walks, links, a)
        gain_pairs(s, walks, links, a, False)
    else:
        s.norm[a] = float(s.size[a]) * s.size[a]
    refresh(s, a, b, walks is not None, criterion)


@entry
def agglomerate(s, slots, walks, links, sums, forced, approximate, criterion, local_above, stop):
    """Merge until ``stop`` clusters are left.

    Parameters
    ----------
    slots : Slots or None
        The samples' degrees, for exact graph degree linkage.
    walks : Walks or None
        For the path integral and zeta; without either the affinities of a merged cluster are sums of its parts'.
    sums : (n, D) float array
        Features summed over each cluster.
    forced : (F, 2) int array
        Pairs of initial clusters that are merged first; no chain of them closes.
    approximate : bool
        The paper's weights in those sums.
    local_above : int
        The local term of eq. 7 counts only while there are more clusters than this.

    Returns
    -------
    merges : (T, 2) int array
        Names of the two clusters of each merge, the lower first.
    affinities : (T,) float array
        Affinity at which they merged, 0 for the forced ones and for strays.
    """
    left = s.size.size
    heads = s.first.copy()
    merges = np.empty((left - stop, 2), np.int64)
    affinities = np.empty(left - stop)
    plain = Criterion(0.0, 1, criterion.half_matrix, criterion.slots)
    local = left > local_above
    grade_all(s, criterion if local else plain)
    for turn in range(left - stop):
        if local and left - turn <= local_above:
            local = False
            grade_all(s, plain)
        a, b, affinities[turn] = next_pair(s, sums, forced, turn, heads)
        if s.size[a] < s.size[b]:
            a, b = b, a
        merges[turn, 0], merges[turn, 1] = min(s.name[a], s.name[b]), max(s.name[a], s.name[b])
        for d in range(sums.shape[1]):
            sums[a, d] += sums[b, d]
        merge_pair(s, slots, walks, links, a, b, turn, approximate, criterion if local else plain)
        if criterion.slots:
            take_slot(s, s.number[b], left - turn - 1, criterion if local else plain)
    return merges, affinities
