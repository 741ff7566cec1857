-- A role that may not insert deliveries may not queue one either, since a delivery that returns to `ready` is sent
-- again. Column privileges cannot express this, because they do not consider values.
CREATE OR REPLACE FUNCTION springest.guard_queue() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF NOT has_table_privilege(current_user, TG_RELID, 'INSERT') THEN
        RAISE insufficient_privilege USING
            MESSAGE = format('permission denied: role %s may not make a delivery %s', current_user, NEW.state);
    END IF;
    RETURN NEW;
END
$$;

COMMENT ON FUNCTION springest.guard_queue() IS 'Only roles that may insert a delivery may queue one';

CREATE OR REPLACE TRIGGER guard_queue BEFORE UPDATE ON springest.delivery
FOR EACH ROW WHEN (NEW.state IN ('ready', 'sending') AND NEW.state <> OLD.state)
EXECUTE FUNCTION springest.guard_queue();
