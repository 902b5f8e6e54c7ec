"""Pictures in the lane: positions go on behind them as they should, none is halved, and what is lost is seen again."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import pytest

from segue.core import places as layout
from segue.core.generation import Decoding
from segue.core.media import View
from segue.engine.llama import frames
from segue.engine.llama.places import Places, Shot, laid_out
from segue.engine.llama.strand import Strand, strands_of
from tests.engine.lanes import LETTERS, Bench, check, lane, message, opened
from tests.engine.toy import toy_answer, toy_strand
from tests.pictures import image, video

PATCH = 28
HOW = Decoding(temperature=0.9, top_p=1.0, top_k=0, seed=3)
POOL = [image(1, 56, 84), image(2, 84, 28), image(3, 140, 140), video(4, 3), video(5, 6, 28, 56), image(6, 28, 28)]


def seen(parts: Sequence[int | View], encoded: bool = True) -> tuple[list[int], Places]:
    """The ids, and where pictures are among them; a row of the toy's is the id that stands there."""
    ids: list[int] = []
    made = []
    for part in parts:
        if isinstance(part, int):
            ids.append(part)
            continue
        grid = layout.grid(part, PATCH)
        named = layout.ids(part, PATCH)
        size = grid[1] * grid[2]
        shots = []
        for at in range(grid[0]):
            rows = np.asarray(named[at * size : (at + 1) * size], np.float64)[:, None]
            shots.append(Shot(b"", 0, 0, (), rows if encoded else None))  # type: ignore[arg-type]
        made.append(laid_out(len(ids), grid, part.seconds, "timed", shots))
        ids += named
    return ids, Places(tuple(made))


def shown(number: int, parts: Sequence[int | View], tokens: int, how: Decoding, encoded: bool = True) -> Strand:
    """A strand of tokens and pictures."""
    ids, places = seen(parts, encoded)
    return toy_strand(number, ids, tokens, how, places=places)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("cells", [180, 500])
def test_together_is_as_alone(seed: int, cells: int) -> None:
    rng = random.Random(seed)
    head: list[int | View] = [1, 2, 3, POOL[0], 4, 5]
    made = []
    for number in range(12):
        parts = head[: rng.randrange(len(head) + 1)]
        for _ in range(rng.randrange(4)):
            parts = [*parts, *(rng.randrange(300) for _ in range(rng.randrange(8))), rng.choice(POOL)]
        parts = [*parts, *(rng.randrange(300) for _ in range(rng.randrange(1, 12)))]
        how = Decoding(temperature=rng.choice([0.0, 0.8]), seed=rng.randrange(100))
        made.append(shown(number, parts, rng.randrange(1, 30), how))
    wanted = {strand.number: toy_answer(strand) for strand in made}
    bench = Bench(cells=cells)
    for strand in made:
        bench.lane.add(strand)
        for token in bench.lane.step() if rng.random() < 0.5 else ():
            bench.hear(token, 0)
    bench.run()
    assert not bench.failed
    assert {number: bench.said.get(number, []) for number in wanted} == wanted


def test_the_second_question_pays_for_itself() -> None:
    bench = Bench(cells=400)
    how = Decoding(temperature=0.0)
    for number, question in enumerate(([7, 8, 9], [7, 11, 12])):
        bench.lane.add(shown(number, [1, 2, POOL[2], 3, *question], 4, how))
        bench.run()
    assert bench.cached == {0: 0, 1: 2 + 25 + 2}


def test_a_picture_that_was_read_in_part_is_read_again() -> None:
    bench = Bench(cells=400, rows=16)
    how = Decoding(temperature=0.0)
    first = shown(0, [1, 2, POOL[2], 3], 4, how)
    bench.lane.add(first)
    bench.lane.step()
    assert 2 < first.held < 2 + 25
    first.cancelled = True
    bench.lane.drop_cancelled()
    second = shown(1, [1, 2, POOL[2], 3], 4, how)
    wanted = toy_answer(second)
    bench.lane.add(second)
    bench.run()
    assert (bench.cached[1], bench.said[1]) == (2, wanted)


