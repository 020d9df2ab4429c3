-- The queue of jobs, and the enrichment of a BOM as a job of it.
--
-- Any number of workers share the queue. A claim is a lease: it is kept by heartbeats and lost when it runs out, and
-- then another worker takes the job over. Each claim has a token, and what is written under an old one is refused:
-- a worker that was only slow can't disturb the one that came after it.
--
-- A job of kind 'bom_enrichment' rules its BOM: whoever changes the job's status (a worker, a command, a retry), the BOM
-- and an event follow in the same transaction (rowcast.enrichment_follows). So the three always tell the same story.

-- The queue -----------------------------------------------------------------------------------------------------------

create table rowcast.claims (
  job_id uuid primary key references public.jobs on delete cascade,
  claim uuid not null
);
comment on table rowcast.claims is 'Who holds a claimed job: the token of its newest claim. Nobody reads it but these functions.';
revoke all on rowcast.claims from public;

drop index public.jobs_lease_until;
create index jobs_lease_until on public.jobs (lease_until) where status in ('running', 'stalled');

create function rowcast.check_lease(lease_seconds int) returns void language plpgsql immutable set search_path = '' as $$
begin
  if lease_seconds is null or lease_seconds not between 1 and 3600 then
    raise exception 'lease_seconds: must be 1 to 3600, not %', coalesce(lease_seconds::text, 'NULL') using errcode = 'invalid_parameter_value';
  end if;
end $$;

create function rowcast.lock_job(job_id uuid) returns public.jobs language plpgsql set search_path = '' as $$
declare job public.jobs;
begin
  select * into job from public.jobs j where j.id = lock_job.job_id for update;
  if not found then
    raise exception 'there is no job %', coalesce(job_id::text, 'NULL') using errcode = 'PT404',  -- PostgREST answers 404 to it, not 500
      hint = 'It was deleted, or its project was. Its worker should stop.';
  end if;
  return job;
end $$;

-- Asked after the job is locked, in a statement of its own: one that waited for the lock would see an old claim.
create function rowcast.holds(job_id uuid, claim uuid) returns boolean language sql stable set search_path = '' as $$
  select exists (select from rowcast.claims c where c.job_id = holds.job_id and c.claim = holds.claim)
$$;

create function rowcast.let_go(job_id uuid) returns void language sql set search_path = '' as $$
  delete from rowcast.claims c where c.job_id = let_go.job_id;
  update public.jobs j set lease_until = null where j.id = let_go.job_id;
$$;

create function public.claim_job(kinds text[], lease_seconds int default 60, job_id uuid default null)
returns json language plpgsql security definer set search_path = '' set timezone = 'UTC' as $$
declare job public.jobs; token uuid;
begin
  perform rowcast.check_lease(lease_seconds);
  if kinds is null or cardinality(kinds) = 0 then
    raise exception 'kinds: must name at least one kind of job' using errcode = 'invalid_parameter_value';
  end if;
  loop
    select * into job from public.jobs j
      where j.kind = any (kinds) and j.status in ('running', 'stalled') and j.lease_until < now()
        and (claim_job.job_id is null or j.id = claim_job.job_id)
      order by j.lease_until limit 1 for update skip locked;
    if not found then
      select * into job from public.jobs j where j.kind = any (kinds) and j.status = 'queued'
          and (claim_job.job_id is null or j.id = claim_job.job_id)
        order by j.priority desc, j.created_at, j.id limit 1 for update skip locked;
    end if;
    if not found then
      return null;
    elsif job.cancel_requested_at is not null then
      update public.jobs j set status = 'stopped', lease_until = null where j.id = job.id;
    elsif job.status <> 'queued' and job.attempt >= job.max_attempts then
      update public.jobs j set status = 'failed', lease_until = null,
          error_message = format('Its worker was lost %s times.', job.attempt)
        where j.id = job.id;
    else
      update public.jobs j set status = 'running', attempt = j.attempt + (j.status <> 'queued')::int, error_message = null,
          heartbeat_at = now(), lease_until = now() + make_interval(secs => lease_seconds)
        where j.id = job.id returning * into job;
      insert into rowcast.claims as c (job_id, claim) values (job.id, gen_random_uuid())
        on conflict on constraint claims_pkey do update set claim = excluded.claim returning c.claim into token;
      return json_build_object('claim', token, 'job', to_json(job));
    end if;
  end loop;
