"""Two workspaces of one server, driven by random acts of both against a model of what each may see: nothing crosses.

Law of the test: every answer is held against the model (what is listed, what is found, what was cached or resumed, what
is refused), and whatever is in it that has an owner (ids of files and keys, texts, workspaces) is the asker's own, or
was in the question.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from segue.app import build
from segue.core.generation import Chunk, Opened, Prompt
from segue.engine.scripted import Echo, Scripted, scripted_card
from tests.test_tenancy import ADMIN, CHAT, NATIVE, bearer, settings

FILES = "/compatible-mode/v1/files"
NATIVE_FILES = "/api/v1/files"
MODELS = ("qwen-plus", "qwen-max", "qwen-turbo")
OWNED = re.compile(r"file-[a-z_]+-[0-9a-f]{24}|key-[0-9a-f]{16}|secret-of-\w+-\d+|space-\w+")
COMMON = [f"What is the capital of country number {n}?" for n in range(3)]


class Warm(Scripted):
    """Has a prefix cache, kept by the workspace that the prompt says, as the real engine's is."""

    def __init__(self) -> None:
        super().__init__(Echo(), scripted_card("segue-scripted"))
        self._read: dict[str, list[list[int]]] = {}

    async def generate(self, prompt: Prompt) -> AsyncGenerator[Opened | Chunk, None]:
        ids = list(prompt.ids)
        known = self._read.setdefault(prompt.workspace, [])
        cached = max((_common(ids, each) for each in known), default=0)
        known.append(ids)
        async for each in super().generate(prompt):
            yield Opened(cached_tokens=cached) if isinstance(each, Opened) else each


def _common(one: list[int], two: list[int]) -> int:
    return next((at for at, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), min(len(one), len(two)))


@dataclass
class Space:
    """What one workspace has, as the model knows it."""

    name: str
    models: set[str] = field(default_factory=set)
    keys: dict[str, str] = field(default_factory=dict)  # id to secret
    files: dict[str, str] = field(default_factory=dict)  # id to what is in it
    asked: list[str] = field(default_factory=list)  # questions that were answered, and so are remembered

    @property
    def id(self) -> str:
        return f"space-{self.name}"


