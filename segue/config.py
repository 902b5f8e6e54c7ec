"""Every setting there is, with its default, its bounds and its meaning, in one tree.

Laws: a limit carries its unit in its name; docs/settings.md is printed from this tree
(`python -m segue.config`), so it cannot say anything else.  `config_read` fills the tree.  This
file knows no server, engine or model.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import platformdirs

FILE_NAME = "segue.toml"
CONFIG_VARIABLE = "SEGUE_CONFIG"
API_KEY_VARIABLE = "SEGUE_API_KEY"
URL_VARIABLE = "SEGUE_URL"  # which server the commands ask; no setting of a server


def _setting(
    default: object,
    text: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    shown: str = "",
    secret: bool = False,
) -> Any:
    """A dataclass field with the facts its reader and its documentation need."""
    facts = {"text": text, "low": low, "high": high, "choices": choices, "shown": shown, "secret": secret}
    return field(default=default, repr=not secret, metadata=facts)


@dataclass(frozen=True, slots=True)
class Server:
    """The listening side."""

    host: str = _setting("127.0.0.1", "Address to listen on. `0.0.0.0` lets other machines in.")
    port: int = _setting(8000, "Port to listen on; 0 takes any free one.", low=0, high=65535)
    console: bool = _setting(True, "Serve the console, a web page, at `/console`.")
    workers: int = _setting(
        1, "Processes that serve on that port; they share the embedded engine's one process.", low=1, high=64
    )
    cors_origins: tuple[str, ...] = _setting((), "Web origins that may call from a browser; `*` is any.")
    body_bytes_max: int = _setting(16 * 1024**2, "Largest request body.", low=1024, high=2**31)
    header_bytes_max: int = _setting(64 * 1024, "Largest sum of request header names and values.", low=1024)
    messages_max: int = _setting(10_000, "Most messages in one request.", low=1)
    stop_entries_max: int = _setting(64, "Most entries in a request's `stop`.", low=1)
    stop_characters_max: int = _setting(1024, "Longest entry of a request's `stop`.", low=1)
    body_wait_s: float = _setting(60.0, "Longest wait for a request body to arrive.", low=0.1)
    first_event_wait_s: float = _setting(
        20.0,
        "How long a stream's status line waits for the first event, so that a failure has its true status.",
        low=0.1,
    )
    heartbeat_s: float = _setting(15.0, "Silence on a stream after which a comment line keeps it open.", low=0.1)
    stalled_s: float = _setting(120.0, "How long a client may leave what was sent to it unread.", low=0.1)
    responses_max: int = _setting(10_000, "Most responses that can be gone on from (`previous_response_id`).", low=0)
    responses_bytes_max: int = _setting(256 * 1024**2, "Most memory for them.", low=0)
    responses_kept_s: float = _setting(7 * 86_400.0, "How long one is kept.", low=0.0)
    keep_alive_s: int = _setting(75, "How long an idle connection stays open.", low=0)
    connections_max: int = _setting(2048, "Most connections at a time; further ones are answered 503.", low=1)
    leave_s: float = _setting(
        0.0,
        "How long a server that is told to stop still takes requests, while `/readyz` says no and every answer ends "
        "its connection: as long as a balancer takes to notice.",
        low=0.0,
        high=600.0,
    )
    drain_s: int = _setting(30, "How long running answers may take to end when the server is told to stop.", low=0)


@dataclass(frozen=True, slots=True)
class Auth:
    """Who may ask."""

    api_key: str = _setting(
        "",
        "The one key to accept, of the default workspace and the role `member`. Empty: those that were issued. "
        "Also read from `SEGUE_API_KEY`.",
        secret=True,
    )
    admin_key: str = _setting(
        "", "A key to accept besides, of the role `admin`, for where nobody can run `segue key new`.", secret=True
    )
    refresh_s: float = _setting(
        0.5, "How often the store is asked for keys that other processes have issued or revoked.", low=0.05, high=1.5
    )
    keys_file: Path = _setting(  # noqa: RUF009 - a path cannot change
        platformdirs.user_data_path("segue") / "keys.json",
        "Where versions before this kept the digests of issued keys; they are taken into the store at start.",
        shown="`keys.json` in the user's data folder",
    )


@dataclass(frozen=True, slots=True)
class Models:
    """Which models are served and where their files are."""

    default: str = _setting(
        "qwen2.5-coder-1.5b-instruct", "The model that answers, also to the names of models that run elsewhere."
    )
    also: tuple[str, ...] = _setting((), "Further models to serve, each under its own name and in its own process.")
    dir: Path = _setting(  # noqa: RUF009
        platformdirs.user_cache_path("segue") / "models",
        "Folder of the model files.",
        shown="`models` in the user's cache folder",
    )
    catalogue: Path | None = _setting(  # noqa: RUF009
        None, "A TOML file that adds models to the built-in catalogue, or changes them."
    )
    pull: bool = _setting(True, "Fetch a served model's file at start when it is missing.")
    connect_s: float = _setting(3.0, "Longest wait for a model hub to accept a connection.", low=0.1)
    read_s: float = _setting(30.0, "Longest silence of a model hub while a file is fetched.", low=0.1)
    piece_s: float = _setting(900.0, "Longest time for one package piece of a model file.", low=1)
    lock_s: float = _setting(3600.0, "Longest wait for another process that fetches the same file.", low=0)


@dataclass(frozen=True, slots=True)
class Engine:
    """The embedded engine; one process a model."""

    threads: int = _setting(0, "Threads that compute; 0 is one a processor core.", low=0, high=1024)
    slots: int = _setting(16, "Answers computed at a time.", low=1, high=128)
    queue: int = _setting(256, "Answers that may wait for a slot; further ones are answered 429.", low=0, high=100_000)
    kv_tokens: int = _setting(32768, "Tokens of context kept in memory, over all answers.", low=256)
    snapshots_dir: Path = _setting(  # noqa: RUF009
        platformdirs.user_cache_path("segue") / "snapshots",
        "Folder where what was computed of documents is kept, so that asking about one again is quick.",
        shown="`snapshots` in the user's cache folder",
    )
    snapshots_bytes_max: int = _setting(
        4 * 1024**3, "Room for that; some 20 KB a token with the default model. 0 keeps none.", low=0
    )
    remembered_max: int = _setting(63, "Finished answers kept in the context memory for reuse.", low=1, high=120)
    prompt_piece_tokens: int = _setting(128, "Most prompt tokens read in one batch step.", low=32, high=2048)
    step_target_ms: int = _setting(
        400,
        "How long a batch step may take while answers run: a long prompt is read in pieces that fit.",
        low=10,
        high=60_000,
    )
    deterministic: bool = _setting(False, "The same request gives the same bytes, whatever else runs; slower.")
    startup_s: float = _setting(120.0, "Longest wait for an engine to load its model.", low=1)
    stall_s: float = _setting(120.0, "An engine silent this long over a step is started again.", low=5)
    restart_wait_s: float = _setting(30.0, "How long a request waits for an engine that starts again.", low=0)
    picture_tokens_max: int = _setting(
        1280,
        "Most tokens a picture is seen in; the memory that encoding one takes grows with the square of it.",
        low=64,
        high=16384,
    )
    video_tokens_max: int = _setting(8192, "Most tokens all frames of a video are seen in.", low=64)
    video_frames_max: int = _setting(80, "Most frames of a video that are looked at.", low=2, high=768)
    pictures_bytes_max: int = _setting(
        512 * 1024**2, "Pixels of all answers under way; further ones with pictures are answered 429.", low=0
    )
    encoded_bytes_max: int = _setting(256 * 1024**2, "Memory for encoded pictures, so as not to encode again.", low=0)
    picture_s: float = _setting(600.0, "An engine that encodes one picture for so long is started again.", low=5)


@dataclass(frozen=True, slots=True)
class Upstreams:
    """Models that run elsewhere: how long their servers are waited for, and what they may cost."""

    connect_s: float = _setting(3.0, "Longest wait for an upstream to accept a connection.", low=0.1)
    first_token_s: float = _setting(120.0, "Longest wait for an answer's first token.", low=0.1)
    silence_s: float = _setting(60.0, "Longest silence between two tokens.", low=0.1)
    look_every_s: float = _setting(2.0, "How often an upstream is asked whether it can answer.", low=0.1)
    look_s: float = _setting(5.0, "Longest wait for that.", low=0.1)
    added_hosts: tuple[str, ...] = _setting(
        (),
        "Hosts of replicas that may be added through `/admin/v1`: names, `*.suffix`, networks such as `10.0.0.0/8`, or "
        "`*`. Whoever adds one has prompts sent there, so that none may be when nothing is said.",
    )
    resolve_every_s: float = _setting(10.0, "How often the addresses behind a host name are asked for.", low=1)
    line_bytes_max: int = _setting(4 * 1024**2, "Longest line that is read of an upstream.", low=1024)
    body_bytes_max: int = _setting(32 * 1024**2, "Longest answer that comes in one piece.", low=1024)
    running_max: int = _setting(256, "Answers at a time at one upstream; further ones go to others.", low=1)
    attempts_max: int = _setting(
        4,
        "How many upstreams an answer may be given to, one after the other, as each fails before it comes further.",
        low=1,
        high=100,
    )
    wait_s: float = _setting(30.0, "How long an answer waits for an upstream that can take it.", low=0)
    share_max: float = _setting(1.25, "How much more than its part of the load an upstream may have.", low=1, high=10)
    failures_max: int = _setting(3, "Failures in a row after which an upstream is left alone for a while.", low=1)
    left_alone_s: float = _setting(2.0, "For how long, twice as long each time.", low=0.1)
    left_alone_max_s: float = _setting(60.0, "The longest of these times.", low=0.1)
    slow_start_s: float = _setting(10.0, "How long it takes one that has just come to get its whole part.", low=0)


@dataclass(frozen=True, slots=True)
class Seam:
    """Where a caller's prefix meets the answer."""

    search: bool = _setting(
        True,
        "Draw the answer from the model's distribution given the prefix's bytes, also where it ends inside a token.",
    )
    eps_max: float = _setting(
        0.01, "The search ends when what it has not read weighs at most this much of what it has.", low=0.0
    )
    tokens_max: int = _setting(4, "Most tokens of the prefix's end that it may write otherwise.", low=1, high=16)
    nodes_max: int = _setting(12, "Most beginnings it may read beside the prefix's own.", low=1, high=1024)
    time_max_s: float = _setting(2.0, "Longest time it may take; deterministic answers take what they need.", low=0.0)
    answers_max: int = _setting(
        4096, "Answers remembered, so that one that comes back as a prefix is resumed exactly; 0 remembers none.", low=0
    )
    answers_bytes_max: int = _setting(64 * 1024**2, "Memory for them.", low=0)
    answers_kept_s: float = _setting(
        86_400.0, "How long they are kept in the store, where servers share them (`store.remembered`).", low=0.0
    )


