"""What the wire needs of whoever administers workspaces, keys and replicas."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from segue.core.replicas import NewReplica, Replica
from segue.core.tenancy import Act, KeyRecord, NewKey, NewWorkspace, Organisation, Workspace


class Office(Protocol):
    """The acts.  `who` is whoever acts, as the audit log names it.  What makes or changes raises ValueRefused and
    ModelUnknown; whatever takes a workspace's id raises WorkspaceUnknown, a key's KeyAbsent."""

    async def organisation(self) -> Organisation:
        """The one there is."""
        ...

    async def name_organisation(self, who: str, name: str) -> Organisation:
        """Call it otherwise."""
        ...

    async def workspaces(self, after: str, limit: int) -> Sequence[Workspace]:
        """A page of them, by their ids, behind `after`."""
        ...

    async def workspace(self, id: str) -> Workspace:
        """One."""
        ...

    async def add_workspace(self, who: str, new: NewWorkspace) -> Workspace:
        """Make one.  Raises AlreadyThere."""
        ...

    async def change_workspace(self, who: str, id: str, change: Callable[[Workspace], Workspace]) -> Workspace:
        """Change one; `change` may be called again from the beginning, and may raise a Fault."""
        ...

    async def remove_workspace(self, who: str, id: str) -> Workspace:
        """Remove one for good."""
        ...

    async def keys(self, workspace: str | None, after: str, limit: int) -> Sequence[KeyRecord]:
        """A page of them, by their ids, behind `after`; None: of every workspace."""
        ...

    async def key(self, id: str) -> KeyRecord:
        """One, revoked or not."""
        ...

    async def add_key(self, who: str, new: NewKey) -> tuple[str, KeyRecord]:
        """Make one: its secret, and its record."""
        ...

    async def change_key(self, who: str, id: str, change: Callable[[KeyRecord], KeyRecord]) -> KeyRecord:
        """Change one; `change` as above."""
        ...

    async def revoke_key(self, who: str, id: str) -> KeyRecord:
        """Make one open nothing any more."""
        ...

    async def acts(self, workspace: str | None, before: int | None, limit: int) -> Sequence[Act]:
        """A page of the audit log, newest first, before the act of this number."""
        ...


class Replicas(Protocol):
    """The acts on the replicas of a model that runs elsewhere.  All raise ModelUnknown, and ValueRefused for a model
    that does not; what takes an id raises ReplicaAbsent."""

    async def replicas(self, model: str) -> Sequence[Replica]:
        """All of a model."""
        ...

    async def add(self, who: str, model: str, new: NewReplica) -> Replica:
        """Ask there too, from now on.  Raises AlreadyThere."""
        ...

    async def change(self, who: str, model: str, id: str, draining: bool | None, weight: float | None) -> Replica:
        """Give it nothing new, or again something; another part of the load."""
        ...

    async def remove(self, who: str, model: str, id: str) -> str:
        """Ask there no more; what runs there ends.  The id."""
        ...
