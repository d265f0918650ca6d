-- Provenance: ledger_001.sql brought to format 2 by migration 2 on 2026-11-22 and given
-- one environment, dumped by sqlite3's iterdump. It stands for every ledger of format 2 and is never edited.
PRAGMA user_version = 2;
BEGIN TRANSACTION;
CREATE TABLE attempt (
        id          TEXT    PRIMARY KEY,
        step_key    TEXT    NOT NULL REFERENCES step (key),
        state       TEXT    NOT NULL CHECK (state IN (
            'planned', 'queued', 'running', 'done', 'failed', 'cancelled', 'lost')),
        environment TEXT    NOT NULL,  -- JSON
        process     INTEGER NOT NULL,
        host        TEXT    NOT NULL,
        started_at  REAL    NOT NULL,
        ended_at    REAL,
        seconds     REAL,
        message     TEXT    NOT NULL DEFAULT ''
    ) STRICT
    ;
INSERT INTO "attempt" VALUES('00000000000000a1','0f621a889ce19146892e892bbfcbfec94508d15d1c22ef26db8c9371f6abf9a1','failed','{"machine": "x86_64"}',41,'pod',1795330000.0,1795330002.0,2.0,'ValueError: no');
INSERT INTO "attempt" VALUES('00000000000000a2','0f621a889ce19146892e892bbfcbfec94508d15d1c22ef26db8c9371f6abf9a1','done','{"machine": "x86_64"}',42,'pod',1795330010.0,1795330075.0,64.5,'');
INSERT INTO "attempt" VALUES('00000000000000a3','7db52e5e83a7ee32aa2efdad4c846716f5f62234f3592982cb64573aac75af88','running','{"machine": "x86_64"}',43,'pod',1795330101.0,NULL,NULL,'');
CREATE TABLE environment (
        digest TEXT PRIMARY KEY,
        text   TEXT NOT NULL  -- JSON
    ) STRICT, WITHOUT ROWID
    ;
INSERT INTO "environment" VALUES('a2c77fb76416e31e','{"machine": "x86_64"}');
CREATE TABLE output (
        step_key   TEXT NOT NULL REFERENCES step (key),
        name       TEXT NOT NULL,
        attempt_id TEXT NOT NULL REFERENCES attempt (id),
        content_id TEXT NOT NULL,
        PRIMARY KEY (step_key, name)
    ) STRICT, WITHOUT ROWID
    ;
INSERT INTO "output" VALUES('0f621a889ce19146892e892bbfcbfec94508d15d1c22ef26db8c9371f6abf9a1','lora.safetensors','00000000000000a2','sha256:1111111111111111111111111111111111111111111111111111111111111111');
INSERT INTO "output" VALUES('0f621a889ce19146892e892bbfcbfec94508d15d1c22ef26db8c9371f6abf9a1','samples','00000000000000a2','tree:2222222222222222222222222222222222222222222222222222222222222222');
CREATE TABLE step (
        key       TEXT    PRIMARY KEY,
        kind      TEXT    NOT NULL,
        version   INTEGER NOT NULL,
        inputs    TEXT    NOT NULL,  -- canonical JSON
        replicate INTEGER NOT NULL,
        asked_at  REAL    NOT NULL   -- seconds since 1970-01-01 UTC
    ) STRICT, WITHOUT ROWID
    ;
INSERT INTO "step" VALUES('0f621a889ce19146892e892bbfcbfec94508d15d1c22ef26db8c9371f6abf9a1','train',1,'{"rank":8,"weights":"sha256:3333333333333333333333333333333333333333333333333333333333333333"}',0,1795330000.0);
INSERT INTO "step" VALUES('7db52e5e83a7ee32aa2efdad4c846716f5f62234f3592982cb64573aac75af88','render',1,'{"lora":"0f621a889ce19146892e892bbfcbfec94508d15d1c22ef26db8c9371f6abf9a1","seed":7}',0,1795330100.5);
CREATE INDEX attempt_of_step ON attempt (step_key);
CREATE INDEX attempt_state ON attempt (state);
CREATE UNIQUE INDEX one_winner ON attempt (step_key) WHERE state = 'done';
CREATE INDEX output_content ON output (content_id);
CREATE TRIGGER step_is_kept BEFORE DELETE ON step
    BEGIN SELECT RAISE(ABORT, 'the ledger forgets nothing'); END;
CREATE TRIGGER step_is_fixed BEFORE UPDATE ON step
    BEGIN SELECT RAISE(ABORT, 'a request does not change'); END;
CREATE TRIGGER attempt_is_kept BEFORE DELETE ON attempt
    BEGIN SELECT RAISE(ABORT, 'the ledger forgets nothing'); END;
CREATE TRIGGER attempt_is_over BEFORE UPDATE ON attempt
    WHEN OLD.state IN ('done', 'failed', 'cancelled', 'lost')
    BEGIN SELECT RAISE(ABORT, 'a finished attempt does not change'); END;
CREATE TRIGGER output_is_kept BEFORE DELETE ON output
    BEGIN SELECT RAISE(ABORT, 'the ledger forgets nothing'); END;
CREATE TRIGGER output_is_fixed BEFORE UPDATE ON output
    BEGIN SELECT RAISE(ABORT, 'a committed output does not change'); END;
CREATE TRIGGER environment_is_kept BEFORE DELETE ON environment
    BEGIN SELECT RAISE(ABORT, 'the ledger forgets nothing'); END;
CREATE TRIGGER environment_is_fixed BEFORE UPDATE ON environment
    BEGIN SELECT RAISE(ABORT, 'an environment does not change'); END;
CREATE INDEX step_kind ON step (kind, asked_at);
COMMIT;
