"""Path integral and zeta linkage: affinities from walks on the union of two clusters, as sparse sums.

P is the row-normalised W with unit diagonal, z = 0.01, M = I − zP, and M⁻¹ = Σ_t zᵗ Pᵗ. What two clusters gain by
their union are the walks that visit both. Such a walk has two steps at least, so every affinity starts at z² and
three terms (walks of 2, 3 and 4 steps) are exact to about z³ = 10⁻⁶ of its value (docs/papers/jule.md). Clusters that
only longer walks join have affinity 0. Affinities are in units of z², which changes no comparison.

After a merge the affinities of the new cluster with its neighbours are computed afresh from the links between them:
O(K_s · links that leave the cluster) for the path integral, O(K_s² · those) for zeta. Memory is O(N·K_s).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from asterism.clustering.linkage_pairs import kernel


class Walks(NamedTuple):
    """Walks inside each cluster, and scratch that is zero between two calls."""

    z: float
    zeta: bool  # zeta, else the path integral
    left: np.ndarray  # (N,) 1_cᵀ (I − z P_cc)⁻¹ to z², c the sample's own cluster
    right: np.ndarray  # (N,) (I − z P_cc)⁻¹ 1_c to z²
    closed: np.ndarray  # (N,) Σ_{x∈c} P(m, x) P(x, m): closed walks of two steps inside the cluster
    stay: np.ndarray  # (N,) P(m, m)
    into: np.ndarray  # (N,) scratch
    out: np.ndarray  # (N,) scratch
    before: np.ndarray  # (N,) scratch
    beyond: np.ndarray  # (N,) scratch
    place: np.ndarray  # (n,) scratch: links towards each cluster


@kernel
def walk_inside(s, walks, links, c):
    """Recompute the walks inside cluster ``c``. O(links of its members)."""
    m = s.first[c]
    while m >= 0:  # one step
        into = out = closed = 0.0
        for e in range(links.start[m], links.start[m + 1]):
            if s.label[links.end[e]] == c:
                into += links.into[e]
                out += links.out[e]
                closed += links.out[e] * links.into[e]
        walks.before[m], walks.beyond[m], walks.closed[m] = into, out, closed
        m = s.after[m]
    m = s.first[c]
    while m >= 0:  # two steps
        into = out = 0.0
        for e in range(links.start[m], links.start[m + 1]):
            y = links.end[e]
            if s.label[y] == c:
                into += links.into[e] * walks.before[y]
                out += links.out[e] * walks.beyond[y]
        walks.left[m] = 1.0 + walks.z * (walks.before[m] + walks.z * into)
        walks.right[m] = 1.0 + walks.z * (walks.beyond[m] + walks.z * out)
        m = s.after[m]
    m = s.first[c]
    while m >= 0:
        walks.before[m] = walks.beyond[m] = 0.0
        m = s.after[m]


@kernel
def gain_pairs(s, walks, links, c, only_above):
    """Write the affinity of ``c`` with each cluster in its list to ``s.extra``, which holds zeros before.

    With ``only_above`` clusters of a lower number are left out. O(links of its members), and the cost of the module's
    head for those that leave it.
    """
    total = 0
    m = s.first[c]
    while m >= 0:
        for e in range(links.start[m], links.start[m + 1]):
            i = s.label[links.end[e]]
            if i != c and not (only_above and i < c):
                walks.place[i] += 1
                total += 1
        m = s.after[m]
    near, far = np.empty(total, np.int32), np.empty(total, np.int32)
    out, into = np.empty(total), np.empty(total)
    end = 0
    h = s.head[c]
    while h >= 0:  # counting sort by the cluster at the far end
        i = s.other[h]
        if i >= 0:
            end += walks.place[i]
            walks.place[i] = end - walks.place[i]
        h = s.after_edge[h]
    m = s.first[c]
    while m >= 0:
        for e in range(links.start[m], links.start[m + 1]):
            i = s.label[links.end[e]]
            if i != c and not (only_above and i < c):
                k = walks.place[i]
                near[k], far[k], out[k], into[k] = m, links.end[e], links.out[e], links.into[e]
                walks.place[i] += 1
        m = s.after[m]
    begin = 0
    h = s.head[c]
    while h >= 0:
        i = np.int64(s.other[h])
        if i >= 0:
            end = walks.place[i]
            walks.place[i] = 0
            if end > begin:
                near_i, far_i, out_i, into_i = near[begin:end], far[begin:end], out[begin:end], into[begin:end]
                if walks.zeta:
                    s.extra[i] = zeta_gain(s, walks, links, c, i, near_i, far_i, out_i, into_i)
                else:
                    ours = path_gain(s, walks, links, c, i, near_i, far_i, out_i, into_i) / s.size[c]
                    theirs = path_gain(s, walks, links, i, c, far_i, near_i, into_i, out_i) / s.size[i]
                    s.extra[i] = ours / s.size[c] + theirs / s.size[i]
            begin = end
        h = s.after_edge[h]


@kernel
def path_gain(s, walks, links, c, o, near, far, out, into):
    """1_cᵀ (M_{c∪o})⁻¹ 1_c − 1_cᵀ (M_cc)⁻¹ 1_c in units of z²: walks from c to c that visit o.

    Up to its first step into o and from its last step out of o such a walk stays in c, which ``left`` and ``right``
    sum; between the two it makes 0, 1 or 2 steps in the union. Links lead from ``near`` in c to ``far`` in o.
    """
    visited = np.empty(far.size, np.int32)
    n_visited = 0
    for k in range(far.size):
        y = far[k]
        if walks.into[y] == 0.0 and walks.out[y] == 0.0:
            visited[n_visited] = y
            n_visited += 1
        walks.into[y] += walks.left[near[k]] * out[k]
        walks.out[y] += into[k] * walks.right[near[k]]
    gain = one = two = 0.0
    for k in range(n_visited):
        y = visited[k]
        gain += walks.into[y] * walks.out[y]
        for e in range(links.start[y], links.start[y + 1]):
            v = links.end[e]
            if s.label[v] == o or s.label[v] == c:
                walks.before[v] += walks.into[y] * links.out[e]
                walks.beyond[v] += links.into[e] * walks.out[y]
    for k in range(n_visited):
        y = visited[k]
        for e in range(links.start[y], links.start[y + 1]):
            v = links.end[e]
            if s.label[v] == o:
                one += walks.before[v] * walks.out[v]
            two += walks.before[v] * walks.beyond[v]
            walks.before[v] = walks.beyond[v] = 0.0
    for k in range(n_visited):
        walks.into[visited[k]] = walks.out[visited[k]] = 0.0
    return gain + walks.z * (one + walks.z * two)


@kernel
def zeta_gain(s, walks, links, c, o, near, far, out, into):
    """Σ over both clusters of the mean of log[(M_{c∪o})⁻¹]_mm − log[(M_own)⁻¹]_mm, in units of z².

    The diagonal of M⁻¹ sums closed walks. One that visits both clusters steps from c to o, so all are found from the
    steps x → y with x in c and y in o, once for each such step in it, and belong to every sample that they pass:
    walks of four steps need only be counted by cluster, those of three are weighted at each sample, those of two are
    collected sample by sample because the logarithm bends within z⁴.
    """
    z = walks.z
    ours = theirs = 0.0
    for k in range(near.size):
        x, y = near[k], far[k]
        walks.into[x] += out[k] * into[k]
        walks.into[y] += out[k] * into[k]
        if k == 0 or near[k - 1] != x:  # out of scratch: P(v, x), the step that closes a walk
            for e in range(links.start[x], links.start[x + 1]):
                if s.label[links.end[e]] == c or s.label[links.end[e]] == o:
                    walks.out[links.end[e]] = links.into[e]
        if out[k] > 0.0:
            us, them = closed_through(s, walks, links, c, o, x, y)
            ours += out[k] * us
            theirs += out[k] * them
        if k == near.size - 1 or near[k + 1] != x:
            for e in range(links.start[x], links.start[x + 1]):
                walks.out[links.end[e]] = 0.0
    for k in range(near.size):
        for m in (near[k], far[k]):
            if walks.into[m] > 0.0:
                inside = 1.0 + z * (walks.stay[m] + z * walks.closed[m])
                gain = np.log1p(z * z * walks.into[m] / inside) / (z * z)
                walks.into[m] = 0.0
                if s.label[m] == c:
                    ours += gain
                else:
                    theirs += gain
    return ours / s.size[c] + theirs / s.size[o]


@kernel
def closed_through(s, walks, links, c, o, x, y):
    """Walks x → y → b → x and x → y → b → d → x in the union, as seen from either cluster, in units of z²·P(x, y)."""
    z = walks.z
    ours = theirs = 0.0
    for e in range(links.start[y], links.start[y + 1]):
        b, step = links.end[e], links.out[e]
        home = s.label[b] == c
        if step == 0.0 or not (home or s.label[b] == o):
            continue
        closing = z * step * walks.out[b]
        at_b = closing * (1.0 - z * walks.stay[b])
        ours += closing * (1.0 - z * walks.stay[x]) + (at_b if home else 0.0)
        theirs += closing * (1.0 - z * walks.stay[y]) + (0.0 if home else at_b)
        back = away = 0.0  # the fourth sample in c, in o
        for f in range(links.start[b], links.start[b + 1]):
            d = links.end[f]
            if s.label[d] == c:
                back += links.out[f] * walks.out[d]
            else:
                away += links.out[f] * walks.out[d]
        back *= z * z * step
        away *= z * z * step
        if home:  # x y b d with d in o steps from c to o twice and is found twice: half of 2 and 2
            ours += 3.0 * back + away
            theirs += back + away
        else:
            ours += 2.0 * back + away
            theirs += 2.0 * back + 3.0 * away
    return ours, theirs
