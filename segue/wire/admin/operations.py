"""What the administration can be asked, as a table: routes are made of it, and the OpenAPI document."""

from __future__ import annotations

from typing import Literal

from segue.core import frozen

BASE = "/admin/v1"
PAGE = 100
PAGE_MAX = 1000

Shape = Literal[
    "Organisation",
    "OrganisationChange",
    "Workspace",
    "NewWorkspace",
    "WorkspaceChange",
    "RemovedWorkspace",
    "Workspaces",
    "Authorisations",
    "Key",
    "NewKey",
    "MadeKey",
    "KeyChange",
    "Keys",
    "Acts",
    "Usage",
    "Replica",
    "NewReplica",
    "ReplicaChange",
    "RemovedReplica",
    "Replicas",
]
Query = Literal["after", "limit", "workspace", "before", "from", "to", "by", "key", "page"]


@frozen
class Operation:
    """A method of a path.  `id` also names what answers it; `takes` is the body, `answers` the answer; `query` are
    fields of the query; `refusals` are statuses beside those that every operation has; `everybody` may ask, and is told
    what is of their own workspace; `lines`: CSV too, for whoever accepts it."""

    method: str
    path: str
    id: str
    summary: str
    answers: Shape
    takes: Shape | None = None
    query: tuple[Query, ...] = ()
    refusals: tuple[int, ...] = ()
    everybody: bool = False
    lines: bool = False


OPERATIONS = (
    Operation("GET", "/organisation", "organisation", "Show the organisation.", "Organisation"),
    Operation(
        "PATCH", "/organisation", "change_organisation", "Rename it.", "Organisation", "OrganisationChange", (), (400,)
    ),
    Operation(
        "GET", "/workspaces", "workspaces", "List workspaces by id.", "Workspaces", None, ("after", "limit"), (400,)
    ),
    Operation(
        "POST",
        "/workspaces",
        "create_workspace",
        "Make a workspace. It may use the models it is authorised for, and no others.",
        "Workspace",
        "NewWorkspace",
        (),
        (400, 404, 409),
    ),
    Operation("GET", "/workspaces/{workspace}", "workspace", "Show a workspace.", "Workspace", None, (), (404,)),
    Operation(
        "PATCH",
        "/workspaces/{workspace}",
        "change_workspace",
        "Change its name, models or limits. What is absent stays; a limit of null is none.",
        "Workspace",
        "WorkspaceChange",
        (),
        (400, 404),
    ),
    Operation(
        "DELETE",
        "/workspaces/{workspace}",
        "remove_workspace",
        "Remove a workspace for good: its keys open nothing, its files are deleted, its id is not used again.",
        "RemovedWorkspace",
        None,
        (),
        (400, 404),
    ),
    Operation(
        "GET",
        "/workspaces/{workspace}/models",
        "authorised",
        "List the models it may use; null is every one.",
        "Authorisations",
        None,
        (),
        (404,),
    ),
    Operation(
        "PUT",
        "/workspaces/{workspace}/models/{model}",
        "authorise",
        "Authorise it for a model, by any name that the model answers to; the model's own name covers them all.",
        "Authorisations",
        None,
        (),
        (400, 404),
    ),
    Operation(
        "DELETE",
        "/workspaces/{workspace}/models/{model}",
        "withdraw",
        "Withdraw the authorisation for this name.",
        "Authorisations",
        None,
        (),
        (400, 404),
    ),
    Operation(
        "GET",
        "/keys",
        "keys",
        "List keys by id, revoked ones included; never a secret.",
        "Keys",
        None,
        ("workspace", "after", "limit"),
        (400, 404),
    ),
    Operation(
        "POST",
        "/keys",
        "create_key",
        "Make a key. The answer shows its secret, this once.",
        "MadeKey",
        "NewKey",
        (),
        (400, 404),
    ),
    Operation("GET", "/keys/{key}", "key", "Show a key.", "Key", None, (), (404,)),
    Operation(
        "PATCH",
        "/keys/{key}",
        "change_key",
        "Change its name, role, end, models or limits. What is absent stays.",
        "Key",
        "KeyChange",
        (),
        (400, 404),
    ),
    Operation("DELETE", "/keys/{key}", "revoke_key", "Revoke a key, for good.", "Key", None, (), (404,)),
    Operation(
        "GET",
        "/models/{model}/replicas",
        "replicas",
        "List where a model that runs elsewhere is asked; how each is, as the server that answers this sees it.",
        "Replicas",
        None,
        (),
        (400, 404),
    ),
    Operation(
        "POST",
        "/models/{model}/replicas",
        "add_replica",
        "Add a replica; every server asks it within two seconds. Hosts must be admitted by `upstreams.added_hosts`.",
        "Replica",
        "NewReplica",
        (),
        (400, 404, 409),
    ),
    Operation(
        "PATCH",
        "/models/{model}/replicas/{replica}",
        "change_replica",
        "Drain a replica (it gets nothing new, and ends what it has), take it back, or change its weight.",
        "Replica",
        "ReplicaChange",
        (),
        (400, 404),
    ),
    Operation(
        "DELETE",
        "/models/{model}/replicas/{replica}",
        "remove_replica",
        "Remove a replica that was added; what it has it ends.",
        "RemovedReplica",
        None,
        (),
        (400, 404),
    ),
    Operation(
        "GET",
        "/audit",
        "audit",
        "List administrative acts, newest first.",
        "Acts",
        None,
        ("workspace", "before", "limit"),
        (400,),
    ),
    Operation(
        "GET",
        "/usage",
        "usage",
        "Sum up what was used, by day, key, workspace, model, or several. Any key may ask, of its workspace.",
        "Usage",
        None,
        ("from", "to", "by", "workspace", "key", "limit", "page"),
        (400,),
        everybody=True,
        lines=True,
    ),
)
