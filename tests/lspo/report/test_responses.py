import json

import pytest

from lspo.report.responses import sample, spread, why
from lspo.runs import read_run


@pytest.fixture
def write(tmp_path):
    def write(files):
        (tmp_path / "rollouts").mkdir()
        (tmp_path / "iterations.jsonl").write_text('{"iteration": 0}\n')
        for number, groups in files.items():
            rows = [
                {"iteration": number, "version": number, "draw_index": place, "prompt_id": f"p{place}", "prompt": "?",
                 "response": text, "answer": "1", "accuracy": 1.0, "reward": 1.0, "reward_parts": '{"right": 1.0}',
                 "num_tokens": 3, "group_accuracy": 0.5, "group_length": 9.6, "reason": reason,
                 "trained_on": reason == "kept"}
                for place, (reason, text) in enumerate(groups) for _ in range(2)
            ]  # fmt: skip
            path = tmp_path / "rollouts" / f"iteration_{number:06d}.jsonl"
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return read_run(tmp_path)

    return write


def test_every_reason_of_every_iteration_has_its_share(write):
    groups = [("kept", "a")] * 20 + [("all_right", "b")] * 20 + [("all_wrong", "c")]
    found = sample(write({0: groups, 5: groups}), groups=12)
    assert len(found.groups) == 12
    kinds = {(group["iteration"], group["reason"]) for group in found.groups}
    assert kinds == {(number, reason) for number in (0, 5) for reason in ("trained", "all_right", "all_wrong")}
    assert found.left_out() == "Shown: 12 of 82 groups in the files of 2 iterations; each reason has its share."


def test_at_most_so_many_bytes(write):
    found = sample(write({0: [("kept", "x" * 900)] * 30}), groups=30, size=10_000)
    assert 3 <= len(found.groups) <= 5
    assert len(json.dumps(found.groups)) <= 10_000


def test_a_long_text_is_cut_in_the_middle_and_counted(write):
    found = sample(write({0: [("kept", "a" * 10_000 + "end")]}))
    text = found.groups[0]["responses"][0]["text"]
    assert text.endswith("end")
    assert "[… 4,003 characters …]" in text
    assert "2 long texts are cut" in found.left_out()


def test_many_iterations_are_read_in_part(write):
    found = sample(write({number: [("kept", "a")] for number in range(100)}))
    assert found.files_read == 40
    assert (found.groups[0]["iteration"], found.groups[-1]["iteration"]) == (0, 99)
    assert "40 files, evenly spread over the 100 iterations" in found.left_out()


def test_a_group_that_passed_but_was_not_needed_is_surplus(write):
    run = write({0: [("kept", "a")]})
    path = run.folder / "rollouts" / "iteration_000000.jsonl"
    path.write_text(path.read_text().replace('"trained_on": true', '"trained_on": false'))
    assert sample(run).groups[0]["reason"] == "surplus"


def test_why_names_the_bound_that_decided():
    bounds = {"length_low": 7.375, "length_high": 11.125, "length_max": 15.25}
    row = {"group_length": 9.625}
    assert why(row, "length_middle", bounds) == (
        "Dropped: its mean length, 9.6 tokens, is between 7.4 and 11.1, the bounds of the short and the long."
    )
    assert why({"group_length": 7.0}, "trained", bounds).endswith("is at most 7.4, the bound of the short.")
    assert why({"group_length": 12.0}, "trained", bounds).endswith("is at least 11.1, the bound of the long.")
    assert why(row, "trained", {}) == "Trained on: it passed every filter."
    assert why(row, "my_filter", bounds) == "Dropped: my filter."


def test_spread_has_both_ends():
    assert spread(list(range(10)), 4) == [0, 3, 6, 9]
    assert spread([1, 2], 1) == [1]
    assert spread([], 3) == []
