-- 0001 prices: the clock, the price versions of models and sandboxes, and the names that mean a model.
--
-- Structure only: no price stands here; the seed step writes them through publish_model_prices and
-- publish_e2b_prices. The functions below are those that the tables themselves need; their current
-- bodies, and all other functions, stand in migrations/functions/ and are applied after this file.


create function copilot_internal.clock_now()
  returns timestamptz
  language sql
  volatile
  parallel safe
  set search_path = ''
as $$ select pg_catalog.clock_timestamp() $$;

comment on function copilot_internal.clock_now() is
  'The time by which Postgres decides: the only clock of the product. Volatile, because it moves inside a transaction.';

create type copilot_internal.resource_type as enum ('llm', 'e2b');
comment on type copilot_internal.resource_type is 'What is paid for: llm (tokens of a model) or e2b (seconds of a sandbox).';

-- Equality of text inside an exclusion constraint: [name, name] of this range overlaps only itself. It spares
-- an extension, which a managed database may not offer.
create type copilot_internal.name_range as range (subtype = text, collation = "C");
comment on type copilot_internal.name_range is 'A range over names in byte order; exclusion constraints compare names by it.';

create sequence copilot_internal.price_id_seq as bigint;
comment on sequence copilot_internal.price_id_seq is
  'Ids of price versions, of models and sandboxes alike, so that a price_id alone says which version priced a cost.';

create function copilot_internal.is_rate_map(p_rates jsonb, p_kind text)
  returns boolean
  language plpgsql
  immutable
  parallel safe
  set search_path = ''
as $$
declare
  v_name text;
  v_rate jsonb;
  v_known boolean;
