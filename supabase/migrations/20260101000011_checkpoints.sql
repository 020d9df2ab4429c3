-- Checkpoints: what a worker leaves for the next attempt at its job. And a batch that is written with the pipeline it makes.

alter table public.jobs add column checkpoint jsonb
  constraint jobs_checkpoint_size check (octet_length(checkpoint::text) <= 262144);
comment on column public.jobs.checkpoint is
  'What its worker left for the next attempt, at most 256 KiB. For workers alone: not shown to members, not in the change log.';

-- It is nobody's news: not logged, not told, and no change of the job.
select rowcast.untrack('public.jobs');
select rowcast.track('public.jobs', feed => 'project', key_column => 'project_id',
  except_columns => '{heartbeat_at,lease_until,payload,checkpoint}');

create or replace function public.project_snapshot(project_id uuid)
returns json language sql stable security definer set search_path = '' set timezone = 'UTC' as $$
  select json_build_object(
    'head', rowcast.head('project', project_snapshot.project_id),
    'rows', json_build_object(
      'ingestion_sources', (
        select coalesce(json_agg(to_jsonb(s) order by s.created_at, s.id), '[]')
        from public.ingestion_sources s where s.project_id = project_snapshot.project_id),
      'jobs', (
        select coalesce(json_agg(to_jsonb(j) - '{heartbeat_at,lease_until,payload,checkpoint}'::text[] order by j.created_at, j.id), '[]')
        from public.jobs j where j.project_id = project_snapshot.project_id),
      'proposed_nodes', (
        select coalesce(json_agg(to_jsonb(n) order by n.created_at, n.id), '[]')
        from public.proposed_nodes n where n.project_id = project_snapshot.project_id)))
$$;

create or replace function rowcast.job_times() returns trigger language plpgsql set search_path = '' as $$
declare progressed boolean; rest public.jobs;
begin
  if tg_op = 'INSERT' then
    progressed := new.progress_stage is not null or new.progress_current <> 0
      or new.progress_total is not null or new.progress_message is not null;
    if progressed and new.progress_updated_at is null then
      new.progress_updated_at := now();
    end if;
  else
    progressed := new.progress_current <> old.progress_current or new.progress_stage is distinct from old.progress_stage
      or new.progress_total is distinct from old.progress_total or new.progress_message is distinct from old.progress_message;
    if progressed and new.progress_updated_at is not distinct from old.progress_updated_at then
      new.progress_updated_at := now();
    end if;
  end if;
  if new.status = 'running' and new.started_at is null then
    new.started_at := now();
  end if;
  if new.status not in ('completed', 'failed', 'stopped') then
    new.finished_at := null;
  elsif tg_op = 'INSERT' or new.status <> old.status then
    new.finished_at := now();
  elsif new.finished_at is null then
    new.finished_at := old.finished_at;
  end if;
  if tg_op = 'UPDATE' then
    new.updated_at := old.updated_at;
    if not progressed then  -- else the answer is known, and comparing whole rows is what costs here
      rest := new;
      rest.heartbeat_at := old.heartbeat_at;
      rest.lease_until := old.lease_until;
      rest.payload := old.payload;
      rest.checkpoint := old.checkpoint;
    end if;
    if progressed or rest is distinct from old then
      new.updated_at := now();
    end if;
  end if;
  return new;
end $$;

-- As before, but that the batch comes with the job's pipeline, and that the answer tells how far the BOM is.
drop function public.write_batch(uuid, uuid, jsonb);
create function public.write_batch(job_id uuid, claim uuid, results jsonb default '[]', pipeline jsonb default null)
returns json language plpgsql security definer set search_path = '' set timezone = 'UTC' as $$
declare
  job public.jobs;
  bom public.boms;
  config record;
  wrong text;
  written record;
  items json;
  pending boolean;
