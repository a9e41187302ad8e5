"""The chart, rendered by Helm itself: linted, valid against Kubernetes' schemas, shut in, and its pool file reloads."""

from __future__ import annotations

import asyncio
import json
import os
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

import routemoa
from routemoa.core.pool_file.pool import Pool
from routemoa.testing import FakeEndpoint
from tests.deploy.programs import ROOT, TOOLS, find_program, run
from tests.gateway.lifecycle.test_server import serve, write_pool
from tests.test_doc_examples import accept

CHART = ROOT / "deploy/helm/routemoa"
POOL = ROOT / "examples/compose-pool.toml"
EVERYTHING = (
    "podDisruptionBudget.enabled=true,networkPolicy.enabled=true,serviceMonitor.enabled=true,localModels.enabled=true,"
    "log.requests=true,resources.limits.memory=1Gi,podAnnotations.team=a,nodeSelector.disk=ssd,imagePullSecrets[0].name=r,"
    "extraArgs[0]=--otel,extraEnv[0].name=A,extraEnv[0].value=b,ledger.storageClassName=fast,ingress.enabled=true,ingress.className=nginx,"
    r"ingress.hosts[0]=models.example.com,ingress.tls[0].secretName=tls,ingress.tls[0].hosts[0]=models.example.com,"
    r"ingress.annotations.nginx\.ingress\.kubernetes\.io/proxy-buffering=off"
)
VARIANTS = {
    "plain": "",
    "everything": EVERYTHING,
    "several on a database": "ledger.database=true,replicas=3,networkPolicy.egressPorts[0]=5432",
    "several without a ledger": "ledger.enabled=false,replicas=3,podDisruptionBudget.enabled=true",
}
KUBERNETES = ("1.25", "1.37")


def render(settings: str, name: str = "routemoa") -> str:
    helm = find_program("helm")
    options = ["--set", settings] if settings else []
    done = run(helm, "template", name, CHART, "--set-file", f"pool={POOL}", *options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def by_kind(rendered: str) -> dict[str, dict[str, Any]]:
    documents = [d for d in yaml.safe_load_all(rendered) if d]
    assert len({d["kind"] for d in documents}) == len(documents)
    return {d["kind"]: d for d in documents}


def test_the_linter_has_nothing_to_say() -> None:
    done = run(find_program("helm"), "lint", "--strict", "--set-file", f"pool={POOL}", CHART)
    assert done.returncode == 0, done.stdout
    assert re.findall(r"^\[(?!INFO).*", done.stdout, re.MULTILINE) == []


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_what_is_rendered_fits_the_schemas_of_kubernetes(variant: str, version: str, tmp_path: Path) -> None:
    validate = find_program("kubernetes-validate")
    file = tmp_path / "rendered.yaml"
    file.write_text(render(VARIANTS[variant]))
    done = run(validate, "--strict", "--kubernetes-version", version, file)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    kinds = {k.lower() for k in by_kind(file.read_text())} - {"servicemonitor"}  # no kind of Kubernetes' own
    assert set(re.findall(r"passed for resource (\w+)/", said)) == kinds


def test_a_wrong_field_would_be_noticed(tmp_path: Path) -> None:
    validate = find_program("kubernetes-validate")
    file = tmp_path / "rendered.yaml"
    file.write_text(render("").replace("readinessProbe:", "readyProbe:"))
    assert run(validate, "--strict", file).returncode != 0


def test_the_pod_is_shut_in_and_probes_what_tells_its_state() -> None:
    pod = by_kind(render(EVERYTHING))["StatefulSet"]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert f"USER {pod['securityContext']['runAsUser']}:" in (ROOT / "Dockerfile").read_text()
    assert not pod["automountServiceAccountToken"]
    for container in (*pod["containers"], *pod["initContainers"]):
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert not container["securityContext"]["allowPrivilegeEscalation"]
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert {m["mountPath"] for m in container["volumeMounts"]} == {"/etc/routemoa", "/data", "/models", "/tmp"}
        assert all("subPath" not in m for m in container["volumeMounts"]), "it would not follow a change"
        accept(list(container["args"]))
    (server,) = pod["containers"]
    assert server["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert server["readinessProbe"]["httpGet"]["path"] == "/readyz"


def test_the_pool_arrives_as_it_is_and_no_key_is_rendered() -> None:
    rendered = render(EVERYTHING)
    found = by_kind(rendered)
    assert found["ConfigMap"]["data"]["pool.toml"].rstrip() == POOL.read_text().rstrip()
    assert "Secret" not in found
    (server,) = found["StatefulSet"]["spec"]["template"]["spec"]["containers"]
    assert server["envFrom"] == [{"secretRef": {"name": "routemoa-keys"}}]
    assert set(found["ServiceMonitor"]["spec"]["endpoints"][0]["authorization"]["credentials"]) == {"name", "key"}


def test_an_ingress_leads_to_the_service_where_it_is_wanted() -> None:
    assert "Ingress" not in by_kind(render(""))
    found = by_kind(render(EVERYTHING))
    ingress, service = found["Ingress"], found["Service"]
    assert ingress["metadata"]["annotations"] == {"nginx.ingress.kubernetes.io/proxy-buffering": "off"}
    assert ingress["spec"]["ingressClassName"] == "nginx"
    assert ingress["spec"]["tls"] == [{"secretName": "tls", "hosts": ["models.example.com"]}]
    (rule,) = ingress["spec"]["rules"]
    (path,) = rule["http"]["paths"]
    assert (rule["host"], path["path"], path["pathType"]) == ("models.example.com", "/", "Prefix")
    named = path["backend"]["service"]
    assert named["name"] == service["metadata"]["name"]
    assert named["port"]["name"] in [port["name"] for port in service["spec"]["ports"]]


def test_one_pod_writes_to_a_ledger_and_several_have_none() -> None:
    several = by_kind(render(VARIANTS["several without a ledger"]))
    spec = several["StatefulSet"]["spec"]
    assert spec["replicas"] == 3
    assert "volumeClaimTemplates" not in spec
    assert "--no-store" in spec["template"]["spec"]["containers"][0]["args"]
    assert several["PodDisruptionBudget"]["spec"]["maxUnavailable"] == 1
    one = by_kind(render("podDisruptionBudget.enabled=true"))
    assert [c["metadata"]["name"] for c in one["StatefulSet"]["spec"]["volumeClaimTemplates"]] == ["data"]
    assert one["PodDisruptionBudget"]["spec"]["maxUnavailable"] == 0


def test_several_pods_share_a_database() -> None:
    spec = by_kind(render(VARIANTS["several on a database"]))["StatefulSet"]["spec"]
    assert spec["replicas"] == 3
    assert "volumeClaimTemplates" not in spec
    (server,) = spec["template"]["spec"]["containers"]
    assert "--no-store" not in server["args"]
    (store,) = (e for e in server["env"] if e["name"] == "ROUTEMOA_STORE")
    assert "optional" not in store["valueFrom"]["secretKeyRef"], "without it each pod would keep a file of its own"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("replicas=2", "replicas"),
        ("image.pullPolicy=Sometimes", "pullPolicy"),
        ("tls=true", "tls"),
        ("ledger.size=much", "size"),
        ("ledger.enabled=false,ledger.database=true", "not"),
        ("networkPolicy.egressPorts[0]=70000", "egressPorts"),
        ("ingress.enabled=true", "hosts"),
        ("ingress.hosts[0]=https://models.example.com", "hosts"),
    ],
)
def test_wrong_values_are_refused_by_their_schema(settings: str, said: str) -> None:
    done = run(find_program("helm"), "template", CHART, "--set", settings, "--set", "pool=x")
    assert done.returncode != 0
    assert said in done.stderr


