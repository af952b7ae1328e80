-- publish_e2b_prices: store versions of the sandbox rate card. Storing the same ones again changes nothing.
--
-- p_versions: [{ tier, region?, vcpu, memory_mib, usd_per_vcpu_second, usd_per_gib_second, effective_date, source,
-- expires_at? }], at most 10,000; decimals as strings. The rules are those of publish_model_prices().
-- Locks: the price edition, then the table against other publishers; readers go on.
create or replace function copilot_internal.publish_e2b_prices(
  p_versions jsonb, out added integer, out unchanged integer, out superseded integer, out held_back integer
)
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := copilot_internal.clock_now();
  v_new record;
  v_old copilot_internal.e2b_pricing;
  v_next timestamptz;
  v_by_admin boolean;
begin
  added := 0;
  unchanged := 0;
  superseded := 0;
  held_back := 0;
  if jsonb_typeof(p_versions) <> 'array' or jsonb_array_length(p_versions) > 10000 then
    raise exception 'price versions: an array of at most 10000' using errcode = 'invalid_parameter_value';
  end if;
  -- The publishers' lock, first of all: so two publishers of both kinds of prices cannot deadlock.
  perform from copilot_internal.price_edition for update;
  lock table copilot_internal.e2b_pricing in share row exclusive mode;

  for v_new in
    select v.value ->> 'tier' as tier, coalesce(v.value ->> 'region', 'us-east-1') as region,
      (v.value ->> 'vcpu')::numeric as vcpu, (v.value ->> 'memory_mib')::integer as memory_mib,
      (v.value ->> 'usd_per_vcpu_second')::numeric as usd_per_vcpu_second,
      (v.value ->> 'usd_per_gib_second')::numeric as usd_per_gib_second,
      (v.value ->> 'effective_date')::timestamptz as effective_date,
      (v.value ->> 'expires_at')::timestamptz as expires_at,
      v.value ->> 'source' as source
    from jsonb_array_elements(p_versions) with ordinality as v(value, position)
    order by v.position
  loop
    v_by_admin := copilot_internal.is_admin_source(v_new.source);
    select e.* into v_old
    from copilot_internal.e2b_pricing e
    where e.tier = v_new.tier
      and e.region = v_new.region
      and e.effective_date = v_new.effective_date
      and e.superseded_at is null;
    if found then
      if (copilot_internal.is_admin_source(v_old.source) or not v_by_admin)
        and (v_old.vcpu, v_old.memory_mib, v_old.usd_per_vcpu_second, v_old.usd_per_gib_second)
        = (v_new.vcpu, v_new.memory_mib, v_new.usd_per_vcpu_second, v_new.usd_per_gib_second) then
        unchanged := unchanged + 1;
        continue;
      end if;
      if copilot_internal.is_admin_source(v_old.source) and not v_by_admin then
        held_back := held_back + 1;
        continue;
      end if;
      update copilot_internal.e2b_pricing e set superseded_at = v_now where e.price_id = v_old.price_id;
      superseded := superseded + 1;
    else
      update copilot_internal.e2b_pricing e
      set expires_at = v_new.effective_date
      where e.tier = v_new.tier
        and e.region = v_new.region
        and e.superseded_at is null
        and e.effective_date < v_new.effective_date
        and (e.expires_at is null or e.expires_at > v_new.effective_date);
      added := added + 1;
    end if;

    select min(e.effective_date) into v_next
    from copilot_internal.e2b_pricing e
    where e.tier = v_new.tier
      and e.region = v_new.region
      and e.superseded_at is null
      and e.effective_date > v_new.effective_date;
    insert into copilot_internal.e2b_pricing (
      tier, region, vcpu, memory_mib, usd_per_vcpu_second, usd_per_gib_second, effective_date, expires_at, source, recorded_at)
    values (
      v_new.tier, v_new.region, v_new.vcpu, v_new.memory_mib, trim_scale(v_new.usd_per_vcpu_second),
      trim_scale(v_new.usd_per_gib_second), v_new.effective_date, least(v_new.expires_at, v_next), v_new.source, v_now);
  end loop;

  if added + superseded > 0 then
    update copilot_internal.price_edition n set edition = n.edition + 1;
  end if;
end $$;
comment on function copilot_internal.publish_e2b_prices(jsonb) is 'Publishes versions of the sandbox rate card, idempotently; answers how many were added, unchanged, superseded, and held back because of an admin''s version.';
