"""What a store of files must do, in every database."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from segue.core.documents import File
from segue.core.errors import AlreadyThere, QuotaFull
from segue.store.base import BYTES, Content, Job, Key, Quota, Store
from segue.store.database import Database
from segue.store.filing import FilesStore

QUOTA = Quota(100, 10_000)
ME = "me:1"


def file(number: int, workspace: str = "w", content: str = "a", **others: object) -> File:
    base = File(
        id=f"file-fe-{number:024x}",
        workspace=workspace,
        name=f"{number}.txt",
        bytes=10,
        sha256=content * 64,
        md5="0" * 32,
        purpose="file-extract",
        created_at=1000 + number,
        status="processing",
    )
    return replace(base, **others)  # type: ignore[arg-type]


@pytest.fixture
def store(database: Database) -> Store:
    return FilesStore(database)


async def added(store: Store, *files: File, form: str = "txt") -> list[File]:
    return [await store.add(each, form, QUOTA) for each in files]


async def claimed(store: Store, now: float = 0.0, holder: str = ME) -> Job:
    job = await store.claim(holder, now, 30.0, 3)
    assert job is not None
    return job


async def test_a_file_is_found_by_its_workspace_and_nobody_elses(store: Store) -> None:
    one = file(1, description="what it is")
    assert await added(store, one) == [one]
    assert await store.find("w", one.id) == one
    assert await store.find("other", one.id) is None
    assert not await store.remove("other", one.id, 0.0, 60.0)
    assert (await store.numbered("other", 0, 10)) == ([], 0)
    page = await store.page("other")
    assert page is not None
    assert page.files == ()
    assert await store.page("other", after=one.id) is None


async def test_a_removed_file_is_remembered_for_a_while(store: Store) -> None:
    await added(store, file(1), file(2))
    assert await store.remove("w", file(1).id, 100.0, 60.0)
    assert not await store.remove("w", file(1).id, 100.0, 60.0)
    assert await store.find("w", file(1).id) is None
    assert await store.gone("w", file(1).id)
    assert not await store.gone("other", file(1).id)
    assert not await store.gone("w", file(2).id)
    assert await store.remove("w", file(2).id, 161.0, 60.0)
    assert not await store.gone("w", file(1).id), "that was long ago"
    assert await store.gone("w", file(2).id)


async def test_pages(store: Store) -> None:
    await added(store, *(file(number) for number in range(5)))
    await store.add(file(5, purpose="batch", status="processed"), "jsonl", QUOTA)

    async def ids(**terms: object) -> tuple[list[int], bool]:
        page = await store.page("w", **terms)  # type: ignore[arg-type]
        assert page is not None
        return [int(each.id[8:], 16) for each in page.files], page.more

    assert await ids() == ([5, 4, 3, 2, 1, 0], False)
    assert await ids(limit=2) == ([5, 4], True)
    assert await ids(limit=6) == ([5, 4, 3, 2, 1, 0], False)
    assert await ids(after=file(2).id) == ([1, 0], False)
    assert await ids(after=file(0).id) == ([], False)
    assert await ids(purpose="batch") == ([5], False)
    assert await ids(since=1002, until=1003) == ([3, 2], False)
    assert await ids(since=1002, until=1004, limit=1, after=file(4).id) == ([3], True)
    assert await store.page("w", after="file-fe-never") is None
    await store.remove("w", file(2).id, 0.0, 60.0)
    assert await ids(after=file(2).id) == ([1, 0], False), "a page goes on behind a file that was removed meanwhile"
    files, total = await store.numbered("w", 1, 2)
    assert ([each.id for each in files], total) == ([file(4).id, file(3).id], 5)


@pytest.mark.parametrize(
    ("quota", "what", "limit"),
    [(Quota(2, 10_000), "files", 2), (Quota(100, 29), "bytes", 29), (Quota(0, 0), "files", 0)],
)
async def test_quota(store: Store, quota: Quota, what: str, limit: int) -> None:
    for number in range(min(2, quota.files_max)):
        await store.add(file(number), "txt", quota)
    with pytest.raises(QuotaFull) as caught:
        await store.add(file(9), "txt", quota)
    assert (caught.value.what, caught.value.limit) == (what, limit)
    assert await store.find("w", file(9).id) is None
    if quota.files_max:
        await store.add(file(9, "other"), "txt", quota)  # everybody has their own
        await store.remove("w", file(0).id, 0.0, 60.0)
        await store.add(file(9), "txt", quota)


async def test_quota_is_kept_when_many_come_at_once(store: Store) -> None:
    quota = Quota(5, 10_000)
    came = await asyncio.gather(*(store.add(file(n), "txt", quota) for n in range(20)), return_exceptions=True)
    assert sum(isinstance(each, File) for each in came) == 5
    assert (await store.numbered("w", 0, 100))[1] == 5


async def test_a_change_that_fails_changes_nothing(store: Store) -> None:
    await added(store, file(1))
    with pytest.raises(AlreadyThere):
        await store.add(replace(file(1), sha256="b" * 64), "txt", QUOTA)
    assert await store.kept() == {Key(Content("w", "a" * 64), BYTES)}
    assert (await claimed(store)).content.sha256 == "a" * 64
    assert await store.claim(ME, 0.0, 30.0, 3) is None
    await added(store, file(2))


async def test_the_same_content_is_one_job(store: Store) -> None:
    await added(store, file(1), file(2), file(3, content="b"), file(4, "other"))
    await store.add(file(5), "md", QUOTA)  # of another form: it may be read otherwise
    jobs = [await claimed(store) for _ in range(4)]
    assert await store.claim(ME, 0.0, 30.0, 3) is None
    assert [(job.content.workspace, job.content.sha256[0], job.form, job.name, job.tries) for job in jobs] == [
        ("w", "a", "txt", "1.txt", 1),
        ("w", "b", "txt", "3.txt", 1),
        ("other", "a", "txt", "4.txt", 1),
        ("w", "a", "md", "5.txt", 1),
    ]
    assert await store.finish(jobs[0], ME, 42)
    for number, status, tokens in (
        (1, "processed", 42),
        (2, "processed", 42),
        (3, "processing", 0),
        (5, "processing", 0),
    ):
        found = await store.find("w", file(number).id)
        assert found is not None
        assert (found.status, found.tokens) == (status, tokens)
    (late,) = await added(store, file(6))
    assert (late.status, late.tokens) == ("processed", 42), "it has been read already"
    other = await store.find("other", file(4).id)
    assert other is not None
    assert other.status == "processing", "nothing crosses from one workspace to another"


async def test_what_failed_is_tried_again_when_it_is_uploaded_again(store: Store) -> None:
    await added(store, file(1))
    assert await store.fail(await claimed(store), ME, "parse")
    found = await store.find("w", file(1).id)
    assert found is not None
    assert (found.status, found.trouble) == ("error", "parse")
    (again,) = await added(store, file(2))
    assert again.status == "processing"
    assert await store.finish(await claimed(store), ME, 7)
    found = await store.find("w", file(1).id)
    assert found is not None
    assert found.status == "error", "each upload keeps what became of it"


async def test_a_lease(store: Store) -> None:
    await added(store, file(1))
    job = await claimed(store, now=100.0)
    assert await store.claim("other", 129.0, 30.0, 3) is None
    assert not await store.waiting(129.0, 3)
    assert await store.waiting(130.0, 3)
    assert not await store.waiting(130.0, 1)
    assert await store.renew(job, ME, 200.0, 0.5)
    assert await store.progress("w", file(1).id) == 0.5
    assert await store.claim("other", 199.0, 30.0, 3) is None
    second = await store.claim("other", 200.0, 30.0, 3)
    assert second is not None
    assert second.tries == 2
    assert await store.progress("w", file(1).id) == 0.0
    assert not await store.renew(job, ME, 300.0, 0.9)
    assert not await store.made(job, ME, "text-1.txt", 5)
    assert not await store.finish(job, ME, 5)
    assert not await store.fail(job, ME, "parse")
    await store.release(job, ME, 0.0, tried=True)
    assert await store.finish(second, "other", 6)
    assert await store.progress("w", file(1).id) == 1.0


async def test_a_holder_who_slept_does_not_take_his_own_second_try_for_the_first(store: Store) -> None:
    await added(store, file(1))
    first = await claimed(store, now=0.0)
    second = await claimed(store, now=31.0)
    assert not await store.renew(first, ME, 99.0, 0.1)
    assert await store.renew(second, ME, 99.0, 0.1)


async def test_what_is_given_back_waits_and_counts_as_it_should(store: Store) -> None:
    await added(store, file(1))
    await store.release(await claimed(store), ME, 10.0, tried=True)
    assert await store.claim(ME, 9.0, 30.0, 3) is None
    job = await claimed(store, now=10.0)
    assert job.tries == 2
    await store.release(job, ME, 0.0, tried=False)
    assert (await claimed(store, now=10.0)).tries == 2


async def test_tries_have_an_end(store: Store) -> None:
    await added(store, file(1))
    for number in range(3):
        await claimed(store, now=100.0 * number)
    assert await store.claim(ME, 1000.0, 30.0, 3) is None
    assert await store.give_up(220.0, 3, "parse") == 0, "it is still held"
    assert await store.give_up(1000.0, 3, "parse") == 1
    found = await store.find("w", file(1).id)
    assert found is not None
    assert (found.status, found.trouble) == ("error", "parse")
    assert await store.give_up(1000.0, 3, "parse") == 0


async def test_jobs_of_the_dead_are_free_at_once(store: Store) -> None:
    await added(store, file(1), file(2, content="b"))
    await claimed(store, holder="dead")
    await claimed(store, holder="alive")
    assert await store.free(["dead", "unheard of"]) == 1
    assert (await claimed(store)).tries == 2
    assert await store.claim(ME, 0.0, 30.0, 3) is None


async def test_a_job_ends_with_the_last_file_that_wants_it(store: Store) -> None:
    await added(store, file(1), file(2))
    job = await claimed(store)
    await store.remove("w", file(1).id, 0.0, 60.0)
    assert await store.renew(job, ME, 30.0, 0.1)
    await store.remove("w", file(2).id, 0.0, 60.0)
    assert not await store.renew(job, ME, 30.0, 0.1)


async def test_blobs_that_nobody_needs(store: Store) -> None:
    await added(store, file(1), file(2), file(3, content="b"))
    job = await claimed(store)
    assert await store.made(job, ME, "text-1.txt", 5)
    mine, other = Content("w", "a" * 64), Content("w", "b" * 64)
    assert await store.kept() == {Key(mine, BYTES), Key(mine, "text-1.txt"), Key(other, BYTES)}
    await store.remove("w", file(1).id, 0.0, 60.0)
    assert list(await store.unneeded(9)) == []
    await store.remove("w", file(2).id, 0.0, 60.0)
    assert list(await store.unneeded(9)) == [mine]
    assert not await store.needed(mine)
    assert sorted(await store.kinds(mine)) == [BYTES, "text-1.txt"]
    await store.forget(other)
    assert list(await store.kinds(other)) == [BYTES], "what is needed is not forgotten"
    await store.forget(mine)
    assert await store.kept() == {Key(other, BYTES)}


async def test_mending(store: Store) -> None:
    lost, half, whole = Content("w", "a" * 64), Content("w", "b" * 64), Content("w", "c" * 64)
    await added(store, file(1), file(2, content="b"), file(3, content="c"))
    for _ in range(3):
        job = await claimed(store)
        await store.made(job, ME, "text-1.txt", 5)
        await store.finish(job, ME, 5)
    await added(store, file(4, content="d"))
    missing = [Key(lost, BYTES), Key(half, "text-1.txt"), Key(Content("w", "d" * 64), BYTES)]
    assert await store.mend(missing, lambda form: [f"text-1.{form}"]) == 3
    told = []
    for number in range(1, 5):
        found = await store.find("w", file(number).id)
        assert found is not None
        told.append((found.status, found.trouble))
    assert told == [("error", "parse"), ("processing", None), ("processed", None), ("error", "parse")]
    assert await store.kinds(whole) == await store.kinds(whole)
    assert (await claimed(store)).content == half
    assert await store.claim(ME, 0.0, 30.0, 3) is None
    assert await store.mend([], lambda form: [f"text-1.{form}"]) == 0


async def test_mending_makes_what_a_later_version_wants(store: Store) -> None:
    await added(store, file(1))
    job = await claimed(store)
    await store.made(job, ME, "text-1.txt", 5)
    await store.finish(job, ME, 5)
    assert await store.mend([], lambda form: [f"text-2.{form}"]) == 1
    assert (await claimed(store)).content == Content("w", "a" * 64)


async def test_temporary_uploads_are_in_no_list_and_found_when_they_are_old(store: Store) -> None:
    await added(store, file(0))
    await store.add(file(1, purpose="upload", status="processed"), "png", QUOTA)
    await store.add(file(2, "v", purpose="upload", status="processed"), "png", QUOTA)
    page = await store.page("w")
    assert page is not None
    assert [each.id for each in page.files] == [file(0).id]
    files, total = await store.numbered("w", 0, 10)
    assert (tuple(files), total) == (page.files, 1)
    assert await store.find("w", file(1).id) is not None
    assert await store.old_uploads(1001.5, 10) == [("w", file(1).id)]
    assert await store.old_uploads(2000, 10) == [("w", file(1).id), ("v", file(2).id)]
    assert await store.old_uploads(2000, 1) == [("w", file(1).id)]