@dataclass(frozen=True, slots=True)
class Documents:
    """What is read of documents, for the names of models that read some."""

    profile: str = _setting(
        "2024",
        "Whose rules a conversation keeps: those of the service's first page on the subject, or its current ones.",
        choices=("2024", "current"),
    )
    files_max: int = _setting(99, "Most files that one conversation may be about.", low=1, high=1000)
    message_tokens_max: int = _setting(9000, "Longest message of its own, where the profile limits it.", low=1)
    text_tokens_max: int = _setting(
        1_000_000, "Longest sum of the texts that are sent as documents; longer ones are to be uploaded.", low=1
    )
    total_tokens_max: int = _setting(10_000_000, "Longest sum of messages and documents.", low=1)
    output_tokens_default: int = _setting(
        2000, "How long an answer may become where the request does not say; 0 is as the model's own.", low=0
    )
    parse_wait_s: float = _setting(20.0, "How long a question waits for its files to be parsed.", low=0.0)
    whole_tokens_max: int = _setting(
        0, "Longest sum of documents that the model is given whole; 0 is whatever fits its context.", low=0
    )
    passages_tokens_max: int = _setting(
        1024, "Most tokens of passages that it is given of documents that are longer.", low=64
    )
    passages_max: int = _setting(
        8,
        "Most passages, but for one of each document: among many that speak of the same thing a small model picks the "
        "wrong one.",
        low=1,
    )
    statements_tokens_max: int = _setting(
        72,
        "How much the model may say about how a document would put the answer, so that what is worded otherwise, or in "
        "another language, is found too; once for each language of the documents. 0 asks for nothing.",
        low=0,
        high=1000,
    )
    statements_s: float = _setting(20.0, "How long that is waited for.", low=0.1)
    notes_tokens_max: int = _setting(
        0,
        "Longest sum of documents that the model takes notes of, piece by piece, when a question is about all of it "
        "and they do not fit its context; it reads every token before it answers. 0: an extract stands for them.",
        low=0,
    )
    notes_running_max: int = _setting(4, "Pieces it takes notes of at a time.", low=1, high=128)
    index_s: float = _setting(60.0, "Longest time for making a text that was sent searchable.", low=1)
    kept_bytes_max: int = _setting(
        256 * 1024**2, "Room on disk for such texts and their indexes, so that the next question finds them.", low=0
    )


