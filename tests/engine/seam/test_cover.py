"""What is found is the model's own distribution, given the bytes; what is not, is inside the bound."""

from __future__ import annotations

import math
import random
from collections import Counter

import numpy as np
import pytest

from segue.engine.seam.cover import Budget, Cover, Node, Search, log_sum
from segue.engine.seam.lexicon import Lexicon
from tests.engine.seam.toy import VOCABULARIES, Element, Toy, shares

ALL = Budget(eps=0.0, nodes=10**6)


def exact(toy: Toy, tail: bytes) -> dict[Element, float]:
    """The share of each element of the whole cover."""
    weights = {element: weight for element, weight, _ in toy.elements(tail)}
    total = sum(weights.values())
    return {element: weight / total for element, weight in weights.items()}


def divergence(true: dict[Element, float], ours: dict[Element, float]) -> float:
    """KL(true || ours)."""
    return sum(p * math.log(p / ours[element]) for element, p in true.items())


def distance(true: dict[Element, float], ours: dict[Element, float]) -> float:
    """Total variation."""
    return sum(abs(true.get(each, 0.0) - ours.get(each, 0.0)) for each in true.keys() | ours.keys()) / 2


@pytest.mark.parametrize("pieces", VOCABULARIES)
def test_read_to_the_end_it_is_exact(pieces: tuple[bytes, ...]) -> None:
    rng, worst, found = random.Random(1), 0.0, 0
    for salt in range(40):
        toy = Toy(pieces, salt, rng.choice([0.5, 2.0, 5.0]))
        tail = toy.text(rng, rng.randrange(1, 7))
        true = exact(toy, tail) if toy.begins(tail) else {}
        cover = toy.read(Search(toy.lexicon, tail, ALL), abreast=1 + salt % 4)
        ours = shares(cover)
        assert ours.keys() == true.keys()
        assert cover.bound == (0.0 if true else 1.0)
        if true:
            found += 1
            worst = max(worst, abs(divergence(true, ours)))
            assert math.exp(cover.total) == pytest.approx(toy.begins(tail), rel=1e-9)
    assert found > 10
    assert worst < 1e-6, worst


@pytest.mark.parametrize("pieces", VOCABULARIES)
def test_the_bytes_that_follow_are_those_of_the_model(pieces: tuple[bytes, ...]) -> None:
    """P(text begins with P + y) / P(text begins with P), for every y of two bytes, by another road."""
    rng, checked = random.Random(2), 0
    for salt in range(12):
        toy = Toy(pieces, 1000 + salt)
        tail = toy.text(rng, rng.randrange(1, 5))
        whole = toy.begins(tail)
        if not whole:
            continue
        cover = toy.read(Search(toy.lexicon, tail, ALL))
        ours = dict.fromkeys([bytes((x, y)) for x in toy.alphabet for y in toy.alphabet], 0.0)
        for (path, token), share in shares(cover).items():
            over = b"".join(pieces[i] for i in (*path, token))[len(tail) :]
            for text in ours:
                if text.startswith(over):
                    ours[text] += share * toy.begins(text[len(over) :], (*path, token))
                elif over.startswith(text):
                    ours[text] += share
        for text, chance in ours.items():
            assert chance == pytest.approx(toy.begins(tail + text) / whole, rel=1e-6, abs=1e-12)
        checked += sum(ours.values()) > 0
    assert checked > 4


def measured(case: int) -> tuple[float, float, bool]:
    """A random search: its distance from exact, its bound, and whether anything was found."""
    rng = random.Random(case)
    toy = Toy(rng.choice(VOCABULARIES), case, rng.choice([0.5, 2.0, 5.0]))
    tail = toy.text(rng, rng.randrange(1, 6))
    budget = Budget(rng.choice([0.0, 0.001, 0.03, 0.3, 1.0, 5.0]), rng.randrange(0, 14), rng.random() < 0.3)
    cover = toy.read(Search(toy.lexicon, tail, budget), abreast=rng.randrange(1, 5))
    assert cover.nodes <= budget.nodes
    if not cover.parts:
        assert cover.bound == 1.0
        return 0.0, 1.0, False
    return distance(exact(toy, tail), shares(cover)), cover.bound, True


