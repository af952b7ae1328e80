-- price_e2b_usage: what a sandbox run costs, priced second by second.
--
-- Cost = sum over the versions in force of (seconds in it x (vcpu x USD per vCPU-second + GiB x USD per GiB-second)),
-- exact, rounded once: half up at the 12th decimal of the total. A run across a change of price is split there, to the
-- microsecond. A size that the caller gives replaces the tier's own. A size without a tier takes the rates of tier
-- standard. Gives the same decimals as src/domain/e2b.ts. If no price is known, the answer is null: the cost if the run
-- is not covered as a whole, price_id if its start is not.
create or replace function copilot_internal.price_e2b_usage(
  p_tier text, p_region text, p_vcpu numeric, p_memory_mib integer, p_started_at timestamptz, p_seconds numeric,
  out total_cost_usd numeric, out price_id bigint
)
language plpgsql stable parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
  v_version record;
  v_from numeric;
  v_until numeric;
  v_covered numeric := 0;
  v_usd numeric := 0;
begin
  if p_seconds < 0 then
    raise exception 'seconds are negative: %', p_seconds using errcode = 'invalid_parameter_value';
  end if;
  -- Seconds since the start as numeric: extract() of an interval between two instants is exact.
  for v_version in
    select e.price_id, e.vcpu, e.memory_mib, e.usd_per_vcpu_second, e.usd_per_gib_second,
      extract(epoch from e.effective_date - p_started_at) as starts_after,
      extract(epoch from e.expires_at - p_started_at) as ends_after
    from copilot_internal.e2b_pricing e
    where e.tier = coalesce(p_tier, 'standard')
      and e.region = coalesce(p_region, 'us-east-1')
      and e.superseded_at is null
      and (e.expires_at is null or e.expires_at > p_started_at)
    order by e.effective_date
  loop
    exit when v_version.starts_after > p_seconds;
    v_from := greatest(v_version.starts_after, 0);
    v_until := least(v_version.ends_after, p_seconds);
    if v_version.starts_after <= 0 then
      price_id := v_version.price_id;
    end if;
    v_covered := v_covered + (v_until - v_from);
    v_usd := v_usd + (v_until - v_from) * (
      coalesce(p_vcpu, v_version.vcpu) * v_version.usd_per_vcpu_second
      -- MiB to GiB: 1/1024 exactly, without a division that would round.
      + coalesce(p_memory_mib, v_version.memory_mib) * 0.0009765625 * v_version.usd_per_gib_second);
  end loop;
  if price_id is not null and v_covered = p_seconds then
    total_cost_usd := round(v_usd, 12);
  end if;
end $$;
comment on function copilot_internal.price_e2b_usage(text, text, numeric, integer, timestamptz, numeric) is 'What a sandbox run costs, split at every change of price, and the version in force at its start; a null cost if no price covers the run.';
