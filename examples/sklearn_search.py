"""In scikit-learn's company: a pipeline with an auto-encoder, and a search for parameters without labels."""

from sklearn.cluster import AgglomerativeClustering
from sklearn.datasets import load_digits
from sklearn.metrics import silhouette_score
from sklearn.model_selection import ParameterGrid
from sklearn.pipeline import make_pipeline

from asterism import FCAE, KMeans, Training

images = load_digits().images[:400] / 16

pipeline = make_pipeline(FCAE(training=Training(n_epochs=3), random_state=0), AgglomerativeClustering(10))
print("groups of the pipeline:", len(set(pipeline.fit_predict(images))))

# GridSearchCV scores on left-out folds; a clusterer without labels is better judged on what it grouped.
best = max(
    ParameterGrid({"n_clusters": [6, 8, 10, 12], "normalise": [False, True]}),
    key=lambda params: silhouette_score(
        images.reshape(len(images), -1), KMeans(random_state=0, n_init=3).set_params(**params).fit_predict(images)
    ),
)
print("best by silhouette:", best)
