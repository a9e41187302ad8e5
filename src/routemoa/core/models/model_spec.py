"""A member of the pool, with its prices: `ModelSpec`."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import msgspec
from msgspec import Struct

from routemoa.core.content.media import Modality
from routemoa.core.models.endpoint import Endpoint
from routemoa.core.models.patience import Patience
from routemoa.core.models.pricing import Price, Rate
from routemoa.core.usage import Usage

__all__ = ["ModelSpec"]

MILLION_TOKENS = Usage(1_000_000, 1_000_000)


class ModelSpec(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, dict=True):
    """A member of the pool, as its `[[model]]` table describes it (docs/reference/configuration.md).

    Prices are dollars per million tokens. None is unknown.
    """

    name: str
    endpoint: str
    """A base URL, or "local" for the embedded runtime. A provider's name is replaced by its URL as the file is read."""
    model: str = ""
    """The endpoint's own name for the model; the pool fills in `name` where it is left out."""
    api_key_env: str | None = None
    """The environment variable that holds the key."""
    input_price: float | None = None
    output_price: float | None = None
    cached_price: float | None = None
    """For prompt tokens read from the provider's cache; `input_price` where unset."""
    cache_write_price: float | None = None
    """For prompt tokens written to the provider's cache; `input_price` where unset."""
    request_price: float | None = None
    """Dollars for each answered call."""
    context: int | None = None
    """Tokens of prompt and answer together."""
    latency: float | None = None
    """Seconds of a usual call, until calls have been measured."""
    prior: float | None = None
    """Probability in [0, 1] of a good answer, until a scorer predicts it."""
    system: str | None = None
    parameters: dict[str, Any] = {}
    json_schema: bool = False
    """The endpoint honours `response_format` with a JSON schema."""
    cache_control: bool | None = None
    """The endpoint wants cache marks in the prompt; None decides by the host."""
    headers: dict[str, str] = {}
    """Sent with every call."""
    rename: dict[str, str] = {}
    """Field of a request -> the endpoint's name for it."""
    omit: tuple[str, ...] = ()
    """Fields that the endpoint refuses: not sent unless `parameters` has them."""
    patience: Patience = Patience()
    """How long to wait for it."""
    samples: int = 1
    """How often one query may ask it: each time is a candidate (`candidates`)."""
    tools: bool | None = None
    """Whether it can call tools; None is unknown: it is tried, and a refusal is remembered."""
    modalities: tuple[Modality, ...] | None = None
    """What it takes: "text", "image", "audio", "file". None is unknown: it is tried, and a refusal is remembered."""
    efforts: tuple[str, ...] = ()
    """Its levels of `reasoning_effort`, each a candidate."""
    orders: int = 1
    """In how many orders of its options a mixture that prefers quality may ask it a multiple-choice question."""
    code_samples: int = 1
    """How often a mixture that prefers quality may ask it for code that is run."""
    endpoints: tuple[Endpoint, ...] = ()
    """The places where it answers, if they are several (`clients.placement` chooses); `endpoint` is the first's URL."""
    member: str | None = msgspec.field(name="-member", default=None)
    """The entry that it is a candidate of, set where that has several; not a key of the table."""
    list_price: Price | None = msgspec.field(name="-listed", default=None)
    """Set by `price_list`; not a key of the table."""
    vote: int = msgspec.field(name="-vote", default=1)
    """Which of its member's votes this candidate is, from 1; not a key of the table."""
    place: str | None = msgspec.field(name="-place", default=None)
    """The name of the endpoint that this stands for (`places`); not a key of the table."""

    @cached_property
    def places(self) -> tuple[ModelSpec, ...]:
        """The member at each of its endpoints; of one with a single `endpoint`, itself."""
        if not self.endpoints:
            return (self,)
        own = {key: getattr(self, key) for key in ("model", "api_key_env", "headers", "rename", "omit")}
        return tuple(
            msgspec.structs.replace(self, endpoints=(), place=e.name or str(number), **e.settings(own))
            for number, e in enumerate(self.endpoints, 1)
        )

    def at(self, place: str | None) -> ModelSpec:
        """Return the member at the endpoint of that name; None, or a name that it lacks, is the member itself."""
        return next((p for p in self.places if p.place == place), self)

    @property
    def local(self) -> bool:
        """Return whether the embedded runtime serves it."""
        return self.endpoint == "local"

    @cached_property
    def price(self) -> Price | None:
        """The list price, else the pool file's, else that of the most expensive of its endpoints, else unknown."""
        if self.list_price is not None:
            return self.list_price
        if self.input_price is None or self.output_price is None:
            prices = [place.price for place in self.places if self.endpoints]
            known = [price for price in prices if price is not None]
            return max(known, key=lambda p: p.output.base) if known and len(known) == len(prices) else None
        cached = None if self.cached_price is None else Rate(self.cached_price)
        cache_write = None if self.cache_write_price is None else Rate(self.cache_write_price)
        return Price(Rate(self.input_price), Rate(self.output_price), cached, cache_write, self.request_price or 0.0)

    @cached_property
    def is_free(self) -> bool:
        """Return whether its calls are known to cost nothing, wherever they are made."""
        return all(place.cost(MILLION_TOKENS) == 0.0 for place in self.places)

    def cost(self, usage: Usage) -> float | None:
        """Return the dollars of a call, or None where they are unknown.

        What the endpoint reports goes before our price times the tokens; a zero only where no price is known.
        """
        if usage.reported_cost is not None and (usage.reported_cost > 0.0 or self.price is None):
            return usage.reported_cost
        price, prompt, completion = self.price, usage.prompt_tokens, usage.completion_tokens
        if price is None or prompt is None or completion is None:
            return None
        return price.cost(prompt, completion, usage.cached_tokens or 0, usage.cache_write_tokens or 0)

    def worst_cost(self, prompt_tokens: int, completion_tokens: int) -> float | None:
        """Return the most dollars that a call with at most so many tokens can cost; None without a price."""
        if self.endpoints:  # wherever it is made
            costs = [p.worst_cost(prompt_tokens, completion_tokens) for p in self.places]
            return None if None in costs else max(c for c in costs if c is not None)
        return None if self.price is None else self.price.worst_cost(prompt_tokens, completion_tokens)