begin
  if p_rates is null or jsonb_typeof(p_rates) <> 'object' then
    return false;
  end if;
  for v_name, v_rate in select e.key, e.value from jsonb_each(p_rates) as e loop
    if jsonb_typeof(v_rate) <> 'string' or (v_rate #>> '{}') !~ '^[0-9]{1,9}(\.[0-9]{1,20})?$' then
      return false;
    end if;
    v_known := case p_kind
      when 'mtok' then v_name in (
        'input', 'cache_read', 'cache_read_audio', 'cache_read_image', 'cache_write', 'cache_write_1h', 'cache_write_12h',
        'audio_input', 'image_input', 'output', 'reasoning', 'audio_output', 'image_output')
      when 'unit' then v_name in ('web_search', 'request')
      when 'modifier' then v_name in ('batch', 'flex', 'priority', 'fast') or v_name ~ '^region:[!-~]{1,200}$'
      else false
    end;
    if not v_known then
      return false;
    end if;
  end loop;
  return true;
end
$$;

comment on function copilot_internal.is_rate_map(jsonb, text) is
  'Whether every name is one of its kind (mtok, unit, modifier) and every value a decimal >= 0 as a JSON string. A string, so that no client reads a rate through binary floating point; a known name, so that a slip of the pen is not a free bucket.';

create table copilot_internal.model_pricing (
  price_id bigint primary key default nextval('copilot_internal.price_id_seq'),
  provider text not null,
  model text not null,
  usd_per_mtok jsonb not null,
  usd_per_unit jsonb not null default '{}',
  long_context jsonb,
  modifiers jsonb not null default '{}',
  effective_date timestamptz not null,
  expires_at timestamptz,
  source text not null,
  recorded_at timestamptz not null default copilot_internal.clock_now(),
  superseded_at timestamptz,
  constraint model_pricing_provider_bounds check (length(provider) between 1 and 200),
  constraint model_pricing_model_bounds check (length(model) between 1 and 200),
  constraint model_pricing_source_bounds check (length(source) between 1 and 500),
  constraint model_pricing_rates check (copilot_internal.is_rate_map(usd_per_mtok, 'mtok') and usd_per_mtok ? 'input'),
  constraint model_pricing_fees check (copilot_internal.is_rate_map(usd_per_unit, 'unit')),
  constraint model_pricing_modifiers check (copilot_internal.is_rate_map(modifiers, 'modifier')),
  constraint model_pricing_long_context check (
    long_context is null
    or (
      -- coalesce: a missing member makes a comparison null, and a null check would pass.
      coalesce(jsonb_typeof(long_context -> 'input_tokens_over') = 'number', false)
      and coalesce(long_context ->> 'input_tokens_over' ~ '^[0-9]{1,12}$', false)
      and copilot_internal.is_rate_map(long_context -> 'usd_per_mtok', 'mtok')
    )
  ),
  constraint model_pricing_period check (expires_at is null or expires_at > effective_date),
  constraint model_pricing_no_overlap exclude using gist (
    copilot_internal.name_range(model, model, '[]') with &&,
    copilot_internal.name_range(provider, provider, '[]') with &&,
    tstzrange(effective_date, expires_at) with &&
  ) where (superseded_at is null)
);
alter sequence copilot_internal.price_id_seq owned by copilot_internal.model_pricing.price_id;

comment on table copilot_internal.model_pricing is
  'One row is one version of one model''s rate card. Rates are never changed: a new version closes its predecessor by expires_at, one of the same date supersedes it.';
comment on column copilot_internal.model_pricing.usd_per_mtok is
  'USD per million tokens by bucket, decimals as strings. A bucket without a rate falls back: see price_llm_usage.';
comment on column copilot_internal.model_pricing.usd_per_unit is 'USD per web search and per request, decimals as strings.';
comment on column copilot_internal.model_pricing.long_context is
  '{ "input_tokens_over": n, "usd_per_mtok": {} }: rates of the whole request where its total input is strictly more than n; they stand over usd_per_mtok.';
comment on column copilot_internal.model_pricing.modifiers is
  'Factors on token rates by service tier (batch, flex, priority, fast) and by region (region:<name>), decimals as strings.';
comment on column copilot_internal.model_pricing.effective_date is 'Valid from here, inclusive; also in the future. 1970-01-01 where no start is known.';
comment on column copilot_internal.model_pricing.expires_at is 'Valid until here, exclusive; null while no later version is known.';
comment on column copilot_internal.model_pricing.source is 'Who says so: a package and its release, the overlay and its date, or admin.';
comment on column copilot_internal.model_pricing.superseded_at is 'Since when another version of the same effective_date stands for this one.';

-- The one look-up of a price; unique, so that one date has one version in force.
create unique index model_pricing_in_force on copilot_internal.model_pricing (provider, model, effective_date)
  where superseded_at is null;
-- "Which providers have this model?", for a request that names none.
create index model_pricing_model on copilot_internal.model_pricing (model) where superseded_at is null;

create table copilot_internal.model_aliases (
  provider text not null,
  alias text not null,
  model text not null,
  source text not null,
  recorded_at timestamptz not null default copilot_internal.clock_now(),
  primary key (provider, alias),
  constraint model_aliases_bounds check (length(alias) between 1 and 200 and length(model) between 1 and 200),
  constraint model_aliases_not_itself check (alias <> model)
);
comment on table copilot_internal.model_aliases is
  'A name that means a model of the same provider: compared whole, never as a prefix. A model''s own card wins over an alias of that name.';
create index model_aliases_alias on copilot_internal.model_aliases (alias);

create table copilot_internal.e2b_pricing (
  price_id bigint primary key default nextval('copilot_internal.price_id_seq'),
  tier text not null,
  region text not null default 'us-east-1',
  vcpu numeric not null,
  memory_mib integer not null,
  usd_per_vcpu_second numeric not null,
  usd_per_gib_second numeric not null,
  -- 0.0009765625 is 1/1024, exactly: MiB to GiB without a division that would round.
  price_per_second numeric generated always as
    (vcpu * usd_per_vcpu_second + memory_mib * 0.0009765625 * usd_per_gib_second) stored,
  effective_date timestamptz not null,
  expires_at timestamptz,
  source text not null,
  recorded_at timestamptz not null default copilot_internal.clock_now(),
  superseded_at timestamptz,
  constraint e2b_pricing_tier_bounds check (length(tier) between 1 and 200 and length(region) between 1 and 200),
  constraint e2b_pricing_source_bounds check (length(source) between 1 and 500),
  constraint e2b_pricing_size check (vcpu > 0 and vcpu <= 1024 and memory_mib between 1 and 16777216),
  constraint e2b_pricing_rates check (
    usd_per_vcpu_second >= 0 and usd_per_vcpu_second < 1000000000
    and usd_per_gib_second >= 0 and usd_per_gib_second < 1000000000
  ),
  constraint e2b_pricing_period check (expires_at is null or expires_at > effective_date),
  constraint e2b_pricing_no_overlap exclude using gist (
    copilot_internal.name_range(tier, tier, '[]') with &&,
    copilot_internal.name_range(region, region, '[]') with &&,
    tstzrange(effective_date, expires_at) with &&
  ) where (superseded_at is null)
);
comment on table copilot_internal.e2b_pricing is
  'One row is one version of the sandbox rate card of one tier and region. A tier is a name for a size; a size without a name is priced at the rates of tier standard.';
comment on column copilot_internal.e2b_pricing.memory_mib is 'Allocated memory in MiB; 1,024 MiB are one GiB.';
comment on column copilot_internal.e2b_pricing.price_per_second is 'USD per second of the tier''s size: derived from the two rates.';
comment on column copilot_internal.e2b_pricing.effective_date is 'Valid from here, inclusive; also in the future.';
comment on column copilot_internal.e2b_pricing.expires_at is 'Valid until here, exclusive; null while no later version is known.';
comment on column copilot_internal.e2b_pricing.superseded_at is 'Since when another version of the same effective_date stands for this one.';

create unique index e2b_pricing_in_force on copilot_internal.e2b_pricing (tier, region, effective_date)
  where superseded_at is null;

create table copilot_internal.price_seed (
  only_row boolean primary key default true,
  seed_key text not null,
  seeded_at timestamptz not null default copilot_internal.clock_now(),
  constraint price_seed_one_row check (only_row)
);
comment on table copilot_internal.price_seed is
  'Which edition of the package and the overlay was published last, so that a start with the same edition publishes nothing.';

create function copilot_internal.guard_price_version()
  returns trigger
  language plpgsql
  volatile
  set search_path = ''
as $$
begin
  if tg_op = 'DELETE' then
    raise exception 'a price version is never deleted: price_id %', old.price_id using errcode = 'restrict_violation';
  end if;
  if to_jsonb(new) - 'expires_at' - 'superseded_at' <> to_jsonb(old) - 'expires_at' - 'superseded_at' then
    raise exception 'a price version is never edited: price_id %', old.price_id
      using errcode = 'restrict_violation', hint = 'Publish a new version.';
  end if;
  if old.superseded_at is not null then
    raise exception 'a superseded price version is never changed: price_id %', old.price_id using errcode = 'restrict_violation';
  end if;
  return null;
end
$$;
comment on function copilot_internal.guard_price_version() is
  'Trigger: of a price version only expires_at and superseded_at may change, and nothing once it is superseded.';

-- After, not before: a generated column is not yet computed in a before trigger.
create trigger model_pricing_guard after update or delete on copilot_internal.model_pricing
  for each row execute function copilot_internal.guard_price_version();
create trigger e2b_pricing_guard after update or delete on copilot_internal.e2b_pricing
  for each row execute function copilot_internal.guard_price_version();

do $$
declare
  v_name text;
begin
  foreach v_name in array array['model_pricing', 'model_aliases', 'e2b_pricing', 'price_seed', 'price_id_seq'] loop
    if to_regclass('copilot_internal.' || v_name) is null then
      raise exception '0001_prices: copilot_internal.% is missing', v_name;
    end if;
  end loop;
  foreach v_name in array array['resource_type', 'name_range'] loop
    if to_regtype('copilot_internal.' || v_name) is null then
      raise exception '0001_prices: type copilot_internal.% is missing', v_name;
    end if;
  end loop;
  foreach v_name in array array['clock_now()', 'is_rate_map(jsonb, text)', 'guard_price_version()'] loop
    if to_regprocedure('copilot_internal.' || v_name) is null then
      raise exception '0001_prices: function copilot_internal.% is missing', v_name;
    end if;
  end loop;
  foreach v_name in array array['model_pricing_no_overlap', 'e2b_pricing_no_overlap'] loop
    if not exists (select from pg_catalog.pg_constraint c where c.conname = v_name and c.contype = 'x') then
      raise exception '0001_prices: constraint % is missing', v_name;
    end if;
  end loop;
end
$$;
