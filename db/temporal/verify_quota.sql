-- Whether as many identities of a kind are counted as there are, but for some that are still to be. A row is a difference.
SELECT counted.used, kept.identities
FROM (SELECT count(*) AS identities FROM {identities} i WHERE i.tenant_id = CAST(:tenant AS bigint) AND {is_of_kind}) kept
LEFT JOIN quota counted ON counted.tenant_id = CAST(:tenant AS bigint) AND counted.kind = CAST(:kind AS text)
WHERE coalesce(counted.used, 0) + CAST(:pending AS bigint) <> kept.identities
