-- lock_prices: take the lock of those who publish prices, until the transaction ends. Locks: the price edition.
create or replace function copilot_internal.lock_prices()
returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform from copilot_internal.price_edition for update;
end $$;
comment on function copilot_internal.lock_prices() is 'Takes the lock of those who publish prices until the transaction ends.';
