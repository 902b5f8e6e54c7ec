BEGIN TRANSACTION;
CREATE TABLE blobs (
        workspace TEXT NOT NULL,
        sha256 TEXT NOT NULL,
        kind TEXT NOT NULL,
        bytes INTEGER NOT NULL,
        PRIMARY KEY (workspace, sha256, kind)
    ) WITHOUT ROWID;
INSERT INTO "blobs" VALUES('w','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','bytes',10);
INSERT INTO "blobs" VALUES('w','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','text-1.txt',5);
INSERT INTO "blobs" VALUES('w','bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb','bytes',11);
INSERT INTO "blobs" VALUES('w','cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc','bytes',12);
CREATE TABLE files (
        place INTEGER PRIMARY KEY AUTOINCREMENT,
        workspace TEXT NOT NULL,
        id TEXT NOT NULL,
        name TEXT NOT NULL,
        bytes INTEGER NOT NULL,
        sha256 TEXT NOT NULL,
        md5 TEXT NOT NULL,
        form TEXT NOT NULL,
        purpose TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        status TEXT NOT NULL,
        trouble TEXT,
        tokens INTEGER NOT NULL DEFAULT 0,
        description TEXT NOT NULL DEFAULT '',
        UNIQUE (workspace, id)
    );
INSERT INTO "files" VALUES(1,'w','file-fe-000000000000000000000000','0.txt',10,'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','00000000000000000000000000000000','txt','file-extract',1000,'processed',NULL,42,'');
INSERT INTO "files" VALUES(2,'w','file-fe-000000000000000000000001','1.txt',11,'bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb','00000000000000000000000000000000','txt','file-extract',1001,'processing',NULL,0,'');
CREATE TABLE jobs (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        workspace TEXT NOT NULL,
        sha256 TEXT NOT NULL,
        form TEXT NOT NULL,
        name TEXT NOT NULL,
        tries INTEGER NOT NULL DEFAULT 0,
        progress REAL NOT NULL DEFAULT 0,
        holder TEXT,
        until REAL NOT NULL DEFAULT 0,
        UNIQUE (workspace, sha256, form)
    );
INSERT INTO "jobs" VALUES(2,'w','bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb','txt','1.txt',0,0.0,NULL,0.0);
CREATE TABLE removed (
        workspace TEXT NOT NULL,
        id TEXT NOT NULL,
        place INTEGER NOT NULL,
        removed_at REAL NOT NULL,
        PRIMARY KEY (workspace, id)
    ) WITHOUT ROWID;
INSERT INTO "removed" VALUES('w','file-fe-000000000000000000000002',3,5.0);
CREATE INDEX files_by_content ON files (workspace, sha256, form);
CREATE INDEX files_by_size ON files (workspace, bytes);
CREATE INDEX files_by_place ON files (workspace, place);
CREATE INDEX removed_by_age ON removed (removed_at);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('jobs',2);
INSERT INTO "sqlite_sequence" VALUES('files',3);
COMMIT;
PRAGMA user_version = 1;
