"""The section `dashboard` of a pipeline file: what is drawn, what is watched, and who may look. Pure."""

import ipaddress
from pathlib import Path
from typing import Any, Literal

import attrs

from streamweaver.config.condition import Condition, parse_condition
from streamweaver.config.node import Mark
from streamweaver.panel import PATH, Panel, PanelConfig, fresh_id, make_panel, slug
from streamweaver.plugin import option
from streamweaver.units import Seconds

MAX_PANELS = 64
MAX_RULES = 100
DEFAULT_PORT = 8700


def _condition(_rule: Any, _attribute: Any, text: str) -> None:
    parse_condition(text)


@attrs.frozen
class RuleConfig:
    """One alert rule."""

    when: str = option(help="the condition", example="lag of prices > 10 s for 30 s", validator=_condition)
    name: str | None = option(default=None, help="what people read; the condition when not set", example="slow prices")
    by: str | None = option(
        default=None, help="field that tells series apart, where the condition is on a field", pattern=PATH
    )
    level: Literal["warning", "critical"] = option(default="warning", help="how bad it is", example="critical")


def is_loopback(host: str) -> bool:
    """Say whether an address to listen on can be reached from this machine only."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _not_open_to_all(config: "DashboardConfig", _attribute: Any, host: str) -> None:
    has_token = config.token is not None or config.reader_token is not None
    if not is_loopback(host) and not has_token and not config.allow_anonymous:
        raise ValueError(
            f"{host!r} can be reached from other machines and there is no token: set token or reader_token, "
            "or `allow_anonymous: true` if something else keeps strangers out"
        )


def _both_or_neither(config: "DashboardConfig", _attribute: Any, key: Path | None) -> None:
    if (config.tls_certificate is None) != (key is None):
        raise ValueError("tls_certificate and tls_key belong together: set both or neither")


@attrs.frozen
class DashboardConfig:
    """How the dashboard is served; panels and alerts stand beside these."""

    enabled: bool = option(default=True, help="whether `pipeline up` serves it", example=False)
    host: str = option(
        default="127.0.0.1", help="address to listen on", example="127.0.0.1", validator=_not_open_to_all
    )
    port: int | None = option(
        default=None,
        help=f"port to listen on, 0 for any free one; {DEFAULT_PORT} or the next free one when not set",
        ge=0,
        le=65_535,
        example=DEFAULT_PORT,
    )
    token: str | None = option(
        default=None, secret=True, help="what people log in with", min_length=8, example="${env:DASHBOARD_TOKEN}"
    )
    reader_token: str | None = option(
        default=None,
        secret=True,
        help="as token, but only for looking",
        min_length=8,
        example="${env:DASHBOARD_READER_TOKEN}",
    )
    allow_anonymous: bool = option(
        default=False,
        help="let everyone in without a token on an address that is not loopback, as in a container whose port is "
        "published on loopback only; then only loopback names, addresses and `hosts` are served",
        example=True,
    )
    read_only: bool = option(default=False, help="nobody may change anything through it", example=True)
    hosts: list[str] = option(
        factory=list, help="further names under which it is reached, as behind a proxy", example=["live.example.com"]
    )
    origins: list[str] = option(
        factory=list, help="web pages of other hosts that may use it", example=["https://app.example.com"]
    )
    tls_certificate: Path | None = option(
        default=None, help="certificate chain (PEM) for https", example="/etc/streamweaver/server.pem"
    )
    tls_key: Path | None = option(
        default=None,
        help="private key (PEM) of the certificate",
        example="/etc/streamweaver/server.key",
        validator=_both_or_neither,
    )
    tick: Seconds = option(default=Seconds(0.1), help="time between two frames", ge=0.05, le=1.0, example="100ms")
    webhook: str | None = option(
        default=None,
        secret=True,
        help="address that is told of alerts, as JSON by POST",
        example="https://hooks.example.com/x",
        pattern=r"https?://[^\s/]+(/\S*)?",
    )

    def claims(self) -> list[str]:
        """Nobody else may listen on the port; without one any free port will do."""
        return [f"port {self.port}"] if self.enabled and self.port else []


# -- as the plan has it ---------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Rule:
    """An alert rule."""

    id: str
    name: str
    when: str
    condition: Condition
    level: Literal["warning", "critical"] = "warning"
    by: str | None = None


@attrs.frozen(kw_only=True)
class DashboardPlan:
    """The dashboard of a pipeline."""

    options: DashboardConfig = attrs.field(factory=DashboardConfig)
    panels: tuple[Panel, ...] = ()
    rules: tuple[Rule, ...] = ()
    place: Mark | None = None
    """Where the file names the port, or else the section; None without either."""


def make_rule(config: RuleConfig, taken: set[str]) -> Rule:
    """Fill in the defaults of a rule."""
    name = config.name or config.when
    return Rule(
        id=fresh_id(slug(name), taken),
        name=name,
        when=config.when,
        condition=parse_condition(config.when),
        level=config.level,
        by=config.by,
    )


def default_panels(topics: list[str]) -> tuple[Panel, ...]:
    """Return what is drawn of a pipeline whose file names no panel: the records of its topics as they pass."""
    taken: set[str] = set()
    return tuple(make_panel(PanelConfig(kind="feed"), topic, taken) for topic in topics[:6])
