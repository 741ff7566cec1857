-- The one moment of a publication: later than the last one, and than what it ends, also when the clock was set back.
SELECT GREATEST(clock_timestamp(),
                (SELECT max(reconciled_at) + interval '1 microsecond' FROM springest.publication WHERE site = :site),
                (SELECT built_at + interval '1 microsecond' FROM springest.candidate_set WHERE site = :site),
                (SELECT max(published.valid_from_ts) + interval '1 microsecond'
                 FROM springest.reconciled_candidate AS candidate
                 JOIN springest.reconciled_delivery AS published USING (delivery_key)
                 WHERE candidate.site = :site))
