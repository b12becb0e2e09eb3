"""What is said of a precision: by us, once."""

import subprocess
import sys

CODE = """
import logging
import numpy as np
from asterism import KMeans
from asterism.runtime import Runtime
Runtime("cpu", "16-mixed").fabric
X = np.random.rand(8, 4, 4)
KMeans(2, random_state=0, precision="16-mixed", device="cpu").fit(X).predict(X)
assert logging.getLogger("lightning_fabric").level == logging.INFO  # as it is after an import
"""


def test_half_precision_is_told_once():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    (told,) = [line for line in lines if "_tell_of_halves()" not in line]  # the line of the code
    assert "precision='16-mixed' is for GPUs: a processor computes as with 'bf16-mixed'" in told
