#!/bin/sh
# SQLite in memory: database.sh ROWS. Inserts in a transaction, an index, joins, groups, updates, deletes.
exec sqlite3 :memory: <<SQL
CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT, owner INT, price INT);
BEGIN;
INSERT INTO item WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1)
    SELECT i, 'item-' || (i * 7919 % 100003) || '-of-many', i * 31 % 257, i * i % 1009 FROM n;
COMMIT;
CREATE INDEX by_name ON item (name);
CREATE INDEX by_owner ON item (owner, price);
SELECT count(*), sum(price), min(name), max(name) FROM item;
SELECT owner, count(*), avg(price), max(length(name)) FROM item GROUP BY owner ORDER BY 3 DESC, 1 LIMIT 10;
SELECT count(*), sum(a.price * b.price) FROM item a JOIN item b ON b.owner = a.owner AND b.price = a.price + 1;
SELECT name FROM item WHERE name LIKE '%99%' ORDER BY price, name LIMIT 20;
UPDATE item SET price = price + 1 WHERE owner % 3 = 0;
DELETE FROM item WHERE price % 5 = 0;
SELECT count(*), sum(price), sum(length(name)) FROM item WHERE name BETWEEN 'item-2' AND 'item-7';
PRAGMA integrity_check;
SQL
