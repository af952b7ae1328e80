-- set_quotas: make or change quotas by their natural key, all or none. Quotas change in no other way.
--
-- p_quotas: [{ resource_type, scope, tenant_id, user_id, period, limit_usd, enforcement, thresholds, time_zone,
-- week_starts_on, billing_day, raise: { limit_usd, until }, booked }, ...]. Each is complete: a missing field takes its
-- default. booked is what booked_before() answered; without it everything is summed here while decisions wait.
-- p_from_default: the quotas come from quota_defaults (default_quotas()), so quotas that an administrator has set or
-- deleted stay as they are.
-- Answers a row for each, in the given order: quota_json(), and whether it was made.
-- A new or revived quota, and one whose zone, week start or billing day changes, opens a balance with what its scope
-- has booked in the running period, and adopts the open holds of its scope (rules 7 and 8). It also opens a balance for
-- each following period in which something is booked. A new limit applies to the running balance and the following
-- ones.
-- Each change is written to the audit log, except those that come from a default, whose own change is there.
-- Locks: (0) exclusively, so that no decision works with an old limit; the head of the audit chain last.
-- Cost: a few index look-ups per quota, while decisions wait.
create or replace function copilot_internal.set_quotas(p_quotas json, p_from_default boolean default false)
returns table (quota json, made boolean)
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '1500ms'
as $$
declare
  v_now timestamptz;
  v_input record;
  v_old copilot_internal.cost_quotas;
  v_new copilot_internal.cost_quotas;
  -- Whether events are due again for the thresholds.
  v_rearms boolean;
  v_changed bigint[] := '{}';
  v_changes jsonb[] := '{}';
begin
  perform pg_advisory_xact_lock(copilot_internal.quota_lock());
  v_now := copilot_internal.clock_now();
  for v_input in
    select * from copilot_internal.quota_inputs(p_quotas)
  loop
    v_old := v_input.old;
    continue when p_from_default and (
      v_old.quota_id is not null and (not v_old.from_default or v_old.deleted_at is not null)
      -- The default has changed since. The run that changed it sets the new quotas.
      or not exists (
        select from copilot_internal.quota_defaults d
        where (d.resource_type, d.scope, d.period) = (v_input.resource_type, v_input.scope, v_input.period)
          and d.deleted_at is null and (d.limit_usd, d.enforcement) = (v_input.limit_usd, v_input.enforcement)));

    insert into copilot_internal.cost_quotas as q (
      resource_type, scope, tenant_id, user_id, period, limit_usd, enforcement, thresholds, time_zone, week_starts_on, billing_day,
      raise_limit_usd, raise_until, from_default, created_at, updated_at)
    values (v_input.resource_type, v_input.scope, v_input.tenant_id, v_input.user_id, v_input.period, v_input.limit_usd, v_input.enforcement,
      v_input.thresholds, v_input.time_zone, v_input.week_starts_on, v_input.billing_day, v_input.raise_limit_usd, v_input.raise_until,
      p_from_default, v_now, v_now)
    on conflict (resource_type, coalesce(tenant_id, ''), coalesce(user_id, ''), period) do update
      set limit_usd = excluded.limit_usd, enforcement = excluded.enforcement, thresholds = excluded.thresholds,
          time_zone = excluded.time_zone, week_starts_on = excluded.week_starts_on, billing_day = excluded.billing_day,
          raise_limit_usd = excluded.raise_limit_usd, raise_until = excluded.raise_until, from_default = excluded.from_default,
          created_at = case when q.deleted_at is null then q.created_at else excluded.created_at end,
          updated_at = excluded.updated_at, deleted_at = null
    returning * into v_new;
    v_rearms := (v_old.limit_usd, v_old.thresholds, v_old.raise_limit_usd, v_old.raise_until)
      is distinct from (v_new.limit_usd, v_new.thresholds, v_new.raise_limit_usd, v_new.raise_until);

    if v_input.opens then
      update copilot_internal.quota_periods p set closed_at = v_now
        from copilot_internal.period_bounds(v_new.period, v_new.time_zone, v_new.week_starts_on, v_new.billing_day, v_now) b
        where p.quota_id = v_new.quota_id and p.closed_at is null
          -- A period that has ended may start with the new one, because a day on which a zone's clocks go back is
          -- longer.
          and (p.ends_at > v_now or p.starts_at = b.starts_at);
      perform copilot_internal.open_balance(v_new, v_now, v_input.booked);
    else
      update copilot_internal.quota_periods p
        set limit_usd = v_new.limit_usd, raise_limit_usd = v_new.raise_limit_usd, raise_until = v_new.raise_until, enforcement = v_new.enforcement,
            over_cause = case
              when p.spent + p.reserved > copilot_internal.running_limit(v_new.limit_usd, v_new.raise_limit_usd, v_new.raise_until, v_now)
              then coalesce(p.over_cause, case when v_new.enforcement <> p.enforcement then 'enforcement' else 'limit' end) end,
            arming = p.arming + v_rearms::integer
        where p.quota_id = v_new.quota_id and p.closed_at is null and p.ends_at > v_now;
    end if;
    v_changed := v_changed || v_new.quota_id;
    -- The next decision reads the scope's balances again.
    update copilot_internal.scopes s set valid_until = '-infinity'
      where s.resource_type = v_new.resource_type and s.tenant_id = coalesce(v_new.tenant_id, '') and s.user_id = coalesce(v_new.user_id, '');
    quota := copilot_internal.quota_json(v_new);
    made := v_old.quota_id is null or v_old.deleted_at is not null;
    if not p_from_default then
      v_changes := v_changes || jsonb_build_object(
        'action', case when made then 'quota.create' else 'quota.update' end, 'subject', 'quota:' || v_new.quota_id,
        'before', case when not made then copilot_internal.quota_snapshot(v_old) end, 'after', copilot_internal.quota_snapshot(v_new));
    end if;
    return next;
  end loop;
  -- The spent amount may already be at a threshold of the new limit.
  perform copilot_internal.emit_quota_events(array_agg(p.quota_period_id), false, v_now)
    from (select distinct c.quota_id from unnest(v_changed) c(quota_id)) c
    cross join lateral (
      select p.quota_period_id from copilot_internal.quota_periods p
      where p.quota_id = c.quota_id and p.closed_at is null and p.ends_at > v_now
      offset 0
    ) p
    having count(*) > 0;
  if v_changes <> '{}' then
    perform copilot_internal.write_audit(v_changes);
  end if;
end $$;
comment on function copilot_internal.set_quotas(json, boolean) is 'Makes or changes quotas by natural key, all or none.';
