-- No quota refuses what a free price card prices, neither at first nor when its hold is extended.
alter table copilot_internal.reservations add column is_free boolean not null default false;
comment on column copilot_internal.reservations.is_free is 'Its price card is free: it takes no room, and no quota refuses it.';

do $$
begin
  if not exists (select from pg_attribute where attrelid = 'copilot_internal.reservations'::regclass and attname = 'is_free') then
    raise exception 'migration 0021 did not make its column';
  end if;
end $$;
