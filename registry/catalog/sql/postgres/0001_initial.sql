-- The first schema; the tables are those of sqlite/, whose comments hold here
-- too. Text is compared byte by byte (collation "C"), times are microseconds
-- since 1970.

CREATE TABLE meta (
    id             INTEGER PRIMARY KEY CHECK (id = 1),
    schema_version BIGINT  NOT NULL,
    min_compatible BIGINT  NOT NULL,
    min_release    TEXT    NOT NULL,
    instance_uid   TEXT    NOT NULL,
    epoch          BIGINT  NOT NULL
);
INSERT INTO meta VALUES (1, 0, 0, '', '', 0);

CREATE TABLE epochs (
    epoch      BIGINT PRIMARY KEY,
    -- Since when its process is out of sight, by the server's clock.
    gone_since BIGINT
);

-- The transactions of each process: as many rows as it has at once, each with
-- the number of the last one that was committed. They tell what became of a
-- COMMIT whose answer was lost. A process whose rows are gone has lost its epoch
-- and changes nothing any more.
CREATE TABLE transactions (
    epoch  BIGINT  NOT NULL REFERENCES epochs (epoch) ON DELETE CASCADE,
    slot   INTEGER NOT NULL,
    number BIGINT  NOT NULL,
    PRIMARY KEY (epoch, slot)
) WITH (fillfactor = 50);

CREATE TABLE names (
    id     BIGINT  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name   TEXT    COLLATE "C" NOT NULL UNIQUE,
    listed INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX names_listed ON names (name) WHERE listed = 1;

CREATE TABLE blobs (
    id         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    digest     TEXT   COLLATE "C" NOT NULL UNIQUE,
    size       BIGINT NOT NULL,
    object_key TEXT   COLLATE "C" NOT NULL,
    review_due BIGINT,
    content    BYTEA
);
CREATE INDEX blobs_object ON blobs (object_key) WHERE object_key <> '';
CREATE INDEX blobs_review ON blobs (review_due) WHERE review_due IS NOT NULL;

CREATE TABLE links (
    name_id    BIGINT NOT NULL REFERENCES names (id),
    blob_id    BIGINT NOT NULL REFERENCES blobs (id),
    review_due BIGINT,
    PRIMARY KEY (name_id, blob_id)
);
CREATE INDEX links_blob ON links (blob_id);
CREATE INDEX links_review ON links (review_due) WHERE review_due IS NOT NULL;

CREATE TABLE manifests (
    id            BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name_id       BIGINT NOT NULL REFERENCES names (id),
    digest        TEXT   COLLATE "C" NOT NULL,
    media_type    TEXT   COLLATE "C" NOT NULL,
    size          BIGINT NOT NULL,
    artifact_type TEXT   COLLATE "C" NOT NULL,
    subject       TEXT   COLLATE "C" NOT NULL,
    annotations   TEXT   COLLATE "C" NOT NULL,
    blobs         TEXT   COLLATE "C" NOT NULL,
    manifests     TEXT   COLLATE "C" NOT NULL,
    content       BYTEA  NOT NULL,
    UNIQUE (name_id, digest)
);
CREATE INDEX manifests_subject ON manifests (name_id, subject, digest) WHERE subject <> '';

CREATE TABLE blob_refs (
    name_id     BIGINT NOT NULL,
    blob_id     BIGINT NOT NULL,
    manifest_id BIGINT NOT NULL REFERENCES manifests (id) ON DELETE CASCADE,
    PRIMARY KEY (name_id, blob_id, manifest_id),
    FOREIGN KEY (name_id, blob_id) REFERENCES links (name_id, blob_id)
);
CREATE INDEX blob_refs_manifest ON blob_refs (manifest_id);

CREATE TABLE manifest_refs (
    child_id  BIGINT NOT NULL REFERENCES manifests (id),
    parent_id BIGINT NOT NULL REFERENCES manifests (id) ON DELETE CASCADE,
    PRIMARY KEY (child_id, parent_id)
);
CREATE INDEX manifest_refs_parent ON manifest_refs (parent_id);

CREATE TABLE tags (
    name_id     BIGINT NOT NULL REFERENCES names (id),
    tag         TEXT   COLLATE "C" NOT NULL,
    manifest_id BIGINT NOT NULL REFERENCES manifests (id),
    PRIMARY KEY (name_id, tag)
);
CREATE INDEX tags_manifest ON tags (manifest_id);

CREATE TABLE uploads (
    id         TEXT   COLLATE "C" PRIMARY KEY,
    name       TEXT   COLLATE "C" NOT NULL,
    actor      TEXT   COLLATE "C" NOT NULL,
    started_at BIGINT NOT NULL,
    received   BIGINT NOT NULL,
    algorithm  TEXT   COLLATE "C" NOT NULL,
    hash       BYTEA,
    object_key TEXT   COLLATE "C" NOT NULL,
    state      BYTEA,
    content    BYTEA
);
CREATE INDEX uploads_started ON uploads (started_at);
CREATE INDEX uploads_name ON uploads (name);
CREATE INDEX uploads_object ON uploads (object_key) WHERE object_key <> '';

CREATE TABLE deletions (
    object_key TEXT   COLLATE "C" PRIMARY KEY,
    due        BIGINT NOT NULL
);
CREATE INDEX deletions_due ON deletions (due);

CREATE TABLE purges (
    id      TEXT   COLLATE "C" PRIMARY KEY,
    done_at BIGINT NOT NULL
);
