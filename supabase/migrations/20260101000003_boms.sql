-- Bills of materials and their enrichment.

create table public.boms (
  id uuid primary key default gen_random_uuid(),
  project_id uuid not null references public.projects on delete cascade,
  organization_id uuid not null references public.organizations on delete restrict,
  filename text not null check (btrim(filename) <> ''),
  source text not null default 'customer' check (source in ('customer', 'staff')),
  status text not null default 'idle'
    check (status in ('idle', 'enriching', 'completed', 'failed', 'paused', 'stopped')),
  total_items int not null default 0 check (total_items >= 0),
  enriched_items int not null default 0 check (enriched_items >= 0),
  failed_items int not null default 0 check (failed_items >= 0),
  not_found_items int not null default 0 check (not_found_items >= 0),
  current_stage text,
  current_batch int check (current_batch >= 0),
  total_batches int check (total_batches >= 0),
  started_at timestamptz,
  completed_at timestamptz,
  failed_at timestamptz,
  error_message text,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint boms_enriched_items_within_total_items check (enriched_items + failed_items + not_found_items <= total_items)
);
create index boms_project_id on public.boms (project_id);
create index boms_organization_id on public.boms (organization_id);
comment on table public.boms is 'Bills of materials and how far their enrichment is.';
comment on column public.boms.source is 'customer, or staff: a staff BOM, its items, events and jobs are not shown to members. Fixed once set.';
comment on column public.boms.status is 'idle, enriching, completed, failed, paused or stopped.';
comment on column public.boms.filename is 'The uploaded file''s name.';
comment on column public.boms.total_items is 'Its line items.';
comment on column public.boms.enriched_items is 'Line items that are enriched.';
comment on column public.boms.failed_items is 'Line items that failed.';
comment on column public.boms.not_found_items is 'Line items whose part no supplier knows.';
comment on column public.boms.current_stage is 'The stage it is in, as people read it.';
comment on column public.boms.total_batches is 'The batches there are.';
comment on column public.boms.completed_at is 'When its enrichment was completed.';
comment on column public.boms.failed_at is 'When its enrichment failed.';
comment on column public.boms.current_batch is 'The batch under way, counted from 1.';

create table public.bom_line_items (
  id uuid primary key default gen_random_uuid(),
  bom_id uuid not null references public.boms on delete cascade,
  project_id uuid not null references public.projects on delete cascade,
  line_number int not null check (line_number >= 1),
  reference text,
  quantity numeric check (quantity >= 0),
  mpn text,
  manufacturer text,
  description text,
  status text not null default 'pending' check (status in ('pending', 'enriching', 'enriched', 'failed', 'not_found')),
  enrichment_data jsonb,
  error_message text,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique (bom_id, line_number)
);
create index bom_line_items_project_id on public.bom_line_items (project_id);
create index bom_line_items_recent on public.bom_line_items (bom_id, updated_at desc, id) where status <> 'pending';
comment on table public.bom_line_items is 'The lines of a bill of materials.';
comment on column public.bom_line_items.line_number is 'Its place in the file, counted from 1.';
comment on column public.bom_line_items.reference is 'Reference designators, as in the file.';
comment on column public.bom_line_items.quantity is 'How many of it.';
comment on column public.bom_line_items.manufacturer is 'Manufacturer, as in the file.';
comment on column public.bom_line_items.description is 'Description, as in the file.';
comment on column public.bom_line_items.mpn is 'Manufacturer part number; a line without one is kept, and fails when it is enriched.';
comment on column public.bom_line_items.status is 'pending, enriching, enriched, failed or not_found.';
comment on column public.bom_line_items.enrichment_data is 'supplier, price, stock, datasheet_url, lifecycle_status, category, description.';

