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

import numpy as np

from asterism.clustering.compiled import compiled

entry = compiled(error_model="numpy")  # nothing is divided by 0
# Called by other kernels alone: what a call from Python needs is not compiled, a quarter of the time.
kernel = compiled(error_model="numpy", no_cpython_wrapper=True)


class Clusters(NamedTuple):
    """The state of a merging run; n initial clusters, R pairs, all arrays changed in place.

    A merged cluster lives on in the larger of the two (less is moved that way); its *name*, by which history is
    written, is the lowest initial cluster in it, and so is the *number* by which ties are broken, but with `slots`.
    """

    label: np.ndarray  # (N,) cluster of each sample
    first: np.ndarray  # (n,) first member; the members of a cluster are a linked list
    last: np.ndarray  # (n,) last member
    after: np.ndarray  # (N,) next member of the same cluster, or -1
    size: np.ndarray  # (n,) number of members; 0 once merged into another
    name: np.ndarray  # (n,) lowest initial cluster in it
    # By which ties go, and which clusters a half matrix has: the name, or the Torch code's slot.
    number: np.ndarray  # (n,)
    norm: np.ndarray  # (n,) what `value` is divided by: |C|², or 2 where `value` is the affinity itself
    head: np.ndarray  # (n,) first half-edge of the cluster's list, or -1
    after_edge: np.ndarray  # (2R,) next half-edge of the same list, or -1
    other: np.ndarray  # (2R,) the cluster at the far end, or -1 once the record is gone
    value: np.ndarray  # (2R,) U[c][i] of docs/papers/jule.md, c the owner of the half-edge and i the far end
    top: np.ndarray  # (n, L) largest affinities of each cluster, falling, then zeros
    who: np.ndarray  # (n, L) with which clusters, then -1
    fence: np.ndarray  # (n,) the largest affinity that is not among them
    score: np.ndarray  # (n,) the merge criterion
    tree: np.ndarray  # (2P,) tournament of scores over names; tree[1] is the winner
    extra: np.ndarray  # (n,) scratch, zero between merges: what a merge adds to the pair with each cluster
    edge_to: np.ndarray  # (n,) scratch, -1 between merges: the half-edge of the merged cluster to each cluster


class Criterion(NamedTuple):
    """How a cluster is scored from the affinities to its nearest clusters (JULE eq. 7)."""

    local_weight: float  # λ
    n_local: int  # K_c; 1 is plain agglomeration, eq. 3
    half_matrix: bool  # only clusters of lower number are neighbours, as in the authors' Torch code
    slots: bool  # the last cluster takes the number of the one that a merge frees, as in that code's fast update


@kernel
def rounded(x):
    """Round to 33 bits, about ten digits: what differs by less is a tie, whatever the order of summation was."""
    shifted = x * 1048577.0  # 2^20 + 1, Veltkamp's splitting
    return shifted - (shifted - x)


@kernel
def affinity(value, norm, c, i, h):
    """Symmetric affinity between clusters ``c`` and ``i`` from the half-edge ``h`` of c to i (docs/papers/jule.md)."""
    return rounded(value[h] / norm[c] + value[h ^ 1] / norm[i])