class World:
    """Both of them, and a client for each act."""

    def __init__(self, client: httpx.AsyncClient, dice: random.Random) -> None:
        self.client, self.dice = client, dice
        self.spaces = {name: Space(name) for name in "ab"}
        self.owners: dict[str, str] = {space.id: name for name, space in self.spaces.items()}
        self.revoked: list[str] = []
        self.texts = 0
        self.seen = Counter[str]()

    async def begin(self) -> None:
        for space in self.spaces.values():
            body = {"name": space.name, "id": space.id, "models": MODELS}
            assert (await self.admin("POST", "/workspaces", body)).is_success
            space.models.update(MODELS)
            await self.new_key(space)

    async def admin(self, method: str, path: str, body: object = None) -> httpx.Response:
        return await self.client.request(method, f"/admin/v1{path}", json=body, headers=bearer(ADMIN))

    async def ask(self, space: Space, method: str, path: str, **how: Any) -> httpx.Response:
        """A request of this workspace; whatever has an owner in the answer is its own."""
        headers = how.pop("headers", {})
        secret = self.dice.choice(list(space.keys.values()))
        answer = await self.client.request(method, path, headers=bearer(secret) | headers, **how)
        sent = f"{path} {headers} {how}"
        for found in OWNED.findall(f"{answer.text} {answer.headers}"):
            if "files" in how:  # an upload: the only answer that may have an id which nobody knew
                self.owners.setdefault(found, space.name)
            assert self.owners.get(found) == space.name or found in sent, (method, path, found)
        return answer

    def other(self, space: Space) -> Space:
        return self.spaces["b" if space.name == "a" else "a"]

    def either(self) -> Space:
        return self.dice.choice(list(self.spaces.values()))

    def secret(self, space: Space) -> str:
        self.texts += 1
        text = f"secret-of-{space.name}-{self.texts}"
        self.owners[text] = space.name
        return text

    # Acts

    async def new_key(self, space: Space) -> None:
        made = (await self.admin("POST", "/keys", {"name": space.name, "workspace": space.id})).json()
        space.keys[made["id"]] = made["secret"]
        self.owners[made["id"]] = space.name

    async def revoke(self, space: Space) -> None:
        if len(space.keys) < 2:
            return
        id = self.dice.choice(list(space.keys))
        assert (await self.admin("DELETE", f"/keys/{id}")).is_success
        self.revoked.append(space.keys.pop(id))

    async def use_a_revoked_key(self, space: Space) -> None:
        if self.revoked:
            headers = bearer(self.dice.choice(self.revoked))
            answers = [await self.client.get(path, headers=headers) for path in (FILES, "/compatible-mode/v1/models")]
            assert [each.status_code for each in answers] == [401, 401]

    async def authorise(self, space: Space) -> None:
        model = self.dice.choice(MODELS)
        method = self.dice.choice(["PUT", "PUT", "DELETE"])
        told = (await self.admin(method, f"/workspaces/{space.id}/models/{model}")).json()
        (space.models.add if method == "PUT" else space.models.discard)(model)
        assert told["models"] == sorted(space.models)

    async def list_models(self, space: Space) -> None:
        listed = (await self.ask(space, "GET", "/compatible-mode/v1/models")).json()["data"]
        assert {each["id"] for each in listed} == space.models
        native = (await self.ask(space, "GET", "/api/v1/models?page_size=100")).json()["output"]
        assert native["total"] == len(space.models)
        model = self.dice.choice(MODELS)
        status = (await self.ask(space, "GET", f"/compatible-mode/v1/models/{model}")).status_code
        assert status == (200 if model in space.models else 403)

    async def upload(self, space: Space) -> None:
        text = self.secret(space)
        sent = {"file": (f"{text}.jsonl", text.encode())}
        if self.dice.random() < 0.5:
            made = (await self.ask(space, "POST", FILES, files=sent, data={"purpose": "batch"})).json()["id"]
        else:
            answer = await self.ask(
                space, "POST", NATIVE_FILES, files={"files": sent["file"]}, data={"purpose": "batch"}
            )
            made = answer.json()["data"]["uploaded_files"][0]["file_id"]
        space.files[made] = text
        self.owners[made] = space.name

    async def list_files(self, space: Space) -> None:
        listed = (await self.ask(space, "GET", FILES)).json()["data"]
        assert {each["id"] for each in listed} == space.files.keys()
        native = (await self.ask(space, "GET", f"{NATIVE_FILES}?page_size=100")).json()["data"]
        assert native["total"] == len(space.files)

    async def look_at_a_file(self, space: Space) -> None:
        every = [*space.files, *self.other(space).files, "file-batch-" + "0" * 24]
        id = self.dice.choice(every)
        own = id in space.files
        shown = await self.ask(space, "GET", f"{FILES}/{id}")
        content = await self.ask(space, "GET", f"{FILES}/{id}/content")
        native = await self.ask(space, "GET", f"{NATIVE_FILES}/{id}")
        assert [each.is_success for each in (shown, content, native)] == [own, own, own]
        if own:
            assert content.text == space.files[id]
        else:  # another's file and one that never was are refused alike
            never = await self.ask(space, "GET", f"{FILES}/file-batch-{'1' * 24}")
            assert shown.json()["error"] == never.json()["error"]
            assert shown.status_code == never.status_code

    async def page_behind_a_file(self, space: Space) -> None:
        foreign = self.other(space).files
        if foreign:
            answer = await self.ask(space, "GET", f"{FILES}?after={self.dice.choice(list(foreign))}")
            assert answer.status_code == 400

    async def delete_a_file(self, space: Space) -> None:
        every = [*space.files, *self.other(space).files]
        if not every:
            return
        id = self.dice.choice(every)
        answer = await self.ask(space, "DELETE", f"{self.dice.choice([FILES, NATIVE_FILES])}/{id}")
        assert answer.is_success == (space.files.pop(id, None) is not None)

    async def ask_about_a_file(self, space: Space) -> None:
        foreign = list(self.other(space).files)
        if not foreign:
            return
        messages = [
            {"role": "system", "content": "You help."},
            {"role": "system", "content": f"fileid://{self.dice.choice(foreign)}"},
            {"role": "user", "content": "What does it say?"},
        ]
        answer = await self.ask(space, "POST", CHAT, json={"model": "qwen-long", "messages": messages})
        assert answer.status_code in (400, 403)

    async def question(self, space: Space) -> None:
        """What is cached, and what is resumed, only ever comes from the asker's own workspace."""
        other = self.other(space)
        text = self.dice.choice([*COMMON, self.secret(space), *other.asked[-3:], *space.asked[-3:]])
        model = self.dice.choice(MODELS)
        prefix = text[: self.dice.randrange(1, len(text))] if self.dice.random() < 0.5 else None
        messages: list[dict[str, object]] = [{"role": "user", "content": text}]
        if prefix:
            messages.append({"role": "assistant", "content": prefix, "partial": True})
        if self.dice.random() < 0.5:
            answer = await self.ask(space, "POST", CHAT, json={"model": model, "messages": messages})
        else:
            body = {"model": model, "input": {"messages": messages}, "parameters": {"result_format": "message"}}
            answer = await self.ask(space, "POST", NATIVE, json=body)
        if model not in space.models:
            assert answer.status_code == 403
            assert "Model.AccessDenied" in answer.text
            return
        assert answer.is_success, answer.text
        told = answer.json()
        said = (told.get("output") or told)["choices"][0]["message"]["content"]
        assert said == text[len(prefix or "") :]
        if prefix:
            resumed = answer.headers["x-segue-seam"] == "resumed"
            assert not resumed or text in space.asked
            self.seen["resumed"] += resumed
        cached = told["usage"]["prompt_tokens_details"]["cached_tokens"]
        assert cached <= most_cached(text, space.asked), (text, prefix, space.asked, told)
        self.seen["cached"] += cached > 0
        self.seen["asked by the other first"] += text in other.asked and text not in space.asked
        if text not in space.asked:
            space.asked.append(text)

    async def go_elsewhere(self, space: Space) -> None:
        named = self.dice.choice([self.other(space).id, "default", "space-none"])
        answer = await self.ask(space, "GET", FILES, headers={"X-DashScope-WorkSpace": named})
        assert answer.status_code == 403

    async def look_at_the_house(self, space: Space) -> None:
        paths = ("/metrics", "/admin/v1/keys", "/admin/v1/audit", f"/admin/v1/workspaces/{self.other(space).id}")
        for path in paths:
            assert (await self.ask(space, "GET", path)).status_code == 403

    async def administer(self, space: Space) -> None:
        """What the administrator is shown of one workspace is of that one."""
        found, after = [], ""
        while True:
            page = (await self.admin("GET", f"/keys?workspace={space.id}&after={after}&limit=50")).json()
            found += page["data"]
            if not page["has_more"]:
                break
            after = page["data"][-1]["id"]
        assert {key["workspace"] for key in found} <= {space.id}
        assert {key["id"] for key in found if key["revoked_at"] is None} == space.keys.keys()
        acts = (await self.admin("GET", f"/audit?workspace={space.id}&limit=20")).json()["data"]
        assert {act["workspace"] for act in acts} == {space.id}

    def acts(self) -> list[tuple[int, Callable[[Space], Awaitable[None]]]]:
        """How often each is done, of a hundred."""
        return [
            (3, self.new_key),
            (3, self.revoke),
            (3, self.use_a_revoked_key),
            (8, self.authorise),
            (6, self.list_models),
            (10, self.upload),
            (6, self.list_files),
            (9, self.look_at_a_file),
            (3, self.page_behind_a_file),
            (8, self.delete_a_file),
            (4, self.ask_about_a_file),
            (27, self.question),
            (4, self.go_elsewhere),
            (3, self.look_at_the_house),
            (3, self.administer),
        ]