end $$;
comment on function public.claim_job(text[], int, uuid) is
  'Gives a worker the next job of these kinds, or the one with this id, for lease_seconds: one whose worker was lost, else the queued one of the highest priority, oldest first. {claim, job}, or null when there is none.';

drop function public.job_heartbeat(uuid, int);
create function public.job_heartbeat(job_id uuid, lease_seconds int default 60, claim uuid default null)
returns json language plpgsql security definer set search_path = '' as $$
declare job public.jobs;
begin
  if job_id is null then
    raise exception 'job_id: must not be NULL' using errcode = 'null_value_not_allowed';
  end if;
  perform rowcast.check_lease(lease_seconds);
  job := rowcast.lock_job(job_id);
  if claim is not null and not rowcast.holds(job.id, claim) then
    return json_build_object('status', 'lost', 'cancel_requested', false);
  end if;
  update public.jobs j
    set heartbeat_at = now(), lease_until = now() + make_interval(secs => lease_seconds) where j.id = job.id;
  return json_build_object('status', job.status, 'cancel_requested', job.cancel_requested_at is not null);
end $$;
comment on function public.job_heartbeat(uuid, int, uuid) is
  'A worker says that it is alive and holds its job for lease_seconds more; {status, cancel_requested} tells it whether to go on. With the claim of a claimed job: status lost, and nothing else, when that is not its claim any more.';

create function public.end_job(job_id uuid, claim uuid, status text, error_message text default null)
returns json language plpgsql security definer set search_path = '' as $$
declare job public.jobs;
begin
  if status is null or status not in ('queued', 'completed', 'failed', 'stopped') then
    raise exception 'status: must be queued, completed, failed or stopped, not %', coalesce(status, 'NULL') using errcode = 'invalid_parameter_value';
  end if;
  job := rowcast.lock_job(job_id);
  if not rowcast.holds(job.id, claim) then
    return json_build_object('status', 'lost');
  end if;
  if job.status in ('running', 'stalled') or (job.status in ('queued', 'paused') and end_job.status <> 'queued') then
    update public.jobs j set status = end_job.status, error_message = end_job.error_message,
        progress_stage = case end_job.status when 'completed' then 'complete' else j.progress_stage end,
        progress_total = case end_job.status when 'completed' then greatest(j.progress_total, j.progress_current) else j.progress_total end,
        progress_current = case end_job.status when 'completed' then greatest(j.progress_total, j.progress_current) else j.progress_current end
      where j.id = job.id returning * into job;
  end if;
  perform rowcast.let_go(job.id);
  return json_build_object('status', job.status);
end $$;
comment on function public.end_job(uuid, uuid, text, text) is
  'A worker gives its claimed job back: ended, or queued for another to go on with. {status}: what it is now; a job that was paused or ended meanwhile stays so, and lost says that the claim was.';

create function rowcast.objects(name text, given jsonb) returns jsonb language plpgsql immutable set search_path = '' as $$
begin
  if jsonb_typeof(given) = 'string' then
    given := given #>> '{}';  -- Supabase Lite sends a JSON argument as a string that holds it
  end if;
  if given is null or jsonb_typeof(given) <> 'array' then
    raise exception '%: must be a JSON array of objects', name using errcode = 'invalid_parameter_value';
  end if;
  return given;
end $$;

-- A BOM's state and its events ----------------------------------------------------------------------------------------

-- Counters change with every batch and are told by its event: they alone are no reason to log the BOM as well.
select rowcast.untrack('public.boms');
select rowcast.track('public.boms', feed => 'enrichment', key_column => 'id',
  except_columns => '{total_items,enriched_items,failed_items,not_found_items,current_stage,current_batch,total_batches,updated_at}');

