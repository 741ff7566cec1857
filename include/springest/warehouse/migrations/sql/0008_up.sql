-- An entry of 120 bytes for each delivery was written anew whenever one moved. All that asks for certification, learner
-- and first day has the learner, who has few deliveries: a hash of the learner does.
DROP INDEX springest.delivery_same_certificate_idx;
CREATE INDEX delivery_learner_ref_idx ON springest.delivery USING hash (learner_ref);
