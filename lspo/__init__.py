"""lspo: reinforcement learning with verifiable rewards for PyTorch Lightning, with length-aware dynamic sampling.

`dir(lspo)` lists the public names, as in `from lspo import DAPO, PolicyModule`. Each is loaded when it is asked for.
"""

from __future__ import annotations

from lspo.names import PLACE_OF
from lspo.version import __version__ as __version__

TYPE_CHECKING = False  # type checkers know it by its name; importing `typing` would be most of the time this takes

if TYPE_CHECKING:
    # The same names for type checkers and editors, to which the table in `lspo.names` is only text. A test compares.
    # Modules of this library import none of them from here: lint-imports would count all that is below.
    # fmt: off
    from lspo.cli.command import LSPOCommand as LSPOCommand
    from lspo.collecting import (
        CollectListener as CollectListener, CollectPlan as CollectPlan, CollectReport as CollectReport,
        PromptHistory as PromptHistory, Prompts as Prompts, RoundReport as RoundReport,
        StopCollecting as StopCollecting, collect as collect,
    )
    from lspo.datamodules import *
    from lspo.errors import (
        FolderError as FolderError, LSPOError as LSPOError, MissingFileError as MissingFileError,
        MissingLibraryError as MissingLibraryError, OccupiedError as OccupiedError, RunError as RunError,
        SettingError as SettingError, UnreachableError as UnreachableError,
    )
    from lspo.lightning_modules import *
    from lspo.lightning_modules.callbacks import default_callbacks as default_callbacks
    from lspo.models.causal_lm import load_model as load_model, load_tokenizer as load_tokenizer
    from lspo.models.marked_text import MarkedText as MarkedText
    from lspo.models.text_part import write_text_part as write_text_part
    from lspo.objectives import *
    from lspo.objectives.advantages import group_advantages as group_advantages
    from lspo.objectives.correction import MismatchCorrection as MismatchCorrection
    from lspo.prediction import *
    from lspo.problems import (
        AIME24 as AIME24, AIME25 as AIME25, GSM8K as GSM8K, MATH as MATH, MATH500 as MATH500,
        DAPOMath17k as DAPOMath17k, DatasetProblems as DatasetProblems, MinervaMath as MinervaMath,
        MixedProblems as MixedProblems, Note as Note, OlympiadBench as OlympiadBench, Problem as Problem,
        ProblemSet as ProblemSet, RowProblems as RowProblems, RunningSumProblems as RunningSumProblems,
        TRLProblems as TRLProblems, VerlProblems as VerlProblems, WordSumProblems as WordSumProblems,
    )
    from lspo.problems.demonstrations import (
        Demonstrations as Demonstrations, RunningSumDemonstrations as RunningSumDemonstrations,
        WorkedSolutions as WorkedSolutions,
    )
    from lspo.rewards import *
    from lspo.rollout import (
        PolicyHandle as PolicyHandle, RolloutEngine as RolloutEngine, Sampling as Sampling,
        TransformersEngine as TransformersEngine, VLLMEngine as VLLMEngine, VLLMServerEngine as VLLMServerEngine,
    )
    from lspo.rollout.local_policy import LocalPolicy as LocalPolicy
    from lspo.runs import Run as Run, read_run as read_run, read_runs as read_runs
    from lspo.sampling import *
    from lspo.types import (
        Draw as Draw, Prompt as Prompt, Rollout as Rollout, RolloutBatch as RolloutBatch, RolloutGroup as RolloutGroup,
        Score as Score,
    )
    # fmt: on

if not TYPE_CHECKING:  # a type checker that saw `__getattr__` would take any misspelled name for one of these
    __all__ = sorted(PLACE_OF)

    def __getattr__(name):
        if name not in PLACE_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        found = globals()[name] = getattr(import_module(PLACE_OF[name]), name)
        return found

    def __dir__():
        return sorted({*PLACE_OF, *(name for name in globals() if name.startswith("__"))})
