DROP FUNCTION springest.open_doubts(text, timestamptz, boolean);

DROP INDEX springest.delivery_doubt_idx;

ALTER TABLE springest.staging_run ADD COLUMN released_at TIMESTAMP WITH TIME ZONE;
COMMENT ON COLUMN springest.staging_run.released_at IS 'When a delivering run accepted it as a night''s work';

UPDATE springest.staging_run AS staged
SET released_at = released.released_at
FROM springest.released_run AS released
WHERE released.site = staged.site AND released.run_id = staged.run_id;

DROP TABLE springest.released_run;
