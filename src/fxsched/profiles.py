"""A request and a profile → a ``JobSpec``: rules, fields, limits, the start script, the environment, templates.

The functions here are pure but for one: :func:`groups_of` asks the system which groups a user is in.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

from fxsched.errors import ConfigurationError, InvalidRequest, nearest
from fxsched.hosts.base import NOTHING
from fxsched.hosts.local import IDENTITY
from fxsched.jobs import JobSpec, Resources, Secret, check_word
from fxsched.units import format_duration, format_size, parse_duration, parse_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from fxsched.adapter import Adapter
    from fxsched.config import Config, FieldSettings, Inherit, ProfileSettings
    from fxsched.fastx.request import Request
    from fxsched.jobs import Token

PRIMARY: Final = "WEBLINK_PRIMARY"

Value = str | int

_TYPES: Final = {
    "nodes": "integer",
    "cores": "integer",
    "gpus": "integer",
    "memory": "size",
    "walltime": "duration",
    "queue": "text",
    "account": "text",
    "qos": "text",
    "reservation": "text",
    "constraint": "text",
}
_ORDERED: Final = ("integer", "size", "duration")
_RESOURCES: Final = ("nodes", "cores", "memory", "gpus", "walltime")
_FORMATS: Final[dict[str, Callable[[Any], str]]] = {"size": format_size, "duration": format_duration}
_FASTX_VARIABLES: Final = ("FX_", "FASTX_", "WEBLINK_", "LC_")
_LOCALE_VARIABLES: Final = ("LANG", "LANGUAGE")


def choose_profile(request: Request, config: Config, groups: Callable[[], Iterable[str]]) -> str | None:
    """Return the profile of the first rule that matches, or None. ``groups`` is called only if a rule needs it."""
    for rule in config.rules:
        when = rule.when
        if when.login is not None and not _matches(when.login, [request.login]):
            continue
        if when.group is not None and not _matches(when.group, groups()):
            continue
        params = request.start.params
        if all(name in params and _matches(wanted, _texts(params[name])) for name, wanted in when.params.items()):
            return rule.profile
    return None


def groups_of(request: Request) -> list[str]:
    """Return the names of the groups that the request's user is in, as this machine knows them."""
    import grp
    import os
    import pwd

    names = []
    try:
        primary = request.gid if request.gid is not None else pwd.getpwnam(request.login).pw_gid
        for gid in os.getgrouplist(request.login, primary):
            try:
                names.append(grp.getgrgid(gid).gr_name)
            except KeyError:
                continue  # a group without a name matches no rule
    except (KeyError, OSError):
        pass  # a user whom this machine does not know is in no group
    return names


def build_spec(
    request: Request,
    name: str,
    profile: ProfileSettings,
    *,
    token: Token,
    environment: Mapping[str, str],
) -> JobSpec:
    """Return the job for a request.

    Args:
        request: what FastX sent.
        name: the profile's, for messages.
        profile: how sessions are asked for.
        token: the submission's.
        environment: what the job inherits, as :func:`inherited` chose it.

    Raises:
        InvalidRequest: a param is missing, of the wrong kind or outside its limits.
        ConfigurationError: the profile cannot serve this request.
    """
    values = _field_values(request, name, profile)
    _check_names(name, profile)
    variables, secrets = _environment(request, profile, environment)
    command = _start_command(request, profile, variables, secrets)
    needs = placement(name, profile, values)
    body = _render(profile.template, request, values, command, token) if profile.template else ""
    if profile.submit_line:
        needs["native"] += _submit_options(profile, request)
    return JobSpec(
        token=token,
        name=request.start.name or request.start.command or "session",
        command=command,
        body=body,
        stdin=request.start_json,
        environment=variables,
        secrets=secrets,
        wait=profile.wait_for_session,
        working_directory=request.homedir or None,
        **needs,
    )


def placement(name: str, profile: ProfileSettings, values: Mapping[str, Value] = NOTHING) -> dict[str, Any]:
    """Return the members of a ``JobSpec`` that say what a job needs and where it goes.

    ``values`` are a request's, and outrank the profile's own.

    Raises:
        ConfigurationError: the profile has a size or a duration that is none.
    """
    needs: dict[str, Any] = {key: values.get(key, getattr(profile, key)) for key in _TYPES}
    for key, parse in (("memory", parse_size), ("walltime", parse_duration)):
        if isinstance(needs[key], str):
            needs[key] = _configured(parse, needs[key], f"profiles.{name}.{key}")
    resources = Resources(**{key: needs.pop(key) for key in _RESOURCES})
    return needs | {"resources": resources, "exclusive": profile.exclusive, "native": tuple(profile.native)}


