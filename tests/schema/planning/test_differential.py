"""The planned executor and graphql-core give the same results: data, errors, paths and cost."""

import asyncio
import gc
import random
import re
from pathlib import Path
from typing import Any

import pytest
from graphql import (
    DocumentNode,
    ExecutionResult,
    OperationDefinitionNode,
    execute,
    parse,
    specified_rules,
    validate,
)
from graphql.execution.values import get_variable_values

from db.driver_connection import StatementHook
from graph_api.graphiql.examples import EXAMPLES
from schema.execution.general import CountingExecution
from schema.execution.operation import Execution
from schema.planning import run as plan_run
from schema.planning.cache import DocumentPlans
from schema.planning.planner import Planner
from tests.builders import Api
from tests.randomness import seeds
from tests.schema.planning.random_operations import RandomOperation
from tests.schema.planning.random_schema import Chance, schema

GOLDEN = Path(__file__).parents[2] / "golden"
OPERATIONS = 12
PLANNER = Planner(schema)
_OF_NO_TYPE = re.compile(r"does not exist inside the schema|cannot be resolved for the field")


async def run_planned(
    plans: DocumentPlans, document: DocumentNode, variables: dict[str, Any], context: Chance
) -> ExecutionResult:
    operation = document.definitions[0]
    assert isinstance(operation, OperationDefinitionNode)
    values = get_variable_values(schema._schema, operation.variable_definitions or (), variables)
    assert not isinstance(values, list), values
    plan = plans.plan(PLANNER, operation, document, values).plan
    assert plan is not None
    return await plan_run.run_plan(plan, values, context)


async def run_generally(document: DocumentNode, variables: dict[str, Any], context: Chance) -> ExecutionResult:
    executed = execute(
        schema._schema, document, context_value=context, variable_values=variables, executor_class=CountingExecution
    )
    return executed if isinstance(executed, ExecutionResult) else await executed


# graphql-core leaves coroutines behind where a list fails before they are awaited
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.random
@pytest.mark.parametrize("chunk_size", [1, plan_run.CHUNK_SIZE], ids=["in chunks", "at once"])
@pytest.mark.parametrize("seed", seeds(quick=10, soak=100))
async def test_random_operations_over_random_data(seed: int, chunk_size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_run, "CHUNK_SIZE", chunk_size)
    chance = random.Random(seed)
    for number in range(OPERATIONS):
        operation = RandomOperation(schema._schema, chance, depth=3)
        text, variables = operation.text, operation.variables
        document = parse(text)
        if validate(schema._schema, document, specified_rules):
            # two fields with one key may differ in their types
            continue
        plans = DocumentPlans()
        # the second run finds the plan of the first, or another one of the same document
        for given in (variables, operation.other_variables):
            data_seed, defects = chance.randrange(2**32), chance.choice([0.0, 0.05, 0.3])
            planned_context, general_context = (Chance(data_seed, defects) for _ in range(2))
            planned = await run_planned(plans, document, given, planned_context)
            general = await run_generally(document, given, general_context)
            assert planned.data == general.data, (number, text, given)
            assert list_keys(planned.data) == list_keys(general.data), text
            assert effects(planned) == effects(general), (number, text, given, planned.errors, general.errors)
            if not general.errors:
                assert planned_context.cost_meter.objects == general_context.cost_meter.objects, text
    gc.collect()


def list_keys(data: Any) -> Any:
    """Return the keys of all objects, in order."""
    if isinstance(data, dict):
        return [(name, list_keys(part)) for name, part in data.items()]
    return [list_keys(it) for it in data] if isinstance(data, list) else None


def effects(result: ExecutionResult) -> dict[tuple[str | int, ...], set[str]]:
    """Return the positions that errors made null, each with the errors of that very position.

    Of several errors that make one object null, an executor may report any.
    """
    found: dict[tuple[str | int, ...], set[str]] = {}
    for error in result.errors or ():
        assert error.path is not None
        path = tuple(error.path)
        position = null_position(result.data, path)
        messages = found.setdefault(position, set())
        if position == path:
            # Strawberry has another message for a value of a union that has none of its types
            messages.add("of no type" if _OF_NO_TYPE.search(error.message) else error.message)
    return found


def null_position(data: Any, path: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """Return the start of a path that leads to null."""
    for length, step in enumerate(path):
        if data is None:
            return path[:length]
        data = data[step]
    assert data is None, (path, data)
    return path


DOCUMENTS = {it.stem: it.read_text() for it in sorted(GOLDEN.glob("*.graphql"))} | {it.name: it.query for it in EXAMPLES}
QUERIES = {name: query for name, query in DOCUMENTS.items() if "mutation" not in query}


class SlowDatabase(StatementHook):
    """Lets each statement last longer than calls take to gather, as it does unless the machine is busy.

    Which calls share a statement depends on what ends first, a statement or the gathering of calls: without this, one of the
    queries takes one statement more now and then, with either executor.
    """

    async def before(self, _connection: Any, text: str, _arguments: Any) -> str:
        for _ in range(10):
            await asyncio.sleep(0)
        return text


async def test_golden_and_example_queries(demo_api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """The results are equal, and no query takes more statements than with graphql-core."""
    planned, general = {}, {}
    demo_api.database.hooks.append(SlowDatabase())
    await demo_api.know_figures()
    for name, query in QUERIES.items():
        demo_api.statements.clear()
        planned[name] = (await demo_api(query)).body, len(demo_api.statements)

    monkeypatch.setattr(Execution, "plan", None)
    for name, query in QUERIES.items():
        demo_api.statements.clear()
        general[name] = (await demo_api(query)).body, len(demo_api.statements)
    for name in QUERIES:
        (planned_body, planned_statements), (general_body, general_statements) = planned[name], general[name]
        assert errors_of(planned_body) == errors_of(general_body)
        assert without_instants(planned_body["data"]) == without_instants(general_body["data"])
        assert planned_body["extensions"]["cost"] == general_body["extensions"]["cost"]
        # graphql-core ends at the first error that leaves no data
        if general_body["data"] is not None:
            assert planned_statements <= general_statements, (name, planned_statements, general_statements)


def errors_of(body: dict[str, Any]) -> Any:
    """Return the errors by their paths. Of those that leave no data an executor may report any: True if there are some."""
    errors = {str(it["path"]): it for it in body.get("errors", ())}
    return errors if body["data"] is not None else bool(errors)


def without_instants(value: Any) -> Any:
    """Return a result without cursors of walks, which contain the instant of the walk."""
    if isinstance(value, dict):
        return {
            name: without_instants(part)
            for name, part in value.items()
            if name not in ("cursor", "endCursor", "startCursor", "asOf")
        }
    return [without_instants(it) for it in value] if isinstance(value, list) else value
