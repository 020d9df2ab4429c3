-- A job's life: which status may follow which, what becomes of a job whose worker is lost, and what people may command.

-- Which status may follow which ----------------------------------------------------------------------------------------

create table rowcast.job_transitions (
  from_status text not null,
  to_status text not null,
  by text not null,
  primary key (from_status, to_status)
);
comment on table rowcast.job_transitions is
  'A job''s status may change as one of these rows says, whoever changes it. docs/database.md shows the same table.';
revoke all on rowcast.job_transitions from public;
insert into rowcast.job_transitions (from_status, to_status, by) values
  ('queued', 'running', 'a worker claims it'),
  ('queued', 'paused', 'pause'),
  ('queued', 'completed', 'a worker that was at it when it was queued again ends it'),
  ('queued', 'failed', 'a worker that was at it when it was queued again ends it'),
  ('queued', 'stopped', 'cancel, stop, or a worker that was at it when it was queued again ends it'),
  ('running', 'queued', 'its worker gives it back'),
  ('running', 'paused', 'pause'),
  ('running', 'stalled', 'its lease has run out'),
  ('running', 'completed', 'its worker'),
  ('running', 'failed', 'its worker, or it has lost too many of them'),
  ('running', 'stopped', 'its worker, cancel, stop'),
  ('paused', 'queued', 'resume, when its worker is gone'),
  ('paused', 'running', 'resume'),
  ('paused', 'completed', 'its worker had no more to do'),
  ('paused', 'failed', 'its worker'),
  ('paused', 'stopped', 'its worker, cancel, stop'),
  ('stalled', 'queued', 'retry, or its worker, which was only slow, gives it back'),
  ('stalled', 'running', 'its worker is back, or another one claims it'),
  ('stalled', 'paused', 'pause'),
  ('stalled', 'completed', 'its worker, which was only slow'),
  ('stalled', 'failed', 'its worker, which was only slow, or it has lost too many of them'),
  ('stalled', 'stopped', 'its worker, which was only slow, cancel, stop'),
  ('failed', 'queued', 'retry'),
  ('failed', 'running', 'a program that tries again by itself'),
  ('stopped', 'queued', 'retry'),
  ('stopped', 'running', 'a program that tries again by itself');

create function rowcast.check_transition() returns trigger language plpgsql security definer set search_path = '' as $$
declare allowed text;
begin
  -- What is no status at all is left to the column's own check.
  if exists (select from rowcast.job_transitions t where t.to_status = new.status)
      and not exists (select from rowcast.job_transitions t where t.from_status = old.status and t.to_status = new.status) then
    select string_agg(t.to_status, ', ' order by t.to_status) into allowed from rowcast.job_transitions t where t.from_status = old.status;
    raise exception 'status: a % job can''t become %', old.status, new.status using errcode = 'check_violation',
      hint = coalesce('It may become ' || allowed || '.', 'That is final; make another job.');
  end if;
  return new;
end $$;
create trigger transition before update of status on public.jobs
  for each row when (new.status is distinct from old.status) execute function rowcast.check_transition();

-- Lost workers --------------------------------------------------------------------------------------------------------

drop index public.jobs_lease_until;
create index jobs_lease_until on public.jobs (lease_until) where status in ('running', 'paused', 'stalled');

-- Nobody may take it over, and its own worker has had as long again as its lease was to come back.
create function rowcast.hopeless(job public.jobs) returns boolean language sql stable set search_path = '' as $$
  select job.attempt >= job.max_attempts and job.lease_until + coalesce(job.lease_until - job.heartbeat_at, '0') < now()
$$;

create function rowcast.give_up(job public.jobs) returns boolean language plpgsql set search_path = '' as $$
begin
  if job.cancel_requested_at is not null then
    update public.jobs j set status = 'stopped' where j.id = job.id;
  elsif job.status <> 'queued' and rowcast.hopeless(job) then
    update public.jobs j set status = 'failed',
        error_message = format('Its worker was lost, at attempt %s of %s.', job.attempt, job.max_attempts)
      where j.id = job.id;
  else
    return false;
  end if;
  perform rowcast.let_go(job.id);
  return true;
