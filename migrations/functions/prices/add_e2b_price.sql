-- add_e2b_price: add an admin's version of the sandbox rate card of a tier and region, if the current version is the
-- one that the admin expects. Without a size it takes that of the tier's last version, in the region if there is one,
-- else in any region.
--
-- p_version, p_replaces and the answer are as in add_model_price(); also { "size_of": "tier" } if no size is known.
-- Locks: as publish_e2b_prices().
create or replace function copilot_internal.add_e2b_price(p_version jsonb, p_replaces bigint)
returns jsonb
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_tier text := p_version ->> 'tier';
  v_region text := p_version ->> 'region';
  v_date timestamptz := (p_version ->> 'effective_date')::timestamptz;
  v_version jsonb := p_version;
  v_last copilot_internal.e2b_pricing;
  v_there bigint;
begin
  perform from copilot_internal.price_edition for update;
  select e.* into v_last
  from copilot_internal.e2b_pricing e
  where e.tier = v_tier and e.superseded_at is null
  order by e.region = v_region desc, e.effective_date desc
  limit 1;
  if not (v_version ? 'vcpu') then
    if v_last.price_id is null then
      return jsonb_build_object('size_of', v_tier);
    end if;
    v_version := v_version || jsonb_build_object('vcpu', v_last.vcpu::text, 'memory_mib', v_last.memory_mib);
  end if;
  if v_date is null then
    v_date := case
      when v_last.region = v_region then date_trunc('milliseconds', copilot_internal.clock_now())
      else '1970-01-01Z'
    end;
  end if;

  select e.price_id into v_there
  from copilot_internal.e2b_pricing e
  where e.tier = v_tier and e.region = v_region and e.effective_date = v_date and e.superseded_at is null;
  if v_there is distinct from p_replaces and p_replaces is distinct from 0 then
    return jsonb_build_object('exists', v_there);
  end if;

  perform copilot_internal.publish_e2b_prices(
    jsonb_build_array(v_version || jsonb_build_object('effective_date', v_date)));
  return jsonb_build_object('price_id', e.price_id)
  from copilot_internal.e2b_pricing e
  where e.tier = v_tier and e.region = v_region and e.effective_date = v_date and e.superseded_at is null;
end $$;
comment on function copilot_internal.add_e2b_price(jsonb, bigint) is 'Adds an admin''s version of the sandbox rate card, unless that date has another version than the admin expects to replace.';
