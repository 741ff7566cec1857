-- Every column of every table and view, with its comment and its relation's.
SELECT relation.relname, CASE relation.relkind WHEN 'v' THEN 'View' ELSE 'Table' END,
       COALESCE(obj_description(relation.oid, 'pg_class'), ''), attribute.attname,
       format_type(attribute.atttypid, NULL), NOT attribute.attnotnull,
       COALESCE(col_description(relation.oid, attribute.attnum), '')
FROM pg_class AS relation
JOIN pg_attribute AS attribute
  ON attribute.attrelid = relation.oid AND attribute.attnum > 0 AND NOT attribute.attisdropped
WHERE relation.relnamespace = to_regnamespace('springest')
  AND relation.relkind IN ('r', 'v')
  AND relation.relname <> :version_table
ORDER BY relation.relname COLLATE "C", attribute.attnum