@dataclass(frozen=True, slots=True)
class Files:
    """What callers upload."""

    enabled: bool = _setting(True, "Serve the Files API.")
    dir: Path = _setting(  # noqa: RUF009
        platformdirs.user_data_path("segue") / "files",
        "Folder of the uploaded files and of what is made of them.",
        shown="`files` in the user's data folder",
    )
    bucket: str = _setting(
        "",
        "Keep the bytes in an S3-compatible bucket instead, `s3://bucket/prefix`; the folder then has copies of what "
        "was used last.",
    )
    bucket_endpoint: str = _setting("", "Where the bucket is, like `http://127.0.0.1:9000`; empty is Amazon's own.")
    bucket_region: str = _setting("", "The bucket's region, where its endpoint asks for one.")
    bucket_key: str = _setting(
        "", "The id of the key to it. Empty: `AWS_ACCESS_KEY_ID` and the like, or the machine's role.", secret=True
    )
    bucket_secret: str = _setting("", "That key's secret.", secret=True)
    cache_bytes_max: int = _setting(20 * 1024**3, "Room in the folder for such copies.", low=0)
    document_bytes_max: int = _setting(150 * 1024**2, "Largest document.", low=1)
    image_bytes_max: int = _setting(20 * 1024**2, "Largest image.", low=1)
    batch_bytes_max: int = _setting(500 * 1024**2, "Largest file for batch calls.", low=1)
    files_max: int = _setting(10_000, "Most files that a workspace may keep.", low=1)
    bytes_max: int = _setting(100 * 1024**3, "Most bytes that they may have together.", low=1)
    uploads_per_s: int = _setting(3, "Most uploads of a workspace in any second; 0 is any number.", low=0)
    calls_per_s: int = _setting(10, "Most other calls of its, likewise.", low=0)
    upload_wait_s: float = _setting(3600.0, "Longest time for one upload.", low=1)
    reading_max: int = _setting(
        0,
        "Most files that are read at a time, and beside them as many that take long; 0 is one less than there are "
        "processor cores.",
        low=0,
        high=1024,
    )
    tries_max: int = _setting(3, "How often the reading of a file is begun before it is given up.", low=1, high=100)
    lease_s: float = _setting(30.0, "A reading that nobody was heard of for this long is begun again.", low=1)
    index_s: float = _setting(1800.0, "Longest time for making a document searchable.", low=1)
    batch_running_max: int = _setting(4, "Lines of a batch that are answered at a time.", low=1, high=1024)
    batch_lines_max: int = _setting(50_000, "Most lines of a batch.", low=1)
    batch_line_bytes_max: int = _setting(6 * 1024**2, "Longest line of a batch.", low=1024)
    batch_open_max: int = _setting(100, "Most batches of a workspace that are not over.", low=1)
    batch_lease_s: float = _setting(20.0, "A batch that nobody was heard of for this long is gone on with.", low=1)
    removed_kept_s: float = _setting(7 * 86400.0, "How long the id of a deleted file is remembered.", low=0)