def test_without_a_pool_the_error_says_how_to_pass_one() -> None:
    done = run(find_program("helm"), "template", CHART)
    assert done.returncode != 0
    assert "--set-file pool=pool.toml" in done.stderr


# --- what can be checked without Helm


def test_the_values_fit_their_schema_which_is_one() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    jsonschema.Draft7Validator.check_schema(schema)
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    jsonschema.validate(values, schema)
    assert set(schema["properties"]) - set(values) == {"global", "nameOverride"}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(values | {"replicas": 2}, schema)


def test_templates_use_values_that_there_are() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    used = {m for t in (CHART / "templates").iterdir() for m in re.findall(r"\.Values\.([\w.]+)", t.read_text())}
    for path in used - {"nameOverride"}:
        found: Any = values
        for name in path.split("."):
            assert name in found, path
            found = found[name]
    assert {path.split(".")[0] for path in used} - {"nameOverride"} == set(values), "and no value without a use"


def test_the_chart_is_of_this_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == chart["version"] == routemoa.__version__
    assert (TOOLS / "helm").exists() or not TOOLS.exists() or os.uname().machine != "x86_64", "the lock brings Helm"


async def test_a_changed_config_map_is_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kubelet writes a new folder and turns a link to it; the path of the pool file stays a link into it."""
    monkeypatch.setenv("ROUTEMOA_STORE", str(tmp_path / "store.db"))
    mounted = tmp_path / "etc"
    mounted.mkdir()
    async with FakeEndpoint("four") as e:

        def publish(version: str, name: str) -> None:
            folder = mounted / f"..{version}"
            folder.mkdir()
            file = write_pool(folder, e.url)
            file.write_text(file.read_text().replace('name = "b"', f'name = "{name}"'))
            (mounted / "..new").symlink_to(folder.name)
            (mounted / "..new").rename(mounted / "..data")

        publish("2026_1", "b")
        (mounted / "pool.toml").symlink_to("..data/pool.toml")
        assert len(Pool.from_toml(mounted / "pool.toml")) == 2
        async with serve(mounted / "pool.toml") as s:
            publish("2026_2", "c")
            for _ in range(100):
                if "c" in [m.id async for m in s.sdk.models.list()]:
                    return
                await asyncio.sleep(0.1)
    pytest.fail("the changed file was not taken over")