def inherited(policy: Inherit | None, adapter: Adapter, environment: Mapping[str, str]) -> dict[str, str]:
    """Return what a job gets of the launcher's ``environment`` under a cluster's policy, or its adapter's habit."""
    here = adapter.host.home is not None
    if policy is None:
        policy = "all" if adapter.inherits_environment and here else "fastx"
    match policy:
        case "all":  # elsewhere, or as somebody else, who and where the user is differs
            return {name: value for name, value in environment.items() if here or name not in IDENTITY}
        case "none":
            return {}
        case "fastx":
            return {n: v for n, v in environment.items() if n.startswith(_FASTX_VARIABLES) or n in _LOCALE_VARIABLES}
        case names:
            return {name: environment[name] for name in names if name in environment}


# ── fields ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _field_values(request: Request, profile_name: str, profile: ProfileSettings) -> dict[str, Value]:
    values: dict[str, Value] = {}
    used = _submit_params(profile)
    for name, settings in profile.fields.items():
        where = f"profiles.{profile_name}.fields.{name}"
        kind = _kind(name, settings, where)
        if name not in _TYPES and not profile.template and settings.param not in used:
            why = f"the profile has no template{nearest(name, _TYPES)}"
            if used:
                why = f"the profile's submit_line does not use {settings.param!r}{nearest(settings.param, used)}"
            raise ConfigurationError(f"{where} feeds nothing: {why}")
        given = request.start.params.get(settings.param)
        if given in (None, "", []):
            if settings.default is not None:
                values[name] = _configured(_parser(kind, settings), settings.default, f"{where}.default")
            continue
        values[name] = _checked(given, kind, settings, where)
    return values


def _kind(name: str, settings: FieldSettings, where: str) -> str:
    """Return a field's type: what it feeds demands one, or it is given, or told by what its limits are."""
    kind = settings.type or _TYPES.get(name)
    if kind != _TYPES.get(name, kind):
        raise ConfigurationError(f"{where}.type is {kind!r}, but {name} is of type {_TYPES[name]!r}")
    limits = [limit for limit in (settings.min, settings.max) if limit is not None]
    if not limits:
        return kind or "text"
    if kind is None:
        fitting = [each for each in _ORDERED if all(_is_of(each, limit, settings) for limit in limits)]
        kind = fitting[0] if len(fitting) == 1 else "text"
    if kind == "text":
        raise ConfigurationError(
            f"{where} has min or max, which do not limit text: give it a type, {', '.join(map(repr, _ORDERED))}, or "
            "choices in their place"
        )
    return kind


def _is_of(kind: str, value: Value, settings: FieldSettings) -> bool:
    try:
        _parser(kind, settings)(value)
    except InvalidRequest:
        return False
    return True


def _checked(given: object, kind: str, settings: FieldSettings, where: str) -> Value:
    """Return a param's value if it is of its kind and within its limits."""
    param, texts = settings.param, _texts(given)
    if len(texts) != 1:
        raise InvalidRequest(f"{param} must be one value, not {len(texts)}")
    parse = _parser(kind, settings)
    try:
        value = parse(texts[0])
        if isinstance(value, str):
            check_word(value, param)
    except InvalidRequest as error:
        raise InvalidRequest(f"{param}: {error}") from None
    shown = _FORMATS.get(kind, str)
    if settings.choices and value not in [_configured(parse, c, f"{where}.choices") for c in settings.choices]:
        raise InvalidRequest(f"{param} is {texts[0]!r}, but must be one of {', '.join(map(str, settings.choices))}")
    if not isinstance(value, str):
        for limit, word in ((settings.min, "least"), (settings.max, "most")):
            if limit is None:
                continue
            bound = _configured(parse, limit, f"{where}.{'min' if word == 'least' else 'max'}")
            if isinstance(bound, int) and (value < bound if word == "least" else value > bound):
                raise InvalidRequest(f"{param} is {shown(value)}, but must be at {word} {shown(bound)}")
    return value


def _parser(kind: str, settings: FieldSettings) -> Callable[[Any], Value]:
    def parse(value: object) -> Value:
        text = str(value).strip()
        if kind == "text":
            return str(value)
        if kind == "integer":
            if not (text.isascii() and text.removeprefix("-").isdigit() and len(text) < 19):
                raise InvalidRequest(f"{text!r} is not a whole number")
            return int(text)
        if settings.unit and text.replace(".", "", 1).isdigit():
            text += settings.unit
        return parse_size(text) if kind == "size" else parse_duration(text)

    return parse


