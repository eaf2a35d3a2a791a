"""Which providers there are: the built-in ones, and one that is installed as a package."""

from __future__ import annotations

import base64
import importlib
import itertools
import re
import subprocess
import sys
import zipfile
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import orjson
import pytest
from pydantic import SecretStr

from actors.errors import BadProviderError, MissingExtraError, UnknownProviderError
from actors.providers import registry
from actors.providers.base import AIProvider
from actors.providers.files import Files
from actors.providers.models import Payload, ProviderRequest
from actors.providers.openai import OpenAIProvider
from actors.providers.registry import ProviderRegistry
from actors.settings import ProviderReach, ProviderSettings
from tests.conformance.ai_provider import KEY, AIProviderSpec, FarSide, is_quiet
from tests.stubs.http import Reply, Request, StubServer

SOURCE = Path(__file__).with_name("acme_provider.py")
_INLINE = re.compile(rb"data:[a-z/-]+;base64,([A-Za-z0-9+/=]+)")

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path) -> Iterator[Install]:
    """Installs a wheel with one module and one entry point, as pip does, and takes it away again."""
    site = tmp_path / "site"
    modules = set(sys.modules)

    def install(name: str, module: str, source: str, entry: str) -> None:
        wheel = tmp_path / f"{name}-1.0-py3-none-any.whl"
        info = f"{name}-1.0.dist-info"
        with zipfile.ZipFile(wheel, "w") as packed:
            packed.writestr(f"{module}.py", source)
            packed.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
            packed.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            packed.writestr(f"{info}/entry_points.txt", f"[hyvve.providers]\n{entry}\n")
            packed.writestr(f"{info}/RECORD", "")
        pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--target", str(site))
        subprocess.run([*pip, "--disable-pip-version-check", str(wheel)], check=True, timeout=60)
        if str(site) not in sys.path:
            sys.path.insert(0, str(site))
        importlib.invalidate_caches()
        registry.forget_found()

    yield install
    sys.path[:] = [each for each in sys.path if each != str(site)]
    for name in set(sys.modules) - modules:
        if str(site) in (getattr(sys.modules[name], "__file__", None) or ""):
            del sys.modules[name]
    registry.forget_found()


class AcmeStub(StubServer):
    """Acme's only endpoint. The same idempotency key is answered as before."""

    def __init__(self) -> None:
        super().__init__(self._handle)
        self.script: deque[Reply] = deque()
        self.paid: list[Request] = []
        self._done: dict[str, Reply] = {}
        self._ids = itertools.count()

    def says(self, text: str, refusal: str | None = None) -> None:
        self.script.append(Reply(orjson.dumps({"id": f"a{next(self._ids)}", "text": text, "refusal": refusal})))

    def fails(self, status: int, said: str, *, field: str | None = None, **headers: str) -> None:
        body = orjson.dumps({"error": {"message": said, "param": field}})
        self.script.append(Reply(body, status, {name.replace("_", "-"): value for name, value in headers.items()}))

    def _handle(self, request: Request) -> Reply:
        key = request.headers.get("idempotency-key", "")
        if key and key in self._done:
            return self._done[key]
        self.paid.append(request)
        reply = self.script.popleft()
        if key:
            self._done[key] = reply
        return reply


class TestInstalledProvider(AIProviderSpec):
    @pytest.fixture
    async def stub(self) -> AsyncIterator[AcmeStub]:
        async with AcmeStub() as stub:
            yield stub

    @pytest.fixture
    def far(self, stub: AcmeStub) -> FarSide:
        # The very file that the test below installs.
        kind = importlib.import_module("tests.actors.providers.acme_provider").AcmeProvider
        return FarSide(
            stub=stub,
            kind=kind,
            model="acme/poet",
            says=stub.says,
            fails=stub.fails,
            answers=stub.script.append,
            hangs=lambda: stub.script.append(Reply(delay_s=60)),
            refuses=lambda: stub.says("", "no"),
            spent=lambda: stub.fails(402, "pay first"),
            paid=lambda: len(stub.paid),
            received=lambda: [base64.b64decode(each) for call in stub.paid for each in _INLINE.findall(call.body)],
            seen=lambda: str(stub.paid[-1].body),
            working=lambda: not is_quiet(stub),
            base_url=stub.url,
            integer="length",
        )

    async def test_a_call_that_is_repeated_with_its_key_is_paid_for_once(
        self, stub: AcmeStub, provider: AIProvider, payload: Payload
    ) -> None:
        assert provider.describe().idempotent
        stub.says("once")
        first = await provider.execute(payload, idempotency_key="run-1/call")
        assert await provider.execute(payload, idempotency_key="run-1/call") == first
        assert len(stub.paid) == 1