drop index public.bom_line_items_recent;
create index bom_line_items_recent on public.bom_line_items (bom_id, updated_at desc, line_number desc) where status <> 'pending';
create index bom_line_items_to_do on public.bom_line_items (bom_id, line_number) where status in ('pending', 'enriching');

create unique index jobs_one_enrichment on public.jobs (bom_id)
  where kind = 'bom_enrichment' and status in ('queued', 'running', 'paused', 'stalled');

create function rowcast.enrichment_state(bom public.boms) returns jsonb language sql stable set search_path = '' set timezone = 'UTC' as $$
  select jsonb_build_object(
    'status', bom.status,
    'total_items', bom.total_items, 'enriched_items', bom.enriched_items, 'failed_items', bom.failed_items,
    'not_found_items', bom.not_found_items, 'pending_items', bom.total_items - done,
    'percent_complete', case when bom.total_items > 0 then round(100.0 * done / bom.total_items, 1)
      when bom.status = 'completed' then 100.0 else 0.0 end,
    'current_stage', bom.current_stage, 'current_batch', bom.current_batch, 'total_batches', bom.total_batches,
    'started_at', bom.started_at, 'completed_at', bom.completed_at, 'failed_at', bom.failed_at,
    'error_message', bom.error_message, 'last_update', bom.updated_at)
  from (select bom.enriched_items + bom.failed_items + bom.not_found_items as done) counted
$$;
comment on function rowcast.enrichment_state(public.boms) is
  'A BOM''s state as every event and snapshot tells it: the one place where percent_complete and pending_items are reckoned.';

create function rowcast.component(item public.bom_line_items) returns jsonb language sql stable set search_path = '' set timezone = 'UTC' as $$
  select jsonb_build_object(
    'line_item_id', item.id, 'mpn', item.mpn, 'manufacturer', item.manufacturer, 'status', item.status,
    'enrichment_data', item.enrichment_data, 'error_message', item.error_message, 'updated_at', item.updated_at)
$$;
comment on function rowcast.component(public.bom_line_items) is 'A line item as events and snapshots tell it.';

create function rowcast.tell(job public.jobs, bom public.boms, what text, payload jsonb) returns void
language sql set search_path = '' as $$
  insert into public.enrichment_events (event_type, routing_key, bom_id, tenant_id, project_id, user_id, source,
      workflow_id, workflow_run_id, state, payload, created_at)
  select 'enrichment.' || what, bom.source || '.enrichment.' || what, bom.id, bom.organization_id, bom.project_id,
      job.created_by, bom.source, 'bom-enrichment-' || bom.id, job.id, rowcast.enrichment_state(bom), payload,
      -- The BOM is locked, so events of one BOM get here one after the other; their times grow even if the clock does not.
      greatest(clock_timestamp(), (select max(e.created_at) + interval '1 microsecond'
        from public.enrichment_events e where e.bom_id = bom.id))
$$;
comment on function rowcast.tell(public.jobs, public.boms, text, jsonb) is
  'Writes an event of a BOM, which the caller has locked. Events in order of created_at are events in order of commit.';

create function rowcast.batch_size(organization uuid, out size int, out max_parallel int) language sql stable set search_path = '' as $$
  select c.batch_size, c.max_parallel from public.enrichment_config c
  where c.organization_id = organization or c.organization_id is null order by c.organization_id nulls last limit 1
$$;

-- The run -------------------------------------------------------------------------------------------------------------

create function rowcast.enrichment_follows() returns trigger language plpgsql security definer set search_path = '' as $$
declare
  bom public.boms;
  begins constant boolean := tg_op = 'INSERT' or old.status in ('completed', 'failed', 'stopped');
  batch jsonb;
