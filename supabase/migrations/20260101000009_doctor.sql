-- What `rowcast doctor` asks of a database: how it is set up, and one change that tells nobody anything.

create function public.rowcast_diagnosis() returns json
language sql stable security definer set search_path = '' set timezone = 'UTC' as $$
  select json_build_object(
    'now', clock_timestamp(),
    'publication', (
      select json_build_object('all_tables', p.puballtables, 'inserts', p.pubinsert)
      from pg_catalog.pg_publication p where p.pubname = 'supabase_realtime'),
    'oldest_change', (
      select min(oldest.at) from rowcast.feeds f, lateral (
        select c.committed_at as at from public.feed_changes c
        where c.feed = f.feed order by c.committed_at limit 1) oldest),
    'tables', (
      select json_object_agg(c.relname, json_build_object(
        'feed', (select t.feed from rowcast.tracked t where t.table_name = c.oid),
        'disabled', exists (
          select from pg_catalog.pg_trigger t
          where t.tgrelid = c.oid and t.tgname like 'rowcast\_%' and t.tgenabled = 'D'),
        'published', exists (
          select from pg_catalog.pg_publication_tables p
          where p.pubname = 'supabase_realtime' and p.schemaname = 'public' and p.tablename = c.relname),
        'rls', c.relrowsecurity,
        'read_by', (
          select coalesce(json_agg(r.rolname order by r.rolname), '[]') from pg_catalog.pg_roles r
          where r.rolname in ('anon', 'authenticated') and pg_catalog.has_table_privilege(r.oid, c.oid, 'SELECT'))))
      from pg_catalog.pg_class c
      where c.relnamespace = 'public'::regnamespace and c.relkind = 'r'))
$$;
comment on function public.rowcast_diagnosis() is
  'How the database is set up for rowcast: {now, publication: {all_tables, inserts} or null, oldest_change, tables: {name: {feed, disabled, published, rls, read_by}}}.';

create function public.rowcast_probe(key uuid) returns void
language plpgsql security definer set search_path = '' as $$
begin
  if key is null then
    raise exception 'key: must not be NULL' using errcode = 'null_value_not_allowed';
  end if;
  delete from public.feed_changes c where c.feed = 'doctor';
  insert into public.feed_changes (feed, key, revision, prev, table_name, row_id, op)
  values ('doctor', key, nextval('rowcast.revision_seq'), 0, 'doctor', key::text, 'D');
end $$;
comment on function public.rowcast_probe(uuid) is
  'Writes one change of the feed doctor, which no page can listen to, so that whoever listens to its key sees whether Realtime delivers. The one of the call before is deleted.';

revoke all on function public.rowcast_diagnosis(), public.rowcast_probe(uuid) from public, anon, authenticated, service_role;
grant execute on function public.rowcast_diagnosis(), public.rowcast_probe(uuid) to service_role;
