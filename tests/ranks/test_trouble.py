"""A rank that raises, dies or hangs brings the others down within a minute, with its message; nothing hangs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rank_launch import output_of, start_ranks, wait_for

Fit = Callable[..., tuple[list[int], list[str], float]]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("trouble")


@pytest.fixture(scope="module")
def fit(place: Path, policy_folder: Path) -> Fit:
    """Runs `rank_fit.py` in a folder of this name; returns exit codes, output by rank, and seconds."""

    def run(name: str, *, world: int = 2, first: bool = False, **settings: Any) -> Any:
        folder = place / name
        folder.mkdir()
        (folder / "settings.json").write_text(json.dumps({"strategy": "ddp", **settings}))
        started = time.monotonic()
        processes = start_ranks("rank_fit.py", policy_folder, "settings.json", world=world, folder=folder)
        codes = wait_for(processes, folder, seconds=90, first=first)
        texts = [(folder / f"output-{rank}.txt").read_text() for rank in range(world)]
        return codes, texts, time.monotonic() - started

    return run


@pytest.fixture(scope="module")
def worlds(fit: Fit, place: Path) -> dict[int, list[dict[str, Any]]]:
    """What each rank of one, two and three had: two mini-batches of 16 rollouts an iteration, each in 6 bins."""
    results = {}
    for world in (1, 2, 3):
        codes, texts, _ = fit(
            f"world{world}", world=world, strategy="single" if world == 1 else "ddp", accumulate=6 // world,
            save=str(place / "border.ckpt") if world == 1 else None, report=True,
        )  # fmt: skip
        assert codes == [0] * world, texts
        results[world] = [torch.load(place / f"world{world}/result-{rank}.pt") for rank in range(world)]
    return results


def test_the_record_of_a_run_is_the_same_on_any_number_of_ranks(
    worlds: dict[int, list[dict[str, Any]]], place: Path
) -> None:
    """One file, of rank 0, with the totals of all; but for seconds, which are those of all processors."""
    files = {world: (place / f"world{world}/iterations.jsonl").read_text().splitlines() for world in worlds}
    rows = {world: [json.loads(line) for line in lines] for world, lines in files.items()}
    assert [("evaluation" in row, row["iteration"]) for row in rows[1]] == [
        (False, 0),
        (True, 1),
        (False, 1),
        (True, 2),
    ]
    for world, found in rows.items():
        plain = [{name: value for name, value in row.items() if "seconds" not in name} for row in found]
        assert plain == [{name: row[name] for name in kept} for row, kept in zip(rows[1], plain, strict=True)], world
        processors = [row["cpu_seconds"] for row in found]
        assert processors == sorted(processors)
        assert processors[0] > 0


def shown_in(page: str) -> list[dict[str, Any]]:
    """The groups of responses that a report shows."""
    text = page.split('<script type="application/json" id="data">')[1].split("</script>")[0]
    (run,) = json.loads(text)["runs"]
    found: list[dict[str, Any]] = run["responses"]
    return found


def test_the_report_of_a_run_has_what_all_ranks_wrote(worlds: dict[int, list[dict[str, Any]]], place: Path) -> None:
    pages = {world: shown_in((place / f"world{world}/report.html").read_text()) for world in worlds}
    for world, groups in pages.items():
        assert len(list((place / f"world{world}/rollouts").glob("iteration_000001*"))) == world
        assert groups == pages[1]
    assert {group["iteration"] for group in pages[1]} == {0, 1}


@pytest.mark.parametrize(("strategy", "rank", "where"), [("ddp", 1, "reward"), ("fsdp2", 0, "reward")])
def test_a_rank_that_raises_is_heard_by_the_other(fit: Fit, strategy: str, rank: int, where: str) -> None:
    """By the gather that the other is waiting in."""
    codes, texts, seconds = fit(
        f"raise-{rank}", strategy=strategy, trouble={"rank": rank, "where": where, "how": "raise"}
    )
    assert codes == [1, 1], texts
    assert f"ValueError: No luck in {where}." in texts[rank]
    told = f"RankError: Rank {rank} failed with RunError: Reward Trouble raised ValueError: No luck in {where}."
    assert told in texts[1 - rank], texts[1 - rank]
    assert seconds < 60
    # Nothing waits for a rank that may be in a collective operation.
    assert "Connected when the process ends: True." in texts[rank]


def test_ranks_part_before_the_interpreter_ends(worlds: dict[int, list[dict[str, Any]]], place: Path) -> None:
    """Threads of gloo that hold tensors would abort a process that has done its work."""
    assert output_of(place / "world2").count("Connected when the process ends: False.") == 2


def test_a_rank_that_can_not_begin_is_heard_by_the_other(fit: Fit) -> None:
    """Before anything watches over the ranks: a file or a server that is not there on one machine."""
    codes, texts, seconds = fit("raise-setup", trouble={"rank": 1, "where": "setup", "how": "raise", "iteration": 0})
    assert codes == [1, 1], texts
    assert "RankError: Rank 1 failed with SettingError: Expected prompts in 'train'" in texts[0], texts[0]
    assert "No luck in setup." in texts[0], texts[0]
    assert seconds < 60


def test_an_error_outside_of_a_gather_is_told_too(fit: Fit) -> None:
    codes, texts, seconds = fit("raise-validation", trouble={"rank": 1, "where": "validation", "how": "raise"})
    assert codes == [1, 1], texts
    assert "[rank 0] Rank 1 failed with ValueError: No luck in validation." in texts[0], texts[0]
    assert seconds < 60


def test_a_rank_that_dies_takes_the_other_with_it(fit: Fit) -> None:
    codes, texts, seconds = fit("die", trouble={"rank": 0, "where": "train", "how": "kill"})
    assert codes == [-9, 1]
    assert "by peer" in texts[1] or "Rank 0 does not answer" in texts[1], texts[1]
    assert seconds < 60


def test_a_rank_that_is_stopped_is_missed(fit: Fit, place: Path) -> None:
    """No connection closes, no error comes: only the missing sign of life tells."""
    trouble = {"rank": 1, "where": "reward", "how": "SIGSTOP"}
    # The stopped one itself can't end, and is killed by the test when the other has ended.
    codes, _, _ = fit("stop", trouble=trouble, first=True, watch={"lost_seconds": 6.0, "grace_seconds": 1.0})
    assert codes == [1, -9]
    text = output_of(place / "stop")
    assert "[rank 0] Rank 1 has given no sign of life for" in text
    assert "it was killed, or hangs. Ending this rank too." in text


def test_rounds_of_unlike_length_are_no_trouble(fit: Fit) -> None:
    """Longer than the watch's limit; of 5 prompts one rank has 3 and the other 2, and rounds are many."""
    codes, texts, _ = fit(
        "rounds", watch={"lost_seconds": 2.0, "beat_seconds": 0.2}, epochs=1,
        rounds={"max_rounds": 20, "round_prompts": 5},
        trouble={"rank": 1, "where": "reward", "how": "sleep", "iteration": 0},
    )  # fmt: skip
    assert codes == [0, 0], texts


