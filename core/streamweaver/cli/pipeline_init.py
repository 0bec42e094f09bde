"""`pipeline init`: a first pipeline to start from, and the schema that lets editors complete it."""

import json
import re
from importlib.resources import files
from pathlib import Path

import click

from streamweaver.config.model import STAGE_NAME
from streamweaver.describe import pipeline_schema
from streamweaver.registry import Registry

PIPELINE, SCHEMA = "pipeline.yaml", "schema.json"


def init_pipeline(folder: Path, name: str | None) -> list[Path]:
    """Write the files of a first pipeline into a folder, which may be new; returns them.

    A usage error, with nothing written, when one of them is there already or the name will not do.
    """
    if name is None:
        name = _name_of(folder)
    elif not re.fullmatch(STAGE_NAME, name):
        raise click.BadParameter(
            f"got {name!r}, expected lower-case words joined by underscores, such as first_steps", param_hint="--name"
        )
    template = files("streamweaver.scaffold").joinpath("pipeline.yaml.template").read_text(encoding="utf-8")
    texts = {
        PIPELINE: template.replace("@name@", name),
        SCHEMA: json.dumps(pipeline_schema(Registry()), indent=1, ensure_ascii=False) + "\n",
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in map(folder.joinpath, texts):
            if path.exists() or path.is_symlink():
                raise click.UsageError(f"{path} is there already, and nothing is overwritten: choose another folder")
        for written, text in texts.items():
            # Exclusively, so that a file that somebody makes at this moment is not lost either.
            with (folder / written).open("x", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        where = error.filename or folder
        raise click.UsageError(f"{where}: {(error.strerror or 'cannot be written').lower()}") from error
    return [folder / written for written in texts]


def _name_of(folder: Path) -> str:
    """Return a pipeline's name made of a folder's."""
    words = re.sub(r"[^a-z0-9]+", "_", folder.resolve().name.lower()).strip("_")
    return words or "first"
