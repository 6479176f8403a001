# Copyright (c) monai_sscm contributors
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#     http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

"""Which labelled images are learned from as unlabelled ones too."""

from __future__ import annotations

from monai_sscm.data import unlabeled_items

LABELED = [
    {"image": "a", "label": "a_mask", "group": "p"},
    {"image": "b", "label": "b_mask", "group": "q", "labeled_slices": [3]},
    {"image": "c", "label": "c_mask", "group": "q", "unlabeled_classes": [1]},
]


def test_images_whose_masks_leave_pixels_out_come_without_their_masks():
    datalist = {"labeled": LABELED, "unlabeled": [{"image": "d", "group": "r"}]}
    partly = [{"image": "d", "group": "r"}, {"image": "b", "group": "q"}, {"image": "c", "group": "q"}]
    assert unlabeled_items(datalist) == partly
    assert unlabeled_items(datalist, labeled_too=True) == [partly[0], {"image": "a", "group": "p"}, *partly[1:]]
    assert [item["label"] for item in LABELED] == ["a_mask", "b_mask", "c_mask"]  # as they were


def test_no_image_comes_twice_but_slices_of_one_do():
    datalist = {"labeled": LABELED, "unlabeled": [{"image": "b", "group": "q"}]}
    assert [item["image"] for item in unlabeled_items(datalist, labeled_too=True)] == ["b", "a", "c"]
    stack = [{"image": "s", "label": "s_mask", "slice": i} for i in range(3)]
    items = unlabeled_items({"labeled": stack, "unlabeled": [{"image": "s", "slice": 3}]}, labeled_too=True)
    assert [item["slice"] for item in items] == [3, 0, 1, 2]
    channels = [{"image": ["a_0", "a_1"], "label": "a"}]
    assert unlabeled_items({"labeled": channels, "unlabeled": []}, labeled_too=True) == [{"image": ["a_0", "a_1"]}]
