CREATE TEMP TABLE published (row_id text PRIMARY KEY, row_hash bigint NOT NULL) ON COMMIT DROP;
CREATE TEMP TABLE copied (row_id text, row_hash bigint) ON COMMIT DROP;
CREATE TEMP TABLE difference (row_id text PRIMARY KEY, is_removed boolean NOT NULL) ON COMMIT DROP
