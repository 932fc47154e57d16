"""The cache of documents: its bound, what is removed first, and who finds what."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema.execution.document_cache import DocumentCache

pytestmark = pytest.mark.unit

MAX_WEIGHT = 80
STRANGER, TENANT, OTHER = 0, 1, 2


def add(cache: DocumentCache[str], name: str, tenant_id: int, weight: int = 10) -> list[str]:
    """Add a document of this weight. Return the names of those that are removed for it."""
    return [it.strip() for it in cache.add(name, name.ljust(weight), name, tenant_id)]


def found(cache: DocumentCache[str], names: str, tenant_id: int) -> str:
    return "".join(it for it in names if cache.find(it, tenant_id) == it)


def test_documents_of_one_tenant_remove_none_of_another() -> None:
    cache: DocumentCache[str] = DocumentCache(MAX_WEIGHT)
    assert add(cache, "A", TENANT) == add(cache, "B", TENANT) == []
    removed = [it for name in "abcdefghij" for it in add(cache, name, STRANGER)]
    assert removed == ["a", "b", "c", "d"]
    assert found(cache, "AB", TENANT) == "AB"
    # the strangers give way until both have the same
    assert [it for name in "CDEFGH" for it in add(cache, name, TENANT)] == ["e", "f", "A", "B", "C", "D"]
    assert (found(cache, "ABCDEFGH", TENANT), found(cache, "efghij", STRANGER)) == ("EFGH", "ghij")


def test_within_shares_the_document_that_was_used_least_recently_is_removed() -> None:
    cache: DocumentCache[str] = DocumentCache(MAX_WEIGHT)
    for tenant_id, name in enumerate("ABCDEFGH"):
        assert add(cache, name, tenant_id) == []
    assert (cache.find("A", 0), cache.send("B", 0)) == ("A", "B")
    assert add(cache, "I", 8) == ["C"]
    assert cache.grow("I", "I", 5) == ["D".ljust(10)]
    assert (found(cache, "AB", 0), found(cache, "B", 1)) == ("AB", "B")


def test_a_document_is_found_by_those_who_have_sent_it_and_kept_for_the_others() -> None:
    cache: DocumentCache[str] = DocumentCache(MAX_WEIGHT)
    add(cache, "A", STRANGER)
    assert cache.find("A", TENANT) is None
    assert cache.send("A", TENANT) == cache.find("A", TENANT) == "A"
    assert [it for name in "abcdefgh" for it in add(cache, name, STRANGER)] == ["a"]
    assert (found(cache, "A", STRANGER), found(cache, "A", TENANT)) == ("", "A")
    # a removed document does not grow, nor does another one with its hash
    assert cache.grow("a", "a", 5) == cache.grow("A", "another", 5) == []
    assert cache.weight == MAX_WEIGHT


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from("abcdefghijklmnop"), st.integers(1, 5), st.booleans())))
def test_weights_are_those_of_the_documents(steps: list[tuple[int, str, int, bool]]) -> None:
    cache: DocumentCache[str] = DocumentCache(MAX_WEIGHT)
    weights: dict[str, int] = {}
    for tenant_id, name, weight, grows in steps:
        removed: list[str] = []
        if grows and weights.get(name, 10) + weight <= 10:
            removed = cache.grow(name, name, weight)
            if name in weights:
                weights[name] += weight
        elif cache.send(name, tenant_id) is None:
            removed = cache.add(name, name * weight, name, tenant_id)
            weights[name] = weight
        for text in removed:
            del weights[text[0]]
        assert cache.weight == sum(weights.values()) <= MAX_WEIGHT
        assert {name: it.weight for name, it in cache._documents.items()} == weights
        assert dict(cache._weights) == {
            tenant: total
            for tenant in range(4)
            if (total := sum(it.weight for it in cache._documents.values() if tenant in it.tenant_ids))
        }
