"""What every linkage shares: the table of cluster pairs, the nearest clusters of each cluster, the best of all.

Two clusters can only have an affinity when an edge of the sample graph joins them, and merging never joins clusters
that no edge joined before (it contracts the graph of clusters). So the table is laid out once, one record for each
pair of clusters with an edge between them: at most one per edge of the sample graph, O(N·K_s) in all, and nothing is
allocated while merging.

A record is two *half-edges*, ``h`` in the list of one cluster and ``h ^ 1`` in the list of the other. All kernels are
compiled by numba, work in place and draw nothing at random.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np


class Clusters(NamedTuple):
    """The state of a merging run; n initial clusters, R pairs, all arrays changed in place.

    A merged cluster lives on in the larger of the two (less is moved that way); its *name*, by which ties are broken
    and history is written, is the lowest initial cluster in it.
    """

    label: np.ndarray  # (N,) cluster of each sample
    first: np.ndarray  # (n,) first member; the members of a cluster are a linked list
    last: np.ndarray  # (n,) last member
    after: np.ndarray  # (N,) next member of the same cluster, or -1
    size: np.ndarray  # (n,) number of members; 0 once merged into another
    name: np.ndarray  # (n,) lowest initial cluster in it
    norm: np.ndarray  # (n,) what `value` is divided by: |C|², or 2 where `value` is the affinity itself
    head: np.ndarray  # (n,) first half-edge of the cluster's list, or -1
    after_edge: np.ndarray  # (2R,) next half-edge of the same list, or -1
    other: np.ndarray  # (2R,) the cluster at the far end, or -1 once the record is gone
    value: np.ndarray  # (2R,) U[c][i] of FACTS §1.5, c the owner of the half-edge and i the far end
    nearest: np.ndarray  # (n,) affinity to the nearest cluster
    partner: np.ndarray  # (n,) the nearest cluster, or -1
    fence: np.ndarray  # (n,) affinity of the K_c-th nearest: whatever stays below does not change the score
    score: np.ndarray  # (n,) the merge criterion
    tree: np.ndarray  # (2P,) tournament of scores over names; tree[1] is the winner
    extra: np.ndarray  # (n,) scratch, zero between merges: what a merge adds to the pair with each cluster
    edge_to: np.ndarray  # (n,) scratch, -1 between merges: the half-edge of the merged cluster to each cluster
    dirty: np.ndarray  # (n,) scratch, 0 between merges: whether a cluster's nearest ones have changed


class Criterion(NamedTuple):
    """How a cluster is scored from the affinities to its nearest clusters (JULE eq. 7)."""

    local_weight: float  # λ
    n_local: int  # K_c; 1 is plain agglomeration, eq. 3
    half_matrix: bool  # only clusters of lower name are neighbours, as in the authors' Torch code


@numba.njit(cache=True)
def rounded(x):
    """Round to 33 bits, about ten digits: what differs by less is a tie, whatever the order of summation was."""
    shifted = x * 1048577.0  # 2^20 + 1, Veltkamp's splitting
    return shifted - (shifted - x)


@numba.njit(cache=True)
def affinity(s, c, h):
    """Symmetric affinity between cluster ``c`` and the far end of its half-edge ``h`` (FACTS §1.5)."""
    return rounded(s.value[h] / s.norm[c] + s.value[h ^ 1] / s.norm[s.other[h]])


@numba.njit(cache=True)
def matters(s, c, h):
    """Whether ``c`` is, by this affinity, among the K_c nearest of the cluster at the far end of ``h``."""
    a = affinity(s, c, h)
    return a > 0.0 and a >= s.fence[s.other[h]]


@numba.njit(cache=True)
def play(s, name):
    """Replay the matches above a leaf of the tournament: higher score wins, then the lower name."""
    node = (s.tree.size // 2 + name) // 2
    while node > 0:
        left, right = s.tree[2 * node], s.tree[2 * node + 1]
        if left < 0 or (right >= 0 and s.score[right] > s.score[left]):
            s.tree[node] = right
        else:
            s.tree[node] = left
        node //= 2


@numba.njit(cache=True)
def rescore(s, c, criterion):
    """Look through the pairs of ``c`` for its K_c nearest clusters and score it by eq. 7. O(pairs of c)."""
    top = np.zeros(criterion.n_local)  # absent neighbours have affinity 0
    partner, previous, h = -1, -1, s.head[c]
    while h >= 0:
        i, following = s.other[h], s.after_edge[h]
        if i < 0:  # the record went away when the far end merged: unlink it now that we pass
            if previous < 0:
                s.head[c] = following
            else:
                s.after_edge[previous] = following
            h = following
            continue
        if not criterion.half_matrix or s.name[i] < s.name[c]:
            a = affinity(s, c, h)
            if a > top[0] or (a == top[0] and a > 0 and s.name[i] < s.name[partner]):
                partner = i
            k = criterion.n_local - 1
            if a > top[k]:
                while k > 0 and top[k - 1] < a:
                    top[k] = top[k - 1]
                    k -= 1
                top[k] = a
        previous, h = h, following
    local = 0.0
    for k in range(1, criterion.n_local):
        local += top[0] - top[k]
    if criterion.n_local > 1:
        local *= criterion.local_weight / (criterion.n_local - 1)
    s.nearest[c], s.partner[c], s.fence[c] = top[0], partner, top[-1]
    s.score[c] = rounded(top[0] + local)
    play(s, s.name[c])


@numba.njit(cache=True)
def rescore_all(s, criterion):
    """Score every cluster and play the whole tournament. O(R)."""
    leaves = s.tree.size // 2
    s.tree[:] = -1
    for c in range(s.size.size):
        if s.size[c] > 0:
            s.tree[leaves + s.name[c]] = c
    for c in range(s.size.size):
        if s.size[c] > 0:
            rescore(s, c, criterion)


@numba.njit(cache=True)
def join(s, a, b, scale_a, scale_b):
    """Merge cluster ``b`` into ``a``: members, name, pairs; the affinities are completed by `refresh`.

    Sums both directions of U over the two clusters, the degree side U[a][·], U[b][·] weighted by the two scales.
    Leaves ``edge_to`` and ``dirty`` set for `refresh`. O(pairs of a and b + members of b).
    """
    h, previous = s.head[a], -1
    while h >= 0:
        i, following = s.other[h], s.after_edge[h]
        if i < 0 or i == b:
            s.other[h] = s.other[h ^ 1] = -1
            if previous < 0:
                s.head[a] = following
            else:
                s.after_edge[previous] = following
        else:
            s.dirty[i] = matters(s, a, h)
            s.value[h] *= scale_a
            s.edge_to[i] = h
            previous = h
        h = following
    h = s.head[b]
    while h >= 0:
        i, following = s.other[h], s.after_edge[h]
        if i >= 0:
            s.dirty[i] |= matters(s, b, h)
            g = s.edge_to[i]
            if g < 0:  # the pair changes hands
                s.other[h ^ 1] = a
                s.value[h] *= scale_b
                s.after_edge[h] = s.head[a]
                s.head[a] = s.edge_to[i] = h
            else:
                s.value[g] += s.value[h] * scale_b
                s.value[g ^ 1] += s.value[h ^ 1]
                s.other[h] = s.other[h ^ 1] = -1
        h = following
    s.head[b] = -1
    join_members(s, a, b)


@numba.njit(cache=True)
def join_members(s, a, b):
    """Move the members of ``b`` to ``a`` and give ``a`` the lower of the two names."""
    m = s.first[b]
    while m >= 0:
        s.label[m] = a
        m = s.after[m]
    s.after[s.last[a]] = s.first[b]
    s.last[a] = s.last[b]
    s.size[a] += s.size[b]
    s.size[b] = 0
    leaves = s.tree.size // 2
    low, high = min(s.name[a], s.name[b]), max(s.name[a], s.name[b])
    s.name[a] = low
    s.tree[leaves + low] = a
    s.tree[leaves + high] = -1
    play(s, high)


@numba.njit(cache=True)
def refresh(s, a, replace, criterion):
    """Complete the affinities of the merged cluster ``a`` by ``extra`` and rescore whom they concern.

    A neighbour is rescored only where an old or the new affinity reaches its K_c-th one. O(pairs of a), and
    O(pairs of i) more for each neighbour i that is rescored.
    """
    h = s.head[a]
    while h >= 0:
        i = s.other[h]
        if replace:
            s.value[h] = s.value[h ^ 1] = s.extra[i]
        else:
            s.value[h] += s.extra[i]
        s.extra[i] = 0.0
        s.edge_to[i] = -1
        if s.dirty[i] or matters(s, a, h):
            rescore(s, i, criterion)
        s.dirty[i] = False
        h = s.after_edge[h]
    rescore(s, a, criterion)