begin
  if tg_op = 'UPDATE' and new.status = old.status then
    return null;
  end if;
  select * into bom from public.boms b where b.id = new.bom_id for update;
  batch := jsonb_build_object('batch', jsonb_build_object(
    'batch_number', coalesce(bom.current_batch, 0), 'batch_size', (rowcast.batch_size(bom.organization_id)).size, 'completed', 0));
  if new.status in ('queued', 'running') and begins then
    -- What is enriched stays so; all the rest is tried (again).
    update public.bom_line_items i set status = 'pending', enrichment_data = null, error_message = null
      where i.bom_id = bom.id and i.status not in ('pending', 'enriched');
    update public.boms b set status = 'enriching', current_stage = 'queued', current_batch = 0, failed_items = 0,
        not_found_items = 0, enriched_items = counted.enriched, total_items = counted.total,
        total_batches = ceil((counted.total - counted.enriched)::numeric / (rowcast.batch_size(bom.organization_id)).size),
        started_at = now(), completed_at = null, failed_at = null, error_message = null
      from (select count(*) as total, count(*) filter (where i.status = 'enriched') as enriched
        from public.bom_line_items i where i.bom_id = bom.id) counted
      where b.id = bom.id returning b.* into bom;
    perform rowcast.tell(new, bom, 'started', '{}');
  elsif new.status in ('queued', 'running') and bom.status <> 'enriching' then
    update public.boms b set status = 'enriching' where b.id = bom.id returning b.* into bom;
    perform rowcast.tell(new, bom, 'progress', batch);
  elsif new.status in ('paused', 'stopped') then
    update public.boms b set status = new.status where b.id = bom.id returning b.* into bom;
    perform rowcast.tell(new, bom, 'progress', batch);
  elsif new.status = 'completed' then
    update public.boms b set status = 'completed', current_stage = 'complete', completed_at = now()
      where b.id = bom.id returning b.* into bom;
    perform rowcast.tell(new, bom, 'completed', '{}');
  elsif new.status = 'failed' then
    update public.boms b set status = 'failed', failed_at = now(), error_message = new.error_message
      where b.id = bom.id returning b.* into bom;
    perform rowcast.tell(new, bom, 'failed', jsonb_build_object('error', new.error_message));
  end if;
  return null;
end $$;
comment on function rowcast.enrichment_follows() is
  'AFTER a job of kind bom_enrichment is made or its status changes: its BOM follows, and an event tells it.';
create trigger enrichment_follows after insert or update of status on public.jobs
  for each row when (new.kind = 'bom_enrichment' and new.bom_id is not null) execute function rowcast.enrichment_follows();

create function public.write_batch(job_id uuid, claim uuid, results jsonb default '[]')
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
  select string_agg(distinct coalesce(r ->> 'status', 'NULL'), ', ') into wrong from jsonb_array_elements(results) r
    where coalesce(r ->> 'status', 'NULL') not in ('enriched', 'failed', 'not_found');
  if wrong is not null then
    raise exception 'results: status must be enriched, failed or not_found, not %', wrong using errcode = 'invalid_parameter_value';
  end if;
  job := rowcast.lock_job(job_id);
  if not rowcast.holds(job.id, claim) then
    return json_build_object('status', 'lost', 'items', '[]'::json);
  elsif job.status not in ('running', 'paused', 'queued') then
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
    set status = case when not pending then 'completed' when job.cancel_requested_at is not null then 'stopped' else j.status end,
      progress_stage = case when pending then 'enriching' else 'complete' end,
      progress_current = bom.enriched_items + bom.failed_items + bom.not_found_items, progress_total = bom.total_items,
      progress_message = format('Batch %s of %s', bom.current_batch, bom.total_batches),
      heartbeat_at = now(), lease_until = now() + (j.lease_until - j.heartbeat_at)  -- as long as it was claimed for
    where j.id = job.id returning * into job;
  if job.status <> 'running' then
    perform rowcast.let_go(job.id);
    items := '[]';
  end if;
  return json_build_object('status', job.status, 'items', items, 'max_parallel', config.max_parallel);
end $$;
comment on function public.write_batch(uuid, uuid, jsonb) is
  'Writes what became of a batch ([{id, status: enriched, failed or not_found, enrichment_data, error_message}]; none to begin with) and hands out the next: {status, items, max_parallel}. In one transaction: the line items, the BOM, one enrichment.progress event, the job; after the last item also their end. A status other than running (lost: another worker has the job now) ends the worker''s claim, and there are no items.';

