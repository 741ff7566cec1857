INSERT INTO springest.certification
    (site, certification_id, name, is_listed, first_seen_at, last_seen_at, listed_since)
SELECT 'default', number, 'Certification ' || number, true, :now, :now, :now
FROM generate_series(100, 99 + :count) AS number
