-- rerate_page: of the next lines of cost by id, those that would cost something else by the price versions known now
-- for their moment (rule 9), and those that were booked without a price and have one now (rule 10), whatever it comes
-- to.
--
-- Reads at most p_rows_max lines after p_after that were recorded until p_recorded_until. Of these it considers the
-- lines that occurred from p_from until before p_to, of p_model if that is not null (an exact name; sandbox runs have
-- none).
-- Lines that were priced by their usage are rated again. These are left out: corrected lines and reversals, costs that
-- a caller or an admin gave, charges of a lapse. Lines whose usage could not be read are answered with the object, for
-- the service to read again; rate_read_usages() says what they come to. This function only reads; correct_record()
-- books.
-- Answers { looked: how many lines were read, last: the last one's id or null, lines: [those that would change],
--   unpriced: how many still have no price, undecided: how many cannot be rated as they were: lines from before
--     migration 0020 whose reservation is gone and with it the moment that priced them, or lines whose stored tier is
--     not the one that priced them,
--   unread: [lines whose usage could not be read, with the object], unreadable: how many of those have no stored object
--     }.
create or replace function copilot_internal.rerate_page(
  p_resource_type copilot_internal.resource_type, p_from timestamptz, p_to timestamptz, p_model text,
  p_recorded_until timestamptz, p_after uuid, p_rows_max integer
)
returns json
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  -- Nothing is recorded more than 5 minutes before it occurs, so earlier partitions are not read.
  v_recorded_from timestamptz := p_from - interval '5 minutes';
  v_page json;
