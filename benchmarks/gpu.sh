#!/usr/bin/env bash
# All that a GPU is wanted for, in one script of at most nine minutes.
#
#     benchmarks/gpu.sh [--dry] [--plan] [OUT]
#
# --dry   the same steps in small on the processor, about a minute: to see that they run before a GPU is lent
# --plan  print the steps and their limits, and run nothing
# OUT     folder for logs, figures and the run; default gpu-out
#
# A step that runs past its limit is ended and the next one begins; DeepCluster-v2's run is kept, and a second call with
# the same OUT goes on with it.
set -u
cd "$(dirname "$0")/.."
dry=0 plan=0 out=gpu-out
for word in "$@"; do
    case $word in
        --dry) dry=1 ;;
        --plan) plan=1 ;;
        -*) echo "gpu.sh: $word is no option; there are --dry and --plan" >&2; exit 2 ;;
        *) out=$word ;;
    esac
done

# step SECONDS NAME COMMAND...
failed=0
step() {
    local limit=$1 name=$2 code=0
    shift 2
    if [ $plan = 1 ]; then echo "$limit s  $name: $*"; return; fi
    timeout "$limit" "$@" >"$out/$name.log" 2>&1 || code=$?
    case $code in
        0) echo "$name: done" ;;
        124) echo "$name: ended after $limit s" ;;
        *) echo "$name: failed with $code, see $out/$name.log"; failed=1 ;;
    esac
}

[ $plan = 1 ] || mkdir -p "$out"
if [ $dry = 1 ]; then
    step 120 tests python -m pytest -q -p no:xdist -m gpu --collect-only tests
    step 120 round python benchmarks/deepcluster.py round --images 256 --clusters 10 --width 0.05 --trained 64 --repeats 1
    step 120 features python benchmarks/gpu.py features --device cpu --images 2 --network vit_tiny_patch16_224
    step 120 resnet18 python benchmarks/gpu.py resnet18 --device cpu --images 64 --epochs 1 --out "$out/run"
else
    step 90 tests python -m pytest -q -p no:xdist -m gpu tests
    step 60 round python benchmarks/deepcluster.py round --device cuda
    step 60 features python benchmarks/gpu.py features --device cuda --images 4096
    step 330 resnet18 python benchmarks/gpu.py resnet18 --device cuda --epochs 60 --out "$out/run"
fi
exit $failed
