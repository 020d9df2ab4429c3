-- The change log: every change of a tracked table becomes one row of public.feed_changes, numbered at commit.
--
-- What it promises to a reader of one (feed, key):
--   * revisions become visible in growing order: a change that commits later has the higher number;
--   * each change names its predecessor (prev; 0 = the first): nothing is missing when prev is not newer than the last
--     revision seen. prev = -1 means "can't know" (the writer was not READ COMMITTED): the reader catches up;
--   * a rolled back change, an update that changes nothing, or only excepted columns, leaves no trace.
-- What it asks of writers: an advisory lock per key, held from the first deferred trigger to the end of the commit. An
-- open transaction delays nobody. docs/database.md tells the whole of it.

create schema rowcast;
comment on schema rowcast is 'The change log''s machinery. Not exposed through the API; see docs/database.md.';
revoke all on schema rowcast from public;

create sequence rowcast.revision_seq;
comment on sequence rowcast.revision_seq is
  'Numbers all changes. Starts at epoch seconds x 2^20 (below 2^53 until 2242), so a rebuilt database is ahead of old cursors.';
revoke all on sequence rowcast.revision_seq from public;
select setval('rowcast.revision_seq', (extract(epoch from clock_timestamp()) * 1048576)::bigint);

create table rowcast.feeds (
  feed text collate "C" primary key check (feed ~ '^[a-z][a-z0-9_]{0,39}$'),
  floor bigint not null,
  pruned bigint not null default 0,
  pruned_until timestamptz not null default '-infinity'
);
comment on table rowcast.feeds is 'The feeds that have, or had, a tracked table.';
comment on column rowcast.feeds.floor is 'Cursors below it are told to reset. Raised by track, untrack and restart.';
comment on column rowcast.feeds.pruned is
  'The newest revision ever pruned. A cursor below it is good only if its key''s next retained change links to it.';
comment on column rowcast.feeds.pruned_until is 'Changes committed up to here have been gone through by pruning.';
revoke all on rowcast.feeds from public;

-- Collation "C": names (type name, as tg_table_name) carry it anyway, and a comparison of two collations can't use the
-- primary key: each look-up of a head would read the key's whole history. No CHECKs: one trigger function alone writes
-- here, and each CHECK costs every tracked write some microseconds.
create table public.feed_changes (
  feed text collate "C" not null,
  key uuid not null,
  revision bigint not null,
  prev bigint not null,
  table_name text collate "C" not null,
  row_id text not null,
  op "char" not null,
  changed text[],
  row jsonb,
  committed_at timestamptz not null default clock_timestamp(),
  primary key (feed, key, revision)
);
comment on table public.feed_changes is
  'The change log. Written by triggers alone, read by the service alone; pages never see it.';
comment on column public.feed_changes.feed is 'The feed of the changed table.';
comment on column public.feed_changes.key is 'The changed row''s key: a project in feed project, a BOM in feed enrichment.';
comment on column public.feed_changes.revision is 'The change''s number; grows in commit order within (feed, key).';
comment on column public.feed_changes.prev is 'The key''s revision before this one; 0 for its first, -1 when it can''t be known.';
comment on column public.feed_changes.table_name is 'The changed table''s name, without its schema.';
comment on column public.feed_changes.row_id is 'The changed row''s primary key as text.';
comment on column public.feed_changes.op is 'I, U or D. A row that moves to another key is a D under the old one and an I under the new.';
comment on column public.feed_changes.changed is 'For U: the names of the columns that changed, excepted ones left out.';
comment on column public.feed_changes.row is 'For I and U: the new row without the excepted columns, times in UTC.';
comment on column public.feed_changes.committed_at is 'The wall clock while the transaction committed.';
alter table public.feed_changes enable row level security;

-- For pruning. (On revision instead, it would tempt the planner to look heads up by walking it backwards.)
create index feed_changes_feed_committed_at on public.feed_changes (feed, committed_at);