def test_the_bound_holds() -> None:
    cases = range(10_000)
    found = partial = 0
    closest = 0.0
    for case in cases:
        apart, bound, any_found = measured(case)
        assert apart <= bound + 1e-9, (case, apart, bound)
        found += any_found
        if apart > 1e-6:
            partial += 1
            closest = max(closest, apart / bound)
    # The bound means something: many searches ended early, and some came near it.
    assert found > 0.6 * len(cases)
    assert partial > 0.2 * len(cases)
    assert closest > 0.9, closest


@pytest.mark.parametrize(("vocabulary", "tail"), [(0, b"abca"), (0, b"cab"), (1, b"aab"), (4, b"aba")])
def test_rejection_sampling_agrees(vocabulary: int, tail: bytes) -> None:
    """Write with the model, keep what begins with the tail, and count by what tokens."""
    pieces = VOCABULARIES[vocabulary]
    toy, rng = Toy(pieces, 7, 1.0), random.Random(3)
    cumulated: dict[tuple[int, ...], list[float]] = {}
    counts: Counter[Element] = Counter()
    for _ in range(60_000):
        path: tuple[int, ...] = ()
        text = b""
        while len(text) < len(tail):
            if path not in cumulated:
                cumulated[path] = np.cumsum(toy.chances(path)).tolist()
            token = rng.choices(range(len(pieces)), cum_weights=cumulated[path])[0]
            text += pieces[token]
            if not pieces[token] or not (text.startswith(tail) or tail.startswith(text)):
                break
            path = (*path, token)
        if text.startswith(tail):
            counts[path[:-1], path[-1]] += 1
    cover = shares(toy.read(Search(toy.lexicon, tail, ALL)))
    kept = counts.total()
    assert kept > 500
    assert counts.keys() <= cover.keys()
    often = {element: share for element, share in cover.items() if share * kept >= 5}
    chi = sum((counts[element] - share * kept) ** 2 / (share * kept) for element, share in often.items())
    free = len(often) - (len(often) == len(cover))
    assert free >= 2
    assert chi < free + 4 * math.sqrt(2 * free), (chi, free)


def test_greedy_finds_the_heaviest() -> None:
    missed = less = 0
    for case in range(400):
        rng = random.Random(case)
        toy = Toy(rng.choice(VOCABULARIES), case, rng.choice([0.5, 2.0]))
        tail = toy.text(rng, rng.randrange(2, 7))
        if not toy.begins(tail):
            continue
        true = exact(toy, tail)
        cover = toy.read(Search(toy.lexicon, tail, Budget(1e9, 10**6, until_best=True)))
        best = cover.heaviest(1)[0]
        # eps bounds nothing here: only `until_best` keeps it reading.
        assert true[best.path, best.token] == pytest.approx(max(true.values()), rel=1e-9)
        less += cover.nodes < toy.read(Search(toy.lexicon, tail, ALL)).nodes
        hasty = toy.read(Search(toy.lexicon, tail, Budget(1e9, 10**6)))
        if hasty.parts:
            first = hasty.heaviest(1)[0]
            missed += true[first.path, first.token] < max(true.values()) * (1 - 1e-9)
        else:
            missed += 1
    assert less > 50, "it ends as soon as it can"
    assert missed > 20, "without it the heaviest is missed"


def test_greedy_reads_no_further_than_it_must() -> None:
    """Each node is read while what is unread weighs as much as the heaviest element so far."""
    ended = 0
    for salt in range(60):
        toy = Toy(VOCABULARIES[salt % 5], salt)
        search = Search(toy.lexicon, toy.text(random.Random(salt), 5), Budget(1e9, 10**6, until_best=True))
        while nodes := search.wanted(1):
            search.put_back(nodes[0])
            cover = search.cover()
            if cover.parts:
                unread = math.exp(cover.total) * cover.bound / (1 - cover.bound)
                best = max(float(part.weights.max()) for part in cover.parts)
                assert math.exp(best) <= unread * (1 + 1e-9)
            search.wanted(1)
            search.told(nodes[0], toy.logits(nodes[0].path))
        ended += search.cover().bound > 0.0
    assert ended > 10


