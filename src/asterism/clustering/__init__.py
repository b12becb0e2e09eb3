"""From vectors to labels, without networks.

``kmeans``
    Lloyd's algorithm, exact: ``kmeans_step`` and ``kmeans_kernels`` compute it, ``centroids`` are means of given
    groups.
``graph``
    nearest neighbours, exact, and the graph of affinities; ``neighbor_voting`` groups new samples along it.
``linkage``
    merging along that graph (``linkage_merge``: the call, ``linkage_engine`` the loop; ``linkage_setup``,
    ``linkage_pairs``, ``linkage_degree`` and ``linkage_walks`` its tables and criteria, ``linkage_tree`` the history);
    ``small_clusters`` leaves none that is small, ``nested`` cuts and divides groups that were found.
``spectral``, ``diffusion``, ``power_iteration``
    by eigenvectors of affinities (``affinities``: all N², ``chebyshev``: of a graph).
``nmf``
    factorisation with group sparsity; ``nmf_transformer`` is scikit-learn's way to it.
``soft``
    soft assignments that networks learn from.
``advice``, ``stability``, ``outliers``, ``representatives``
    how many groups there are, on coarser and finer levels too, how sure they are, who is in none, and a few that
    stand for all.

``units`` makes the answer the same in any unit, ``wide`` takes principal axes of very long rows; ``compiled`` is the
only place that asks numba.
"""