@dataclass(frozen=True, slots=True)
class Media:
    """Pictures and videos of conversations."""

    fetch: str = _setting(
        "public",
        "Whom a URL in a request may have us ask: every `public` address and the `hosts` that are listed, those alone "
        "(`listed`), or `nobody`.",
        choices=("public", "listed", "nobody"),
    )
    hosts: tuple[str, ...] = _setting(
        (),
        "Names, addresses and networks that may be asked though they are internal, such as `pictures.example`, "
        "`*.example`, `10.1.0.0/16`, `127.0.0.1:9000`.",
    )
    mirrors: tuple[str, ...] = _setting(
        (),
        "What is fetched from elsewhere than its URL says: `https://cdn.example/=http://127.0.0.1:9000/cdn/` has every "
        "URL that begins with the left fetched from the right. What is internal on the right must be among `hosts`.",
    )
    fetch_s: float = _setting(20.0, "Longest time for fetching a picture.", low=0.1)
    video_fetch_s: float = _setting(120.0, "Longest time for fetching a video.", low=0.1)
    requests_max: int = _setting(
        16,
        "Most requests whose pictures and videos are fetched and decoded at a time; of this and the next two limits "
        "one workspace has a quarter at most.",
        low=1,
    )
    fetching_max: int = _setting(32, "Most pictures and videos that are fetched at a time.", low=1)
    decoding_max: int = _setting(
        0, "Most processes that decode at a time; 0 is one less than there are processor cores.", low=0, high=1024
    )
    redirects_max: int = _setting(3, "Most redirections of a URL.", low=0, high=20)
    media_max: int = _setting(250, "Most pictures and videos of a request.", low=1)
    image_bytes_max: int = _setting(20 * 1024**2, "Largest picture, as it is fetched or was uploaded.", low=1)
    images_bytes_max: int = _setting(64 * 1024**2, "Most bytes of all pictures of a request.", low=1)
    video_bytes_max: int = _setting(1024**3, "Largest video.", low=1)
    uri_bytes_max: int = _setting(10 * 1024**2, "Longest data URI; `server.body_bytes_max` bounds it too.", low=1)
    video_s_max: float = _setting(3600.0, "Longest video, in seconds of its own time.", low=1)
    image_tokens_max: int = _setting(
        1280, "Most tokens of a picture where its caller says nothing; the model's own bound holds too.", low=1
    )
    pixels_max: int = _setting(100_000_000, "Most pixels of a picture as it was sent.", low=100)
    decode_bytes_max: int = _setting(1536 * 1024**2, "Memory of such a process: its address space.", low=256 * 1024**2)
    decode_cpu_s: int = _setting(60, "Most processor time of such a process.", low=1)
    decode_s: float = _setting(60.0, "Longest time for decoding what one request sends.", low=0.1)
    decoded_bytes_max: int = _setting(256 * 1024**2, "Most bytes of all that a request shows the model.", low=1024)
    whole_s: float = _setting(180.0, "Longest time for fetching and decoding all of a request.", low=0.1)
    kept_bytes_max: int = _setting(256 * 1024**2, "Memory for decoded pictures, for the next question.", low=0)
    kept_workspace_bytes_max: int = _setting(64 * 1024**2, "How much of it one workspace may have.", low=0)
    upload_bytes_max: int = _setting(1024**3, "Largest temporary upload; the `dashscope` client makes them.", low=1)
    upload_kept_s: float = _setting(48 * 3600.0, "How long one can be asked about.", low=1)
    upload_wait_s: float = _setting(300.0, "How long leave to upload lasts.", low=1)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a workspace may ask for where it has no limits of its own; 0 is any number."""

    requests_per_minute: int = _setting(0, "Most requests in a minute.", low=0)
    tokens_per_minute: int = _setting(0, "Most tokens, of input and output, in a minute.", low=0)
    requests_per_second: int = _setting(0, "Most requests in a second.", low=0)
    concurrent: int = _setting(0, "Most requests that run at a time.", low=0)
    tokens_per_month: int = _setting(0, "Most tokens in a calendar month (UTC).", low=0)
    money_per_month: float = _setting(0.0, "Most money in a month, in the currency of the catalogue's prices.", low=0)
    shared: str = _setting(
        "auto",
        "Where counts are kept that several servers share. `auto`: in `redis_url` if there is one, else in the "
        "database if it is PostgreSQL or `server.workers` are several, else by each server alone.",
        choices=("auto", "alone", "store", "redis"),
    )
    redis_url: str = _setting(
        "", "A Redis or Valkey server for them: `redis://host:6379/0`, `rediss://` with TLS.", secret=True
    )


@dataclass(frozen=True, slots=True)
class Usage:
    """The ledger: who asked for what, and what it took."""

    enabled: bool = _setting(True, "Keep a record of each request. Without it there are no quotas.")
    kept_days: int = _setting(400, "How long a record is kept; the sums of each day stay. 0 is for good.", low=0)


@dataclass(frozen=True, slots=True)
class Moderation:
    """Contents that are not wanted."""

    words: Path | None = _setting(  # noqa: RUF009
        None, "A list of words and patterns that are not wanted; read again when it changes."
    )
    input: str = _setting(
        "always",
        "When what is asked is inspected: always, when `X-DashScope-DataInspection` asks for it, or never.",
        choices=("always", "asked", "never"),
    )
    output: str = _setting("always", "The same for what is answered.", choices=("always", "asked", "never"))
    callout_url: str = _setting("", "A service that is asked whether a text may pass.")
    callout_key: str = _setting("", "Its bearer token.", secret=True)
    callout_wait_s: float = _setting(2.0, "Longest wait for its answer.", low=0.05)
    callout_closed: bool = _setting(True, "When it does not answer, nothing passes; false: everything does.")


@dataclass(frozen=True, slots=True)
class Store:
    """What rows are kept in: of files, of what is to be done."""

    url: str = _setting(
        "",
        "A PostgreSQL database, `postgresql://user:password@host:5432/database`, for several servers at once. Empty: "
        "a SQLite file in `files.dir`.",
        secret=True,
    )
    connections_max: int = _setting(8, "Most connections to it at a time; half of them only read.", low=2, high=256)
    remembered: str = _setting(
        "auto",
        "Where what was said is remembered, for answers and responses that are gone on with. `store`: in the database, "
        "so that any server can; the bounds of `[seam]` and `[server]` then hold for each workspace. `memory`: by each "
        "server alone. `auto`: in the database if it is PostgreSQL or `server.workers` are several.",
        choices=("auto", "memory", "store"),
    )


@dataclass(frozen=True, slots=True)
class Log:
    """What is written down.  Never a prompt, an answer or a key."""

    level: str = _setting("info", "Least level written.", choices=("debug", "info", "warning", "error"))
    format: str = _setting("line", "One text line or one JSON object an entry.", choices=("line", "json"))
    access: bool = _setting(False, "Also write one entry an HTTP request.")


@dataclass(frozen=True, slots=True)
class Traces:
    """OpenTelemetry; needs the extra `otel`.  Spans of the door, of preparing and of answering, without any text."""

    endpoint: str = _setting(
        "",
        "Where spans are sent, in OTLP over HTTP, such as `http://127.0.0.1:4318/v1/traces`. Empty: nowhere. Headers "
        "for it can stand in `OTEL_EXPORTER_OTLP_HEADERS`.",
    )
    share: float = _setting(1.0, "Which share of the traces that begin here is sent.", low=0.0, high=1.0)


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set."""

    server: Server = field(default_factory=Server)
    auth: Auth = field(default_factory=Auth)
    models: Models = field(default_factory=Models)
    engine: Engine = field(default_factory=Engine)
    upstreams: Upstreams = field(default_factory=Upstreams)
    seam: Seam = field(default_factory=Seam)
    documents: Documents = field(default_factory=Documents)
    files: Files = field(default_factory=Files)
    media: Media = field(default_factory=Media)
    store: Store = field(default_factory=Store)
    limits: Limits = field(default_factory=Limits)
    usage: Usage = field(default_factory=Usage)
    moderation: Moderation = field(default_factory=Moderation)
    log: Log = field(default_factory=Log)
    traces: Traces = field(default_factory=Traces)