end $$;
comment on function rowcast.give_up(public.jobs) is
  'Ends a job without a worker, which the caller has locked, where no other one should begin. Whether it did.';

create function public.stall_jobs(batch int default 1000) returns int
language plpgsql security definer set search_path = '' set lock_timeout = '250ms' as $$
declare job public.jobs; lost int := 0;
begin
  if batch is null or batch < 1 then
    raise exception 'batch: must be 1 or more, not %', coalesce(batch::text, 'NULL') using errcode = 'invalid_parameter_value';
  elsif not pg_try_advisory_xact_lock(hashtextextended('rowcast stall', 0)) then
    return 0;  -- another session is at it
  end if;
  for job in
    select * from public.jobs j
      where j.status in ('running', 'paused', 'stalled') and j.lease_until < now()
        and (j.status = 'running' or j.cancel_requested_at is not null or j.status = 'stalled' and rowcast.hopeless(j))
      order by j.lease_until limit batch for update skip locked
  loop
    begin
      if not rowcast.give_up(job) then
        update public.jobs j set status = 'stalled' where j.id = job.id;
      end if;
      lost := lost + 1;
    exception when lock_not_available or deadlock_detected then
      null;  -- somebody holds its BOM: the next call's, and no reason to leave the others
    end;
  end loop;
  return lost;
end $$;
comment on function public.stall_jobs(int) is
  'Sets jobs whose lease has run out stalled, for the next worker or their own; stopped where that was asked for; failed at their last attempt, once it has run out for as long again. At most batch of them, and returns how many: call it again until it returns 0. 0 also when another session is at it.';

-- A worker that was only slow shows it by its progress, too: nobody has taken its job meanwhile, or it would not be stalled.
create function rowcast.go_on() returns trigger language plpgsql set search_path = '' as $$
begin
  new.status := 'running';
  new.heartbeat_at := now();
  new.lease_until := now() + (old.lease_until - old.heartbeat_at);
  return new;
end $$;
create trigger go_on before update of progress_stage, progress_current, progress_total, progress_message on public.jobs
  for each row when (old.status = 'stalled' and new.status = 'stalled'
    and (new.progress_stage, new.progress_current, new.progress_total, new.progress_message)
      is distinct from (old.progress_stage, old.progress_current, old.progress_total, old.progress_message))
  execute function rowcast.go_on();

create or replace function public.job_heartbeat(job_id uuid, lease_seconds int default 60, claim uuid default null)
returns json language plpgsql security definer set search_path = '' as $$
declare job public.jobs; holder uuid;
begin
  if job_id is null then
    raise exception 'job_id: must not be NULL' using errcode = 'null_value_not_allowed';
  end if;
  perform rowcast.check_lease(lease_seconds);
  job := rowcast.lock_job(job_id);
  select c.claim into holder from rowcast.claims c where c.job_id = job.id;
  -- A job that was never claimed is its maker's until it is queued: for a retry, and then for whoever claims it.
  if claim is distinct from holder or (claim is null and job.status = 'queued') then
    return json_build_object('status', 'lost', 'cancel_requested', false);
  end if;
  update public.jobs j set heartbeat_at = now(), lease_until = now() + make_interval(secs => lease_seconds),
      status = case j.status when 'stalled' then 'running' else j.status end
    where j.id = job.id returning * into job;
  return json_build_object('status', job.status, 'cancel_requested', job.cancel_requested_at is not null);
end $$;
comment on function public.job_heartbeat(uuid, int, uuid) is
  'A worker says that it is alive and holds its job for lease_seconds more; {status, cancel_requested} tells it whether to go on. A stalled job runs again. With the claim of a claimed job: status lost, and nothing else, when that is not its claim any more; without one also when somebody has claimed or queued it.';

-- The queue is read kind by kind, in the order of this index, and passes over what other workers are just claiming: to sort
-- it would be to read all of it.
drop index public.jobs_queue;
create index jobs_queue on public.jobs (kind, priority desc, created_at, id) where status = 'queued';

