"""Cache of the documents that tenants have sent."""

from collections import Counter, OrderedDict
from collections.abc import Set
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

# Share of the cache that a tenant may fill with documents that nobody else sends, while there is no room for those of others.
_SHARE = 0.25


@dataclass(slots=True)
class _CachedDocument(Generic[T]):
    """A cached document, what it counts in the bound, and the tenants that have sent its text."""

    text: str
    prepared: T
    weight: int
    tenant_ids: set[int]


class DocumentCache(Generic[T]):
    """Documents by hash, within a bound of their weight. A tenant finds only those whose text it has sent.

    If the bound is exceeded, the document that was used least recently is removed; if a tenant has more than its share, one of
    the tenant with the most. So what a tenant sends, or all strangers together, cannot remove all documents of others. A document
    may have at most half a share.
    """

    def __init__(self, max_weight: int) -> None:
        self.weight = 0
        self._max_weight = max_weight
        # the least recently used first
        self._documents: OrderedDict[str, _CachedDocument[T]] = OrderedDict()
        # weights of the documents that a tenant has sent, whether others have sent them or not
        self._weights: Counter[int] = Counter()

    def find(self, hashed: str, tenant_id: int) -> T | None:
        """Return a document whose text the tenant has sent."""
        cached = self._documents.get(hashed)
        if cached is None or tenant_id not in cached.tenant_ids:
            return None
        self._documents.move_to_end(hashed)
        return cached.prepared

    def send(self, hashed: str, tenant_id: int) -> T | None:
        """Return a document, if any tenant has sent its text, and note that this tenant has."""
        cached = self._documents.get(hashed)
        if cached is None:
            return None
        self._documents.move_to_end(hashed)
        if tenant_id not in cached.tenant_ids:
            cached.tenant_ids.add(tenant_id)
            self._weights[tenant_id] += cached.weight
        return cached.prepared

    def add(self, hashed: str, text: str, prepared: T, tenant_id: int) -> list[str]:
        """Add a document, which weighs its characters. Return the texts of those that are removed for it."""
        self._documents[hashed] = cached = _CachedDocument(text, prepared, 0, {tenant_id})
        return self._add_weight(cached, len(text))

    def grow(self, hashed: str, prepared: T, weight: int) -> list[str]:
        """Add to the weight of a document, unless it was removed. Return the texts of those that are removed for it."""
        cached = self._documents.get(hashed)
        return [] if cached is None or cached.prepared is not prepared else self._add_weight(cached, weight)

    def _add_weight(self, cached: _CachedDocument[T], weight: int) -> list[str]:
        cached.weight += weight
        self.weight += weight
        for tenant_id in cached.tenant_ids:
            self._weights[tenant_id] += weight
        removed: list[str] = []
        while self.weight > self._max_weight:
            ((tenant_id, most),) = self._weights.most_common(1)
            if most > _SHARE * self._max_weight:
                hashed = next(key for key, it in self._documents.items() if tenant_id in it.tenant_ids)
                removed += self._remove(hashed, {tenant_id})
            else:
                hashed, oldest = next(iter(self._documents.items()))
                removed += self._remove(hashed, oldest.tenant_ids)
        return removed

    def _remove(self, hashed: str, tenant_ids: Set[int]) -> list[str]:
        """Remove a document from tenants. Return its text if no other tenant has sent it."""
        cached = self._documents[hashed]
        for tenant_id in tenant_ids:
            self._weights[tenant_id] -= cached.weight
            if not self._weights[tenant_id]:
                del self._weights[tenant_id]
        cached.tenant_ids -= tenant_ids
        if cached.tenant_ids:
            return []
        self.weight -= cached.weight
        del self._documents[hashed]
        return [cached.text]