def test_what_was_not_encoded_is_needed_only_where_it_is_not_remembered() -> None:
    bench = Bench(cells=200)
    blind: list[Strand] = []
    bench.lane._blind = blind.append
    how = Decoding(temperature=0.0)
    parts: list[int | View] = [1, 2, POOL[2], 3, 4]
    bench.lane.add(shown(0, parts, 4, how))
    bench.run()
    remembered = shown(1, [*parts, 5], 4, how, encoded=False)
    bench.lane.add(remembered)
    bench.run()
    assert not blind
    assert bench.cached[1] == 2 + 25 + 2
    lost = shown(2, [9, *parts], 4, how, encoded=False)
    bench.lane.add(lost)
    bench.run()
    assert blind == [lost]
    assert lost.sequence is None
    again = shown(2, [9, *parts], 4, how)
    lost.places = again.places
    wanted = toy_answer(lost)
    bench.lane.add(lost)
    bench.run()
    assert bench.said[2] == wanted


@pytest.mark.parametrize("seed", range(8))
def test_prefixes_behind_pictures_are_searched_over_their_cells(seed: int) -> None:
    """Each joins as its law says, whatever the others' pictures are, and whoever begins alike shares the beginning."""
    rng = random.Random(seed)
    bench, sent = lane(cells=500), []
    for number in range(5):
        plain = message(rng, number)
        text = frames.unpack_ids(plain.ids)
        behind = plain.answer_at - rng.randrange(plain.answer_at)
        ids, places = seen([5, POOL[rng.randrange(2)], 6, rng.choice(POOL), *text[plain.answer_at - behind :]])
        asked = opened(ids, len(ids) - len(text) + plain.answer_at, HOW, 6, [choice.strand for choice in plain.choices])
        sent.append(asked)
        for strand in strands_of(asked, LETTERS, None, places):  # type: ignore[arg-type]
            bench.lane.add(strand)
    bench.run()
    for asked in sent:
        check(bench, asked)
    assert bench.context.probes


def test_positions() -> None:
    """As the model's own code lays them out: a picture begins one behind the text before it in all dimensions, and the
    text behind it one after the largest of it."""
    places = shown(0, [1, 2, image(1, 84, 56), 3, video(2, 4, 28, 56), 4], 1, Decoding()).places
    rows = [(None if (row := places.seen(at)) is None else row[1].tolist()) for at in range(2 + 6 + 1 + 4 + 1)]
    assert rows[2:8] == [[2, 2 + y, 2 + x, 0] for y in range(2) for x in range(3)]
    assert [places.position(at) for at in (0, 1, 2, 7, 8)] == [0, 1, 2, 2, 5]
    # Two frames each second: the second pair begins two half seconds behind the first.
    assert rows[9:13] == [[6 + t, 6 + y, 6, 0] for t in (0, 2) for y in range(2)]
    assert rows[8] is None
    assert places.position(13) == 6 + 3
    assert [places.whole(at) for at in (0, 2, 3, 7, 8, 9, 10, 13)] == [0, 2, 2, 2, 8, 9, 9, 13]


def test_frames_of_a_quick_video_never_share_a_position() -> None:
    place = laid_out(0, (5, 1, 1), 0.05, "timed", [])
    assert place.positions[:, 0].tolist() == [0, 1, 2, 3, 4]
    assert laid_out(0, (3, 1, 1), 3.0, "counted", []).positions[:, 0].tolist() == [0, 1, 2]


def test_ids_say_all_that_is_seen() -> None:
    one = image(1)
    assert layout.ids(one, PATCH) == layout.ids(image(1), PATCH)
    assert all(-(2**31) <= each < 0 for each in layout.ids(one, PATCH))
    others = [image(2), image(1, 84, 56), View("video", one.pictures * 2, 0.5), View("video", one.pictures * 2, 1.0)]
    made = [tuple(layout.ids(view, PATCH)) for view in (one, *others)]
    assert len(set(made)) == len(made)
    with pytest.raises(ValueError, match="places"):
        layout.runs([1, *made[0], 2], [one, one], PATCH)
    with pytest.raises(ValueError, match="no picture"):
        layout.runs([1, *made[0], 2, *made[0]], [one], PATCH)
    assert layout.runs([1, *made[0], *made[0], 2], [one, one], PATCH) == [1, 1 + len(made[0])]