-- Append only: an event tells what was so when it happened, so of its ids only the BOM's is a reference.
create table public.enrichment_events (
  event_id uuid primary key default gen_random_uuid(),
  event_type text not null check (event_type ~ '^enrichment\.[a-z_]+(\.[a-z_]+)*$'),
  routing_key text not null check (btrim(routing_key) <> ''),
  bom_id uuid not null references public.boms on delete cascade,
  tenant_id uuid not null,
  project_id uuid not null,
  user_id uuid,
  source text not null check (source in ('customer', 'staff')),
  workflow_id text,
  workflow_run_id text,
  state jsonb not null default '{}' check (jsonb_typeof(state) = 'object'),
  payload jsonb not null default '{}' check (jsonb_typeof(payload) = 'object'),
  created_at timestamptz not null default now()
);
create index enrichment_events_history on public.enrichment_events (bom_id, created_at, event_id);
comment on table public.enrichment_events is 'What happened while a BOM was enriched. Append only; goes with its BOM.';
comment on column public.enrichment_events.event_id is 'Its id; pages deduplicate by it.';
comment on column public.enrichment_events.source is 'The BOM''s: customer or staff.';
comment on column public.enrichment_events.user_id is 'Who started the enrichment.';
comment on column public.enrichment_events.workflow_id is 'bom-enrichment-{bom_id}.';
comment on column public.enrichment_events.payload is 'What else the event tells: a batch and its components, an error.';
comment on column public.enrichment_events.event_type is 'enrichment.started, .progress, .completed, .failed.';
comment on column public.enrichment_events.routing_key is '{source}.enrichment.{what}.';
comment on column public.enrichment_events.tenant_id is 'The organization.';
comment on column public.enrichment_events.workflow_run_id is 'The job''s id.';
comment on column public.enrichment_events.state is 'The BOM''s state after the event.';

create function rowcast.append_only() returns trigger language plpgsql set search_path = '' as $$
begin
  -- By a cascade the BOM is gone already when its events go.
  if tg_op = 'DELETE' and not exists (select from public.boms b where b.id = old.bom_id) then
    return old;
  end if;
  raise exception '% of %.% is refused: it is append only', tg_op, tg_table_schema, tg_table_name
    using errcode = 'restrict_violation', hint = 'Events go when their BOM is deleted.';
end $$;
create trigger append_only before update or delete on public.enrichment_events
  for each row execute function rowcast.append_only();

create table public.enrichment_config (
  id uuid primary key default gen_random_uuid(),
  organization_id uuid unique nulls not distinct references public.organizations on delete cascade,
  batch_size int not null default 10 check (batch_size between 1 and 1000),
  max_parallel int not null default 5 check (max_parallel between 1 and 100),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
comment on table public.enrichment_config is 'How line items are enriched, by organization.';
comment on column public.enrichment_config.organization_id is 'null: the default, for organizations without a row.';
comment on column public.enrichment_config.batch_size is 'Line items that are written in one transaction.';
comment on column public.enrichment_config.max_parallel is 'Line items of a batch that are worked on at once.';
insert into public.enrichment_config (organization_id) values (null);

alter table public.jobs add constraint jobs_bom_id_fkey foreign key (bom_id) references public.boms on delete set null;
create index jobs_bom_id on public.jobs (bom_id);

-- A job's row must itself tell that it is staff's: the change log carries rows, and streams to members leave those out.
create function rowcast.job_staff() returns trigger language plpgsql set search_path = '' as $$
begin
  new.staff := exists (select from public.boms b where b.id = new.bom_id and b.source = 'staff');
  return new;
end $$;
create trigger staff before insert or update of bom_id on public.jobs
  for each row when (new.bom_id is not null) execute function rowcast.job_staff();

create function rowcast.bom_source_is_fixed() returns trigger language plpgsql set search_path = '' as $$
begin
  raise exception 'source: can''t become % once it is %', new.source, old.source
    using errcode = 'restrict_violation', hint = 'It decides who sees the BOM and all about it; upload it anew.';
end $$;
create trigger source_is_fixed before update on public.boms
  for each row when (new.source is distinct from old.source) execute function rowcast.bom_source_is_fixed();

create trigger touch before update on public.boms for each row execute function rowcast.touch();
create trigger touch before update on public.bom_line_items for each row execute function rowcast.touch();
create trigger touch before update on public.enrichment_config for each row execute function rowcast.touch();
