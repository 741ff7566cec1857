-- All inputs of a verdict as one number: `xmin` changes with every update of a row, whichever program makes it. The
-- rules are among them, so that a new release recomputes every verdict. 64-bit numbers are hashed as their bytes: as
-- numbers they would be folded to 32 bits.
hash_record_extended(
    ROW(int8send(CAST(:rules AS bigint)), delivery.xmin, delivery.valid_until < CAST(:today AS date),
        delivery.state = 'sending' AND delivery.lease_until < CAST(:now AS timestamptz), matched.xmin,
        certification.name, int8send(remote.digest), confirmed.changed_by, int8send(confirmed.decision_id),
        twice.springest_certificate_id IS NOT NULL), 0)
