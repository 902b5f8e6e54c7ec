"""Snapshots are found by their tokens, in their workspace only, whole or not at all; and a lane reads less for them."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

from segue.core.generation import Decoding
from segue.engine.llama import frames
from segue.engine.llama.lane import SNAPSHOT_TOKENS_MIN
from segue.engine.llama.snapshots import Snapshots, purge
from tests.engine.lanes import Bench, opened, replaced

DATA = bytes(range(256)) * 40


def ids(*numbers: int) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    return np.asarray(numbers, np.int32)


def written(folder: Path, workspace: str, tokens: list[int], data: bytes = DATA, owner: str = "m") -> None:
    kept = Snapshots(folder, owner, 10**6)
    kept.keep(workspace, ids(*tokens), memoryview(data))
    kept.close()


def test_found_after_a_restart_by_the_longest_common_head(tmp_path: Path) -> None:
    written(tmp_path, "w", [1, 2, 3, 4])
    written(tmp_path, "w", [1, 2, 9, 9, 9, 9])
    again = Snapshots(tmp_path, "m", 10**6)
    for prompt, length in (((1, 2, 3, 4, 5), 4), ((1, 2, 9, 7), 3), ((1, 2, 3), 3), ((2, 1), 0)):
        found, common = again.best("w", ids(*prompt))
        assert common == length
        assert (found is None) == (length == 0)
        if found is not None:
            assert bytes(again.load(found) or b"") == DATA


@pytest.mark.parametrize(("workspace", "owner"), [("v", "m"), ("w", "n"), ("w\0", "m"), ("", "m\0w")])
def test_nobody_else_s(tmp_path: Path, workspace: str, owner: str) -> None:
    written(tmp_path, "w", [1, 2, 3])
    assert Snapshots(tmp_path, owner, 10**6).best(workspace, ids(1, 2, 3)) == (None, 0)


@pytest.mark.parametrize("cut", [0, 5, 27, 28, 34, 1000])
def test_half_a_file_is_none(tmp_path: Path, cut: int) -> None:
    written(tmp_path, "w", [1, 2, 3])
    (file,) = tmp_path.iterdir()
    os.truncate(file, cut)
    assert Snapshots(tmp_path, "m", 10**6).best("w", ids(1, 2, 3)) == (None, 0)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("at", [29, 44, 5000])
def test_a_damaged_file_is_not_loaded(tmp_path: Path, at: int) -> None:
    written(tmp_path, "w", [1, 2, 3])
    (file,) = tmp_path.iterdir()
    data = bytearray(file.read_bytes())
    data[at] ^= 1
    file.write_bytes(data)
    again = Snapshots(tmp_path, "m", 10**6)
    found, _ = again.best("w", ids(*again._kept[0].ids.tolist()))
    assert found is not None
    assert again.load(found) is None
    assert again._kept == []
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_gone_is_forgotten(tmp_path: Path) -> None:
    written(tmp_path, "w", [1, 2, 3])
    again = Snapshots(tmp_path, "m", 10**6)
    found, _ = again.best("w", ids(1, 2))
    assert found is not None
    found.path.unlink()
    assert again.load(found) is None
    assert again.best("w", ids(1, 2)) == (None, 0)


def test_what_somebody_was_writing_when_they_died(tmp_path: Path) -> None:
    for name, age in (("old", 700), ("new", 10)):
        path = tmp_path / f"{name}.unfinished"
        path.write_bytes(b"x")
        os.utime(path, (time.time() - age, time.time() - age))
    Snapshots(tmp_path, "m", 10**6)
    assert [path.name for path in tmp_path.iterdir()] == ["new.unfinished"]


def test_room_is_made_by_the_least_recently_used(tmp_path: Path) -> None:
    kept = Snapshots(tmp_path, "m", 3 * (len(DATA) + 100))
    for number in range(4):
        kept.keep("w", ids(number, 5), memoryview(DATA))
        while kept.busy:
            pass
        if number == 2:
            found, _ = kept.best("w", ids(0))
            assert found is not None
            assert kept.load(found) is not None
    assert [kept.best("w", ids(number))[1] for number in range(4)] == [1, 0, 1, 1]
    assert len(list(tmp_path.iterdir())) == 3
    kept.keep("w", ids(9), memoryview(bytes(10**6)))
    assert not kept.busy
    assert kept.best("w", ids(9)) == (None, 0)


def test_what_a_longer_one_has_is_not_kept_twice(tmp_path: Path) -> None:
    kept = Snapshots(tmp_path, "m", 10**6)
    for tokens in ([1, 2], [1, 2, 3], [1, 2, 3]):
        kept.keep("w", ids(*tokens), memoryview(DATA))
        while kept.busy:
            pass
    assert len(list(tmp_path.iterdir())) == 1
    found, length = kept.best("w", ids(1, 2, 3, 4))
    assert length == 3
    assert found is not None
    assert bytes(kept.load(found) or b"") == DATA


ONE, OTHER = frozenset({"a1" * 16}), frozenset({"b2" * 16})


def keep(kept: Snapshots, tokens: list[int], documents: frozenset[str], wait: bool = True) -> None:
    kept.keep("w", ids(*tokens), memoryview(DATA), documents)
    while wait and kept.busy:
        pass


def test_what_has_something_of_a_document_goes_with_it(tmp_path: Path) -> None:
    kept = Snapshots(tmp_path, "m", 10**6)
    for number, documents in enumerate((ONE, OTHER, ONE | OTHER, frozenset[str]())):
        keep(kept, [number, 9], documents)
    kept.forget(ONE)
    assert [kept.best("w", ids(number))[1] for number in range(4)] == [0, 1, 0, 1]
    assert len(list(tmp_path.iterdir())) == 2
    again = Snapshots(tmp_path, "m", 10**6)
    again.forget(OTHER)
    found, length = again.best("w", ids(3, 9))
    assert length == 2
    assert found is not None
    assert bytes(again.load(found) or b"") == DATA
    assert len(list(tmp_path.iterdir())) == 1


def test_also_while_it_is_being_written(tmp_path: Path) -> None:
    kept = Snapshots(tmp_path, "m", 10**6)
    keep(kept, [1], ONE, wait=False)
    kept.forget(ONE)
    kept.close()
    assert kept.best("w", ids(1)) == (None, 0)
    assert not list(tmp_path.iterdir())
    again = Snapshots(tmp_path, "m", 10**6)
    keep(again, [1], ONE)
    assert again.best("w", ids(1))[1] == 1, "it was uploaded anew"


def test_a_longer_one_takes_the_place_only_of_what_goes_with_it(tmp_path: Path) -> None:
    kept = Snapshots(tmp_path, "m", 10**6)
    keep(kept, [1, 2], ONE)
    keep(kept, [1, 2, 3], frozenset())
    keep(kept, [1, 2, 3, 4], ONE)
    kept.forget(ONE)
    assert kept.best("w", ids(1, 2, 3, 4))[1] == 0, "the longest one had all the others had"
    keep(kept, [1, 2], ONE)
    keep(kept, [1, 2, 3], frozenset())
    kept.forget(ONE)
    assert kept.best("w", ids(1, 2, 3))[1] == 3


def test_a_folder_is_purged_without_an_engine(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for owner, documents in (("m", ONE), ("n", ONE | OTHER), ("n", OTHER)):
        kept = Snapshots(tmp_path, owner, 10**6)
        keep(kept, [len(documents), 7], documents)
        kept.close()
    (tmp_path / "x.unfinished").write_bytes(b"another's")
    purge(tmp_path, ONE)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".cells", ".unfinished"]
    assert Snapshots(tmp_path, "n", 10**6)._kept[0].documents == OTHER
    purge(tmp_path / "nowhere", ONE)
    purge(tmp_path / "x.unfinished", ONE)
    assert capfd.readouterr().err == ""


def test_a_folder_that_cannot_be_written_keeps_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    kept = Snapshots(blocked, "m", 10**6)
    kept.keep("w", ids(1), memoryview(DATA))
    kept.close()
    assert kept.best("w", ids(1)) == (None, 0)
    assert "snapshots" in capfd.readouterr().err


class Packed:
    """The toy context's tokens as bytes, as the library's cells are."""

    def __init__(self, bench: Bench) -> None:
        context = bench.context
        load = context.load

        def save_head(sequence: int, count: int) -> memoryview:
            return memoryview(np.asarray([token for token, _ in context.save(sequence)[:count]], np.int32).tobytes())

        setattr(context, "save_head", save_head)  # noqa: B010 - the real one has it
        context.load = lambda sequence, saved: load(  # type: ignore[method-assign]
            sequence,
            [(token, at) for at, token in enumerate(np.frombuffer(saved, np.int32).tolist())]
            if isinstance(saved, bytearray)
            else saved,
        )


def asked(prompt: list[int], workspace: str = "w", lasting: bool = True) -> frames.Open:
    sent = opened(prompt, len(prompt), Decoding(temperature=0.0), 5, seam=None, workspace=workspace)
    return replaced(sent, lasting=lasting)


def run(folder: Path, sent: frames.Open, solitary: bool = False) -> tuple[int, list[int]]:
    """In a process of its own, so to say: how much was found, and the answer."""
    bench = Bench(cells=1600, rows=32, solitary=solitary, slots=1 if solitary else 4)
    Packed(bench)
    kept = bench.lane._snapshots = Snapshots(folder, "m", 10**6)
    bench.add(sent)
    bench.run()
    kept.close()
    return bench.cached[0], bench.said[0]


DOCUMENT = [number % 97 + 3 for number in range(700)]


def test_a_lane_goes_on_from_a_snapshot(tmp_path: Path) -> None:
    first, second = [*DOCUMENT, 5, 6], [*DOCUMENT, 8, 9, 10]
    alone = run(tmp_path / "none", asked(second))
    assert run(tmp_path, asked(first))[0] == 0
    assert run(tmp_path, asked(second)) == (len(DOCUMENT), alone[1])
    assert len(list(tmp_path.glob("*.cells"))) == 1, "little of the second is new"
    assert run(tmp_path, asked(first))[0] >= len(DOCUMENT)


def test_only_what_is_to_last_and_is_long_and_is_one_s_own(tmp_path: Path) -> None:
    run(tmp_path, asked(DOCUMENT, lasting=False))
    run(tmp_path, asked(DOCUMENT[: SNAPSHOT_TOKENS_MIN - 1]))
    run(tmp_path, asked(DOCUMENT), solitary=True)
    assert not list(tmp_path.iterdir())
    run(tmp_path, asked(DOCUMENT))
    assert run(tmp_path, asked([*DOCUMENT, 4], "v"))[0] == 0
    assert run(tmp_path, asked([*DOCUMENT, 4], lasting=False))[0] == 0


def test_no_room_for_it(tmp_path: Path) -> None:
    run(tmp_path, asked([*DOCUMENT, *DOCUMENT]))
    bench = Bench(cells=1500)
    Packed(bench)
    bench.lane._snapshots = Snapshots(tmp_path, "m", 10**6)
    for number in range(3):
        other = opened([number + 5] * 100, 100, Decoding(temperature=0.0), 50, [number + 7], seam=None)
        bench.add(other)
    bench.add(asked([*DOCUMENT, 4]))
    bench.run()
    assert not bench.failed
    assert bench.said[0] == run(tmp_path / "none", asked([*DOCUMENT, 4]))[1]


def about(prompt: list[int], documents: frozenset[str] = ONE, number: int = 0, tokens: int = 5) -> frames.Open:
    sent = opened(prompt, len(prompt), Decoding(temperature=0.0), tokens, [number], seam=None)
    return replaced(sent, lasting=True, documents=sorted(documents))


def test_a_lane_forgets_a_document(tmp_path: Path) -> None:
    bench = Bench(cells=4000)
    Packed(bench)
    kept = bench.lane._snapshots = Snapshots(tmp_path, "m", 10**6)

    def asked(end: int, documents: frozenset[str] = ONE, number: int = 0, plain: int = 0) -> int:
        bench.add(about([plain, *DOCUMENT, end], documents, number))
        bench.run()
        return bench.cached[number]

    def forget() -> None:
        bench.lane.forget(ONE)
        kept.forget(ONE)

    assert [asked(5), asked(6, number=1), asked(5, OTHER, 2, plain=1)] == [0, len(DOCUMENT) + 1, 0]
    forget()
    assert all(sequence.documents == OTHER for sequence in bench.memory.sequences)
    assert len(list(tmp_path.glob("*.cells"))) <= 1
    assert asked(7, number=3) == 0
    assert asked(6, OTHER, number=4, plain=1) == len(DOCUMENT) + 1
    forget()
    # What runs is answered, and nothing of it stays.
    bench.add(about([0, *DOCUMENT, 8], number=5, tokens=20))
    while 5 not in bench.said:
        for token in bench.lane.step():
            bench.hear(token, 0)
    forget()
    bench.run()
    assert len(bench.said[5]) == 20 or bench.finish[5] == "stop"
    assert asked(9, number=6) == 0
    kept.close()


def test_who_remembers_for_another_goes_with_its_documents(tmp_path: Path) -> None:
    bench = Bench(cells=4000)
    bench.add(about(DOCUMENT, OTHER))
    bench.run()
    bench.add(about(DOCUMENT, ONE, number=1))
    bench.run()
    bench.lane.forget(ONE)
    bench.add(about([*DOCUMENT, 4], OTHER, number=2))
    bench.run()
    assert bench.cached[2] == 0