def test_selection_and_training_do_not_depend_on_the_number_of_ranks(worlds: dict[int, list[dict[str, Any]]]) -> None:
    one = worlds[1][0]
    for world, ranks in worlds.items():
        for result in ranks:
            assert result["chosen"] == one["chosen"]
            assert len(result["batches"]) == 2 * 2 * 6 // world
            for name, tensor in one["weights"].items():
                torch.testing.assert_close(result["weights"][name], tensor, atol=1e-5, rtol=0)
        # The first mini-batch's bins, of all ranks.
        bins = [batch["token_ids"] for result in ranks for batch in result["batches"][: 6 // world]]
        assert len(bins) == 6
        # Padding included, no bin is ahead of another by more than one of the longest.
        sizes = [ids.numel() for ids in bins]
        assert max(sizes) - min(sizes) <= max(ids.shape[1] for ids in bins)


def test_rows_and_a_loaded_model_train_alike_on_all_ranks(
    fit: Fit, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LSPO_HOME", str(place / "home"))
    for world in (1, 2):
        strategy = "single" if world == 1 else "ddp"
        codes, texts, _ = fit(f"given{world}", world=world, strategy=strategy, accumulate=6 // world, given=True)
        assert codes == [0] * world, texts
    # One model, under one name in every process.
    assert len(list((place / "home").iterdir())) == 1
    one, *ranks = (
        torch.load(place / name) for name in ("given1/result-0.pt", "given2/result-0.pt", "given2/result-1.pt")
    )
    for result in ranks:
        assert result["chosen"] == one["chosen"]
        for name, tensor in one["weights"].items():
            torch.testing.assert_close(result["weights"][name], tensor, atol=1e-5, rtol=0)


def test_surplus_downsampling_and_kl_do_not_depend_on_the_number_of_ranks(fit: Fit, place: Path) -> None:
    """Surplus of one iteration is trained on in the next, with stored log-probs; two of four responses are kept."""
    results = {}
    for world in (1, 2):
        codes, texts, _ = fit(
            f"extras{world}", world=world, strategy="single" if world == 1 else "ddp", accumulate=4 // world, epochs=3,
            rounds={"round_prompts": 16, "max_age": 1}, keep=2, objective={"kl_coef": 0.1},
        )  # fmt: skip
        assert codes == [0] * world, texts
        results[world] = [torch.load(place / f"extras{world}/result-{rank}.pt") for rank in range(world)]
    one = results[1][0]
    assert one["carried"][0] == 0
    assert min(one["carried"][1:]) > 0
    for result in results[2]:
        assert result["chosen"] == one["chosen"]
        assert result["carried"] == one["carried"]
        for name, tensor in one["weights"].items():
            torch.testing.assert_close(result["weights"][name], tensor, atol=1e-5, rtol=0)
    for iteration in range(3):
        # What both ranks have trained on together: of 8 groups 2 responses, each with log-probs of the reference.
        for result, count in ((results[1][:1], 8), (results[2], 4)):
            batches = [b for rank in result for b in rank["batches"][iteration * count : (iteration + 1) * count]]
            assert sum(len(batch["advantages"]) for batch in batches) == 16
            assert all(batch["ref_logprobs"] is not None for batch in batches)


def test_a_run_goes_on_with_another_number_of_ranks(
    fit: Fit, place: Path, worlds: dict[int, list[dict[str, Any]]]
) -> None:
    """At an iteration's border."""
    codes, texts, _ = fit("second", world=3, accumulate=2, resume=str(place / "border.ckpt"))
    assert codes == [0, 0, 0], texts
    second, whole = torch.load(place / "second/result-0.pt"), worlds[1][0]
    assert second["chosen"] == whole["chosen"][1:]
    for name, tensor in whole["weights"].items():
        torch.testing.assert_close(second["weights"][name], tensor, atol=1e-5, rtol=0)


SURPLUS: dict[str, Any] = {"epochs": 3, "rounds": {"round_prompts": 20, "max_age": 2}}


@pytest.fixture(scope="module")
def surplus_of_two(fit: Fit, place: Path) -> dict[str, Any]:
    """What rank 0 of two had, each of which held a part of the surplus; a checkpoint is behind the first iteration."""
    codes, texts, _ = fit("surplus2", accumulate=3, save=str(place / "surplus.ckpt"), **SURPLUS)
    assert codes == [0, 0], texts
    return torch.load(place / "surplus2/result-0.pt")


@pytest.mark.parametrize("world", [1, 3])
def test_surplus_goes_on_with_another_number_of_ranks(
    fit: Fit, place: Path, surplus_of_two: dict[str, Any], world: int
) -> None:
    """The checkpoint, written by one rank, has all of it."""
    assert min(surplus_of_two["carried"][1:]) > 0
    strategy = "single" if world == 1 else "ddp"
    codes, texts, _ = fit(
        f"surplus-on-{world}", world=world, strategy=strategy, accumulate=6 // world,
        resume=str(place / "surplus.ckpt"), **SURPLUS,
    )  # fmt: skip
    assert codes == [0] * world, texts
    for rank in range(world):
        result = torch.load(place / f"surplus-on-{world}/result-{rank}.pt")
        assert result["chosen"] == surplus_of_two["chosen"][1:]
        assert result["carried"] == surplus_of_two["carried"][1:]
        for name, tensor in surplus_of_two["weights"].items():
            torch.testing.assert_close(result["weights"][name], tensor, atol=1e-5, rtol=0)


@pytest.mark.parametrize("strategy", ["fsdp", "fsdp2"])
def test_a_file_goes_on_under_another_strategy(
    fit: Fit, place: Path, worlds: dict[int, list[dict[str, Any]]], strategy: str
) -> None:
    """That of one process, on two which hold a half of the weights each."""
    name = f"other-{strategy}"
    codes, texts, _ = fit(name, strategy=strategy, accumulate=3, resume=str(place / "border.ckpt"))
    assert codes == [0, 0], texts
    other, whole = torch.load(place / name / "result-0.pt"), worlds[1][0]
    assert other["chosen"] == whole["chosen"][1:]
    for key, tensor in whole["weights"].items():
        torch.testing.assert_close(other["weights"][key], tensor, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("strategy", "where", "how", "rank"),
    [
        ("ddp", "reward", "SIGTERM", 1),
        ("fsdp2", "train", "SIGINT", 0),
        # A whole state, the default of `fsdp`.
        ("fsdp_full", "reward", "SIGTERM", 0),
        pytest.param("fsdp", "reward", "SIGINT", 1, marks=pytest.mark.slow),
    ],
)
def test_a_signal_to_one_rank_stops_all_where_they_go_on(
    fit: Fit, place: Path, worlds: dict[int, list[dict[str, Any]]], strategy: str, where: str, how: str, rank: int
) -> None:
    trouble = {"rank": rank, "where": where, "how": how, "iteration": 0 if where == "train" else 1}
    codes, texts, _ = fit(f"stopped-{strategy}", strategy=strategy, accumulate=3, trouble=trouble)
    assert len(set(codes)) == 1, texts
    assert sum("Go on with the same command and --ckpt_path" in text for text in texts) == 1, texts
    saved = place / f"stopped-{strategy}/stopped.ckpt"
    assert saved.exists(), texts
    codes, texts, _ = fit(f"resumed-{strategy}", strategy=strategy, accumulate=3, resume=str(saved))
    assert codes == [0, 0], texts
    for one in range(2):
        resumed = torch.load(place / f"resumed-{strategy}/result-{one}.pt")
        assert resumed["chosen"] == worlds[2][one]["chosen"][1:]
        for name, tensor in worlds[2][one]["weights"].items():
            # Cut weights are summed in another order; on the same strategy it is bit for bit.
            tolerance = 0.0 if strategy == "ddp" else 1e-5
            torch.testing.assert_close(resumed["weights"][name], tensor, atol=tolerance, rtol=0)


def test_time_that_is_over_stops_at_a_place_to_go_on_from(fit: Fit, place: Path) -> None:
    codes, texts, _ = fit("time", epochs=1000, max_time="00:00:00:03")
    assert len(set(codes)) == 1
    assert (place / "time/stopped.ckpt").is_file()
    assert sum("Go on with the same command and more --trainer.max_time and --ckpt_path" in text for text in texts) == 1