-- Locks ---------------------------------------------------------------------------------------------------------------
--
-- Every writer holds GATE shared and the locks of its keys; one that touches too many keys holds GATE exclusively
-- instead (PostgreSQL's lock table holds some thousand locks, for all sessions together). Keys are locked sorted, so
-- that tracking adds no deadlock. For that each statement notes its keys in the transaction-local setting rowcast.keys:
--   '<hash>,<hash>,'   keys noted and not locked yet
--   '*'                more than a list should hold
-- A client can set that setting too. It would gain nothing: the worst it gets is a deadlock of its own making, which
-- pg_advisory_lock gives it anyway. No lock is skipped and no number chosen on the word of a setting.

create function rowcast.lock_noted() returns void language plpgsql set search_path = '' as $$
declare noted text := current_setting('rowcast.keys', true);
begin
  perform pg_advisory_xact_lock_shared(hashtextextended('rowcast gate', 0));
  perform pg_advisory_xact_lock(hash)
    from (select distinct h::bigint as hash from string_to_table(rtrim(noted, ','), ',') h order by 1) sorted;
  perform set_config('rowcast.keys', '', true);
end $$;
comment on function rowcast.lock_noted() is 'Locks all keys that this transaction has noted, in one order.';

create function rowcast.refuse_truncate() returns trigger language plpgsql set search_path = '' as $$
begin
  raise exception 'TRUNCATE of %.% is refused: it is tracked in feed %, and a TRUNCATE would not be logged',
      tg_table_schema, tg_table_name, tg_argv[0]
    using errcode = 'feature_not_supported',
      hint = format('Use DELETE, or rowcast.untrack(''%s.%s'') first and rowcast.track after it.', tg_table_schema, tg_table_name);
end $$;

-- Feeds ---------------------------------------------------------------------------------------------------------------

create function rowcast.restart(feed text) returns bigint language plpgsql set search_path = '' as $$
declare
  -- Ahead of all that this database, or the one it was restored from, has numbered before.
  epoch constant bigint := (extract(epoch from clock_timestamp()) * 1048576)::bigint;
  new_floor bigint;
begin
  perform from rowcast.feeds f where f.feed = restart.feed for update;  -- before the gate: pruning may hold it a while
  if not found then
    raise exception 'there is no feed %', coalesce(quote_literal(restart.feed), 'NULL')
      using errcode = 'no_data_found', hint = 'Feeds are made by rowcast.track; select feed from rowcast.feeds lists them.';
  end if;
  -- Waits for the commits under way and holds off others: no change below the new floor may become visible after it.
  perform pg_advisory_xact_lock(hashtextextended('rowcast gate', 0));
  new_floor := nextval('rowcast.revision_seq');
  if new_floor < epoch then
    new_floor := setval('rowcast.revision_seq', epoch);
  end if;
  update rowcast.feeds f set floor = new_floor where f.feed = restart.feed;
  return new_floor;
end $$;
comment on function rowcast.restart(text) is
  'Tells every reader of a feed to reset, at once. For operators: after work with triggers disabled, or after a database was restored from a backup. Returns the new floor.';

create view rowcast.tracked as
  select t.tgrelid::regclass as table_name, args[1] as feed, args[2] as key_column, args[3]::text[] as except_columns,
         t.tgfoid::regproc as log_function
  from pg_catalog.pg_trigger t, string_to_array(encode(t.tgargs, 'escape'), '\000') args
  where t.tgname = 'rowcast_log' and not t.tgisinternal;
comment on view rowcast.tracked is 'The tracked tables, as their triggers say.';
revoke all on rowcast.tracked from public;

create function rowcast.untrack(tbl regclass) returns void language plpgsql set search_path = '' as $$
declare was rowcast.tracked; name text;
begin
  select * into was from rowcast.tracked t where t.table_name = tbl;
  if not found then
    raise exception '% is not tracked', tbl using errcode = 'undefined_object', hint = 'select * from rowcast.tracked lists the tracked tables.';
  end if;
  foreach name in array array['rowcast_note', 'rowcast_log', 'rowcast_truncate'] loop
    execute format('drop trigger %I on %s', name, tbl);
  end loop;
  execute format('drop function %s(), %s()', was.log_function, replace(was.log_function::text, 'rowcast.log_', 'rowcast.note_'));
  perform rowcast.restart(was.feed);
end $$;
comment on function rowcast.untrack(regclass) is 'Stops logging a table''s changes and tells readers of its feed to reset.';

create function rowcast.track(tbl regclass, feed text, key_column name, except_columns text[] default '{}')
returns void language plpgsql set search_path = '' as $$
declare
  class pg_catalog.pg_class;
  pk name[];
  unknown text;
  was text;
  suffix text;
  hash text;
begin
  if tbl is null or feed is null or key_column is null or except_columns is null then
    raise exception 'rowcast.track: tbl, feed, key_column and except_columns must not be NULL' using errcode = 'null_value_not_allowed';
  end if;
  select * into class from pg_catalog.pg_class c where c.oid = tbl;
  if class.relispartition or class.relkind = 'p' then
    raise exception '% can''t be tracked: it is a partitioned table or a partition of one', tbl using errcode = 'wrong_object_type';
  elsif class.relkind <> 'r' or class.relpersistence = 't' then
    raise exception '% can''t be tracked: it is no ordinary table', tbl using errcode = 'wrong_object_type';
  elsif exists (select from pg_catalog.pg_inherits i where tbl in (i.inhparent, i.inhrelid)) then
    raise exception '% can''t be tracked: it takes part in inheritance', tbl using errcode = 'wrong_object_type';
  elsif tbl = 'public.feed_changes'::regclass then
    raise exception '% can''t be tracked: it is the change log itself', tbl using errcode = 'wrong_object_type';
  elsif feed !~ '^[a-z][a-z0-9_]{0,39}$' then
    raise exception 'rowcast.track: feed must be a lower-case word of at most 40 letters, digits and underscores, not %', quote_literal(feed)
      using errcode = 'invalid_parameter_value';
  end if;
  select array_agg(a.attname) into pk from pg_catalog.pg_index i
    join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = any (i.indkey) where i.indrelid = tbl and i.indisprimary;
  if pk is null then
    raise exception '% can''t be tracked: it has no primary key', tbl using errcode = 'invalid_table_definition', hint = 'A change is told by the row''s primary key, of one column.';
  elsif cardinality(pk) > 1 then
    raise exception '% can''t be tracked: its primary key has % columns (%)', tbl, cardinality(pk), array_to_string(pk, ', ')
      using errcode = 'invalid_table_definition', hint = 'Give it a primary key of one column, and make the present one a unique constraint.';
  end if;
  select format_type(a.atttypid, a.atttypmod) into was from pg_catalog.pg_attribute a
    where a.attrelid = tbl and a.attname = key_column and a.attnum > 0 and not a.attisdropped;
  if not found then
    raise exception '% has no column % to be the key', tbl, quote_ident(key_column) using errcode = 'undefined_column';
  elsif was <> 'uuid' then
    raise exception '%.% can''t be the key: it is %, and must be uuid', tbl, quote_ident(key_column), was using errcode = 'datatype_mismatch';
  end if;
  select string_agg(quote_ident(e), ', ') into unknown from unnest(except_columns) e
    where not exists (select from pg_catalog.pg_attribute a where a.attrelid = tbl and a.attname = e and a.attnum > 0 and not a.attisdropped);
  if unknown is not null then
    raise exception '% has no column % to be excepted', tbl, unknown using errcode = 'undefined_column';
  elsif key_column = any (except_columns) or pk[1] = any (except_columns) then
    raise exception '%: neither the key (%) nor the primary key (%) can be excepted', tbl, quote_ident(key_column), quote_ident(pk[1]) using errcode = 'invalid_parameter_value';
  end if;
  select t.feed into was from rowcast.tracked t where t.table_name = tbl;
  if found then
    raise exception '% is tracked already, in feed %', tbl, was using errcode = 'duplicate_object',
      hint = format('A table is in one feed. To change how it is tracked: rowcast.untrack(''%s'') first.', tbl);
  end if;

  suffix := regexp_replace(left(class.relname, 40), '[^a-zA-Z0-9_]', '_', 'g') || '_' || left(md5(tbl::oid::text || class.relname), 8);
  hash := 'pg_catalog.uuid_hash_extended(%s, ' || hashtextextended('rowcast ' || feed, 0) || ')';
  -- %1 function suffix, %2 table, %3 feed, %4 key column, %5 primary key, %6 excepted columns, %7 and %8 new and old key's hash, %9 gate, %10 subtracts excepted columns
  execute format($generate$
    create function rowcast.note_%1$s() returns trigger language plpgsql set search_path = '' as $body$
    declare
      noted text := coalesce(current_setting('rowcast.keys', true), '');
      item text;
    begin
      if noted = '*' then
        return null;
      end if;
      if tg_op <> 'INSERT' and old.%4$I is not null then
        item := %8$s || ',';
        if not starts_with(noted, item) and strpos(noted, ',' || item) = 0 then
          noted := item || noted;
        end if;
      end if;
      if tg_op <> 'DELETE' and new.%4$I is not null then
        item := %7$s || ',';
        if not starts_with(noted, item) and strpos(noted, ',' || item) = 0 then
          noted := item || noted;
        end if;
      end if;
      if length(noted) > 256 * 20 then  -- a hash has up to 20 digits
        noted := '*';
      end if;
      item := set_config('rowcast.keys', noted, true);
      return null;
    end $body$;

    create function rowcast.log_%1$s() returns trigger language plpgsql security definer
    set search_path = '' set timezone = 'UTC' as $body$
    declare
      gate constant bigint := %9$s;
      noted text := coalesce(current_setting('rowcast.keys', true), '');
      near bigint := coalesce(nullif(current_setting('rowcast.near', true), ''), '0');
      op "char" := left(tg_op, 1);
      k uuid; hash bigint; id text; image jsonb; was jsonb; diff text[];
      this bigint; last bigint;
      done text;  -- calls are assigned to it: PERFORM would run a query for each
    begin
      if tg_op <> 'DELETE' then
        image := to_jsonb(new)%10$s;
        k := new.%4$I; hash := %7$s; id := new.%5$I;
      end if;
      if tg_op = 'UPDATE' and old.%4$I = k and old.%5$I::text = id then
        was := to_jsonb(old)%10$s;
        diff := array(select n.key from jsonb_each(image) n where n.value is distinct from was -> n.key);
        if diff = '{}' then
          return null;
        end if;
      elsif tg_op <> 'INSERT' then
        op := 'D';
      end if;
      loop  -- once; twice for a row that moves: deleted under its old key, inserted under its new one
        if op = 'D' then
          k := old.%4$I; hash := %8$s; id := old.%5$I;
        end if;
        if k is not null then
          if noted = '*' then
            done := pg_advisory_xact_lock(gate);
          else
            if noted not in ('', hash || ',') then
              done := rowcast.lock_noted();
              noted := '';
            end if;
            done := pg_advisory_xact_lock_shared(gate);
            done := pg_advisory_xact_lock(hash);
          end if;
          this := nextval('rowcast.revision_seq');
          if current_setting('transaction_isolation') <> 'read committed' then
            last := -1;
          else
            select c.revision into last from public.feed_changes c
              where c.feed = %3$L and c.key = k and c.revision >= near order by c.revision desc limit 1;
            if last is null and near > 0 then
              select c.revision into last from public.feed_changes c
                where c.feed = %3$L and c.key = k order by c.revision desc limit 1;
            end if;
          end if;
          insert into public.feed_changes (feed, key, revision, prev, table_name, row_id, op, changed, row)
          values (%3$L, k, this, coalesce(last, 0), tg_table_name, id, op, diff, case when op <> 'D' then image end);
          if this - last <= 16 and this > near + 16 then  -- many changes of one key: look no further back for the next
            near := this;
            done := set_config('rowcast.near', this::text, true);
          end if;
        end if;
        exit when op <> 'D' or tg_op = 'DELETE';
        op := 'I'; k := new.%4$I; hash := %7$s; id := new.%5$I;
      end loop;
      return null;
    end $body$;

    revoke all on function rowcast.note_%1$s(), rowcast.log_%1$s() from public;
    create trigger rowcast_note after insert or update or delete on %2$s for each row execute function rowcast.note_%1$s();
    create constraint trigger rowcast_log after insert or update or delete on %2$s deferrable initially deferred
      for each row execute function rowcast.log_%1$s(%3$L, %4$L, %6$L);
    create trigger rowcast_truncate before truncate on %2$s execute function rowcast.refuse_truncate(%3$L);
  $generate$, suffix, tbl, feed, key_column, pk[1], except_columns, format(hash, format('new.%I', key_column)), format(hash, format('old.%I', key_column)),
    hashtextextended('rowcast gate', 0), case when except_columns <> '{}' then format(' - %L::text[]', except_columns) end);
  -- Last, because the above waits for transactions that have the table open, and the gate holds everyone up.
  insert into rowcast.feeds (feed, floor) values (track.feed, 0) on conflict do nothing;
  perform rowcast.restart(track.feed);
end $$;
comment on function rowcast.track(regclass, text, name, text[]) is
  'Logs a table''s changes in a feed from now on and tells readers of the feed to reset. key_column: a uuid; except_columns are neither logged nor a reason to log.';

-- Reading -------------------------------------------------------------------------------------------------------------
-- For the service: in public because the API sees no other schema, and the service role's alone (revoked below).

create function rowcast.head(feed text, key uuid) returns bigint language sql stable set search_path = '' as $$
  select greatest(
    (select c.revision from public.feed_changes c where c.feed = head.feed and c.key = head.key order by c.revision desc limit 1),
    (select f.floor from rowcast.feeds f where f.feed = head.feed))
$$;
comment on function rowcast.head(text, uuid) is
  'The cursor that a reader of the key is at when it has seen all: the newest revision, or the feed''s floor.';

create function rowcast.check_feed(feed text) returns void language plpgsql stable set search_path = '' as $$
begin
  if not exists (select from rowcast.feeds f where f.feed = check_feed.feed) then
    raise exception 'feed: there is no feed %', coalesce(quote_literal(check_feed.feed), 'NULL')
      using errcode = 'invalid_parameter_value',
        hint = 'Feeds: ' || coalesce((select string_agg(f.feed, ', ' order by f.feed) from rowcast.feeds f), 'none yet; rowcast.track makes them') || '.';
  end if;
end $$;

create function public.feed_since(feed text, key uuid, since bigint, "limit" int default 1000)
returns json language plpgsql stable security definer set search_path = '' set timezone = 'UTC' as $$
declare
  bounds rowcast.feeds;
  since constant bigint := since;
  size constant int := "limit";
  first_prev bigint;
  lost boolean;
  changes json[];
begin
  perform rowcast.check_feed(feed);
  if key is null or since is null or size is null then
    raise exception '%: must not be NULL', case when key is null then 'key' when since is null then 'since' else 'limit' end
      using errcode = 'null_value_not_allowed',
        hint = 'A reader that has no cursor yet takes a snapshot, whose head is one.';
  elsif size not between 1 and 10000 then
    raise exception 'limit: must be 1 to 10000, not %', size using errcode = 'invalid_parameter_value';
  end if;
  select * into bounds from rowcast.feeds f where f.feed = feed_since.feed;
  select c.prev into first_prev from public.feed_changes c
    where c.feed = feed_since.feed and c.key = feed_since.key and c.revision > since order by c.revision limit 1;
  lost := since < bounds.floor
    or since > (select s.last_value from rowcast.revision_seq s)
    or (since < bounds.pruned and coalesce(first_prev not between 0 and since, false));
  if not lost then
    select array_agg(json_build_object(
        'revision', c.revision, 'prev', c.prev, 'table', c.table_name, 'row_id', c.row_id, 'op', c.op,
        'changed', c.changed, 'row', c.row, 'committed_at', c.committed_at) order by c.revision)
      into changes
      from (select * from public.feed_changes c
        where c.feed = feed_since.feed and c.key = feed_since.key and c.revision > since
        order by c.revision limit size + 1) c;
  end if;
  return json_build_object(
    'head', rowcast.head(feed, key), 'reset', lost,
    'changes', coalesce(array_to_json(changes[:size]), '[]'::json), 'more', coalesce(cardinality(changes), 0) > size);
end $$;
comment on function public.feed_since(text, uuid, bigint, int) is
  'A key''s changes after a cursor, oldest first: {head, reset, changes: [{revision, prev, table, row_id, op, changed, row, committed_at}], more}. reset: what was missed can''t be told one by one (then changes is empty). more: there are further changes than limit (1 to 10000).';

create function public.feed_heads(feed text, keys uuid[])
returns json language plpgsql stable security definer set search_path = '' as $$
begin
  perform rowcast.check_feed(feed);
  if keys is null then
    raise exception 'keys: must not be NULL' using errcode = 'null_value_not_allowed';
  end if;
  return (select coalesce(json_object_agg(k, rowcast.head(feed, k)), '{}') from (select distinct k from unnest(keys) k where k is not null) asked);
end $$;
comment on function public.feed_heads(text, uuid[]) is
  'The heads of several keys, {key: head}: a reader of a key that is below its head has something to catch up.';

-- Pruning -------------------------------------------------------------------------------------------------------------

create function public.prune_feed_changes(retain interval default '7 days', batch int default 10000)
returns bigint language plpgsql security definer set search_path = '' as $$
declare
  cutoff timestamptz := clock_timestamp() - retain;
  one rowcast.feeds;
  until timestamptz;
  gone bigint; newest bigint; total bigint := 0;
begin
  if retain is null or retain < interval '0' then
    raise exception 'retain: must be an interval of 0 or more, not %', coalesce(retain::text, 'NULL') using errcode = 'invalid_parameter_value';
  elsif batch is null or batch < 1 then
    raise exception 'batch: must be 1 or more, not %', coalesce(batch::text, 'NULL') using errcode = 'invalid_parameter_value';
  elsif not pg_try_advisory_xact_lock(hashtextextended('rowcast prune', 0)) then
    return 0;  -- another session is at it
  end if;
  for one in select * from rowcast.feeds loop
    while total < batch loop
      -- The next changes in order of age; each makes all older ones of its key superfluous. So a key's newest change
      -- stays for ever (its head), and a key's history always ends, never has holes, whatever the clock did.
      select max(committed_at) into until from (
        select c.committed_at from public.feed_changes c
        where c.feed = one.feed and c.committed_at > one.pruned_until and c.committed_at <= cutoff
        order by c.committed_at limit batch - total) passed;
      exit when until is null;
      with passed as materialized (
        select c.key, max(c.revision) as revision from public.feed_changes c
        where c.feed = one.feed and c.committed_at > one.pruned_until and c.committed_at <= until group by c.key
      ), deleted as (
        delete from public.feed_changes c using passed p
        where c.feed = one.feed and c.key = p.key and c.revision < p.revision returning c.revision
      )
      select count(*), max(revision) into gone, newest from deleted;
      update rowcast.feeds f set pruned_until = until, pruned = greatest(f.pruned, newest) where f.feed = one.feed;
      one.pruned_until := until;
      total := total + gone;
    end loop;
  end loop;
  return total;
end $$;
comment on function public.prune_feed_changes(interval, int) is
  'Deletes changes older than retain, about batch of them, and returns how many: call it again until it returns 0. Each key''s newest change stays. 0 also when another session is pruning.';
