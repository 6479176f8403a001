#!/usr/bin/env bash
# The study, by its protocol: benchmarks/study.sh chase data/chase_db1, and benchmarks/study.sh covid19_ct data/covid19_ct.
# It takes hours; stopped, the same command goes on where it was. JOBS trainings of one thread each run at a time.
set -euo pipefail
cd "$(dirname "$0")/.."
data=$1
case $data in
chase) bundle=chase_vessel_segmentation few=2 more=4 ;;
covid19_ct) bundle=covid19_ct_segmentation few=8 more=16 ;;
*) echo "chase or covid19_ct, not $data" >&2 && exit 2 ;;
esac
study() {
    ${PYTHON:-python} -m monai_sscm study --bundle "$bundle" --dataset_dir "$dataset_dir" --jobs "${JOBS:-2}" "$@"
}
dataset_dir=$2
results=benchmarks/results/study_$data

study --output_dir "$results" --num_labeled $few --seeds 0 1 2 3 4 \
    --methods supervised classmix supmix supmix_sufd supervised_augmented supmix_labeled
study --output_dir "$results" --num_labeled $few --seeds 0 1 2 --methods mean_teacher cutmix fixmatch unimatch bcp
study --output_dir "$results" --num_labeled $more --seeds 0 1 2 --methods supervised classmix supmix_sufd
study --output_dir "$results" --seeds 0 1 --methods full_supervision
if [ "$data" = chase ]; then
    # three times as many steps
    study --output_dir "${results}_4500" --num_labeled $few --seeds 0 1 2 --values max_epochs=90 \
        --methods supervised classmix supmix_sufd
fi
