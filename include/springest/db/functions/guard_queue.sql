-- Who may not add to the ledger may queue nothing in it either: a delivery that goes back to `ready` is sent once
-- more. Column rights can't say so, since they don't look at values.
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

COMMENT ON FUNCTION springest.guard_queue() IS 'Lets only those queue a delivery who may add one';

CREATE OR REPLACE TRIGGER guard_queue BEFORE UPDATE ON springest.delivery
FOR EACH ROW WHEN (NEW.state IN ('ready', 'sending') AND NEW.state <> OLD.state)
EXECUTE FUNCTION springest.guard_queue();
