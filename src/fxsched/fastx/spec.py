"""A request and a profile → a ``JobSpec``: rules, the start script, the environment, templates.

The functions here are pure but for one: :func:`groups_of` asks the system which groups a user is in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from fxsched.errors import ConfigurationError, InvalidRequest
from fxsched.jobs import JobSpec, Secret, check_word
from fxsched.settings.fields import field_values, matches, texts
from fxsched.settings.placement import placement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from fxsched.fastx.request import Request
    from fxsched.jobs import Token
    from fxsched.settings.config import Config, ProfileSettings

PRIMARY: Final = "WEBLINK_PRIMARY"


def choose_profile(request: Request, config: Config, groups: Callable[[], Iterable[str]]) -> str | None:
    """Return the profile of the first rule that matches, or None. ``groups`` is called only if a rule needs it."""
    for rule in config.rules:
        when = rule.when
        if when.login is not None and not matches(when.login, [request.login]):
            continue
        if when.group is not None and not matches(when.group, groups()):
            continue
        params = request.start.params
        if all(name in params and matches(wanted, texts(params[name])) for name, wanted in when.params.items()):
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
    values = field_values(request.start.params, name, profile, _submit_params(profile))
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
        wait_for_session=profile.wait_for_session,
        working_directory=request.homedir or None,
        **needs,
    )


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
    from fxsched.settings.template import render

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