@dataclass(frozen=True, slots=True)
class Row:
    """One setting, as its table knows it.  `kind` is the type it must have."""

    section: str
    name: str
    kind: Any
    default: object
    text: str
    low: float | None
    high: float | None
    choices: tuple[str, ...]
    shown: str
    secret: bool

    @property
    def key(self) -> str:
        """Its name in a TOML file: `section.name`."""
        return f"{self.section}.{self.name}"

    @property
    def variable(self) -> str:
        """Its name in the environment."""
        return f"SEGUE_{self.section}_{self.name}".upper()


def rows() -> Iterator[Row]:
    """Every setting, in the order of the tree."""
    for section, cls in sections().items():
        kinds = typing.get_type_hints(cls)
        for item in dataclasses.fields(cls):
            yield Row(section, item.name, kinds[item.name], item.default, **item.metadata)


def sections() -> dict[str, Any]:
    """The class of each section, by name."""
    return {item.name: item.default_factory for item in dataclasses.fields(Settings)}


def markdown() -> str:
    """docs/settings.md."""
    out = [_PREAMBLE]
    for section, cls in sections().items():
        out += [
            f"## [{section}]",
            "",
            cls.__doc__ or "",
            "",
            "| setting | variable | default | meaning |",
            "|---|---|---|---|",
        ]
        out += [_line(row) for row in rows() if row.section == section]
        out.append("")
    return "\n".join(out)