begin
  if p_resource_type = 'llm' then
    with page as materialized (
      select l.* from copilot_internal.llm_cost_records l
      where l.cost_record_id > p_after and l.recorded_at >= v_recorded_from and l.recorded_at <= p_recorded_until
      order by l.cost_record_id
      limit p_rows_max
    ), asked as materialized (
      select l.*, dated.at, coalesce(l.priced_model, f.priced_model) as meant_model
      from page l
      left join lateral (
        select f.* from copilot_internal.line_facts f where l.priced_at is null and f.cost_record_id = l.cost_record_id
      ) f on true
      -- Null for a line from before migration 0020 whose reservation is gone.
      cross join lateral (
        select coalesce(l.priced_at, f.priced_at, case when l.reservation_id is null then l.occurred_at end) as at) dated
      where l.occurred_at >= p_from and l.occurred_at < p_to
        and l.model is not null and (p_model is null or l.model = p_model)
        and l.usage <> '{}'
        and case when l.estimated then coalesce(l.estimate_reason, f.estimate_reason, 'unpriced') = 'unpriced' else l.price_id is not null end
        and not exists (select from copilot_internal.record_corrections k where k.corrects = l.cost_record_id)
        and not exists (
          select from copilot_internal.record_corrections k where k.corrects = l.corrects and k.reversal_id = l.cost_record_id)
    ), unread as materialized (
      select l.*, nullif(l.unreadable_usage -> 'provider_usage', 'null') as provider_usage
      from page l
      where l.occurred_at >= p_from and l.occurred_at < p_to
        and (p_model is null or l.model = p_model)
        -- A reversal has none.
        and l.unreadable_usage is not null
        and not exists (select from copilot_internal.record_corrections k where k.corrects = l.cost_record_id)
    ), rated as (
      select l.*, cost.total_cost_usd as new_usd, (card.price).price_id as new_price_id,
             l.at is null
               -- The card that priced a line must give the booked cost. If it does not, the stored tier is not the one
               -- that priced it.
               or not l.estimated and own.total_cost_usd is distinct from l.total_cost_usd as undecided
      from asked l
      cross join lateral (
        select copilot_internal.find_line_card(l.provider, l.model, l.meant_model, l.price_id, l.at) as price
      ) card
      cross join lateral copilot_internal.price_llm_usage(card.price, l.usage, l.service_tier, l.region) cost
      left join lateral copilot_internal.price_llm_usage(l.price_id, l.usage, l.service_tier, l.region) own on not l.estimated
    )
    select json_build_object(
      'looked', (select count(*) from page),
      'last', (select p.cost_record_id from page p order by p.cost_record_id desc limit 1),
      'unpriced', (select count(*) from rated r where r.new_usd is null and r.at is not null),
      'undecided', (select count(*) from rated r where r.at is null or r.new_usd is not null and r.undecided),
      'lines', coalesce((
        select json_agg(json_build_object(
          'cost_record_id', r.cost_record_id, 'resource_type', 'llm', 'tenant_id', r.tenant_id, 'user_id', r.user_id,
          'provider', r.provider, 'model', r.model,
          'occurred_at', r.occurred_at, 'cost_usd', r.total_cost_usd::text, 'new_cost_usd', r.new_usd::text, 'price_id', r.price_id,
          'new_price_id', r.new_price_id, 'estimated', r.estimated, 'estimate_reason', case when r.estimated then 'unpriced' end,
          'usage', r.usage) order by r.cost_record_id)
        from rated r
        where r.new_usd is not null and not r.undecided and (r.estimated or r.new_usd <> r.total_cost_usd)), '[]'),
      'unreadable', (select count(*) from unread u where u.provider_usage is null),
      'unread', coalesce((
        select json_agg(json_build_object(
          'cost_record_id', u.cost_record_id, 'resource_type', 'llm', 'tenant_id', u.tenant_id, 'user_id', u.user_id,
          'provider', u.provider, 'model', u.model, 'occurred_at', u.occurred_at, 'cost_usd', u.total_cost_usd::text, 'price_id', u.price_id,
          'estimated', u.estimated, 'estimate_reason', u.estimate_reason, 'provider_usage', u.provider_usage) order by u.cost_record_id)
        from unread u
        where u.provider_usage is not null), '[]')) into v_page;
  else
    with page as materialized (
      select l.* from copilot_internal.e2b_cost_records l
      where l.cost_record_id > p_after and l.recorded_at >= v_recorded_from and l.recorded_at <= p_recorded_until
      order by l.cost_record_id
      limit p_rows_max
    ), asked as materialized (
      select l.*, dated.at
      from page l
      left join lateral (
        select f.* from copilot_internal.line_facts f where l.priced_at is null and f.cost_record_id = l.cost_record_id
      ) f on true
      cross join lateral (
        select coalesce(l.priced_at, f.priced_at, case when l.reservation_id is null then l.occurred_at end) as at) dated
      where l.occurred_at >= p_from and l.occurred_at < p_to
        and p_model is null
        and l.execution_time_seconds is not null
        and case when l.estimated then coalesce(l.estimate_reason, f.estimate_reason, 'unpriced') = 'unpriced' else l.price_id is not null end
        and not exists (select from copilot_internal.record_corrections k where k.corrects = l.cost_record_id)
        and not exists (
          select from copilot_internal.record_corrections k where k.corrects = l.corrects and k.reversal_id = l.cost_record_id)
    ), rated as (
      select l.*, cost.total_cost_usd as new_usd, cost.price_id as new_price_id, l.at is null as undecided
      from asked l
      cross join lateral copilot_internal.price_e2b_usage(
        l.tier, l.region, l.vcpu, l.memory_mib, l.at, l.execution_time_seconds) cost
    )
    select json_build_object(
      'looked', (select count(*) from page),
      'last', (select p.cost_record_id from page p order by p.cost_record_id desc limit 1),
      'unpriced', (select count(*) from rated r where r.new_usd is null and r.at is not null),
      'undecided', (select count(*) from rated r where r.at is null or r.new_usd is not null and r.undecided),
      'lines', coalesce((
        select json_agg(json_build_object(
          'cost_record_id', r.cost_record_id, 'resource_type', 'e2b', 'tenant_id', r.tenant_id, 'user_id', r.user_id, 'tier', r.tier,
          'occurred_at', r.occurred_at, 'cost_usd', r.total_cost_usd::text, 'new_cost_usd', r.new_usd::text, 'price_id', r.price_id,
          'new_price_id', r.new_price_id, 'estimated', r.estimated, 'estimate_reason', case when r.estimated then 'unpriced' end,
          'seconds', r.execution_time_seconds::text) order by r.cost_record_id)
        from rated r
        where r.new_usd is not null and not r.undecided and (r.estimated or r.new_usd <> r.total_cost_usd)), '[]'),
      -- A sandbox is measured in seconds, which can always be read.
      'unreadable', 0,
      'unread', '[]'::json) into v_page;
  end if;
  return v_page;
end $$;
comment on function copilot_internal.rerate_page(copilot_internal.resource_type, timestamptz, timestamptz, text, timestamptz, uuid, integer) is 'Lines of cost that would cost something else by the prices known now, a page at a time.';
