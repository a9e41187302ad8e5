"""The public surface is explicit."""

from __future__ import annotations

import importlib
import pkgutil

import routemoa


def test_every_public_name_can_be_had() -> None:
    assert sorted(routemoa.__all__) == routemoa.__all__
    for name in routemoa.__all__:
        assert getattr(routemoa, name).__name__ == name
    assert set(routemoa.__all__) <= set(dir(routemoa))


def test_each_module_sorts_and_documents_its_names() -> None:
    for info in pkgutil.walk_packages(routemoa.__path__, "routemoa."):
        if info.name.endswith("__main__"):
            continue
        try:
            module = importlib.import_module(info.name)
        except ModuleNotFoundError as e:
            if e.name != "torch":  # only what needs the [train] extra may be missing
                raise
            continue
        assert module.__doc__, info.name
        public = getattr(module, "__all__", [])
        assert list(public) == sorted(public, key=lambda n: (not n.isupper(), n[0].islower(), n)), info.name
        for name in public:
            assert hasattr(module, name), f"{info.name}.{name}"