@kernel
def play(tree, score, number):
    """Replay the matches above a leaf of the tournament: higher score wins, then the lower number."""
    node = (tree.size // 2 + number) // 2
    while node > 0:
        left, right = tree[2 * node], tree[2 * node + 1]
        if left < 0 or (right >= 0 and score[right] > score[left]):
            tree[node] = right
        else:
            tree[node] = left
        node //= 2


@kernel
def insert(top, who, fence, number, c, i, a):
    """Put cluster ``i`` at affinity ``a`` among the nearest of ``c``, ties by number; what falls out is the fence."""
    width = top.shape[1]
    k = width
    while k > 0 and (top[c, k - 1] < a or (top[c, k - 1] == a and number[who[c, k - 1]] > number[i])):
        k -= 1
    fence[c] = max(fence[c], a if k == width else top[c, width - 1])
    for j in range(width - 1, k, -1):
        top[c, j] = top[c, j - 1]
        who[c, j] = who[c, j - 1]
    if k < width:
        top[c, k] = a
        who[c, k] = i


@kernel
def remove(top, who, c, a, b):
    """Take clusters ``a`` and ``b`` from the nearest of ``c``; returns whether either was there."""
    kept, width = 0, top.shape[1]
    for k in range(width):
        if who[c, k] != a and who[c, k] != b:
            top[c, kept] = top[c, k]
            who[c, kept] = who[c, k]
            kept += 1
    for k in range(kept, width):
        top[c, k] = 0.0
        who[c, k] = -1
    return kept < width


@kernel
def rescan(s, c, criterion):
    """Look through all pairs of ``c`` for its nearest clusters. O(pairs of c)."""
    top, who, fence = s.top, s.who, s.fence
    value, norm, other, after_edge, number = s.value, s.norm, s.other, s.after_edge, s.number
    top[c], who[c], fence[c] = 0.0, -1, 0.0
    first, previous, h = s.head[c], -1, s.head[c]
    while h >= 0:
        i, following = other[h], after_edge[h]
        if i >= 0:
            if not criterion.half_matrix or number[i] < number[c]:
                now = affinity(value, norm, c, i, h)
                if now > 0.0:
                    insert(top, who, fence, number, c, i, now)
            previous = h
        elif previous < 0:  # the record went away when the far end merged: unlink it now that we pass
            first = following
        else:
            after_edge[previous] = following
        h = following
    s.head[c] = first


@kernel
def grade(top, score, tree, number, c, criterion):
    """Score ``c`` by eq. 7 from its nearest clusters, of which the absent have affinity 0."""
    local = 0.0
    for k in range(1, criterion.n_local):
        local += top[c, 0] - top[c, k]
    if criterion.n_local > 1:
        local *= criterion.local_weight / (criterion.n_local - 1)
    score[c] = rounded(top[c, 0] + local)
    play(tree, score, number[c])


@kernel
def grade_all(s, criterion):
    """Find the nearest of every cluster and play the whole tournament. O(R)."""
    leaves = s.tree.size // 2
    s.tree[:] = -1
    for c in range(s.size.size):
        if s.size[c] > 0:
            s.tree[leaves + s.number[c]] = c
    for c in range(s.size.size):
        if s.size[c] > 0:
            rescan(s, c, criterion)
            grade(s.top, s.score, s.tree, s.number, c, criterion)


@kernel
def join(s, a, b, scale_a, scale_b):
    """Merge cluster ``b`` into ``a``: members, name and pairs; `refresh` then completes the affinities.

    Sums U over the two clusters in both directions, the degree side U[a][·], U[b][·] weighted by the two scales.
    O(pairs of a and b + members of b).
    """
    value, other, after_edge, edge_to = s.value, s.other, s.after_edge, s.edge_to
    first, previous, h = s.head[a], -1, s.head[a]
    while h >= 0:
        i, following = other[h], after_edge[h]
        if i >= 0 and i != b:
            value[h] *= scale_a
            edge_to[i] = h
            previous = h
        else:
            other[h] = other[h ^ 1] = -1
            if previous < 0:
                first = following
            else:
                after_edge[previous] = following
        h = following
    h = s.head[b]
    while h >= 0:
        i, following = other[h], after_edge[h]
        if i >= 0:
            g = edge_to[i]
            if g < 0:  # the pair changes hands
                other[h ^ 1] = a
                value[h] *= scale_b
                after_edge[h] = first
                first = edge_to[i] = h
            else:
                value[g] += value[h] * scale_b
                value[g ^ 1] += value[h ^ 1]
                other[h] = other[h ^ 1] = -1
        h = following
    s.head[a], s.head[b] = first, -1
    join_members(s, a, b)


@kernel
def join_members(s, a, b):
    """Move the members of ``b`` to ``a`` and give ``a`` the lower of the two names and numbers."""
    label, after = s.label, s.after
    m = s.first[b]
    while m >= 0:
        label[m] = a
        m = after[m]
    after[s.last[a]] = s.first[b]
    s.last[a] = s.last[b]
    s.size[a] += s.size[b]
    s.size[b] = 0
    s.name[a] = min(s.name[a], s.name[b])
    leaves = s.tree.size // 2
    low, high = min(s.number[a], s.number[b]), max(s.number[a], s.number[b])
    s.number[a], s.number[b] = low, high
    s.tree[leaves + low] = a
    s.tree[leaves + high] = -1
    play(s.tree, s.score, high)


@kernel
def refresh(s, a, b, replace, criterion):
    """Complete the affinities of ``a``, which ``b`` has joined, by ``extra``, and score whom they concern again.

    O(pairs of a), and O(pairs of i) more for a neighbour i whose nearest clusters have to be looked for again.
    """
    value, norm, extra, edge_to, number = s.value, s.norm, s.extra, s.edge_to, s.number
    top, who, fence, score, tree = s.top, s.who, s.fence, s.score, s.tree
    other, after_edge = s.other, s.after_edge
    h = s.head[a]
    while h >= 0:
        i = other[h]
        if replace:
            value[h] = value[h ^ 1] = extra[i]
        else:
            value[h] += extra[i]
        extra[i] = 0.0
        edge_to[i] = -1
        changed = remove(top, who, i, a, b)
        if not criterion.half_matrix or number[a] < number[i]:
            now = affinity(value, norm, a, i, h)
            if now > fence[i]:
                insert(top, who, fence, number, i, a, now)
                changed = True
        if changed:
            # Those that are left may fall short of K_c, or the first may tie with one that is not among them.
            if fence[i] > 0.0 and (top[i, criterion.n_local - 1] == 0.0 or top[i, 0] <= fence[i]):
                rescan(s, np.int64(i), criterion)
            grade(top, score, tree, number, i, criterion)
        h = after_edge[h]
    rescan(s, a, criterion)
    grade(top, score, tree, number, a, criterion)


@kernel
def take_slot(s, free, last, criterion):
    """Give the cluster of number ``last`` the number ``free``, and score it and those above ``free`` again.

    With a half matrix it loses the neighbours from ``free`` on, and is a new one of theirs. O(its pairs).
    """
    if free == last:
        return
    leaves = s.tree.size // 2
    m = np.int64(s.tree[leaves + last])
    s.number[m] = free
    s.tree[leaves + free], s.tree[leaves + last] = m, -1
    play(s.tree, s.score, last)
    rescan(s, m, criterion)
    grade(s.top, s.score, s.tree, s.number, m, criterion)
    h = s.head[m]
    while h >= 0:
        i = s.other[h]
        if s.number[i] > free:
            now = affinity(s.value, s.norm, m, i, h)
            if now > s.fence[i]:
                insert(s.top, s.who, s.fence, s.number, i, m, now)
                grade(s.top, s.score, s.tree, s.number, i, criterion)
        h = s.after_edge[h]
