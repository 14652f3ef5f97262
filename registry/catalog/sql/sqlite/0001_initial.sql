-- The first schema. Text is compared byte by byte (BINARY collation), times
-- are microseconds since 1970.

CREATE TABLE meta (
    id             INTEGER PRIMARY KEY CHECK (id = 1),
    schema_version INTEGER NOT NULL,
    -- The oldest schema version whose programs can run on this database, and
    -- the release line that brought it, for the sentence that refuses.
    min_compatible INTEGER NOT NULL,
    min_release    TEXT    NOT NULL,
    -- Empty until the first instance takes the database.
    instance_uid   TEXT    NOT NULL,
    epoch          INTEGER NOT NULL
) STRICT;
INSERT INTO meta VALUES (1, 0, 0, '', '', 0);

-- Epochs that have not ended cleanly and been swept, the current one included.
CREATE TABLE epochs (
    epoch INTEGER PRIMARY KEY
) STRICT;

CREATE TABLE names (
    id     INTEGER PRIMARY KEY,
    name   TEXT    NOT NULL UNIQUE,
    -- 1 while the name has a manifest.
    listed INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX names_listed ON names (name) WHERE listed = 1;

CREATE TABLE blobs (
    id         INTEGER PRIMARY KEY,
    digest     TEXT    NOT NULL UNIQUE,
    size       INTEGER NOT NULL,
    -- Empty when content holds the bytes.
    object_key TEXT    NOT NULL,
    -- Set while no name links the blob.
    review_due INTEGER,
    content    BLOB
) STRICT;
CREATE INDEX blobs_object ON blobs (object_key) WHERE object_key <> '';
CREATE INDEX blobs_review ON blobs (review_due) WHERE review_due IS NOT NULL;

CREATE TABLE links (
    name_id    INTEGER NOT NULL REFERENCES names (id),
    blob_id    INTEGER NOT NULL REFERENCES blobs (id),
    -- Set while no manifest of the name is known to use the blob.
    review_due INTEGER,
    PRIMARY KEY (name_id, blob_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX links_blob ON links (blob_id);
CREATE INDEX links_review ON links (review_due) WHERE review_due IS NOT NULL;

CREATE TABLE manifests (
    id            INTEGER PRIMARY KEY,
    name_id       INTEGER NOT NULL REFERENCES names (id),
    digest        TEXT    NOT NULL,
    media_type    TEXT    NOT NULL,
    size          INTEGER NOT NULL,
    artifact_type TEXT    NOT NULL,
    -- Empty without one; it need not exist.
    subject       TEXT    NOT NULL,
    -- A JSON object, or empty.
    annotations   TEXT    NOT NULL,
    -- Digests in the manifest's order, separated by spaces.
    blobs         TEXT    NOT NULL,
    manifests     TEXT    NOT NULL,
    content       BLOB    NOT NULL,
    UNIQUE (name_id, digest)
) STRICT;
CREATE INDEX manifests_subject ON manifests (name_id, subject, digest) WHERE subject <> '';

-- Which blobs a manifest uses; name_id is the manifest's.
CREATE TABLE blob_refs (
    name_id     INTEGER NOT NULL,
    blob_id     INTEGER NOT NULL,
    manifest_id INTEGER NOT NULL REFERENCES manifests (id) ON DELETE CASCADE,
    PRIMARY KEY (name_id, blob_id, manifest_id),
    FOREIGN KEY (name_id, blob_id) REFERENCES links (name_id, blob_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX blob_refs_manifest ON blob_refs (manifest_id);

-- Which manifests an index lists.
CREATE TABLE manifest_refs (
    child_id  INTEGER NOT NULL REFERENCES manifests (id),
    parent_id INTEGER NOT NULL REFERENCES manifests (id) ON DELETE CASCADE,
    PRIMARY KEY (child_id, parent_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX manifest_refs_parent ON manifest_refs (parent_id);

CREATE TABLE tags (
    name_id     INTEGER NOT NULL REFERENCES names (id),
    tag         TEXT    NOT NULL,
    manifest_id INTEGER NOT NULL REFERENCES manifests (id),
    PRIMARY KEY (name_id, tag)
) STRICT, WITHOUT ROWID;
CREATE INDEX tags_manifest ON tags (manifest_id);

CREATE TABLE uploads (
    id         TEXT    NOT NULL UNIQUE,
    name       TEXT    NOT NULL,
    actor      TEXT    NOT NULL,
    started_at INTEGER NOT NULL,
    received   INTEGER NOT NULL,
    algorithm  TEXT    NOT NULL,
    hash       BLOB,
    object_key TEXT    NOT NULL,
    state      BLOB,
    content    BLOB
) STRICT;
CREATE INDEX uploads_started ON uploads (started_at);
CREATE INDEX uploads_name ON uploads (name);
CREATE INDEX uploads_object ON uploads (object_key) WHERE object_key <> '';

-- Objects that nobody needs any more.
CREATE TABLE deletions (
    object_key TEXT    NOT NULL PRIMARY KEY,
    due        INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX deletions_due ON deletions (due);

CREATE TABLE purges (
    id      TEXT    NOT NULL PRIMARY KEY,
    done_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