-- What people do ------------------------------------------------------------------------------------------------------

create function public.create_bom(project_id uuid, filename text, items jsonb, source text default 'customer', bom_id uuid default null)
returns json language plpgsql security definer set search_path = '' as $$
declare bom public.boms;
begin
  items := rowcast.objects('items', items);
  if jsonb_array_length(items) = 0 then
    raise exception 'items: must hold at least one line' using errcode = 'invalid_parameter_value';
  end if;
  if not exists (select from public.projects p where p.id = create_bom.project_id) then
    raise exception 'there is no project %', coalesce(project_id::text, 'NULL') using errcode = 'PT404';
  end if;
  insert into public.boms (id, project_id, organization_id, filename, source, total_items)
    select coalesce(create_bom.bom_id, gen_random_uuid()), p.id, p.organization_id, create_bom.filename, create_bom.source,
      jsonb_array_length(items)
    from public.projects p where p.id = create_bom.project_id on conflict do nothing returning * into bom;
  if not found then  -- called again because its answer was lost
    return (select json_build_object('bom_id', b.id, 'total_items', b.total_items) from public.boms b where b.id = create_bom.bom_id);
  end if;
  insert into public.bom_line_items (bom_id, project_id, line_number, reference, quantity, mpn, manufacturer, description)
    select bom.id, bom.project_id, r.line_number, r.reference, r.quantity, r.mpn, r.manufacturer, r.description
    from jsonb_to_recordset(items) as r (line_number int, reference text, quantity numeric, mpn text, manufacturer text, description text);
  return json_build_object('bom_id', bom.id, 'total_items', bom.total_items);
end $$;
comment on function public.create_bom(uuid, text, jsonb, text, uuid) is
  'Adds a BOM with its lines ([{line_number, reference, quantity, mpn, manufacturer, description}]) whole or not at all: {bom_id, total_items}. With a bom_id of the caller''s own it can be called again.';

create function public.start_enrichment(bom_id uuid, priority int default 5, user_id uuid default null)
returns json language plpgsql security definer set search_path = '' as $$
declare run uuid; began boolean;
begin
  insert into public.jobs (project_id, kind, title, bom_id, priority, created_by)
    select b.project_id, 'bom_enrichment', 'Enriching ' || b.filename, b.id, start_enrichment.priority, user_id
    from public.boms b where b.id = start_enrichment.bom_id
    on conflict do nothing returning id into run;
  began := found;
  if not began then
    select j.id into run from public.jobs j where j.bom_id = start_enrichment.bom_id and j.kind = 'bom_enrichment'
      and j.status in ('queued', 'running', 'paused', 'stalled');
  end if;
  if run is null and not exists (select from public.boms b where b.id = start_enrichment.bom_id) then
    raise exception 'there is no BOM %', coalesce(bom_id::text, 'NULL') using errcode = 'PT404';
  end if;
  return (select json_build_object('started', began, 'run_id', run, 'status', b.status)
    from public.boms b where b.id = start_enrichment.bom_id);
end $$;
comment on function public.start_enrichment(uuid, int, uuid) is
  'Queues the enrichment of a BOM: {started, run_id, status}. started is false when a run is under way; run_id is that run then. What is enriched already stays so.';

create function public.control_enrichment(bom_id uuid, command text)
returns json language plpgsql security definer set search_path = '' as $$
declare job public.jobs; wanted text; told json;
begin
  if command is null or command not in ('pause', 'resume', 'stop') then
    raise exception 'command: must be pause, resume or stop, not %', coalesce(command, 'NULL') using errcode = 'invalid_parameter_value';
  end if;
  select * into job from public.jobs j where j.bom_id = control_enrichment.bom_id and j.kind = 'bom_enrichment'
    and j.status in ('queued', 'running', 'paused', 'stalled') for update;
  if found then
    wanted := case
      when command = 'stop' then 'stopped'
      when command = 'pause' then 'paused'
      when job.status <> 'paused' then job.status
      -- A worker that has not noticed the pause goes on, or its batch would be done by another one too.
      when job.lease_until > now() then 'running'
      else 'queued' end;
    if wanted <> job.status then
      update public.jobs j set status = wanted where j.id = job.id;
    end if;
  end if;
  select json_build_object('status', b.status, 'run_id', job.id) into told from public.boms b where b.id = control_enrichment.bom_id;
  if told is null then
    raise exception 'there is no BOM %', coalesce(bom_id::text, 'NULL') using errcode = 'PT404';
  end if;
  return told;
