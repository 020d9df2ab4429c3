-- The two feeds: what is tracked, their snapshots, and what Realtime publishes.

select rowcast.track('public.jobs', feed => 'project', key_column => 'project_id',
  except_columns => '{heartbeat_at,lease_until,payload}');
select rowcast.track('public.ingestion_sources', feed => 'project', key_column => 'project_id');
select rowcast.track('public.proposed_nodes', feed => 'project', key_column => 'project_id');
select rowcast.track('public.project_members', feed => 'project', key_column => 'project_id');
select rowcast.track('public.enrichment_events', feed => 'enrichment', key_column => 'bom_id');
select rowcast.track('public.boms', feed => 'enrichment', key_column => 'id');

-- A snapshot's rows are the images that the log holds, and its head the cursor to go on from: one statement sees both
-- as of one moment.
create function public.project_snapshot(project_id uuid)
returns json language sql stable security definer set search_path = '' set timezone = 'UTC' as $$
  select json_build_object(
    'head', rowcast.head('project', project_snapshot.project_id),
    'rows', json_build_object(
      'ingestion_sources', (
        select coalesce(json_agg(to_jsonb(s) order by s.created_at, s.id), '[]')
        from public.ingestion_sources s where s.project_id = project_snapshot.project_id),
      'jobs', (
        select coalesce(json_agg(to_jsonb(j) - '{heartbeat_at,lease_until,payload}'::text[] order by j.created_at, j.id), '[]')
        from public.jobs j where j.project_id = project_snapshot.project_id),
      'proposed_nodes', (
        select coalesce(json_agg(to_jsonb(n) order by n.created_at, n.id), '[]')
        from public.proposed_nodes n where n.project_id = project_snapshot.project_id)))
$$;
comment on function public.project_snapshot(uuid) is
  'A project as of one moment: {head, rows: {ingestion_sources, jobs, proposed_nodes}}, rows as in the change log, oldest first.';

create function public.enrichment_snapshot(bom_id uuid)
returns json language sql stable security definer set search_path = '' set timezone = 'UTC' as $$
  select json_build_object(
    'head', rowcast.head('enrichment', enrichment_snapshot.bom_id),
    'rows', json_build_object(
      'boms', (select coalesce(json_agg(to_jsonb(b)), '[]') from public.boms b where b.id = enrichment_snapshot.bom_id),
      'bom_line_items', (
        select coalesce(json_agg(to_jsonb(i) order by i.updated_at desc, i.id), '[]')
        from (
          select * from public.bom_line_items i
          where i.bom_id = enrichment_snapshot.bom_id and i.status <> 'pending'
          order by i.updated_at desc, i.id limit 50) i)))
$$;
comment on function public.enrichment_snapshot(uuid) is
  'A BOM as of one moment: {head, rows: {boms, bom_line_items}}: its row, and the 50 line items last worked on, newest first.';

revoke all on function public.project_snapshot(uuid), public.enrichment_snapshot(uuid)
  from public, anon, authenticated, service_role;
grant execute on function public.project_snapshot(uuid), public.enrichment_snapshot(uuid) to service_role;

-- feed_changes feeds the service. The others serve direct mode, and pages that use supabase-js themselves.
do $$
begin
  if exists (select from pg_publication where pubname = 'supabase_realtime' and not puballtables) then
    alter publication supabase_realtime add table
      public.feed_changes, public.jobs, public.ingestion_sources, public.proposed_nodes, public.enrichment_events;
  elsif not exists (select from pg_publication where pubname = 'supabase_realtime') then
    raise warning 'there is no publication supabase_realtime: Realtime will tell nothing, and streams fall back to polling'
      using hint = 'Is this a Supabase database?';
  end if;
end $$;

-- What the columns that most tables have mean, said once.
do $$
declare col record;
begin
  for col in
    select a.attrelid::regclass as tbl, a.attname as name, told.meaning
    from (values
      ('id', 'Its id.'),
      ('created_at', 'When it was written first.'),
      ('updated_at', 'When it last changed. Set by the database.'),
      ('project_id', 'The project it belongs to.'),
      ('organization_id', 'The organization it belongs to.'),
      ('bom_id', 'The bill of materials it belongs to.'),
      ('error_message', 'Why it failed.'),
      ('started_at', 'When it was started.')
    ) told (name, meaning)
    join pg_attribute a on a.attname = told.name and a.attnum > 0
    join pg_class c on c.oid = a.attrelid and c.relnamespace = 'public'::regnamespace and c.relkind = 'r'
    where col_description(a.attrelid, a.attnum) is null
  loop
    execute format('comment on column %s.%I is %L', col.tbl, col.name, col.meaning);
  end loop;
end $$;