begin
  results := rowcast.objects('results', results);
  if jsonb_typeof(pipeline) = 'string' then
    pipeline := pipeline #>> '{}';  -- Supabase Lite sends a JSON argument as a string that holds it
  end if;
  select string_agg(distinct coalesce(r ->> 'status', 'NULL'), ', ') into wrong from jsonb_array_elements(results) r
    where coalesce(r ->> 'status', 'NULL') not in ('enriched', 'failed', 'not_found');
  if wrong is not null then
    raise exception 'results: status must be enriched, failed or not_found, not %', wrong using errcode = 'invalid_parameter_value';
  end if;
  job := rowcast.lock_job(job_id);
  if not rowcast.holds(job.id, claim) then
    return json_build_object('status', 'lost', 'items', '[]'::json);
  elsif job.status not in ('running', 'paused', 'queued', 'stalled') then
    perform rowcast.let_go(job.id);
    return json_build_object('status', job.status, 'items', '[]'::json);
  end if;
  select * into bom from public.boms b where b.id = job.bom_id for update;
  if not found then
    update public.jobs j set status = 'stopped', error_message = 'Its BOM was deleted.' where j.id = job.id;
    perform rowcast.let_go(job.id);
    return json_build_object('status', 'stopped', 'items', '[]'::json);
  end if;
  config := rowcast.batch_size(bom.organization_id);

  -- An item that has its outcome keeps it: a call that is repeated because its answer was lost writes nothing twice.
  with wrote as (
    update public.bom_line_items i
      set status = r.status, enrichment_data = r.enrichment_data, error_message = r.error_message
      from jsonb_to_recordset(results) as r (id uuid, status text, enrichment_data jsonb, error_message text)
      where i.id = r.id and i.bom_id = bom.id and i.status in ('pending', 'enriching')
      returning i as item, i.line_number, i.status
  )
  select count(*) as completed, count(*) filter (where w.status = 'enriched') as enriched,
      count(*) filter (where w.status = 'failed') as failed, count(*) filter (where w.status = 'not_found') as not_found,
      jsonb_agg(rowcast.component(w.item) order by w.line_number) as components
    into written from wrote w;
  select coalesce(json_agg(json_build_object('id', i.id, 'line_number', i.line_number, 'reference', i.reference,
      'quantity', i.quantity, 'mpn', i.mpn, 'manufacturer', i.manufacturer, 'description', i.description) order by i.line_number), '[]')
    into items
    from (select * from public.bom_line_items i where i.bom_id = bom.id and i.status in ('pending', 'enriching')
      order by i.line_number limit config.size) i;
  pending := json_array_length(items) > 0;

  if written.completed > 0 then
    update public.boms b set current_stage = 'enriching', current_batch = coalesce(b.current_batch, 0) + 1,
        enriched_items = b.enriched_items + written.enriched, failed_items = b.failed_items + written.failed,
        not_found_items = b.not_found_items + written.not_found,
        total_batches = coalesce(b.current_batch, 0) + 1 + ceil((b.total_items - b.enriched_items - b.failed_items
          - b.not_found_items - written.completed)::numeric / config.size)
      where b.id = bom.id returning b.* into bom;
    perform rowcast.tell(job, bom, 'progress', jsonb_build_object(
      'batch', jsonb_build_object('batch_number', bom.current_batch,
        'batch_size', greatest(jsonb_array_length(results), written.completed), 'completed', written.completed),
      'components', written.components));
  end if;
  update public.jobs j
    set status = case when not pending then 'completed' when job.cancel_requested_at is not null then 'stopped'
        when j.status = 'stalled' then 'running' else j.status end,
      progress_stage = case when pending then 'enriching' else 'complete' end,
      progress_current = bom.enriched_items + bom.failed_items + bom.not_found_items, progress_total = bom.total_items,
      progress_message = format('Batch %s of %s', bom.current_batch, bom.total_batches),
      pipeline = coalesce(write_batch.pipeline, j.pipeline),
      heartbeat_at = now(), lease_until = now() + (j.lease_until - j.heartbeat_at)  -- as long as it was claimed for
    where j.id = job.id returning * into job;
  if job.status <> 'running' then
    perform rowcast.let_go(job.id);
    items := '[]';
  end if;
  return json_build_object('status', job.status, 'items', items, 'max_parallel', config.max_parallel,
    'total', bom.total_items, 'done', bom.enriched_items + bom.failed_items + bom.not_found_items, 'message', job.progress_message);
end $$;
comment on function public.write_batch(uuid, uuid, jsonb, jsonb) is
  'Writes what became of a batch ([{id, status: enriched, failed or not_found, enrichment_data, error_message}]; none to begin with) and hands out the next: {status, items, max_parallel, total, done, message}. In one transaction: the line items, the BOM, one enrichment.progress event, the job, with its pipeline where one is given; after the last item also their end. A status other than running (lost: another worker has the job now) ends the worker''s claim, and there are no items.';
revoke all on function public.write_batch(uuid, uuid, jsonb, jsonb) from public, anon, authenticated, service_role;
grant execute on function public.write_batch(uuid, uuid, jsonb, jsonb) to service_role;
