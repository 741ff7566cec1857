-- Everything that a verdict depends on, as one number: `xmin` moves with every change of a row, whoever makes it.
-- The rules are in it, so that a new release judges all anew.
hash_record_extended(
    ROW(CAST(:rules AS bigint), delivery.xmin, delivery.valid_until < CAST(:today AS date), matched.xmin,
        certification.name, remote.digest, confirmed.changed_by,
        twice.springest_certificate_id IS NOT NULL), 0)
