"""Size and seed of random tests: a quick run takes few examples from a new seed each time, a soak takes many.

The run prints its seed. `--hypothesis-seed` repeats it, `--hypothesis-profile=soak` makes a soak.
"""

import os
import random
from typing import Any

import pytest
from _pytest.mark.structures import ParameterSet
from hypothesis import HealthCheck, settings

QUICK = "quick"
SOAK = "soak"

# Test modules read these when they are imported; xdist workers inherit them.
_PROFILE_VARIABLE = "HEADWATER_TEST_PROFILE"
_SEED_VARIABLE = "HEADWATER_TEST_SEED"

_SEEDS = 2**32


def configure(config: pytest.Config) -> None:
    """Choose the profile and the seed, unless they are given. Runs before the plugin of Hypothesis reads them."""
    settings.register_profile(QUICK, max_examples=100, deadline=None, derandomize=False, print_blob=True)
    settings.register_profile(SOAK, settings.get_profile(QUICK), max_examples=500)
    options = config.option
    options.hypothesis_profile = options.hypothesis_profile or QUICK
    # xdist gives its workers the command line alone, so they take the seed that the first process chose from the environment
    chosen = os.environ.get(_SEED_VARIABLE) or str(random.SystemRandom().randrange(_SEEDS))
    options.hypothesis_seed = options.hypothesis_seed or chosen
    os.environ[_PROFILE_VARIABLE] = options.hypothesis_profile
    os.environ[_SEED_VARIABLE] = options.hypothesis_seed


def description(config: pytest.Config) -> str:
    """Return the options that repeat the random tests of this run."""
    return f"--hypothesis-profile={config.option.hypothesis_profile} --hypothesis-seed={config.option.hypothesis_seed}"


def size(quick: int, soak: int) -> int:
    """Return how many examples the profile of this run asks for."""
    return soak if os.environ[_PROFILE_VARIABLE] == SOAK else quick


def writing_examples(**options: Any) -> settings:
    """Return the settings of a test whose examples write to a database, each of which takes as long as hundreds of others."""
    return settings(max_examples=size(quick=30, soak=500), suppress_health_check=list(HealthCheck), **options)


def seeds(quick: int, soak: int) -> list[ParameterSet]:
    """Return as many seeds as the profile asks for, as parameters of a test. They follow from the seed of the run."""
    chance = random.Random(os.environ[_SEED_VARIABLE])
    return [pytest.param(chance.randrange(_SEEDS), id=str(number)) for number in range(size(quick, soak))]