-- As before, but for that; and that a job is given up as above, that another attempt begins with a pipeline of its own, and
-- each claim with progress numbers of its own.
create or replace function public.claim_job(kinds text[], lease_seconds int default 60, job_id uuid default null)
returns json language plpgsql security definer set search_path = '' set timezone = 'UTC' as $$
declare job public.jobs; token uuid; first uuid; passed uuid[];
begin
  perform rowcast.check_lease(lease_seconds);
  if kinds is null or cardinality(kinds) = 0 then
    raise exception 'kinds: must name at least one kind of job' using errcode = 'invalid_parameter_value';
  end if;
  loop
    select * into job from public.jobs j
      where j.kind = any (kinds) and j.status in ('running', 'stalled') and j.lease_until < now()
        and (j.attempt < j.max_attempts or rowcast.hopeless(j)) and (claim_job.job_id is null or j.id = claim_job.job_id)
      order by j.lease_until limit 1 for update skip locked;
    passed := '{}';
    while not found loop
      select best.id into first from unnest(kinds) k, lateral (
          select j.id, j.priority, j.created_at from public.jobs j
          where j.kind = k and j.status = 'queued' and (claim_job.job_id is null or j.id = claim_job.job_id) and j.id <> all (passed)
          order by j.priority desc, j.created_at, j.id limit 1) best
        order by best.priority desc, best.created_at, best.id limit 1;
      if not found then
        return null;
      end if;
      select * into job from public.jobs j where j.id = first and j.status = 'queued' for update skip locked;
      passed := passed || first;
    end loop;
    if not rowcast.give_up(job) then
      update public.jobs j set status = 'running', attempt = j.attempt + (j.status <> 'queued')::int, error_message = null,
          pipeline = case j.status when 'queued' then j.pipeline end,
          progress_number = ((j.progress_number >> 32) + 1) << 32,  -- below 2^53 for two million claims
          heartbeat_at = now(), lease_until = now() + make_interval(secs => lease_seconds)
        where j.id = job.id returning * into job;
      insert into rowcast.claims as c (job_id, claim) values (job.id, gen_random_uuid())
        on conflict on constraint claims_pkey do update set claim = excluded.claim returning c.claim into token;
      return json_build_object('claim', token, 'job', to_json(job));
    end if;
  end loop;
end $$;

-- As before, but that a stalled job whose worker is back goes on, that the batch comes with the job's pipeline, and that the
-- answer tells how far the BOM is.
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
  if jsonb_typeof(pipeline) not in ('object', 'null') then
    raise exception 'pipeline: must be a JSON object, not %', jsonb_typeof(pipeline) using errcode = 'invalid_parameter_value';
  end if;
  select string_agg(distinct coalesce(r ->> 'status', 'NULL'), ', ') into wrong from jsonb_array_elements(results) r
    where coalesce(r ->> 'status', 'NULL') not in ('enriched', 'failed', 'not_found');
  if wrong is not null then
    raise exception 'results: status must be enriched, failed or not_found, not %', wrong using errcode = 'invalid_parameter_value';
  elsif exists (select from jsonb_array_elements(results) r where r ->> 'id' is null) then
    raise exception 'results: each must have the id of its line item' using errcode = 'invalid_parameter_value';
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
      pipeline = coalesce(nullif(write_batch.pipeline, 'null'), j.pipeline),
      heartbeat_at = now(), lease_until = now() + (j.lease_until - j.heartbeat_at)  -- as long as it was claimed for
    where j.id = job.id returning * into job;
  if job.status <> 'running' then
    perform rowcast.let_go(job.id);
    items := '[]';
  end if;
  return json_build_object('status', job.status, 'items', items, 'max_parallel', config.max_parallel,
    'total', bom.total_items, 'done', bom.enriched_items + bom.failed_items + bom.not_found_items, 'message', job.progress_message,
    'counts', json_build_object('enriched', bom.enriched_items, 'failed', bom.failed_items, 'not_found', bom.not_found_items));
