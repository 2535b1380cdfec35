"""BirdCLEF: primary and secondary labels, classes of the sample submission, ratings, the folders of each year."""

from __future__ import annotations

from raytag.datasets import load


def test_it_is_read(make_folder, birdclef):
    table = load(make_folder(birdclef), n_folds=2)
    assert table.layout == "BirdCLEF"
    assert table.classes == ("comsan", "barswa", "afrsil1")
    assert table.clips["labels"].tolist() == ["afrsil1", "barswa,afrsil1", "barswa,afrsil1", "comsan"]
    assert table.clips["clip"][0] == "train_audio/afrsil1/XC1.wav"
    found = {finding.code: finding.text for finding in table.findings}
    assert found["labels-outside"].startswith("1 secondary label is no class (zzz of afrsil1/XC2.wav)")
    assert found["ratings"].startswith("1 recording is rated below 2.5 of 5 (afrsil1/XC2.wav 1.5)")


def test_the_folders_of_2021_are_found_and_a_submission_without_species_says_nothing(make_folder, birdclef):
    table = birdclef["train_metadata.csv"]
    for label in ("afrsil1", "barswa", "comsan"):
        table = table.replace(f",{label}/", ",")
    old = {name.replace("train_audio", "train_short_audio"): content for name, content in birdclef.items()}
    old |= {"train_metadata.csv": table, "sample_submission.csv": "row_id,birds\n1_5,nocall\n"}
    found = load(make_folder(old), n_folds=2)
    assert found.clips["clip"][2] == "train_short_audio/barswa/XC3.wav"
    assert found.clips["duration"].notna().all()
    assert found.classes == ("afrsil1", "barswa", "comsan")