_PREAMBLE = f"""# Settings

Each one can stand in a TOML file (`{FILE_NAME}` in the working folder, or the file named by
`--config` or `{CONFIG_VARIABLE}`), in the environment, or, where `segue serve --help` shows it, on
the command line. Later ones win: built-in, file, environment, command line. Lists are written
`a,b` in the environment; relative paths in a file start from the file's folder. Every mistake is
told at start, all of them at once.

```toml
[server]
port = 8000
```

This page is printed by `python -m segue.config`.
"""


def _line(row: Row) -> str:
    default = row.shown or f"`{_written(row.default)}`"
    bounds = [
        f"from {plain(row.low)}" if row.low is not None else "",
        f"up to {plain(row.high)}" if row.high is not None else "",
    ]
    limits = " ".join(bound for bound in bounds if bound) or ", ".join(f"`{choice}`" for choice in row.choices)
    text = f"{row.text} ({limits})" if limits else row.text
    return f"| `{row.name}` | `{row.variable}` | {default} | {text} |"


def plain(number: float) -> str:
    """A bound as a person writes it: `2147483648`, not `2.14748e+09`."""
    return str(int(number)) if number == int(number) else str(number)


def _written(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "[" + ", ".join(f'"{item}"' for item in value) + "]"
    return str(value) if isinstance(value, int | float) else f'"{value or ""}"'


if __name__ == "__main__":
    print(markdown(), end="")