def test_several_at_once_are_no_more_than_one_by_one() -> None:
    """Where only what must be read is given out, company costs nothing; without that it often does."""
    more = together = 0
    for case in range(600):
        rng = random.Random(case)
        toy = Toy(rng.choice(VOCABULARIES), case, rng.choice([0.5, 2.0, 5.0]))
        tail = toy.text(rng, rng.randrange(2, 7))
        budget = Budget(rng.choice([0.0, 0.01, 0.1]), 10**6, rng.random() < 0.3)
        single = toy.read(Search(toy.lexicon, tail, budget)).nodes
        search = Search(toy.lexicon, tail, budget)
        while nodes := search.wanted(3, surely=True):
            together += len(nodes) > 1
            for node in nodes:
                search.told(node, toy.logits(node.path))
        assert search.cover().nodes == single, case
        more += toy.read(Search(toy.lexicon, tail, budget), abreast=3).nodes > single
    assert together > 200
    assert more > 50


def test_elements_are_numbered_through_the_parts() -> None:
    toy = Toy(VOCABULARIES[0], 3)
    cover = toy.read(Search(toy.lexicon, b"abca", ALL))
    assert len(cover.parts) > 2
    ours = shares(cover)
    elements = [cover.element(number) for number in range(len(ours))]
    assert {(each.path, each.token): math.exp(each.logprob) for each in elements} == pytest.approx(ours)
    for each in elements:
        spelled = b"".join(toy.pieces[token] for token in each.path)
        assert spelled + toy.pieces[each.token][: each.used] == b"abca"
    with pytest.raises(IndexError):
        cover.element(len(ours))
    best = cover.heaviest(4)
    assert [each.logprob for each in best] == sorted((each.logprob for each in elements), reverse=True)[:4]
    assert len(cover.heaviest(1000)) == len(ours)
    assert cover.heaviest(0) == []


def test_the_budget_of_nodes_is_kept_and_each_is_given_out_once() -> None:
    toy = Toy(VOCABULARIES[0], 5)
    for most in range(8):
        for abreast in (1, 3, 100):
            search = Search(toy.lexicon, b"abcab", Budget(0.0, most))
            given: list[Node] = []
            while nodes := search.wanted(abreast):
                assert len(nodes) <= abreast
                given += nodes
                for node in nodes:
                    search.told(node, toy.logits(node.path))
            assert len({node.path for node in given}) == len(given) == search.cover().nodes == most
            assert search.over
            assert search.wanted(1) == []


def test_the_heaviest_is_read_first() -> None:
    toy = Toy(VOCABULARIES[0], 6)
    search = Search(toy.lexicon, b"abcab", ALL)
    before = 0.0
    while nodes := search.wanted(1):
        assert nodes[0].weight <= before + 1e-12, "what lies behind a node is lighter than the node"
        before = nodes[0].weight
        search.told(nodes[0], toy.logits(nodes[0].path))


def test_the_bound_falls_while_it_reads() -> None:
    toy = Toy(VOCABULARIES[0], 8)
    search = Search(toy.lexicon, b"abcab", ALL)
    bounds = [search.bound]
    while nodes := search.wanted(2):
        assert search.bound == pytest.approx(bounds[-1]), "what is being read counts as unread"
        for node in nodes:
            search.told(node, toy.logits(node.path))
        bounds.append(search.bound)
    assert bounds[0] == 1.0
    assert bounds[-1] == 0.0
    assert bounds == sorted(bounds, reverse=True)


def test_what_is_put_back_comes_again() -> None:
    toy = Toy(VOCABULARIES[0], 9)
    search, other = Search(toy.lexicon, b"abca", ALL), Search(toy.lexicon, b"abca", ALL)
    search.told(search.wanted(1)[0], toy.logits(()))
    nodes = search.wanted(3)
    bound = search.bound
    for node in nodes:
        search.put_back(node)
    assert search.bound == pytest.approx(bound)
    assert search.wanted(3) == nodes
    for node in nodes:
        search.put_back(node)
    assert shares(toy.read(search)) == pytest.approx(shares(toy.read(other)))


def test_giving_up_keeps_what_was_found() -> None:
    toy = Toy(VOCABULARIES[0], 10)
    search = Search(toy.lexicon, b"abca", ALL)
    for _ in range(2):
        node = search.wanted(1)[0]
        search.told(node, toy.logits(node.path))
    bound, out = search.bound, search.wanted(2)
    assert out
    assert not search.over
    search.give_up()
    assert search.over
    assert search.wanted(5) == []
    cover = search.cover()
    assert (cover.bound, cover.nodes) == (pytest.approx(bound), 2)
    assert 0 < distance(exact(toy, b"abca"), shares(cover)) <= cover.bound


