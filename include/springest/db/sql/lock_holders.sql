-- Other sessions that hold an advisory lock in this database, or a table or view of the schema: which lock,
-- who, and since when. Modes that do not matter to the session that waits are left out. Values that the role may not see are null.
WITH named AS (
    SELECT hashtextextended('springest.' || name, 0) AS key, 'springest.' || name AS name
    FROM unnest(ARRAY[{global_locks}]) AS name
    UNION ALL
    SELECT hashtextextended('springest.' || name || ':' || site, 0), 'springest.' || name || ':' || site
    FROM unnest(ARRAY[{site_locks}]) AS name
    CROSS JOIN springest.site_identity
)
SELECT COALESCE(named.name, CAST(CAST(locks.relation AS regclass) AS text), 'an advisory lock') AS lock,
       locks.pid,
       activity.application_name,
       activity.usename AS role,
       activity.state,
       date_trunc('second', activity.xact_start) AS since
FROM pg_locks AS locks
LEFT JOIN named ON locks.locktype = 'advisory' AND locks.objsubid = 1
     AND named.key = (CAST(CAST(locks.classid AS bigint) AS bit(64)) << 32 | CAST(CAST(locks.objid AS bigint) AS bit(64)))::bigint
LEFT JOIN pg_class AS class ON locks.locktype = 'relation' AND class.oid = locks.relation
LEFT JOIN pg_stat_activity AS activity ON activity.pid = locks.pid
WHERE locks.granted
  AND locks.pid <> pg_backend_pid()
  AND locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND (locks.locktype = 'advisory'
       OR class.relnamespace = CAST(to_regnamespace('springest') AS oid)
          AND locks.mode NOT IN ({ignored_modes}))
ORDER BY activity.xact_start NULLS LAST, locks.pid
