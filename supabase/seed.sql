-- A project to try things on. Safe to run again.
insert into public.organizations (id, name) values ('00000000-0000-4000-8000-000000000001', 'Rowcast demo')
  on conflict do nothing;
insert into public.projects (id, organization_id, name)
  values ('00000000-0000-4000-8000-000000000002', '00000000-0000-4000-8000-000000000001', 'Demo project')
  on conflict do nothing;
