"""Where the administration is served: /admin/v1, for keys of the role `admin`; what was used, for every key.

Laws: what is served is what `operations.OPERATIONS` describes, no less and no more; every act goes to the office, and
is written down under the id of the key that asked for it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from starlette.routing import Route

from segue.core import frozen
from segue.core.errors import ValueRefused
from segue.core.request import Caller
from segue.core.tenancy import Workspace
from segue.core.usage import Sums
from segue.wire.admin import read, write
from segue.wire.admin import usage as uses
from segue.wire.admin.operations import BASE, OPERATIONS, PAGE, PAGE_MAX
from segue.wire.admin.schema import document
from segue.wire.http import Door, Endpoint, Exchange, Handler, S, read_object, send_json, send_plain
from segue.wire.office import Office, Replicas
from segue.wire.query import number, query_of

Answer = Callable[[Exchange], Awaitable[object]]
_NO_STORE = (b"cache-control", b"no-store")


@frozen
class Lines:
    """An answer as CSV, and where the next page of it begins."""

    data: bytes
    following: str | None


def routes(
    door: Door[S], office: Office, acts: Replicas, version: str, sums: Sums, currency: Callable[[], str] = lambda: ""
) -> list[Route]:
    """Every path of the administration.  `sums` knows what was used, and `currency` what money that costs."""
    described = write.encode(document(version))

    async def organisation(exchange: Exchange) -> object:
        return write.organisation(await office.organisation())

    async def change_organisation(exchange: Exchange) -> object:
        name = read.organisation(await read_object(door, exchange))
        return write.organisation(await office.name_organisation(exchange.caller.key, name))

    async def workspaces(exchange: Exchange) -> object:
        query = query_of(exchange)
        limit = _limit(query)
        return write.page(await office.workspaces(query.get("after", ""), limit + 1), limit, write.workspace)

    async def create_workspace(exchange: Exchange) -> object:
        new = read.new_workspace(await read_object(door, exchange))
        return write.workspace(await office.add_workspace(exchange.caller.key, new))

    async def workspace(exchange: Exchange) -> object:
        return write.workspace(await office.workspace(_named(exchange, "workspace")))

    async def change_workspace(exchange: Exchange) -> object:
        change = read.workspace_change(await read_object(door, exchange))
        id = _named(exchange, "workspace")
        return write.workspace(await office.change_workspace(exchange.caller.key, id, change))

    async def remove_workspace(exchange: Exchange) -> object:
        return write.removed(await office.remove_workspace(exchange.caller.key, _named(exchange, "workspace")))

    async def authorised(exchange: Exchange) -> object:
        return write.authorised(await office.workspace(_named(exchange, "workspace")))

    async def authorise(exchange: Exchange) -> object:
        return await _authorise(exchange, lambda models, model: models | {model})

    async def withdraw(exchange: Exchange) -> object:
        return await _authorise(exchange, lambda models, model: models - {model})

    async def _authorise(exchange: Exchange, how: Callable[[frozenset[str], str], frozenset[str]]) -> object:
        model = _named(exchange, "model")

        def change(before: Workspace) -> Workspace:
            if before.models is None:
                raise ValueRefused("models", "The default workspace may use every model.")
            return replace(before, models=how(before.models, model))

        id = _named(exchange, "workspace")
        return write.authorised(await office.change_workspace(exchange.caller.key, id, change))

    async def keys(exchange: Exchange) -> object:
        query = query_of(exchange)
        limit = _limit(query)
        found = await office.keys(query.get("workspace"), query.get("after", ""), limit + 1)
        return write.page(found, limit, write.key)

    async def create_key(exchange: Exchange) -> object:
        new = read.new_key(await read_object(door, exchange), door.clock())
        secret, made = await office.add_key(exchange.caller.key, new)
        return write.key(made, secret)

    async def key(exchange: Exchange) -> object:
        return write.key(await office.key(_named(exchange, "key")))

    async def change_key(exchange: Exchange) -> object:
        change = read.key_change(await read_object(door, exchange), door.clock())
        return write.key(await office.change_key(exchange.caller.key, _named(exchange, "key"), change))

    async def revoke_key(exchange: Exchange) -> object:
        return write.key(await office.revoke_key(exchange.caller.key, _named(exchange, "key")))

    async def replicas(exchange: Exchange) -> object:
        found = await acts.replicas(_named(exchange, "model"))
        return write.page(found, len(found), write.replica)

    async def add_replica(exchange: Exchange) -> object:
        new = read.new_replica(await read_object(door, exchange))
        return write.replica(await acts.add(exchange.caller.key, _named(exchange, "model"), new))

    async def change_replica(exchange: Exchange) -> object:
        change = read.replica_change(await read_object(door, exchange))
        model, id = _named(exchange, "model"), _named(exchange, "replica")
        return write.replica(await acts.change(exchange.caller.key, model, id, *change))

    async def remove_replica(exchange: Exchange) -> object:
        model, id = _named(exchange, "model"), _named(exchange, "replica")
        return write.removed_replica(await acts.remove(exchange.caller.key, model, id))

    async def audit(exchange: Exchange) -> object:
        query = query_of(exchange)
        limit, before = _limit(query), number(query, "before", 0) if "before" in query else None
        return write.page(await office.acts(query.get("workspace"), before, limit + 1), limit, write.act)

    async def usage(exchange: Exchange) -> object:
        asked = uses.question(query_of(exchange), exchange.caller, door.clock())
        found = await sums.uses(asked.by, asked.range, asked.after, asked.limit + 1)
        if uses.wants_lines(exchange.header(b"accept")):
            return Lines(uses.lines(asked, found, currency()), uses.following(asked, found))
        return uses.rows(asked, found, currency())

    answers: Mapping[str, Answer] = {
        answer.__name__: answer
        for answer in (
            organisation,
            change_organisation,
            workspaces,
            create_workspace,
            workspace,
            change_workspace,
            remove_workspace,
            authorised,
            authorise,
            withdraw,
            keys,
            create_key,
            key,
            change_key,
            revoke_key,
            replicas,
            add_replica,
            change_replica,
            remove_replica,
            audit,
            usage,
        )
    }

    async def openapi(exchange: Exchange) -> None:
        await send_json(exchange, described)

    paths: dict[str, dict[str, Handler]] = {"/openapi.json": {"GET": openapi}}
    for each in OPERATIONS:
        paths.setdefault(each.path, {})[each.method] = _sent(answers[each.id])
    everybody = {each.path for each in OPERATIONS if each.everybody}
    return [
        Route(BASE + path, Endpoint(door, write.error, handlers, only=None if path in everybody else administers))
        for path, handlers in paths.items()
    ]


def administers(caller: Caller) -> bool:
    """May this caller act here?"""
    return caller.role == "admin"


def _sent(answer: Answer) -> Handler:
    async def handle(exchange: Exchange) -> None:
        answered = await answer(exchange)
        if isinstance(answered, Lines):
            more = () if answered.following is None else ((b"x-segue-next", answered.following.encode("ascii")),)
            await send_plain(exchange, answered.data, "text/csv; charset=utf-8", (_NO_STORE, *more))
            return
        await send_json(exchange, write.encode(answered), (_NO_STORE,))

    return handle


def _named(exchange: Exchange, what: str) -> str:
    """A part of the path."""
    part: str = exchange.scope["path_params"][what]
    return part


def _limit(query: Mapping[str, str]) -> int:
    """How many are asked for.  Raises FieldWrong, ValueRefused."""
    limit = number(query, "limit", PAGE)
    if not 1 <= limit <= PAGE_MAX:
        raise ValueRefused("limit", f"1 to {PAGE_MAX}.")
    return limit
