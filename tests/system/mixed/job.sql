pragma journal_mode = wal;
create table t (a integer primary key, b int, c text, d real);
create table u (k text primary key, n int) without rowid;
begin;
with recursive n(i) as (select 1 union all select i + 1 from n where i < 12000)
insert into t select i, (i * 2654435761 + SEED) % 1000003, printf('%x-%d', i * (SEED + 1), i % 97), i / 8.0 from n;
insert into u select c, count(*) from t group by c;
commit;
create index tb on t(b);
create index tc on t(c, b);
update t set b = b + 1, c = c || '!' where a % 7 = SEED % 7;
delete from t where b % 11 = 3;
select count(*), sum(b), min(c), max(c), avg(d) from t;
select substr(c, 1, 2) x, count(*), sum(b) from t group by x order by 2 desc, x limit 20;
select count(*) from t x join t y on x.b = y.b + 1 where y.a % 3 = 0;
select count(*) from t where c like '%a%-4%';
select group_concat(k, ',') from (select k from u where k > '5' order by k limit 30);
vacuum;
pragma integrity_check;
