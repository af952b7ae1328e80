-- increment_e2b_quota_spend: book an amount as spent, as callers of the first system do after a sandbox ran: a direct
-- e2b record, marked estimated (the seconds are not known), counted in every quota that applies and never refused
-- (rule 4).
-- p_scope tenant: that tenant. user: the one tenant in which the user id is known; none or several is an error.
-- platform: only the platform's quotas, under the tenant id "platform".
-- Locks: (0) shared advisory -> (2) quota_periods by id -> (3) the record.
create or replace function copilot_internal.increment_e2b_quota_spend(p_scope text, p_scope_id text, p_amount numeric)
returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '1500ms'
as $$
declare
  v_now timestamptz;
  v_tenants text[];
  v_users text[];
  v_known text[];
  v_ids bigint[];
begin
  if p_scope is null or p_scope not in ('platform', 'tenant', 'user') then
    raise exception 'scope % is not one of platform, tenant, user', p_scope using errcode = 'invalid_parameter_value';
  end if;
  if p_scope <> 'platform' and coalesce(length(p_scope_id) not between 1 and 200, true) then
    raise exception 'an id has 1 to 200 characters' using errcode = 'invalid_parameter_value';
  end if;
  if (p_amount >= 0 and p_amount < 1e9) is not true then
    raise exception 'an amount is at least 0 and below 1e9 USD, not %', p_amount using errcode = 'invalid_parameter_value';
  end if;
  perform pg_advisory_xact_lock_shared(copilot_internal.quota_lock());
  v_now := copilot_internal.clock_now();
  perform copilot_internal.ensure_cost_partitions(v_now);
  if p_scope = 'user' then
    v_known := array(
      select s.tenant_id from copilot_internal.scopes s where s.user_id = p_scope_id
      union
      select q.tenant_id from copilot_internal.cost_quotas q where q.user_id = p_scope_id);
    if cardinality(v_known) <> 1 then
      raise exception 'user % is known in % tenants, so it does not say whose money was spent', p_scope_id, cardinality(v_known)
        using errcode = 'invalid_parameter_value', hint = 'Book it with scope tenant.';
    end if;
  end if;
  v_tenants := case p_scope when 'platform' then array[''] when 'tenant' then array['', p_scope_id] else array['', v_known[1], v_known[1]] end;
  v_users := case p_scope when 'platform' then array[''] when 'tenant' then array['', ''] else array['', '', p_scope_id] end;
  select s.ids into v_ids from copilot_internal.scope_periods(
    array_fill('e2b'::copilot_internal.resource_type, array[cardinality(v_tenants)]), v_tenants, v_users, v_now) s;
  perform from copilot_internal.change_balances(
    v_ids, array_fill(round(p_amount, 12), array[cardinality(v_ids)]), array_fill(0::numeric, array[cardinality(v_ids)]), 'record', v_now);
  insert into copilot_internal.e2b_cost_records (
    cost_record_id, tenant_id, user_id, total_cost_usd, estimated, estimate_reason, quota_period_ids, occurred_at, booked_at, recorded_at,
    priced_at)
  values (copilot_internal.uuid_v7(v_now), case p_scope when 'platform' then 'platform' when 'tenant' then p_scope_id else v_known[1] end,
    case when p_scope = 'user' then p_scope_id end, round(p_amount, 12), true, 'direct', v_ids, v_now, v_now, v_now, v_now);
end $$;
comment on function copilot_internal.increment_e2b_quota_spend(text, text, numeric) is 'Books a direct, estimated e2b cost in every quota that applies.';