end $$;
comment on function public.control_enrichment(uuid, text) is
  'Pauses, resumes or stops the run under way: {status, run_id}, the BOM''s status then; run_id is null when there is none. A command that changes nothing is no error.';

-- What pages read -----------------------------------------------------------------------------------------------------

create or replace function public.enrichment_snapshot(bom_id uuid)
returns json language sql stable security definer set search_path = '' set timezone = 'UTC' as $$
  select json_build_object(
    'head', rowcast.head('enrichment', enrichment_snapshot.bom_id),
    'rows', json_build_object(
      'boms', (select coalesce(json_agg(rowcast.enrichment_state(b)), '[]') from public.boms b where b.id = enrichment_snapshot.bom_id),
      'bom_line_items', (
        select coalesce(json_agg(rowcast.component(i) order by i.updated_at desc, i.line_number desc), '[]')
        from (
          select * from public.bom_line_items i
          where i.bom_id = enrichment_snapshot.bom_id and i.status <> 'pending'
          order by i.updated_at desc, i.line_number desc limit 50) i),
      'enrichment_events', (
        select coalesce(json_agg(to_jsonb(e)), '[]')
        from (
          select * from public.enrichment_events e where e.bom_id = enrichment_snapshot.bom_id
          order by e.created_at desc, e.event_id desc limit 1) e)))
$$;
comment on function public.enrichment_snapshot(uuid) is
  'A BOM as of one moment: {head, rows: {boms, bom_line_items, enrichment_events}}: its state, the 50 components last worked on, newest first, its last event.';

create function public.enrichment_history(bom_id uuid, from_at timestamptz default null, from_id uuid default null, size int default 100)
returns json language plpgsql stable security definer set search_path = '' set timezone = 'UTC' as $$
begin
  if size is null or size not between 1 and 1001 then
    raise exception 'size: must be 1 to 1001, not %', coalesce(size::text, 'NULL') using errcode = 'invalid_parameter_value';
  end if;
  return (
    select coalesce(json_agg(to_jsonb(e) order by e.created_at, e.event_id), '[]')
    from (
      select * from public.enrichment_events e
      where e.bom_id = enrichment_history.bom_id
        and (e.created_at, e.event_id) >= (coalesce(from_at, '-infinity'), coalesce(from_id, '00000000-0000-0000-0000-000000000000'))
      order by e.created_at, e.event_id limit size) e);
end $$;
comment on function public.enrichment_history(uuid, timestamptz, uuid, int) is
  'A BOM''s events as rows, oldest first, from (from_at, from_id) on, that one included, at most size.';

-- Who may call them ---------------------------------------------------------------------------------------------------

revoke all on all functions in schema rowcast from public;
revoke all on function
  public.claim_job(text[], int, uuid), public.job_heartbeat(uuid, int, uuid), public.end_job(uuid, uuid, text, text),
  public.write_batch(uuid, uuid, jsonb), public.create_bom(uuid, text, jsonb, text, uuid), public.start_enrichment(uuid, int, uuid),
  public.control_enrichment(uuid, text), public.enrichment_history(uuid, timestamptz, uuid, int)
from public, anon, authenticated, service_role;
grant execute on function
  public.claim_job(text[], int, uuid), public.job_heartbeat(uuid, int, uuid), public.end_job(uuid, uuid, text, text),
  public.write_batch(uuid, uuid, jsonb), public.create_bom(uuid, text, jsonb, text, uuid), public.start_enrichment(uuid, int, uuid),
  public.control_enrichment(uuid, text), public.enrichment_history(uuid, timestamptz, uuid, int)
to service_role;
