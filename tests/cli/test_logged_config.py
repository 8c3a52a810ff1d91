"""The configuration in the loggers."""

from __future__ import annotations

from typing import Any

from lightning.pytorch.loggers import CSVLogger

from lspo.cli.logged_config import log_configuration


class Logger:
    def __init__(self) -> None:
        self.params: dict[str, Any] = {}

    def log_hyperparams(self, params: dict[str, Any]) -> None:
        self.params = params


class Silent(CSVLogger):
    def log_hyperparams(self, params: Any = None) -> None:
        raise AssertionError("its folder has config.yaml")


def test_every_logger_but_the_csv_file_gets_the_configuration(tmp_path: Any) -> None:
    logger = Logger()
    log_configuration(
        [logger, Silent(tmp_path)], "seed: 3\nmodel: {objective: {init_args: {clip_low: 0.2}}, name: null}"
    )
    assert logger.params == {"seed": 3, "model.objective.init_args.clip_low": 0.2, "model.name": None}