def _configured(parse: Callable[[Any], Value], value: Value, where: str) -> Value:
    """Parse a value of the administrator's: if it is wrong, it is the configuration that is wrong."""
    try:
        return parse(value)
    except InvalidRequest as error:
        raise ConfigurationError(f"{where}: {error}") from None


def _texts(value: object) -> list[str]:
    """Return a param as texts: FastX sends strings, and a list for a multi-select."""
    values = value if isinstance(value, list) else [value]
    for item in values:
        if isinstance(item, dict | list):
            raise InvalidRequest(f"a param must be text, not {item!r}")
    return [str(item).lower() if isinstance(item, bool) else str(item) for item in values]


def _matches(wanted: str | list[str], values: Iterable[str]) -> bool:
    patterns = [wanted] if isinstance(wanted, str) else wanted
    return any(fnmatchcase(value, pattern) for value in values for pattern in patterns)


# ── what runs ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _check_names(profile_name: str, profile: ProfileSettings) -> None:
    """Refuse variables that could not reach the job; of what is inherited, such are left out in silence."""
    for name in profile.environment:
        if not (name.isascii() and name.isidentifier()):
            raise ConfigurationError(
                f"profiles.{profile_name}.environment: no shell can hold a variable {name!r}: write letters, digits "
                "and _, and no digit first"
            )


def _environment(
    request: Request, profile: ProfileSettings, inherited: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, Secret]]:
    """Return the job's variables and its secrets. What the request says outranks what is inherited."""
    variables = dict(inherited)
    if request.weblink is not None:
        weblink = request.weblink
        given = {"WEBLINK_URL": weblink.url, "WEBLINK_URI": weblink.uri, PRIMARY: weblink.primary}
        variables.update({name: value for name, value in given.items() if value})
    variables.update(profile.environment)
    secrets = {PRIMARY: Secret(variables.pop(PRIMARY))} if PRIMARY in variables else {}
    return variables, secrets


def _start_command(
    request: Request, profile: ProfileSettings, variables: Mapping[str, str], secrets: Mapping[str, Secret]
) -> tuple[str, ...]:
    """Return the start script and its arguments: the profile's, else start-weblink, else FastX's default."""
    script = profile.start_script
    if script is None and request.weblink is not None:
        for name in ("WEBLINK_URL", PRIMARY):
            if name not in variables and name not in secrets:
                raise InvalidRequest(
                    f"FastX's request has a weblink without {name.removeprefix('WEBLINK_').lower()!r}: the session "
                    f"could never connect back. Set WEBLINK_PORT and the weblink's address in FastX, or give {name} "
                    "in the profile's environment"
                )
        script = "$FX_ROOT_DIR/scripts/start-weblink"
    script = script or request.default_start_script or "$FX_ROOT_DIR/scripts/start"
    if "FX_ROOT_DIR" in script:
        if not request.root_dir:
            raise InvalidRequest(f"FastX's request has no member 'rootDir', which the start script {script!r} needs")
        for form in ("${FX_ROOT_DIR}", "$FX_ROOT_DIR"):
            script = script.replace(form, request.root_dir)
    check_word(script, "the start script")
    return (script, *profile.start_args)


def _submit_params(profile: ProfileSettings) -> frozenset[str]:
    """Return the params that the profile's submit_line uses, if it has one: fields hold these to their limits."""
    if not profile.submit_line:
        return frozenset()
    from fxsched.fastx.submitline import used_params

    return used_params(profile.submit_line)


def _submit_options(profile: ProfileSettings, request: Request) -> tuple[str, ...]:
    from fxsched.fastx.submitline import scheduler_options

    defaults = {field.param: field.default for field in profile.fields.values() if field.default is not None}
    return scheduler_options(profile.submit_line or "", request.start, defaults)


def _render(template: str, request: Request, values: Mapping[str, Any], command: tuple[str, ...], token: Token) -> str:
    from fxsched.template import render

    given = {
        "start": {
            "command": request.start.command,
            "geometry": request.start.geometry,
            "name": request.start.name,
            "params": request.start.params,
        },
        "request": {name: getattr(request, name) for name in ("login", "uid", "gid", "homedir", "shell", "root_dir")},
        "fields": dict(values),
        "token": token,
    }
    return render(template, given, command)
