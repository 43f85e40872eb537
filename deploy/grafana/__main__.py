"""Write the dashboards' JSON again: `make dashboards`."""

import json
from pathlib import Path

from deploy.grafana.board import Json
from deploy.grafana.experiments import EXPERIMENTS
from deploy.grafana.operations import OPERATIONS

FOLDER = Path(__file__).parent
FILES: dict[Path, Json] = {FOLDER / "pointsman.json": OPERATIONS, FOLDER / "experiments.json": EXPERIMENTS}


def written(board: Json) -> str:
    """The file's text."""
    return json.dumps(board, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for path, board in FILES.items():
        path.write_text(written(board), encoding="utf-8")
