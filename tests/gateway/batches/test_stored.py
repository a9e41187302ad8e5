"""A tenant's folder keeps what is in use or young, and deletes the rest."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from routemoa.gateway.batches.stored import BatchObject, FileObject, TenantFolder


def add_file(folder: TenantFolder, name: str) -> FileObject:
    source = folder.path / name
    source.write_text("{}")
    return folder.add_file(source, name, "batch")


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
