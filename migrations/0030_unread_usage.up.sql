-- A usage object that cannot be read loses no commit: the reserved amount is booked, and the object stays with the line until a
-- reader understands it.
alter table copilot_internal.llm_cost_records add column unread_usage jsonb;
comment on column copilot_internal.llm_cost_records.unread_usage is
  'Where the usage could not be read: { "reasons": [{ "pointer", "message" }], "provider_usage": the object as it came, null where it was too large }.';
alter type copilot_internal.commit_item add attribute unread_usage jsonb;
alter type copilot_internal.settlement add attribute estimate_reason copilot_internal.estimate_reason;

do $$
begin
  if not exists (
       select from pg_attribute where attrelid = 'copilot_internal.llm_cost_records'::regclass and attname = 'unread_usage')
     or (select count(*) from pg_attribute a join pg_type t on t.typrelid = a.attrelid
         where (t.oid, a.attname) in (
           ('copilot_internal.commit_item'::regtype, 'unread_usage'), ('copilot_internal.settlement'::regtype, 'estimate_reason'))) <> 2 then
    raise exception 'migration 0030 did not make its column and attributes';
  end if;
end $$;
