"""Graph degree linkage: the affinities of clusters from the in- and out-degrees of their neighbours' samples.

For a sample m and a cluster c that an edge joins, one *slot* holds D⁻_c(m) = Σ_{j∈c} W(j, m) and
D⁺_c(m) = Σ_{j∈c} W(m, j). Then (docs/papers/jule.md) U[c][i] = Σ_{m∈C_i} D⁻_c(m) D⁺_c(m) and
A(C_i, C_j) = U[j][i] / |C_j|² + U[i][j] / |C_i|².

When b joins a, U[i][a∪b] = U[i][a] + U[i][b] and U[a∪b][i] = U[a][i] + U[b][i] + cross terms, which are nonzero only
at samples that have a slot of both. Those samples are neighbours of the smaller cluster's members, so looking there
is enough: each edge is looked at O(log N) times in all, and slots only ever fuse. Memory is O(N·K_s).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from asterism.clustering.linkage_pairs import entry, kernel


class Links(NamedTuple):
    """The sample graph with both ways side by side: rows of the pattern of W + Wᵀ."""

    start: np.ndarray  # (N + 1,)
    end: np.ndarray  # (L,) the sample m' that an edge joins with m, either way
    out: np.ndarray  # (L,) W(m, m'), 0 if there is none
    into: np.ndarray  # (L,) W(m', m), 0 if there is none


class Slots(NamedTuple):
    """Degrees of each sample with respect to each cluster beside it."""

    start: np.ndarray  # (N + 1,)
    used: np.ndarray  # (N,) how many slots of each sample are in use
    cluster: np.ndarray  # (S,)
    into: np.ndarray  # (S,) D⁻, from the cluster into the sample
    out: np.ndarray  # (S,) D⁺, from the sample out to the cluster
    seen: np.ndarray  # (N,) scratch: the last merge that looked at the sample


@entry
def fill_slots(links, label, slots, slot_of):
    """Sum the links of every sample into its slots; ``slot_of`` is scratch of -1, one per cluster. O(L)."""
    for m in range(label.size):
        begin = end = slots.start[m]
        for e in range(links.start[m], links.start[m + 1]):
            c = label[links.end[e]]
            if c == label[m]:
                continue
            if slot_of[c] < 0:
                slot_of[c] = end
                slots.cluster[end] = c
                end += 1
            slots.out[slot_of[c]] += links.out[e]
            slots.into[slot_of[c]] += links.into[e]
        slots.used[m] = end - begin
        for k in range(begin, end):
            slot_of[slots.cluster[k]] = -1


@entry
def fill_pairs(s, slots):
    """Lay out the table of pairs and sum U from the slots. Returns the number of half-edges. O(S)."""
    used = 0
    for i in range(s.size.size):
        h = s.head[i]
        while h >= 0:  # pairs that a cluster of lower number has made
            s.edge_to[s.other[h]] = h
            h = s.after_edge[h]
        m = s.first[i]
        while m >= 0:
            for k in range(slots.start[m], slots.start[m] + slots.used[m]):
                c = slots.cluster[k]
                if s.edge_to[c] < 0:
                    s.other[used], s.other[used + 1] = c, i
                    s.after_edge[used], s.after_edge[used + 1] = s.head[i], s.head[c]
                    s.head[i] = s.edge_to[c] = used
                    s.head[c] = used + 1
                    used += 2
                s.value[s.edge_to[c] ^ 1] += slots.into[k] * slots.out[k]  # U[c][i], owned by c
            m = s.after[m]
        h = s.head[i]
        while h >= 0:
            s.edge_to[s.other[h]] = -1
            h = s.after_edge[h]
    return used


@kernel
def cross_terms(s, slots, links, a, b, turn):
    """Fuse the slots of ``b`` with those of ``a``, adding the cross terms of U[a∪b][·] to ``s.extra``.

    Call before `join`, ``b`` the smaller cluster; ``turn`` numbers the merges. O(links of b · slots of a sample).
    """
    label, after, extra = s.label, s.after, s.extra
    start, index = links.start, links.end
    seen, slot_start, slot_count = slots.seen, slots.start, slots.used
    cluster, into, out = slots.cluster, slots.into, slots.out
    j = s.first[b]
    while j >= 0:
        for e in range(start[j], start[j + 1]):
            m = index[e]
            i = label[m]
            if seen[m] == turn or i in (a, b):  # inside a∪b no degree is asked for again
                continue
            seen[m] = turn
            end = slot_start[m] + slot_count[m]
            of_a = of_b = -1
            for k in range(slot_start[m], end):
                if cluster[k] == a:
                    of_a = k
                elif cluster[k] == b:
                    of_b = k
            if of_a < 0:
                cluster[of_b] = a
                continue
            extra[i] += into[of_a] * out[of_b] + into[of_b] * out[of_a]
            into[of_a] += into[of_b]
            out[of_a] += out[of_b]
            end -= 1
            cluster[of_b], into[of_b], out[of_b] = cluster[end], into[end], out[end]
            slot_count[m] -= 1
        j = after[j]
