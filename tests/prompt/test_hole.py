"""Where the text in a hole is over."""

from __future__ import annotations

from dataclasses import replace

import pytest

from segue.core.request import Caller, Plain, Request, Sampling, Stop
from segue.output.stops import Stops
from segue.prompt.hole import filled

BODY = "class A:\n    def half(self, n):\n        "
REST = "\n        return n\n\n    def whole(self): ...\n"


def request(before: str, after: str | None, stop: Stop | None = None) -> Request:
    text = Plain(before, after)
    return Request(id="r", caller=Caller("key", "default"), model="m", messages=(), plain=text, stop=stop or Stop())


def kept(before: str, after: str, said: str) -> str:
    return said[: Stops(filled(request(before, after)).stop).cut(said)]


@pytest.mark.parametrize(
    ("before", "after", "said", "left"),
    [
        (BODY, REST, "n = n // 2\n        return n\n\n    def more", "n = n // 2\n        return n\n"),
        (BODY, REST, "n //= 2\n        return n\n\n    def whole(self): ...\n", "n //= 2\n        return n\n"),
        (BODY, "\n        return self.kept(n)\n", "n //= 2\n        return self.kept(n)\n    x", "n //= 2"),
        (BODY, "\n\n        return self.kept(n)\n", "n //= 2\n\n        return self.kept(n)\n", "n //= 2"),
        ("total = add(", ", second)\nprint(total)", "first, second)\nprint(total)\n", "first"),
        (BODY, REST, "def inner():\n            def deeper(): ...", None),
        (BODY, REST, 'text = """\nabc\n  left of it\n"""', None),
        ("def f():\n    ", "\nx = 1\n", "return 2\n\n\ndef g(): ...", None),
        ("  return 1\n}\n", "\n", "\nfunc main() {}", None),
        ("\t\t", "\n\t\tgo(first)\n", "x := 1\n\t}\n\nfunc main() {}", "x := 1\n\t}\n"),
        ("a(", ")", "b)", None),
        ("a(", "", "b)\ndef f(): ...", None),
    ],
)
def test_a_hole_is_full(before: str, after: str, said: str, left: str | None) -> None:
    """Before what stands behind it is said again, and before a declaration left of both its sides."""
    assert kept(before, after, said) == (said if left is None else left)


def test_an_endless_line_is_not_looked_for() -> None:
    stops = filled(request("x = ", "y" * 1_000_000)).stop.strings
    assert [len(each) for each in stops] == [400]
    assert len(filled(request(" " * 9999, "\n" + " " * 9999 + "x")).stop.strings) < 1000


def test_the_caller_s_own_wishes_stand() -> None:
    asked = request(BODY, REST, Stop(("END",), ((1, 2),)))
    found = filled(asked)
    assert found.stop.strings[0] == "END"
    assert found.stop.sequences == ((1, 2),)
    assert found.sampling.repetition_penalty == 1.0
    wish = replace(asked, sampling=Sampling(repetition_penalty=1.2))
    assert filled(wish).sampling.repetition_penalty == 1.2
    for other in (request(BODY, None), replace(asked, plain=None)):
        assert filled(other) is other
