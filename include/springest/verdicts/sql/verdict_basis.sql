-- Everything that a verdict depends on, as one number: `xmin` moves with every change of a row, whoever makes it.
-- The rules are in it, so that a new release judges all anew. Numbers of 64 bits go in as their bytes: as numbers they
-- would be folded to 32.
hash_record_extended(
    ROW(int8send(CAST(:rules AS bigint)), delivery.xmin, delivery.valid_until < CAST(:today AS date),
        delivery.state = 'sending' AND delivery.lease_until < CAST(:now AS timestamptz), matched.xmin,
        certification.name, int8send(remote.digest), confirmed.changed_by, int8send(confirmed.decision_id),
        twice.springest_certificate_id IS NOT NULL), 0)
