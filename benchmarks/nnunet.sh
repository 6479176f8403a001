#!/usr/bin/env bash
# nnU-Net trained on an exported data set, against nnU-Net trained on its true masks alone.
#
#     pip install torch==2.13.0 && pip install nnunetv2    # in an environment of its own
#     monai-sscm export RUN --as nnunet --output_dir WORK/nnUNet_raw --number 501
#     benchmarks/nnunet.sh WORK [CONFIGURATION] [TRAINER] [DEVICE]
#
# CONFIGURATION is 2d or 3d_fullres. TRAINER is nnUNetTrainer (1,000 epochs of 250 steps: a GPU), or nnUNetTrainer_1epoch
# and so on to see that all goes through. Scores of both go to WORK/masks_501 and WORK/masks_502, metrics.csv. What is
# done is not done again.
set -euo pipefail
work=$(realpath "$1") configuration=${2:-2d} trainer=${3:-nnUNetTrainer} device=${4:-cuda}
export nnUNet_raw=$work/nnUNet_raw nnUNet_preprocessed=$work/nnUNet_preprocessed nnUNet_results=$work/nnUNet_results
source_dir=$(echo "$nnUNet_raw"/Dataset501_*)
alone=$nnUNet_raw/Dataset502_masks_alone

if [ ! -d "$alone" ]; then
    rm -rf "$alone.part"
    cp -r "$source_dir" "$alone.part"
    python - "$alone.part" <<'PYTHON'
import csv, json, sys
from pathlib import Path

folder = Path(sys.argv[1])
with open(folder / "cases.csv", newline="") as file:
    rows = list(csv.DictReader(file))
for row in rows:
    if row["kind"] == "pseudo-label":
        for path in [*folder.glob(f"imagesTr/{row['case']}_????.*"), *folder.glob(f"labelsTr/{row['case']}.*")]:
            path.unlink()
about = json.loads((folder / "dataset.json").read_text())
about["numTraining"] = sum(row["kind"] == "mask" for row in rows)
(folder / "dataset.json").write_text(json.dumps(about, indent=1))
PYTHON
    mv "$alone.part" "$alone"
fi
for number in 501 502; do
    name=$(basename "$nnUNet_raw"/Dataset${number}_*)
    if [ ! -d "$nnUNet_preprocessed/$name/nnUNetPlans_$configuration" ]; then
        nnUNetv2_plan_and_preprocess -d $number -c "$configuration" --verify_dataset_integrity
    fi
    result=$nnUNet_results/$name/${trainer}__nnUNetPlans__$configuration/fold_all
    if [ ! -f "$result/checkpoint_final.pth" ]; then
        nnUNetv2_train $number "$configuration" all -tr "$trainer" -device "$device" $([ -f "$result/checkpoint_latest.pth" ] && echo --c)
    fi
    nnUNetv2_predict -i "$source_dir/imagesTs" -o "$work/masks_$number" -d $number -c "$configuration" -f all \
        -tr "$trainer" -device "$device"
    if command -v monai-sscm > /dev/null; then
        monai-sscm evaluate "$work/masks_$number" "$source_dir/labelsTs" | tee "$work/masks_$number/scores.txt"
    fi
done
