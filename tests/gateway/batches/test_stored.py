"""A tenant's folder keeps what is in use or young, and deletes the rest."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from routemoa.gateway.batches import stored
from routemoa.gateway.batches.expiry import ExpiresAfter
from routemoa.gateway.batches.stored import BatchObject, FileObject, TenantFolder


def add_file(folder: TenantFolder, name: str, expires_after: ExpiresAfter | None = None) -> FileObject:
    source = folder.path / name
    source.write_text("{}")
    return folder.add_file(source, name, "batch", expires_after=expires_after)


def test_what_is_older_than_the_server_keeps_is_deleted_but_for_what_a_batch_reads(tmp_path: Path) -> None:
    folder = TenantFolder(tmp_path, "ann")
    folder.make()
    old, used, output = (add_file(folder, name) for name in ("old", "used", "output"))
    now = old.created_at
    ended = BatchObject(f"batch_{1:024x}", "/v1/responses", old.id, now - 50, now, output_file_id=output.id)
    running = replace(ended, id=f"batch_{2:024x}", input_file_id=used.id, output_file_id=None)
    for batch in (ended.move_to("completed"), running):
        folder.add_batch(batch)
    folder.delete_old(now - 5)
    assert (len(folder.list_batches()), len(folder.list_files())) == (2, 3)
    folder.delete_old(now + 5)
    assert [b.id for b in folder.list_batches()] == [running.id]
    assert [f.id for f in folder.list_files()] == [used.id]
    assert not folder.batch_path(ended.id).exists()


def test_an_expired_file_is_not_there_and_stays_on_disk_while_a_batch_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = TenantFolder(tmp_path, "ann")
    folder.make()
    used, unused = (add_file(folder, name, ExpiresAfter("created_at", 3600)) for name in ("used", "unused"))
    forever, now = add_file(folder, "forever"), used.created_at
    batch = BatchObject(f"batch_{1:024x}", "/v1/responses", used.id, now, now + 9000, status="in_progress")
    folder.add_batch(batch)
    folder.delete_old(0.0)
    assert len(folder.list_files()) == 3
    monkeypatch.setattr(stored, "time", lambda: now + 3600.0)
    assert [f.id for f in folder.list_files()] == [forever.id]
    assert folder.find_file(used.id) is None
    folder.delete_old(0.0)
    assert [folder.file_path(f.id).exists() for f in (used, unused, forever)] == [True, False, True]
    folder.save_batch(batch.move_to("completed"))
    folder.delete_old(0.0)
    assert [folder.file_path(f.id).exists() for f in (used, forever)] == [False, True]