end $$;
comment on function public.write_batch(uuid, uuid, jsonb, jsonb) is
  'Writes what became of a batch ([{id, status: enriched, failed or not_found, enrichment_data, error_message}]; none to begin with) and hands out the next: {status, items, max_parallel, total, done, message, counts}. In one transaction: the line items, the BOM, one enrichment.progress event, the job, with its pipeline where one is given; after the last item also their end. A status other than running (lost: another worker has the job now) ends the worker''s claim, and there are no items.';

-- Commands ------------------------------------------------------------------------------------------------------------
--
-- For the service, which has asked whether whoever commands may. The answer is {done, status, attempt, cancel_requested}:
-- done is false when the job is in no state for it, and then nothing has changed.

create function rowcast.told(job public.jobs, done boolean) returns json language sql stable set search_path = '' as $$
  select json_build_object('done', done, 'status', job.status, 'attempt', job.attempt,
    'cancel_requested', job.cancel_requested_at is not null)
$$;

create function public.cancel_job(job_id uuid) returns json language plpgsql security definer set search_path = '' as $$
declare job public.jobs;
begin
  job := rowcast.lock_job(job_id);
  if job.status in ('completed', 'failed', 'stopped') then
    return rowcast.told(job, false);
  end if;
  if job.status in ('running', 'paused') and job.lease_until >= now() then
    update public.jobs j set cancel_requested_at = coalesce(j.cancel_requested_at, now())
      where j.id = job.id returning * into job;
  else  -- nobody would notice
    update public.jobs j set cancel_requested_at = coalesce(j.cancel_requested_at, now()), status = 'stopped'
      where j.id = job.id returning * into job;
    perform rowcast.let_go(job.id);
  end if;
  return rowcast.told(job, true);
end $$;
comment on function public.cancel_job(uuid) is
  'Asks a job''s worker to stop, or stops the job at once when none is known to be at it: {done, status, attempt, cancel_requested}; done is false when it has ended.';

create function public.retry_job(job_id uuid) returns json language plpgsql security definer set search_path = '' as $$
declare job public.jobs;
begin
  job := rowcast.lock_job(job_id);
  if job.status not in ('failed', 'stalled', 'stopped') then
    return rowcast.told(job, false);
  end if;
  begin
    update public.jobs j set status = 'queued', attempt = j.attempt + 1, max_attempts = greatest(j.max_attempts, j.attempt + 1),
        cancel_requested_at = null, error_message = null, pipeline = null
      where j.id = job.id returning * into job;
  exception when unique_violation then  -- jobs_one_enrichment: another run of its BOM is under way
    return rowcast.told(job, false);
  end;
  perform rowcast.let_go(job.id);  -- a worker that was only slow comes too late
  return rowcast.told(job, true);
end $$;
comment on function public.retry_job(uuid) is
  'Queues a failed, stalled or stopped job again, as another attempt: {done, status, attempt, cancel_requested}; done is false when it is in another state, or another run of its BOM is under way.';

create function public.decide_proposal(proposal_id uuid, status text) returns json
language plpgsql security definer set search_path = '' as $$
begin
  if status is null or status not in ('proposed', 'accepted', 'rejected') then
    raise exception 'status: must be accepted, rejected or proposed, not %', coalesce(status, 'NULL') using errcode = 'invalid_parameter_value';
  end if;
  update public.proposed_nodes n set status = decide_proposal.status where n.id = decide_proposal.proposal_id;
  if not found then
    raise exception 'there is no proposal %', coalesce(proposal_id::text, 'NULL') using errcode = 'PT404';
  end if;
  return json_build_object('status', status);
end $$;
comment on function public.decide_proposal(uuid, text) is 'Accepts or rejects a proposal, or takes that back (proposed): {status}.';

-- Who may call them ---------------------------------------------------------------------------------------------------

revoke all on all functions in schema rowcast from public;
revoke all on function
  public.write_batch(uuid, uuid, jsonb, jsonb), public.stall_jobs(int), public.cancel_job(uuid), public.retry_job(uuid),
  public.decide_proposal(uuid, text)
from public, anon, authenticated, service_role;
grant execute on function
  public.write_batch(uuid, uuid, jsonb, jsonb), public.stall_jobs(int), public.cancel_job(uuid), public.retry_job(uuid),
  public.decide_proposal(uuid, text)
to service_role;
