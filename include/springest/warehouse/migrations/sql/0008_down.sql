DROP INDEX springest.delivery_learner_ref_idx;
CREATE INDEX delivery_same_certificate_idx ON springest.delivery (site, certification_id, learner_ref, valid_from);
