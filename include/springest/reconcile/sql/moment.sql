-- The one moment of a publication: later than the last one, also when the clock was set back.
SELECT GREATEST(clock_timestamp(),
                (SELECT max(reconciled_at) + interval '1 microsecond' FROM springest.publication WHERE site = :site),
                (SELECT built_at + interval '1 microsecond' FROM springest.candidate_set WHERE site = :site))