def test_giving_up_at_once() -> None:
    search = Search(Lexicon([b"a"]), b"a", Budget())
    search.give_up()
    cover = search.cover()
    assert (cover.parts, cover.bound, cover.nodes, cover.total) == ((), 1.0, 0, -np.inf)
    assert cover.heaviest(3) == []


@pytest.mark.parametrize("until_best", [False, True])
@pytest.mark.parametrize("pieces", [[b"x", b"yy"], [b"", b""], [b"a", b"x"], [b"a", b"aa"]])
def test_nothing_reaches(pieces: list[bytes], until_best: bool) -> None:
    """No token at all, or a road that leads nowhere: nothing was found, and nothing is claimed."""
    search = Search(Lexicon(pieces), b"aab", Budget(until_best=until_best))
    while nodes := search.wanted(4):
        for node in nodes:
            search.told(node, np.zeros(len(pieces), np.float32))
    assert search.over
    assert search.cover().parts == ()
    assert search.cover().bound == 1.0


def test_what_the_engine_knows_nothing_of_is_impossible() -> None:
    search = Search(Lexicon([b"a", b"ab", b"abc", b"b", b"bc"]), b"ab", ALL)
    (root,) = search.wanted(9)
    assert search.candidates(root).tolist() == [0, 1, 2]
    search.scored(root, search.candidates(root), np.asarray([-1.0, -np.inf, -np.inf], np.float32))
    assert search.cover().parts == ()
    (node,) = search.wanted(9)
    assert (node.path, node.done) == ((0,), 1)
    search.scored(node, search.candidates(node), np.asarray([-2.0, -np.inf], np.float32))
    cover = search.cover()
    assert [(part.path, part.tokens.tolist()) for part in cover.parts] == [((0,), [3])]
    assert cover.parts[0].logits.tolist() == [-2.0]
    assert cover.bound == 0.0
    assert math.exp(cover.total) == pytest.approx(math.exp(-3.0))


def test_a_road_of_no_weight_is_not_taken() -> None:
    search = Search(Lexicon([b"a", b"ab", b"b"]), b"ab", ALL)
    (root,) = search.wanted(9)
    search.scored(root, search.candidates(root), np.asarray([-np.inf, -1.0], np.float32))
    assert search.over
    assert search.wanted(9) == []
    assert search.cover().bound == 0.0


def test_log_sum() -> None:
    values = np.asarray([1.0, 2.0, -np.inf, 700.0])
    assert log_sum(values[:2]) == pytest.approx(math.log(math.e + math.e**2))
    assert log_sum(values) == pytest.approx(700.0)
    assert log_sum(values[2:3]) == log_sum(values[:0]) == -np.inf


def test_an_empty_cover_says_so() -> None:
    assert Cover(b"x", (), 1.0, 0).total == -np.inf


@pytest.mark.parametrize("pieces", VOCABULARIES)
def test_what_is_known_is_read_at_once_and_costs_nothing(pieces: tuple[bytes, ...]) -> None:
    """As the engine has it: what lies behind the prefix's own tokens is known."""
    rng, spared = random.Random(9), 0
    for salt in range(20):
        toy = Toy(pieces, salt)
        tail = toy.text(rng, 5)
        whole = toy.read(Search(toy.lexicon, tail, ALL))
        main = max((part.path for part in whole.parts), key=len, default=())
        known = {main[:size]: toy.logits(main[:size]) for size in range(len(main) + 1)}
        free = Search(toy.lexicon, tail, Budget(0.0, 0), known=known.get)
        assert free.over
        assert free.cover().nodes == len(known)
        cover = toy.read(Search(toy.lexicon, tail, ALL, known=known.get))
        assert shares(cover) == pytest.approx(shares(whole))
        assert cover.nodes == whole.nodes
        paid = whole.nodes - len(known)
        assert toy.read(Search(toy.lexicon, tail, Budget(0.0, paid), known=known.get)).nodes == whole.nodes
        spared += toy.read(Search(toy.lexicon, tail, Budget(0.0, paid))).nodes < whole.nodes
    assert spared > 10