TURN_TOKENS = 8
"""What stands before a question, at most; behind it there is more than that."""


def most_cached(text: str, asked: list[str]) -> int:
    """How much of a question's prompt can have been read for the questions that were asked: one token is a byte."""
    if text in asked:
        return 10**6
    heads = [_common(list(text.encode()), list(each.encode())) for each in asked]
    return TURN_TOKENS + max(heads) if heads else 0


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.slow)])
async def test_nothing_crosses(count: int, tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    app = build(settings(tmp_path), {"segue-scripted": Warm()})
    async with app.router.lifespan_context(app):
        await app.state.house.started()
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://segue") as client:
            world = World(client, random.Random(seed))
            await world.begin()
            weights, acts = zip(*world.acts(), strict=True)
            for _ in range(count):
                await world.dice.choices(acts, weights)[0](world.either())
            assert min(world.seen[what] for what in ("resumed", "cached", "asked by the other first")) > 0


async def test_the_test_would_see_a_cache_that_two_share(tmp_path: Path) -> None:
    """A house whose cache forgets whose prompt it read is found out."""

    class Leaky(Warm):
        async def generate(self, prompt: Prompt) -> AsyncGenerator[Opened | Chunk, None]:
            prompt.workspace = "everybody's"  # type: ignore[misc]
            async for each in super().generate(prompt):
                yield each

    app = build(settings(tmp_path), {"segue-scripted": Leaky()})
    async with app.router.lifespan_context(app):
        await app.state.house.started()
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://segue") as client:
            world = World(client, random.Random(5))
            await world.begin()
            a, b = world.spaces.values()
            await world.question(a)

            async def questions() -> None:
                for _ in range(20):
                    b.asked.clear()
                    await world.question(b)

            with pytest.raises(AssertionError):
                await questions()
