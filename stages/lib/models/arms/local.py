"""A model in this process: a folder or a model of the hub, with or without an adapter."""

from stages.lib.core import files, params
from stages.lib.core.log import LOG
from stages.lib.models import adapters, prompt_family, snapshot
from stages.lib.models.arm import ArmParams, Setting
from stages.lib.models.chat import local


@params.section
class Params(ArmParams, local.LocalParams):
    """A model in this process, and how it is asked."""


def responder(params: Params, setting: Setting) -> local.Local:
    """The model of a row; it is loaded when it is first asked.

    An adapter that was taught other prompts may be asked these, which is what an arm may be there for; the log says so.

    Raises:
        MismatchError: If its adapter was trained on another base, or on other pixels.
        ModelError: If its files are not there.
    """
    folder = local.adapter_of(params, setting)
    if folder is not None:
        base = snapshot.read(setting.path("fetched"))
        card = adapters.check(folder, pixels_hash(params), base.identity, None)
        ours = asked(params)
        odd = [
            f"{name} {card.prompt.get(name)!r}, now {ours[name]!r}"
            for name in ours
            if card.prompt.get(name) != ours[name]
        ]
        if odd:
            LOG.warning("%s: the adapter was taught with %s", folder, "; ".join(odd))
    return local.responder(params, setting)


def pixels_hash(params: ArmParams) -> str:
    """Hash of what decides the pixels that a model is sent, beside the files: an adapter's preprocessing hash."""
    return files.sha256_json({"pixels": params.pixels})[:16]


def asked(params: ArmParams) -> dict[str, adapters.Value]:
    """What an adapter is taught to be asked, by name."""
    return {
        "family": prompt_family.read(params.prompt).label,
        "system": params.system,
        "image_first": params.image_first,
        "images": params.images,
        "max_images": params.max_images,
        "unit": params.unit,
    }
