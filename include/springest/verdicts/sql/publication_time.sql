-- The single time of a publication: later than that of the last one, even if the clock was set back.
SELECT GREATEST(clock_timestamp(), max(published_at) + interval '1 microsecond')
FROM springest.publication
WHERE site = :site
