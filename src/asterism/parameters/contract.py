"""scikit-learn's base classes. It has no types, and what derives from an unknown class takes any argument for a type
checker: so checkers see their outlines here instead, and refuse a parameter that a class has not."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

    from typing_extensions import Self

    class BaseEstimator:  # noqa: D101
        def get_params(self, deep: bool = True) -> dict[str, Any]: ...  # noqa: D102
        def set_params(self, **params: Any) -> Self: ...  # noqa: D102
        @classmethod
        def _get_param_names(cls) -> list[str]: ...
        def __sklearn_tags__(self) -> Any: ...

    class ClusterMixin:  # noqa: D101
        def fit_predict(self, X: Any, y: Any = None, **kwargs: Any) -> Any: ...  # noqa: D102

    class TransformerMixin:  # noqa: D101
        def fit_transform(self, X: Any, y: Any = None) -> Any: ...  # noqa: D102

    class ClassNamePrefixFeaturesOutMixin:  # noqa: D101
        def get_feature_names_out(self, input_features: Any = None) -> Any: ...  # noqa: D102

else:
    from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, ClusterMixin, TransformerMixin

__all__ = ["BaseEstimator", "ClassNamePrefixFeaturesOutMixin", "ClusterMixin", "TransformerMixin"]