def settings() -> ProviderSettings:
    return ProviderSettings(
        keys=(SecretStr(f"acme={KEY}"),), urls=("acme=http://127.0.0.1:9",), models=("acme:acme/novelist",)
    )


async def test_a_package_that_is_installed_is_a_provider(install: Install, files: Files) -> None:
    install("acme_hyvve", "acme_provider_installed", SOURCE.read_text(), "acme = acme_provider_installed:AcmeProvider")
    found = ProviderRegistry(settings(), files)
    assert found.names() == ("replicate", "openai", "anthropic", "huggingface", "acme")
    acme = found.provider("acme")
    assert type(acme).__module__ == "acme_provider_installed"
    assert (acme.key, acme.reach.base_url) == (KEY, "http://127.0.0.1:9")
    assert [model.id for model in (await acme.get_capabilities()).models] == ["acme/novelist", "acme/poet"]
    payload = await acme.create_payload(ProviderRequest(model="acme/poet", prompt="a tram"))
    assert payload.input == {"prompt": "a tram"}
    assert found.provider("acme") is acme
    await found.close()


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("raise RuntimeError('boom')", "boom"),
        ("import no_such_module", "no_such_module"),
        ("class Broken: name = 'broken'", "no AIProvider"),
        ("from actors.providers.base import AIProvider\nclass Broken(AIProvider): name = 'broken'", "lacks call"),
        ("from actors.providers.openai import OpenAIProvider as Broken", "calls itself 'openai'"),
    ],
)
async def test_a_package_that_is_broken_is_named_and_harms_no_other(
    install: Install, files: Files, source: str, words: str
) -> None:
    install("broken_hyvve", "broken_provider", source, "broken = broken_provider:Broken")
    found = ProviderRegistry(ProviderSettings(), files)
    with pytest.raises(BadProviderError, match=words):
        found.provider("broken")
    told = {each.provider: each for each in await found.capabilities()}
    assert words in (told["broken"].missing or "")
    assert set(told) == {"replicate", "openai", "anthropic", "huggingface", "broken"}


async def test_two_packages_of_one_name_are_refused(install: Install, files: Files) -> None:
    install("one_hyvve", "one_provider", "", "same = one_provider:Same")
    install("two_hyvve", "two_provider", "", "same = two_provider:Same")
    with pytest.raises(BadProviderError, match="one_provider:Same and two_provider:Same"):
        ProviderRegistry(ProviderSettings(), files).provider("same")


async def test_a_package_takes_no_built_in_providers_place(install: Install, files: Files) -> None:
    install("fake_hyvve", "fake_openai", "raise RuntimeError", "openai = fake_openai:OpenAIProvider")
    found = ProviderRegistry(ProviderSettings(), files)
    assert found.names() == ("replicate", "openai", "anthropic", "huggingface")
    assert type(found.provider("openai")) is OpenAIProvider


async def test_an_unknown_provider_is_answered_with_those_there_are(files: Files) -> None:
    with pytest.raises(UnknownProviderError, match="replicate, openai, anthropic, huggingface"):
        ProviderRegistry(ProviderSettings(), files).provider("midjourney")


async def test_without_any_key_each_says_what_to_set(files: Files) -> None:
    told = await ProviderRegistry(ProviderSettings(), files).capabilities()
    assert {each.provider: (each.missing or "").rpartition(" ")[2] for each in told} == {
        "replicate": "REPLICATE_API_TOKEN",
        "openai": "OPENAI_API_KEY",
        "anthropic": "ANTHROPIC_API_KEY",
        "huggingface": "HF_TOKEN",
    }


@pytest.mark.parametrize(
    ("name", "library"),
    [("replicate", "replicate"), ("anthropic", "anthropic"), ("huggingface", "huggingface_hub"), ("openai", "openai")],
)
async def test_each_extra_is_named_where_its_library_is_missing(
    files: Files, name: str, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    reach = ProviderReach(api_key=SecretStr(KEY))
    found = await ProviderRegistry(ProviderSettings(**{name: reach}), files).capabilities()
    told = {each.provider: each.missing for each in found}
    assert told[name] == f"the {name} provider needs: pip install 'hyvve[{name}]'"


async def test_a_library_that_is_not_installed_is_named_with_the_way_to_it(files: Files) -> None:
    class Without(OpenAIProvider):
        sdk = "a_library_that_nobody_has"

    without = Without(ProviderReach(api_key=SecretStr(KEY)), ProviderSettings(), files)
    assert not (await without.get_capabilities()).available
    with pytest.raises(MissingExtraError, match=re.escape("pip install 'hyvve[openai]'")):
        await without.get_capabilities("gpt-5")
